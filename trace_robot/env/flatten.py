"""Spaces as flat vectors with named fields, both ways.

To controllers and searches an observation is one float64 vector and an action one float32 vector between bounds,
whatever space the environment has: Box, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of these.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from trace_robot.env.declaration import Part
from trace_robot.errors import EnvironmentFault, WorkspaceError, unknown
from trace_robot.spec import Array, Field

LARGEST = 4096  # numbers; what is larger is a picture, which a controller cannot read
KNOWN = "Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A space without parts, at ``[start:stop]`` of the flat vector; path: the keys that lead to it."""

    path: tuple[Any, ...]
    space: Any
    start: int
    stop: int

    @property
    def name(self) -> str:
        return "_".join(re.sub(r"\W", "_", str(key)) for key in self.path)


@dataclass(frozen=True, slots=True)
class ObservationLayout:
    """How an observation becomes a flat vector of ``size`` numbers, of which ``fields`` are shown."""

    leaves: tuple[Leaf, ...]
    fields: tuple[Field, ...]
    size: int

    def flat(self, observation: Any) -> Array:
        """Return the vector, float64; raise EnvironmentFault for anything that is not of the space."""
        vector = np.empty(self.size)
        for leaf in self.leaves:
            value = observation
            for key in leaf.path:
                try:
                    value = value[key]
                except (KeyError, IndexError, TypeError) as error:
                    raise EnvironmentFault(
                        f"the observation lacks {leaf.name!r}, which its space has"
                    ) from error
            try:
                numbers = np.asarray(value, dtype=np.float64).reshape(-1)
            except (TypeError, ValueError) as error:
                raise EnvironmentFault(
                    f"the observation{_of(leaf)} must be numbers, got {_shown(value)}"
                ) from error
            if numbers.size != leaf.stop - leaf.start:
                raise EnvironmentFault(
                    f"the observation{_of(leaf)} must have {leaf.stop - leaf.start} numbers, as its space says,"
                    f" got {numbers.size}"
                )
            vector[leaf.start : leaf.stop] = numbers
        if not all_finite(vector):
            raise EnvironmentFault(f"the observation is not finite at {self._where(vector)}")
        return vector

    def _where(self, vector: Array) -> str:
        bad = np.flatnonzero(~np.isfinite(vector)).tolist()
        named = [field.name for field in self.fields if any(field.start <= i < field.stop for i in bad)]
        return ", ".join(named) or f"{bad[:5]}"


