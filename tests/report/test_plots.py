"""Plots: intervals against printed tables, figures against plotly's validation."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from trace_robot.report.escape import script_json
from trace_robot.report.plots import AXES, Figure, Point, best_line, curve, mean_interval, paths, spent

COLOURS = {"--best": "#0b7285"}


def point(number: int, value: float, *, kept: bool = True, label: str = "") -> Point:
    return Point(
        {"iteration": number, "steps": number * 100, "minutes": number / 2},
        value,
        value - 0.1,
        value + 0.2,
        kept,
        label,
    )


def drawn(figure: Figure, axis: str = "iteration") -> Any:
    """Return a figure as the page would draw it, validated by plotly."""
    graph_objects = pytest.importorskip("plotly.graph_objects")

    def _resolved(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: _resolved(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [_resolved(each) for each in value]
        return "#123456" if key.endswith("color") and str(value).startswith("--") else value

    figure = _resolved(json.loads(script_json(figure)))
    for trace in figure["data"]:
        if "axes" in trace:
            trace["x"] = trace.pop("axes")[axis]
    return graph_objects.Figure(figure)


def test_the_interval_of_a_mean_is_students() -> None:
    values = [3.0, 5.0, 4.0, 8.0, 5.0]
    mean, low, high = mean_interval(values)
    assert mean == 5.0
    half = 2.7764 * np.std(values, ddof=1) / math.sqrt(5)  # t of 4 degrees of freedom, from a printed table
    assert (low, high) == pytest.approx((5 - half, 5 + half), rel=1e-3)
    assert mean_interval([7.0]) == (7.0, 7.0, 7.0)
    many = list(np.random.default_rng(0).normal(2.0, 1.0, 400))
    assert mean_interval(many)[2] - np.mean(many) == pytest.approx(1.96 * np.std(many, ddof=1) / 20, rel=1e-3)


@pytest.mark.parametrize("axis", list(AXES))
def test_a_curve_is_a_figure_with_the_best_so_far_and_its_band(axis: str) -> None:
    points = [point(0, 0.1), point(1, 0.6), point(2, 0.3, kept=False), point(3, 0.9)]
    figure = drawn(curve(points, tried=[point(1, 0.5)], range_=(0, 1)), axis)
    upper, lower, best = figure.data[:3]
    assert list(best.y) == [0.1, 0.6, 0.6, 0.9]
    assert list(lower.y) == pytest.approx([0.0, 0.5, 0.5, 0.8])
    assert list(upper.y) == pytest.approx([0.3, 0.8, 0.8, 1.1])
    assert list(best.x) == [each.at[axis] for each in points]
    dots = {trace.name: trace for trace in figure.data[3:]}
    assert list(dots["not kept"].customdata) == [2]
    assert list(dots["kept"].customdata) == [0, 1, 3]
    assert list(dots["kept"].error_y.arrayminus) == pytest.approx([0.1] * 3)


def test_what_was_spent_is_a_figure_with_a_line_a_kind() -> None:
    figure = drawn(
        spent({"prompts": [point(0, 0), point(1, 900)], "replies": [point(0, 0), point(1, 90)]}, unit="$")
    )
    assert [trace.name for trace in figure.data] == ["prompts", "replies"]
    assert figure.layout.yaxis.tickprefix == "$"


def test_paths_are_drawn_in_space_from_above_and_from_the_side_and_what_keeps_still_is_a_mark() -> None:
    turn = np.linspace(0, 1, 1000)[:, None] * [0.1, 0.2, 0.3]
    figures = paths(
        {"hand_position": turn.tolist(), "goal_position": [[0.1, 0.2, 0.3]] * 1000, "odd": [[math.nan] * 3]}
    )
    space = drawn(figures["space"])
    line, start, end, goal = space.data
    assert ((start.x[0], start.y[0], start.z[0]), start.marker.symbol) == ((0.0, 0.0, 0.0), "circle-open")
    assert len(line.x) <= 152
    assert (line.x[-1], line.y[-1], line.z[-1]) == (0.1, 0.2, 0.3) == (end.x[0], end.y[0], end.z[0])
    assert (goal.mode, goal.name, len(goal.x)) == ("markers", "goal", 1)
    assert list(drawn(figures["above"]).data[0].y) == list(line.y)
    assert list(drawn(figures["side"]).data[0].y) == list(line.z)


def test_labels_from_strangers_are_no_tags_of_plotly() -> None:
    figure = curve([point(0, 0.5, label='<a href="https://example.invalid">click</a>')])
    assert "<a" not in json.dumps(figure)


def test_the_best_so_far_never_falls_and_the_line_of_what_does_not_decide_is_named_otherwise() -> None:
    points = [point(0, 0.1), point(1, 0.9), point(2, 0.5), point(3, 1.4, kept=False), point(4, 1.0)]
    decides, other = curve(points)["data"][2], curve(points, decides=False)["data"][2]
    assert decides["y"] == [0.1, 0.9, 0.9, 0.9, 1.0]
    assert other["y"] == [0.1, 0.9, 0.5, 0.5, 1.0]
    assert (decides["name"], other["name"]) == ("best so far", "the best controller's")
    assert best_line(points, "a <b>", decides=True)["y"] == decides["y"]
    assert "<" not in best_line(points, "a <b>", decides=True)["name"]


def test_no_end_of_a_path_is_on_an_edge_and_the_longest_axis_is_as_long_as_the_camera_sees() -> None:
    figures = paths({"hand_position": [[0.0, 0.1, 0.2], [0.4, 0.1, 0.2]]})
    scene = figures["space"]["layout"]["scene"]
    lengths = {name: scene[f"{name}axis"]["range"][1] - scene[f"{name}axis"]["range"][0] for name in "xyz"}
    assert scene["xaxis"]["range"][0] < -0.02
    assert scene["xaxis"]["range"][1] > 0.42
    assert max(scene["aspectratio"].values()) == 1.2
    metre = [scene["aspectratio"][name] / lengths[name] for name in "xyz"]
    assert metre == pytest.approx([metre[0]] * 3)
    for name, up in (("above", 0.1), ("side", 0.2)):
        layout = drawn(figures[name]).layout
        assert layout.xaxis.range[0] < -0.02
        assert layout.yaxis.range[0] < up < layout.yaxis.range[1]


def test_a_short_axis_in_space_has_room_for_fewer_numbers() -> None:
    rows = [[0.0, 0.0, 0.1], [0.02, 0.5, 0.3]]
    scene = paths({"hand_position": rows})["space"]["layout"]["scene"]
    assert [scene[f"{name}axis"]["nticks"] for name in "xyz"] == [2, 5, 2]
    still = paths({"goal_position": rows[:1]})["space"]["layout"]["scene"]
    assert still["xaxis"]["nticks"] == 5
