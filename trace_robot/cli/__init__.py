"""The command line; the only room that prints."""

from trace_robot.cli.main import main

__all__ = ["main"]
