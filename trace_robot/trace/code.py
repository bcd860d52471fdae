"""Source as a parameter: the text, and what it compiles to, once per value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trace_robot.trace.binding import Binder
from trace_robot.trace.failure import failure, original
from trace_robot.trace.nodes import ParameterNode
from trace_robot.trace.operation import Operation
from trace_robot.trace.source import Home, header, written


class Target:
    """A function as a bundle calls it. ``keys``: the names of the inputs of a call with all arguments by position."""

    __slots__ = ("binder", "function", "keys", "sources", "text")

    def __init__(self, function: Callable[..., Any], text: Any = None, filename: str = "") -> None:
        self.function = function
        self.binder = Binder(function)
        self.text = text
        self.keys: tuple[str, ...] = self.binder.names or ()
        self.sources: Mapping[str, str] = {}
        if text is not None:
            self.keys = (*self.keys, "__code")
            self.sources = {filename: text}


class Code:
    """A source parameter; ``target`` is what it compiled to last, None before the first call."""

    __slots__ = ("filename", "home", "op", "parameter", "target")

    def __init__(self, parameter: ParameterNode, home: Home, op: Operation) -> None:
        self.parameter = parameter
        self.home = home
        self.op = op
        self.filename = f"<code of {home.name}>"
        self.target: Target | None = None

    @classmethod
    def of(
        cls, function: Callable[..., Any], place: tuple[str, int], variables: Mapping[str, Any], op: Operation
    ) -> Code:
        """Return the code of ``function``; raises TypeError if its source is not known."""
        try:
            text, _ = written(function, *place)
            constraint = f"The code must define:\n{header(text)}"
        except (OSError, TypeError, SyntaxError) as error:
            raise TypeError(
                f"the source of {function!r} is not known; write it with def in a file"
            ) from error
        name = getattr(function, "__name__", "")
        parameter = ParameterNode(text, name="__code", constraint=constraint, function=name)
        return cls(parameter, Home.of(function, variables), op)

    def current(self) -> Target:
        """Return what the parameter's value compiles to; raises ExecutionError."""
        text = self.parameter._data
        target = self.target
        if target is not None and target.text is text:
            return target
        try:
            if not isinstance(text, str):
                raise TypeError(f"code must be text, got {text!r}")
            function = self.home.build(text, self.filename)
        except Exception as error:
            sources = {self.filename: str(text)}
            raise failure(error, self.op, ("__code",), (self.parameter,), sources) from original(error)
        self.target = target = Target(function, text, self.filename)
        return target

    def copy(self) -> Code:
        """Return code of its own with the same value."""
        parameter = self.parameter.detach()
        assert isinstance(parameter, ParameterNode)
        return Code(parameter, self.home, self.op)
