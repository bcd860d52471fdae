"""``trace-robot runs``."""

from __future__ import annotations

import argparse
import time

from rich.markup import escape
from rich.table import Table

from trace_robot.cli.console import console, write_json
from trace_robot.cli.find import runs_folder
from trace_robot.cli.plain import run_data
from trace_robot.cli.text import duration, line
from trace_robot.store.database import FILE
from trace_robot.store.history import History, RunInfo, Score

STYLES = {"running": "cyan", "stopped": "yellow", "failed": "red", "finished": ""}


def run(options: argparse.Namespace) -> int:
    folder = runs_folder(options)
    found: list[RunInfo] = []
    if (folder / FILE).is_file() or options.runs:
        with History(folder) as history:
            found = history.runs(task=options.task, optimizer=options.optimizer, status=options.status)
    if options.json:
        write_json([run_data(each) for each in found])
        return 0
    out = console()
    if not found:
        asked = any((options.task, options.optimizer, options.status))
        what = "no such runs" if asked else "no runs"
        out.print(f"{what} in {escape(str(folder))}; start one with: trace-robot optimize TASK")
        return 0
    out.print(_table(found))
    return 0


def _table(runs: list[RunInfo]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("run", "task", "optimizer", "status"):
        table.add_column(name, no_wrap=True)
    for name in ("held out", "training", "iterations", "tried", "time", "tokens", "money"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("started", no_wrap=True)
    for each in runs:
        table.add_row(
            escape(line(each.name, 48)), escape(line(each.task, 30)), escape(each.optimizer), escape(each.status),
            _rate(each.held_out), _rate(each.training),
            f"{each.iterations:,}", f"{each.candidates:,}", duration(each.seconds),
            f"{each.tokens:,}" if each.model_calls else "-", "-" if each.money is None else f"{each.money:.2f}",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(each.started)), style=STYLES[each.status],
        )  # fmt: skip
    return table


def _rate(score: Score | None) -> str:
    return "-" if score is None else f"{score.success:.2f}"
