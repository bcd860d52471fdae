"""Progress of a run: a line an iteration, a live line below, a summary."""

from __future__ import annotations

import math
import shlex
import sys
import textwrap
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from trace_robot.cli.console import (
    MissingSuccess,
    counted,
    create_table,
    duration,
    escape,
    line,
)
from trace_robot.cli.runs import name_of
from trace_robot.rollout.episode import TOO_TIGHT, score_of
from trace_robot.run.loop import Event, Iterated, Noted, Progressed, Started
from trace_robot.run.person import Question
from trace_robot.settings import Result, Settings
from trace_robot.spec import TaskSpec
from trace_robot.stats import measure_of, note_of, steps_text, three_digits
from trace_robot.store.command_line import beyond_budget, budget_that_ended, continuing_command, files_to_save
from trace_robot.store.folder import BEFORE_VIDEO

# Where there is no live line, such as in a log of CI, a run that prints nothing for long looks dead, and some
# services kill it; a line in half a minute keeps the log short.
QUIET_SECONDS = 30.0
TOUCHED = "success was not shown to last, as an episode ends at its first step of success"
PLACES = (
    "best.py asks for places of a hand, which deploy leaves to the robot's own tracking; for actions of the motors"
    " search with --control raw, which may reach less (docs/hands.md)"
)
NO_VIDEO = "outside the budget; --no-video draws none"
SEARCH_USES = "the start to improve on: the search writes its own controllers and takes CONTROL alone from it"
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
    return _Bar(*columns, console=out, transient=True, disable=not out.is_terminal or out.quiet)


class _Bar(Progress):
    """A progress bar that leaves the last column free.

    Whatever else is written behind a full line, such as a key that is echoed, begins a new one, and the bar above would
    stay for ever.
    """

    def get_renderable(self) -> RenderableType:
        """Return the bar in one column less than the terminal has."""
        return _Narrower(super().get_renderable())


class _Narrower:
    """A renderable in one column less, nothing in the last one, not even a blank."""

    def __init__(self, inner: RenderableType) -> None:
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from console.render(self.inner, options.update(width=options.max_width - 1))


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
        CountColumn(unit),
        TextColumn("{task.fields[note]}"),
        ClockColumn(),
    )


class CountColumn(ProgressColumn):
    """The column "done/total unit", of an unknown total what is done alone.

    Args:
        unit: what is counted; nothing is written after the numbers if empty.
    """

    def __init__(self, unit: str = "") -> None:
        self.unit = unit
        super().__init__()

    def render(self, task: Task) -> Text:
        """Return the text of the column.

        Args:
            task: of rich's progress.
        """
        if task.total is None:
            return Text(f"{task.completed:.0f} {self.unit}".strip() if task.completed else "")
        return Text(f"{task.completed:.0f}/{task.total:.0f} {self.unit}".strip())


class ClockColumn(ProgressColumn):
    """Elapsed time, which goes on when a total is reached."""

    def render(self, task: Task) -> Text:
        """Return the time as H:MM:SS.

        Args:
            task: of rich's progress.
        """
        return Text(str(timedelta(seconds=int(task.elapsed or 0))), style="progress.elapsed")


def time_left(limit: float | None, spent: float) -> str:
    """Return how much of a run's time is left, "" without a limit.

    Args:
        limit: seconds of the run.
        spent: seconds so far; a run goes on beyond the limit while episodes that have begun end.
    """
    if limit is None:
        return ""
    left = math.ceil(limit - spent)
    return f"at most {left} s left" if left > 0 else "time is up, the last episodes end"


