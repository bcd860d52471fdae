"""What Python itself asks of a node, answered with plain values, which leave the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


class Plain:
    """``bool``, ``len``, ``in``, ``==``, ``float``, ``int`` and numpy's conversion of a node."""

    __slots__ = ()

    @property
    def data(self) -> Any:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return same(self.data, other.data if isinstance(other, Plain) else other)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __contains__(self, item: object) -> bool:
        value = item.data if isinstance(item, Plain) else item
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


def same(first: Any, second: Any) -> bool:
    """Return whether two values are equal; arrays are equal if shapes and all elements are."""
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return bool(np.array_equal(first, second))
    answer = _compare(first, second)
    if answer is not None:
        return answer
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(same(value, second[key]) for key, value in first.items())
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        pairs = zip(first, second, strict=False)
        return type(first) is type(second) and len(first) == len(second) and all(same(a, b) for a, b in pairs)
    return False


def contains(container: Any, value: Any) -> bool:
    """Return whether ``value`` is in ``container``, also where that means comparing arrays."""
    try:
        return bool(value in container)
    except ValueError:
        return any(value is each or same(value, each) for each in container)


def _compare(first: Any, second: Any) -> bool | None:
    """Return ``first == second`` as a bool, None where Python cannot say."""
    try:
        return bool(first == second)
    except (ValueError, RuntimeError):  # numpy's and torch's word for "ambiguous"
        return None
