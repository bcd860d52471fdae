"""Leaves, bounds and values of gymnasium's spaces, as runs of numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from trace_robot.errors import WorkspaceError
from trace_robot.spec import Array

FEW = 64  # numbers: 0.5 µs as floats for 39, where an array with its warnings off takes 1.4
SPACES = "Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A space that holds no other spaces, at ``[start:stop]`` of the flat vector.

    path: the keys of Dict and numbers of Tuple spaces that lead to it.
    """

    path: tuple[Any, ...]
    space: Any
    start: int
    stop: int

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest values of its numbers, (n,), infinite without any."""
        size = self.stop - self.start
        low, high = (
            np.ravel(getattr(self.space, end, limit)) for end, limit in (("low", -np.inf), ("high", np.inf))
        )
        return np.broadcast_to(low.astype(float), size), np.broadcast_to(high.astype(float), size)

    @property
    def name(self) -> str:
        """The path as a Python name, or nearly one: a key may begin with a digit."""
        return "_".join(re.sub(r"\W", "_", str(key)) for key in self.path)


def leaves_of(space: Any, what: str, hidden: Collection[Any] = ()) -> tuple[Leaf, ...]:
    """Return the spaces in a space that hold no others, depth first.

    Args:
        space: a gymnasium space.
        what: "observation" or "action", for messages.
        hidden: keys of a Dict space that are left out, of whatever kind their spaces are.

    Raises:
        WorkspaceError: a space of another kind, such as Text or Graph.
    """
    if hidden and isinstance(space, spaces.Dict):
        space = spaces.Dict({key: child for key, child in space.spaces.items() if key not in hidden})
    return tuple(_leaves(space, (), what, 0))


def _leaves(space: Any, path: tuple[Any, ...], what: str, start: int) -> Iterator[Leaf]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        inner = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        for key, child in inner:
            for leaf in _leaves(child, (*path, key), what, start):
                yield leaf
                start = leaf.stop
        return
    if isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        yield Leaf(path, space, start, start + _count(space))
        return
    where = f" {'_'.join(map(str, path))!r}" if path else ""
    raise WorkspaceError(
        f"{what}: the space{where} is {type(space).__name__}, and a controller can use {SPACES}; wrap the environment"
    )


def space_of(data: Mapping[str, Any]) -> spaces.Space[Any]:
    """Return the gymnasium space of ``trace_robot.env.simulation.space_data``."""
    kind = data["kind"]
    if kind == "Box":
        return spaces.Box(data["low"], data["high"], dtype=data["low"].dtype.type)
    if kind == "Discrete":
        return spaces.Discrete(data["n"], start=data["start"], dtype=np.dtype(data["dtype"]).type)
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(data["nvec"], dtype=np.dtype(data["dtype"]).type, start=data["start"])
    if kind == "MultiBinary":
        return spaces.MultiBinary(data["n"])
    if kind == "Dict":
        return spaces.Dict({key: space_of(child) for key, child in data["spaces"]})
    if kind == "Tuple":
        return spaces.Tuple(tuple(space_of(child) for child in data["spaces"]))
    # What no controller can use is refused by its name later, or hidden.
    return type(str(data["name"]), (spaces.Space,), {})()  # type: ignore[no-any-return]


def bounds_of(space: Any) -> tuple[Array, Array]:
    """Return the lowest and highest value of each number, flat and float64."""
    if isinstance(space, spaces.Box):
        return space.low.reshape(-1).astype(np.float64), space.high.reshape(-1).astype(np.float64)
    if isinstance(space, spaces.Discrete):
        return np.array([space.start], float), np.array([space.start + space.n - 1], float)
    if isinstance(space, spaces.MultiDiscrete):
        first = np.asarray(space.start, float).reshape(-1)
        return first, first + np.asarray(space.nvec, float).reshape(-1) - 1
    count = _count(space)
    return np.zeros(count), np.ones(count)


def _count(space: Any) -> int:
    return int(np.prod(space.shape))


def whole_numbers_text(space: Any) -> str:
    """Return as text which whole numbers a discrete space takes, "" for a Box."""
    if isinstance(space, spaces.Box):
        return ""
    low, high = bounds_of(space)
    ends = sorted({(int(a), int(b)) for a, b in zip(low, high, strict=True)})
    return "a whole number, " + " or ".join(f"{a} to {b}" for a, b in ends)


def value_of(space: Any, numbers: Array) -> Any:
    """Return a value of a leaf, rounded where it takes whole numbers only.

    Args:
        space: of the leaf.
        numbers: (n,) float64.
    """
    if isinstance(space, spaces.Box):
        low, high = space.low, space.high
        if space.dtype.kind != "f":
            numbers = np.rint(numbers)
        # Clipped after the cast: rounding to float32 may step over a bound.
        return clip(numbers.reshape(space.shape).astype(space.dtype), low, high)
    low, high = bounds_of(space)
    whole = np.clip(np.rint(numbers), low, high)
    if isinstance(space, spaces.Discrete):
        return space.dtype.type(whole[0])
    return whole.reshape(space.shape).astype(space.dtype)


def assemble(space: Any, values: Mapping[tuple[Any, ...], Any]) -> Any:
    """Return a value of a space from those of its leaves.

    Args:
        space: a gymnasium space.
        values: of each leaf, by its path.
    """
    return _assemble(space, (), values)


def _assemble(space: Any, path: tuple[Any, ...], values: Mapping[tuple[Any, ...], Any]) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _assemble(child, (*path, key), values) for key, child in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_assemble(child, (*path, i), values) for i, child in enumerate(space.spaces))
    return values[path]


def clip(numbers: Array, low: Array, high: Array) -> Array:
    """Clip like ``numpy.clip``.

    In a third of its time for a few numbers, and it runs in every step.

    Args:
        numbers: (n,).
        low: (n,).
        high: (n,), nowhere below ``low``.
    """
    between: Array = np.minimum(np.maximum(numbers, low), high)
    return between


def all_finite(numbers: Array) -> bool:
    """Return whether all numbers are finite, of shape (n,)."""
    # One sum is faster than a mask. It may overflow for numbers that are finite all the same; only then is each looked
    # at. Python's floats, the faster ones for a few numbers, overflow without a warning.
    if numbers.size <= FEW:
        total = sum(numbers.tolist())
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            total = numbers.dot(numbers)
    return math.isfinite(total) or bool(np.isfinite(numbers).all())
