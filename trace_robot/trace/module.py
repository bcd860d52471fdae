"""Module and other containers of parameters, as in torch.nn.

    NodeContainer         an object whose attributes may hold nodes
    └── ParameterContainer    finds the parameters in its attributes
        ├── Module                has ``forward``, ``save`` and ``load``; ``@model`` makes one of any class
        ├── TrainableFunction     what a Bundle is to this module
        └── Seq, Map              a list and a dict

``apply_op`` and ``to_data`` walk through containers of nodes leaf by leaf.

A bundle in a class body is shared by all instances, as any function there. Reading ``instance.act`` calls the bundle's
``__get__`` (the descriptor protocol), which looks in ``Methods`` for the copy that is bound to the instance.
"""

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

_KEY = "__trace_robot_methods__"

F = TypeVar("F", bound="TrainableFunction")


class Methods:
    """The bound methods of an instance, kept in the instance's own ``__dict__``.

    There they die with the instance, without a registry, and ``copy``, ``deepcopy`` and ``pickle`` come by: what they
    take along is the source of the parameters, not the nodes with their feedback and graphs.

    node: the instance, the first input of every method.
    bound: key -> (the bundle in the class, its copy for the instance).
    values: key -> source, of methods that were copied with the instance and not yet used.
    """

    __slots__ = ("bound", "node", "values")

    def __init__(self, instance: Any = None, values: dict[str, str] | None = None) -> None:
        self.node = Node(instance, name="self")
        self.bound: dict[str, tuple[TrainableFunction, TrainableFunction]] = {}
        self.values = dict(values or {})

    def method(self, function: F, key: str) -> F:
        """Return ``function`` bound to the instance, the same object at every call.

        Args:
            function: the bundle in the class.
            key: module and qualified name of the function. Not its attribute's name: a method and the one that
                it overrides in a base class have one of those, and two parameters.
        """
        known = self.bound.get(key)
        # The function itself is compared too: a class that was defined again, as in a notebook, has new ones.
        if known is not None and known[0] is function:
            return known[1]  # type: ignore[return-value]
        method = function.bound_to(self.node)
        if method.parameter is not None and key in self.values:
            method.parameter._set(self.values.pop(key))
        self.bound[key] = function, method
        return method  # type: ignore[return-value]

    def sources(self) -> dict[str, str]:
        """Return the present source of every method that has a parameter."""
        used = {
            key: method.parameter._data
            for key, (_, method) in self.bound.items()
            if method.parameter is not None
        }
        return {**self.values, **used}

    def __copy__(self) -> Methods:
        return Methods(None, self.sources())

    def __deepcopy__(self, memo: dict[int, Any]) -> Methods:
        return Methods(None, self.sources())

    def __reduce__(self) -> tuple[Any, ...]:
        return Methods, (None, self.sources())


def methods_of(instance: Any) -> Methods:
    """Return the Methods of an instance, new ones if it has no ``__dict__``."""
    namespace = getattr(instance, "__dict__", {})
    methods = namespace.get(_KEY)
    if methods is None:
        methods = Methods(instance)
    elif (
        methods.node._data is not instance
    ):  # came with a copy or a pickle, or from the base class of a class
        methods = Methods(instance, methods.sources())
    else:
        return methods  # type: ignore[no-any-return]
    try:
        namespace[_KEY] = methods
    except TypeError:  # a class: its namespace is read-only
        setattr(instance, _KEY, methods)
    return methods


T = TypeVar("T")


class NodeContainer:
    """An object whose attributes may hold nodes, for ``apply_op`` and ``to_data``."""


class ParameterContainer(NodeContainer):
    """An object whose attributes may hold parameters, or other containers of them."""

    def parameters(self) -> list[ParameterNode]:
        """Return every parameter in here once, also those of containers within."""
        parameters: dict[int, ParameterNode] = {}  # by identity, since ``==`` of nodes compares values
        for entry in self.parameters_dict().values():
            inner = [entry] if isinstance(entry, ParameterNode) else entry.parameters()
            parameters.update((id(parameter), parameter) for parameter in inner)
        return list(parameters.values())

    def parameters_dict(self) -> dict[str, Any]:
        """Return the parameters and containers of parameters among the attributes.

        They are sorted by name; functions that are not trainable are left out.
        """
        # The namespaces are read instead of ``dir`` and ``getattr``, so that no property of a user's class is
        # run.
        namespaces = [*map(vars, type(self).__mro__), getattr(self, "__dict__", {})]
        names = {name for space in namespaces for name, value in space.items() if _is_of_interest(value)}
        # But then getattr: a bundle in the class stands for the one of this instance.
        entries = ((name, _entry(getattr(self, name))) for name in sorted(names))
        return {name: entry for name, entry in entries if entry is not None}

    def _set(self, values: Mapping[str, Any] | ParameterContainer) -> None:
        """Give the parameters the values of those of the same names."""
        new_values = values.parameters_dict() if isinstance(values, ParameterContainer) else values
        mine = self.parameters_dict()
        missing = sorted(mine.keys() - new_values.keys())
        if missing:
            raise UnknownNameError(f"no value for the parameters {', '.join(missing)}")
        for name, value in new_values.items():
            if name in mine:
                mine[name]._set(value)
            else:
                setattr(self, name, value)


