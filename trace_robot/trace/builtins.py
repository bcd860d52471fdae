"""What Python's built-in functions ask of a node, answered with plain values.

``bool``, ``len``, ``in``, ``==``, ``float``, ``int`` and numpy's conversion must return plain values by the
rules of the language, so here a value leaves the graph. Inside a bundle the read is noted all the same (see
``Scope.read``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


class PlainMethods:
    """Mix-in of Node: the special methods whose result is a plain value.

    Every one goes through ``data``, not ``_data``: the property notes that the running bundle has read the
    node.
    """

    __slots__ = ()

    @property
    def data(self) -> Any:
        raise NotImplementedError

    # ``==`` gives one bool, as Python's ``in``, ``list.index`` and ``assert`` expect; ``node.eq`` is the
    # traced one. Hence the engine itself never compares nodes with ``==`` or looks them up in a list: it goes
    # by ``id``.
    def __eq__(self, other: object) -> bool:
        return equal(self.data, other.data if isinstance(other, PlainMethods) else other)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __contains__(self, item: object) -> bool:
        value = item.data if isinstance(item, PlainMethods) else item
        return contains(self.data, value)

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
        return format(self.data, spec) if spec else str(self)


def equal(first: Any, second: Any) -> bool:
    """Return whether two values are equal, with one bool for arrays too.

    Args:
        first: any value; lists, tuples and mappings may hold arrays at any depth.
        second: the value to compare it with; arrays are equal if shapes and all elements are.
    """
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return bool(np.array_equal(first, second))
    answer = _compare(first, second)
    if answer is not None:
        return answer
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(
            equal(value, second[key]) for key, value in first.items()
        )
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        pairs = zip(first, second, strict=False)
        return (
            type(first) is type(second) and len(first) == len(second) and all(equal(a, b) for a, b in pairs)
        )
    return False


def contains(container: Any, value: Any) -> bool:
    """Return whether a value is in a container, comparing arrays too.

    Args:
        container: what stands on the right of ``in``.
        value: a plain value; an array is in a container if an equal array is.
    """
    try:
        return bool(value in container)
    except ValueError:  # numpy: the truth value of an array with more than one element is ambiguous
        return any(value is item or equal(value, item) for item in container)


def _compare(first: Any, second: Any) -> bool | None:
    """Return ``first == second`` as a bool, None where it has no truth value."""
    try:
        return bool(first == second)
    except (ValueError, RuntimeError):  # the "ambiguous" of numpy and of torch
        return None
