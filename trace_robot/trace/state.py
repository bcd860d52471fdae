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
    from trace_robot.trace.node import Node

tick = count().__next__
"""Order of creation of nodes: parents are always older than their children."""


class Scope:
    """What a running bundle used of nodes that are older than its call.

    seen: by identity, with whether it was read, which must be declared; code of inner bundles is only linked.
    """

    __slots__ = ("seen", "start")

    start: int
    seen: dict[int, tuple[Node, bool]] | None

    def read(self, node: Node) -> None:
        if node._order < self.start:
            if self.seen is None:
                self.seen = {}
            self.seen[id(node)] = node, True

    def link(self, node: Node) -> None:
        if node._order < self.start:
            if self.seen is None:
                self.seen = {}
            self.seen.setdefault(id(node), (node, False))

    def besides(self, inputs: tuple[Node, ...]) -> list[tuple[Node, bool]]:
        """Return what was seen and is not among ``inputs``."""
        if self.seen is None:
            return []
        declared = {id(each) for each in inputs}
        return [found for key, found in self.seen.items() if key not in declared]


def new_scope() -> Scope:
    scope = Scope()
    scope.start = tick()
    scope.seen = None
    return scope


class _Stopped(Scope):
    __slots__ = ()

    def read(self, node: Node) -> None:
        pass

    def link(self, node: Node) -> None:
        pass


STOPPED = _Stopped()
STOPPED.seen = None
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
