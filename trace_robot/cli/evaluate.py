"""``trace-robot evaluate``."""

from __future__ import annotations

import argparse

from rich.markup import escape
from rich.progress import Progress

from trace_robot.cli.options.shared import environment_options
from trace_robot.cli.screen import console, write_json
from trace_robot.errors import TraceRobotError
from trace_robot.policy import load_policy
from trace_robot.rollout.evaluate import EvaluationReport, evaluate
from trace_robot.rollout.feedback import describe


def run(options: argparse.Namespace) -> int:
    if options.task == "zoo":
        from trace_robot.cli.zoo import run as run_zoo

        return run_zoo(options)
    if options.policy is None or options.tasks:
        raise TraceRobotError(
            "--tasks is for: evaluate zoo"
            if options.tasks
            else f"evaluate {options.task} needs --policy NAME|FILE"
        )
    out = console(quiet=options.quiet, json=options.json)
    policy = load_policy(options.policy)
    with Progress(console=out, transient=True, disable=not out.is_terminal or out.quiet) as progress:
        bar = progress.add_task("held-out episodes", total=options.episodes)

        def advance(done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total)

        report = evaluate(
            options.task,
            policy,
            episodes=options.episodes,
            seed=options.seed,
            control=options.control,
            workers=options.workers,
            backend=options.backend,
            address=options.address,
            trusted=options.trust,
            options=environment_options(options),
            on_progress=advance,
        )
    if options.json:
        write_json(report.to_data())
    else:
        _print(report, policy.text, options.quiet)
    return 0


def _print(report: EvaluationReport, text: str, quiet: bool) -> None:
    out = console()
    low, high = report.interval
    count = len(report.episodes)
    out.print(
        f"success {report.success:.2f} of {count} held-out episodes (95 % interval {low:.2f} to {high:.2f})"
    )
    if quiet:
        return
    steps = sum(episode.steps for episode in report.episodes) / count
    what = f"{report.task}, {report.policy}, control {report.control}, seed {report.seed}"
    out.print(f"{escape(what)}; {steps:.0f} simulator steps an episode")
    for fault, episodes in report.faults:
        out.print(f"\n{episodes} of {count} episodes ended with:\n{describe(fault, text)}", markup=False)
