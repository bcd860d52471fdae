"""Faults from exceptions: a category, one line of text, a line of the source."""

from __future__ import annotations

import errno
import linecache
from types import TracebackType
from typing import Final

from trace_robot.fault import Category, Fault
from trace_robot.sandbox.protocol import clean
from trace_robot.sandbox.source import SOURCE_NAME, line_in_source

OUT_OF_MEMORY: Final = Fault("memory", "MemoryError: the controller used up its memory")
# Libraries raise OSError without a number, or RuntimeError, for what the system call filter refused them.
_REFUSED_TEXTS: Final = ("Operation not permitted", "Permission denied", "can't start new thread")


class BlockedImport(ImportError):
    """A module that was not imported before the lockdown.

    Without "Error" at its end, because faults that are stored show its name.
    """


def fault_of(error: BaseException) -> Fault:
    """Return the fault for an exception.

    It calls the exception's ``__str__``, which may be the controller's, so only ever under a deadline.
    """
    try:
        error = _cause(error)
        line = line_of(error.__traceback__)
        if isinstance(error, SyntaxError) and error.filename == SOURCE_NAME:
            line = error.lineno
        error.__traceback__ = None
        return Fault(_category(error), clean(_text(error)), line)
    except MemoryError:
        return OUT_OF_MEMORY


def line_of(trace: TracebackType | None) -> int | None:
    """Return the controller's line that is nearest to where an exception was raised."""
    location = None
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith("<co"):  # SOURCE_NAME and CODE_NAME both do
            location = file, trace.tb_lineno
        trace = trace.tb_next
    return None if location is None else line_in_source(*location, "".join(linecache.getlines(SOURCE_NAME)))


def _cause(error: BaseException) -> BaseException:
    """Return what an operation raised, without the tracer's wrapping."""
    # By its name: the tracer may not be imported in this process.
    while type(error).__name__ == "ExecutionError" and error.__cause__ is not None:
        error = error.__cause__
    return error


def _category(error: BaseException) -> Category:
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, BlockedImport):
        return "blocked"
    if isinstance(error, OSError) and error.errno in (errno.EPERM, errno.EACCES):
        return "blocked"
    if isinstance(error, PermissionError):
        return "blocked"
    if type(error) in (OSError, RuntimeError) and any(text in str(error) for text in _REFUSED_TEXTS):
        return "blocked"
    return "exception"


def _text(error: BaseException) -> str:
    name = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{name}: {error.msg}"
    try:
        text = str(error)
    except MemoryError:
        raise
    except BaseException as second:  # the controller's own __str__ may raise anything, SystemExit too
        return f"{name} (its text cannot be read: {type(second).__name__})"
    return f"{name}: {text}" if text else name
