"""``runs``, and the look-up of a run and an iteration for other commands."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trace_robot.cli.arguments import Commands, add_command, add_json, add_runs_folder
from trace_robot.cli.console import (
    console,
    create_table,
    duration,
    escape,
    line,
    run_data,
    write_error,
    write_json,
)
from trace_robot.errors import RunError, UnknownNameError

if TYPE_CHECKING:
    from rich.table import Table

    from trace_robot.store.history import History, IterationInfo, RunInfo, Score

RUNS = Path("rollouts") / "runs"
STYLES = {"running": "cyan", "stopped": "yellow", "failed": "red", "finished": ""}


def add_runs(commands: Commands) -> None:
    """Add ``runs``."""
    command = add_command(commands, "runs", "list runs, the latest first")
    command.set_defaults(execute=execute_runs)
    command.add_argument("--task", metavar="NAME", help="of this task, or of those that begin so")
    command.add_argument("--optimizer", metavar="NAME", help="by this optimizer")
    command.add_argument("--status", metavar="S", help="running, stopped, failed or finished")
    add_runs_folder(command)
    add_json(command)


def execute_runs(options: argparse.Namespace) -> int:
    """Print the runs of a folder as a table, or as JSON."""
    from trace_robot.store.database import FILE
    from trace_robot.store.history import History

    folder = runs_folder(options)
    runs: list[RunInfo] = []
    # Without a store the default folder just has no runs yet; a folder that was typed must have one.
    if (folder / FILE).is_file() or options.runs:
        with History(folder) as history:
            runs = history.runs(task=options.task, optimizer=options.optimizer, status=options.status)
            for problem in history.unreadable:
                write_error(f"error: {problem}")
    if options.json:
        write_json([run_data(run) for run in runs])
        return 0
    out = console()
    if not runs:
        filtered = any((options.task, options.optimizer, options.status))
        what = "no such runs" if filtered else "no runs"
        out.print(f"{what} in {escape(str(folder))}; start one with: trace-robot optimize TASK")
        return 0
    out.print(_table(runs))
    return 0


def _table(runs: Sequence[RunInfo]) -> Table:
    table = create_table()
    for name in ("run", "task", "optimizer", "status"):
        table.add_column(name, no_wrap=True)
    for name in ("held out", "training", "iterations", "tried", "time", "tokens", "money"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("started", no_wrap=True)
    for run in runs:
        table.add_row(
            escape(line(run.name, 48)),
            escape(line(run.task, 30)),
            escape(run.optimizer),
            escape(run.status),
            _rate(run.held_out),
            _rate(run.training),
            f"{run.iterations:,}",
            f"{run.candidates:,}",
            duration(run.seconds),
            f"{run.tokens:,}" if run.model_calls else "-",
            "-" if run.money is None else f"{run.money:.2f}",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started)),
            style=STYLES[run.status],
        )
    return table


def _rate(score: Score | None) -> str:
    return "-" if score is None else score.brief


def runs_folder(options: argparse.Namespace) -> Path:
    """Return where runs are looked up by name: ``--runs``, else rollouts/runs."""
    return Path(options.runs) if options.runs else RUNS


def add_ask(command: argparse.ArgumentParser) -> None:
    """Add the options by which a person's words reach the model."""
    command.add_argument(
        "--ask",
        action="store_true",
        help="after every iteration, show where its video is and take a sentence for the model from the terminal",
    )
    command.add_argument(
        "--ask-file",
        metavar="FILE",
        help="the same from a file that is read after every iteration: a sentence a line, those that are new",
    )


def add_images(command: argparse.ArgumentParser) -> None:
    """Add the option that shows pictures to the model."""
    command.add_argument(
        "--images",
        action="store_true",
        help="show a model that sees key frames of an episode, with the paths of hand and object; 800 tokens each are"
        " counted before it answers",
    )


def find_run(text: str, folder: Path = RUNS) -> tuple[History, RunInfo]:
    """Look up a run by its name, the beginning of its name, or its folder.

    Args:
        text: a name or its beginning, looked up in ``folder``; or a path, which leads to the store beside it.
        folder: of runs, with its store.

    Returns:
        The open history that holds the run, for the caller to close, and the run.

    Raises:
        UnknownNameError: no run, or more than one, has a name that begins so.
        RunError: the path is no run's folder, or the store beside it is gone.
    """
    from trace_robot.store.database import FILE
    from trace_robot.store.history import History

    path, text = Path(text), text.rstrip(os.sep) or text
    # A name alone is a path only if a folder of that name lies here and none in ``folder``.
    if os.sep in text or (path.is_dir() and not (folder / text).is_dir()):
        place = path.resolve()
        folder, text = place.parent, place.name
        if not (folder / FILE).is_file():
            raise RunError(_without_store(path, folder, FILE))
    if not (folder / FILE).is_file():
        raise UnknownNameError(
            f"no run {text!r}: there are no runs in {str(folder)!r} yet; give a run's folder, or --runs DIR"
        )
    history = History(folder)
    try:
        return history, history.run(text)
    except BaseException:  # KeyboardInterrupt too: the caller gets no history that it could close
        history.close()
        raise


def _without_store(path: Path, folder: Path, store: str) -> str:
    if not path.is_dir():
        return f"no run {str(path)!r}: there is no such folder, and no {store} in {str(folder)!r}"
    if not (path / "settings.json").is_file():
        return f"{str(path)!r} is not a run's folder"
    return (
        f"the run {str(path)!r} has lost its store: {store} must lie beside it; if the folder was moved, move it back"
        " or move that file too"
    )


def name_of(folder: Path) -> str:
    """Return what to type for a run: its name where that is enough, else its path."""
    return folder.name if folder.parent.resolve() == RUNS.resolve() else str(folder)


def select_iteration(run: RunInfo, iterations: Sequence[IterationInfo], number: int | None) -> IterationInfo:
    """Return one iteration of a run.

    Args:
        run: named in the errors.
        iterations: all of the run, in order.
        number: from 0, the starting controller; None for the best.

    Raises:
        RunError: the run has no iterations yet.
        UnknownNameError: the run has no iteration of this number.
    """
    if not iterations:
        raise RunError(f"the run {run.name!r} has no iterations yet")
    if number is None:
        # The start is always better than nothing; a store without any such mark was not written by a run.
        return next((iteration for iteration in reversed(iterations) if iteration.better), iterations[0])
    if number >= len(iterations):
        raise UnknownNameError(
            f"the run {run.name!r} has no iteration {number}; it has 0 to {len(iterations) - 1}"
        )
    return iterations[number]
