"""What a person sees while a run goes on: a line an iteration, one live line below, a summary at the end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from trace_robot.cli.console import console as console
from trace_robot.cli.console import write_json as write_json
from trace_robot.cli.text import line, safe
from trace_robot.run.events import Event, Iterated, Progressed, Started
from trace_robot.settings import Result

QUIET_SECONDS = 30.0  # without a word, where there is no live line, until one says that it goes on
HEAD = (
    f"{'iteration':>9}  {'tried':>6}  {'success':>7}  {'reward':>8}  {'best':>5}  {'time':>6}  what changed"
)


class Screen:
    """Shows a run's events."""

    def __init__(self, out: Console, *, why: str = "", seconds: float | None = None) -> None:
        self.out = out
        self.why = why
        self.seconds = seconds
        self.began = False
        self.told = time.monotonic()
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[note]}"), TimeElapsedColumn(), console=out, transient=True,
            disable=not out.is_terminal or out.quiet,
        )  # fmt: skip
        self.bar = self.progress.add_task("rollouts", total=None, note="")

    def __enter__(self) -> Screen:
        self.progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.progress.stop()

    def show(self, event: Event) -> None:
        if isinstance(event, Started):
            self.began, self.why, self.seconds = True, event.why, event.settings.seconds
            self._started(event)
        elif isinstance(event, Progressed):
            self._progressed(event)
        elif isinstance(event, Iterated):
            self._iterated(event)
        else:
            self.progress.stop()
            summary(self.out, event.result, event.folder)

    def _started(self, event: Started) -> None:
        settings, spec, policy = event.settings, event.spec, event.policy
        places = ", ".join(place.name for place in policy.places)
        self.out.print(f"[bold]{escape(spec.name)}[/bold]  {escape(spec.instruction)}")
        self.out.print(f"optimizer  {settings.optimizer}: {escape(self.why)}")
        self.out.print(
            f"policy     {escape(policy.name)}, trainable: {escape(places)}; control {spec.control}"
        )
        self.out.print(
            f"training   {settings.episodes} conditions, seed {settings.seed}; feedback level {settings.feedback};"
            f" held out: {settings.held_out} others"
        )
        self.out.print(f"folder     {escape(str(event.folder))}")
        if event.known:
            self.out.print(
                f"going on   {event.known} answers and batches of episodes are known from before; none is asked again"
            )
        self.out.print()
        self.out.print(HEAD, style="bold")

    def _progressed(self, event: Progressed) -> None:
        best = "" if event.best is None else f"best {event.best.outcome.success:.2f}  "
        left = "" if self.seconds is None else f"at most {max(0, self.seconds - event.seconds):.0f} s left  "
        note = f"{event.candidates} tried  {best}{left}" if event.stage == "training" else ""
        if not self.out.is_terminal and time.monotonic() - self.told > QUIET_SECONDS:
            self.told = time.monotonic()
            done = f"{event.seconds:.0f} s; {event.stage}: {event.done} of {event.total} episodes"
            self.out.print("; ".join(filter(None, (done, note.strip()))))
        self.progress.update(
            self.bar, description=event.stage, completed=event.done, total=event.total, note=note
        )

    def _iterated(self, event: Iterated) -> None:
        episodes = event.trial.episodes
        reward = sum(episode.total_reward for episode in episodes) / len(episodes)
        note = line(event.trial.candidate.note) if event.iteration else "the starting controller"
        self.told = time.monotonic()
        self.out.print(
            f"{event.iteration:>9}  {event.candidates:>6}  {event.trial.outcome.success:>7.2f}  {reward:>8.4g}  "
            f"{event.best.outcome.success:>5.2f}  {event.seconds:>5.0f}s  {escape(note)}",
            style="green" if event.better and event.iteration else "",
        )


def summary(out: Console, result: Result, folder: Path) -> None:
    low, high = result.held_out_interval
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("ended", escape(safe(result.ended)))
    table.add_row(
        "held out",
        f"[bold]success {result.held_out_success:.2f}[/bold] of {result.held_out_episodes} episodes"
        f", mean return {result.held_out_return:.4g}"
        f" (95 % interval {low:.2f} to {high:.2f}); the starting controller: {result.start_success:.2f} in training",
    )
    steps = f"{result.environment_steps:,} simulator steps"
    cost = f"{result.candidates} controllers tried, {steps}, {result.seconds:.0f} s"
    if result.model_calls:
        cost += f", {result.model_calls} model calls, {result.tokens:,} tokens"
    table.add_row("cost", cost)
    table.add_row("controller", escape(str(folder / "best.py")))
    table.add_row("result", escape(str(folder / "result.json")))
    videos = sorted(folder.glob("iterations/*/episode.mp4"))
    if videos:
        first, last = videos[0], folder / "iterations" / f"{result.best_iteration:03d}" / "episode.mp4"
        table.add_row("videos", escape(f"{first} (before)"))
        table.add_row("", escape(f"{last} (after)"))
    out.print()
    out.print(table)
