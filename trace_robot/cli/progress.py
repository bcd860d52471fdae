"""Progress of a run: a line an iteration, a live line below, a summary."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

from trace_robot.cli.console import create_table, escape, line, missing_success
from trace_robot.errors import UsageError
from trace_robot.rollout.evaluation import success_missing
from trace_robot.run.loop import Event, Iterated, Noted, Progressed, Started
from trace_robot.run.person import AskPerson, NotesFile, Question
from trace_robot.settings import Result

# Where there is no live line, such as in a log of CI, a run that prints nothing for long looks dead, and some
# services kill it; a line in half a minute keeps the log short.
QUIET_SECONDS = 30.0
LONGEST_LINE = 4000  # characters that are read of what a person types
HEAD = (
    f"{'iteration':>9}  {'tried':>6}  {'success':>7}  {'reward':>8}  {'best':>5}  {'time':>6}  what changed"
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
        self._task = settings.task
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
        self.out.print(HEAD, style="bold")

    def _show_progress(self, event: Progressed) -> None:
        best = "" if event.best is None else f"best {event.best.outcome.success:.2f}  "
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
        reward = sum(episode.total_reward for episode in episodes) / len(episodes)
        note = line(event.trial.candidate.note) if event.iteration else "the starting controller"
        self._last_printed = time.monotonic()
        self.out.print(
            f"{event.iteration:>9}  {event.candidates:>6}  {event.trial.outcome.success:>7.2f}  {reward:>8.4g}  "
            f"{event.best.outcome.success:>5.2f}  {event.seconds:>5.0f}s  {escape(note)}",
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
    low, high = result.held_out_interval
    table = create_table(header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("ended", escape(result.ended))
    table.add_row(
        "held out",
        f"[bold]success {result.held_out_success:.2f}[/bold] of {result.held_out_episodes} episodes"
        f", mean return {result.held_out_return:.4g}"
        f" (95 % interval {low:.2f} to {high:.2f}); the starting controller: {result.start_success:.2f} in training",
    )
    conditions = f"{result.training_episodes} condition{'s' if result.training_episodes > 1 else ''}"
    table.add_row("training", f"success {result.training_success:.2f} of {conditions}")
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
    out.print()
    out.print(table)
