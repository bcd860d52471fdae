"""``trace-robot evaluate zoo``."""

from __future__ import annotations

import argparse
from statistics import fmean

from rich.progress import Progress
from rich.table import Table

from trace_robot.bench.zoo import evaluate_zoo, zoo
from trace_robot.cli.screen import console, write_json
from trace_robot.errors import TraceRobotError
from trace_robot.rollout.evaluate import EvaluationReport


def run(options: argparse.Namespace) -> int:
    if options.policy or options.control:
        raise TraceRobotError(
            "evaluate zoo takes no --policy or --control: each controller of the zoo says its own"
        )
    tasks = options.tasks.split(",") if options.tasks else []
    out = console(quiet=options.quiet, json=options.json)
    with Progress(console=out, transient=True, disable=not out.is_terminal or out.quiet) as progress:
        bar = progress.add_task("controllers", total=len(tasks) or len(zoo()))
        reports = evaluate_zoo(
            tasks, episodes=options.episodes, seed=options.seed, workers=options.workers, backend=options.backend,
            address=options.address, trusted=options.trust, on_report=lambda report: progress.advance(bar),
        )  # fmt: skip
    mean = fmean(report.success for report in reports)
    if options.json:
        rows = [{k: v for k, v in report.to_data().items() if k != "conditions"} for report in reports]
        write_json({"seed": options.seed, "episodes": options.episodes, "mean_success": mean, "tasks": rows})
        return 0
    if not options.quiet:
        console().print(_table(reports))
    console().print(
        f"mean success {mean:.3f} of {len(reports)} controllers, {options.episodes} held-out episodes each,"
        f" seed {options.seed}"
    )
    return 0


def _table(reports: list[EvaluationReport]) -> Table:
    table = Table(
        "task", "success", "95 % interval", "errors", "control", "steps", box=None, padding=(0, 2, 0, 0)
    )
    for report in reports:
        low, high = report.interval
        steps = fmean(episode.steps for episode in report.episodes)
        errors = sum(episode.ended == "error" for episode in report.episodes)
        table.add_row(
            report.task,
            f"{report.success:.2f}",
            f"{low:.2f} to {high:.2f}",
            str(errors),
            report.control,
            f"{steps:.0f}",
        )
    return table
