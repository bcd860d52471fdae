"""``trace-robot prompt``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from rich.console import Console

from trace_robot.cli.console import console, write_json
from trace_robot.cli.find import find, iteration_of, runs_folder
from trace_robot.cli.plain import plain
from trace_robot.cli.text import safe
from trace_robot.errors import RunError
from trace_robot.store.history import AttemptInfo


def run(options: argparse.Namespace) -> int:
    history, info = find(options.run, runs_folder(options))
    with history:
        iteration = iteration_of(info, history.iterations(info), options.iteration)
        attempts = history.attempts(info, iteration.number)
    if options.json:
        write_json([plain(asdict(each)) for each in attempts])
        return 0
    if not attempts:
        origin = iteration.origin or "elsewhere"
        raise RunError(
            f"no model was asked for iteration {iteration.number} of {info.name!r}: it is from {origin}"
        )
    out = console()
    for number, attempt in enumerate(attempts, 1):
        _show(out, attempt, f"request {number} of {len(attempts)}")
    return 0


def _show(out: Console, attempt: AttemptInfo, which: str) -> None:
    for message in attempt.messages:
        _title(out, f"{which}: {message.get('role', '')}", "bold cyan")
        out.print(safe(message.get("content", "")), markup=False)
    cost = f"{attempt.prompt_tokens:,} + {attempt.completion_tokens:,} tokens"
    _title(out, f"{which}: reply, {attempt.kind}, {cost}", "bold green")
    out.print(safe(attempt.reply), markup=False)
    for problem in attempt.problems:
        out.print(f"could not be used: {safe(problem)}", style="red", markup=False)


def _title(out: Console, text: str, style: str) -> None:
    out.print(f"── {safe(text)} ──", style=style, markup=False)
