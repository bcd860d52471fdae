from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trace_robot.llm.metering import token_bound
from trace_robot.optimizers.prompt.graph_text import render_graph
from trace_robot.optimizers.prompt.table import StepTable, minimal
from trace_robot.optimizers.prompt.values import MOST_LEAVES, at_scale, fence, leaves, parse_value
from trace_robot.trace import ParameterNode, backward, node, to_records


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5", 1.5),
        ("-2e-3", -0.002),
        ("nan", pytest.approx(float("nan"), nan_ok=True)),
        ("True", True),
        ("None", None),
        ("'it\\'s'", "it\\'s"),
        ("[1, 2.5, -3]", [1.0, 2.5, -3.0]),
        ("(1, [2, 3])", [1.0, [2.0, 3.0]]),
        ("array([1., 2.], dtype=float32)", [1.0, 2.0]),
        ("np.float64(0.25)", 0.25),
        ("{'a': [1, 2], 'b': {'c': True}}", {"a": [1.0, 2.0], "b": {"c": True}}),
        ("{hand: [1, 2], open: 0.5}", {"hand": [1.0, 2.0], "open": 0.5}),
        ("{'a': [1, 2], 'b': [3, 4", {"a": [1.0, 2.0], "b": [3.0, 4.0]}),
        ("{'a': 1, 'b'...", {"a": 1.0}),
        ("above the thing", "above the thing"),
        ("1. 50 x bolt", "1. 50 x bolt"),
        ("", ""),
    ],
)
def test_values_are_read_back_from_their_text(text: str, value: Any) -> None:
    assert parse_value(text) == value


@example("[" * 14)
@given(st.text(max_size=200) | st.text("[](){},:='\"ab1.e- ", max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    parts = leaves(parse_value(text))
    assert len(parts) <= MOST_LEAVES
    for part in parts.values():
        assert part is None or isinstance(part, float | bool | str | tuple)
        assert not isinstance(part, str) or part in text


def test_short_vectors_stay_together_and_long_ones_come_apart() -> None:
    assert leaves([1.0, 2.0]) == {"": (1.0, 2.0)}
    assert list(leaves({"a": [float(i) for i in range(20)]}))[:2] == [".a[0]", ".a[1]"]


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (0.123456, 1.0, "0.123"),
        (0.123456, 0.05, "0.1235"),
        (1234.5678, 5000.0, "1235"),
        (-0.00001, 1.0, "0"),
        (0.5, 0.0, "0.5"),
        (float("nan"), 1.0, "nan"),
        (100.0, 100.0, "100"),
    ],
)
def test_numbers_are_rounded_by_their_scale(value: float, scale: float, text: str) -> None:
    assert at_scale(value, scale) == text


def test_a_fence_is_longer_than_any_inside() -> None:
    assert fence("a ```` b").startswith("`````python\n")


def loop(steps: int) -> tuple[dict[str, Any], ...]:
    """x = x * gain + offset, again and again, in one graph without recorded steps."""
    gain = ParameterNode(0.9, name="gain")
    x = node(1.0, name="x")
    for _ in range(steps):
        x = x * gain + 0.5
    return backward(x, "too high").to_records()


@pytest.mark.parametrize("steps", [30, 50, 300])
def test_steps_are_found_from_the_repetition_of_operations(steps: int) -> None:
    table = StepTable.from_records(loop(steps))
    assert len(table.steps) == pytest.approx(steps, abs=1)
    assert max(len(step) for step in table.patterns.values()) >= steps - 2


def test_a_short_graph_is_shown_operation_by_operation() -> None:
    parts = render_graph(loop(8), 2000, variables=["gain"])
    assert parts["#Code"].count("\n") == 15
    assert "multiply0 = multiply(x=x, y=gain)" in parts["#Code"]


@given(st.integers(1, 60), st.integers(50, 3000))
def test_the_parts_keep_their_tokens(steps: int, tokens: int) -> None:
    parts = render_graph(loop(steps), tokens)
    assert sum(token_bound(text) + 4 for text in parts.values()) <= tokens + 20


def test_what_no_parameter_leads_to_is_left_out() -> None:
    gain = ParameterNode(0.9, name="gain")
    seen = node(2.0, name="seen") + node(1.0, name="bias")
    output = seen * gain
    records = minimal(to_records([output]))
    kinds = {record["op"] for record in records if record["kind"] == "operation"}
    assert "multiply" in kinds
    assert len(records) < len(to_records([output]))
    assert render_graph(records, 1000)["#Code"].startswith("multiply = multiply(")


def test_phases_are_shown_by_the_runs_of_discrete_values(episode: Any) -> None:
    others = render_graph(episode(40), 2000)["#Others"]
    assert "observation.open: True in 0-19, False in 20-39" in others
    assert "act[1]: 1 in 0-19, -1 in 20-39" in others


def test_values_that_never_or_hardly_change_take_one_line(episode: Any) -> None:
    records = episode(40)
    assert "observation.thing = 0.5 0.25, in every step" in render_graph(records, 2000)["#Inputs"]
    for index, record in enumerate(records):
        if record["kind"] == "input":
            record["value"] = f"{{'level': {10 + index / 10000}}}"
    others = render_graph(records, 2000)["#Others"]
    assert "observation.level = about 10.008, changes by at most 0.0078" in others
    assert "observation.level |" not in others


def test_a_value_that_is_not_finite_is_shown_where_it_first_comes(episode: Any) -> None:
    records = episode(200)
    call = next(record for record in records if record["kind"] == "operation" and record["step"] == 137)
    call["value"] = "[nan, 1.0]"
    assert "\n137 | " in render_graph(records, 1500)["#Others"]


def test_branches_of_the_program_are_different_patterns(episode: Any) -> None:
    records = [dict(record) for record in episode(60)]
    for record in records:
        if record["kind"] == "operation" and 20 <= record["step"] < 33:
            record["op"], record["name"] = "rescue", f"rescue:{record['step']}"
    code = render_graph(records, 2000)["#Code"]
    assert "# step 0-19, 33-59 (47 times)\nact = act(observation=observation, gain=gain)" in code
    assert "# step 20-32 (13 times)\nrescue = rescue(observation=observation, gain=gain, code=act)" in code


@pytest.mark.parametrize("tokens", [0, 10, 40])
def test_next_to_no_room_gives_next_to_no_text(episode: Any, tokens: int) -> None:
    parts = render_graph(episode(100), tokens)
    assert sum(token_bound(text) for text in parts.values()) <= max(tokens, 0)
