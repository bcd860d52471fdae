"""Reading a controller's text without running it: a bounded parse, and lines.

Runs in both processes: the static check and the host's timeouts need it, and so do faults inside the child.
"""

from __future__ import annotations

import ast
import re
import warnings
from typing import Final

from trace_robot.fault import MOST_CHARACTERS, Fault
from trace_robot.sandbox.protocol import clean

SOURCE_NAME: Final = "<controller>"  # the file name that the text is compiled under
CODE_NAME: Final = re.compile(
    r"<code of (\w+)>"
)  # the tracer's file name for the text of a trainable function
# CPython's parser recurses once a bracket and once a prefix operator, and a stack that overflows there is a crash and
# no exception. So nesting is bounded before the parser sees the text, far above what controllers have.
_MAX_BRACKETS: Final = 60
_PREFIXES: Final = re.compile(r"(?:(?:[-+~]|\bnot\b|\blambda\b[^:\n]{0,80}:|\bawait\b)[ \t\\\n]*){100}")
_MOST_PARTS: Final = 1000
_DOTTED: Final = re.compile(r"(?:\.[\s\\]*\w+[\s\\]*)+")
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"()[]{}"))


def refusal(why: str, line: int | None) -> Fault:
    """Return the fault of a text that is refused before it runs.

    Args:
        why: one lower-case sentence.
        line: 1-based line of the text, None for the whole of it.
    """
    return Fault("blocked", clean(why), line, static=True)


def parse(source: str) -> ast.Module | Fault:
    """Return the syntax tree, or refuse what could exhaust the parser's stack or time."""
    if len(source) > MOST_CHARACTERS:
        return refusal(f"the source has {len(source)} characters, more than {MOST_CHARACTERS}", None)
    depth = deepest = 0
    for bracket in source.encode("utf-8", "replace").translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"([{" else -1
        deepest = max(deepest, depth)
    if deepest > _MAX_BRACKETS or (prefixes := _PREFIXES.search(source)):
        line = source.count("\n", 0, prefixes.start()) + 1 if deepest <= _MAX_BRACKETS and prefixes else None
        return refusal("the source is nested too deeply", line)
    # As in trace.constraints, which a shared file does not import: the parser joins the parts of an import one by one.
    if any(found.group().count(".") > _MOST_PARTS for found in _DOTTED.finditer(source)):
        return refusal(f"a name has more than {_MOST_PARTS} parts", None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except SyntaxError as error:
        return Fault("exception", clean(f"{type(error).__name__}: {error.msg}"), error.lineno, static=True)
    except (ValueError, OverflowError) as error:
        return Fault("exception", clean(f"SyntaxError: {error}"), None, static=True)
    except (RecursionError, MemoryError, SystemError):  # the last: "AST constructor recursion depth mismatch"
        return refusal("the source is nested too deeply", None)


def names_bundle(decorator: ast.expr) -> bool:
    """Return whether a decorator makes a function an operation.

    Without `ast.unparse`, which raises ValueError on an int of 5,000 digits and needs the stack for nested text.
    """
    names = (getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(decorator))
    return any("bundle" in name for name in names)


def line_in_source(file: str, line: int, source: str) -> int | None:
    """Return the line of a controller's text for a line of a traceback.

    Args:
        file: the traceback's file name: SOURCE_NAME, or one that CODE_NAME matches.
        line: 1-based line of that file.
        source: the controller's text.

    Returns:
        The 1-based line, None if the file is not the controller's.
    """
    if file == SOURCE_NAME:
        return line
    code = CODE_NAME.fullmatch(file)
    if code is None:
        return None
    start = _line_above_function(code.group(1), source)
    return None if start is None else start + line


def _line_above_function(name: str, source: str) -> int | None:
    """Return the line above a trainable function's text, its decorator's last."""
    tree = parse(source)
    if isinstance(tree, Fault):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            for decorator in node.decorator_list:
                if names_bundle(decorator):
                    return decorator.end_lineno
            return node.decorator_list[0].end_lineno if node.decorator_list else node.lineno - 1
    return None
