"""``evaluate`` a controller, or the ``zoo``, on held-out conditions; list the ``policies``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trace_robot.cli.arguments import (
    BELOW,
    add_backend,
    add_control,
    add_environment,
    add_episodes,
    add_json,
    add_output,
    add_require,
    add_workers,
    environment_options,
)
from trace_robot.cli.console import (
    MissingSuccess,
    console,
    counted,
    create_table,
    escape,
    line,
    progress_console,
    safe,
    write_error,
    write_json,
)
from trace_robot.cli.drive import add_envelope, envelope_line
from trace_robot.cli.parser import Commands, add_command
from trace_robot.errors import PolicyError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from trace_robot.rollout.evaluate import EvaluationReport


def add_evaluate(commands: Commands) -> None:
    """Add ``evaluate``."""
    command = add_command(
        commands,
        "evaluate",
        "score a controller on held-out conditions",
        examples=[
            ("trace-robot evaluate reach-v3 --policy zoo/reach_v3", "50 held-out conditions"),
            (
                "trace-robot evaluate push-v3 --policy best.py --episodes 200 --json",
                "more episodes, for a program to read",
            ),
        ],
    )
    command.set_defaults(execute=execute_evaluate)
    add_environment(command)
    # Not required=True: 0.1.0 answers its absence with exit code 1 and a line that says what is missing.
    command.add_argument("--policy", metavar="NAME|FILE", help="the controller (required)")
    add_episodes(command, 50, "held-out conditions to score on")
    add_control(command)
    add_envelope(command)
    add_workers(command)
    add_backend(command)
    add_require(command)
    add_output(command)


def execute_evaluate(options: argparse.Namespace) -> int:
    """Score a controller and print success, its interval, and why episodes failed."""
    from trace_robot.cli.progress import create_progress
    from trace_robot.policy import load_policy
    from trace_robot.rollout.evaluate import evaluate

    if options.policy is None:
        raise UsageError(f"evaluate {options.task} needs --policy NAME|FILE")
    policy = load_policy(options.policy)
    with create_progress(progress_console()) as progress:
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
        _print_report(report, policy.text, options.quiet)
    if missing := MissingSuccess(options.task).see(report.episodes):
        write_error(missing)
    if report.output and not options.quiet:
        lines = report.output.splitlines()
        write_error(
            f"the environment printed {counted(len(lines), 'line')}, the last: {line(lines[-1], 200)}"
        )
    if all(episode.ended == "error" for episode in report.episodes):
        return 1
    return BELOW if options.require is not None and report.success < options.require else 0


def _print_report(report: EvaluationReport, controller: str, quiet: bool) -> None:
    from trace_robot.rollout.feedback import describe
    from trace_robot.stats import three_digits

    out = console()
    (low, high), score, count = report.interval, report.score, len(report.episodes)
    held_out = counted(count, "held-out episode")
    if score.shows_return and score.returns is not None:
        below, above = map(three_digits, score.returns.interval)
        out.print(
            f"return {three_digits(score.returns.mean)} of {held_out} (95 % interval {below} to {above})"
        )
    if score.shows_success:
        out.print(f"success {report.success:.2f} of {held_out} (95 % interval {low:.2f} to {high:.2f})")
        if limited := envelope_line(report.episodes):
            out.print(limited)
    for note in report.notes:
        out.print(f"note: {escape(note)}")
    if quiet:
        return
    steps = sum(episode.steps for episode in report.episodes) / count
    what = f"{report.task}, {report.policy}, control {report.control}, seed {report.seed}"
    out.print(f"{escape(what)}; {steps:.0f} simulator steps an episode")
    for fault, episodes in report.faults:
        ending = safe(describe(fault, controller))
        out.print(f"\n{episodes} of {counted(count, 'episode')} ended with:\n{ending}", markup=False)


def add_zoo(commands: Commands) -> None:
    """Add ``zoo``, which 0.1.0 spelled ``evaluate zoo``."""
    command = add_command(
        commands,
        "zoo",
        "score every controller of the zoo on held-out conditions",
        "Score every controller of a zoo, a folder with a policy for each task, on held-out conditions of its task;\n"
        "each says its own control mode. policies/zoo was found in the nominal world, policies/robust in worlds that\n"
        "differ. trace-robot bench --zoo writes such a folder.",
        examples=[
            ("trace-robot zoo --tasks reach-v3,push-v3", "two tasks of the zoo; without --tasks all of them"),
            (
                "trace-robot zoo --policy robust --tasks reach-v3",
                "a controller that was found in worlds that differ",
            ),
        ],
    )
    command.set_defaults(execute=execute_zoo)
    command.add_argument(
        "--policy", metavar="FOLDER", default="zoo", help="below policies/, or any other (default: zoo)"
    )
    command.add_argument("--tasks", metavar="NAME,..", help="these tasks only (default: all it has)")
    add_episodes(command, 50, "held-out conditions to score each controller on")
    add_envelope(command)
    add_workers(command)
    add_backend(command)
    add_output(command)


def execute_zoo(options: argparse.Namespace) -> int:
    """Score the zoo's controllers, and print a row each and their mean success."""
    from statistics import fmean

    from trace_robot.bench.zoo import evaluate_zoo, zoo
    from trace_robot.cli.progress import create_progress

    tasks = options.tasks.split(",") if options.tasks else []
    with create_progress(progress_console()) as progress:
        bar = progress.add_task("controllers", total=len(tasks) or len(zoo(options.policy)))
        reports = evaluate_zoo(
            tasks,
            folder=options.policy,
            episodes=options.episodes,
            seed=options.seed,
            workers=options.workers,
            backend=options.backend,
            address=options.address,
            trusted=options.trust,
            options={} if options.envelope is None else {"envelope": options.envelope},
            on_report=lambda report: progress.advance(bar),
        )
    mean = fmean(report.success for report in reports)
    if options.json:
        # Without the results of single episodes, of which there are 50 for each controller.
        rows = [{k: v for k, v in report.to_data().items() if k != "conditions"} for report in reports]
        write_json({"seed": options.seed, "episodes": options.episodes, "mean_success": mean, "tasks": rows})
        return 0
    out = console()
    if not options.quiet:
        out.print(_zoo_table(reports))
        if limited := envelope_line([episode for report in reports for episode in report.episodes]):
            out.print(limited)
    out.print(
        f"mean success {mean:.3f} of {counted(len(reports), 'controller')},"
        f" {counted(options.episodes, 'held-out episode')} each,"
        f" seed {options.seed}"
    )
    return 0


