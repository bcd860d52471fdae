"""Whether this thread or task is tracing, and what the running bundle has read.

The state is one context variable: None while tracing at top level, ``STOPPED`` inside ``stop_tracing``, a
``Scope`` while a bundle runs. New threads start tracing; asyncio tasks inherit the state of their creator.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trace_robot.trace.nodes import Node

tick = count().__next__
"""Order of creation of nodes: parents are always older than their children."""


class Scope:
    """What a running bundle read of nodes that are older than its call.

    read_nodes: by identity; those that are no inputs are an error, unless the bundle allows them.
    linked: parameters used on the way by inner bundles; they become inputs without being declared.
    """

    __slots__ = ("linked", "read_nodes", "start")

    def __init__(self) -> None:
        self.start = tick()
        self.read_nodes: dict[int, Node] | None = None
        self.linked: dict[int, Node] | None = None

    def read(self, node: Node) -> None:
        if node._order < self.start:
            if self.read_nodes is None:
                self.read_nodes = {}
            self.read_nodes[id(node)] = node

    def link(self, node: Node) -> None:
        if node._order < self.start:
            if self.linked is None:
                self.linked = {}
            self.linked[id(node)] = node

    def seen(self, inputs: tuple[Node, ...]) -> list[Node]:
        """Return all that was read or linked and is not among ``inputs``."""
        if self.read_nodes is None and self.linked is None:
            return []
        declared = {id(each) for each in inputs}
        found = {**(self.read_nodes or {}), **(self.linked or {})}
        return [each for key, each in found.items() if key not in declared]


class _Stopped(Scope):
    __slots__ = ()

    def read(self, node: Node) -> None:
        pass

    def link(self, node: Node) -> None:
        pass


STOPPED = _Stopped()
state: ContextVar[Scope | None] = ContextVar("trace_robot_state", default=None)


class stop_tracing:  # noqa: N801 - the published name
    """Within this context results are nodes without inputs; nests, and restores what was."""

    __slots__ = ("_tokens",)

    def __init__(self) -> None:
        self._tokens: list[Token[Scope | None]] = []

    def __enter__(self) -> stop_tracing:
        self._tokens.append(state.set(STOPPED))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        state.reset(self._tokens.pop())


def is_tracing() -> bool:
    """Return whether operations on nodes are recorded here and now."""
    return state.get() is not STOPPED
