"""Graphs as plain data, there and back."""

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trace_robot.trace import (
    ExceptionNode,
    ExecutionError,
    Node,
    ParameterNode,
    RecordError,
    backward,
    bundle,
    from_records,
    node,
    to_records,
)
from trace_robot.trace.serialization import KINDS
from trace_robot.trace.shortening import _numbers_text, _text, shorten

gain = node(4.0, name="gain", trainable=True)


@bundle(trainable=True)
def target(observation: Any, memory: Any, gain: Any) -> Any:
    """Where to go."""
    memory["calls"] = memory.get("calls", 0) + 1
    return [gain * observation["hand"], 0.0]


def episode(steps: int) -> list[Any]:
    memory: dict[str, int] = {}
    return [target({"hand": 0.123456 * step}, memory, gain) for step in range(steps)]


def test_records_are_json_with_parents_before_children() -> None:
    records = to_records(episode(3))
    assert json.loads(json.dumps(records)) == list(records)
    seen: set[int] = set()
    for record in records:
        assert set(record) == {"id", "name", "kind", "op", "doc", "inputs", "value", "step"}
        assert record["kind"] in KINDS
        assert set(record["inputs"].values()) <= seen
        seen.add(record["id"])


def test_a_record_tells_what_happened_at_its_step() -> None:
    records = to_records(episode(3))
    operations = [each for each in records if each["kind"] == "operation"]
    assert [each["step"] for each in operations] == [0, 1, 2]
    assert [each["name"] for each in operations] == ["target:0", "target:1", "target:2"]
    assert operations[2]["op"] == "target"
    assert operations[2]["doc"] == "[target] Where to go."
    assert operations[2]["value"] == "[0.9876, 0]"
    values = {each["id"]: each["value"] for each in records}
    assert values[operations[2]["inputs"]["memory"]] == "{'calls': 2}"
    assert values[operations[2]["inputs"]["observation"]] == "{'hand': 0.2469}"
    parameters = {each["name"]: each for each in records if each["kind"] == "parameter"}
    assert set(parameters) == {"gain", "target"}
    assert parameters["target"]["value"] == target.parameter.data
    assert parameters["gain"]["step"] is None


def test_a_graph_that_came_back_gives_the_same_subgraph() -> None:
    outputs = episode(2)
    records = to_records(outputs)
    theirs = {
        "gain": ParameterNode(9.0, name="gain"),
        "target": ParameterNode("def target(): ...", name="__code"),
    }
    nodes = from_records(records, theirs)
    subgraph = backward(nodes[records[-1]["id"]], "better")
    assert set(subgraph.parameters) == set(theirs.values())
    assert len(subgraph.operations) == 1
    assert subgraph.summary().code[0].startswith("target1 = target(observation=observation1, memory=memory1")
    again = subgraph.to_records(max_chars=500)
    assert [each["value"] for each in again if each["kind"] == "operation"] == ["[0.4938, 0]"]


def test_numbers_come_back_as_numbers() -> None:
    x = node(2.5, trainable=True)
    nodes = from_records(to_records([x * 2, x - 5, x * node(1e-9)]))
    values = [each.data for each in nodes.values() if not isinstance(each, ParameterNode)]
    assert {2, 5, -2.5, 1e-9} <= {each for each in values if not isinstance(each, str)}


@pytest.mark.parametrize("digits", ["9" * 401, "-" + "1" * 5000, "1." + "0" * 5000, "1e" + "9" * 5000])
def test_a_number_of_more_digits_than_python_converts_stays_a_text(digits: str) -> None:
    records = to_records([node(1.5, trainable=True) * 2])
    records[-1]["value"] = digits
    assert list(from_records(records).values())[-1].data == digits


def test_parameters_that_are_not_given_are_plain_values() -> None:
    records = to_records(episode(1))
    nodes = from_records(records, {"gain": ParameterNode(1.0, name="gain")})
    subgraph = backward(list(nodes.values())[-1])
    assert [each.base_name for each in subgraph.parameters] == ["gain"]


def test_a_failure_crosses_with_its_mark() -> None:
    @bundle()
    def fails(x: Any) -> Any:
        raise ValueError("no")

    with pytest.raises(ExecutionError) as caught:
        fails(node(1, trainable=True))
    records = to_records([caught.value.exception_node])
    assert records[-1]["kind"] == "exception"
    (*_, last) = from_records(records).values()
    assert isinstance(last, ExceptionNode)
    assert last.data == "(ValueError) no"
    assert last.create_feedback() == "(ValueError) no"


