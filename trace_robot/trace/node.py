"""Node: a value and the record of how it came to be.

A node knows its parents and, by weak references, its children, so a graph lives as long as its output is
referenced. The numbers in names, levels and descriptions are worked out when they are asked for.

The class is put together from three places: ``PlainMethods`` answers Python's built-in functions with plain
values (builtins.py), the operators are attached by operators.py and ``backward`` by propagators.py. Those
modules make nodes themselves and so must stand above this one; ``trace_robot.trace`` imports them all, so a
Node is always complete.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from operator import attrgetter
from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import ref

from trace_robot.trace.builtins import PlainMethods
from trace_robot.trace.operation import TITLE, identifier, names
from trace_robot.trace.state import state, tick

if TYPE_CHECKING:
    from trace_robot.trace.node_types import MessageNode

About = tuple[str | None, Any, Mapping[str, Any] | None]  # description, constraint, info

CONTAINERS = frozenset((list, tuple, dict, set, frozenset))  # exact types whose items may be nodes

# Bound at import: one global look-up instead of a global and an attribute, in a property that every read goes
# through.
_state_of = state.get

# ``make(Node)`` skips ``__init__``. The engine's own constructors (constant, link, unlinked, restored) fill
# the slots themselves: they know that there is nothing to check, and they run once per operation.
make: Callable[[type], Any] = object.__new__

_children_lock = RLock()
_by_order = attrgetter("_order")


class AttachedMethods:
    """Mix-in of Node: the methods that are attached later, for type checkers."""

    __slots__ = ()

    if TYPE_CHECKING:

        def _unary(self) -> MessageNode: ...
        def _binary(self, other: Any) -> MessageNode: ...

        __neg__ = __pos__ = __abs__ = __invert__ = __floor__ = __ceil__ = __trunc__ = _unary
        __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = __divmod__ = __pow__ = _binary
        __matmul__ = __lshift__ = __rshift__ = __and__ = __or__ = __xor__ = _binary
        __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = __rdivmod__ = _binary
        __rpow__ = __rmatmul__ = __rlshift__ = __rrshift__ = __rand__ = __ror__ = __rxor__ = _binary
        __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = _binary

        def __getattr__(self, name: str) -> Any: ...
        def __call__(self, *args: Any, **kwargs: Any) -> MessageNode: ...
        def __iter__(self) -> Iterator[Any]: ...
        def __aiter__(self) -> AsyncIterator[Any]: ...
        def __round__(self, digits: Any = None) -> MessageNode: ...
        def clone(self) -> MessageNode: ...
        def call(self, name: str, /, *args: Any, **kwargs: Any) -> MessageNode: ...

        def backward(
            self,
            feedback: Any = "",
            propagator: Any = None,
            retain_graph: bool = False,
            visualize: bool = False,
            simple_visualization: bool = True,
            reverse_plot: bool = False,
            print_limit: int = 100,
        ) -> Any: ...


class Node(PlainMethods, AttachedMethods):
    """A traced value. The base class is a root, made by ``node(value)``.

    ``==`` compares values and gives a plain bool; ``hash`` goes by identity. ``bool``, ``len``, ``in``,
    ``float`` and ``int`` give plain values, which leave the graph; everything else gives linked nodes.
    """

    # Slots, because graphs hold a node per operation: no dict each. Most of a node's fields are empty most of
    # the time, so they begin as None and grow only when they are needed:
    #   _data      the value; ``data`` returns it and notes the read
    #   _order     tick of creation; parents have lower ones than their children
    #   _name      (base, number) once a number was taken; before that a base as str, or None for the name of the
    #              value's type. A result has a bare int, or None before: the base is that of its operation.
    #   _children  None, one weak reference, or a list of them behind the length at which it is swept (see adopt)
    #   _feedback  None, or child -> list of feedback
    #   _about     None, or (description, constraint, info) if any of them was given
    __slots__ = ("__weakref__", "_about", "_children", "_data", "_feedback", "_name", "_order")

    # Class attributes that kinds of nodes override with a slot or another constant.
    trainable = False
    _parents: tuple[Node, ...] = ()
    _title = "Node"
    _summary = "a value"

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
        return cls  # ``Node[int]`` in a user's annotations, as the published package allows

    @property
    def data(self) -> Any:
        """The value. A bundle that reads it must have the node as an input."""
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
        base, number = self._numbered()
        return f"{base}:{number}"

    @property
    def base_name(self) -> str:
        return self.name.rpartition(":")[0]

    @property
    def py_name(self) -> str:
        """The name as a Python identifier, as optimizers show it."""
        base, number = self._numbered()
        return f"{identifier(base)}{number}"

    @property
    def id(self) -> str:
        return self.name.rpartition(":")[2]

    def _numbered(self) -> tuple[str, int]:
        """Return (base, number), taking the number now if the node has none yet."""
        name = self._name
        if type(name) is not tuple:
            # Late, because most constants of a rollout are never shown. It is kept, so that the name never
            # changes.
            self._name = name = new_name(name or type(self._data).__name__)
        return name  # type: ignore[no-any-return]

    @property
    def parents(self) -> list[Node]:
        return []

    @property
    def inputs(self) -> dict[str, Node]:
        """The parents by the names of the arguments that they were."""
        return {}

    @property
    def hidden_dependencies(self) -> set[Node]:
        """Nodes that the value depends on without having them as inputs.

        ``backward`` follows them too.
        """
        return set()

    @property
    def children(self) -> list[Node]:
        """The results made from this node that are still referenced somewhere."""
        known = self._children
        if known is None:
            return []
        references = known[1:] if type(known) is list else [known]
        return [child for child in (reference() for reference in references) if child is not None]

    @property
    def is_root(self) -> bool:
        return not self.parents

    @property
    def is_leaf(self) -> bool:
        return not self.children

    @property
    def level(self) -> int:
        """The length of the longest path from a root."""
        levels: dict[int, int] = {}
        for node in ancestors(self):
            levels[id(node)] = max((levels[id(parent)] + 1 for parent in node.parents), default=0)
        return levels[id(self)]

    @property
    def description(self) -> str:
        """``[title] text``, where the title may be that of the kind of node."""
        text = self._about[0] if self._about is not None else None
        if not text:
            return f"[{self._title}] {self._summary}"
        return text if TITLE.match(text) else f"[{self._title}] {text.strip()}"

    @property
    def constraint(self) -> Any:
        return self._about[1] if self._about is not None else None

    @property
    def _constraint(self) -> Any:
        return self.constraint  # the published package's optimizers read this name

    @property
    def info(self) -> Mapping[str, Any] | None:
        return self._about[2] if self._about is not None else None

    @property
    def parameter_dependencies(self) -> set[Node]:
        """The trainable parameters among the ancestors, without hidden ones."""
        return {node for node in ancestors(self, hidden=False) if node.trainable}

    @property
    def expandable_dependencies(self) -> set[Node]:
        """The results among the ancestors that have hidden dependencies."""
        return {node for node in ancestors(self, hidden=False) if node.hidden_dependencies}

    @property
    def feedback(self) -> dict[Any, list[Any]]:
        """What ``backward`` stored: child -> feedback, until ``zero_feedback``."""
        if self._feedback is None:
            self._feedback = {}
        return self._feedback

    def zero_feedback(self) -> None:
        """Forget the stored feedback, and with it the graphs that it holds."""
        self._feedback = None

    def _add_feedback(self, child: Any, feedback: Any) -> None:
        self.feedback.setdefault(child, []).append(feedback)

    def _set(self, value: Any) -> None:
        """Replace the value without a record of it."""
        self._data = value._data if isinstance(value, Node) else value

    def detach(self) -> Node:
        """Return a copy without parents and children."""
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Node:
        duplicate = self._alone(copy.deepcopy(self._data, memo))
        memo[id(self)] = duplicate
        return duplicate

    def __copy__(self) -> Node:
        return self._alone(self._data)

    # Copies and pickles leave the graph: what they would drag along is the whole history of the value.
    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._data, self.base_name, self._about)

    def _alone(self, data: Any) -> Node:
        """Return a node like this one that holds ``data``, without parents and children."""
        return _restore(type(self), data, self.base_name, self._about)

    # A class that defines ``__eq__`` loses its hash. By identity, although ``==`` is by value: nodes are keys
    # of feedback dicts and members of sets as places in a graph; two nodes that hold 1.0 are two places.
    __hash__ = object.__hash__

    def __str__(self) -> str:
        return f"{self._title}: ({self.name}, dtype={type(self._data)}, data={self._data})"

    __repr__ = __str__


def constant(data: Any, base: str | None = None) -> Node:
    """Return a root for a plain value that met a node, such as the 1 of ``x + 1``.

    Args:
        data: the value; not a node, which is not checked.
        base: base of the name, None for the name of the value's type. The number is taken when the name is
        first
            asked for.
    """
    root: Node = make(Node)
    root._data = data
    root._order = tick()
    root._name = base
    root._children = root._feedback = root._about = None
    return root


def adopt(child: Node, parents: tuple[Node, ...]) -> None:
    """Add a weak reference to ``child`` to each of its parents.

    Args:
        child: the new result.
        parents: its inputs and hidden dependencies; a node that stands there twice knows the child twice.
    """
    weak = ref(child)
    # A lock, since threads may use one parameter at once, and growing the field is a read and a write.
    # Reentrant, because the list may trigger the garbage collector, and what that collects may run code that
    # makes nodes.
    with _children_lock:
        for parent in parents:
            known = parent._children
            if known is None:
                parent._children = weak
            elif type(known) is not list:
                parent._children = [8, known, weak]
            else:
                known.append(weak)
                # A parameter has a child per step and most die with their episode. No callbacks of weak
                # references, which would run at every death: the list is swept when it has doubled since the
                # last sweep, amortized O(1).
                if len(known) > known[0]:
                    known[1:] = [reference for reference in known[1:] if reference() is not None]
                    known[0] = 2 * len(known) + 8


def new_name(base: str) -> tuple[str, int]:
    """Return (base, next number)."""
    return base, names(base).take()


def _restore(kind: type[Node], data: Any, base: str, about: About | None) -> Node:
    root: Node = make(kind)
    root._data = data
    root._order = tick()
    root._name = new_name(base)
    root._children = root._feedback = None
    root._about = about
    return root


def ancestors(*outputs: Node, hidden: bool = True) -> list[Node]:
    """Return nodes and all that they depend on, in topological order.

    Parents come first.

    Args:
        outputs: any nodes; one that is given twice counts once.
        hidden: whether hidden dependencies are followed too.
    """
    # Iterative: a rollout of some thousand steps is a path that long, and Python's stack ends at 1,000 frames.
    nodes = list({id(output): output for output in outputs}.values())
    seen = {id(node) for node in nodes}
    for node in nodes:  # which grows on the way
        for parent in node._parents if hidden else node.parents:
            if id(parent) not in seen:
                seen.add(id(parent))
                nodes.append(parent)
    nodes.sort(key=_by_order)
    return nodes
