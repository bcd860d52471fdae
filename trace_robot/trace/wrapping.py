"""From values to nodes and back: ``node``, ``lift`` and ``plain``.

Lists, tuples, dicts and sets may hold nodes at any depth. ``lift`` makes one node of such a container, linked
to the nodes in it; ``plain`` takes the values out again. Only exact types are looked into: a subclass may
mean something else by its items.
"""

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

_state_of = state.get  # bound at import, as in node.py

# Types that cannot hold a node, looked up by exact type before the slower isinstance. These are the values of
# nearly every observation, action and intermediate result; any other type is correct too, only slower.
ATOMS = frozenset((float, int, bool, str, bytes, type(None), np.ndarray, np.float64))

MAKE_LIST = Operation("make_list", "Make a list of the arguments.")
MAKE_TUPLE = Operation("make_tuple", "Make a tuple of the arguments.")
MAKE_SET = Operation("make_set", "Make a set of the arguments.")
MAKE_DICT = Operation("make_dict", "Make a dictionary of the keyword arguments.")


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
    """Return ``data`` as a node, the first of the two primitives of Trace.

    A node is returned as it is. A container that holds nodes becomes the result of making it from them.

    Args:
        data: any value.
        name: base of the node's name; by default the name of the value's type.
        trainable: whether an optimizer may replace the value; the node is then a new ParameterNode.
        description: what the value means, for the optimizer; ``[title] text`` or text.
        constraint: a ``Constraint`` such as ``Bounds(0, 1)``, which is enforced, or text, which is shown.

    Raises:
        TypeError: ``description`` is not text.
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


def lift(value: Any, base: str | None = None) -> Node:
    """Return ``value`` as a node, as an operator takes its arguments.

    Args:
        value: a node, which is returned as it is, a plain value, or a container; one that holds nodes becomes a
            result of them.
        base: base of the name of a plain value.
    """
    if isinstance(value, Node):
        return value
    if type(value) in CONTAINERS and holds_node(value):
        return gather(value)
    return constant(value, base)


def plain(value: Any) -> Any:
    """Return ``value`` with every node in it replaced by its value, at any depth."""
    if isinstance(value, Node):
        return value._data
    if type(value) not in CONTAINERS or not holds_node(value):
        return value  # the same object: what holds no node is not copied
    if type(value) is dict:
        return {_plain_key(key): plain(item) for key, item in value.items()}
    return type(value)(plain(item) for item in value)


def holds_node(value: Any) -> bool:
    """Return whether a list, tuple, dict or set holds a node at any depth."""
    # Explicit loops and no ``any(...)``: this runs for every container argument and result, and a generator
    # per container costs more than the loop over the few items that most have.
    if type(value) is dict:
        for key in value:
            if isinstance(key, Node):
                return True
        value = value.values()
    for item in value:
        kind = type(item)
        if kind not in ATOMS and (isinstance(item, Node) or (kind in CONTAINERS and holds_node(item))):
            return True
    return False


def held_nodes(value: Any) -> list[Node]:
    """Return the nodes in a node, list, tuple, dict or set, at any depth."""
    if isinstance(value, Node):
        return [value]
    if type(value) not in CONTAINERS:
        return []
    items = [*value, *value.values()] if type(value) is dict else value
    return [held for item in items for held in held_nodes(item)]


def gather(container: Any) -> MessageNode:
    """Return the node of a container whose items are nodes, its value all plain."""
    if type(container) is dict:
        return _gather_dict(container)
    items = [lift(item) for item in container]
    keys = tuple(f"args_{index}" for index in range(len(items)))
    op = MAKE_LIST if type(container) is list else MAKE_TUPLE if type(container) is tuple else MAKE_SET
    return made(type(container)(item._data for item in items), op, keys, tuple(items))


def _gather_dict(container: dict[Any, Any]) -> MessageNode:
    """Return the node of a dict. Keys that are nodes are inputs ``key_NAME``."""
    names = tuple(str(key.py_name if isinstance(key, Node) else key) for key in container)
    items = [lift(item) for item in container.values()]
    value = {_plain_key(key): item._data for key, item in zip(container, items, strict=True)}
    key_nodes = [
        (f"key_{name}", key) for name, key in zip(names, container, strict=True) if isinstance(key, Node)
    ]
    keys = names + tuple(name for name, _ in key_nodes)
    return made(value, MAKE_DICT, keys, (*items, *(key for _, key in key_nodes)))


def _plain_key(key: Any) -> Any:
    return key._data if isinstance(key, Node) else key


def made(data: Any, op: Operation, keys: tuple[str, ...], parents: tuple[Node, ...]) -> MessageNode:
    """Return the result of an operation, linked unless tracing is stopped.

    The ways of node_types.py for code that does not know the state; the inputs count as read.

    Args:
        data: the value, plain.
        op: the operation that made it.
        keys: names of the inputs.
        parents: the inputs in the order of ``keys``, then the hidden dependencies.
    """
    scope = _state_of()
    if scope is not None:
        if scope is STOPPED:
            return unlinked(data, op)
        for parent in parents:
            scope.read(parent)
    return link(data, op, keys, parents)