def test_hidden_dependencies_cross_as_inputs() -> None:
    outside = node(1, name="outside", trainable=True)

    @bundle(allow_external_dependencies=True)
    def reads() -> Any:
        return outside.data

    records = to_records([reads()])
    assert records[-1]["inputs"] == {outside.py_name: 0}


def test_of_too_many_nodes_the_newest_are_kept_and_all_parameters() -> None:
    outputs = episode(100)
    records = to_records(outputs, max_nodes=50)
    assert len(records) <= 52
    assert {each["name"] for each in records if each["kind"] == "parameter"} == {"gain", "target"}
    assert records[-1]["step"] == 99
    from_records(records)


def test_records_of_thousands_of_linked_steps_do_not_need_a_deep_stack() -> None:
    x = node(1.0, trainable=True)
    y: Node = x
    for _ in range(5_000):
        y = y + 1
    assert len(to_records([y], max_nodes=20_000)) == 10_001


def spoiled(**changes: Any) -> list[dict[str, Any]]:
    records = copy.deepcopy(list(to_records(episode(1))))
    records[-1].update(changes)
    return records


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": 0}, "id 0 is there twice"),
        ({"id": "7"}, "id of a record must be int, got 7"),
        (
            {"kind": "code"},
            "kind of a record must be one of parameter, constant, input, operation, exception",
        ),
        ({"value": 5}, "value of a record must be str, got 5"),
        ({"value": "x" * 200_000}, "value of a record must have at most 100000 characters, got 200000"),
        ({"inputs": {"x": 99}}, "input x must be the id of an earlier record, got 99"),
        ({"inputs": {"x": "0"}}, "input x must be the id of an earlier record, got 0"),
        ({"step": 1.5}, "step of a record must be a whole number or None, got 1.5"),
        ({"more": 1}, "a record must have the fields id, name, kind"),
    ],
)
def test_anything_else_is_refused_with_a_reason(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        from_records(spoiled(**changes))


def test_a_record_that_refers_to_itself_is_refused() -> None:
    records = spoiled()
    records[-1]["inputs"]["x"] = records[-1]["id"]
    with pytest.raises(RecordError, match="must be the id of an earlier record"):
        from_records(records)


def test_too_many_records_and_things_that_are_none_are_refused() -> None:
    with pytest.raises(RecordError, match="records must hold at most 2 nodes"):
        from_records(to_records(episode(1)), max_nodes=2)
    with pytest.raises(RecordError, match="a record must have the fields"):
        from_records([5])  # type: ignore[list-item]


class Loud:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1 / 3, "0.3333"),
        (12345.678, "1.235e+04"),
        (np.float32(0.1), "0.1"),
        (7, "7"),
        (True, "True"),
        (None, "None"),
        ("text", "text"),
        (["a", 1.0], "['a', 1]"),
        ((1,), "(1)"),
        (np.array([1.0, 2.5]), "[1, 2.5]"),
        (np.array(3.0), "3"),
        ({"k": np.zeros(2)}, "{'k': [0, 0]}"),
        (float("nan"), "nan"),
        (object(), "<object object>"),
        (Loud(), "<Loud, whose repr raises RuntimeError>"),
    ],
)
def test_values_are_shown_in_short_the_same_everywhere(value: Any, text: str) -> None:
    assert shorten(value) == text


def test_what_is_shown_never_exceeds_the_limit() -> None:
    for value in (
        "x" * 1000,
        list(range(10_000)),
        dict.fromkeys(range(100), "y" * 50),
        np.zeros((50, 50)),
    ):
        assert len(shorten(value, 60)) <= 60
    nested: Any = []
    for _ in range(50):
        nested = [nested]
    assert len(shorten(nested, 60)) <= 60


@given(st.lists(st.floats(), max_size=40), st.integers(4, 120), st.booleans())
def test_the_fast_lane_for_numbers_gives_the_text_of_the_general_one(
    numbers: list[float], limit: int, as_array: bool
) -> None:
    value: Any = np.array(numbers, dtype=np.float64) if as_array else numbers
    text = _numbers_text(value, limit, ".4g")
    if text and len(text) <= limit:
        assert text == _text(value, limit, 4) == shorten(value, limit)
    assert not _numbers_text([*numbers, 1], limit, ".4g")
