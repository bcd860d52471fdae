"""What can be typed after ``envs``, ``policies`` and ``sandbox``."""

from __future__ import annotations

from trace_robot.cli.options.shared import Commands, add_command


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
