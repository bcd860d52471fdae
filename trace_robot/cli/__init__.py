"""The command line, the only part of the library that prints."""

from trace_robot.cli.main import main

__all__ = ["main"]
