"""Applying an operation to nodes: plain values in, one linked node out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trace_robot.trace.failure import failure, original
from trace_robot.trace.lift import made
from trace_robot.trace.nodes import MessageNode, Node
from trace_robot.trace.operation import Operation


def apply(
    op: Operation, function: Callable[..., Any], keys: tuple[str, ...], parents: tuple[Node, ...]
) -> MessageNode:
    """Return ``function`` of the values of ``parents`` as their result; raises ExecutionError.

    If the result is a node itself, as an attribute may be, its value is taken and it is a hidden dependency.
    """
    try:
        data = function(*[each._data for each in parents])
    except Exception as error:
        raise failure(error, op, keys, parents) from original(error)
    if isinstance(data, Node):
        parents = (*parents, data)
        data = data._data
    return made(data, op, keys, parents)
