"""Node: a value and the record of how it came to be.

A node knows its parents and no more than weakly its children, so a graph lives as long as somebody holds its
output. Names, levels and descriptions are worked out when they are asked for. Operators are attached to Node by
``trace_robot.trace.operators``.
"""

from __future__ import annotations

import copy
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from operator import attrgetter
from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import ref

from trace_robot.trace.builtins import Plain
from trace_robot.trace.naming import identifier, names
from trace_robot.trace.state import state, tick

if TYPE_CHECKING:
    from trace_robot.trace.node_types import MessageNode
    from trace_robot.trace.visualize import Drawing


About = tuple[str | None, Any, Mapping[str, Any] | None]  # description, constraint, info

CONTAINERS = frozenset((list, tuple, dict, set, frozenset))
TITLE = re.compile(r"^\[([^\[\]]+)\]")
_children_lock = RLock()
_state_of = state.get
make: Callable[[type], Any] = object.__new__


class Operators:
    """Declares the operators; they are attached to Node when the package is imported."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __call__(self, *args: Any, **kwargs: Any) -> MessageNode: ...
        def __iter__(self) -> Iterator[Any]: ...
        def __aiter__(self) -> AsyncIterator[Any]: ...
        def __getitem__(self, key: Any) -> MessageNode: ...
        def __add__(self, other: Any) -> MessageNode: ...
        def __radd__(self, other: Any) -> MessageNode: ...
        def __sub__(self, other: Any) -> MessageNode: ...
        def __rsub__(self, other: Any) -> MessageNode: ...
        def __mul__(self, other: Any) -> MessageNode: ...
        def __rmul__(self, other: Any) -> MessageNode: ...
        def __truediv__(self, other: Any) -> MessageNode: ...
        def __rtruediv__(self, other: Any) -> MessageNode: ...
        def __floordiv__(self, other: Any) -> MessageNode: ...
        def __rfloordiv__(self, other: Any) -> MessageNode: ...
        def __mod__(self, other: Any) -> MessageNode: ...
        def __rmod__(self, other: Any) -> MessageNode: ...
        def __divmod__(self, other: Any) -> MessageNode: ...
        def __rdivmod__(self, other: Any) -> MessageNode: ...
        def __pow__(self, other: Any) -> MessageNode: ...
        def __rpow__(self, other: Any) -> MessageNode: ...
        def __matmul__(self, other: Any) -> MessageNode: ...
        def __rmatmul__(self, other: Any) -> MessageNode: ...
        def __lshift__(self, other: Any) -> MessageNode: ...
        def __rlshift__(self, other: Any) -> MessageNode: ...
        def __rshift__(self, other: Any) -> MessageNode: ...
        def __rrshift__(self, other: Any) -> MessageNode: ...
        def __and__(self, other: Any) -> MessageNode: ...
        def __rand__(self, other: Any) -> MessageNode: ...
        def __or__(self, other: Any) -> MessageNode: ...
        def __ror__(self, other: Any) -> MessageNode: ...
        def __xor__(self, other: Any) -> MessageNode: ...
        def __rxor__(self, other: Any) -> MessageNode: ...
        def __lt__(self, other: Any) -> MessageNode: ...
        def __le__(self, other: Any) -> MessageNode: ...
        def __gt__(self, other: Any) -> MessageNode: ...
        def __ge__(self, other: Any) -> MessageNode: ...
        def __neg__(self) -> MessageNode: ...
        def __pos__(self) -> MessageNode: ...
        def __abs__(self) -> MessageNode: ...
        def __invert__(self) -> MessageNode: ...
        def __round__(self, digits: Any = None) -> MessageNode: ...
        def __floor__(self) -> MessageNode: ...
        def __ceil__(self) -> MessageNode: ...
        def __trunc__(self) -> MessageNode: ...
        def clone(self) -> MessageNode: ...
        def call(self, name: str, /, *args: Any, **kwargs: Any) -> MessageNode: ...


class Node(Plain, Operators):
    """A value. Nodes made by ``node(value)`` are roots; see MessageNode for results.

    ``==`` compares values and gives a plain bool; ``hash`` goes by identity. ``bool``, ``len``, ``in``, ``float``
    and ``int`` give plain values, which leave the graph; everything else gives linked nodes.
    """

    __slots__ = ("__weakref__", "_about", "_children", "_data", "_feedback", "_name", "_order")

    trainable = False
    _parents: tuple[Node, ...] = ()
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
        if trainable:
            raise TypeError("a Node cannot be trainable; use ParameterNode, or node(..., trainable=True)")
        if isinstance(value, Node):
            name = name or value.base_name
            value = value._data
        self._data: Any = value
        self._order = tick()
        self._children: Any = None
        self._feedback: dict[Any, list[Any]] | None = None
        self._name: Any = new_name(name or type(value).__name__)
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
            self._name = name = new_name(name or type(self._data).__name__)
        return f"{name[0]}:{name[1]}"

    @property
    def base_name(self) -> str:
        return self.name.rpartition(":")[0]

    @property
    def py_name(self) -> str:
        """The name as a Python identifier, as optimizers show it."""
        name = self._name
        if type(name) is not tuple:
            self._name = name = new_name(name or type(self._data).__name__)
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
    def hidden_dependencies(self) -> set[Node]:
        """Nodes that went into the value without being inputs; ``backward`` follows them too."""
        return set()

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
        levels: dict[int, int] = {}
        for each in ancestors(self):
            levels[id(each)] = max((levels[id(parent)] + 1 for parent in each.parents), default=0)
        return levels[id(self)]

    @property
    def description(self) -> str:
        text = self._about[0] if self._about is not None else None
        if not text:
            return f"[{self._title}] {self._says}"
        return text if TITLE.match(text) else f"[{self._title}] {text.strip()}"

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
        return {each for each in ancestors(self, hidden=False) if each.trainable}

    @property
    def expandable_dependencies(self) -> set[Node]:
        """The results among the ancestors that hide dependencies."""
        return {each for each in ancestors(self, hidden=False) if each.hidden_dependencies}

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
        """Hand ``feedback`` to the parameters this node came from; return a drawing if ``visualize``.

        Outputs that share nodes may each have their own feedback. A second call on one output raises
        BackwardError unless the call before had ``retain_graph=True``.
        """
        from trace_robot.trace.propagators import propagate

        propagate(self, feedback, propagator, retain_graph)
        if not visualize:
            return None
        from trace_robot.trace.visualize import draw

        return draw(self, skip_clones=simple_visualization, upwards=reverse_plot, max_chars=print_limit)

    def _set(self, value: Any) -> None:
        """Replace the value; no record is made of it."""
        self._data = value._data if isinstance(value, Node) else value

    def detach(self) -> Node:
        """Return a copy without parents and children."""
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Node:
        made = self._alone(copy.deepcopy(self._data, memo))
        memo[id(self)] = made
        return made

    def __copy__(self) -> Node:
        return self._alone(self._data)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._data, self.base_name, self._about)

    def _alone(self, data: Any) -> Node:
        """Return a node like this one that holds ``data``, without parents and children."""
        return _restore(type(self), data, self.base_name, self._about)

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return f"{self._title}: ({self.name}, dtype={type(self._data)}, data={self._data})"

    __repr__ = __str__


def constant(data: Any, base: str | None = None) -> Node:
    """Return a root made on the way; it takes its number when its name is first asked for."""
    made: Node = make(Node)
    made._data = data
    made._order = tick()
    made._name = base
    made._children = made._feedback = made._about = None
    return made


def adopt(child: Node, parents: tuple[Node, ...]) -> None:
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


def new_name(base: str) -> tuple[str, int]:
    return base, names(base).take()


def _restore(kind: type[Node], data: Any, base: str, spec: About | None) -> Node:
    made: Node = make(kind)
    made._data = data
    made._order = tick()
    made._name = new_name(base)
    made._children = made._feedback = None
    made._about = spec
    return made


_by_order = attrgetter("_order")


def ancestors(*outputs: Node, hidden: bool = True) -> list[Node]:
    """Return ``outputs`` and all nodes they came from, parents first; hidden dependencies may be left out."""
    nodes = list({id(each): each for each in outputs}.values())
    seen = {id(each) for each in nodes}
    for each in nodes:  # which grows on the way
        for parent in each._parents if hidden else each.parents:
            if id(parent) not in seen:
                seen.add(id(parent))
                nodes.append(parent)
    nodes.sort(key=_by_order)
    return nodes
