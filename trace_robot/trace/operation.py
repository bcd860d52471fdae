"""Operation: the part of a node that all results of an operator share.

In autograd's words this is the primitive, and a MessageNode is one application of it. What all applications share
stands here and not in the nodes, so that a node stays small: 344 bytes (``benchmarks/trace_engine.py``, Python 3.11).

A node's name is a base and a number, unique within the process. Only counters are kept for it, never nodes: the
published package registers every node in a global graph by its name, and so frees none of them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import count
from typing import Any

TITLE = re.compile(r"^\[([^\[\]]+)\]")  # of a description: [title] text
_NOT_IDENTIFIER = re.compile(r"\W")


class Names:
    """The counter of one base.

    identifier: the base as a Python identifier.
    take: returns the next number. It is a C function held in a slot, so a call costs no Python frame and two threads
        never get the same number.
    """

    __slots__ = ("identifier", "take")

    def __init__(self, identifier: str) -> None:
        self.identifier = identifier
        self.take: Callable[[], int] = count().__next__


# Two dicts: several bases ("a b", "a-b") may give one identifier and must then share a counter, or two nodes
# would have the same ``py_name``. ``_counters`` is keyed by identifier, ``_by_base`` spares the regular
# expression the second time.
_counters: dict[str, Names] = {}
_by_base: dict[str, Names] = {}


@lru_cache(maxsize=1024)
def identifier(base: str) -> str:
    """Return ``base`` as a Python identifier that a number may follow.

    An underscore closes off a digit at its end: number 0 of ``x1`` is ``x1_0``, since ``x10`` is number 10 of ``x``.
    """
    text = as_identifier(base)
    return text + "_" if text[-1].isdigit() else text


def as_identifier(text: str) -> str:
    """Return ``text`` as a Python identifier, with underscores for other characters."""
    text = _NOT_IDENTIFIER.sub("_", text) or "_"
    return "_" + text if text[0].isdigit() else text


def names(base: str) -> Names:
    """Return the counter of ``base``."""
    counter = _by_base.get(base)
    if counter is None:
        key = identifier(base)
        # setdefault is atomic: two threads that meet a base for the first time get one counter
        counter = _by_base[base] = _counters.setdefault(key, Names(key))
    return counter


def restart() -> None:
    """Count from 0 again: nodes made from here on may bear names that older ones bear."""
    for counter in _counters.values():
        counter.take = count().__next__


class Operation:
    """An operator: its name, its description and its arguments.

    base: the name, as in ``base:number`` of its results. called: the name as code shows it.
    doc: the description; a ``[title]`` in front is added by ``description`` if it is missing.
    keys: names of the arguments by position. names: the counter that numbers the results.
    """

    __slots__ = ("_details", "base", "called", "doc", "function", "keys", "names")

    def __init__(
        self,
        base: str,
        doc: str,
        *,
        keys: tuple[str, ...] = (),
        function: Callable[..., Any] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        self.base = base
        self.called = as_identifier(base)
        self.doc = doc
        self.keys = keys
        self.function = function
        self._details = details
        self.names: Names = names(base)

    @classmethod
    def of_function(cls, function: Callable[..., Any], description: str | None = None) -> Operation:
        """Return the operation of a user's function.

        Args:
            function: its name and docstring are the defaults.
            description: ``[title] text``, which also names the operation, or text.
        """
        base = getattr(function, "__name__", type(function).__name__)
        if base == "<lambda>":
            base = "function"
        if not description:
            return cls(base, f"[{base}] {inspect.getdoc(function) or ''}".rstrip(), function=function)
        title = TITLE.match(description)
        if title:
            return cls(title.group(1), description, function=function)
        return cls(base, f"[{base}] {description}", function=function)

    @property
    def description(self) -> str:
        """The description with its title: ``[add] x + y``."""
        return self.doc if self.doc.startswith("[") else f"[{self.base}] {self.doc}".rstrip()

    @property
    def details(self) -> Mapping[str, Any]:
        """The part of ``node.info`` that all results share."""
        if self._details is not None:
            return self._details
        # Worked out when asked for, and not kept: inspect reads files, and a rollout never asks.
        details: dict[str, Any] = {"fun_name": self.base, "doc": self.doc, "fun": self.function}
        if self.function is not None:
            details.update(_source_details(self.function))
        return details

    def __repr__(self) -> str:
        return f"Operation({self.base!r})"


def _source_details(function: Callable[..., Any]) -> dict[str, Any]:
    """Return file, line, source and signature, {} for a built-in function."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return {}
    try:
        source = inspect.getsource(code)
    except OSError:  # typed into an interpreter, or executed from a string
        source = ""
    return {
        "signature": inspect.signature(function),
        "source": source,
        "file": code.co_filename,
        "line_number": code.co_firstlineno,
    }
