"""The names of ``arguments`` that the options of ``optimize`` still use."""

from __future__ import annotations

import argparse

from trace_robot.cli.arguments import Commands as Commands
from trace_robot.cli.arguments import add_backend as backend
from trace_robot.cli.arguments import add_budget as budget
from trace_robot.cli.arguments import add_command as add_command
from trace_robot.cli.arguments import add_control, add_episodes
from trace_robot.cli.arguments import add_endpoint as endpoint
from trace_robot.cli.arguments import add_environment as environment
from trace_robot.cli.arguments import add_output as output
from trace_robot.cli.arguments import add_require as require
from trace_robot.cli.arguments import add_run as run
from trace_robot.cli.arguments import add_run_output as folder
from trace_robot.cli.arguments import add_workers as workers
from trace_robot.cli.arguments import environment_options as environment_options
from trace_robot.cli.arguments import non_negative_integer as natural
from trace_robot.cli.arguments import positive_integer as count
from trace_robot.cli.arguments import positive_number as seconds
from trace_robot.cli.arguments import token_prices as prices

__all__ = [
    "Commands", "add_command", "backend", "budget", "conditions", "count", "endpoint", "environment",
    "environment_options", "folder", "natural", "output", "prices", "require", "resume", "run", "seconds", "workers",
]  # fmt: skip


def conditions(command: argparse.ArgumentParser, episodes: int, what: str) -> None:
    add_episodes(command, episodes, what)
    add_control(command)
    workers(command)


def resume(commands: Commands) -> None:
    """Add ``resume``."""
    command = add_command(
        commands,
        "resume",
        "go on with a run that was interrupted",
        "Go on with a run that was interrupted in any way: what was answered and measured is not asked or\n"
        "rolled out again, and the end is the same as if nothing had happened.",
    )
    run(command)
    command.add_argument("--base-url", metavar="URL", help="the model's endpoint, if it has moved")
    require(command)
    output(command)
