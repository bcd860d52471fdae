"""The engine's errors, and how an exception becomes a node for feedback.

TraceRobotError
├── ExecutionError                          an operation raised
├── TraceMissingInputsError                 a bundle read nodes that are not among its inputs
├── RecordError (also ValueError)           records that do not make a graph
└── OrderError
    └── BackwardError (also AttributeError) feedback on one output twice without ``retain_graph``

The first two and the AttributeError are promises of the published package. Wrong arguments raise TypeError
and ValueError, values that do not fit a parameter ``trace_robot.errors.ValueMismatchError``.
"""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, TracebackType

from trace_robot.errors import OrderError, TraceRobotError
from trace_robot.trace.node_types import ExceptionNode, Node
from trace_robot.trace.operation import Operation
from trace_robot.trace.state import STOPPED, state

_SEE_BELOW = "error raised in this call, see below"
# Frames of this package and of the standard library are no news to whom the marked source is shown, a model
# that rewrites the user's functions.
_LIBRARIES = (str(Path(__file__).parent), str(Path(linecache.__file__).parent))


class ExecutionError(TraceRobotError):
    """An operation raised.

    ``exception_node`` takes feedback like any output, ``__cause__`` is what was raised.
    """

    def __init__(self, exception_node: ExceptionNode) -> None:
        self.exception_node = exception_node
        super().__init__(exception_node._data)

    def __str__(self) -> str:
        return self.exception_node.create_feedback("full")


class TraceMissingInputsError(TraceRobotError):
    """A bundle read nodes that are not among its inputs."""


class BackwardError(OrderError, AttributeError):
    """An output was given feedback twice without ``retain_graph``."""


class RecordError(TraceRobotError, ValueError):
    """Records that do not make a graph."""


def failure(
    error: BaseException,
    op: Operation,
    keys: tuple[str, ...],
    parents: tuple[Node, ...],
    sources: Mapping[str, str] | None = None,
) -> ExecutionError:
    """Return the ExecutionError of a failed operation.

    It is to be raised ``from original(error)``, which sets its cause.

    Args:
        error: what the operation raised, perhaps the ExecutionError of one within it.
        op: the operation.
        keys: names of its inputs.
        parents: its inputs, then hidden dependencies; under ``stop_tracing`` they are not linked.
        sources: file name -> text, for code that no file holds.
    """
    cause = original(error)
    message = describe(cause)
    info = {
        "fun_name": op.base,
        "doc": op.doc,
        "error_comment": _marked_sources(error, cause, message, sources or {}),
        "traceback": "".join(traceback.format_exception(cause)),
        "exception": type(cause).__name__,
    }
    stopped = state.get() is STOPPED
    exception_node = ExceptionNode(
        message,
        inputs={} if stopped else dict(zip(keys, parents, strict=False)),
        description=f"[exception] {op.base} raised an exception; {op.description}",
        name=f"exception_{op.base}",
        info=info,
    )
    if not stopped:
        exception_node._parents = (
            parents  # with the hidden dependencies, which the constructor knows nothing of
        )
    return ExecutionError(exception_node)


def original(error: BaseException) -> BaseException:
    """Return the exception that started a chain of ExecutionErrors."""
    while isinstance(error, ExecutionError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def describe(error: BaseException) -> str:
    """Return ``(Type) message`` on one line, ``(Type)`` where there is no message."""
    text = " ".join(traceback.format_exception_only(error)[-1].split())
    name, _, message = text.partition(": ")
    return f"({name.rpartition('.')[2]}) {message}".rstrip()


def mark(source: str, comments: Mapping[int, str]) -> str:
    """Return ``source`` with ``<--- comment`` at the end of some lines.

    Args:
        source: text of a function.
        comments: line (1-based) -> comment; lines that are not there are left out.
    """
    lines = source.split("\n")
    for line, comment in comments.items():
        if 0 < line <= len(lines):
            lines[line - 1] += f" <--- {comment}"
    return "\n".join(lines)


def _marked_sources(
    error: BaseException, cause: BaseException, message: str, sources: Mapping[str, str]
) -> str:
    """Return the functions on the way to the exception, failing lines marked.

    The outermost comes first.
    """
    inner = error.exception_node.info.get("error_comment", "") if isinstance(error, ExecutionError) else ""
    places = list(_places(error.__traceback__, sources))
    # A SyntaxError is raised by compile(): its place in the text is not in the traceback.
    if isinstance(cause, SyntaxError) and cause.filename and cause.filename in sources:
        places.append((sources[cause.filename], cause.lineno or 1))
    # Keyed by source, so that a recursive function is shown once, with every line it passed through.
    marks: dict[str, dict[int, str]] = {}
    for index, (source, line) in enumerate(places):
        is_last = index == len(places) - 1 and not inner
        marks.setdefault(source, {})[line] = message if is_last else _SEE_BELOW
    marked = [mark(source, comments) for source, comments in marks.items()]
    return "\n\n".join([*marked, inner or message])


def _places(trace: TracebackType | None, sources: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Yield (source of the function, failing line in it) of the frames of user code."""
    for frame, line in traceback.walk_tb(trace):
        code = frame.f_code
        if code.co_filename in sources:
            yield sources[code.co_filename], line
        elif not code.co_filename.startswith(_LIBRARIES):
            text = _function_text(code)
            if text:
                yield text, line - code.co_firstlineno + 1


def _function_text(code: CodeType) -> str:
    """Return the lines of a function, "" if unknown or part of an installed package."""
    if "site-packages" in code.co_filename or code.co_name == "<module>":
        return ""
    lines = linecache.getlines(code.co_filename)
    first = code.co_firstlineno - 1
    last = max((line for _, _, line in code.co_lines() if line), default=first + 1)
    return "".join(lines[first:last]).rstrip("\n")
