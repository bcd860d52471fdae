"""What can be typed after ``evaluate`` and ``render``."""

from __future__ import annotations

from trace_robot.cli.options.shared import (
    Commands,
    add_command,
    backend,
    conditions,
    environment,
    output,
)


def evaluate(commands: Commands) -> None:
    command = add_command(
        commands, "evaluate", "score a controller on held-out conditions",
        "Score a controller on held-out conditions; with zoo in the place of TASK, every controller of the zoo.",
    )  # fmt: skip
    environment(command, "TASK|zoo")
    command.add_argument("--policy", metavar="NAME|FILE", help="the controller (not for zoo)")
    command.add_argument("--tasks", metavar="NAME,..", help="zoo: these tasks only (default: all it has)")
    conditions(command, 50, "held-out conditions to score on")
    backend(command)
    output(command)


def render(commands: Commands) -> None:
    command = add_command(commands, "render", "make a video of a controller's episodes")
    environment(command)
    command.add_argument("--policy", required=True, metavar="NAME|FILE")
    conditions(command, 1, "episodes to show, one after the other")
    command.add_argument("--out", default="episode.mp4", metavar="FILE.mp4", help="default episode.mp4")
    command.add_argument(
        "--quality",
        choices=("fast", "high"),
        default="fast",
        help="high: larger, with shadows (default fast)",
    )
    output(command)
