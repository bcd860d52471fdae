"""Commands about the workspace, from ``envs`` to ``check-env``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trace_robot.cli.arguments import (
    add_environment,
    add_environment_options,
    add_json,
    add_python,
    environment_options,
    positive_number,
)
from trace_robot.cli.console import confirm, console, counted, create_table, escape, write_error, write_json
from trace_robot.cli.parser import Commands, add_command
from trace_robot.errors import TraceRobotError, UsageError, WorkspaceError, unknown

if TYPE_CHECKING:
    from rich.console import Console

    from trace_robot.env.registry import CatalogEntry
    from trace_robot.env_checker import Finding
    from trace_robot.spec import TaskSpec


OTHERS = "Any other id that gymnasium knows works too: trace-robot optimize --env Ant-v5 --task 'Run to the right.'"
RENAMED = {"gitignore": ".gitignore"}  # a name with a dot would be left out of the wheel
# Padded to one width, with the blanks inside the markup so that the column after it lines up.
MARKS = {
    "good": "[green]good   [/green]",
    "note": "[yellow]note   [/yellow]",
    "problem": "[red]problem[/red]",
}


def add_envs(commands: Commands) -> None:
    """Add ``envs``."""
    command = add_command(
        commands,
        "envs",
        "list the environments that can be optimized in",
        examples=[
            ("trace-robot envs", "the environments of the workspace"),
            ("trace-robot envs push", "those with this word, gymnasium's too"),
            ("trace-robot envs reach-v3", "one, with its observation and its action"),
        ],
    )
    command.set_defaults(execute=execute_envs)
    command.add_argument("word", nargs="?", default="", metavar="WORD", help="those with this word only")
    add_python(command)
    add_json(command)


def execute_envs(options: argparse.Namespace) -> int:
    """Print the environments of the workspaces, with a word also gymnasium's."""
    from dataclasses import asdict

    from trace_robot.env.registry import catalogue, not_loaded
    from trace_robot.spec import describe_fields, fields_data

    entries, broken = catalogue(), not_loaded()
    for reason in broken:
        write_error(f"not loaded: {reason}")
    if options.word:
        entries = _with_word(options.word, entries)
    named = next((entry for entry in entries if entry.name == options.word), None)
    modes = {} if named is None else _modes(named, options.python)
    if options.json:
        more = {"control": {mode: fields_data(spec) for mode, spec in modes.items()}} if modes else {}
        write_json([asdict(entry) | (more if entry.name == options.word else {}) for entry in entries])
        return 0
    table = create_table("environment", "task")
    table.columns[0].no_wrap = True
    for entry in entries:
        table.add_row(escape(entry.name), escape(entry.instruction))
    out = console()
    out.print(table)
    if not options.word:
        out.print(f"\n{escape(OTHERS)}")
    seen: list[str] = []
    for mode, spec in modes.items():
        if (lines := describe_fields(spec.observation, joined=True)) != seen:
            _print_lines("observation", seen := lines)
        _print_lines(
            f"action, control {mode}", describe_fields(spec.action, spec.low, spec.high, joined=True)
        )
    return 0


def _print_lines(title: str, lines: Sequence[str]) -> None:
    for line in ("", title, *lines):
        console().print(escape(line), soft_wrap=True)


def _modes(entry: CatalogEntry, python: str | None) -> dict[str, TaskSpec]:
    """Return the spec in each control mode, none where it cannot be made."""
    from trace_robot.env.inspection import Inspection
    from trace_robot.env.registry import controls

    rest = {} if python is None else {"python": python}
    rest |= {"task": "any"} if entry.file == "gymnasium" else {}
    try:
        modes = controls(entry.name, rest)
        return {mode: Inspection(entry.name, {**rest, "control": mode}).answer().spec for mode in modes}
    except TraceRobotError as error:  # the list needs no package of it
        write_error(f"its observation and action are not known: {error}")
        return {}


def _with_word(word: str, entries: Sequence[CatalogEntry]) -> list[CatalogEntry]:
    """Return the environments with a word in name or task, also gymnasium's."""
    from trace_robot.env.declared import gymnasium_ids
    from trace_robot.env.registry import CatalogEntry

    low = word.lower()
    matches = [entry for entry in entries if low in f"{entry.name} {entry.instruction}".lower()]
    # Packages such as Atari's register very many ids: they are searched with a word, not listed without one.
    names = {entry.name for entry in entries}
    ids = [name for name in _newest_versions(gymnasium_ids()) if name not in names]
    matches += [
        CatalogEntry(name, "give it a task: --task TEXT", "", "gymnasium")
        for name in ids
        if low in name.lower()
    ]
    if not matches:
        raise unknown("environment", word, [*names, *ids])
    return matches


