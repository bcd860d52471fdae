"""``trace-robot bench``."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from trace_robot.bench.plan import PROTOCOLS, Plan, select
from trace_robot.bench.report import markdown, write_report
from trace_robot.bench.results import ROWS, ResultRow
from trace_robot.bench.run import Finished, Running, bench
from trace_robot.bench.zoo import write_zoo
from trace_robot.cli.screen import console, write_json
from trace_robot.run.events import Progressed


def run(options: argparse.Namespace) -> int:
    plan = Plan(
        tasks=select(options.tasks.split(",")), optimizer=options.optimizer, protocol=options.protocol,
        seeds=options.seeds or PROTOCOLS[options.protocol].seeds, feedback=options.feedback, seconds=options.seconds,
        steps=options.steps, iterations=options.iterations, policy=options.policy, workers=options.workers,
        trusted=options.trust,
    )  # fmt: skip
    out = Path(options.out) if options.out else _default_folder(plan)
    screen = _Screen(console(quiet=options.quiet, json=options.json), plan, out)
    try:
        with screen.progress:
            rows = bench(plan, out, model=options.model, base_url=options.base_url, observe=screen.show)
    except KeyboardInterrupt:
        screen.out.print(f"stopped; the same command goes on after the runs in {escape(str(out))}")
        raise
    finally:
        written = write_report(out) if (out / ROWS).is_file() else ()  # of what is there, also when stopped
    if options.json:
        write_json([asdict(row) for row in rows])
    else:
        console().print(f"\n{markdown(rows)}", markup=False)
    for path in (out / ROWS, *written):
        screen.out.print(f"written  {escape(str(path))}")
    if options.zoo:
        files = write_zoo(rows, out, Path(options.zoo), workers=plan.workers, trusted=plan.trusted)
        screen.out.print(f"zoo      {escape(options.zoo)}, {len(files)} controllers")
    return 0


def _default_folder(plan: Plan) -> Path:
    level = "" if plan.feedback == "outcome" else f"-{plan.feedback}"
    return Path("rollouts") / "runs" / f"bench-{plan.protocol}-{plan.optimizer}{level}"


class _Screen:
    """A line a finished run, one live line below."""

    def __init__(self, out: Console, plan: Plan, folder: Path) -> None:
        self.out = out
        self.started = time.monotonic()
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.completed}/{task.total} runs"),
            TextColumn("{task.fields[note]}"), TimeElapsedColumn(), console=out, transient=True,
            disable=not out.is_terminal or out.quiet,
        )  # fmt: skip
        total = len(list(plan.keys()))
        self.bar = self.progress.add_task("", total=total, note="")
        out.print(
            f"[bold]{total} runs[/bold]  optimizer {plan.optimizer}, protocol {plan.protocol}, feedback level"
            f" {plan.feedback}; results in {escape(str(folder))}"
        )

    def show(self, event: Running | Finished) -> None:
        if isinstance(event, Finished):
            self._finished(event.row, event.done, event.total, event.left)
        elif isinstance(event.event, Progressed):
            progressed = event.event
            best = "" if progressed.best is None else f"  best {progressed.best.outcome.success:.2f}"
            note = f"{progressed.candidates} tried{best}  {progressed.stage}"
            self.progress.update(
                self.bar,
                description=f"{event.key[0]} seed {event.key[1]}",
                completed=event.number - 1,
                note=note,
            )

    def _finished(self, row: ResultRow, done: int, total: int, left: float) -> None:
        self.progress.update(self.bar, completed=done)
        self.out.print(
            f"{done:>4}/{total}  {row.task:28} seed {row.seed:<3} success {row.success:.2f}  {row.candidates:>7,} tried"
            f"  {row.wall_seconds:>5.0f} s  {_duration(left)} left",
            style="green" if row.success >= 0.9 else "",
        )


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
