"""``stress``: a controller in a battery of worlds that differ from nominal."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from trace_robot.cli.arguments import (
    add_backend,
    add_control,
    add_environment,
    add_episodes,
    add_output,
    add_runs_folder,
    add_workers,
    environment_options,
    read_worlds,
)
from trace_robot.cli.console import console, counted, create_table, escape, progress_console, safe, write_json
from trace_robot.cli.drive import add_envelope, envelope_line
from trace_robot.cli.parser import Commands, add_command
from trace_robot.cli.render import draw_failures
from trace_robot.cli.runs import find_run_or_policy, name_of, runs_folder, select_iteration
from trace_robot.errors import RunError, TraceRobotError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from trace_robot.bench.stress import Setting, StressReport
    from trace_robot.policy import Policy
    from trace_robot.store.history import IterationInfo, RunInfo

ZOO = "zoo"
IN_THE_RUN = ""  # the folder of --videos without one
NARROW, COLUMN = 56, 20  # columns of the terminal for worlds and success, and for a measure
DESCRIPTION = """\
Roll a controller out in worlds that differ from the nominal one: noisy and late observations, errors of calibration,
late actions, other masses and friction, success that must last. Every world is tried on the same held-out conditions.

A battery of your own is a JSON list of worlds, docs/robust.md has their settings:

  [{"name": "my camera", "observation_delay": [0.03, 0.08],
    "observation_error": {"positions": 0.004}},
   {"name": "it stays there", "hold": 0.5}]
"""


def add_stress(commands: Commands) -> None:
    """Add ``stress``."""
    command = add_command(
        commands,
        "stress",
        "try a controller in worlds that differ",
        DESCRIPTION,
        examples=[
            ("trace-robot stress pick-place-v3 --policy zoo/pick_place_v3", "the standard battery"),
            (
                "trace-robot stress push-v3 --policy best.py --videos failures",
                "with a video of the typical failure of each world",
            ),
            ("trace-robot stress zoo", "every controller of policies/zoo, one row each"),
            (
                "trace-robot stress zoo --policy robust",
                "the same of policies/robust, found in worlds that differ",
            ),
            ("trace-robot stress demo --videos", "the best controller of a run, also for the run's report"),
        ],
    )
    command.set_defaults(execute=execute_stress)
    add_environment(command, "TASK|RUN", "; without --policy a run: its name, its beginning, or its folder")
    for option in command._actions:
        if option.dest in ("hold", "worlds"):  # the battery's, which _refuse says
            option.help = argparse.SUPPRESS
    command.add_argument(
        "--policy",
        metavar="NAME|FILE",
        help="the controller; with zoo: a folder of them; for a run: left out",
    )
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
        "--videos",
        nargs="?",
        const=IN_THE_RUN,
        metavar="DIR",
        help="draw the typical failure of each world into this folder; of a run without DIR: into its folder stress",
    )
    add_runs_folder(command)
    add_episodes(command, 10, "held-out conditions to try in each world")
    add_control(command)
    add_envelope(command)
    add_workers(command)
    add_backend(command)
    add_output(command)


def _battery(text: str) -> tuple[str, Any]:
    """Return a battery's name, that of its file, and its worlds as plain data."""
    return Path(text).stem, read_worlds(text)


