"""``drive`` a robot in real time, and ``--envelope`` of the commands that roll out."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.cli.arguments import (
    add_environment_options,
    add_output,
    add_python,
    environment_options,
    fraction,
    non_negative_integer,
    positive_integer,
    positive_number,
)
from trace_robot.cli.console import console, escape, progress_console, write_json
from trace_robot.cli.parser import Commands, add_command
from trace_robot.errors import MissingExtraError, RunError, TraceRobotError, UsageError

if TYPE_CHECKING:
    from trace_robot.deploy.drive import DrivenEpisode, DriveReport
    from trace_robot.rollout.episode import Episode

MOST = 1_000_000  # bytes of a file
LIVE = 0.25  # seconds between two updates of the live line
STRETCHES = 5  # of steps in which a limit acted, that are printed; --json has all
DESCRIPTION = """\
Run a deployed controller in real time against a driver, a process that speaks JSON lines: a robot's own, or a
simulated one. Every message is checked; on a fault the driver is sent a stop. docs/drive.md has the lines, and what to
check before a real robot.
"""
EXAMPLES = (
    (
        "trace-robot drive robot --simulate pick-place-v3 --jitter 5 --loss 0.01",
        "a simulated robot that is late",
    ),
    ("trace-robot drive robot --driver 'python3 my_robot.py'", "a robot's own driver"),
)


def add_drive(commands: Commands) -> None:
    """Add ``drive``."""
    title = "run a deployed controller on a robot in real time"
    command = add_command(commands, "drive", title, DESCRIPTION, examples=EXAMPLES)
    command.set_defaults(execute=execute_drive)
    command.add_argument("folder", type=Path, metavar="DIR", help="the folder that deploy wrote")
    either = command.add_mutually_exclusive_group(required=True)
    either.add_argument("--simulate", metavar="TASK", help="drive this environment, simulated in real time")
    either.add_argument(
        "--driver", metavar="COMMAND", help="the robot's driver; split into words, no shell reads it"
    )
    command.add_argument(
        "--episodes", type=positive_integer, default=1, metavar="N", help="episodes to drive (default 1)"
    )
    command.add_argument(
        "--seed", type=non_negative_integer, default=0, metavar="S", help="of held-out conditions (default 0)"
    )
    command.add_argument(
        "--jitter",
        type=_milliseconds,
        default=0.0,
        metavar="MS",
        help="simulate: each message is late by up to this, milliseconds (default 0)",
    )
    command.add_argument(
        "--loss",
        type=fraction,
        default=0.0,
        metavar="RATE",
        help="simulate: part of messages lost (default 0)",
    )
    command.add_argument(
        "--speed",
        type=positive_number,
        default=1.0,
        metavar="X",
        help="factor of real time; deadlines are shorter by it (default 1)",
    )
    add_environment_options(command)
    add_python(command)
    add_output(command)


def _milliseconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= 60_000.0:
        raise argparse.ArgumentTypeError(f"must be milliseconds from 0 to 60000, got {text!r}")
    return number


def execute_drive(options: argparse.Namespace) -> int:
    """Drive, showing rates and misses, and return 1 where the robot was stopped."""
    from trace_robot.cli.progress import create_progress
    from trace_robot.deploy.drive import drive, simulated
    from trace_robot.deploy.peers import read_contract
    from trace_robot.llm.command_model import split_command
    from trace_robot.settings import held_out_seeds

    contract = read_contract(options.folder)
    if options.driver is not None:
        if options.jitter or options.loss:
            raise UsageError("--jitter and --loss need --simulate: a driver of your own has its own")
        if environment_options(options):
            raise UsageError(
                "--python, --task and --env-arg need --simulate: a driver of your own has its own"
            )
        command, name = list(split_command(options.driver, "--driver")), options.driver
    else:
        command = simulated(
            options.simulate,
            contract,
            options=environment_options(options),
            jitter=options.jitter / 1000.0,
            loss=options.loss,
            speed=options.speed,
            seed=options.seed,
        )
        name = f"{options.simulate}, simulated"
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As a shell starts its background jobs; Ctrl-C must stop the robot there too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with create_progress(progress_console()) as progress:
        bar = progress.add_task("episodes", total=options.episodes)

        shown = [0.0]

        def show(episode: DrivenEpisode) -> None:
            progress.update(bar, advance=1, description=_line(episode))

        def show_step(episode: DrivenEpisode) -> None:
            if time.monotonic() - shown[0] > LIVE:
                shown[0] = time.monotonic()
                progress.update(bar, description=_line(episode))

        report = drive(
            options.folder,
            command,
            seeds=held_out_seeds(options.seed, options.episodes),
            speed=options.speed,
            end_at_fault=options.driver is not None,
            name=name,
            on_step=show_step,
            on_episode=show,
        )
    if options.json:
        write_json(report.to_data())
    else:
        _print_report(report, options.quiet)
    faults = [episode for episode in report.episodes if episode.fault]
    if faults and options.driver is not None:
        raise RunError(f"the robot was stopped in episode {len(report.episodes)}: {faults[-1].fault}")
    return 0


def _line(episode: DrivenEpisode) -> str:
    """Return the live view of an episode."""
    acted = [
        f"{_limit(name)} in {sum(last - first + 1 for first, last in stretches)}"
        for name, stretches in episode.limited.items()
    ]
    limits = f", {', '.join(acted)} of {episode.answered} steps" if acted else ""
    return f"{episode.rate:.1f} a second, {episode.missed} missed, {episode.late} late{limits}"


def _print_report(report: DriveReport, quiet: bool) -> None:
    from trace_robot.deploy.peers import followed

    out = console()
    from trace_robot.rollout.episode import TOO_TIGHT

    data = report.to_data()
    low, high = data["interval"]
    count = len(report.episodes)
    out.print(f"success {data['success']:.2f} of {count} episodes (95 % interval {low:.2f} to {high:.2f})")
    if quiet:
        return
    kind, pace = "steps", f"{data['rate_hz'] or 0:g} steps a second"
    if following := followed(report.contract):
        kind, pace = (
            "targets",
            f"each followed for {following['most_steps']} steps of {data['step_seconds']:g} s at most",
        )
    what = f"{data['task']}, {data['target']}, driver {report.driver}, {pace}"
    out.print(escape(what))
    steps = max(1, data["steps"])
    answers = sum(e.answer * e.answered for e in report.episodes) / max(
        1, sum(e.answered for e in report.episodes)
    )
    out.print(
        f"{data['steps']} {kind}: {data['missed']} observations missed, {data['held']} {kind} without a new action"
        f" ({data['held'] / steps:.1%}), {data['late']} answers late, {data['behind']} {kind} behind the clock"
    )
    out.print(f"an answer took {answers:.2f} ms in the mean, {data['slowest_ms']:.2f} ms at most")
    logged = [episode.envelope for episode in report.episodes if episode.envelope]
    if logged:
        sums = {name: sum(each.get(name, 0) for each in logged) for name in logged[0]}
        acted = ", ".join(f"{_limit(name)} in {n / steps:.1%} of steps" for name, n in sums.items() if n)
        failed = f"; {TOO_TIGHT}" if acted and not data["success"] else ""
        out.print(f"envelope: {acted or 'no limit acted'}{failed}")
    if count == 1:
        for name, stretches in report.episodes[0].limited.items():
            out.print(f"{_limit(name)} acted in {_steps(stretches)}")
    for episode in report.episodes:
        if episode.fault:
            out.print(escape(f"stopped, condition {episode.seed}: {episode.fault}"))
        elif not episode.success:
            why = "its time ran out" if episode.timed_out else "the driver ended it"
            out.print(f"no success, condition {episode.seed}: {why} after {episode.steps} {kind}")


def _limit(name: str) -> str:
    return name.removeprefix("envelope_")


def _steps(stretches: Sequence[Sequence[int]]) -> str:
    """Return stretches of steps as text."""
    parts = [str(first) if first == last else f"{first} to {last}" for first, last in stretches[:STRETCHES]]
    more = f" and {len(stretches) - STRETCHES} times more" if len(stretches) > STRETCHES else ""
    one = len(stretches) == 1 and stretches[0][0] == stretches[0][1]
    return f"step{'' if one else 's'} {', '.join(parts)}{more}"


def add_envelope(command: argparse.ArgumentParser) -> None:
    """Add ``--envelope``, whose value is checked plain data."""
    command.add_argument(
        "--envelope",
        type=read_envelope,
        metavar="FILE",
        help="limits on what is sent to the robot, JSON or TOML: box, speed, acceleration, jerk, rates, force; see"
        " docs/drive.md",
    )


def read_envelope(source: str) -> dict[str, Any]:
    """Return the plain data of an envelope in a JSON or TOML file.

    Raises argparse.ArgumentTypeError where it cannot be read, or is none.
    """
    from trace_robot.env.envelope import Envelope
    from trace_robot.safe_files import load_json, read_bytes

    file = Path(source).resolve()
    try:
        content = read_bytes(file.parent, file.name, most=MOST)
        data = _toml(content) if file.suffix == ".toml" else load_json(content)
        return Envelope.from_data(data).to_data()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{source!r} cannot be read: {error.strerror}") from error
    except TraceRobotError as error:
        raise argparse.ArgumentTypeError(f"{source!r}: {error}") from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{source!r} must be a JSON or TOML file: {error}") from error


def _toml(content: bytes) -> Any:
    if sys.version_info < (3, 11):
        raise MissingExtraError("TOML needs Python 3.11 or later; write the envelope as JSON")
    import tomllib

    return tomllib.loads(content.decode())


def envelope_line(episodes: Sequence[Episode]) -> str:
    """Return how often each limit acted over episodes, "" without an envelope."""
    from trace_robot.rollout.episode import TOO_TIGHT, acted_text, summed

    sums = summed([episode.infos for episode in episodes])
    text = acted_text(sums, sum(episode.steps for episode in episodes))
    failed = any(sums.values()) and not any(episode.success for episode in episodes)
    return f"envelope: {text}{f'; {TOO_TIGHT}' if failed else ''}" if text else ""
