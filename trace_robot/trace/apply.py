"""Applying an operation to nodes: plain values in, one linked node out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trace_robot.trace.failure import failure, original
from trace_robot.trace.nodes import MessageNode, Node, link, unlinked
from trace_robot.trace.operation import Operation
from trace_robot.trace.state import STOPPED, state

_state_of = state.get


def apply(
    op: Operation, function: Callable[..., Any], keys: tuple[str, ...], parents: tuple[Node, ...]
) -> MessageNode:
    """Return ``function`` of the values of ``parents`` as their result; raises ExecutionError.

    If the result is a node itself, as an attribute may be, its value is taken and it is a hidden dependency.
    """
    scope = _state_of()
    if scope is not None:
        for each in parents:
            scope.read(each)
    try:
        data = function(*[each._data for each in parents])
    except Exception as error:
        raise failure(error, op, keys, parents) from original(error)
    if isinstance(data, Node):
        if scope is not None:
            scope.read(data)
        parents = (*parents, data)
        data = data._data
    return unlinked(data, op) if scope is STOPPED else link(data, op, keys, parents)
