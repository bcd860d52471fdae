"""From values to nodes and back: plain values, nodes, and containers that hold nodes."""

from __future__ import annotations

import warnings
from typing import Any, Literal, overload

import numpy as np

from trace_robot.trace.node_types import (
    CONTAINERS,
    MessageNode,
    Node,
    ParameterNode,
    constant,
    link,
    unlinked,
)
from trace_robot.trace.operation import Operation
from trace_robot.trace.state import STOPPED, state

_state_of = state.get

ATOMS = frozenset((float, int, bool, str, bytes, type(None), np.ndarray, np.float64))

MAKE_LIST = Operation("make_list", "Make a list of the arguments.")
MAKE_TUPLE = Operation("make_tuple", "Make a tuple of the arguments.")
MAKE_SET = Operation("make_set", "Make a set of the arguments.")
MAKE_DICT = Operation("make_dict", "Make a dictionary of the keyword arguments.")


def holds_node(value: Any) -> bool:
    """Return whether a list, tuple, dict or set holds a node at any depth."""
    if type(value) is dict:
        for key in value:
            if isinstance(key, Node):
                return True
        value = value.values()
    for each in value:
        kind = type(each)
        if kind not in ATOMS and (isinstance(each, Node) or (kind in CONTAINERS and holds_node(each))):
            return True
    return False


def lift(value: Any, base: str | None = None) -> Node:
    """Return ``value`` as a node; a container that holds nodes becomes a result of them."""
    if isinstance(value, Node):
        return value
    if type(value) in CONTAINERS and holds_node(value):
        return gather(value)
    return constant(value, base)


def gather(container: Any) -> MessageNode:
    """Return the node of a container whose items are nodes, its value all plain."""
    if type(container) is dict:
        keys = tuple(str(key.py_name if isinstance(key, Node) else key) for key in container)
        items = [lift(each) for each in container.values()]
        plain: Any = {plain_key(key): each._data for key, each in zip(container, items, strict=True)}
        named = [
            (f"key_{key}", each) for key, each in zip(keys, container, strict=True) if isinstance(each, Node)
        ]
        return made(
            plain, MAKE_DICT, keys + tuple(key for key, _ in named), (*items, *(each for _, each in named))
        )
    items = [lift(each) for each in container]
    keys = tuple(f"args_{index}" for index in range(len(items)))
    op = MAKE_LIST if type(container) is list else MAKE_TUPLE if type(container) is tuple else MAKE_SET
    return made(type(container)(each._data for each in items), op, keys, tuple(items))


def plain_key(key: Any) -> Any:
    return key._data if isinstance(key, Node) else key


def plain(value: Any) -> Any:
    """Return ``value`` with every node in it replaced by what it holds."""
    if isinstance(value, Node):
        return value._data
    if type(value) not in CONTAINERS or not holds_node(value):
        return value
    if type(value) is dict:
        return {plain_key(key): plain(each) for key, each in value.items()}
    return type(value)(plain(each) for each in value)


def held_nodes(value: Any) -> list[Node]:
    """Return the nodes in a node, list, tuple, dict or set, at any depth."""
    if isinstance(value, Node):
        return [value]
    if type(value) not in CONTAINERS:
        return []
    items = [*value, *value.values()] if type(value) is dict else value
    return [node for each in items for node in held_nodes(each)]


def made(data: Any, op: Operation, keys: tuple[str, ...], parents: tuple[Node, ...]) -> MessageNode:
    """Return the result of ``op`` on ``parents`` as the state of tracing asks for."""
    scope = _state_of()
    if scope is not None:
        if scope is STOPPED:
            return unlinked(data, op)
        for each in parents:
            scope.read(each)
    return link(data, op, keys, parents)


@overload
def node(
    data: Any,
    name: str | None = None,
    *,
    trainable: Literal[True],
    description: str | None = None,
    constraint: Any = None,
) -> ParameterNode: ...
@overload
def node(
    data: Any,
    name: str | None = None,
    trainable: bool = False,
    description: str | None = None,
    constraint: Any = None,
) -> Node: ...
def node(
    data: Any,
    name: str | None = None,
    trainable: bool = False,
    description: str | None = None,
    constraint: Any = None,
) -> Node:
    """Return ``data`` as a node; a node is returned as it is, or copied to a parameter if ``trainable``.

    A container that holds nodes becomes the result of making it from them.
    """
    if description is not None and not isinstance(description, str):
        raise TypeError(f"description must be a string, got {description!r}")
    if trainable:
        name = name or (data.base_name if isinstance(data, Node) else None)
        return ParameterNode(plain(data), name=name, description=description, constraint=constraint)
    if type(data) in CONTAINERS and holds_node(data):
        return gather(data)
    if isinstance(data, Node):
        if name is not None:
            warnings.warn(
                f"name {name!r} is ignored: the value is the node {data.name} already", stacklevel=2
            )
        return data
    return Node(data, name=name, description=description, constraint=constraint)
