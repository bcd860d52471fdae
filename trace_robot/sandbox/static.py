"""The static check: an allow-list over the syntax tree, for clear refusals with a line number.

It is hygiene and no boundary. It must let ordinary controllers through and must survive any text.
"""

from __future__ import annotations

import ast
import functools
import re
import warnings

from trace_robot.sandbox.rules import Rules
from trace_robot.sandbox.scope import Scope, TooDeepError
from trace_robot.sandbox.types import Fault

MAX_CHARS = 200_000
_MAX_BRACKETS = 60
_PREFIXES = re.compile(r"(?:(?:[-+~]|\bnot\b|\blambda\b[^:\n]{0,80}:|\bawait\b)[ \t\\\n]*){100}")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"()[]{}"))


def check(source: str) -> list[Fault]:
    """Return why a controller's text is refused, in the order of its lines; [] if it is not.

    A text that is no Python has category "exception", every other refusal "blocked".
    """
    scope = _read(source)
    if isinstance(scope, Fault):
        return [scope]
    return [_blocked(why, line) for line, why in sorted(set(Rules(scope).refusals()))]


def modules_of(source: str, *, trace: bool = False) -> list[str]:
    """Return the modules to import before the locks close: those on the allow-list that a text names."""
    scope = _read(source)
    found = set() if isinstance(scope, Fault) else scope.modules()
    traces = trace or "trace_robot" in found
    return sorted(found | {"trace_robot.trace", "trace_robot.sandbox.recorder"} if traces else found)


@functools.lru_cache(maxsize=2)  # a text is checked and then asked for its modules
def _read(source: str) -> Scope | Fault:
    tree = parse(source)
    if isinstance(tree, Fault):
        return tree
    try:
        return Scope(tree)
    except (RecursionError, TooDeepError):
        return _blocked("the source is nested too deeply", None)


def _blocked(why: str, line: int | None) -> Fault:
    return Fault("blocked", why, line, static=True)


def parse(source: str) -> ast.Module | Fault:
    """Return the tree; refuse first what could exhaust the parser's stack or time."""
    if len(source) > MAX_CHARS:
        return _blocked(f"the source has {len(source)} characters, more than {MAX_CHARS}", None)
    depth = deepest = 0
    for bracket in source.encode("utf-8", "replace").translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"([{" else -1
        deepest = max(deepest, depth)
    if deepest > _MAX_BRACKETS or (prefixes := _PREFIXES.search(source)):
        line = source.count("\n", 0, prefixes.start()) + 1 if deepest <= _MAX_BRACKETS and prefixes else None
        return _blocked("the source is nested too deeply", line)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except SyntaxError as error:
        return Fault("exception", f"{type(error).__name__}: {error.msg}", error.lineno, static=True)
    except ValueError as error:
        return Fault("exception", f"SyntaxError: {error}", None, static=True)
    except (RecursionError, MemoryError):
        return _blocked("the source is nested too deeply", None)