def _newest_versions(ids: Sequence[str]) -> list[str]:
    """Return the gymnasium ids without those of which there is a newer version."""
    newest: dict[str, tuple[int, str]] = {}
    for name in ids:
        family, _, version = name.rpartition("-v")
        number = int(version) if family and version.isdigit() else -1
        newest[family or name] = max(newest.get(family or name, (number, name)), (number, name))
    return [name for _, name in newest.values()]


def add_init(commands: Commands) -> None:
    """Add ``init``."""
    command = add_command(
        commands,
        "init",
        "make a workspace of your own, with one working example of each thing",
        "Make a workspace of your own, with one working example of each thing. Or, with --env, measure in a separate\n"
        "process what the numbers of an environment are, and write a plug-in file for it.",
        examples=[
            ("trace-robot init my-robot", "a new folder with an example of each thing"),
            (
                "trace-robot init --env Pendulum-v1 --write envs/pendulum.py",
                "a plug-in file for an environment, measured",
            ),
        ],
    )
    command.set_defaults(execute=execute_init)
    command.add_argument("folder", nargs="?", metavar="DIR", help="an empty or a new folder")
    command.add_argument(
        "--env",
        metavar="ID",
        help="a gymnasium id to write a plug-in for, also MODULE:ID, or FILE.py:NAME of a class that makes it",
    )
    command.add_argument("--write", metavar="FILE", help="the plug-in file, such as envs/arm.py")
    command.add_argument("--force", action="store_true", help="replace FILE where it exists")
    command.add_argument("--yes", action="store_true", help="write into a folder that is not empty, unasked")
    add_environment_options(command)
    add_python(command)


def execute_init(options: argparse.Namespace) -> int:
    """Copy the template to a folder, or write a plug-in, and print what to type next."""
    if (options.env is None) != (options.write is None):
        raise UsageError("--env and --write go together: trace-robot init --env ID --write envs/NAME.py")
    if (options.env is None) == (options.folder is None):
        raise UsageError("init needs a folder, or --env ID --write FILE, and not both")
    if options.env is not None:
        return _write_plugin(options)
    if options.force or options.instruction is not None or options.env_args or options.python:
        raise UsageError(
            "--force, --task, --env-arg and --python are for a plug-in; add --env ID --write FILE"
        )
    folder = Path(options.folder)
    written = _copy_template(folder, unasked=options.yes)
    out = console()
    for path in written:
        out.print(f"written  {escape(str(path))}")
    if folder.resolve() != Path.cwd():
        out.print(f"\ncd {escape(str(folder))}")
    out.print("trace-robot check-env slider")
    out.print("trace-robot optimize slider --policy slider --seconds 20")
    return 0


def _write_plugin(options: argparse.Namespace) -> int:
    """Write the plug-in of an environment that a child process measures."""
    from trace_robot.child_process import workspace_root
    from trace_robot.env.registry import environments, plugin
    from trace_robot.env_checker import measure
    from trace_robot.env_checker.plugin_writer import plugin_text

    path = Path(options.write)
    if path.suffix != ".py":
        raise UsageError(
            f"--write needs the name of a Python file such as envs/arm.py, got {options.write!r}"
        )
    if path.exists() and not options.force:
        raise WorkspaceError(f"{str(path)!r} exists; add --force to replace it, or give another name")
    arguments = dict(options.env_args)
    if options.instruction is not None:
        arguments["task"] = options.instruction
    if options.python is not None:
        arguments["python"] = options.python
    found = measure(options.env, arguments)
    place, _, function = options.env.rpartition(":")
    name = function
    if place.endswith(".py") and name.islower():  # of a function, such as make, which names no environment
        name = path.stem
    # Two files of one folder may not claim one name, and one that ships keeps its own.
    taken = name in environments() and Path(plugin(name).file).resolve() != path.resolve()
    is_file = place.endswith(".py")
    make = f"{os.path.relpath(Path(workspace_root(), place), path.parent)}:{function}" if is_file else ""
    own = path.stem if taken else ""
    if options.python is not None:
        arguments["python"] = _from_file(options.python, path)
    text = plugin_text(name if is_file else options.env, found, options=arguments, own=own, make=make)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WorkspaceError(
            f"cannot write {str(path)!r}: {error.strerror or error}; give another file"
        ) from error
    out = console()
    guesses = text.count("# ? ")
    out.print(
        f"written  {escape(str(path))}, {guesses or 'no'} line{'s' * (guesses != 1)} with a guess (# ?)"
    )
    out.print(f"trace-robot check-env {escape(str(path))}")
    return 0


