"""What can be typed after ``evaluate`` and ``render``."""

from __future__ import annotations

from trace_robot.cli.options.shared import (
    Commands,
    add_command,
    backend,
    conditions,
    environment,
    natural,
    output,
    runs,
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
    command = add_command(
        commands, "render", "make a video of a controller's episodes, or of a run",
        "Make a video of new episodes of a controller (TASK --policy FILE), or of the episodes that a run recorded.",
    )  # fmt: skip
    environment(command, "TASK|RUN")
    command.add_argument("--policy", metavar="NAME|FILE", help="the controller, if the first word is a task")
    conditions(command, 1, "episodes to show, one after the other")
    runs(command)
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--iteration", type=natural, metavar="I", help="of a run: this one (default: the best)"
    )
    which.add_argument("--first-and-best", action="store_true", help="of a run: both, side by side")
    which.add_argument(
        "--contact-sheet", action="store_true", help="of a run: the end of every iteration, a png"
    )
    command.add_argument("--out", metavar="FILE", help="default episode.mp4, or RUN.mp4 or RUN.png")
    command.add_argument(
        "--quality",
        choices=("fast", "high"),
        default="fast",
        help="high: larger, with shadows (default fast)",
    )
    output(command)
