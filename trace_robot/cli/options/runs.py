"""What can be typed after the commands that look at runs and go on with them."""

from __future__ import annotations

from trace_robot.cli.options.shared import Commands, add_command, output, run


def resume(commands: Commands) -> None:
    command = add_command(
        commands, "resume", "go on with a run that was interrupted",
        "Go on with a run that was interrupted, however that was: what was answered and measured is not asked or\n"
        "rolled out again, and the end is the same as if nothing had happened.",
    )  # fmt: skip
    run(command)
    command.add_argument("--base-url", metavar="URL", help="the model's endpoint, if it has moved")
    output(command)
