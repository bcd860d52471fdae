"""The plots of a report as plotly figures: plain data that the page's copy of plotly draws.

Colours are names of the style sheet's variables, such as ``--best``, which the page puts in, so that a plot is
light or dark with the page. A trace of a learning curve carries its abscissas by name in ``axes``; the page takes the
one that is chosen.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

from trace_robot.report.escape import plot_text
from trace_robot.report.iterations import number, title
from trace_robot.store.history import History, IterationInfo, RunInfo, Score

Figure = dict[str, Any]
AXES = {"iteration": "iteration", "steps": "simulator steps", "minutes": "minutes"}
MOST_POINTS = 150  # of one path
# 97.5 % points of Student's t for 1 to 30 degrees of freedom; beyond, the normal distribution's.
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_MOST_BARS = 60  # points that still get an error bar each


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement. at: by axis; low, high: its 95 % interval; kept: it became the best; label: what was changed."""

    at: Mapping[str, float]
    value: float
    low: float
    high: float
    kept: bool = True
    label: str = ""


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean with its 95 % interval by Student's t; with one value, the value alone."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, mean, mean
    t = _T[len(values) - 2] if len(values) - 2 < len(_T) else 1.96
    spread = t * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - spread, mean + spread


def curve(
    points: Sequence[Point], *, tried: Sequence[Point] = (), range_: tuple[float, float] | None = None
) -> Figure:
    """Return the best so far with its band, a dot an iteration, and a faint one for everything tried.

    The band is the interval of the iteration that is the best so far, not of the dots.
    """
    best: list[Point] = []
    for point in points:
        best.append(point if point.kept or not best else best[-1])
    x = _axes(points)
    data = [
        _line(x, [p.high for p in best], width=0, hover=False),
        _line(
            x,
            [p.low for p in best],
            width=0,
            hover=False,
            fill="tonexty",
            fillcolor="--band",
            name="95 % interval",
        ),
        _line(x, [p.value for p in best], color="--best", width=2.5, hover=False, name="best so far"),
    ]
    if tried:
        data.append(_dots(tried, "every candidate", color="--faint", size=4, bars=False))
    bars = len(points) <= _MOST_BARS
    for name, kept, colour in (("not kept", False, "--other"), ("kept", True, "--best")):
        chosen = [(number, p) for number, p in enumerate(points) if p.kept is kept]
        if chosen:
            dots = _dots([p for _, p in chosen], name, color=colour, size=8, bars=bars)
            data.append(dots | {"customdata": [number for number, _ in chosen]})
    return {"data": data, "layout": _layout(range_)}


def spent(series: Mapping[str, Sequence[Point]], *, unit: str = "") -> Figure:
    """Return what had been spent up to each iteration, a line a kind."""
    data = []
    for index, (name, points) in enumerate(series.items()):
        colour = ("--best", "--other", "--third")[index % 3]
        data.append(_line(_axes(points), [p.value for p in points], color=colour, name=name))
    layout = _layout()
    layout["yaxis"] |= {"tickprefix": unit, "rangemode": "tozero"}
    return {"data": data, "layout": layout | {"showlegend": len(series) > 1}}


def paths(positions: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, Figure]:
    """Return the courses of named points, metres, world frame: in space, from above and from the side.

    A point that keeps still is a mark. Names of figures: "space", "above", "side".
    """
    space: list[Figure] = []
    above: list[Figure] = []
    side: list[Figure] = []
    for index, (name, every) in enumerate(positions.items()):
        rows = [row for row in _thinned(every) if len(row) == 3 and all(map(math.isfinite, row))]
        if not rows:
            continue
        colour = _path_colour(name, index)
        label = plot_text(name.removesuffix("_position").replace("_", " "))
        still = all(math.dist(row, rows[0]) < 1e-4 for row in rows)
        rows = rows[:1] if still else rows
        x, y, z = (list(axis) for axis in zip(*rows, strict=True))
        space += _path({"type": "scatter3d", "x": x, "y": y, "z": z}, label, colour, still)
        above += _path({"type": "scatter", "x": x, "y": y}, label, colour, still)
        side += _path({"type": "scatter", "x": x, "y": z}, label, colour, still)
    axis = {
        "gridcolor": "--grid",
        "color": "--muted",
        "showbackground": False,
        "zeroline": False,
        "nticks": 5,
    }
    scene = {f"{a}axis": axis | {"title": {"text": f"{a}, m"}} for a in "xyz"} | {
        "aspectmode": "data", "camera": {"eye": {"x": 1.3, "y": -1.5, "z": 0.9}},
    }  # fmt: skip
    legend = {"x": 0, "y": 1, "orientation": "h", "yanchor": "top", "xanchor": "left", "font": {"size": 13}}
    base = {"margin": {"l": 0, "r": 0, "t": 0, "b": 0}, "scene": scene, "legend": legend} | _colours()
    return {
        "space": {"data": space, "layout": base},
        "above": {"data": above, "layout": _flat("x, m", "y, m")},
        "side": {"data": side, "layout": _flat("x, m", "z, m")},
    }


