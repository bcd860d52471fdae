"""``stress``: a controller in a battery of worlds that differ from nominal."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.cli.arguments import (
    Commands,
    add_backend,
    add_command,
    add_control,
    add_environment,
    add_episodes,
    add_output,
    add_workers,
    environment_options,
    read_worlds,
)
from trace_robot.cli.console import console, create_table, escape, safe, write_json
from trace_robot.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from trace_robot.bench.stress import StressReport

ZOO = "zoo"
NARROW, COLUMN = 56, 20  # columns of the terminal for worlds and success, and for a measure
DESCRIPTION = """\
Roll a controller out in worlds that differ from the nominal one: noisy and late observations, errors of calibration,
late actions, other masses and friction, success that must last. Every world is tried on the same held-out conditions.

  trace-robot stress pick-place-v3 --policy zoo/pick_place_v3
  trace-robot stress push-v3 --policy runs/push/best.py --battery my_robot.json --videos failures
  trace-robot stress zoo                     every controller of the zoo, one row each

A battery of your own is a JSON list of worlds, docs/robust.md has their settings:
  [{"name": "my camera", "observation_error": {"positions": 0.004}, "observation_delay": [0.03, 0.08]},
   {"name": "it stays there", "hold": 0.5}]
"""


def add_stress(commands: Commands) -> None:
    """Add ``stress``."""
    command = add_command(commands, "stress", "try a controller in worlds that differ", DESCRIPTION)
    command.set_defaults(execute=execute_stress)
    add_environment(command)
    command.add_argument("--policy", metavar="NAME|FILE", help="the controller (required, but for zoo)")
    command.add_argument(
        "--battery",
        type=_battery,
        metavar="FILE",
        help="a JSON list of worlds (default: the standard battery)",
    )
    command.add_argument(
        "--tasks", metavar="NAME,..", help="with zoo: these tasks only (default: all it has)"
    )
    command.add_argument(
        "--videos", metavar="DIR", help="draw the typical failure of each world into this folder"
    )
    add_episodes(command, 10, "held-out conditions to try in each world")
    add_control(command)
    add_workers(command)
    add_backend(command)
    add_output(command)


def _battery(text: str) -> tuple[str, Any]:
    """Return a battery's name, that of its file, and its worlds as plain data."""
    from pathlib import Path

    return Path(text).stem, read_worlds(text)


def execute_stress(options: argparse.Namespace) -> int:
    """Roll out in every world, and print a row each, the worst one, and how it fails."""
    from trace_robot.bench.stress import BATTERY, STANDARD, Setting, settings_of, stress
    from trace_robot.bench.zoo import zoo
    from trace_robot.cli.progress import create_progress
    from trace_robot.errors import unknown
    from trace_robot.rollout.engine import RolloutEngine

    every = options.task == ZOO
    if options.policy is None and not every:
        raise UsageError(f"stress {options.task} needs --policy NAME|FILE; or: trace-robot stress zoo")
    battery: Sequence[Setting] = STANDARD
    name = BATTERY
    if options.battery is not None:
        battery, name = settings_of(options.battery[1]), options.battery[0]
    known = zoo() if every else {options.task: options.policy}
    tasks = options.tasks.split(",") if every and options.tasks else list(known)
    for task in tasks:
        if task not in known:
            raise unknown("controller in the zoo for", task, known)
    reports = []
    engine = RolloutEngine(
        options.workers, backend=options.backend, address=options.address, trusted=options.trust
    )
    with engine, create_progress(console(quiet=options.quiet, json=options.json)) as progress:
        bar = progress.add_task("episodes", total=len(tasks) * len(battery) * options.episodes)
        for number, task in enumerate(tasks):

            def advance(done: int, _: int, first: int = number * len(battery) * options.episodes) -> None:
                progress.update(bar, completed=first + done)

            report = stress(
                task,
                known[task],
                episodes=options.episodes,
                seed=options.seed,
                control=options.control,
                battery=battery,
                name=name,
                options=environment_options(options),
                engine=engine,
                keep_states=options.videos is not None,
                on_progress=advance,
            )
            reports.append(report)
    videos = [] if options.videos is None else _draw(reports, Path(options.videos))
    if options.json:
        write_json([report.to_data() for report in reports] if every else reports[0].to_data())
        return 0
    out = console()
    if every:
        _print_all(out, reports)
    else:
        _print_report(out, reports[0], options.quiet)
    for path in videos:
        out.print(f"drawn: {escape(str(path))}")
    return 0


def _print_report(out: Console, report: StressReport, quiet: bool) -> None:
    from trace_robot.bench.stress import MEASURES

    worst = report.worst
    if not quiet:
        found = [name for name in MEASURES if any(name in row.measures() for row in report.measured)]
        shown = found[: max(1, (out.width - NARROW) // COLUMN)]  # the first are what people ask first
        titles = [f"{MEASURES[name][0]} ({MEASURES[name][1]})" for name in shown]
        table = create_table("world", "success", "95 % interval", *titles)
        for row in report.rows:
            if row.left_out:
                table.add_row(escape(row.setting.name), "-", escape(row.left_out))
                continue
            low, high = row.interval
            measures = row.measures()
            numbers = [f"{measures[name]:.3g}" if name in measures else "" for name in shown]
            table.add_row(
                escape(row.setting.name), f"{row.success:.2f}", f"{low:.2f} to {high:.2f}", *numbers
            )
        out.print(table)
        failed = [row for row in report.measured if row.typical_failure is not None]
        if failed:
            out.print("\nhow it fails, a typical episode of each world:")
            for row in failed:
                out.print(f"  {safe(row.setting.name)}: {safe(row.what_failed())}", markup=False)
        out.print()
    out.print(
        f"{escape(report.task)}, {escape(report.policy)}: mean success {report.mean:.2f} of {len(report.measured)}"
        f" worlds, worst {worst.success:.2f} ({escape(worst.setting.name)}); battery {escape(report.battery)},"
        f" seed {report.seed}"
    )


def _print_all(out: Console, reports: Sequence[StressReport]) -> None:
    """Print a row for each world over all controllers, and each one's worst world."""
    from statistics import fmean

    table = create_table("world", "mean success", "controllers at 0.9 or better")
    for number, row in enumerate(reports[0].rows):
        rates = [report.rows[number].success for report in reports if report.rows[number].episodes]
        if rates:
            table.add_row(
                escape(row.setting.name),
                f"{fmean(rates):.2f}",
                f"{sum(rate >= 0.9 for rate in rates)} of {len(rates)}",
            )
    out.print(table)
    out.print()
    worst = create_table("task", "mean", "worst", "in the world")
    for report in sorted(reports, key=lambda report: report.worst.success):
        worst.add_row(
            escape(report.task),
            f"{report.mean:.2f}",
            f"{report.worst.success:.2f}",
            escape(report.worst.setting.name),
        )
    out.print(worst)
    out.print(f"\nmean success {fmean(report.mean for report in reports):.3f} of {len(reports)} controllers")


def _draw(reports: Sequence[StressReport], folder: Path) -> list[Path]:
    """Draw the typical failure of each world, and return the files."""
    from trace_robot.render.video import clip_of, render

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for report in reports:
        for number, row in enumerate(report.rows):
            episode = row.typical_failure
            if episode is None or episode.states is None or not len(episode.states):
                continue
            path = folder / f"{_file_name(report.task)}-{number:02d}-{_file_name(row.setting.name)}.mp4"
            render(
                [clip_of(episode, f"{report.task}, {row.setting.name}", f"condition {episode.seed}")], path
            )
            paths.append(path)
    return paths


def _file_name(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text)[:40]
