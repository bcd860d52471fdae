"""Operation: the part of a node that all results of an operator share.

In autograd's words this is the primitive, and a MessageNode is one application of it. What all applications
share stands
here and not in the nodes, so that a node stays small: 344 bytes (``benchmarks/trace_engine.py``, Python 3.11).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from trace_robot.trace.naming import TITLE, Names, as_identifier, names


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
