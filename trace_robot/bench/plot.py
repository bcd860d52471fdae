"""The results as a picture: one bar a task with its interval, as SVG.

Written by hand rather than by a plotting library: it needs nothing installed, shows in a browser and on a code
host, and the same results give the same bytes, so that a change is a difference that can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from trace_robot.bench.protocol import PAPER
from trace_robot.bench.results import Row
from trace_robot.bench.table import Score, scores

LEFT, WIDTH, RIGHT = 190, 480, 60
TOP, ROW, BOTTOM = 64, 20, 34
BAR, INTERVAL, MARK, GRID, TEXT = "#4c78a8", "#1d3557", "#d1495b", "#dddddd", "#222222"


def svg(rows: Sequence[Row]) -> str:
    """Return the picture of rows that share an optimizer and a protocol, the best task first."""
    found = sorted(scores(rows), key=lambda score: -score.success)
    published = PAPER["optoprime"] if rows and rows[0].protocol == "paper" else {}
    height = TOP + ROW * len(found) + BOTTOM
    width = LEFT + WIDTH + RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="{TEXT}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *_heading(rows, found, bool(published)),
        *_axis(height),
    ]
    for number, score in enumerate(found):
        parts += _bar(score, TOP + ROW * number, published.get(score.task))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _heading(rows: Sequence[Row], found: Sequence[Score], published: bool) -> list[str]:
    if not rows:
        return [_text(10, 24, "no results yet")]
    first = rows[0]
    mean = sum(score.success for score in found) / len(found)
    what = f"{first.optimizer}, protocol {first.protocol}, feedback level {first.feedback}"
    about = "success on held-out conditions, 95 % interval" + (
        "; red: the paper's OptoPrime" if published else ""
    )
    return [_text(10, 24, f"{what}: mean {mean:.3f}", 'font-size="15"'), _text(10, 44, about)]


def _axis(height: int) -> list[str]:
    parts = []
    for tenth in range(0, 11, 2):
        x = _x(tenth / 10)
        parts.append(_line(x, TOP - 4, x, height - BOTTOM + 2, GRID, 1))
        parts.append(_text(x, height - BOTTOM + 18, f"{tenth / 10:.1f}", 'text-anchor="middle"'))
    return parts


def _bar(score: Score, y: int, published: float | None) -> list[str]:
    middle = y + ROW / 2
    low, high = score.interval
    parts = [
        _text(LEFT - 8, middle + 4, score.task, 'text-anchor="end"'),
        f'<rect x="{LEFT}" y="{y + 4}" width="{_x(score.success) - LEFT:.1f}" height="{ROW - 8}" fill="{BAR}"/>',
        _line(_x(low), middle, _x(high), middle, INTERVAL, 2),
        _text(LEFT + WIDTH + 8, middle + 4, f"{score.success:.2f}"),
    ]
    if published is not None:
        parts.append(_line(_x(published), y + 1, _x(published), y + ROW - 1, MARK, 3))
    return parts


def _x(success: float) -> float:
    return LEFT + WIDTH * success


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}"{" " + more if more else ""}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: int) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"'
        f' stroke-width="{width}"/>'
    )
