"""Putting an exception of the controller's into a category, one line of text and a line of its source."""

from __future__ import annotations

import ast
import errno
import linecache
import re
from types import TracebackType

from trace_robot.fault import Category, Fault
from trace_robot.sandbox.protocol import clean
from trace_robot.sandbox.static_check.check import parse

OUT_OF_MEMORY = Fault("memory", "MemoryError: the controller used up its memory")
_REFUSED_TEXTS = ("Operation not permitted", "Permission denied", "can't start new thread")


class BlockedImport(ImportError):
    """A module that was not imported before the locks were closed."""


def line_of(trace: TracebackType | None) -> int | None:
    """Return the controller's line that is nearest to where the exception was raised."""
    place = None
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith("<co"):
            place = file, trace.tb_lineno
        trace = trace.tb_next
    return None if place is None else line_in_source(*place, "".join(linecache.getlines(SOURCE_NAME)))


def _cause(error: BaseException) -> BaseException:
    """Return what an operation raised, without the tracer's wrapping."""
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
    except BaseException as second:  # a text of the controller's own may raise anything, SystemExit too
        return f"{name} (its text cannot be read: {type(second).__name__})"
    return f"{name}: {text}" if text else name


def blame(error: BaseException) -> Fault:
    """Return the fault for ``error``; calls its ``__str__``, so only ever under a deadline."""
    try:
        error = _cause(error)
        line = line_of(error.__traceback__)
        if isinstance(error, SyntaxError) and error.filename == SOURCE_NAME:
            line = error.lineno
        error.__traceback__ = None
        return Fault(_category(error), clean(_text(error)), line)
    except MemoryError:
        return OUT_OF_MEMORY


SOURCE_NAME = "<controller>"
CODE_NAME = re.compile(r"<code of (\w+)>")  # how the tracer names the text of a trainable function


def line_in_source(file: str, line: int, source: str) -> int | None:
    """Return the 1-based line of ``source`` for a line of ``file``, None if that is not the controller's."""
    if file == SOURCE_NAME:
        return line
    found = CODE_NAME.fullmatch(file)
    if found is None:
        return None
    start = _start_of_code(found.group(1), source)
    return None if start is None else start + line


def _start_of_code(name: str, source: str) -> int | None:
    """Return the line above the text of the trainable function ``name``: its bundle decorator's last."""
    tree = parse(source)
    if isinstance(tree, Fault):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            for decorator in node.decorator_list:
                if "bundle" in ast.unparse(decorator):
                    return decorator.end_lineno
            return node.decorator_list[0].end_lineno if node.decorator_list else node.lineno - 1
    return None