class RunProgress:
    """Printer of a run's events, a context manager that holds the live line.

    ``began`` is true once the run has started: before that, an error concerns the options, not the run.
    """

    def __init__(self, out: Console) -> None:
        """Prepare the live line on ``out``."""
        self.out = out
        self.seconds: float | None = None  # the run's time limit, known when it has started
        self.began = False
        self._missing = MissingSuccess("")
        self._spec: TaskSpec | None = None
        self._settings: Settings | None = None
        self._model: Mapping[str, Any] | None = None
        self._last_printed = self._since = time.monotonic()
        self._earlier = 0.0  # seconds of the processes that the run was interrupted in
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
            whole = self._earlier + time.monotonic() - self._since
            assert self._settings is not None  # since it started
            print_summary(self.out, event.result, event.folder, self._settings, whole, self._model)
            if self._missing.text:
                self.out.print(escape(self._missing.text), style="yellow")

    def _show_start(self, event: Started) -> None:
        settings, spec, policy = event.settings, event.spec, event.policy
        self._spec, self._settings, self._model = spec, settings, event.model
        self._missing = MissingSuccess(settings.task)
        places = ", ".join(place.name for place in policy.places)
        self.out.print(f"[bold]{escape(spec.name)}[/bold]  {escape(spec.instruction)}")
        conditions = counted(settings.episodes, "condition")
        grows = f", up to {settings.grow} while all are solved" if settings.grow > settings.episodes else ""
        if settings.confirm:
            grows += f", {settings.confirm} further ones where all are solved"
        facts = {
            "optimizer": f"{settings.optimizer}: {event.why}",
            "policy": f"{policy.name}, {SEARCH_USES if settings.optimizer == 'search' else f'trainable: {places}'}",
            "control": f"{spec.control}: {event.control}" if event.control else spec.control,
            "training": f"{conditions}{grows}, seed {settings.seed}; feedback level {settings.feedback}; held out:"
            f" {counted(settings.held_out, 'other')}",
            "folder": str(event.folder),
        }
        if event.known:
            facts["going on"] = f"{event.known:,} answers and batches known from before; none is asked again"
        table = create_table(header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, text in facts.items():
            table.add_row(name, escape(text))
        self.out.print(table)
        self.out.print()
        by_return = measure_of(spec.success, spec.return_threshold) != "success"
        self.out.print(RETURN_HEAD if by_return else HEAD, style="bold")

    def _show_progress(self, event: Progressed) -> None:
        # The run's own clock is ahead of this process's by what it took before an interruption.
        self._earlier = max(0.0, event.seconds - (time.monotonic() - self._since))
        best = "" if event.best is None else f"best {score_of(event.best.episodes, self._spec).brief}  "
        left = time_left(self.seconds, event.seconds)
        note = f"{event.candidates} tried  {best}{left}".strip()
        note = {"training": note, "drawing videos": NO_VIDEO}.get(event.stage, "outside the budget")
        if not self.out.is_terminal and time.monotonic() - self._last_printed > QUIET_SECONDS:
            self._last_printed = time.monotonic()
            noun = "video" if event.stage == "drawing videos" else "episode"
            done = f"{event.seconds:.0f} s; {event.stage}: {event.done} of {counted(event.total, noun)}"
            self.out.print("; ".join(filter(None, (done, note.strip()))))
        self._progress.update(
            self._bar, description=event.stage, completed=event.done, total=event.total, note=note
        )

    def _show_iteration(self, event: Iterated) -> None:
        episodes = event.trial.episodes
        score, best = (score_of(trial.episodes, self._spec) for trial in (event.trial, event.best))
        reward = sum(episode.total_reward for episode in episodes) / len(episodes)
        changed = line(note_of(event.trial.candidate.note, better=event.better))
        note = changed if event.iteration else "the starting controller"
        self._last_printed = time.monotonic()
        if score.shows_return and best.returns is not None:
            rate = f"{score.success:.2f}" if score.shows_success else "-"
            head = RETURN_HEAD
            figures = f"{three_digits(reward):>9}  {three_digits(best.returns.mean):>9}  {rate:>7}"
        else:
            head = HEAD
            figures = (
                f"{event.trial.outcome.success:>7.2f}  {reward:>8.4g}  {event.best.outcome.success:>5.2f}"
            )
        row = (
            f"{event.iteration:>9}  {event.candidates:>6}  {figures}  {event.seconds:>5.0f}s  {escape(note)}"
        )
        if self.out.is_terminal:  # a long note goes on below itself
            margin = " " * (len(head) - len("what changed"))
            row = textwrap.fill(row, self.out.width, subsequent_indent=margin, break_long_words=False)
        self.out.print(
            row,
            style="green" if event.better and event.iteration else "",
        )
        if missing := self._missing.see(episodes):
            self.out.print(escape(missing))

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


def print_summary(
    out: Console,
    result: Result,
    folder: Path,
    settings: Settings,
    whole: float | None = None,
    model: Mapping[str, Any] | None = None,
) -> None:
    """Print held-out success with its interval, cost, and where the files are.

    Args:
        out: where to print.
        result: of the finished run.
        folder: the run's folder, with best.py, result.json and perhaps videos.
        settings: of the run, with which a run that its budget ended can go on.
        whole: wall-clock seconds with the held-out episodes and the videos.
        model: its model and endpoint, as of ``model_words``; None where none is asked.
    """
    table = create_table(header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("ended", escape(result.ended))
    table.add_row("held out", _held_out(result))
    conditions = f"{counted(result.training_episodes, 'condition')}{_cut(result, settings)}"
    if (more := result.training_episodes - settings.episodes) > 0:
        conditions += f": {settings.episodes}, and {counted(more, 'further one')} as all were solved"
    table.add_row("training", f"{_training(result)} of {conditions}")
    # A stored run of 0.1.0 counts them.
    steps = steps_text(result.environment_steps, among="without" if settings.cut else "with")
    cost = f"{counted(result.candidates, 'controller')} tried, {steps}, {duration(result.seconds)}"
    cost += beyond_budget(settings, result.seconds)
    if result.model_calls:
        cost += f", {counted(result.model_calls, 'model call')}, {counted(result.tokens, 'token')}"
    table.add_row("cost", cost)
    if whole is not None:
        table.add_row(
            "in all", f"{duration(whole)} with the held-out episodes{' and videos' * settings.video}"
        )
    table.add_row("controller", escape(str(folder / "best.py")))
    table.add_row("result", escape(str(folder / "result.json")))
    videos = sorted(folder.glob("iterations/*/episode.mp4"))
    if videos:
        before, after = folder / BEFORE_VIDEO, folder / f"iterations/{result.best_iteration:03d}/episode.mp4"
        first = before if before.is_file() else videos[0]
        if result.best_iteration == 0 or not after.is_file():
            table.add_row("video", escape(str(first)))
        else:
            table.add_row("videos", escape(f"{first} (before)"))
            table.add_row("", escape(f"{after} (after)"))
    touched = settings.optimizer == "search" and not settings.options.get("hold")
    touched = touched and result.measure == "success" and result.held_out_success > 0
    lasts = f"{TOUCHED}; try: trace-robot stress {shlex.quote(name_of(folder))}, and --hold end"
    tight = "envelope" in settings.options and result.measure == "success" and not result.held_out_success
    # By default, of an optimizer that prefers the environment's own action.
    places = (settings.control, settings.usual_control, result.control) == (None, "raw", "pose")
    for note in (
        *result.notes,
        *([lasts] if touched else []),
        *([f"envelope: {TOO_TIGHT}"] if tight else []),
        *([PLACES] if places else []),
    ):
        table.add_row("note", f"[yellow]{escape(note)}[/yellow]")
    out.print()
    out.print(table)
    unsolved = result.measure == "return" or result.held_out_success < 1
    if unsolved and (again := continuing_command(settings, folder, result.ended, model)):
        rows = [""]
        for word in map(shlex.quote, shlex.split(again)):  # broken between words: a shell takes it as it is
            if out.is_terminal and len(f"{rows[-1]} {word}") > out.width - 4 and rows[-1]:
                rows.append("  ")
            rows[-1] += f" {word}" if rows[-1].strip() else word
        command = " \\\n  ".join(rows)
        out.print(f"\nto go on from here, with twice the budget:\n  {command}", markup=False, soft_wrap=True)
        for name, file in files_to_save({"options": settings.options}).items():
            where = f"with options.{name} of {folder / 'settings.json'} saved as {file}"
            out.print(where, markup=False, soft_wrap=True)


def _held_out(result: Result) -> str:
    """Return the final score, with what comes first in bold."""
    low, high = result.held_out_interval
    rate = f"success {result.held_out_success:.2f}"
    interval = f"(95 % interval {low:.2f} to {high:.2f})"
    mean, of = three_digits(result.held_out_return), f"of {counted(result.held_out_episodes, 'episode')}"
    if result.measure == "success" or result.held_out_return_interval is None:
        return f"[bold]{rate}[/bold] {of} {interval}, mean return {result.held_out_return:.4g}"
    below, above = map(three_digits, result.held_out_return_interval)
    text = f"[bold]return {mean}[/bold] {of} (95 % interval {below} to {above})"
    return f"{text}, {rate} {interval}" if result.measure == "both" or result.held_out_success > 0 else text


def _cut(result: Result, settings: Settings) -> str:
    """Return how many of the conditions were tried and why, "" for all."""
    if result.training_episodes >= settings.episodes:
        return ""
    why = "time was up" if budget_that_ended(settings, result.ended) == "seconds" else "the budget was spent"
    return f": {result.training_episodes} of {settings.episodes} tried, {why}"


def _training(result: Result) -> str:
    """Return both scores in training with those of the start, what comes first first."""
    rate = f"success {result.training_success:.2f} (start {result.start_success:.2f})"
    if result.training_return is None or result.start_return is None:
        return rate
    mean = f"return {three_digits(result.training_return)} (start {three_digits(result.start_return)})"
    if result.measure == "success":
        return f"{rate}, {mean}"
    return f"{mean}, {rate}" if result.measure == "both" or result.training_success > 0 else mean
