"""Progress of a run: a line an iteration, a live line below, a summary."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

from trace_robot.cli.console import (
    INTERRUPTED,
    console,
    create_table,
    escape,
    interruptible,
    line,
    missing_success,
    progress_console,
    write_error,
    write_json,
)
from trace_robot.cli.runs import name_of
from trace_robot.errors import ReplayMismatchError, ReplyError, RunError, TraceRobotError, UsageError
from trace_robot.optimizers.optoprime import NO_REPLY
from trace_robot.rollout.episode import score_of
from trace_robot.rollout.evaluation import success_missing
from trace_robot.run.loop import Event, Iterated, Noted, OnEvent, Progressed, Started
from trace_robot.run.person import AskPerson, NotesFile, Question
from trace_robot.settings import Result
from trace_robot.spec import TaskSpec
from trace_robot.stats import measure_of, three_digits

# Where there is no live line, such as in a log of CI, a run that prints nothing for long looks dead, and some
# services kill it; a line in half a minute keeps the log short.
QUIET_SECONDS = 30.0
BELOW = 3  # exit code where --require asked for more
LONGEST_LINE = 4000  # characters that are read of what a person types
HEAD = (
    f"{'iteration':>9}  {'tried':>6}  {'success':>7}  {'reward':>8}  {'best':>5}  {'time':>6}  what changed"
)
# Where a return comes first: there is no success, or it is a sum of rewards itself.
RETURN_HEAD = (
    f"{'iteration':>9}  {'tried':>6}  {'return':>9}  {'best':>9}  {'success':>7}  {'time':>6}  what changed"
)


def create_progress(out: Console, *columns: ProgressColumn | str) -> Progress:
    """Return a live progress bar that vanishes at its end.

    Args:
        out: where to draw; nothing is drawn if it is no terminal, or quiet.
        columns: what the line shows; rich's own columns if none are given.
    """
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal or out.quiet)


def create_counter(out: Console, unit: str = "") -> Progress:
    """Return a live line: description, bar, "done/total unit", ``note`` and time.

    Args:
        out: where to draw; nothing is drawn if it is no terminal, or quiet.
        unit: what is counted; nothing is written after the numbers if empty.
    """
    return create_progress(
        out,
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn(f"{{task.completed}}/{{task.total}} {unit}".strip()),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )


class RunProgress:
    """Printer of a run's events, a context manager that holds the live line.

    ``began`` is true once the run has started: before that, an error concerns the options, not the run.
    """

    def __init__(self, out: Console) -> None:
        """Prepare the live line on ``out``."""
        self.out = out
        self.seconds: float | None = None  # the run's time limit, known when it has started
        self.began = False
        self._task = ""
        self._spec: TaskSpec | None = None
        self._last_printed = time.monotonic()
        self._progress = create_counter(out)
        # Without a total the bar pulses: how many rollouts there will be is known only when a stage starts.
        self._bar = self._progress.add_task("rollouts", total=None, note="")

    def __enter__(self) -> RunProgress:
        self._progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        """Print an event of the optimization loop, or update the live line."""
        if isinstance(event, Started):
            self.began, self.seconds = True, event.settings.seconds
            self._show_start(event)
        elif isinstance(event, Progressed):
            self._show_progress(event)
        elif isinstance(event, Iterated):
            self._show_iteration(event)
        elif isinstance(event, Noted):
            self.out.print(f"note       {escape(event.text)}", style="yellow")
        else:
            self._progress.stop()
            print_summary(self.out, event.result, event.folder)

    def _show_start(self, event: Started) -> None:
        settings, spec, policy = event.settings, event.spec, event.policy
        self._task, self._spec = settings.task, spec
        places = ", ".join(place.name for place in policy.places)
        self.out.print(f"[bold]{escape(spec.name)}[/bold]  {escape(spec.instruction)}")
        self.out.print(f"optimizer  {settings.optimizer}: {escape(event.why)}")
        self.out.print(
            f"policy     {escape(policy.name)}, trainable: {escape(places)}; control {spec.control}"
        )
        grows = f", up to {settings.grow} while all are solved" if settings.grow > settings.episodes else ""
        self.out.print(
            f"training   {settings.episodes} conditions{grows}, seed {settings.seed};"
            f" feedback level {settings.feedback}; held out: {settings.held_out} others"
        )
        self.out.print(f"folder     {escape(str(event.folder))}")
        if event.known:
            self.out.print(
                f"going on   {event.known} answers and batches of episodes are known from before; none is asked again"
            )
        self.out.print()
        by_return = measure_of(spec.success, spec.return_threshold) != "success"
        self.out.print(RETURN_HEAD if by_return else HEAD, style="bold")

    def _show_progress(self, event: Progressed) -> None:
        best = "" if event.best is None else f"best {score_of(event.best.episodes, self._spec).brief}  "
        left = "" if self.seconds is None else f"at most {max(0, self.seconds - event.seconds):.0f} s left  "
        training = event.stage == "training"
        note = f"{event.candidates} tried  {best}{left}" if training else "outside the budget"
        if not self.out.is_terminal and time.monotonic() - self._last_printed > QUIET_SECONDS:
            self._last_printed = time.monotonic()
            done = f"{event.seconds:.0f} s; {event.stage}: {event.done} of {event.total} episodes"
            self.out.print("; ".join(filter(None, (done, note.strip()))))
        self._progress.update(
            self._bar, description=event.stage, completed=event.done, total=event.total, note=note
        )

    def _show_iteration(self, event: Iterated) -> None:
        episodes = event.trial.episodes
        score, best = (score_of(trial.episodes, self._spec) for trial in (event.trial, event.best))
        reward = sum(episode.total_reward for episode in episodes) / len(episodes)
        note = line(event.trial.candidate.note) if event.iteration else "the starting controller"
        self._last_printed = time.monotonic()
        if score.shows_return and best.returns is not None:
            rate = f"{score.success:.2f}" if score.shows_success else "-"
            figures = f"{three_digits(reward):>9}  {three_digits(best.returns.mean):>9}  {rate:>7}"
        else:
            figures = (
                f"{event.trial.outcome.success:>7.2f}  {reward:>8.4g}  {event.best.outcome.success:>5.2f}"
            )
        self.out.print(
            f"{event.iteration:>9}  {event.candidates:>6}  {figures}  {event.seconds:>5.0f}s  {escape(note)}",
            style="green" if event.better and event.iteration else "",
        )
        if not event.iteration and success_missing(episodes):
            self.out.print(escape(missing_success(self._task)))

    def ask(self, question: Question) -> list[str]:
        """Return the sentence that a person types about an iteration, [] for none.

        Args:
            question: what to show.
        """
        self._progress.stop()
        seen = question.video or question.folder
        self.out.print(
            f"iteration {question.iteration}, success {question.success:.2f}: see {escape(str(seen))}"
        )
        self.out.print("what should it do better? one sentence for the model, or Enter for none: ", end="")
        typed = sys.stdin.readline(LONGEST_LINE)
        self._progress.start()
        return [typed] if typed.strip() else []


def person_of(options: argparse.Namespace, screen: RunProgress) -> AskPerson | None:
    """Return what gives a person's words, None where none are asked for.

    Args:
        options: with ``ask`` and ``ask_file``, or without both.
        screen: of the run, which stands still while a person types.

    Raises:
        UsageError: there is no terminal to ask at.
    """
    sources: list[AskPerson] = []
    if getattr(options, "ask", False):
        if not sys.stdin.isatty():
            raise UsageError(
                "--ask needs a terminal to type at; write the sentences to a file, with --ask-file"
            )
        sources.append(screen.ask)
    if getattr(options, "ask_file", None):
        sources.append(NotesFile(Path(options.ask_file)))
    if not sources:
        return None
    return lambda question: [text for source in sources for text in source(question)]


def print_summary(out: Console, result: Result, folder: Path) -> None:
    """Print held-out success with its interval, cost, and where the files are.

    Args:
        out: where to print.
        result: of the finished run.
        folder: the run's folder, with best.py, result.json and perhaps videos.
    """
    table = create_table(header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("ended", escape(result.ended))
    table.add_row("held out", _held_out(result))
    conditions = f"{result.training_episodes} condition{'s' if result.training_episodes > 1 else ''}"
    table.add_row("training", f"{_training(result)} of {conditions}")
    steps = f"{result.environment_steps:,} simulator steps"
    cost = f"{result.candidates} controllers tried, {steps}, {result.seconds:.0f} s"
    if result.model_calls:
        cost += f", {result.model_calls} model calls, {result.tokens:,} tokens"
    table.add_row("cost", f"{cost}; the held-out episodes come on top")
    table.add_row("controller", escape(str(folder / "best.py")))
    table.add_row("result", escape(str(folder / "result.json")))
    videos = sorted(folder.glob("iterations/*/episode.mp4"))
    if videos:
        first, last = videos[0], folder / "iterations" / f"{result.best_iteration:03d}" / "episode.mp4"
        table.add_row("videos", escape(f"{first} (before)"))
        table.add_row("", escape(f"{last} (after)"))
    for note in result.notes:
        table.add_row("note", f"[yellow]{escape(note)}[/yellow]")
    out.print()
    out.print(table)


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
    person = person_of(options, screen)
    again = f"go on with: trace-robot {command} {shlex.quote(name_of(out))}"
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
        raise RunError(f"{str(error).rstrip('.')}; then {again}") from error
    return _report(result, options, out)


def _report(result: Result, options: argparse.Namespace, out: Path) -> int:
    """Print the result as --json or --quiet ask for, and return the exit code."""
    if options.json:
        write_json(asdict(result))
    elif options.quiet:
        console().print(f"{result.held_out_success:.2f} {out / 'best.py'}", markup=False)
    if result.ended.startswith(NO_REPLY):
        attempts = out / "attempts.json"
        raise ReplyError(f"the model gave {result.ended}; see {attempts}, or try another --model")
    wanted = getattr(options, "require", None)  # replay has no such option
    if wanted is not None and result.held_out_success < wanted:
        write_error(f"held-out success {result.held_out_success:.2f} is below {wanted:g}")
        return BELOW
    return 0


def _held_out(result: Result) -> str:
    """Return the final score with what comes first in bold, and the start's."""
    low, high = result.held_out_interval
    rate = f"success {result.held_out_success:.2f}"
    interval = f"(95 % interval {low:.2f} to {high:.2f})"
    mean, of = three_digits(result.held_out_return), f"of {result.held_out_episodes} episodes"
    if result.measure == "success" or result.held_out_return_interval is None:
        start = f"{result.start_success:.2f} in training"
        text = f"[bold]{rate}[/bold] {of}, mean return {result.held_out_return:.4g} {interval}"
        return f"{text}; the starting controller: {start}"
    below, above = map(three_digits, result.held_out_return_interval)
    text = f"[bold]return {mean}[/bold] {of} (95 % interval {below} to {above})"
    if result.measure == "both" or result.held_out_success > 0:
        text += f", {rate} {interval}"
    start = (
        ""
        if result.start_return is None
        else f"; the starting controller: {three_digits(result.start_return)}"
    )
    return f"{text}{start} in training" if start else text


def _training(result: Result) -> str:
    rate = f"success {result.training_success:.2f}"
    if result.measure == "success" or result.training_return is None:
        return rate
    mean = f"return {three_digits(result.training_return)}"
    return f"{mean}, {rate}" if result.measure == "both" or result.training_success > 0 else mean
