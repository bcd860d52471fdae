"""Learning curves in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from trace_robot.cli.text import line
from trace_robot.run.history import IterationInfo

HEIGHT, WIDEST, MARGIN = 10, 70, 16
COLORS = ("green", "magenta")


def curve(runs: Sequence[tuple[str, Sequence[IterationInfo]]], out: Console) -> Text:
    """Return the best training success so far over the iterations, a line a run."""
    import plotille

    figure = plotille.Figure()
    figure.width, figure.height = max(20, min(WIDEST, out.width - MARGIN)), HEIGHT
    figure.color_mode = "names"
    figure.with_colors = out.is_terminal and out.color_system is not None and not out.no_color
    last = max(len(iterations) for _, iterations in runs) - 1
    figure.set_x_limits(0, max(1, last))
    figure.set_y_limits(0, 1)
    figure.x_label, figure.y_label = "iteration", "success"
    figure.y_ticks_fkt = _success
    figure.x_ticks_fkt = _whole
    for (name, iterations), color in zip(runs, COLORS, strict=False):
        best, highs = 0.0, []
        for each in iterations:
            best = max(best, each.success if each.better else 0.0)
            highs.append(best)
        numbers = [each.number for each in iterations]
        figure.plot(numbers, highs, lc=color, label=line(name, 40))
        if len(runs) == 1:
            figure.scatter(numbers, [each.success for each in iterations], lc="blue", label="each")
    text = figure.show(legend=len(runs) > 1)
    return Text.from_ansi(text)


def _success(low: float, high: float) -> str:
    return f"{low:.2f}"


def _whole(low: float, high: float) -> Any:
    return f"{low:.0f}" if abs(low - round(low)) < (high - low) / 20 else ""
