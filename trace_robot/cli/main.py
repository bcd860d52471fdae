"""Running one command, and turning expected faults into one line and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from trace_robot.cli.parser import parser
from trace_robot.errors import TraceRobotError

DONE, FAILED, INTERRUPTED = 0, 1, 130  # argparse itself exits with 2 for a wrong command line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = import_module(f"trace_robot.cli.{options.command}").run
    try:
        return command(options)
    except TraceRobotError as error:
        sys.stderr.write(f"trace-robot: error: {error}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("trace-robot: stopped\n")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader, e.g. head, has left
        return DONE
