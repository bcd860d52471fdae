"""The parser of ``trace-robot``, and the dispatch of one command to one function.

A command's options and its behavior are in one module: ``add_NAME`` describes what can be typed and names, with
``set_defaults(execute=...)``, the ``execute_NAME`` below it. Every module of a command is imported for --help, and
for a typing mistake, so these modules import the standard library, ``arguments``, ``console`` and ``errors`` at the
top; rich, numpy, MuJoCo and the library's own rooms are imported inside the functions that execute.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from trace_robot.cli.bench import add_bench
from trace_robot.cli.console import (
    INTERRUPTED,
    WRONG,
    discard_output,
    flush_output,
    safe_output,
    show_progress,
    tolerate_encoding,
    write_error,
)
from trace_robot.cli.demonstrate import add_demonstrate
from trace_robot.cli.deploy import add_deploy
from trace_robot.cli.drive import add_drive
from trace_robot.cli.evaluate import add_evaluate, add_policies, add_zoo
from trace_robot.cli.inspect import add_diff, add_graph, add_prompt
from trace_robot.cli.machine import add_completion, add_man, add_sandbox
from trace_robot.cli.manage import add_rename, add_rm, add_tag
from trace_robot.cli.optimize import add_optimize, add_replay, add_resume
from trace_robot.cli.parser import CommandHelp, CommandParser, Commands, processors
from trace_robot.cli.render import add_render, add_video
from trace_robot.cli.report import add_export, add_report, add_watch
from trace_robot.cli.runs import add_runs
from trace_robot.cli.serve import add_serve
from trace_robot.cli.show import add_compare, add_show
from trace_robot.cli.stress import add_stress
from trace_robot.cli.workspace import add_check_env, add_envs, add_init
from trace_robot.errors import MissingExtraError, TraceRobotError, UnknownNameError

DONE, FAILED = 0, 1

EXAMPLES = (
    ("trace-robot optimize pick-place-v3", "from a controller that does nothing; no key needed"),
    ("trace-robot runs", "what there is; then show RUN, compare RUN RUN, resume RUN, report RUN"),
    ("trace-robot evaluate reach-v3 --policy zoo/reach_v3", "a controller on conditions it never saw"),
    ("trace-robot init my-robot", "a workspace for a robot of your own"),
)
EPILOG = """\
exit codes: 0 done, 1 an error that is explained in one line, 2 a wrong command line, 3 success below --require, 130
stopped by Ctrl-C

The options and examples of a command: trace-robot help COMMAND. Completion at the Tab key: trace-robot completion
--help."""


# The order of --help, what is used first at the top.
COMMANDS: dict[str, tuple[Callable[[Commands], None], ...]] = {
    "find a controller": (add_optimize, add_resume, add_replay, add_serve),
    "measure one": (add_evaluate, add_stress, add_bench, add_zoo),
    "look at runs": (add_runs, add_show, add_compare, add_diff, add_prompt, add_graph, add_report, add_watch),
    "keep runs in order": (add_rename, add_tag, add_rm),
    "videos, data and robots": (add_render, add_video, add_export, add_demonstrate, add_deploy, add_drive),
    "environments, and this program": (
        add_envs,
        add_policies,
        add_init,
        add_check_env,
        add_sandbox,
        add_completion,
        add_man,
    ),
}

# Options of ``render`` that concern a rollout: a line with one of them renders no recorded run.
ROLLOUT_OPTIONS = {
    "--policy",
    "--env",
    "--task",
    "--env-arg",
    "--episodes",
    "--seed",
    "--control",
    "--workers",
    "--trust",
    "--help",
    "-h",
}


def create_parser() -> CommandParser:
    """Return the parser of the whole command line.

    In the namespace that it returns, ``execute`` is the function of the command.
    """
    parser = CommandParser(
        prog="trace-robot",
        description="Optimize robot controllers that are ordinary Python: roll out, explain, rewrite.",
        epilog=EPILOG,
        formatter_class=CommandHelp,
        allow_abbrev=False,
    )
    parser.examples = EXAMPLES
    parser.add_argument("--version", action="version", version=f"trace-robot {version('trace-robot')}")
    commands: Commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for title, adders in COMMANDS.items():
        before = len(commands._choices_actions)
        for add in adders:
            add(commands)
        parser.sections[title] = list(commands._choices_actions[before:])
    return parser


def translate_old_spelling(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with ``help`` and the spellings of 0.1.0 replaced.

    ``help COMMAND`` is ``COMMAND --help``, ``evaluate zoo`` is ``zoo``, and ``render RUN``, without --policy, is
    ``video RUN``.
    """
    command, *rest = arguments or [""]
    if command == "help":
        return [*rest[:1], "--help"]
    names = {argument.partition("=")[0] for argument in rest}
    if command == "evaluate" and "zoo" in rest and "--policy" not in names:
        return ["zoo", *(argument for argument in rest if argument not in ("zoo", "--env"))]
    if command == "render" and rest and not names & ROLLOUT_OPTIONS:
        return ["video", *rest]
    return list(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    An expected fault is one line on standard error, without a traceback.

    Args:
        arguments: what was typed after ``trace-robot``; None for ``sys.argv``.
    """
    tolerate_encoding()
    with safe_output():
        return _execute(sys.argv[1:] if arguments is None else arguments)


def _execute(typed: Sequence[str]) -> int:
    parser = create_parser()
    if not typed:
        parser.print_help()
        return WRONG  # a script whose variable is empty has not done anything
    options = parser.parse_args(translate_old_spelling(typed))
    show_progress(quiet=getattr(options, "quiet", False), json=getattr(options, "json", False))
    try:
        _question_workers(options)
        code: int = options.execute(options)
        flush_output()
        return code
    except TraceRobotError as error:
        write_error(f"error: {' '.join(str(error).split())}{_interpreter_of_policy(options, error)}")
        return FAILED
    except KeyboardInterrupt:
        write_error("stopped")
        return INTERRUPTED
    except BrokenPipeError:
        discard_output()  # the reader, e.g. head, has left
        return DONE
    except OSError as error:
        write_error(f"error: {error.filename or 'output'}: {error.strerror or error}")
        discard_output()  # what is buffered would fail once more at exit, with a traceback
        return FAILED


def _question_workers(options: argparse.Namespace) -> None:
    """Say so where more workers are asked for than there are processors."""
    workers, available = getattr(options, "workers", None) or 0, processors()
    if workers > available and getattr(options, "backend", "local") == "local":
        write_error(
            f"note: --workers {workers}, but this machine has {available} processor{'s' * (available > 1)} to use: more"
            " workers than that take memory and are not faster"
        )


def _interpreter_of_policy(options: argparse.Namespace, error: TraceRobotError) -> str:
    """Return which interpreter the run of a policy had, "" where that is no remedy.

    Of a run that another person began it is not shown: a stranger chooses no interpreter.
    """
    policy = getattr(options, "policy", None) or getattr(options, "controller", None)
    missing = isinstance(error, MissingExtraError | UnknownNameError)
    if not missing or not isinstance(policy, str) or getattr(options, "python", "") is not None:
        return ""
    import shlex

    from trace_robot.cli.runs import find_run
    from trace_robot.run.person import chosen_python

    for folder in list(Path(policy).resolve().parents)[:3]:  # RUN/best.py, RUN/iterations/NNN/controller.py
        if (folder / "settings.json").is_file():
            with suppress(TraceRobotError, OSError):
                history, run = find_run(str(folder))
                with history:
                    python = chosen_python(history, run)
                return f"; the run {run.name} had --python {shlex.quote(python)}" if python else ""
    return ""
