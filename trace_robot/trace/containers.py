"""Things that hold nodes: modules, sequences and maps of parameters."""

from __future__ import annotations

from collections import UserDict, UserList
from collections.abc import Iterable, Mapping
from typing import Any

from trace_robot.errors import UnknownNameError
from trace_robot.trace.nodes import Node, ParameterNode


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


class TrainableFunction(ParameterContainer):
    """A function; ``parameter`` is its source, None if it is not trainable."""

    @property
    def parameter(self) -> ParameterNode | None:
        raise NotImplementedError


_OF_INTEREST = (ParameterNode, ParameterContainer)


def _is_of_interest(value: Any) -> bool:
    return isinstance(
        getattr(value, "__func__", value) if isinstance(value, staticmethod) else value, _OF_INTEREST
    )


def _entry(value: Any) -> Any:
    return value.parameter if isinstance(value, TrainableFunction) else value


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
