"""Whether this thread or task is tracing, and what the running bundle has read.

The state is one context variable (PEP 567) with three kinds of values:

    None       tracing at top level: operations are linked, nothing else is kept
    Scope      a bundle is running: every older node that it reads is noted, so that undeclared inputs are found
    STOPPED    inside ``stop_tracing``: results are nodes without inputs

New threads start with None and trace; asyncio tasks inherit the state of the task that created them.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from itertools import count
from types import TracebackType
from typing import Any, TypeAlias

# A Node. This module lies below node.py, which imports it; a type-only import back would close a circle.
_Node: TypeAlias = Any

# Order of creation of nodes. A node is made after its parents, so sorting by this number is a topological sort.
# ``count().__next__`` runs in C without releasing the GIL: threads never get the same number, without a lock.
tick = count().__next__


class Scope:
    """What a running bundle uses of nodes that are older than its call.

    start: the tick at which the call began; younger nodes were made within it and are its own affair.
    seen: ``id(node) -> (node, was_read)``, None until there is an entry. A node whose value was read must be
        declared as an input; the code of an inner bundle is noted with False and needs no declaration.
    """

    # ``seen`` is keyed by identity, since ``==`` of nodes compares values. It is created with the first
    # entry: most calls read nothing but their arguments, and None spares each of them a dict.
    __slots__ = ("seen", "start")

    start: int
    seen: dict[int, tuple[_Node, bool]] | None

    def read(self, node: _Node) -> None:
        """Note that the value of ``node`` was read, if it is older than the call."""
        if node._order < self.start:
            if self.seen is None:
                self.seen = {}
            self.seen[id(node)] = node, True

    def link(self, node: _Node) -> None:
        """Note a dependency that need not be declared, unless it is read too."""
        if node._order < self.start:
            if self.seen is None:
                self.seen = {}
            self.seen.setdefault(id(node), (node, False))

    def besides(self, inputs: tuple[_Node, ...]) -> list[tuple[_Node, bool]]:
        """Return the noted nodes besides ``inputs``, each with whether it was read."""
        if self.seen is None:
            return []
        declared = {id(parent) for parent in inputs}
        return [entry for key, entry in self.seen.items() if key not in declared]


def new_scope() -> Scope:
    """Return the scope of a call that begins now."""
    # No ``Scope.__init__``: it would be one more Python call in every call of a bundle.
    scope = Scope()
    scope.start = tick()
    scope.seen = None
    return scope


class _Stopped(Scope):
    """The scope that notes nothing."""

    __slots__ = ()

    def read(self, node: _Node) -> None:
        pass

    def link(self, node: _Node) -> None:
        pass


STOPPED = _Stopped()
STOPPED.seen = None
state: ContextVar[Scope | None] = ContextVar("trace_robot_state", default=None)


class stop_tracing:  # noqa: N801 - the published name
    """Context manager without tracing: results are nodes without inputs.

    It nests, restores the state it found whatever is raised, and one instance may be entered more than once.
    """

    # A class and not ``@contextmanager``: that one makes a generator for each use, and cannot be entered twice.
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
    """Return whether operations on nodes are recorded in this thread or task now."""
    return state.get() is not STOPPED
