"""The published ``GRAPH``: here it holds no nodes, and can only restart their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from trace_robot.trace.backward import Subgraph, merge
from trace_robot.trace.naming import restart
from trace_robot.trace.node_types import Node
from trace_robot.trace.state import is_tracing


class Graph:
    """``clear()`` lets names count from 0 again; graphs live as long as somebody holds their outputs."""

    @property
    def TRACE(self) -> bool:  # noqa: N802 - the published name
        return is_tracing()

    def clear(self) -> None:
        restart()


GRAPH = Graph()


def contain(container: Iterable[Any], node: Any) -> bool:
    """Return whether ``node`` itself, not an equal one, is in ``container``."""
    return any(each is node for each in container)


def sum_feedback(nodes: Iterable[Node]) -> Subgraph:
    """Return the union of the Subgraphs that ``backward`` brought to ``nodes``."""
    return merge(each for node in nodes for brought in node.feedback.values() for each in brought)


def for_all_methods(decorator: Callable[[Any], Any]) -> Callable[[type], type]:
    """Return a class decorator that decorates every method but the special ones."""

    def decorate(cls: type) -> type:
        for name, value in list(vars(cls).items()):
            if callable(value) and not name.startswith("__"):
                setattr(cls, name, decorator(value))
        return cls

    return decorate
