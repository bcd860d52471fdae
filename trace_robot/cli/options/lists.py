"""What can be typed after ``envs``, ``policies`` and ``sandbox``."""

from __future__ import annotations

from trace_robot.cli.options.shared import Commands, add_command, environment, seconds


def lists(commands: Commands) -> None:
    for name, what in (
        ("envs", "the environments that can be optimized in"),
        ("policies", "the starting controllers"),
    ):
        command = add_command(commands, name, f"list {what}")
        if name == "envs":
            command.add_argument(
                "word", nargs="?", default="", metavar="WORD", help="those with this word only"
            )
        command.add_argument("--json", action="store_true", help="print JSON")


def init(commands: Commands) -> None:
    command = add_command(
        commands, "init", "make a workspace of your own, with one working example of each thing"
    )
    command.add_argument("folder", metavar="DIR", help="an empty or a new folder")


def check_env(commands: Commands) -> None:
    command = add_command(
        commands,
        "check-env",
        "check an environment: spaces, values, seeds, state, pictures, cost",
        "Check an environment, or all of a plug-in file, in a process of its own, and say how to mend what is wrong.\n"
        "Exit code 1 if there is a problem.",
    )
    environment(command, "NAME|FILE")
    command.add_argument("--control", choices=("pose", "raw"), help="the control mode to check (default raw)")
    command.add_argument(
        "--seconds",
        type=seconds,
        default=30.0,
        metavar="T",
        help="without an answer for so long it hangs (default 30)",
    )
    command.add_argument("--json", action="store_true", help="print JSON")


def sandbox(commands: Commands) -> None:
    command = add_command(
        commands,
        "sandbox",
        "show how controllers are locked in on this machine, or try a corpus of hostile ones",
    )
    command.add_argument(
        "--corpus",
        metavar="FILE",
        help="run every controller of FILE and print what differs from its expected outcome",
    )
    command.add_argument(
        "--no-static-check", action="store_true", help="let the locks of the system stand alone"
    )
    command.add_argument("--json", action="store_true", help="print JSON")
