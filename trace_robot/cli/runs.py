"""``runs``, and the look-up of a run and an iteration for other commands."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.cli.arguments import add_json, add_runs_folder
from trace_robot.cli.console import (
    console,
    counted,
    duration,
    escape,
    line,
    plain,
    progress_console,
    write_error,
    write_json,
)
from trace_robot.cli.parser import Commands, add_command
from trace_robot.errors import RunError, UnknownNameError, UsageError, unknown

if TYPE_CHECKING:
    from rich.console import Console

    from trace_robot.store.history import History, IterationInfo, RunInfo, Score

RUNS = Path("rollouts") / "runs"
STYLES = {"running": "cyan", "stopped": "yellow", "failed": "red", "finished": ""}


def add_runs(commands: Commands) -> None:
    """Add ``runs``."""
    command = add_command(
        commands,
        "runs",
        "list runs, the latest first",
        examples=[
            ("trace-robot runs", "the runs of rollouts/runs"),
            ("trace-robot runs --task pick-place --status finished", "some of them"),
            ("trace-robot runs | less -S", "with all columns, also in a narrow terminal"),
        ],
    )
    command.set_defaults(execute=execute_runs)
    command.add_argument("--task", metavar="NAME", help="of this task, or of those that begin so")
    command.add_argument("--optimizer", metavar="NAME", help="by this optimizer")
    command.add_argument("--status", metavar="S", help="running, stopped, failed or finished")
    command.add_argument("--tag", metavar="TAG", help="with this label, see: trace-robot help tag")
    add_runs_folder(command)
    add_json(command)


def execute_runs(options: argparse.Namespace) -> int:
    """Print the runs of a folder and of its benchmarks as a table, or as JSON."""
    from trace_robot.store.database import FILE
    from trace_robot.store.folder import read_tags
    from trace_robot.store.history import History

    folder, wanted = runs_folder(options), (options.task, options.optimizer, options.status)
    found: list[tuple[str, RunInfo]] = []
    # Without a store the default folder just has no runs yet; a folder that was typed must have one.
    stores = _bench_stores(folder)
    if (folder / FILE).is_file() or (options.runs and not stores):
        stores = {"": folder, **stores}
    for prefix, place in stores.items():
        with History(place) as history:
            runs = history.runs(task=options.task, optimizer=options.optimizer, status=options.status)
            found += [(f"{prefix}{run.name}", run) for run in runs]
            for problem in history.unreadable:
                write_error(f"error: {problem}")
    tags = {run.folder: read_tags(run.folder) for _, run in found}
    if options.tag:
        known = sorted({tag for each in tags.values() for tag in each})
        if known and options.tag not in known and not options.json:
            raise unknown("tag", options.tag, known)
        found = [(name, run) for name, run in found if options.tag in tags[run.folder]]
    if options.json:
        write_json([{**run_data(run), "name": name, "tags": tags[run.folder]} for name, run in found])
        return 0
    out = console()
    benches = [] if options.tag else _benches(folder, *wanted)
    if not found and not benches:
        what = "no such runs" if any((*wanted, options.tag)) else "no runs"
        start = "; no run has a tag, see: trace-robot help tag" if options.tag and tags and not known else ""
        start = start or "; start one with: trace-robot optimize TASK"
        out.print(f"{what} in {escape(str(folder))}{start}")
        return 0
    if found:
        _print_table(out, found, tags)
    for bench in benches:
        out.print(bench, markup=False)
    return 0


# Columns that are right-aligned, and those after ``run`` in the order in which a narrow screen gets them.
NUMBERS = ("held out", "training", "iterations", "tried", "time", "tokens", "money")
FIRST = (
    "task",
    "status",
    "held out",
    "optimizer",
    "tags",
    "time",
    "started",
    "iterations",
    "training",
    "tried",
)


def _print_table(
    out: Console, found: Sequence[tuple[str, RunInfo]], tags: Mapping[Path, Sequence[str]]
) -> None:
    """Print a row for each run, with the columns that fit as a whole."""
    from rich.cells import cell_len

    columns: dict[str, list[str]] = {
        "run": [line(name, 80) for name, _ in found],
        "task": [line(run.task, 30) for _, run in found],
        "optimizer": [run.optimizer for _, run in found],
        "status": [run.status for _, run in found],
        "held out": [_rate(run.held_out) for _, run in found],
        "training": [_rate(run.training) for _, run in found],
        "iterations": [f"{run.iterations:,}" for _, run in found],
        "tried": [f"{run.candidates:,}" for _, run in found],
        "time": [duration(run.seconds) for _, run in found],
        "tokens": [f"{run.tokens:,}" if run.model_calls else "-" for _, run in found],
        "money": ["-" if run.money is None else f"{run.money:.2f}" for _, run in found],
        "started": [time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started)) for _, run in found],
        "tags": [" ".join(tags[run.folder]) for _, run in found],
    }
    if not any(columns["tags"]):
        del columns["tags"]
    width = {name: max(map(cell_len, (name, *texts))) + 2 for name, texts in columns.items()}
    shown, apart = list(columns), False
    if out.is_terminal:
        # Where name, task, status and score do not fit a line, the names have lines to themselves.
        apart = width["run"] + sum(width[name] for name in FIRST[:3]) > out.width + 2
        room = out.width + 2 - (2 if apart else width["run"])
        shown = ["run"]
        for name in dict.fromkeys((*FIRST, *columns)):
            if name in columns and name != "run" and (name in FIRST[:3] or width[name] <= room):
                shown.append(name)
                room -= width[name]
        shown = [name for name in columns if name in shown]

    def joined(texts: Mapping[str, str]) -> str:
        cells = [
            " " * (width[name] - 2 - cell_len(text)) + text
            if name in NUMBERS
            else text + " " * (width[name] - 2 - cell_len(text))
            for name in shown
            if (text := texts[name]) is not None and not (apart and name == "run")
        ]
        head = f"{texts['run']}\n  " if apart else ""
        return f"{head}{'  '.join(cells).rstrip()}"

    out.print(joined({name: name for name in columns}), style="bold", markup=False)
    for number, (_, run) in enumerate(found):
        row = {name: texts[number] for name, texts in columns.items()}
        out.print(joined(row), style=STYLES[run.status], markup=False)
    left_out = [name for name in columns if name not in shown and {*columns[name]} != {"-"}]
    if left_out:
        more = f"not shown, for want of room: {', '.join(left_out)}; all of it: trace-robot runs | less -S"
        out.print(more, style="dim")


def _bench_stores(folder: Path) -> dict[str, Path]:
    """Return the stores of benchmarks by what precedes a run's name: "bench-x/"."""
    from trace_robot.store.database import FILE

    return {f"{path.parts[-3]}/": path.parent for path in sorted(folder.glob(f"*/runs/{FILE}"))}