def execute_stress(options: argparse.Namespace) -> int:
    """Roll out in every world, and print a row each, the worst one, and how it fails."""
    from trace_robot.bench.stress import BATTERY, STANDARD, settings_of, stress
    from trace_robot.bench.zoo import zoo
    from trace_robot.cli.progress import create_progress
    from trace_robot.rollout.engine import RolloutEngine

    _refuse(options)
    every = options.task == ZOO
    run = None if every or options.policy is not None else _find(options)
    if run is None and options.videos == IN_THE_RUN:
        raise UsageError("--videos needs a folder, such as --videos failures; only a run has its own")
    battery: Sequence[Setting] = STANDARD
    name = BATTERY
    if options.battery is not None:
        battery, name = settings_of(options.battery[1]), options.battery[0]
    known: Mapping[str, Any] = {options.task: options.policy}
    if every or run is not None:
        asked = options.tasks.split(",") if options.tasks else []
        known = zoo(options.policy or ZOO, asked) if run is None else {run.env: run.policy}
    reports: list[StressReport] = []
    failed: dict[str, list[str]] = {}  # controllers of the zoo without a report, by the reason
    share = len(battery) * options.episodes  # of a controller in the bar
    engine = RolloutEngine(
        options.workers, backend=options.backend, address=options.address, trusted=options.trust
    )
    with engine, create_progress(progress_console()) as progress:
        bar = progress.add_task("episodes", total=len(known) * share)
        for number, (task, policy) in enumerate(known.items()):
            # From the end backwards: rows that are left out have no episodes, and count as done.
            def advance(done: int, total: int, last: int = (number + 1) * share) -> None:
                progress.update(bar, completed=last - total + done)

            try:
                report = stress(
                    task,
                    policy,
                    episodes=options.episodes,
                    seed=options.seed,
                    control=options.control or (None if run is None else run.control),
                    battery=battery,
                    name=name,
                    options=environment_options(options) if run is None else run.options,
                    engine=engine,
                    keep_states=options.videos is not None,
                    on_progress=advance,
                )
                reports.append(report)
            except TraceRobotError as error:
                if not every:
                    raise
                # The others took minutes each, and are worth printing.
                failed.setdefault(str(error), []).append(task)
                progress.update(bar, completed=(number + 1) * share)
    if run is not None:
        return _finish_run(run, reports[0], options)
    videos: list[Path] = []
    if options.videos is not None:
        folder = Path(options.videos)
        folder.mkdir(parents=True, exist_ok=True)
        for report in reports:
            videos += draw_failures(report, folder).values()
    if options.json:
        write_json([report.to_data() for report in reports] if every else reports[0].to_data())
    else:
        out = console()
        if not every:
            _print_report(out, reports[0], options.quiet)
        elif reports:
            _print_all(out, reports, options.quiet)
        for path in videos:
            out.print(f"drawn: {escape(str(path))}")
    if failed:
        count = sum(map(len, failed.values()))
        reasons = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in failed.items())
        raise RunError(f"{count} of {counted(len(known), 'controller')} have no report: {reasons}")
    return 0


def _refuse(options: argparse.Namespace) -> None:
    """Refuse options that this command would pass over."""
    from trace_robot.env.equipment import OPTIONS

    if options.task != ZOO and options.tasks is not None:
        raise UsageError(f"--tasks needs zoo in the place of {options.task}, got {options.tasks!r}")
    # Also as --env-arg hold=end, which is the same option of the environment.
    set_twice = [name for name in environment_options(options) if name in OPTIONS and name != "envelope"]
    written = ["--worlds" if name == "world" else f"--{name}" for name in set_twice]
    if set_twice:
        raise UsageError(
            f"stress takes neither --worlds nor --hold, got {' and '.join(written)}: the battery sets them; write a"
            " --battery"
        )


@dataclass(frozen=True, slots=True)
class _StressedRun:
    """The best controller of a run, in the environment of that run.

    Attributes:
        info: the run.
        iteration: the one of the controller.
        env: the environment.
        options: of the environment, without those that the battery sets.
        control: the control mode.
        policy: the controller.
    """

    info: RunInfo
    iteration: IterationInfo
    env: str
    options: Mapping[str, Any]
    control: str
    policy: Policy

    def write(self, name: str, content: bytes | BinaryIO) -> Path:
        """Write a file of the run's folder, through no link, and return its path.

        Args:
            name: its path in the folder.
            content: its bytes, or an open file.

        Raises:
            RunError: it cannot be written, or a link is in the way.
        """
        from trace_robot import safe_files

        try:
            # From the folder of runs on: the run's own folder may be no link either.
            safe_files.write(self.info.folder.parent, f"{self.info.name}/{name}", content)
        except OSError as error:
            raise RunError(f"cannot write {str(error.filename or name)!r}: {error.strerror}") from error
        return self.info.folder / name


def _find(options: argparse.Namespace) -> _StressedRun:
    """Return the run that takes the place of TASK, within what is believed of it."""
    from trace_robot.env.equipment import OPTIONS
    from trace_robot.env.registry import environments
    from trace_robot.policy import Policy
    from trace_robot.run.person import stored_header

    needs = f"stress {options.task} needs --policy NAME|FILE for an environment, or a run in its place"
    try:
        found = find_run_or_policy(options.task, runs_folder(options), environments())
    except (UnknownNameError, RunError) as error:
        raise UsageError(f"{needs}: {error}") from error
    if isinstance(found, str):
        more = f"no run is called {found!r}" if found in environments() else f"{found!r} is a policy"
        raise UsageError(f"{needs}: {more}")
    history, info = found
    with history:
        header = stored_header(history, info)  # refuses what a stranger's run may not name
        iteration = select_iteration(info, history.iterations(info), None)
    if set(environment_options(options)) - {"envelope"}:
        raise UsageError("the environment is the run's; --task, --python and --env-arg need --policy")
    if options.videos:
        raise UsageError(f"videos of a run go into its folder; say --videos alone, got {options.videos!r}")
    if options.trust and not header.own:
        raise UsageError(
            f"this user did not begin the run {info.name!r}, so that --trust does not hold for it"
        )
    return _StressedRun(
        info,
        iteration,
        header.settings.task,
        {k: v for k, v in header.settings.options.items() if k not in OPTIONS or k == "envelope"}
        | environment_options(options),
        header.spec.control,
        Policy.from_text(iteration.controller, f"{info.name}, iteration {iteration.number}"),
    )


