"""Nodes: a value and the record of how it came to be.

A node knows its parents and no more than weakly its children, so a graph lives as long as somebody holds its
output. Names, levels and descriptions are worked out when they are asked for. Operators are attached to Node by
``trace_robot.trace.operators``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from trace_robot.trace.naming import identifier, names
from trace_robot.trace.operation import Operation
from trace_robot.trace.same import same
from trace_robot.trace.signatures import Operators
from trace_robot.trace.state import state, tick

if TYPE_CHECKING:
    from trace_robot.trace.drawing import Drawing

Ref = ref["Node"]
About = tuple[str | None, Any, Mapping[str, Any] | None]  # description, constraint, info

_TITLE = re.compile(r"^\[[^\[\]]+\]")
_children_lock = RLock()
_state_of = state.get


class Node(Operators):
    """A value. Nodes made by ``node(value)`` are roots; see MessageNode for results.

    ``==`` compares values and gives a plain bool; ``hash`` goes by identity. ``bool``, ``len``, ``in``, ``float``
    and ``int`` give plain values, which leave the graph; everything else gives linked nodes.
    """

    __slots__ = ("__weakref__", "_about", "_children", "_data", "_feedback", "_name", "_order")

    trainable = False
    _title = "Node"
    _says = "a value"

    def __init__(
        self,
        value: Any,
        *,
        name: str | None = None,
        trainable: bool = False,
        description: str | None = None,
        constraint: Any = None,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        if trainable and not isinstance(self, ParameterNode):
            raise TypeError(f"only a ParameterNode is trainable, got {type(self).__name__}; use node(..., trainable=True)")
        if isinstance(value, Node):
            name = name or value.base_name
            value = value._data
        self._data = value
        self._order = tick()
        self._children: Any = None
        self._feedback: dict[Any, list[Any]] | None = None
        self._name: Any = _new_name(name or type(value).__name__)
        self._about: About | None = None
        if description or constraint is not None or info is not None:
            self._about = (description or None, constraint, info)

    def __class_getitem__(cls, item: Any) -> type[Node]:
        return cls

    @property
    def data(self) -> Any:
        scope = _state_of()
        if scope is not None:
            scope.read(self)
        return self._data

    @property
    def type(self) -> type:
        return type(self._data)

    @property
    def name(self) -> str:
        """``base:number``, unique in this process and never changed."""
        name = self._name
        if type(name) is not tuple:
            self._name = name = _new_name(name or type(self._data).__name__)
        return f"{name[0]}:{name[1]}"

    @property
    def base_name(self) -> str:
        return self.name.rpartition(":")[0]

    @property
    def py_name(self) -> str:
        """The name as a Python identifier, as optimizers show it."""
        name = self._name
        if type(name) is not tuple:
            self._name = name = _new_name(name or type(self._data).__name__)
        return f"{identifier(name[0])}{name[1]}"

    @property
    def id(self) -> str:
        return self.name.rpartition(":")[2]

    @property
    def parents(self) -> list[Node]:
        return []

    @property
    def inputs(self) -> dict[str, Node]:
        """The parents by the names of the arguments they were."""
        return {}

    @property
    def children(self) -> list[Node]:
        """The results made from this node that somebody still holds."""
        found = self._children
        if found is None:
            return []
        refs = found[1:] if type(found) is list else [found]
        return [child for child in (each() for each in refs) if child is not None]

    @property
    def is_root(self) -> bool:
        return not self.parents

    @property
    def is_leaf(self) -> bool:
        return not self.children

    @property
    def level(self) -> int:
        """The length of the longest way from a root."""
        from trace_robot.trace.subgraph import ancestors

        levels: dict[int, int] = {}
        for each in ancestors(self):
            levels[id(each)] = max((levels[id(parent)] + 1 for parent in each.parents), default=0)
        return levels[id(self)]

    @property
    def description(self) -> str:
        text = self._about[0] if self._about is not None else None
        if not text:
            return f"[{self._title}] {self._says}"
        return text if _TITLE.match(text) else f"[{self._title}] {text.strip()}"

    @property
    def constraint(self) -> Any:
        return self._about[1] if self._about is not None else None

    @property
    def _constraint(self) -> Any:
        return self.constraint

    @property
    def info(self) -> Mapping[str, Any] | None:
        return self._about[2] if self._about is not None else None

    @property
    def parameter_dependencies(self) -> set[Node]:
        """The trainable parameters this value depends on, without those that are hidden in an operation."""
        from trace_robot.trace.subgraph import ancestors

        found = ancestors(self, hidden=False)
        return {each for each in found if isinstance(each, ParameterNode) and each.trainable}

    @property
    def expandable_dependencies(self) -> set[Node]:
        """The results among the ancestors that hide dependencies."""
        from trace_robot.trace.subgraph import ancestors

        found = ancestors(self, hidden=False)
        return {each for each in found if isinstance(each, MessageNode) and each.hidden_dependencies}

    @property
    def feedback(self) -> dict[Any, list[Any]]:
        """What ``backward`` of outputs brought here: child -> feedback, until ``zero_feedback``."""
        if self._feedback is None:
            self._feedback = {}
        return self._feedback

    def zero_feedback(self) -> None:
        self._feedback = None

    def _add_feedback(self, child: Any, feedback: Any) -> None:
        self.feedback.setdefault(child, []).append(feedback)

    def backward(
        self,
        feedback: Any = "",
        propagator: Any = None,
        retain_graph: bool = False,
        visualize: bool = False,
        simple_visualization: bool = True,
        reverse_plot: bool = False,
        print_limit: int = 100,
    ) -> Drawing | None:
        """Hand ``feedback`` to the roots this node came from; return a drawing if ``visualize``.

        Outputs that share nodes may each have their own feedback. A second call on one output raises
        BackwardError unless the call before had ``retain_graph=True``.
        """
        from trace_robot.trace.propagators import propagate

        propagate(self, feedback, propagator, retain_graph)
        if not visualize:
            return None
        from trace_robot.trace.drawing import draw

        return draw(self, skip_clones=simple_visualization, upwards=reverse_plot, max_chars=print_limit)

    def _set(self, value: Any) -> None:
        """Replace the value; no record is made of it."""
        self._data = value._data if isinstance(value, Node) else value

    def detach(self) -> Node:
        """Return a copy without parents and children."""
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Node:
        import copy

        made = self._alone(copy.deepcopy(self._data, memo))
        memo[id(self)] = made
        return made

    def __copy__(self) -> Node:
        return self._alone(self._data)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._data, self.base_name, self._about)

    def _alone(self, data: Any) -> Node:
        return _restore(type(self), data, self.base_name, self._about)

    def __eq__(self, other: object) -> bool:
        return same(self.data, other.data if isinstance(other, Node) else other)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        return bool(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __contains__(self, item: object) -> bool:
        value = item.data if isinstance(item, Node) else item
        try:
            return value in self.data
        except ValueError:
            return any(value is each or same(value, each) for each in self.data)

    def __float__(self) -> float:
        return float(self.data)

    def __int__(self) -> int:
        return int(self.data)

    def __complex__(self) -> complex:
        return complex(self.data)

    def __index__(self) -> int:
        value = self.data
        return value.__index__()  # type: ignore[no-any-return]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.data, dtype=dtype) if copy else np.asarray(self.data, dtype=dtype)

    def __format__(self, spec: str) -> str:
        return format(self._data, spec) if spec else str(self)

    def __str__(self) -> str:
        return f"{self._title}: ({self.name}, dtype={type(self._data)}, data={self._data})"

    __repr__ = __str__


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

    def _alone(self, data: Any) -> Node:
        made = super()._alone(data)
        assert isinstance(made, ParameterNode)
        made.trainable, made.function = self.trainable, self.function
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        extra = (self.trainable, self.function)
        return _restore, (type(self), self._data, self.base_name, self._about, extra)


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
        title = _TITLE.match(description)
        base = title.group(0)[1:-1] if title else (name or "message")
        super().__init__(value, name=name or base, description=description, constraint=constraint, info=info)
        self._op = Operation((info or {}).get("fun_name", base), description, details=info)
        self._keys = tuple(named)
        self._parents = tuple(named.values())
        _adopt(self, self._parents)

    @property
    def name(self) -> str:
        name = self._number()
        return f"{self._op.base}:{name}" if type(name) is int else f"{name[0]}:{name[1]}"

    @property
    def py_name(self) -> str:
        name = self._number()
        return f"{self._op.names.identifier}{name}" if type(name) is int else f"{identifier(name[0])}{name[1]}"

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
        return _restore, (Node, self._data, self.base_name, (self.description, self.constraint, None))


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


CONTAINERS = frozenset((list, tuple, dict, set, frozenset))
_make: Callable[[type], Any] = object.__new__


def constant(data: Any, base: str | None = None) -> Node:
    """Return a root made on the way; it takes its number when its name is first asked for."""
    made: Node = _make(Node)
    made._data = data
    made._order = tick()
    made._name = base
    made._children = made._feedback = made._about = None
    return made


def link(data: Any, op: Operation, keys: tuple[str, ...], parents: tuple[Node, ...]) -> MessageNode:
    """Return the result of ``op`` on ``parents``."""
    made: MessageNode = _make(MessageNode)
    made._data = data
    made._op = op
    made._keys = keys
    made._parents = parents
    made._order = tick()
    made._name = op.names.take()
    made._children = made._feedback = made._about = None
    _adopt(made, parents)
    return made


def unlinked(data: Any, op: Operation) -> MessageNode:
    """Return a result of ``op`` that does not know its inputs; numbered when its name is first asked for."""
    made: MessageNode = _make(MessageNode)
    made._data = data
    made._op = op
    made._keys = made._parents = ()
    made._order = tick()
    made._name = made._children = made._feedback = made._about = None
    return made


def _adopt(child: Node, parents: Iterable[Node]) -> None:
    """Let ``parents`` know ``child`` weakly: one reference, or a list whose first item is its next sweep."""
    weak = ref(child)
    with _children_lock:
        for parent in parents:
            known = parent._children
            if known is None:
                parent._children = weak
            elif type(known) is not list:
                parent._children = [8, known, weak]
            else:
                known.append(weak)
                if len(known) > known[0]:
                    known[1:] = [each for each in known[1:] if each() is not None]
                    known[0] = 2 * len(known) + 8


def _new_name(base: str) -> tuple[str, int]:
    return base, names(base).take()


def _restore(
    kind: type, data: Any, base: str, about: About | None, parameter: tuple[bool, str] | None = None
) -> Node:
    made: Node = _make(kind)
    made._data = data
    made._order = tick()
    made._name = _new_name(base)
    made._children = made._feedback = None
    made._about = about
    if isinstance(made, ParameterNode):
        made.trainable, made.function = parameter or (True, "")
    return made
