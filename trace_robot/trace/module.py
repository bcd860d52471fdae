"""Modules: objects with parameters that can be saved as text."""

from __future__ import annotations

import copy
import json
import os
from collections import UserDict, UserList
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter, itemgetter
from pathlib import Path
from types import new_class
from typing import Any, TypeVar

from trace_robot.errors import UnknownNameError
from trace_robot.trace.node_types import Node, ParameterNode
from trace_robot.trace.serialization import decode, encode

T = TypeVar("T")


class NodeContainer:
    """An object whose attributes may hold nodes; ``apply_op`` and ``to_data`` look into it."""


class ParameterContainer(NodeContainer):
    """An object whose attributes may hold parameters, or other containers of them."""

    def parameters(self) -> list[ParameterNode]:
        """Return every parameter in here once, also those of containers within."""
        found: dict[int, ParameterNode] = {}
        for each in self.parameters_dict().values():
            inner = [each] if isinstance(each, ParameterNode) else each.parameters()
            found.update((id(parameter), parameter) for parameter in inner)
        return list(found.values())

    def parameters_dict(self) -> dict[str, Any]:
        """Return the parameters and the containers of parameters among the attributes, sorted by name."""
        spaces = [*map(vars, type(self).__mro__), getattr(self, "__dict__", {})]
        names = {name for space in spaces for name, each in space.items() if _is_of_interest(each)}
        entries = ((name, _entry(getattr(self, name))) for name in sorted(names))
        return {name: each for name, each in entries if each is not None}

    def _set(self, values: Mapping[str, Any] | ParameterContainer) -> None:
        """Give the parameters in here the values of those of the same names, which must all be there."""
        given = values.parameters_dict() if isinstance(values, ParameterContainer) else values
        mine = self.parameters_dict()
        missing = sorted(mine.keys() - given.keys())
        if missing:
            raise UnknownNameError(f"no value for the parameters {', '.join(missing)}")
        for name, value in given.items():
            if name in mine:
                mine[name]._set(value)
            else:
                setattr(self, name, value)


def _is_of_interest(value: Any) -> bool:
    return isinstance(
        getattr(value, "__func__", value) if isinstance(value, staticmethod) else value, _OF_INTEREST
    )


def _entry(value: Any) -> Any:
    return value.parameter if isinstance(value, TrainableFunction) else value


class TrainableFunction(ParameterContainer):
    """A function; ``parameter`` is its source, None if it is not trainable."""

    @property
    def parameter(self) -> ParameterNode | None:
        raise NotImplementedError

    def bound_to(self, instance: Node) -> TrainableFunction:
        """Return a copy with its own parameter and ``instance`` as its first argument."""
        raise NotImplementedError


class Module(ParameterContainer):
    """An object with parameters; subclasses define ``forward``."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def save(self, file_name: str | os.PathLike[str]) -> None:
        """Write the values of the parameters as JSON, making the folder if needed."""
        path = Path(file_name)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"parameters": _values(self)}, indent=2, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")

    def load(self, file_name: str | os.PathLike[str]) -> None:
        """Set the parameters to what ``save`` wrote and add those that are new; UnknownNameError if one is missing."""
        stored = json.loads(Path(file_name).read_text(encoding="utf-8"))
        _restore(self, stored["parameters"])


def model(cls: type[T]) -> type[T]:
    """Return the class as a Module too, under its own name."""
    body = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    bases = (cls,) if issubclass(cls, Module) else (cls, Module)
    made: type[T] = new_class(cls.__name__, bases, exec_body=lambda namespace: namespace.update(body))
    return made


def _values(container: ParameterContainer) -> dict[str, Any]:
    return {
        name: {"value": encode(each._data)} if isinstance(each, ParameterNode) else {"inside": _values(each)}
        for name, each in _stable(container).items()
    }


def _restore(container: ParameterContainer, stored: dict[str, Any]) -> None:
    mine = _stable(container)
    missing = sorted(mine.keys() - stored.keys())
    if missing:
        raise UnknownNameError(f"no value for the parameters {', '.join(missing)}")
    for name, each in mine.items():
        if isinstance(each, ParameterNode):
            each._set(decode(stored[name]["value"]))
        else:
            _restore(each, stored[name]["inside"])
    for name in stored.keys() - mine.keys():
        if "value" in stored[name] and name.isidentifier() and not hasattr(container, name):
            setattr(container, name, ParameterNode(decode(stored[name]["value"]), name=name))


def _stable(container: ParameterContainer) -> dict[str, Any]:
    """Return the entries under names that do not depend on how many nodes were made before."""
    named: dict[str, Any] = {}
    for name, each in container.parameters_dict().items():
        key = each.base_name if isinstance(each, ParameterNode) and name == each.name else name
        number = 1
        while key in named:
            number += 1
            key = f"{key.rpartition('#')[0] or key}#{number}"
        named[key] = each
    return named


_OF_INTEREST = (ParameterNode, ParameterContainer)


class Seq(UserList[Any], ParameterContainer):
    """A list of nodes and containers; ``Seq(a, b)`` or ``Seq([a, b])``."""

    def __init__(self, *items: Any) -> None:
        only = items[0] if len(items) == 1 else items
        is_sequence = hasattr(only, "__len__") and hasattr(only, "__getitem__") and not isinstance(only, Node)
        super().__init__(only if is_sequence else items)

    def parameters_dict(self) -> dict[str, Any]:
        return _named((str(index), each) for index, each in enumerate(self.data))


class Map(UserDict[Any, Any], ParameterContainer):
    """A dict of nodes and containers; its keys may be parameters too."""

    def __init__(self, mapping: Mapping[Any, Any] | None = None) -> None:
        super().__init__(mapping or {})

    def parameters_dict(self) -> dict[str, Any]:
        if any(isinstance(key, ParameterContainer) for key in self.data):
            raise TypeError("a key of a Map must not be a container of parameters")
        values = _named((str(_plain(key)), each) for key, each in self.data.items())
        keys = {key.name: key for key in self.data if isinstance(key, ParameterNode)}
        return {**values, **keys}


def _plain(key: Any) -> Any:
    return key._data if isinstance(key, Node) else key


def _named(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found = ((name, _entry(each)) for name, each in items if isinstance(each, _OF_INTEREST))
    named: dict[str, Any] = {}
    for name, each in found:
        if each is not None:
            named[each.name if isinstance(each, ParameterNode) else name] = each
    return named


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