def _from_file(python: str, plugin: Path) -> str:
    """Return an interpreter's path, relative to a plug-in of the same workspace.

    Args:
        python: absolute.
        plugin: the file that is to be written.
    """
    from trace_robot.child_process import workspace_root

    folder, root = os.path.abspath(plugin.parent), os.path.abspath(workspace_root())
    inside = all(os.path.commonpath([root, place]) == root for place in (python, folder))
    return os.path.relpath(python, folder) if inside else python


def _copy_template(folder: Path, *, unasked: bool) -> list[Path]:
    """Copy the template into a folder, asking first unless it is empty."""
    import trace_robot

    template = Path(trace_robot.__file__).parent / "_template"
    sources = sorted(
        path for path in template.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    targets = {}
    for source in sources:
        inside = source.relative_to(template)
        targets[folder / inside.with_name(RENAMED.get(inside.name, inside.name))] = source
    # All targets are looked at before the first is written, so that a refusal leaves the folder as it was.
    existing = next((target for target in targets if target.exists()), None)
    if existing is not None:
        raise WorkspaceError(
            f"{str(existing)!r} exists, and nothing is replaced; give an empty or a new folder"
        )
    others = _number_of_files(folder)
    plan = [f"write {', '.join(sorted({path.relative_to(folder).parts[0] for path in targets}))} beside them"]
    if others and not unasked and not confirm(f"{folder} has {counted(others, 'file')} already", plan):
        raise WorkspaceError(
            f"{str(folder)!r} is not empty, it has {counted(others, 'file')}, and nothing is written; give a new"
            " folder, or --yes"
        )
    try:
        for target, source in targets.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    except OSError as error:
        raise WorkspaceError(
            f"cannot make a workspace in {str(folder)!r}: {error.strerror or error}; give another folder"
        ) from error
    return list(targets)


def _number_of_files(folder: Path) -> int:
    """Return how many files and folders a folder has, hidden ones not counted."""
    try:
        return sum(not path.name.startswith(".") for path in folder.iterdir())
    except OSError:  # it is new, or no folder, which writing will tell
        return 0


def add_check_env(commands: Commands) -> None:
    """Add ``check-env``."""
    command = add_command(
        commands,
        "check-env",
        "check an environment: spaces, values, seeds, state, pictures, cost",
        "Check an environment, or all of a plug-in file, in a separate process, and say how to mend what is wrong.\n"
        "Exit code 1 if there is a problem.",
        examples=[
            ("trace-robot check-env CartPole-v1", "is this environment sound?"),
            ("trace-robot check-env envs/slider.py", "all environments of a file"),
        ],
    )
    command.set_defaults(execute=execute_check_env)
    add_environment(command, "NAME|FILE")
    command.add_argument("--control", choices=("pose", "raw"), help="the control mode to check (default raw)")
    command.add_argument(
        "--seconds",
        type=positive_number,
        default=30.0,
        metavar="T",
        help="without an answer for this long it hangs (default 30)",
    )
    add_json(command)


def execute_check_env(options: argparse.Namespace) -> int:
    """Check environments in a child process, returning 1 if any has a problem."""
    from dataclasses import asdict

    from trace_robot.env.registry import expand_name
    from trace_robot.env_checker import examine

    out = console(json=options.json)
    arguments = environment_options(options)
    if options.control is not None:
        arguments["control"] = options.control
    reports = []
    for name in expand_name(options.task):
        report = examine(name, arguments, silence=options.seconds)
        reports.append(report)
        out.print(f"[bold]{escape(report.name)}[/bold]  {escape(report.file)}")
        for finding in report.findings:
            _print_finding(out, finding)
    if options.json:
        write_json([{**asdict(report), "problems": report.problems} for report in reports])
    problems = sum(report.problems for report in reports)
    if problems:
        out.print(f"\n{counted(problems, 'problem')}; nothing is wrong with trace-robot itself")
    return 1 if problems else 0


def _print_finding(out: Console, finding: Finding) -> None:
    field = f" ({finding.field})" if finding.field and finding.verdict == "problem" else ""
    remedy = f"to mend it: {escape(finding.remedy)}" if finding.remedy else ""
    if out.is_terminal:  # in columns, so that a long text stays in its own
        table = create_table(header=False)
        for width in (9, 10, None):
            table.add_column(width=width, overflow="fold")
        table.add_row(f"  {MARKS[finding.verdict]}", finding.check + field, escape(finding.text))
        if remedy:
            table.add_row("", "", f"[dim]{remedy}[/dim]")
        out.print(table)
        return
    out.print(f"  {MARKS[finding.verdict]}  {finding.check + field:10} {escape(finding.text)}")
    if remedy:
        out.print(f"           [dim]{'':10} {remedy}[/dim]")
