"""Run to the end, or to Ctrl-C: the first stops cleanly, the second at once."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from trace_robot.cli.arguments import BELOW
from trace_robot.cli.console import (
    INTERRUPTED,
    console,
    counted,
    escape,
    progress_console,
    write_at_once,
    write_error,
    write_json,
)
from trace_robot.cli.progress import RunProgress
from trace_robot.cli.runs import name_of
from trace_robot.errors import (
    AgentLeftError,
    BackendError,
    BudgetExceededError,
    ContextLengthError,
    MissingExtraError,
    ModelAuthError,
    ModelError,
    ReplayMismatchError,
    ReplyError,
    RunError,
    TraceRobotError,
    UnknownModelError,
    UsageError,
)
from trace_robot.llm import ModelConfig
from trace_robot.optimizers.optoprime import NO_REPLY
from trace_robot.run.loop import OnEvent
from trace_robot.run.optimizers import WITH_MODEL
from trace_robot.run.person import AskPerson
from trace_robot.settings import Result
from trace_robot.store.command_line import model_words


def show_run(
    run: Callable[[OnEvent, AskPerson | None], Result],
    options: argparse.Namespace,
    out: Path,
    command: str = "resume",
) -> int:
    """Show a run as it goes on, and return the exit code.

    If it is interrupted, the command that resumes it is shown.

    Args:
        run: called with what shows an event, and with what asks the person, if that is wanted.
        options: of the command, with ``json`` and ``quiet``.
        out: the run's folder.
        command: which resumes it.
    """
    screen = RunProgress(progress_console())
    person = person_of(options, screen.ask)
    # Given again: another model is not stored, and an endpoint elsewhere is asked only where it is named.
    given = {name: getattr(options, name, None) for name in ("model", "base_url", "proposer")}
    again = f"go on with: trace-robot {command} {shlex.join([name_of(out), *model_words(given)])}"
    try:
        with interruptible(f"stopped; {again}"), screen:
            result = run(screen.show, person)
    except KeyboardInterrupt:
        best = f"; the best controller so far: {out / 'best.py'}" if (out / "best.py").is_file() else ""
        remedy = f"{again}{best}" if screen.began else "before it began"
        write_error(f"stopped; {remedy}")
        return INTERRUPTED
    except TraceRobotError as error:
        if not screen.began or isinstance(error, ReplayMismatchError):
            raise
        raise RunError(f"{str(error).rstrip('.')}; {_first_of_all(error)}{again}") from error
    finally:
        if printed := printed_lines(out):
            where = escape(str(out / "environment.log"))
            screen.out.print(
                f"{counted(printed, 'line')} printed by the environment and its simulator: {where}"
            )
    return _report(result, options, out)


def _first_of_all(error: TraceRobotError) -> str:
    """Return what comes before going on with a run that an error ended.

    An error that says itself what to do, of a full disk or a key, is followed by going on alone.
    """
    if isinstance(error, AgentLeftError):
        return ""
    if isinstance(error, BudgetExceededError):
        return "allow more, then "
    if isinstance(error, ModelError):
        itself = isinstance(error, ModelAuthError | UnknownModelError | ContextLengthError)
        return "then " if itself else "once it answers again, "
    return "then " if isinstance(error, RunError | BackendError | MissingExtraError) else "mend it, then "


def _report(result: Result, options: argparse.Namespace, out: Path) -> int:
    """Print the result as --json or --quiet ask for, and return the exit code."""
    if options.json:
        write_json(asdict(result))
    elif options.quiet:
        console().print(f"{result.held_out_success:.2f} {out / 'best.py'}", markup=False)
    elif not result.ended.startswith(NO_REPLY):
        commands = "".join(f"\n  trace-robot {command}" for command in _next_commands(result, out))
        progress_console().print(f"\nto look at it:{commands}", markup=False, soft_wrap=True)
    if result.ended.startswith(NO_REPLY):
        attempts = out / "attempts.json"
        other = "--proposer" if getattr(options, "proposer", None) else "--model"
        raise ReplyError(f"the model gave {result.ended}; see {attempts}, or try another {other}")
    wanted = getattr(options, "require", None)  # replay has no such option
    if wanted is not None and result.held_out_success < wanted:
        write_error(f"held-out success {result.held_out_success:.2f} is below {wanted:g}")
        return BELOW
    return 0


def _next_commands(result: Result, out: Path) -> list[str]:
    """Return three commands to type after a run, without the program's name."""
    run = shlex.quote(name_of(out))
    if next(out.glob("iterations/*/episode.mp4"), None) is not None:
        last = f"video {run} --first-and-best"
    elif result.measure == "success" and result.held_out_success == 0:
        last = f"check-env {shlex.quote(result.task)}"
    else:
        last = f"deploy {run} --to python --out robot"
    return [f"show {run}", f"report {run}", last]


