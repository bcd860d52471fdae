"""This machine: its locks (``sandbox``), its shell (``completion``), its manual (``man``).

The completion is a static script (shtab): a Tab starts no Python, where argcomplete would import this program at each
one, and installs a hook that runs any program which asks for it. Names of runs and of environments change, so the
script lists their folders itself.
"""

from __future__ import annotations

import argparse
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trace_robot.cli.arguments import add_json
from trace_robot.cli.console import console, safe, write_json, write_text
from trace_robot.cli.parser import CommandParser, Commands, add_command
from trace_robot.errors import MissingExtraError, SandboxError, UsageError

SHELLS = ("bash", "zsh", "tcsh")
# What completes a run, an environment and a policy: functions of the shell. bash's compgen -W runs what is in $()
# within the words it is given, and a folder's name may come from a stranger, so only plain names pass.
BASH = r"""
_trace_robot_names() { compgen -W "$(grep -xE '[A-Za-z0-9_.:/-]+')" -- "$1"; }
_trace_robot_runs() { command ls rollouts/runs 2>/dev/null | grep -v '[.]sqlite' | _trace_robot_names "$1"
  compgen -d -- "$1"; }
_trace_robot_envs() { { printf '%s\n' TASKS; command ls envs 2>/dev/null | sed -n 's/[.]py$//p'
  } | sort -u | _trace_robot_names "$1"; }
_trace_robot_policies() { { echo do_nothing; command ls policies 2>/dev/null | sed -n 's/[.]py$//p'
  } | _trace_robot_names "$1"; compgen -f -- "$1"; }
"""
ZSH = r"""
_trace_robot_runs() { local -a names
  names=(${(f)"$(command ls rollouts/runs 2>/dev/null | grep -v '[.]sqlite')"}); compadd -a names; _files -/; }
_trace_robot_envs() { local -a names
  names=(TASKS ${(f)"$(command ls envs 2>/dev/null | sed -n 's/[.]py$//p')"}); compadd -a names; }
_trace_robot_policies() { local -a names
  names=(do_nothing ${(f)"$(command ls policies 2>/dev/null | sed -n 's/[.]py$//p')"}); compadd -a names; _files; }
"""
FILE = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}
FOLDER = {"bash": "_shtab_compgen_dirs", "zsh": "_files -/", "tcsh": "d"}


def add_sandbox(commands: Commands) -> None:
    """Add ``sandbox``."""
    command = add_command(
        commands,
        "sandbox",
        "show how controllers are locked in on this machine, or try a corpus of hostile ones",
        examples=[
            ("trace-robot sandbox", "which locks hold on this machine"),
        ],
    )
    command.set_defaults(execute=execute_sandbox)
    command.add_argument(
        "--corpus",
        metavar="FILE",
        help="run every controller of FILE and print what differs from its expected outcome",
    )
    command.add_argument(
        "--no-static-check", action="store_true", help="let the locks of the system stand alone"
    )
    add_json(command)


def execute_sandbox(options: argparse.Namespace) -> int:
    """Print which locks hold on this machine, returning 1 if there is no boundary."""
    from trace_robot.sandbox.selftest import report

    if options.corpus:
        return _execute_corpus(options)
    selftest = report()
    if options.json:
        write_json(selftest.to_data())
    else:
        console().print(str(selftest), markup=False)
    return 0 if selftest.boundary else 1


def _execute_corpus(options: argparse.Namespace) -> int:
    """Run a corpus of controllers, print what differs, return 1 if anything does."""
    from dataclasses import asdict

    from trace_robot.cli.progress import create_progress
    from trace_robot.sandbox.selftest import read_corpus, run_corpus

    try:
        corpus = read_corpus(options.corpus)
    except (OSError, ValueError) as error:
        raise SandboxError(
            f"cannot read the corpus {options.corpus!r}: {error}; give a JSON file with samples"
        ) from error
    out = console(json=options.json)
    with create_progress(out) as progress:
        outcomes = run_corpus(corpus, static_check=not options.no_static_check)
        # The corpus is run one sample at a time while the bar advances: hostile ones may use up their time limit.
        rows = list(progress.track(outcomes, total=len(corpus["samples"]), description="samples"))
    wrong = [row for row in rows if not row.ok]
    if options.json:
        write_json({"samples": len(rows), "wrong": len(wrong), "rows": [asdict(row) for row in rows]})
        return 1 if wrong else 0
    for row in wrong:
        difference = f"{row.id}: expected {' or '.join(row.expected)}, got {row.got}: {row.message}"
        out.print(safe(difference), markup=False)
    out.print(f"{len(rows) - len(wrong)} of {len(rows)} samples ended as they must")
    return 1 if wrong else 0


def add_completion(commands: Commands) -> None:
    """Add ``completion``."""
    command = add_command(
        commands,
        "completion",
        "print what completes commands, options and runs at the Tab key",
        "Print a script for your shell that completes commands, options, runs and files. Write it where the shell looks"
        " for such scripts, and start a new shell; write it again after an upgrade.",
        examples=[
            ("trace-robot completion bash", "print it"),
            ("trace-robot completion bash >> ~/.bash_completion", "install it, for bash"),
            (
                "trace-robot completion zsh > ~/.zfunc/_trace-robot",
                "for zsh, with fpath=(~/.zfunc $fpath) before compinit in ~/.zshrc",
            ),
        ],
    )
    command.set_defaults(execute=execute_completion)
    command.add_argument("shell", choices=SHELLS, help="your shell")


