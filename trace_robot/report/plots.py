"""Plotly figures as JSON data: learning curves with confidence bands, 3-D paths.

The page's copy of plotly draws them; Python's is not imported. Colors are names of the style sheet's variables, such
as ``--best``, which the page replaces, so that a plot is light or dark with the page. A trace of a learning curve
carries its abscissas by name in ``axes``; the page takes the one that is selected.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trace_robot.report.escape import plot_text
from trace_robot.stats import student_t

Figure = dict[str, Any]
AXES = {"iteration": "iteration", "steps": "simulator steps", "minutes": "minutes"}
MOST_POINTS = 150  # of one path after downsampling: they are the bulk of a page's data
# At the bottom of the figure, since the toolbar is at its top.
LEGEND = {
    "orientation": "h",
    "x": 0,
    "y": 0,
    "yref": "container",
    "xanchor": "left",
    "yanchor": "bottom",
    "font": {"size": 12},
}
# From the front, the right and above; so far away that the numbers on the axes are in the picture on a phone too.
LONGEST = 1.2  # of an axis in space, in units of plotly, all of which EYE sees
ROOM = 0.08  # of the longest axis, around the paths
EYE = {"x": 1.75, "y": -2.0, "z": 1.15}
_MOST_BARS = 60  # points that still get an error bar each; more bars hide the dots


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement on a learning curve.

    Attributes:
        at: abscissa by axis, a key of ``AXES``; minutes and simulator steps since the start of the run.
        value: ordinate.
        low: lower end of its 95 % confidence interval.
        high: upper end.
        kept: whether the iteration became the best.
        label: what was changed, untrusted text.
    """

    at: Mapping[str, float]
    value: float
    low: float
    high: float
    kept: bool = True
    label: str = ""


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and the ends of its 95 % confidence interval (Student's t).

    Of one value the interval is the value.
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, mean, mean
    spread = student_t(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - spread, mean + spread


def curve(
    points: Sequence[Point],
    *,
    tried: Sequence[Point] = (),
    range_: tuple[float, float] | None = None,
    decides: bool = True,
) -> Figure:
    """Return a learning curve: best so far with its band, and a dot an iteration.

    The band is the interval of the iteration that is the best so far, not of the dots.

    Args:
        points: one an iteration, in order.
        tried: all candidates, drawn faint and without intervals.
        range_: ends of the ordinate; chosen by plotly without it.
        decides: whether this is what controllers are kept for; else the line is the kept one's and may fall.
    """
    best = best_so_far(points) if decides else kept_so_far(points)
    x = _axes(points)
    # The order matters: "tonexty" fills up to the trace before.
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
        _line(
            x,
            [p.value for p in best],
            color="--best",
            width=2.5,
            hover=False,
            name="best so far" if decides else "the best controller's",
        ),
    ]
    if tried:
        data.append(_dots(tried, "every candidate", color="--faint", size=4, bars=False))
    bars = len(points) <= _MOST_BARS
    for name, kept, color in (("not kept", False, "--other"), ("kept", True, "--best")):
        members = [(number, p) for number, p in enumerate(points) if p.kept is kept]
        if members:
            dots = _dots([p for _, p in members], name, color=color, size=8, bars=bars)
            # The iteration of each dot, which a click on it opens.
            data.append(dots | {"customdata": [number for number, _ in members]})
    return {"data": data, "layout": _layout(range_)}


def best_line(points: Sequence[Point], name: str, *, decides: bool) -> Figure:
    """Return the line of the best so far, for a plot of several runs.

    Args:
        points: one an iteration, in order.
        name: of the run, untrusted text.
        decides: as of ``curve``.
    """
    best = best_so_far(points) if decides else kept_so_far(points)
    trace = _line(_axes(points), [p.value for p in best], name=plot_text(name), width=2 if decides else 1.2)
    # Steps, as the best is the same until another is: a slope between two iterations was never measured.
    trace["line"] |= {"shape": "hv"}
    return trace | {"mode": "lines+markers", "marker": {"size": 5}}


def kept_so_far(points: Sequence[Point]) -> list[Point]:
    """Return for each iteration the one whose controller was the best then."""
    kept: list[Point] = []
    for point in points:
        kept.append(point if point.kept or not kept else kept[-1])
    return kept


def best_so_far(points: Sequence[Point]) -> list[Point]:
    """Return for each iteration the highest of those kept until then.

    Of those kept: a candidate may score higher on fewer episodes and be refused. And the highest of them: one that was
    measured on more conditions may be kept with a lower score, though what is the best so far never falls.
    """
    best: list[Point] = []
    for point in kept_so_far(points):
        best.append(point if not best or point.value >= best[-1].value else best[-1])
    return best


def spent(series: Mapping[str, Sequence[Point]], *, unit: str = "") -> Figure:
    """Return cumulative costs by iteration, a line a kind.

    Args:
        series: points by kind, each the sum up to that iteration.
        unit: prefix of the ordinate's ticks, e.g. "$".
    """
    data = []
    for index, (name, points) in enumerate(series.items()):
        color = ("--best", "--other", "--third")[index % 3]
        data.append(_line(_axes(points), [p.value for p in points], color=color, name=name))
    layout = _layout()
    layout["yaxis"] |= {"tickprefix": unit, "rangemode": "tozero"}
    if len(series) < 2:
        layout["margin"] |= {"b": 44}
    return {"data": data, "layout": layout | {"showlegend": len(series) > 1}}


def paths(positions: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, Figure]:
    """Return the paths of named points in space, from above and from the side.

    A point that does not move is a mark.

    Args:
        positions: rows of (x, y, z) in meters, world frame, by the name of the point; rows of another length or
            with NaN are left out.

    Returns:
        Figures named "space", "above" (x, y) and "side" (x, z).
    """
    space: list[Figure] = []
    above: list[Figure] = []
    side: list[Figure] = []
    for index, (name, course) in enumerate(positions.items()):
        rows = [row for row in _downsampled(course) if len(row) == 3 and all(map(math.isfinite, row))]
        if not rows:
            continue
        color = _path_color(name, index)
        label = plot_text(name.removesuffix("_position").replace("_", " "))
        # 0.1 mm: contacts make a body at rest tremble.
        still = all(math.dist(row, rows[0]) < 1e-4 for row in rows)
        rows = rows[:1] if still else rows
        x, y, z = (list(axis) for axis in zip(*rows, strict=True))
        space += _path({"type": "scatter3d", "x": x, "y": y, "z": z}, label, color, still)
        above += _path({"type": "scatter", "x": x, "y": y}, label, color, still)
        side += _path({"type": "scatter", "x": x, "y": z}, label, color, still)
    axis = {
        "gridcolor": "--grid",
        "color": "--muted",
        "showbackground": False,
        "zeroline": False,
    }
    ranges = _ranges([[value for trace in space for value in trace[name]] for name in "xyz"])
    spans = [high - low for low, high in ranges]
    scene: Figure = {
        f"{name}axis": axis
        | {"title": {"text": f"{name}, m"}, "nticks": _ticks(span, max(spans)), "range": [low, high]}
        for name, span, (low, high) in zip("xyz", spans, ranges, strict=True)
    }
    # A meter is as long on every axis. Plotly's own mode "data" makes the volume 1, and so a path along one axis longer
    # than the camera sees.
    ratio = {name: LONGEST * span / max(spans) for name, span in zip("xyz", spans, strict=True)}
    scene |= {"aspectmode": "manual", "aspectratio": ratio, "camera": {"eye": EYE}}
    base = {"margin": {"l": 0, "r": 0, "t": 0, "b": 0}, "scene": scene, "legend": LEGEND} | _colors()
    return {
        "space": {"data": space, "layout": base},
        "above": {"data": above, "layout": _flat("x, m", "y, m", ranges[0], ranges[1])},
        "side": {"data": side, "layout": _flat("x, m", "z, m", ranges[0], ranges[2])},
    }


def _ranges(axes: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """Return the range of each axis, with a margin around the paths."""
    ends = [(min(values), max(values)) if values else (0.0, 0.0) for values in axes]
    margin = max(0.01, ROOM * max(high - low for low, high in ends))
    return [(low - margin, high + margin) for low, high in ends]


def _ticks(span: float, longest: float) -> int:
    """Return how many numbers an axis has room for: 5 on the longest, at least 2."""
    return max(2, round(5 * span / longest)) if longest else 5


def _path_color(name: str, number: int) -> str:
    """Return a color by role: the hand is recorded first, goals by their name."""
    if number == 0:
        return "--hand"
    return "--goal" if "goal" in name else ("--object", "--third", "--other")[(number - 1) % 3]


def _path(axes: Figure, name: str, color: str, still: bool) -> list[Figure]:
    """Return a path's line with its ends, or a mark at rest."""
    depth = axes["type"] == "scatter3d"
    common = {"name": name, "legendgroup": name, "hoverinfo": "name+x+y+z" if depth else "name+x+y"}
    ends = {key: value if key == "type" else value[-1:] for key, value in axes.items()}
    size = (6 if depth else 11) if still else (4 if depth else 8)  # the same size looks larger in WebGL
    mark = {"color": color, "size": size, "symbol": "diamond" if still else "circle"}
    end = ends | common | {"mode": "markers", "marker": mark, "showlegend": still}
    if still:
        return [end]
    first = {key: value if key == "type" else value[:1] for key, value in axes.items()}
    ring = {"color": color, "size": size, "symbol": "circle-open", "line": {"width": 2, "color": color}}
    start = first | common | {"mode": "markers", "marker": ring, "showlegend": False}
    return [
        axes | common | {"mode": "lines", "line": {"color": color, "width": 5 if depth else 2.5}},
        start,
        end,
    ]


def _downsampled(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    """Keep every n-th row and the last one, to a tenth of a millimeter."""
    step = max(1, math.ceil(len(rows) / MOST_POINTS))
    kept = [*rows[::step], *([rows[-1]] if len(rows) % step != 1 and len(rows) > 1 else [])]
    return [[round(float(part), 4) for part in row] for row in kept]


def _axes(points: Sequence[Point]) -> dict[str, list[float]]:
    """Return the abscissas that all points have, by axis."""
    return {name: [p.at[name] for p in points] for name in AXES if all(name in p.at for p in points)}


def _line(
    axes: Mapping[str, Sequence[float]],
    y: Sequence[float],
    *,
    color: str = "--best",
    width: float = 2,
    name: str = "",
    hover: bool = True,
    **more: Any,
) -> Figure:
    """Return a line trace, in the legend only if it has a name."""
    return {
        "type": "scatter",
        "mode": "lines",
        "axes": axes,
        "y": list(y),
        "name": name,
        "showlegend": bool(name),
        "line": {"color": color, "width": width},
        "hoverinfo": "all" if hover else "skip",
        **more,
    }


def _dots(points: Sequence[Point], name: str, *, color: str, size: float, bars: bool) -> Figure:
    trace: Figure = {
        "type": "scatter",
        "mode": "markers",
        "axes": _axes(points),
        "y": [p.value for p in points],
        "name": name,
        "marker": {"color": color, "size": size},
        "text": [plot_text(p.label) for p in points],
        "hovertemplate": "%{text}<br>%{y:.4g}<extra></extra>",  # <extra> hides the box with the trace's name
    }
    if bars:
        trace["error_y"] = {
            "type": "data",
            "symmetric": False,  # Wilson's interval is not
            "array": [p.high - p.value for p in points],
            "arrayminus": [p.value - p.low for p in points],
            "thickness": 1,
            "width": 0,
            "color": color,
        }
    return trace


def _layout(range_: tuple[float, float] | None = None) -> Figure:
    axis = {"gridcolor": "--grid", "linecolor": "--grid", "zeroline": False}
    return {
        "margin": {
            "l": 54,
            "r": 10,
            "t": 30,
            "b": 66,
        },  # on top the height of the toolbar, below that of the legend
        "xaxis": axis | {"showgrid": False},
        "yaxis": axis | ({"range": list(range_)} if range_ else {}),
        "legend": LEGEND,
        "hovermode": "closest",
    } | _colors()


def _flat(x: str, y: str, across: tuple[float, float], up: tuple[float, float]) -> Figure:
    """Return the layout of a projection of the paths, to scale."""
    layout = _layout(up)
    layout["xaxis"] |= {"title": {"text": x}, "showgrid": True, "range": list(across)}
    layout["yaxis"] |= {"title": {"text": y}, "scaleanchor": "x", "scaleratio": 1}
    layout["margin"] |= {"b": 44}
    return layout | {"showlegend": False}


def _colors() -> Figure:
    """Return the layout's colors as names of CSS variables."""
    return {
        "paper_bgcolor": "--clear",
        "plot_bgcolor": "--clear",
        "font": {"color": "--ink", "size": 12},
        "hoverlabel": {
            "bgcolor": "--card",
            "bordercolor": "--grid",
            "font": {"color": "--ink"},
            "align": "left",
        },
    }
