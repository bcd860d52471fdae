"""GRAPH and three helpers that users of the published package import.

There GRAPH is a global registry that holds every node. Here no registry exists; what is left is to restart
the names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from trace_robot.trace.backward import Subgraph, merge
from trace_robot.trace.node_types import Node
from trace_robot.trace.operation import restart
from trace_robot.trace.state import is_tracing


class Graph:
    """The published GRAPH. A graph lives as long as its output is referenced."""

    @property
    def TRACE(self) -> bool:  # noqa: N802 - the published name
        return is_tracing()

    def clear(self) -> None:
        """Let the numbers in names begin at 0 again."""
        restart()


GRAPH = Graph()


def contain(container: Iterable[Any], node: Any) -> bool:
    """Return whether a node is in a container, by identity.

    Args:
        container: nodes or other objects.
        node: an equal one is not enough; ``in`` would compare values.
    """
    return any(item is node for item in container)


def sum_feedback(nodes: Iterable[Node]) -> Subgraph:
    """Return the union of the Subgraphs that ``backward`` brought to ``nodes``."""
    return merge(subgraph for node in nodes for subgraphs in node.feedback.values() for subgraph in subgraphs)


def for_all_methods(decorator: Callable[[Any], Any]) -> Callable[[type], type]:
    """Return a class decorator that decorates every method but the special ones."""

    def decorate(cls: type) -> type:
        for name, value in list(vars(cls).items()):
            if callable(value) and not name.startswith("__"):
                setattr(cls, name, decorator(value))
        return cls

    return decorate
