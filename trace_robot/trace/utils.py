"""Small helpers of the published interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from trace_robot.trace.nodes import Node
from trace_robot.trace.subgraph import Subgraph, merge


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
