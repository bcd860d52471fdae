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
from importlib.metadata import version
from typing import NoReturn

from trace_robot.cli.arguments import Commands
from trace_robot.cli.bench import add_bench
from trace_robot.cli.console import (
    INTERRUPTED,
    discard_output,
    flush_output,
    one_line,
    safe_output,
    show_progress,
    tolerate_encoding,
    write_error,
)
from trace_robot.cli.demonstrate import add_demonstrate
from trace_robot.cli.deploy import add_deploy
from trace_robot.cli.drive import add_drive
from trace_robot.cli.evaluate import add_evaluate, add_zoo
from trace_robot.cli.inspect import add_diff, add_graph, add_prompt
from trace_robot.cli.optimize import add_optimize, add_replay, add_resume
from trace_robot.cli.render import add_render, add_video
from trace_robot.cli.report import add_export, add_report, add_watch
from trace_robot.cli.runs import add_runs
from trace_robot.cli.serve import add_serve
from trace_robot.cli.show import add_compare, add_show
from trace_robot.cli.stress import add_stress
from trace_robot.cli.workspace import add_check_env, add_envs, add_init, add_policies, add_sandbox
from trace_robot.errors import TraceRobotError

DONE, FAILED = 0, 1  # argparse itself exits with 2 for a wrong command line

EPILOG = """\
examples:
  trace-robot optimize pick-place-v3                 from a controller that does nothing, no key needed
  trace-robot optimize reach-v3 --policy my.py --out runs/reach
  trace-robot evaluate pick-place-v3 --policy runs/reach/best.py --episodes 50
  trace-robot replay pick-place                      a recorded run of OptoPrime, with real rollouts
  trace-robot render pick-place-v3 --policy runs/reach/best.py --out pick.mp4
  trace-robot runs; trace-robot show RUN; trace-robot diff RUN 0 3; trace-robot resume RUN
  trace-robot video demo --first-and-best            the recorded episodes of a run, before and after side by side
  trace-robot report demo --single-file              a run as one page to look at or to send
  trace-robot watch --open                           the runs of rollouts/runs in the browser, as they go on
  trace-robot bench --tasks mt10 --seconds 60        many tasks, one table; the same command again goes on
  trace-robot stress pick-place-v3 --policy runs/reach/best.py    other masses, late actions, errors of calibration
  trace-robot demonstrate pick-place-v3 --to lerobot --camera corner2 --out demos    a data set for a learner
  trace-robot deploy zoo/pick_place_v3 --to c --out robot     a controller as C that needs nothing, with its contract
  trace-robot init my-robot; trace-robot check-env slider     a workspace of your own; is its environment sound?
  OPENAI_BASE_URL=http://127.0.0.1:8000/v1 trace-robot optimize push-v3 --model my-model

exit codes: 0 done, 1 an error that is explained in one line, 2 a wrong command line, 3 success below --require,
            130 stopped by Ctrl-C
"""


# The order of --help.
COMMANDS: tuple[Callable[[Commands], None], ...] = (
    add_optimize,
    add_evaluate,
    add_replay,
    add_resume,
    add_serve,
    add_runs,
    add_show,
    add_diff,
    add_prompt,
    add_graph,
    add_compare,
    add_render,
    add_video,
    add_report,
    add_watch,
    add_export,
    add_bench,
    add_zoo,
    add_stress,
    add_demonstrate,
    add_deploy,
    add_drive,
    add_envs,
    add_policies,
    add_init,
    add_check_env,
    add_sandbox,
)

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


class _Parser(argparse.ArgumentParser):
    """A parser, and so its subparsers, whose errors are one line whatever was typed."""

    def error(self, message: str) -> NoReturn:
        super().error(one_line(message))


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line.

    In the namespace that it returns, ``execute`` is the function of the command.
    """
    parser: argparse.ArgumentParser = _Parser(
        prog="trace-robot",
        description="Optimize robot controllers that are ordinary Python: roll out, explain, rewrite.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"trace-robot {version('trace-robot')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in COMMANDS:
        add(commands)
    return parser


def translate_old_spelling(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the spellings of 0.1.0 replaced.

    ``evaluate zoo`` is ``zoo``, and ``render RUN``, without --policy, is ``video RUN``.
    """
    command, *rest = arguments or [""]
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
    options = create_parser().parse_args(translate_old_spelling(typed))
    show_progress(quiet=getattr(options, "quiet", False), json=getattr(options, "json", False))
    try:
        code: int = options.execute(options)
        flush_output()
        return code
    except TraceRobotError as error:
        write_error(f"error: {' '.join(str(error).split())}")
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
