from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trace_robot.optimizers.prompt.graph_text import render, render_graph
from trace_robot.optimizers.prompt.selection import Selection, select
from trace_robot.optimizers.prompt.table import Series, StepTable


def names(series: Any) -> list[str]:
    return [one.name for one in series]


def test_an_episode_becomes_a_row_of_numbers_a_step(episode: Any) -> None:
    table = StepTable.from_records(episode(3))
    assert table.steps == [0, 1, 2]
    assert {series.name: series.role for series in table.series} == {
        "observation.point": "input",
        "observation.thing": "input",
        "observation.open": "input",
        "act": "output",
    }
    assert table.series[1].values == dict.fromkeys(range(3), (0.5, 0.25))
    assert table.patterns == {("act = act(observation=observation, gain=gain)",): [0, 1, 2]}
    assert [(entry.name, entry.kind, entry.value) for entry in table.entries] == [
        ("gain", "parameter", 4.0),
        ("act", "parameter", "def act(observation, gain): ..."),
    ]
    assert table.documentation == {"act": " Return the velocity and the hold."}


def test_an_exception_is_no_number_but_the_failure_of_its_step(episode: Any) -> None:
    table = StepTable.from_records(episode(20, fault_at=7))
    assert {step: entry.value for step, entry in table.failures.items()} == {
        7: "(ZeroDivisionError) division by zero"
    }
    assert 7 not in next(series for series in table.series if series.name == "act").values


def test_each_series_is_shown_in_one_form(episode: Any) -> None:
    selection = select(StepTable.from_records(episode(40)))
    assert names(selection.constant_inputs) == ["observation.thing"]
    assert names(selection.rows) == ["observation.point", "act"]
    assert [name for name, _ in selection.plateaus] == ["observation.open", "act[1]"]
    assert dict(selection.plateaus)["observation.open"] == [(0, 19, True), (20, 39, False)]
    assert names(selection.outputs) == ["act"]
    assert names(selection.distances) == ["distance of observation.point and observation.thing"]


def test_the_first_steps_of_the_ranking_are_the_failure_the_ends_and_the_step_before_it(episode: Any) -> None:
    selection = select(StepTable.from_records(episode(100, fault_at=80)))
    assert list(selection.ranking[:3]) == [80, 0, 79]
    assert selection.outputs == []


@pytest.mark.parametrize(("part", "left"), [("#Inputs", ["act"]), ("#Outputs", ["observation.point"])])
def test_a_masked_part_takes_its_series_along(episode: Any, part: str, left: list[str]) -> None:
    assert names(select(StepTable.from_records(episode(40)), [part]).rows) == left


def test_a_graph_without_steps_has_entries_and_nothing_to_select(episode: Any) -> None:
    records = [{**record, "step": None} for record in episode(2)]
    table = StepTable.from_records(records)
    assert table.steps == []
    assert len(table.entries) == len(records)
    assert select(table) == Selection()


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=60))
def test_the_ranking_has_each_step_once(values: list[float]) -> None:
    steps = list(range(len(values)))
    series = Series("x", "other", dict(zip(steps, values, strict=True)))
    selection = select(StepTable(steps, [series], {("x = f()",): steps}, {}, [], {}))
    assert len(set(selection.ranking)) == len(selection.ranking)
    assert set(selection.ranking) <= set(steps)
    assert 0 in selection.ranking[:3]
    assert steps[-1] in selection.ranking[:3]


@pytest.mark.parametrize("tokens", [100, 700, 4000])
def test_the_three_passes_are_those_of_the_whole(episode: Any, tokens: int) -> None:
    records = episode(60, jump_at=20)
    table = StepTable.from_records(records)
    assert render(table, select(table), tokens) == render_graph(records, tokens)


def test_columns_are_dropped_where_not_even_two_rows_fit(episode: Any) -> None:
    table = StepTable.from_records(episode(60))
    widths = []
    for tokens in range(150, 900, 25):
        lines = render(table, select(table), tokens).get("#Others", "").split("\n")
        header = next((line for line in lines if line.startswith("step | ")), "")
        rows = lines[lines.index(header) + 1 :] if header else []
        assert all(row.count(" | ") == header.count(" | ") for row in rows)
        assert not header or len(rows) >= 2
        widths.append(header.count(" | "))
    assert {0, 2} <= set(widths)