def execute_completion(options: argparse.Namespace) -> int:
    """Print the completion script of a shell."""
    try:
        import shtab
    except ImportError as error:
        raise MissingExtraError("completion needs shtab: pip install shtab") from error

    from trace_robot.cli.main import create_parser

    parser = create_parser()
    _mark(parser)
    script = shtab.complete(parser, shell=options.shell, preamble=_preamble())
    write_text(script)
    return 0


def _preamble() -> Any:  # shtab declares a str, and takes one for each shell
    from trace_robot.env.registry import environments

    tasks = " ".join(name for name in environments() if re.fullmatch(r"[A-Za-z0-9_.:/-]+", name))
    return {"bash": BASH.replace("TASKS", tasks), "zsh": ZSH.replace("TASKS", tasks)}


def _mark(parser: argparse.ArgumentParser) -> None:
    """Set what completes each argument of the parser and of its commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _mark(command)
            continue
        kind = str(action.metavar or "")
        ends = set(re.split(r"[|]", kind))
        if "--python" in action.option_strings:
            ends = {"FILE"}
        if "RUN" in ends:
            _complete(action, "_trace_robot_runs")
        elif action.dest == "policy":
            _complete(action, "_trace_robot_policies")
        elif ends & {"TASK", "NAME"} and action.dest in ("task", "tasks"):
            _complete(action, "_trace_robot_envs")
        elif ends & {"FILE", "PATH"}:
            action.complete = FILE  # type: ignore[attr-defined]
        elif ends & {"DIR", "RUNS_DIR"}:
            action.complete = FOLDER  # type: ignore[attr-defined]


def _complete(action: argparse.Action, function: str) -> None:
    action.complete = {"bash": function, "zsh": function}  # type: ignore[attr-defined]


def add_man(commands: Commands) -> None:
    """Add ``man``."""
    command = add_command(
        commands,
        "man",
        "show the manual page, or write it for man",
        "Print the manual page of all commands as text, or write it in the format of man.",
        examples=[
            ("trace-robot man | less", "read it"),
            (
                "trace-robot man --out ~/.local/share/man/man1/trace-robot.1",
                "then: man trace-robot",
            ),
        ],
    )
    command.set_defaults(execute=execute_man)
    command.add_argument("--out", metavar="FILE", help="a file whose name ends in .1, such as trace-robot.1")


def execute_man(options: argparse.Namespace) -> int:
    """Print the help of all commands, or write the manual page."""
    from trace_robot.cli.main import create_parser

    parser = create_parser()
    if options.out is None:
        for each in (parser, *_commands(parser)):
            write_text(f"{each.format_help()}\n\n")
        return 0
    path = Path(options.out)
    if path.suffix != ".1":
        raise UsageError(f"--out must name a .1 file, such as trace-robot.1, got {options.out!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(manual(parser), encoding="utf-8")
    console().print(f"{path}: read it with: man {path.absolute()}", markup=False)
    return 0


def _commands(parser: CommandParser) -> list[CommandParser]:
    (commands,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return list(commands.choices.values())


def manual(parser: CommandParser) -> str:
    """Return the manual page of a parser and its commands, in the man macros of roff."""
    number = version("trace-robot")
    rows = [
        f'.TH TRACE-ROBOT 1 "" "trace-robot {number}" "User Commands"',
        ".SH NAME",
        "trace\\-robot \\- optimize robot controllers that are ordinary Python",
        ".SH SYNOPSIS",
        ".B trace\\-robot",
        "COMMAND [options]",
        ".SH DESCRIPTION",
        _roff(str(parser.description)),
    ]
    for command in _commands(parser):
        rows += [f".SH {_roff(command.prog.upper())}", _roff(_usage(command)), ".PP"]
        rows += _paragraphs(str(command.description))
        for title, actions in command.groups():
            if actions:
                rows.append(f".SS {title}")
            for action in actions:
                names = ", ".join(action.option_strings) or _name(action)
                value = (
                    f" \\fI{_roff(_name(action))}\\fR" if action.option_strings and action.nargs != 0 else ""
                )
                rows += [".TP", f"\\fB{_roff(names)}\\fR{value}", _roff(_help(action))]
        rows.append(".SS examples")
        for example, what in command.examples:
            rows += [".TP", f"\\fB{_roff(example)}\\fR", _roff(what)]
    rows += [".SH EXIT STATUS", _roff(str(parser.epilog).partition("\n\n")[0].replace("\n", " "))]
    return "\n".join(rows) + "\n"


def _usage(command: CommandParser) -> str:
    return command.format_usage().removeprefix("usage: ").strip()


def _name(action: argparse.Action) -> str:
    if action.metavar is None and action.choices is not None:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest.upper())


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%")


def _paragraphs(text: str) -> list[str]:
    """Return paragraphs filled by man, indented ones as they are."""
    rows = []
    for paragraph in text.strip().split("\n\n"):
        kept = "\n  " in f"\n{paragraph}"
        rows += (
            [".nf", *map(_roff, paragraph.split("\n")), ".fi"]
            if kept
            else [_roff(" ".join(paragraph.split()))]
        )
        rows.append(".PP")
    return rows


def _roff(text: str) -> str:
    """Return a text in which nothing is a request or an escape of roff."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text
