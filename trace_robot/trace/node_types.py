"""The kinds of nodes: ParameterNode, MessageNode and ExceptionNode.

    Node            a root: a constant, an input
    ParameterNode   a root that an optimizer may replace
    MessageNode     the result of an operation, with its inputs
    ExceptionNode   the result of an operation that raised

The names are those of Trace (arXiv:2406.16218). ``link`` and ``unlinked`` are how the engine makes results:
the public constructors check and name what they get, these two only fill slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trace_robot.trace.node import CONTAINERS, About, Node, adopt, constant, make
from trace_robot.trace.operation import TITLE, Operation
from trace_robot.trace.state import state, tick

__all__ = [
    "CONTAINERS",
    "ExceptionNode",
    "MessageNode",
    "Node",
    "ParameterNode",
    "constant",
    "link",
    "unlinked",
]

_state_of = state.get  # bound at import, as in node.py


class ParameterNode(Node):
    """A root that an optimizer may replace: a constant, a text or a function's source.

    function: the name of the function if the value is its source, else "".
    trainable: whether optimizers see it; it may be switched off and on.
    """

    __slots__ = ("function", "trainable")

    _title = "ParameterNode"
    _summary = "a value that may be changed"

    def __init__(
        self,
        value: Any,
        *,
        name: str | None = None,
        trainable: bool = True,
        description: str | None = None,
        constraint: Any = None,
        info: Mapping[str, Any] | None = None,
        function: str = "",
    ) -> None:
        super().__init__(value, name=name, description=description, constraint=constraint, info=info)
        self.trainable = trainable
        self.function = function

    # The getter once more: for type checkers a property and its setter must stand in one class.
    @property
    def data(self) -> Any:
        """The value. Unlike that of other nodes it may be set."""
        scope = _state_of()
        if scope is not None:
            scope.read(self)
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        self._set(value)

    @property
    def key(self) -> str:
        """The name across processes: the function's, or the name without number."""
        return self.function or self.base_name

    def _alone(self, data: Any) -> ParameterNode:
        return _restore_parameter(data, self.base_name, self._about, self.trainable, self.function)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_parameter, (self._data, self.base_name, self._about, self.trainable, self.function)


