"""Equality as one bool, whatever the values hold: arrays within lists, NaN-free, never "ambiguous"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


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
