"""Turning what a controller returns into an action, inside the jail, where its hooks run under the deadline."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from trace_robot.sandbox.blame import line_of
from trace_robot.sandbox.frames import all_finite
from trace_robot.spec import Array

_NUMBERS = (float, int, np.float64, np.float32, bool)
_NUMBER_TYPES = frozenset(_NUMBERS)
Refusal = tuple[Literal["wrong shape", "not finite"], str]


def shown(value: Any) -> str:
    """Return a repr where it is short, plain and the same every time; else the type and the length or shape."""
    kind = type(value)
    if value is None or kind in _NUMBERS or kind is complex:
        return repr(value)
    if kind is np.ndarray:
        return (
            f"array({value.tolist()})" if _plain(value.ravel()[:17]) else f"an array of shape {value.shape}"
        )
    if kind in (str, bytes):
        return repr(value) if len(value) <= 40 else f"a {kind.__name__} of length {len(value)}"
    if kind in (list, tuple, dict, set, frozenset):
        return repr(value) if _plain(value) else f"a {kind.__name__} of length {len(value)}"
    name = kind.__name__ if kind.__module__ in ("builtins", "numpy") else f"{kind.__name__} object"
    return f"a value of type {name}"


def _plain(values: Any) -> bool:
    return len(values) <= 16 and all(
        type(value) in _NUMBERS or (type(value) is str and len(value) < 20) for value in values
    )


def _refuse_shape(size: int, value: Any, why: str = "") -> Refusal:
    return "wrong shape", f"act must return {size} numbers, got {shown(value)}{why}"


def _refuse_number(value: Any) -> Refusal:
    return "not finite", f"act must return finite float32 numbers, got {shown(value)}"


class Converter:
    """Makes float32 bytes of an action of ``size`` numbers.

    unwrap: applied first to what is not a plain list or tuple of numbers; None for nothing.
    """

    def __init__(self, size: int) -> None:
        self.unwrap: Callable[[Any], Any] | None = None
        self._size = size
        self._numbers = struct.Struct(f"<{size}f")

    def __call__(self, value: Any) -> bytes | Refusal:
        """Return ``4 * size`` bytes, or why ``value`` is no action; hooks of ``value`` may raise anything."""
        if self._is_numbers(value):
            return self._pack_numbers(value)
        if self.unwrap is not None and self._is_numbers(value := self.unwrap(value)):
            return self._pack_numbers(value)
        if self._too_long(value):
            return _refuse_shape(self._size, value)
        return self._from_array(value)

    def _is_numbers(self, value: Any) -> bool:
        kind = type(value)
        if (kind is not list and kind is not tuple) or len(value) != self._size:
            return False
        try:
            return _NUMBER_TYPES.issuperset(map(type, value))
        except TypeError:  # a class whose own class cannot be hashed is no number
            return False

    def _pack_numbers(self, value: Any) -> bytes | Refusal:
        try:
            packed = self._numbers.pack(*value)
        except (OverflowError, struct.error):  # beyond float32, or an int beyond float64
            return _refuse_number(value)
        return packed if all_finite(self._numbers.unpack(packed)) else _refuse_number(value)

    def _too_long(self, value: Any) -> bool:
        return isinstance(value, (list, tuple, str, bytes)) and len(value) > max(self._size, 1)

    def _from_array(self, value: Any) -> bytes | Refusal:
        try:
            array: Array = np.asarray(value)
        except (TypeError, ValueError) as error:
            if line_of(error.__traceback__) is not None:
                raise
            return _refuse_shape(self._size, value, f" ({error})")
        if array.shape == () and self._size == 1:
            array = array.reshape(1)
        if array.shape != (self._size,):
            return _refuse_shape(self._size, value)
        if array.dtype.kind == "O":
            return self._from_objects(value, array)
        if array.dtype.kind not in "biuf":
            return _refuse_shape(self._size, value, f" ({array.dtype.name}, not real numbers)")
        with np.errstate(all="ignore"):
            action = array.astype("<f4")
        return action.tobytes() if np.isfinite(action).all() else _refuse_number(value)

    def _from_objects(self, value: Any, array: Array) -> bytes | Refusal:
        """Convert numbers that numpy has no type for, such as a Fraction, a Decimal or a huge int."""
        if any(isinstance(number, (str, bytes, complex, type(None), np.ndarray)) for number in array):
            return _refuse_shape(self._size, value)
        try:
            numbers = [float(number) for number in array]
        except OverflowError:
            return _refuse_number(value)
        return self._pack_numbers(numbers)