def _finish_run(run: _StressedRun, report: StressReport, options: argparse.Namespace) -> int:
    """Print the report of a run's controller, and write it into the run's folder."""
    from trace_robot.store.folder import plain_json

    data = {
        **report.to_data(),
        "iteration": run.iteration.number,
        "controller_sha256": run.iteration.digest,
    }
    with tempfile.TemporaryDirectory() as folder:
        drawn = {} if options.videos is None else draw_failures(report, Path(folder), numbered=True)
        for number, path in drawn.items():
            data["rows"][number]["video"] = f"stress/{path.name}"
        out = console()
        # Before anything is written: what hours of episodes gave is shown also where the disk is full.
        if options.json:
            write_json(data)
        else:
            _print_report(out, report, options.quiet)
        written = []
        for path in drawn.values():
            with path.open("rb") as video:
                written.append(run.write(f"stress/{path.name}", video))
    # Last, when all that it names is there.
    written.append(run.write("stress.json", f"{plain_json(data, indent=2)}\n".encode()))
    if not options.json and not options.quiet:
        for path in written:
            out.print(f"written: {escape(str(path))}")
        out.print(f"look at it with: trace-robot report {escape(name_of(run.info.folder))}")
    return 0


def _print_report(out: Console, report: StressReport, quiet: bool) -> None:
    from trace_robot.spec import MEASURES
    from trace_robot.stats import three_digits

    worst, idle = report.worst, sum(row.no_effect for row in report.rows)
    none = f"; {idle} had no effect here" if idle else ""
    if not quiet:
        found = [name for name in MEASURES if any(name in row.measures() for row in report.measured)]
        shown = found[: max(1, (out.width - NARROW) // COLUMN)]  # the first are what people ask first
        titles = [f"{MEASURES[name][0]} ({MEASURES[name][1]})" for name in shown]
        table = create_table("world", "success", "95 % interval")
        reasons: dict[str, int] = {}  # why worlds are not possible, by the number that their rows have
        for title in titles:
            table.add_column(title, justify="right")
        for row in report.rows:
            if row.left_out:
                reasons.setdefault(row.left_out, len(reasons) + 1)
                table.add_row(escape(row.setting.name), "-", f"not possible ({reasons[row.left_out]})")
                continue
            low, high = row.interval
            measures = row.measures()
            numbers = [three_digits(measures[name], zeros=True) if name in measures else "" for name in shown]
            interval = "no effect here" if row.no_effect else f"{low:.2f} to {high:.2f}"
            table.add_row(escape(row.setting.name), f"{row.success:.2f}", interval, *numbers)
        out.print(table)
        for reason, number in reasons.items():
            out.print(f"({number}) {safe(reason)}", markup=False)
        failed = [row for row in report.measured if row.typical_failure is not None]
        if failed:
            out.print("\nhow it fails, a typical episode of each world:")
            for row in failed:
                out.print(f"  {safe(row.setting.name)}: {safe(row.what_failed())}", markup=False)
        out.print()
        if limited := envelope_line([episode for row in report.measured for episode in row.episodes]):
            out.print(limited)
    out.print(
        f"{escape(report.task)}, {escape(report.policy)}: mean success {report.mean:.2f} of {len(report.measured)}"
        f" worlds, worst {worst.success:.2f} ({escape(worst.setting.name)}){none}; battery {escape(report.battery)},"
        f" {counted(len(worst.episodes), 'episode')} each, seed {report.seed}"
    )


def _print_all(out: Console, reports: Sequence[StressReport], quiet: bool) -> None:
    """Print a row for each world over all controllers, and each one's worst world."""
    from statistics import fmean

    mean = f"mean success {fmean(report.mean for report in reports):.3f} of {counted(len(reports), 'controller')}"
    if quiet:
        out.print(mean)
        return
    table = create_table("world", "mean success", "controllers at 0.9 or better")
    for number, row in enumerate(reports[0].rows):
        rates = [report.rows[number].success for report in reports if report.rows[number].episodes]
        if rates:
            good = f"{sum(rate >= 0.9 for rate in rates)} of {len(rates)}"
            table.add_row(escape(row.setting.name), f"{fmean(rates):.2f}", good)
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
    out.print(f"\n{mean}")
