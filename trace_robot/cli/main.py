"""Running one command, and turning expected faults into one line and an exit code."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from trace_robot.cli.interrupt import INTERRUPTED
from trace_robot.cli.parser import parser
from trace_robot.cli.text import safe
from trace_robot.errors import TraceRobotError

DONE, FAILED = 0, 1  # argparse itself exits with 2 for a wrong command line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a letter is no error
    options = parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = (
        getattr(options, "execute", None)
        or import_module(f"trace_robot.cli.{options.command.replace('-', '_')}").run
    )
    try:
        code = command(options)
        sys.stdout.flush()
        return code
    except TraceRobotError as error:
        sys.stderr.write(f"trace-robot: error: {safe(' '.join(str(error).split()))}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("trace-robot: stopped\n")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader, e.g. head, has left
        return DONE
    except OSError as error:
        sys.stderr.write(f"trace-robot: error: {error.filename or 'output'}: {error.strerror or error}\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
