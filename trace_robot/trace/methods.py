"""Bundles as methods: every instance has its own trainable parameters.

A bundle in a class body is shared by all instances, as any function there. Reading ``instance.act`` calls the
bundle's ``__get__`` (the descriptor protocol), which looks here for the copy that is bound to the instance.
"""

from __future__ import annotations

from typing import Any, TypeVar

from trace_robot.trace.module import TrainableFunction
from trace_robot.trace.node import Node

_KEY = "__trace_robot_methods__"

F = TypeVar("F", bound=TrainableFunction)


class Methods:
    """The bound methods of an instance, kept in the instance's own ``__dict__``.

    There they die with the instance, without a registry, and ``copy``, ``deepcopy`` and ``pickle`` come by:
    what they take along is the source of the parameters, not the nodes with their feedback and graphs.

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
            key: module and qualified name of the function. Not its attribute's name: a method and the one
            that it
                overrides in a base class have one of those, and two parameters.
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