def _path_colour(name: str, number: int) -> str:
    """Hands come first and goals are called so; what else there is takes turns."""
    if number == 0:
        return "--hand"
    return "--goal" if "goal" in name else ("--object", "--third", "--other")[(number - 1) % 3]


def _path(axes: Figure, name: str, colour: str, still: bool) -> list[Figure]:
    """Return the course and a mark at its end."""
    depth = axes["type"] == "scatter3d"
    common = {"name": name, "legendgroup": name, "hoverinfo": "name+x+y+z" if depth else "name+x+y"}
    ends = {key: value if key == "type" else value[-1:] for key, value in axes.items()}
    mark = {"color": colour, "size": (6 if depth else 11) if still else (4 if depth else 8),
            "symbol": "diamond" if still else "circle"}  # fmt: skip
    end = ends | common | {"mode": "markers", "marker": mark, "showlegend": still}
    if still:
        return [end]
    return [axes | common | {"mode": "lines", "line": {"color": colour, "width": 5 if depth else 2.5}}, end]


def _thinned(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    step = max(1, math.ceil(len(rows) / MOST_POINTS))
    kept = [*rows[::step], *([rows[-1]] if len(rows) % step != 1 and len(rows) > 1 else [])]
    return [[round(float(part), 4) for part in row] for row in kept]


def _axes(points: Sequence[Point]) -> dict[str, list[float]]:
    return {name: [p.at[name] for p in points] for name in AXES if all(name in p.at for p in points)}


def _line(
    axes: Mapping[str, Sequence[float]], y: Sequence[float], *, color: str = "--best", width: float = 2, name: str = "",
    hover: bool = True, **more: Any,
) -> Figure:  # fmt: skip
    return {
        "type": "scatter", "mode": "lines", "axes": axes, "y": list(y), "name": name, "showlegend": bool(name),
        "line": {"color": color, "width": width}, "hoverinfo": "all" if hover else "skip", **more,
    }  # fmt: skip


def _dots(points: Sequence[Point], name: str, *, color: str, size: float, bars: bool) -> Figure:
    trace: Figure = {
        "type": "scatter", "mode": "markers", "axes": _axes(points), "y": [p.value for p in points], "name": name,
        "marker": {"color": color, "size": size}, "text": [plot_text(p.label) for p in points],
        "hovertemplate": "%{text}<br>%{y:.4g}<extra></extra>",
    }  # fmt: skip
    if bars:
        trace["error_y"] = {
            "type": "data", "array": [p.high - p.value for p in points], "symmetric": False, "thickness": 1,
            "arrayminus": [p.value - p.low for p in points], "width": 0, "color": color,
        }  # fmt: skip
    return trace


def _layout(range_: tuple[float, float] | None = None) -> Figure:
    axis = {"gridcolor": "--grid", "linecolor": "--grid", "zeroline": False}
    return {
        "margin": {"l": 54, "r": 10, "t": 26, "b": 40},
        "xaxis": axis | {"showgrid": False},
        "yaxis": axis | ({"range": list(range_)} if range_ else {}),
        "legend": {
            "orientation": "h",
            "x": 1,
            "y": 1.0,
            "xanchor": "right",
            "yanchor": "bottom",
            "font": {"size": 12},
        },
        "hovermode": "closest",
    } | _colours()


def _flat(x: str, y: str) -> Figure:
    layout = _layout()
    layout["xaxis"] |= {"title": {"text": x}, "showgrid": True}
    layout["yaxis"] |= {"title": {"text": y}, "scaleanchor": "x", "scaleratio": 1}
    layout["margin"] |= {"t": 8}
    return layout | {"showlegend": False}


def _colours() -> Figure:
    return {
        "paper_bgcolor": "--clear", "plot_bgcolor": "--clear", "font": {"color": "--ink", "size": 12},
        "hoverlabel": {"bgcolor": "--card", "bordercolor": "--grid", "font": {"color": "--ink"}, "align": "left"},
    }  # fmt: skip


MOST_PATHS = 24  # iterations whose paths can be chosen
MOST_CANDIDATES = 5_000  # dots of one plot


@dataclass(frozen=True, slots=True)
class Plot:
    """A place for a figure; summary: for those who do not see it."""

    figure: str
    size: str
    title: str
    summary: str
    note: str = ""


def curves(
    history: History, run: RunInfo, iterations: Sequence[IterationInfo]
) -> tuple[dict[str, Figure], tuple[Plot, ...]]:
    if not iterations:
        return {}, ()
    first, best = iterations[0].success, max(each.success for each in iterations)
    tried = _tried(history, run, iterations)
    figures = {
        "success": curve(
            [_point(each, each.success, *Score(each.success, len(each.episodes)).interval) for each in iterations],
            tried=tried, range_=(-0.04, 1.04),
        ),
        "return": curve([_point(each, *_return(each)) for each in iterations]),
    }  # fmt: skip
    plots = [
        Plot("success", "main", "Success in training",
             f"success by iteration, from {number(first)} at the start to {number(best)}",
             "Dots: iterations with their 95 % intervals. Line and band: the best so far."
             + (" Faint: every candidate, some on fewer episodes." if tried else "")),
        Plot("return", "half", "Return of an episode", "mean return of an episode by iteration"),
    ]  # fmt: skip
    if run.model_calls:
        kinds = {"prompts": "prompt_tokens", "replies": "completion_tokens"}
        series = {
            kind: [_spent(each, getattr(each, name)) for each in iterations] for kind, name in kinds.items()
        }
        figures["tokens"] = spent(series)
        plots.append(
            Plot(
                "tokens", "half", "Tokens so far", f"tokens spent so far by iteration, {run.tokens:,} in all"
            )
        )
    if run.money is not None:
        figures["money"] = spent(
            {"money": [_spent(each, each.money or 0.0) for each in iterations]}, unit="$"
        )
        plots.append(
            Plot(
                "money",
                "half",
                "Money so far",
                f"money spent so far by iteration, {run.money:.2f} dollars in all",
            )
        )
    if len(plots) % 2 == 0:  # small plots stand in pairs
        figures["work"] = spent({"candidates": [_spent(each, each.candidates) for each in iterations]})
        summary = f"controllers tried so far by iteration, {run.candidates:,} in all"
        plots.append(Plot("work", "half", "Controllers tried so far", summary))
    return figures, tuple(plots)


def _at(iteration: IterationInfo) -> dict[str, float]:
    return {
        "iteration": iteration.number,
        "steps": iteration.environment_steps,
        "minutes": round(iteration.seconds / 60, 3),
    }


def _point(iteration: IterationInfo, value: float, low: float, high: float) -> Point:
    return Point(
        _at(iteration), value, low, high, iteration.better, f"{iteration.number}: {title(iteration)}"
    )


def _spent(iteration: IterationInfo, value: float) -> Point:
    return Point(_at(iteration), value, value, value)


def _return(iteration: IterationInfo) -> tuple[float, float, float]:
    rewards = [each.reward for each in iteration.episodes if each.reward == each.reward]
    return mean_interval(rewards) if rewards else (iteration.reward,) * 3


def _tried(history: History, run: RunInfo, iterations: Sequence[IterationInfo]) -> list[Point]:
    """Return every candidate, put between the iterations before and after it; none where each is an iteration."""
    candidates = history.candidates(run)
    if len(candidates) <= len(iterations):
        return []
    knots = [(each.candidates, _at(each)) for each in iterations]
    points = []
    at = 0
    for position, candidate in enumerate(candidates[:MOST_CANDIDATES], 1):
        while at < len(knots) - 1 and knots[at][0] < position:
            at += 1
        (before, low), (after, high) = knots[max(0, at - 1)], knots[at]
        part = min(1.0, max(0.0, (position - before) / (after - before))) if after > before else 1.0
        where = {axis: round(low[axis] + part * (high[axis] - low[axis]), 3) for axis in low}
        points.append(
            Point(
                where,
                candidate.success,
                0,
                0,
                label=f"candidate {candidate.id}: {candidate.note or candidate.origin}",
            )
        )
    return points


def chosen(iterations: Sequence[IterationInfo], most: int) -> list[IterationInfo]:
    """Return the start and what was kept, the latest if there are too many."""
    kept = [each for each in iterations if each.better or each.number == 0]
    return kept if len(kept) <= most else [kept[0], *kept[len(kept) - most + 1 :]]


def courses(
    history: History, run: RunInfo, iterations: Sequence[IterationInfo]
) -> tuple[tuple[tuple[str, str], ...], dict[str, dict[str, Figure]]]:
    shown, figures = [], {}
    for each in chosen(iterations, MOST_PATHS):
        recording = history.recording(run, each.number)
        if recording is None or not recording.positions:
            continue
        key = str(each.number)
        figures[key] = paths({name: array.tolist() for name, array in recording.positions.items()})
        shown.append(
            (key, f"iteration {key}, condition {recording.seed}: {shorten(title(each), 60, placeholder='…')}")
        )
    return tuple(shown), figures