@contextmanager
def interruptible(message: str = "stopped at once") -> Iterator[None]:
    """Let the first Ctrl-C stop cleanly and the second end the process at once.

    The first raises KeyboardInterrupt in the block, which may take its time to clean up. The second writes
    ``message`` and exits with code 130.

    Args:
        message: the line on standard error at the second Ctrl-C.
    """

    def first(*_: Any) -> None:
        signal.signal(signal.SIGINT, second)
        raise KeyboardInterrupt

    def second(*_: Any) -> None:
        write_at_once(f"trace-robot: {message}")
        os._exit(INTERRUPTED)  # child processes end when they find their pipes closed

    if threading.current_thread() is not threading.main_thread():
        yield  # Python allows signal handlers in the main thread only
        return
    before = signal.signal(signal.SIGINT, first)
    try:
        with _no_echo_of_keys():
            yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _no_echo_of_keys() -> Iterator[None]:
    """Keep the terminal from writing ^C (termios, ECHOCTL).

    It would push a live line aside and leave half of it behind.
    """
    import termios

    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        # A process in the background that changes its terminal is stopped by the system.
        if os.tcgetpgrp(descriptor) != os.getpgrp():
            raise OSError
    except (OSError, ValueError, AttributeError, termios.error):  # no terminal
        yield
        return
    flags = list(before)
    flags[3] = before[3] & ~termios.ECHOCTL
    termios.tcsetattr(descriptor, termios.TCSANOW, flags)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)


def without_model(options: argparse.Namespace, model: ModelConfig) -> str:
    """Return why options that only a model reads are refused, "" where they are not.

    Args:
        options: of ``optimize``.
        model: what they say of the model.
    """
    automatic = options.optimizer == "auto"
    if model.reason if automatic else options.optimizer in WITH_MODEL:
        return ""
    given = [
        each.name for each in fields(model) if getattr(model, each.name) != getattr(ModelConfig(), each.name)
    ]
    for name in ("calls", "tokens", "money"):  # of the budget
        given += [name] * (getattr(options, name) is not None)
    given = [name for name in given if name != "budget"] + ["no_tune"] * options.no_tune
    if not given:
        return ""
    names = " and ".join(f"--{name.replace('_', '-')}" for name in given)
    why = "none is configured" if automatic else f"the optimizer {options.optimizer} asks none"
    also = (
        ", or configure one with --base-url or --proposer" if automatic else ", or give --optimizer optoprime"
    )
    return f"{names}: only a language model has this option, and {why}; leave it out{also}"


def person_of(options: argparse.Namespace, typed: AskPerson) -> AskPerson | None:
    """Return what gives a person's words, None where none are asked for.

    Args:
        options: with ``ask``, ``ask_file`` and ``ask_page``, or without.
        typed: asks at the terminal.

    Raises:
        UsageError: there is no terminal to ask at, or more is asked for beside the page.
    """
    from trace_robot.run.person import NotesFile, TypedWords

    if getattr(options, "ask_page", False):
        # How many sentences a run has had says where to go on after an interruption, of one source alone.
        if options.ask or options.ask_file:
            raise UsageError("--ask-page takes all words from the page; leave --ask and --ask-file out")
        return TypedWords()
    sources: list[AskPerson] = []
    if getattr(options, "ask", False):
        if not sys.stdin.isatty():
            raise UsageError(
                "--ask needs a terminal to type at; write the sentences to a file, with --ask-file"
            )
        sources.append(typed)
    if getattr(options, "ask_file", None):
        sources.append(NotesFile(Path(options.ask_file)))
    if not sources:
        return None
    return lambda question: [text for source in sources for text in source(question)]


def printed_lines(folder: Path) -> int:
    """Return how many lines the environment printed, by the run's log of them."""
    from trace_robot.safe_files import read_bytes

    try:
        rows = read_bytes(folder, "environment.log").decode(errors="replace").splitlines()
    except (OSError, ValueError):
        return 0
    left_out = sum(
        int(mark[1]) - 1 for row in rows if (mark := re.fullmatch(r"\.\.\. (\d+) more lines", row))
    )
    return len(rows) + left_out
