"""``trace-robot compare``."""

from __future__ import annotations

import argparse
from typing import Any

from rich.markup import escape
from rich.table import Table

from trace_robot.cli.console import console, write_json
from trace_robot.cli.curve import curve
from trace_robot.cli.diff import colored
from trace_robot.cli.find import find, iteration_of, runs_folder
from trace_robot.cli.plain import run_data
from trace_robot.cli.show import told
from trace_robot.cli.text import duration, line
from trace_robot.stats import difference as between
from trace_robot.store.folder import difference
from trace_robot.store.history import IterationInfo, RunInfo


def run(options: argparse.Namespace) -> int:
    runs: list[RunInfo] = []
    iterations: list[list[IterationInfo]] = []
    for name in (options.first, options.second):
        history, info = find(name, runs_folder(options))
        with history:
            runs.append(info)
            iterations.append(history.iterations(info))
    first, second = runs
    verdict = _verdict(first, second)
    if options.json:
        write_json(
            {
                "first": run_data(first),
                "second": run_data(second),
                "settings": _settings(first, second),
                **verdict,
            }
        )
        return 0
    out = console()
    out.print(_table(first, second))
    out.print(f"\n{_words(verdict, second)}")
    if all(len(each) > 1 for each in iterations):
        out.print()
        names = (first.name, second.name)
        out.print(curve(list(zip(names, iterations, strict=True)), out))
    if options.diff and all(iterations):
        best = [iteration_of(run, each, None).controller for run, each in zip(runs, iterations, strict=True)]
        out.print()
        out.print(colored(difference(best[0], best[1], (first.name, second.name))), end="")
    return 0


def _table(first: RunInfo, second: RunInfo) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("")
    for each in (first, second):
        table.add_column(escape(line(each.name, 48)), overflow="fold")
    for name, values in _settings(first, second).items():
        table.add_row(escape(name), *(escape(line(str(value), 60)) for value in values))
    rows: list[tuple[str, Any]] = [
        ("status", lambda run: run.status),
        ("held out", lambda run: "-" if run.held_out is None else told(run.held_out)),
        ("training", lambda run: "-" if run.training is None else told(run.training)),
        ("iterations", lambda run: f"{run.iterations:,}"),
        ("controllers tried", lambda run: f"{run.candidates:,}"),
        ("simulator steps", lambda run: f"{run.environment_steps:,}"),
        ("time", lambda run: duration(run.seconds)),
        ("model calls", lambda run: f"{run.model_calls:,}"),
        ("tokens", lambda run: f"{run.tokens:,}"),
        ("money", lambda run: "-" if run.money is None else f"{run.money:.4g}"),
    ]
    for name, value in rows:
        table.add_row(name, escape(value(first)), escape(value(second)))
    return table


def _settings(first: RunInfo, second: RunInfo) -> dict[str, tuple[Any, Any]]:
    """Return what the two were begun with where it differs, versions included; task, optimizer and policy always."""
    every = [
        {**run.settings, **{f"version of {k}": v for k, v in run.versions.items()}} for run in (first, second)
    ]
    names = dict.fromkeys([*every[0], *every[1]])
    always = ("task", "optimizer", "policy")
    return {
        name: (every[0].get(name), every[1].get(name))
        for name in names
        if name in always or every[0].get(name) != every[1].get(name)
    }


def _verdict(first: RunInfo, second: RunInfo) -> dict[str, Any]:
    """Return by how much the second is better on held-out conditions, with the 95 % interval of that."""
    if first.held_out is None or second.held_out is None:
        return {"difference": None, "interval": None}
    a, b = first.held_out, second.held_out
    counts = [(round(score.success * score.episodes), score.episodes) for score in (a, b)]
    return {"difference": b.success - a.success, "interval": list(between(*counts))}


def _words(verdict: dict[str, Any], second: RunInfo) -> str:
    if verdict["difference"] is None:
        return "not both are finished, so there is no held-out success to compare"
    low, high = verdict["interval"]
    sure = "more than chance" if low > 0 or high < 0 else "may be chance"
    return (
        f"held-out success of {escape(line(second.name, 48))} is {verdict['difference']:+.2f}"
        f" (95 % interval {low:+.2f} to {high:+.2f}): {sure}"
    )
