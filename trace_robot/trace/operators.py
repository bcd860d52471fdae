"""The traced operators by name, and Node's own operators, attached to it here.

``add(x, y)`` and the others (see operator_table.py) take nodes or plain values and give one linked node.
In-place changes of lists, dicts and sets come as functions that give a changed copy (``list_append``,
``dict_update``, ...): a node's value that changed later would no longer be what its children were made from.

All of them end in ``apply``, the one place where a function of plain values becomes an operation of nodes;
the two-sided operators of Node have a shorter way of their own to the same result.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from types import FunctionType, MethodType
from typing import Any

from trace_robot.trace.call import Binder, Call
from trace_robot.trace.errors import failure, original
from trace_robot.trace.module import ParameterContainer
from trace_robot.trace.node_types import MessageNode, Node, link, unlinked
from trace_robot.trace.operation import Operation
from trace_robot.trace.operator_table import (
    BINARY,
    COMPARISONS,
    STRING_METHODS,
    TABLE,
    UNARY,
    use_model,
)
from trace_robot.trace.state import STOPPED, new_scope, state
from trace_robot.trace.wrapping import lift

__all__ = ["Operator", "call", "use_model", *(name for name, _, _ in TABLE)]

_state_of = state.get  # bound at import, as in node.py


def apply(
    op: Operation, function: Callable[..., Any], keys: tuple[str, ...], parents: tuple[Node, ...]
) -> MessageNode:
    """Return ``function`` of the values of ``parents`` as a node linked to them.

    If the result is a node itself, as an attribute may be, its value is taken and it is a hidden dependency.

    Args:
        op: what the result's name and description come from.
        function: takes the values by position.
        keys: names of the inputs.
        parents: the inputs; inside a bundle they count as read.

    Raises:
        ExecutionError: ``function`` raised; its exception is the cause.
    """
    scope = _state_of()
    if scope is not None:
        for parent in parents:
            scope.read(parent)
    try:
        data = function(*[parent._data for parent in parents])
    except Exception as error:  # whatever user code raises; not KeyboardInterrupt and SystemExit
        raise failure(error, op, keys, parents) from original(error)
    if isinstance(data, Node):
        if scope is not None:
            scope.read(data)
        parents = (*parents, data)
        data = data._data
    return unlinked(data, op) if scope is STOPPED else link(data, op, keys, parents)


class Operator:
    """A traced operator: call it with nodes or plain values."""

    __slots__ = ("binder", "function", "operation")

    def __init__(self, name: str, function: Callable[..., Any], doc: str) -> None:
        self.binder = Binder(function)
        self.function = function
        self.operation = Operation(name, f"[{name}] {doc}", keys=self.binder.positional, function=function)

    @property
    def name(self) -> str:
        return self.operation.base

    @property
    def description(self) -> str:
        return self.operation.description

    def __call__(self, /, *args: Any, **kwargs: Any) -> MessageNode:
        keys, values, by_position, keywords = self.binder.bind(args, kwargs)
        parents = tuple(lift(value, key) for key, value in zip(keys, values, strict=True))
        return apply(self.operation, _by_position(self.function, by_position, keywords), keys, parents)

    def __repr__(self) -> str:
        return f"<operator {self.name}>"


def _by_position(
    function: Callable[..., Any], by_position: int, keywords: tuple[str, ...]
) -> Callable[..., Any]:
    """Return ``function`` with all arguments by position, as ``apply`` gives them."""
    if not keywords:
        return function
    return lambda *values: function(
        *values[:by_position], **dict(zip(keywords, values[by_position:], strict=True))
    )


OPERATORS = {name: Operator(name, function, doc) for name, function, doc in TABLE}


def __getattr__(name: str) -> Operator:  # of this module (PEP 562): ``operators.add``
    try:
        return OPERATORS[name]
    except KeyError:
        raise AttributeError(f"no operator {name!r}; known: {', '.join(sorted(OPERATORS))}") from None


_CALL = Operation("call", "[call] the result of calling fun with the arguments")
_any_signature = Binder(lambda *args, **kwargs: None)


def call(fun: Any, *args: Any, **kwargs: Any) -> MessageNode:
    """Call the function that a node holds, as ``function_node(x)`` does.

    Functions written in Python get nodes, built-in ones plain values. What the function reads besides its
    arguments are hidden dependencies of the result.

    Args:
        fun: a node that holds a function, or the function.
        args: nodes or plain values.
        kwargs: nodes or plain values.
    """
    function = lift(fun, "fun")
    names, values, _, keywords = _any_signature.bind(args, kwargs)
    parents = [lift(value, name) for name, value in zip(names, values, strict=True)]
    takes_nodes = _is_python(function._data)
    arguments: list[Any] = list(parents) if takes_nodes else [parent._data for parent in parents]
    outer = _state_of()
    if outer is not None:
        for parent in (function, *parents):
            outer.read(parent)
    named = dict(zip(keywords, arguments[len(args) :], strict=True))
    scope = STOPPED if outer is STOPPED else new_scope()
    running = Call(_CALL, ("fun", *names), (function, *parents), scope)
    return running.call(function._data, arguments[: len(args)], named)  # type: ignore[no-any-return]


def _is_python(function: Any) -> bool:
    """Return whether ``function`` is written in Python or traced itself."""
    if isinstance(function, MethodType):
        return _is_python(function.__func__)
    if isinstance(function, (FunctionType, ParameterContainer)):
        return True
    calls = (vars(kind).get("__call__") for kind in type(function).__mro__)
    return any(isinstance(method, FunctionType) for method in calls)


def _binary(op: Operation, function: Callable[[Any, Any], Any], text_op: Operation | None = None) -> Any:
    """Return the method of a two-sided operator.

    ``text_op`` is the operation if the left operand is a text.
    """
    keys = op.keys

    # The commonest operation of all, so it does by hand what Operator and apply do in general: no binding of
    # arguments, no scope, no list of values. Whatever is not the plain case of tracing at top level goes to
    # ``apply``.
    def method(self: Node, other: Any) -> MessageNode:
        if not isinstance(other, Node):
            other = lift(other)
        this_op = op if text_op is None or type(self._data) is not str else text_op
        if _state_of() is not None:
            return apply(this_op, function, keys, (self, other))
        try:
            data = function(self._data, other._data)
        except Exception as error:  # as in apply
            raise failure(error, this_op, keys, (self, other)) from original(error)
        if isinstance(data, Node):
            return link(data._data, this_op, keys, (self, other, data))
        return link(data, this_op, keys, (self, other))

    return method


def _reflected(method: Callable[[Node, Any], MessageNode]) -> Any:
    # The left operand is lifted first: it becomes x, and the node y, in code as on paper.
    def reflected(self: Node, other: Any) -> MessageNode:
        return method(lift(other), self)

    return reflected


def _unary(operator: Operator) -> Any:
    def method(self: Node) -> MessageNode:
        return apply(operator.operation, operator.function, operator.operation.keys, (self,))

    return method


def _named(operator: Operator) -> Any:
    def method(self: Node, *args: Any, **kwargs: Any) -> MessageNode:
        return operator(self, *args, **kwargs)

    return method


_getitem = _binary(OPERATORS["getitem"].operation, lambda x, index: x[index])
_getattr = _binary(OPERATORS["node_getattr"].operation, getattr)
_next = OPERATORS["next_"].operation


def iterate(x: Any) -> Iterator[Any]:
    """Return an iterator over the items of a node, as nodes linked to it.

    Items are the keys of a dict, the characters of a text, the rows of an array.
    """
    container = lift(x)
    value = container._data
    if isinstance(value, dict):
        container = OPERATORS["keys"](container)
    elif isinstance(value, (set, frozenset)):
        container = OPERATORS["to_list"](container)
    elif not hasattr(value, "__getitem__"):
        return _drain(container)
    return (container[index] for index in range(len(container._data)))


def _drain(holder: Node) -> Iterator[Any]:
    try:
        source = iter(holder._data)
    except TypeError as error:
        raise failure(error, _next, ("x",), (holder,)) from error
    return (_linked_item(item, holder) for item in source)


def _linked_item(item: Any, holder: Node) -> MessageNode:
    return apply(_next, lambda _: item, ("x",), (holder,))


async def _aiter(self: Node) -> AsyncIterator[MessageNode]:
    """Yield the items of an asynchronous iterator as nodes linked to it."""
    async for item in self._data:
        yield _linked_item(item, self)


class Entries:
    """The (key, value) pairs of a node that holds a dict, both as linked nodes."""

    __slots__ = ("_holder",)

    def __init__(self, holder: Node) -> None:
        self._holder = holder

    def __len__(self) -> int:
        return len(self._holder)

    def __iter__(self) -> Iterator[tuple[Node, Node]]:
        return ((key, self._holder[key]) for key in OPERATORS["keys"](self._holder))


def _attribute(self: Node, name: str) -> Any:
    """Return an attribute of the value, linked, where Node has none.

    Methods of texts, dicts and lists that are operators of the table become those operators, so that the
    graph shows ``lower(x)`` and not the call of an attribute.
    """
    value = self._data
    # Underscored names are never the value's: copy, pickle and numpy probe objects for such protocols and
    # would take the value's answer for the node's.
    if name.startswith("_") or not hasattr(value, name):
        raise AttributeError(f"a node of {type(value).__name__!r} has no attribute {name!r}")
    if isinstance(value, str):
        if name in STRING_METHODS:
            return lambda *args, **kwargs: OPERATORS[name](self, *args, **kwargs)
        if name == "join":
            return lambda texts: OPERATORS["join"](self, *texts)
    if isinstance(value, dict) and name in ("items", "keys", "values"):
        return lambda: Entries(self) if name == "items" else OPERATORS[name](self)
    if name == "pop" and isinstance(value, (dict, list)):
        return lambda *args: OPERATORS["pop"](self, *args)
    return _getattr(self, name)


def _call_method(self: Node, name: str, /, *args: Any, **kwargs: Any) -> MessageNode:
    return call(_getattr(self, name), *args, **kwargs)


# numpy's own dispatch protocols (NEP 13 and NEP 18): ``np.sin(node)`` and ``array + node`` arrive here.
def _array_ufunc(self: Node, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
    function = ufunc if method == "__call__" else getattr(ufunc, method)
    known = _UFUNC_NAMES.get(ufunc.__name__) if method == "__call__" and not kwargs else None
    name = known or ufunc.__name__ + ("" if method == "__call__" else f"_{method}")
    return _apply_numpy(name, function, args, kwargs)


def _array_function(self: Node, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    return _apply_numpy(function.__name__, function, args, kwargs)


# ufuncs whose name differs from the operator's: ``array / node`` should read like ``node / array``
_UFUNC_NAMES = {
    "true_divide": "divide",
    "remainder": "mod",
    "negative": "neg",
    "positive": "pos",
    "absolute": "abs",
}
_numpy_operations: dict[str, Operation] = {}  # one Operation per function, made when it is first met


def _apply_numpy(name: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> MessageNode:
    op = _numpy_operations.get(name)
    if op is None:
        known = OPERATORS.get(name)
        doc = f"[{name}] numpy's {name} of the arguments"
        op = known.operation if known is not None else Operation(name, doc, function=function)
        _numpy_operations[name] = op
    names, values, by_position, keywords = _any_signature.bind(args, kwargs)
    if len(values) == len(op.keys):
        names = op.keys
    parents = tuple(lift(value, key) for key, value in zip(names, values, strict=True))
    return apply(op, _by_position(function, by_position, keywords), names, parents)


def _attach_operators() -> None:
    """Give Node its operators, as ``node.AttachedMethods`` declares them."""
    methods: dict[str, Any] = {}
    for short, (name, function) in BINARY.items():
        text_op = OPERATORS["concat"].operation if name == "add" else None
        method = _binary(OPERATORS[name].operation, function, text_op)
        methods[f"__{short}__"] = method
        methods[f"__r{short}__"] = _reflected(method)
    for name, function in COMPARISONS.items():
        methods[f"__{name}__"] = _binary(OPERATORS[name].operation, function)
    methods.update({f"__{name}__": _unary(OPERATORS[name]) for name in UNARY})
    methods.update({name: _named(OPERATORS[name]) for name in ("clone", "eq", "neq")})
    methods.update(
        __round__=_named(OPERATORS["round"]),
        __getitem__=_getitem,
        __iter__=iterate,
        __aiter__=_aiter,
        __call__=call,
        __getattr__=_attribute,
        __array_ufunc__=_array_ufunc,
        __array_function__=_array_function,
        getattr=lambda self, key: _getattr(self, key),
        call=_call_method,
        len=_unary(OPERATORS["len_"]),
        append=lambda self, *args, **kwargs: _call_method(self, "append", *args, **kwargs),
    )
    for name, method in methods.items():
        setattr(Node, name, method)


_attach_operators()
