"""``rename``, ``tag`` and ``rm``: keep a folder of runs in order."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trace_robot.cli.arguments import add_json, add_run, add_runs_folder
from trace_robot.cli.console import confirm, console, counted, escape, line, write_json
from trace_robot.cli.parser import Commands, add_command
from trace_robot.cli.runs import find_run, name_of, runs_folder
from trace_robot.errors import RunError, UsageError

if TYPE_CHECKING:
    from trace_robot.store.records import RunInfo
    from trace_robot.store.writer import Store


def add_rename(commands: Commands) -> None:
    """Add ``rename``."""
    command = add_command(
        commands,
        "rename",
        "rename a run and its folder",
        "Rename a run and its folder. A run that goes on is refused.",
        examples=[("trace-robot rename demo reach-first", "demo is then called reach-first")],
    )
    command.set_defaults(execute=execute_rename)
    add_run(command)
    command.add_argument("name", metavar="NAME", help="its new name, that of a folder beside the other runs")
    add_json(command)


def execute_rename(options: argparse.Namespace) -> int:
    """Rename a run in the store and on disk."""
    run = _found(options.run, options)
    if not run.folder.is_dir():
        raise RunError(f"the folder of the run {run.name!r} is gone, so it cannot be renamed")
    with _at_rest(run) as store:
        store.rename(run.name, options.name)
    folder = run.folder.with_name(options.name)
    if options.json:
        write_json({"run": options.name, "folder": folder})
    else:
        console().print(f"{escape(run.name)} is now {escape(name_of(folder))}")
    return 0


def add_tag(commands: Commands) -> None:
    """Add ``tag``."""
    command = add_command(
        commands,
        "tag",
        "give a run labels to find it by, or show them",
        "Give a run labels to find it by: trace-robot runs --tag TAG. Without a label those it has are shown. A run"
        " that goes on can be labelled too.",
        examples=[
            ("trace-robot tag demo baseline", "label the run demo"),
            ("trace-robot tag demo baseline --remove", "take the label away"),
        ],
    )
    command.set_defaults(execute=execute_tag)
    add_run(command)
    command.add_argument("tags", nargs="*", metavar="TAG", help="letters, digits and _.:+-, at most 40")
    command.add_argument("--remove", action="store_true", help="take these labels away")
    add_json(command)


def execute_tag(options: argparse.Namespace) -> int:
    """Change or print the labels of a run."""
    from trace_robot.store.folder import is_tag, read_tags, write_tags

    run = _found(options.run, options)
    wrong = [tag for tag in options.tags if not is_tag(tag)]
    if wrong:
        raise UsageError(f"a tag has letters, digits and _.:+-, at most 40 characters, got {wrong[0]!r}")
    if options.remove and not options.tags:
        raise UsageError("--remove needs the labels to take away, such as: trace-robot tag RUN old --remove")
    tags = read_tags(run.folder)
    missing = [tag for tag in options.tags if tag not in tags]
    if options.remove and missing:
        raise UsageError(
            f"the run {run.name!r} has no label {missing[0]!r}; it has {', '.join(tags) or 'none'}"
        )
    if options.tags:
        if not run.folder.is_dir():
            raise RunError(f"the folder of the run {run.name!r} is gone, so it cannot be labelled")
        kept = [tag for tag in tags if not (options.remove and tag in options.tags)]
        write_tags(run.folder, kept if options.remove else [*kept, *options.tags])
        tags = read_tags(run.folder)
    if options.json:
        write_json({"run": run.name, "tags": tags})
    else:
        console().print(f"{escape(run.name)}: {escape(', '.join(tags)) or 'no labels'}")
    return 0


def add_rm(commands: Commands) -> None:
    """Add ``rm``."""
    command = add_command(
        commands,
        "rm",
        "delete runs, after a question",
        "Delete runs: their folders and all that the store has of them. It asks first; --yes does not, and takes whole"
        " names only. A run that goes on is refused.",
        examples=[("trace-robot rm demo", "asks"), ("trace-robot rm demo other --yes", "does not ask")],
    )
    command.set_defaults(execute=execute_rm)
    command.add_argument("names", nargs="+", metavar="RUN", help="a run's name or its folder")
    add_runs_folder(command)
    command.add_argument("--yes", action="store_true", help="delete without a question")
    add_json(command)


def execute_rm(options: argparse.Namespace) -> int:
    """Delete runs that no process executes."""
    runs = list({run.folder: run for run in (_found(name, options) for name in options.names)}.values())
    given = {name.rstrip("/").rpartition("/")[2] for name in options.names}
    for run in runs:
        if options.yes and run.name not in given:
            raise UsageError(
                f"--yes needs the whole name of a run, such as {run.name!r}, got its beginning alone"
            )
        if run.status == "running":
            with _at_rest(run):  # raises: before the first of several is gone
                pass
    plan = [
        f"delete {line(run.name, 100)}: {run.status}, {counted(run.iterations, 'iteration')}, {run.folder}"
        for run in runs
    ]
    if not options.yes and not confirm(f"delete {counted(len(runs), 'run')} for ever", plan):
        raise UsageError("nothing is deleted; answer y, or add --yes")
    for run in runs:
        with _at_rest(run) as store:
            store.remove(run.name)
    if options.json:
        write_json({"deleted": [run.name for run in runs]})
    else:
        console().print(f"deleted: {escape(', '.join(run.name for run in runs))}")
    return 0


def _found(name: str, options: argparse.Namespace) -> RunInfo:
    history, run = find_run(name, runs_folder(options))
    history.close()
    return run


@contextmanager
def _at_rest(run: RunInfo) -> Iterator[Store]:
    """Hold the run's lock, so that no process begins to execute it, with its store.

    Raises:
        RunError: a process executes it.
    """
    from trace_robot.store.folder import RunLock
    from trace_robot.store.writer import Store

    with Store(run.folder.parent) as store:
        if not run.folder.is_dir():
            yield store
            return
        with RunLock(run.folder):
            yield store
