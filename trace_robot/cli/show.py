"""``trace-robot show``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from trace_robot.cli.console import console, write_json
from trace_robot.cli.curve import curve
from trace_robot.cli.find import find, name_of, runs_folder
from trace_robot.cli.plain import iteration_data, run_data
from trace_robot.cli.text import duration, line, safe
from trace_robot.store.history import IterationInfo, RunInfo, Score

if TYPE_CHECKING:
    from rich.syntax import Syntax

MOST_ROWS = 30


def run(options: argparse.Namespace) -> int:
    history, info = find(options.run, runs_folder(options))
    with history:
        iterations = history.iterations(info)
    if options.json:
        write_json({**run_data(info), "iterations": [iteration_data(each) for each in iterations]})
        return 0
    out = console()
    _head(out, info)
    if iterations:
        shown = iterations if options.all else telling(iterations)
        out.print()
        if len(iterations) > 1:
            out.print(curve([(info.name, iterations)], out), markup=False)
            out.print()
        out.print(_table(shown))
        if len(shown) < len(iterations):
            out.print(f"{len(iterations) - len(shown)} others were no better; --all shows them", style="dim")
        best = next(each for each in reversed(iterations) if each.better)
        out.print(f"\n[bold]the best controller[/bold], iteration {best.number}:\n")
        out.print(_code(best.controller) if out.is_terminal else safe(best.controller), markup=False)
    return 0


def _code(text: str) -> Syntax:
    from rich.syntax import Syntax

    return Syntax(safe(text), "python", theme="ansi_dark", background_color="default")


def telling(iterations: Sequence[IterationInfo], most: int = MOST_ROWS) -> list[IterationInfo]:
    """Return the iterations to show: all if they are few, else the first, those that were better, and the last."""
    if len(iterations) <= most:
        return list(iterations)
    better = [each for each in iterations if each.better][-most // 2 :]
    numbers = {each.number for each in (iterations[0], *better, *iterations[-most // 4 :])}
    return [each for each in iterations if each.number in numbers]


def _head(out: Console, info: RunInfo) -> None:
    out.print(
        f"[bold]{escape(line(info.name, 100))}[/bold]  {escape(line(info.task, 60))}, {escape(info.optimizer)}"
    )
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("status", escape(status(info)))
    table.add_row("optimizer", escape(line(info.why, 200)))
    table.add_row(
        "from", f"{escape(line(info.policy, 100))}, control {escape(info.control)}, seed {info.seed}"
    )
    table.add_row("success", success(info))
    table.add_row("cost", escape(cost(info)))
    table.add_row("started", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(info.started)))
    missing = "" if info.folder.is_dir() else " (gone)"
    table.add_row("folder", escape(line(f"{info.folder}{missing}", 300)))
    out.print(table)


def status(info: RunInfo) -> str:
    """Return where the run is and why it ended there, or how to go on."""
    if info.status in ("running", "finished"):
        return f"{info.status}: {line(info.ended, 300)}" if info.ended else info.status
    why = line(info.ended, 300) or ("it was killed" if info.status == "stopped" else "an error")
    return f"{info.status}: {why}; go on with: trace-robot resume {name_of(info.folder)}"


def success(info: RunInfo) -> str:
    parts = [
        f"{word} {told(score)}"
        for word, score in (
            ("held out", info.held_out),
            ("training", info.training),
            ("at the start", info.start),
        )
        if score is not None
    ]
    return "; ".join(parts) or "nothing was tried yet"


def told(score: Score) -> str:
    low, high = score.interval
    return f"{score.success:.2f} of {score.episodes} ({low:.2f} to {high:.2f})"


def cost(info: RunInfo) -> str:
    parts = [
        f"{info.iterations} iterations",
        f"{info.candidates:,} controllers tried",
        f"{info.environment_steps:,} simulator steps",
        duration(info.seconds),
    ]
    if info.model_calls:
        parts.append(
            f"{info.model_calls:,} model calls, {info.prompt_tokens:,} + {info.completion_tokens:,} tokens"
        )
    if info.money is not None:
        parts.append(f"{info.money:.4g} in money")
    return ", ".join(parts)


def _table(iterations: Sequence[IterationInfo]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("iteration", "success", "reward", "tried", "time", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what changed", no_wrap=True)
    for each in iterations:
        table.add_row(
            str(each.number), f"{each.success:.2f}", f"{each.reward:.4g}", f"{each.candidates:,}",
            duration(each.seconds), f"{each.tokens:,}" if each.tokens else "-",
            escape(line(each.note) if each.number else "the starting controller"),
            style="green" if each.better and each.number else "",
        )  # fmt: skip
    return table
