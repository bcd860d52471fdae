"""Learning curves in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from rich.console import Console
from rich.text import Text

from trace_robot.cli.text import line
from trace_robot.store.history import IterationInfo

HEIGHT, WIDEST, MARGIN = 10, 80, 8
COLORS = ("green", "magenta")
LABELS = {0: "1.00", HEIGHT // 2: "0.50", HEIGHT - 1: "0.00"}


def curve(runs: Sequence[tuple[str, Sequence[IterationInfo]]], out: Console) -> Text:
    """Return the best training success so far over the iterations, a line a run; of one run also each as a dot."""
    from plotille import Canvas

    width = max(20, min(WIDEST, out.width - MARGIN))
    last = max(1, max(iterations[-1].number for _, iterations in runs))
    names = [name if out.is_terminal and not out.no_color else None for name in COLORS]
    canvas = Canvas(width, HEIGHT, 0, -0.02, last * 1.02, 1.02)
    for (_, iterations), color in zip(runs, names, strict=False):
        highs = accumulate((each.success if each.better else 0.0 for each in iterations), max)
        points = [(each.number, high) for each, high in zip(iterations, highs, strict=True)]
        for (x_0, y_0), (x_1, y_1) in pairwise(points):
            canvas.line(x_0, y_0, x_1, y_0, color=color)
            canvas.line(x_1, y_0, x_1, y_1, color=color)
        if len(runs) == 1:
            for each in iterations:
                canvas.point(each.number, each.success, color=color)
    rows = canvas.plot().split("\n")
    lines = [f"{LABELS.get(number, ''):>5} │{row}" for number, row in enumerate(rows)]
    lines.append(f"{'':5} └{'─' * width}")
    lines.append(f"{'':7}0{f'iteration {last}':>{width - 1}}")
    shown = Text().append("success, the best so far", "bold")
    if len(runs) > 1:
        for number, (name, _) in enumerate(runs):
            shown.append(" and " if number else ": ").append(line(name, 40), COLORS[number])
    return shown.append("\n").append_text(Text.from_ansi("\n".join(lines)))