def _is_of_interest(value: Any) -> bool:
    """Return whether a value in a namespace is a parameter, or may hold some."""
    held = value.__func__ if isinstance(value, staticmethod) else value
    return isinstance(held, _OF_INTEREST)


def _entry(value: Any) -> Any:
    """Return a function's parameter, None if it has none, and any other value itself."""
    return value.parameter if isinstance(value, TrainableFunction) else value


class TrainableFunction(ParameterContainer):
    """A function whose source may be a parameter. Bundle is the only one.

    parameter: the source, None if it is not trainable.
    """

    # Declared here so that this module and methods.py know what a bundle can do without importing bundle.py.
    @property
    def parameter(self) -> ParameterNode | None:
        raise NotImplementedError

    def bound_to(self, instance: Node) -> TrainableFunction:
        """Return a copy with its own parameter and ``instance`` as its first argument."""
        raise NotImplementedError


class Module(ParameterContainer):
    """An object with parameters. Subclasses define ``forward``."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the result of a call of the module.

        Args:
            args: those of the call.
            kwargs: those of the call.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def save(self, file_name: str | os.PathLike[str]) -> None:
        """Write the values of the parameters as JSON, making the folder if needed.

        JSON and not pickle, as in the published package: a stored agent can be read, and loading one runs no code.

        Raises:
            TypeError: a value is not made of numbers, texts, lists, dicts, tuples, sets, bytes and arrays.
        """
        path = Path(file_name)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"parameters": _values(self)}, indent=2, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")

    def load(self, file_name: str | os.PathLike[str]) -> None:
        """Set the parameters to what ``save`` wrote, and add those that are new.

        Raises:
            UnknownNameError: a parameter of this module is not in the file.
        """
        stored = json.loads(Path(file_name).read_text(encoding="utf-8"))
        _restore(self, stored["parameters"])


def model(cls: type[T]) -> type[T]:
    """Return the class as a Module too, under its own name."""
    body = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    bases = (cls,) if issubclass(cls, Module) else (cls, Module)
    module: type[T] = new_class(cls.__name__, bases, exec_body=lambda namespace: namespace.update(body))
    return module


def _values(container: ParameterContainer) -> dict[str, Any]:
    return {
        name: {"value": encode(entry._data)}
        if isinstance(entry, ParameterNode)
        else {"inside": _values(entry)}
        for name, entry in _stable(container).items()
    }


def _restore(container: ParameterContainer, stored: dict[str, Any]) -> None:
    mine = _stable(container)
    missing = sorted(mine.keys() - stored.keys())
    if missing:
        raise UnknownNameError(f"no value for the parameters {', '.join(missing)}")
    for name, entry in mine.items():
        if isinstance(entry, ParameterNode):
            entry._set(decode(stored[name]["value"]))
        else:
            _restore(entry, stored[name]["inside"])
    for name in stored.keys() - mine.keys():
        if "value" in stored[name] and name.isidentifier() and not hasattr(container, name):
            setattr(container, name, ParameterNode(decode(stored[name]["value"]), name=name))


def _stable(container: ParameterContainer) -> dict[str, Any]:
    """Return the entries under names that are the same in every process.

    Seq and Map call parameters ``base:number``, and the number counts the nodes made before. In a file they are
    ``base``, ``base#2`` and so on.
    """
    entries: dict[str, Any] = {}
    for name, entry in container.parameters_dict().items():
        key = entry.base_name if isinstance(entry, ParameterNode) and name == entry.name else name
        number = 1
        while key in entries:
            number += 1
            key = f"{key.rpartition('#')[0] or key}#{number}"
        entries[key] = entry
    return entries


_OF_INTEREST = (ParameterNode, ParameterContainer)


class Seq(UserList[Any], ParameterContainer):
    """A list of nodes and containers: ``Seq(a, b)`` or ``Seq([a, b])``."""

    def __init__(self, *items: Any) -> None:
        only = items[0] if len(items) == 1 else items
        is_sequence = hasattr(only, "__len__") and hasattr(only, "__getitem__") and not isinstance(only, Node)
        super().__init__(only if is_sequence else items)

    def parameters_dict(self) -> dict[str, Any]:
        """Return the parameters by their names, and the containers by their indices."""
        return _named((str(index), item) for index, item in enumerate(self.data))


class Map(UserDict[Any, Any], ParameterContainer):
    """A dict of nodes and containers, whose keys may be parameters too."""

    def __init__(self, mapping: Mapping[Any, Any] | None = None) -> None:
        super().__init__(mapping or {})

    def parameters_dict(self) -> dict[str, Any]:
        """Return the parameters by their names, and the containers by their keys."""
        if any(isinstance(key, ParameterContainer) for key in self.data):
            raise TypeError("a key of a Map must not be a container of parameters")
        values = _named((str(_plain(key)), item) for key, item in self.data.items())
        keys = {key.name: key for key in self.data if isinstance(key, ParameterNode)}
        return {**values, **keys}


def _plain(key: Any) -> Any:
    return key._data if isinstance(key, Node) else key


def _named(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    entries = ((name, _entry(item)) for name, item in items if isinstance(item, _OF_INTEREST))
    return {
        entry.name if isinstance(entry, ParameterNode) else name: entry
        for name, entry in entries
        if entry is not None
    }


def to_data(value: Any) -> Any:
    """Return ``value`` with every node in it replaced by its value.

    Lists, tuples, sets, dicts and the attributes of NodeContainers are gone through.
    """
    # Unlike ``wrapping.plain`` it takes subclasses, looks into objects, and counts as a read of the nodes.
    if isinstance(value, Node):
        return value.data
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a namedtuple
        return type(value)(*map(to_data, value))
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value)(map(to_data, value))
    if isinstance(value, dict):
        return {key: to_data(item) for key, item in value.items()}
    if isinstance(value, NodeContainer):
        duplicate = copy.copy(value)
        for name, item in vars(value).items():
            setattr(duplicate, name, to_data(item))
        return duplicate
    return value


def apply_op(op: Callable[..., Any], output: Any, *args: Any, **kwargs: Any) -> Any:
    """Apply an operator to the leaves of containers (broadcasting).

    Args:
        op: takes nodes and returns a node.
        output: a container of nodes. Lists, dicts and NodeContainers are changed in place.
        args: containers of ``output``'s type and shape, or nodes, which are used for every leaf.
        kwargs: the same, by name.

    Returns:
        ``output``, or a new tuple if it is one, with the results in the place of its leaves.

    Raises:
        TypeError: an argument is neither a node nor of ``output``'s type.
        ValueError: a sequence has another length than ``output``.
    """
    inputs = (*args, *kwargs.values())
    if all(isinstance(argument, Node) for argument in inputs):
        return op(*args, **kwargs)
    for argument in inputs:
        if not isinstance(argument, Node) and type(argument) is not type(output):
            raise TypeError(f"arguments must be nodes or {type(output).__name__}, got {argument!r}")

    def apply_to(part: Callable[[Any], Any], inner: Any) -> Any:
        # ``part`` takes the item for ``inner`` out of a container
        parts = [item if isinstance(item, Node) else part(item) for item in args]
        named = {key: item if isinstance(item, Node) else part(item) for key, item in kwargs.items()}
        return apply_op(op, inner, *parts, **named)

    if isinstance(output, (list, tuple, UserList)):
        if any(not isinstance(argument, Node) and len(argument) != len(output) for argument in inputs):
            raise ValueError(f"arguments must all have {len(output)} items, as the output has")
        items = [apply_to(itemgetter(index), inner) for index, inner in enumerate(output)]
        if isinstance(output, tuple):
            return tuple(items)
        output[:] = items
    elif isinstance(output, (dict, UserDict)):
        for key, inner in list(output.items()):
            output[key] = apply_to(itemgetter(key), inner)
    elif isinstance(output, NodeContainer):
        for name, inner in list(vars(output).items()):
            setattr(output, name, apply_to(attrgetter(name), inner))
    return output
