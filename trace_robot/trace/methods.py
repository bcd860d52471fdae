"""What an instance keeps of its traced methods: itself as a node, and each method with a parameter of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trace_robot.trace.nodes import Node

if TYPE_CHECKING:
    from trace_robot.trace.bundle import Bundle

_KEY = "__trace_robot_methods__"


class Methods:
    """Lives in the instance's ``__dict__``; copies of the instance take the values of the parameters along.

    values: function -> source, of methods that were copied with the instance and not yet used.
    """

    __slots__ = ("bound", "node", "values")

    def __init__(self, instance: Any = None, values: dict[str, str] | None = None) -> None:
        self.node = Node(instance, name="self")
        self.bound: dict[str, tuple[Bundle, Bundle]] = {}
        self.values = dict(values or {})

    def method(self, bundle: Bundle, key: str) -> Bundle:
        """Return ``bundle`` bound to the instance, always the same object."""
        known = self.bound.get(key)
        if known is not None and known[0] is bundle:
            return known[1]
        made = bundle.bound_to(self.node)
        if made.parameter is not None and key in self.values:
            made.parameter._set(self.values.pop(key))
        self.bound[key] = bundle, made
        return made

    def sources(self) -> dict[str, str]:
        used = {
            key: made.parameter._data for key, (_, made) in self.bound.items() if made.parameter is not None
        }
        return {**self.values, **used}

    def __copy__(self) -> Methods:
        return Methods(None, self.sources())

    def __deepcopy__(self, memo: dict[int, Any]) -> Methods:
        return Methods(None, self.sources())

    def __reduce__(self) -> tuple[Any, ...]:
        return Methods, (None, self.sources())


def methods_of(instance: Any) -> Methods:
    """Return the Methods of ``instance``, new for every call if it has no place to keep them."""
    kept = getattr(instance, "__dict__", {})
    found = kept.get(_KEY)
    if found is None:
        found = Methods(instance)
    elif found.node._data is not instance:
        found = Methods(instance, found.sources())
    else:
        return found  # type: ignore[no-any-return]
    try:
        kept[_KEY] = found
    except TypeError:  # a class: its namespace is read-only
        setattr(instance, _KEY, found)
    return found
