"""The options of ``resume``."""

from __future__ import annotations

from trace_robot.cli.arguments import Commands, add_command, add_output, add_require, add_run


def resume(commands: Commands) -> None:
    """Add ``resume``."""
    command = add_command(
        commands,
        "resume",
        "go on with a run that was interrupted",
        "Go on with a run that was interrupted in any way: what was answered and measured is not asked or\n"
        "rolled out again, and the end is the same as if nothing had happened.",
    )
    add_run(command)
    command.add_argument("--base-url", metavar="URL", help="the model's endpoint, if it has moved")
    add_require(command)
    add_output(command)
