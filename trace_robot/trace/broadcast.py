"""One function for all the nodes in a container: lists, tuples, sets, dicts and NodeContainers."""

from __future__ import annotations

import copy
from collections import UserDict, UserList
from collections.abc import Callable
from operator import attrgetter, itemgetter
from typing import Any

from trace_robot.trace.containers import NodeContainer
from trace_robot.trace.nodes import Node


def convert(value: Any, node_to: Callable[[Node], Any], other_to: Callable[[Any], Any]) -> Any:
    """Return ``value`` with its nodes and its other leaves replaced.

    Lists, tuples, sets, dicts and NodeContainers are gone through.
    """

    def visit(each: Any) -> Any:
        if isinstance(each, Node):
            return node_to(each)
        if isinstance(each, tuple) and hasattr(each, "_fields"):
            return type(each)(*map(visit, each))
        if isinstance(each, (list, tuple, set, frozenset)):
            return type(each)(map(visit, each))
        if isinstance(each, dict):
            return {key: visit(item) for key, item in each.items()}
        if isinstance(each, NodeContainer):
            made = copy.copy(each)
            for name, item in vars(each).items():
                setattr(made, name, visit(item))
            return made
        return other_to(each)

    return visit(value)


def to_data(value: Any) -> Any:
    """Return ``value`` with every node in it replaced by what it holds."""
    return convert(value, lambda node: node.data, lambda other: other)


def apply_op(op: Callable[..., Any], output: Any, *args: Any, **kwargs: Any) -> Any:
    """Return ``output`` with ``op`` applied leaf by leaf; arguments are nodes or of ``output``'s type and shape."""
    inputs = (*args, *kwargs.values())
    if all(isinstance(each, Node) for each in inputs):
        return op(*args, **kwargs)
    for each in inputs:
        if not isinstance(each, Node) and type(each) is not type(output):
            raise TypeError(f"arguments must be nodes or {type(output).__name__}, got {each!r}")

    def at(get: Callable[[Any], Any], inner: Any) -> Any:
        taken = [each if isinstance(each, Node) else get(each) for each in args]
        named = {key: each if isinstance(each, Node) else get(each) for key, each in kwargs.items()}
        return apply_op(op, inner, *taken, **named)

    if isinstance(output, (list, tuple, UserList)):
        if any(not isinstance(each, Node) and len(each) != len(output) for each in inputs):
            raise ValueError(f"arguments must all have {len(output)} items, as the output has")
        items = [at(itemgetter(index), inner) for index, inner in enumerate(output)]
        if isinstance(output, tuple):
            return tuple(items)
        output[:] = items
    elif isinstance(output, (dict, UserDict)):
        for key, inner in list(output.items()):
            output[key] = at(itemgetter(key), inner)
    elif isinstance(output, NodeContainer):
        for name, inner in list(vars(output).items()):
            setattr(output, name, at(attrgetter(name), inner))
    return output