def _benches(folder: Path, task: str | None, optimizer: str | None, status: str | None) -> list[str]:
    """Return a line for each benchmark that has results."""
    from trace_robot import safe_files

    lines = []
    for path in sorted(folder.glob("*/results.jsonl")):
        try:
            text = safe_files.read_bytes(folder, f"{path.parent.name}/{path.name}").decode()
            rows = [safe_files.load_json(each) for each in text.splitlines()]
            chosen = [
                row
                for row in rows
                if str(row["task"]).startswith(task or "") and optimizer in (None, row["optimizer"])
            ]
            rates = [float(row["success"]) for row in chosen]
        except (OSError, ValueError, KeyError, TypeError) as error:
            write_error(f"error: {str(path)!r} cannot be read: {error}")
            continue
        if rates and status in (None, "finished"):
            mean = sum(rates) / len(rates)
            optimizers = ", ".join(dict.fromkeys(line(str(row["optimizer"]), 30) for row in chosen))
            lines.append(
                f"{line(path.parent.name, 60)}: {counted(len(rates), 'run')} of bench by {optimizers}, mean success"
                f" {mean:.2f}; see: {path.with_name('table.md')}"
            )
    return lines


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
    command.add_argument(
        "--ask-page",
        action="store_true",
        help="the same from the run's page in trace-robot watch, which has a form while the run goes on",
    )


def add_images(command: argparse.ArgumentParser) -> None:
    """Add the option that shows pictures to the model."""
    command.add_argument(
        "--images",
        action="store_true",
        help="show a model that sees key frames of an episode in one picture, with the paths of hand and object; 800"
        " tokens are counted for it before it answers",
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

    bench, _, name = text.rstrip(os.sep).partition(os.sep)
    if name and os.sep not in name and (folder / bench / "runs" / FILE).is_file():
        folder, text = folder / bench / "runs", name  # as ``runs`` writes those of a benchmark
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


def find_run_or_policy(
    text: str, folder: Path = RUNS, tasks: Collection[str] = ()
) -> tuple[History, RunInfo] | str:
    """Look up what may be a run or a policy, whole names before beginnings.

    Which run it is, is printed where only the beginning of its name was typed.

    Args:
        text: as of ``find_run``, or a policy's file or name.
        folder: of runs, with its store.
        tasks: names that stand for an environment, which the beginning of a run's name may not be.

    Returns:
        The open history and the run, as of ``find_run``; or what ``load_policy`` takes.

    Raises:
        UsageError: both have exactly this name.
        UnknownNameError: neither is found.
        RunError: as of ``find_run``.
    """
    from trace_robot.workspace import files, find

    if text.endswith(".py"):
        return text
    file = files("policies").get(text)
    try:
        history, run = find_run(text, folder)
    except (UnknownNameError, RunError) as reason:
        if file is not None or text in tasks:
            return text
        try:
            find("policies", text)
        except UnknownNameError as error:
            raise UnknownNameError(f"no run and no policy {text!r}: {error}; and {reason}") from error
        return text
    whole = run.name in (Path(text).resolve().name, text.rstrip(os.sep).rpartition(os.sep)[2])
    if file is None and (whole or text not in tasks):
        if not whole:
            progress_console().print(f"{text} is the run {run.name}", markup=False)
        return history, run
    history.close()
    if whole and file is not None:
        raise UsageError(
            f"{text!r} is both a run and a policy; for the run write {os.path.relpath(run.folder)}, for the policy"
            f" {os.path.relpath(file)}"
        )
    return text


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
    from trace_robot.workspace import policies

    enough = folder.parent.resolve() == RUNS.resolve() and folder.name not in policies()
    return folder.name if enough else str(folder)


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


def run_data(run: RunInfo) -> dict[str, Any]:
    """Return what ``--json`` prints of a run."""
    from dataclasses import asdict

    scores = {name: _score_data(getattr(run, name)) for name in ("start", "training", "held_out")}
    data: dict[str, Any] = plain({**asdict(run), **scores, "tokens": run.tokens})
    return data


def iteration_data(iteration: IterationInfo) -> dict[str, Any]:
    """Return what ``--json`` prints of an iteration."""
    from dataclasses import asdict

    fields = {**asdict(iteration), "tokens": iteration.tokens}
    del fields["parent_controller"]  # the parent's own entry holds it
    data: dict[str, Any] = plain(fields)
    return data


def _score_data(score: Score | None) -> dict[str, Any] | None:
    return None if score is None else score.to_data()