@dataclass(frozen=True, slots=True)
class ActionLayout:
    """How a flat vector becomes an action. scales: what the environment gets is so many times the vector."""

    leaves: tuple[Leaf, ...]
    fields: tuple[Field, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    scales: tuple[float, ...]
    space: Any
    _scales: Array = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_scales", np.array(self.scales))

    def action(self, vector: Array) -> Any:
        """Return the action; vector: (size,), within the bounds."""
        numbers = np.asarray(vector, np.float64) * self._scales
        built = {leaf.path: _value(leaf.space, numbers[leaf.start : leaf.stop]) for leaf in self.leaves}
        return _assembled(self.space, (), built)


def observed(space: Any, parts: Any) -> ObservationLayout:
    """Lay an observation space out; parts: as ``Environment.observation``. Raises WorkspaceError, without a file."""
    leaves = tuple(_leaves(space, (), "observation"))
    size = leaves[-1].stop if leaves else 0
    if not 0 < size <= LARGEST:
        raise WorkspaceError(
            f"observation: the space has {size} numbers, and a controller can read 1 to {LARGEST}; wrap the"
            " environment so that it gives states, not pictures"
        )
    return ObservationLayout(leaves, tuple(_fields("observation", space, leaves, parts)), size)


def acted(space: Any, parts: Any) -> ActionLayout:
    """Lay an action space out, as ``observed``."""
    leaves = tuple(_leaves(space, (), "action"))
    named = list(_fields("action", space, leaves, parts))
    found = {each.name: each for each in _parts(parts)}
    size = leaves[-1].stop if leaves else 0
    low, high, scales, whole = np.empty(size), np.empty(size), np.ones(size), np.zeros(size, bool)
    for leaf in leaves:
        here = slice(leaf.start, leaf.stop)
        low[here], high[here] = _bounds(leaf.space)
        whole[here] = not (isinstance(leaf.space, spaces.Box) and leaf.space.dtype.kind == "f")
    for field in named:
        here, said = slice(field.start, field.stop), found.get(field.name, Part(field.name))
        scales[here] = said.scale
        ends = np.sort([low[here] / said.scale, high[here] / said.scale], axis=0)
        low[here] = ends[0] if said.low is None else np.maximum(said.low, ends[0])
        high[here] = ends[1] if said.high is None else np.minimum(said.high, ends[1])
        if not (np.isfinite(low[here]).all() and np.isfinite(high[here]).all()):
            raise WorkspaceError(
                f"action: {field.name!r} has no bounds in its space; give them: part({field.name!r},"
                f" {field.size}, low=..., high=...)"
            )
    fields = tuple(
        Field(f.name, f.start, f.stop, f.unit, f.meaning, bool(whole[f.start : f.stop].all())) for f in named
    )
    return ActionLayout(leaves, fields, _tuple(low), _tuple(high), _tuple(scales), space)


def _leaves(space: Any, path: tuple[Any, ...], what: str, start: int = 0) -> Iterator[Leaf]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        inner = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        for key, each in inner:
            for leaf in _leaves(each, (*path, key), what, start):
                yield leaf
                start = leaf.stop
        return
    if isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        yield Leaf(path, space, start, start + _count(space))
        return
    where = f" {'_'.join(map(str, path))!r}" if path else ""
    raise WorkspaceError(
        f"{what}: the space{where} is {type(space).__name__}, and a controller can use {KNOWN}; wrap the environment"
    )


def _fields(what: str, space: Any, leaves: Sequence[Leaf], parts: Any) -> Iterator[Field]:
    """Yield the fields that ``parts`` name; where nothing is named, those that the space gives by itself."""
    if isinstance(parts, Mapping):
        if not isinstance(space, spaces.Dict):
            raise WorkspaceError(f"{what}: a mapping is for a Dict space, got {space}; give a list of parts")
        for key in parts:
            if key not in space.spaces:
                raise WorkspaceError(
                    f"{what}: {unknown('key of the space', str(key), map(str, space.spaces))}"
                )
        for key in space.spaces:
            inner = [leaf for leaf in leaves if leaf.path[0] == key]
            if key not in parts:
                yield from _own(what, inner)
            elif parts[key] is not None:
                yield from _named(f"{what} {key!r}", inner, _parts({key: parts[key]}))
    elif parts is not None:
        yield from _named(what, leaves, _parts(parts))
    else:
        yield from _own(what, leaves)


def _named(what: str, leaves: Sequence[Leaf], parts: Sequence[Part]) -> Iterator[Field]:
    start, stop = leaves[0].start, leaves[-1].stop
    used = sum(each.size for each in parts)
    if used != stop - start:
        sizes = " + ".join(str(each.size) for each in parts) or "0"
        raise WorkspaceError(
            f"{what}: the parts name {sizes} = {used} numbers, and the space has {stop - start};"
            f" {'name the others too, or skip(n)' if used < stop - start else 'make them smaller'}"
        )
    for each in parts:
        if each.name:
            yield Field(each.name, start, start + each.size, each.unit, each.meaning)
        start += each.size


def _own(what: str, leaves: Sequence[Leaf]) -> Iterator[Field]:
    """Yield the fields of a space that nobody named: a key each, or a number each for a bare vector."""
    for leaf in leaves:
        if not leaf.path and leaf.stop - leaf.start > 1:
            yield from (Field(f"{what}_{i}", i, i + 1, "", _values(leaf.space)) for i in range(leaf.stop))
        elif leaf.stop > leaf.start:
            name = leaf.name if leaf.name.isidentifier() else f"{what}_{leaf.name}" if leaf.path else what
            yield Field(name, leaf.start, leaf.stop, "", _values(leaf.space))


def _parts(parts: Any) -> list[Part]:
    if parts is None:
        return []
    groups = parts.values() if isinstance(parts, Mapping) else [parts]
    return [
        one
        for group in groups
        for one in ([group] if isinstance(group, Part) else group or [])
        if one is not None
    ]


def _bounds(space: Any) -> tuple[Array, Array]:
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


def _values(space: Any) -> str:
    """Say which whole numbers a discrete space takes, nothing of other spaces."""
    if isinstance(space, spaces.Box):
        return ""
    low, high = _bounds(space)
    ends = sorted({(int(a), int(b)) for a, b in zip(low, high, strict=True)})
    return "a whole number, " + " or ".join(f"{a} to {b}" for a, b in ends)


def cut(numbers: Array, low: Array, high: Array) -> Array:
    """What numpy's clip does, in a third of its time for a few numbers."""
    between: Array = np.minimum(np.maximum(numbers, low), high)
    return between


def all_finite(numbers: Array) -> bool:
    """Return whether all are, looking closer only where their sum of squares is not."""
    return math.isfinite(numbers.dot(numbers)) or bool(np.isfinite(numbers).all())


def _value(space: Any, numbers: Array) -> Any:
    if isinstance(space, spaces.Box):
        low, high = space.low, space.high
        if space.dtype.kind != "f":
            numbers = np.rint(numbers)
        return cut(numbers.reshape(space.shape).astype(space.dtype), low, high)
    low, high = _bounds(space)
    whole = np.clip(np.rint(numbers), low, high)
    if isinstance(space, spaces.Discrete):
        return space.dtype.type(whole[0])
    return whole.reshape(space.shape).astype(space.dtype)


def _assembled(space: Any, path: tuple[Any, ...], built: Mapping[tuple[Any, ...], Any]) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _assembled(each, (*path, key), built) for key, each in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_assembled(each, (*path, i), built) for i, each in enumerate(space.spaces))
    return built[path]


def _tuple(numbers: Array) -> tuple[float, ...]:
    return tuple(float(number) for number in numbers)


def _of(leaf: Leaf) -> str:
    return f" {leaf.name!r}" if leaf.path else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"a {type(value).__name__}"