class MessageNode(Node):
    """The result of an operation on its inputs."""

    # ``_parents`` holds the inputs and behind them the hidden dependencies, ``_keys`` the names of the inputs
    # alone: its length is where the inputs end. One tuple, as nearly every walk over a graph wants both.
    # ``_keys`` is the operation's own tuple and not a copy, where all arguments went by position.
    __slots__ = ("_keys", "_op", "_parents")

    _title = "MessageNode"

    def __init__(
        self,
        value: Any,
        *,
        inputs: Mapping[str, Node] | list[Node],
        description: str = "[MessageNode] a result",
        constraint: Any = None,
        name: str | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        named = inputs if isinstance(inputs, Mapping) else {node.py_name: node for node in inputs}
        for key, parent in named.items():
            if not isinstance(parent, Node):
                raise TypeError(f"input {key!r} must be a node, got {parent!r}; wrap it with node(...)")
        title = TITLE.match(description)
        base = title.group(1) if title else (name or "message")
        super().__init__(value, name=name or base, description=description, constraint=constraint, info=info)
        self._op = Operation((info or {}).get("fun_name", base), description, details=info)
        self._keys = tuple(named)
        self._parents = tuple(named.values())
        adopt(self, self._parents)

    def _numbered(self) -> tuple[str, int]:
        name = self._name
        if name is None:
            self._name = name = self._op.names.take()
        # A bare int in place of a tuple saves 56 bytes a node. A tuple is there if the node was named by its
        # maker.
        return (self._op.base, name) if type(name) is int else name

    @property
    def parents(self) -> list[Node]:
        """The inputs, without hidden dependencies."""
        return list(self._parents[: len(self._keys)])

    @property
    def inputs(self) -> dict[str, Node]:
        return dict(zip(self._keys, self._parents, strict=False))

    _inputs = inputs  # the published name

    @property
    def hidden_dependencies(self) -> set[Node]:
        """Nodes that the value depends on without having them as inputs.

        ``backward`` follows them too.
        """
        return set(self._parents[len(self._keys) :])

    def edges(self) -> list[tuple[str, Node]]:
        """Return inputs and hidden dependencies, the latter under their ``py_name``."""
        keys = self._keys + tuple(parent.py_name for parent in self._parents[len(self._keys) :])
        return list(zip(keys, self._parents, strict=True))

    @property
    def operation(self) -> Operation:
        return self._op

    @property
    def description(self) -> str:
        return super().description if self._about is not None and self._about[0] else self._op.description

    @property
    def info(self) -> Mapping[str, Any]:
        """What is known of the operation, this result and its inputs."""
        result = {"output": self._data, "inputs": self.inputs}
        result["external_dependencies"] = list(self._parents[len(self._keys) :])
        return {**self._op.details, **result, **(super().info or {})}

    def _alone(self, data: Any) -> Node:
        return link(data, self._op, (), ())

    # The operation itself holds a function, which may not be picklable; name and description are text.
    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_result, (self._data, self._op.base, self.description)


class ExceptionNode(MessageNode):
    """What an operation raised, as a node that takes feedback like any output.

    ``data`` is ``(Type) message``, ``info["error_comment"]`` the source with the failing lines marked.
    """

    __slots__ = ()

    _title = "ExceptionNode"

    def __init__(
        self,
        value: BaseException | str,
        *,
        inputs: Mapping[str, Node] | list[Node],
        description: str = "[exception] the operation raised this",
        constraint: Any = None,
        name: str | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        text = value if isinstance(value, str) else f"({type(value).__name__}) {value}"
        super().__init__(
            text, inputs=inputs, description=description, constraint=constraint, name=name, info=info
        )

    def create_feedback(self, style: str = "simple") -> str:
        """Return feedback on the failed operation.

        Args:
            style: "simple" for the message, "full" for the source with the failing line marked.
        """
        if style not in ("simple", "full"):
            raise ValueError(f"style must be 'simple' or 'full', got {style!r}")
        marked = self.info.get("error_comment")
        return str(marked) if style == "full" and marked else str(self._data)


def link(data: Any, op: Operation, keys: tuple[str, ...], parents: tuple[Node, ...]) -> MessageNode:
    """Return a result that knows its inputs, and that they know.

    Args:
        data: the value, plain.
        op: the operation that made it.
        keys: names of the inputs; at most as many as ``parents``.
        parents: the inputs in the order of ``keys``, then the hidden dependencies.
    """
    result: MessageNode = make(MessageNode)
    result._data = data
    result._op = op
    result._keys = keys
    result._parents = parents
    result._order = tick()
    result._name = op.names.take()
    result._children = result._feedback = result._about = None
    adopt(result, parents)
    return result


def unlinked(data: Any, op: Operation) -> MessageNode:
    """Return a result that does not know its inputs, as under ``stop_tracing``.

    Args:
        data: the value, plain.
        op: the operation that made it.
    """
    result: MessageNode = make(MessageNode)
    result._data = data
    result._op = op
    result._keys = result._parents = ()
    result._order = tick()
    result._name = result._children = result._feedback = result._about = (
        None  # numbered if its name is asked for
    )
    return result


def _restore_parameter(
    data: Any, base: str, about: About | None, trainable: bool, function: str
) -> ParameterNode:
    description, constraint, info = about or (None, None, None)
    return ParameterNode(
        data,
        name=base,
        trainable=trainable,
        description=description,
        constraint=constraint,
        info=info,
        function=function,
    )


def _restore_result(data: Any, base: str, description: str) -> MessageNode:
    return link(data, Operation(base, description), (), ())
