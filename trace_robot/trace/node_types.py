"""The kinds of nodes: parameters, results and exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trace_robot.trace.naming import identifier
from trace_robot.trace.node import CONTAINERS, TITLE, About, Node, adopt, constant, make
from trace_robot.trace.operation import Operation
from trace_robot.trace.state import state, tick

__all__ = [
    "CONTAINERS",
    "TITLE",
    "ExceptionNode",
    "MessageNode",
    "Node",
    "ParameterNode",
    "constant",
    "link",
    "unlinked",
]

_state_of = state.get


class ParameterNode(Node):
    """A root that an optimizer may replace: a constant, a text or a function's source.

    function: the name of the function if the value is its source, else "".
    """

    __slots__ = ("function", "trainable")

    _title = "ParameterNode"
    _says = "a value that may be changed"

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

    @property
    def data(self) -> Any:
        scope = _state_of()
        if scope is not None:
            scope.read(self)
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        self._set(value)

    @property
    def key(self) -> str:
        """What the parameter is called across processes: the function's name, else the name without number."""
        return self.function or self.base_name

    def _alone(self, data: Any) -> ParameterNode:
        return _restore(data, self.base_name, self._about, self.trainable, self.function)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._data, self.base_name, self._about, self.trainable, self.function)


class MessageNode(Node):
    """A result: made by an operation from its inputs."""

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
        named = inputs if isinstance(inputs, Mapping) else {each.py_name: each for each in inputs}
        for key, each in named.items():
            if not isinstance(each, Node):
                raise TypeError(f"input {key!r} must be a node, got {each!r}; wrap it with node(...)")
        title = TITLE.match(description)
        base = title.group(1) if title else (name or "message")
        super().__init__(value, name=name or base, description=description, constraint=constraint, info=info)
        self._op = Operation((info or {}).get("fun_name", base), description, details=info)
        self._keys = tuple(named)
        self._parents = tuple(named.values())
        adopt(self, self._parents)

    @property
    def name(self) -> str:
        name = self._number()
        return f"{self._op.base}:{name}" if type(name) is int else f"{name[0]}:{name[1]}"

    @property
    def py_name(self) -> str:
        name = self._number()
        return (
            f"{self._op.names.identifier}{name}" if type(name) is int else f"{identifier(name[0])}{name[1]}"
        )

    def _number(self) -> Any:
        """Return the number among the results of the operation, or (base, number) of a name of its own."""
        if self._name is None:
            self._name = self._op.names.take()
        return self._name

    @property
    def parents(self) -> list[Node]:
        return list(self._parents[: len(self._keys)])

    @property
    def inputs(self) -> dict[str, Node]:
        return dict(zip(self._keys, self._parents, strict=False))

    _inputs = inputs

    @property
    def hidden_dependencies(self) -> set[Node]:
        """Nodes that went into the result without being inputs; ``backward`` follows them too."""
        return set(self._parents[len(self._keys) :])

    def edges(self) -> list[tuple[str, Node]]:
        """Return inputs and hidden dependencies, the latter under names of their own."""
        keys = self._keys + tuple(each.py_name for each in self._parents[len(self._keys) :])
        return list(zip(keys, self._parents, strict=True))

    @property
    def operation(self) -> Operation:
        return self._op

    @property
    def description(self) -> str:
        return super().description if self._about is not None and self._about[0] else self._op.description

    @property
    def info(self) -> Mapping[str, Any]:
        made = {"output": self._data, "inputs": self.inputs}
        made["external_dependencies"] = list(self._parents[len(self._keys) :])
        return {**self._op.details, **made, **(super().info or {})}

    def _alone(self, data: Any) -> Node:
        return link(data, self._op, (), ())

    def __reduce__(self) -> tuple[Any, ...]:
        return _result, (self._data, self._op.base, self.description)


class ExceptionNode(MessageNode):
    """What an operation raised: ``data`` is ``(Type) message``, ``info["error_comment"]`` the marked source."""

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
        """Return the message, or with style "full" the source with the failing line marked."""
        if style not in ("simple", "full"):
            raise ValueError(f"style must be 'simple' or 'full', got {style!r}")
        marked = self.info.get("error_comment")
        return str(marked) if style == "full" and marked else str(self._data)


def link(data: Any, op: Operation, keys: tuple[str, ...], parents: tuple[Node, ...]) -> MessageNode:
    """Return the result of ``op`` on ``parents``."""
    made: MessageNode = make(MessageNode)
    made._data = data
    made._op = op
    made._keys = keys
    made._parents = parents
    made._order = tick()
    made._name = op.names.take()
    made._children = made._feedback = made._about = None
    adopt(made, parents)
    return made


def unlinked(data: Any, op: Operation) -> MessageNode:
    """Return a result of ``op`` that does not know its inputs; numbered when its name is first asked for."""
    made: MessageNode = make(MessageNode)
    made._data = data
    made._op = op
    made._keys = made._parents = ()
    made._order = tick()
    made._name = made._children = made._feedback = made._about = None
    return made


def _restore(data: Any, base: str, spec: About | None, trainable: bool, function: str) -> ParameterNode:
    description, constraint, info = spec or (None, None, None)
    return ParameterNode(
        data,
        name=base,
        trainable=trainable,
        description=description,
        constraint=constraint,
        info=info,
        function=function,
    )


def _result(data: Any, base: str, description: str) -> MessageNode:
    return link(data, Operation(base, description), (), ())