def _zoo_table(reports: Sequence[EvaluationReport]) -> Table:
    table = create_table("task", "success", "95 % interval", "errors", "control", "steps")
    for report in reports:
        low, high = report.interval
        steps = sum(episode.steps for episode in report.episodes) / len(report.episodes)
        errors = sum(episode.ended == "error" for episode in report.episodes)
        table.add_row(
            report.task,
            report.score.brief,
            f"{low:.2f} to {high:.2f}" if report.score.shows_success else report.score.return_text,
            str(errors),
            report.control,
            f"{steps:.0f}",
        )
    return table


def add_policies(commands: Commands) -> None:
    """Add ``policies``."""
    command = add_command(
        commands,
        "policies",
        "list the starting controllers",
        examples=[
            ("trace-robot policies", "what --policy can name"),
        ],
    )
    command.set_defaults(execute=execute_policies)
    add_json(command)


def execute_policies(options: argparse.Namespace) -> int:
    """Print the policies of the workspaces with what is trainable in them."""
    import ast

    from trace_robot.policy import load_policy
    from trace_robot.workspace import policies

    rows = []
    for name in policies():
        try:
            policy = load_policy(name)
        except PolicyError as error:  # of one file: the others are listed
            write_error(f"not loaded: {error}")
            continue
        # Parsed rather than imported: listing policies must not execute them.
        summary = (ast.get_docstring(ast.parse(policy.text)) or "").split("\n")[0]
        rows.append({"name": name, "about": summary, "trainable": [place.name for place in policy.places]})
    if options.json:
        write_json(rows)
        return 0
    out = console()
    wide = out.width >= 100  # else three columns would break words
    table = create_table("policy", "what it does", *(["trainable"] if wide else []))
    table.columns[0].no_wrap = True
    for row in rows:
        cells = [row["name"], escape(str(row["about"])), ", ".join(row["trainable"])]
        table.add_row(*map(str, cells if wide else cells[:2]))
    out.print(table)
    return 0
