"""What happened, told once per operator instead of once per node."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from trace_robot.trace.naming import Names, as_identifier, names


class Operation:
    """An operator: what its results are called, what it does in words, and the names of its arguments.

    base: the name; called: the name as code shows it.
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

    @property
    def description(self) -> str:
        return self.doc if self.doc.startswith("[") else f"[{self.base}] {self.doc}".rstrip()

    @property
    def details(self) -> Mapping[str, Any]:
        """What ``node.info`` says of every result, worked out from the function unless it was given."""
        if self._details is not None:
            return self._details
        details: dict[str, Any] = {"fun_name": self.base, "doc": self.doc, "fun": self.function}
        if self.function is not None:
            details.update(_about(self.function))
        return details

    def __repr__(self) -> str:
        return f"Operation({self.base!r})"


def _about(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the file, line, source and signature of ``function``, as far as they are known."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return {}
    try:
        source = inspect.getsource(code)
    except OSError:
        source = ""
    return {
        "signature": inspect.signature(function),
        "source": source,
        "file": code.co_filename,
        "line_number": code.co_firstlineno,
    }
