"""Flattening of spaces to vectors with named fields, and back.

To controllers and searches an observation is one float64 vector and an action one float32 vector between bounds,
whatever space the environment has: Box, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of these. Unlike
``gymnasium.spaces.flatten`` a Discrete space is one number, not a one-hot vector: a law or a gain can act on it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from trace_robot.env.declaration import Part
from trace_robot.env.spaces import (
    Leaf,
    all_finite,
    assemble,
    bounds_of,
    leaves_of,
    value_of,
    whole_numbers_text,
)
from trace_robot.errors import EnvironmentFault, WorkspaceError, unknown
from trace_robot.spec import Array, Field

LARGEST_ACTION = float(np.finfo(np.float32).max)
FLOAT64 = np.dtype(np.float64)
LARGEST = 4096  # numbers; what is larger is a picture, which a controller cannot read


@dataclass(frozen=True, slots=True)
class ObservationLayout:
    """How an observation becomes a vector.

    Attributes:
        leaves: the spaces in it that are not hidden, in the vector's order.
        fields: the numbers that a controller sees; there may be gaps between them, which are 0.
        size: how many numbers the vector has.
        heights: what is put between the numbers of the leaves, the third numbers of planar points: after how many of
            them, and the constant.
    """

    leaves: tuple[Leaf, ...]
    fields: tuple[Field, ...]
    size: int
    heights: tuple[tuple[int, float], ...] = ()
    # Which of the leaves' numbers and the constants is where in the vector: 12 µs a step less than ``np.insert``.
    _order: Array = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        own = self.size - len(self.heights)
        places = [place for place, _ in self.heights]
        object.__setattr__(self, "_order", np.insert(np.arange(own), places, own + np.arange(len(places))))

    def flat(self, observation: Any) -> Array:
        """Return the vector, float64 of shape (size,).

        Raises:
            EnvironmentFault: a key is missing, a value has another size or is no number, or one is not finite.
        """
        # Most observations are one vector already: a copy takes 0.2 µs, the general way below 2.
        if (
            type(observation) is np.ndarray
            and observation.dtype is FLOAT64
            and observation.shape == (self.size,)
            and not self.leaves[0].path
            and not self.heights
        ):
            copied = observation.copy()
            if all_finite(copied):
                return copied
        vector = np.zeros(self.size - len(self.heights))
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
                    f"the observation{_of(leaf)} must be numbers, got {_short_repr(value)}"
                ) from error
            if numbers.size != leaf.stop - leaf.start:
                raise EnvironmentFault(
                    f"the observation{_of(leaf)} must have {leaf.stop - leaf.start} numbers, as its space says,"
                    f" got {numbers.size}"
                )
            vector[leaf.start : leaf.stop] = numbers
        if self.heights:
            vector = np.concatenate([vector, [height for _, height in self.heights]])[self._order]
        if not all_finite(vector):
            raise EnvironmentFault(f"the observation is not finite at {self._where(vector)}")
        return vector

    def places(self) -> dict[str, list[dict[str, Any]]]:
        """Return where each field lies in the environment's observation, as plain data.

        A list of {"key": the keys of Dict and numbers of Tuple spaces that lead there, "slice": [first, last + 1] of
        the flattened array}, of one entry unless a field goes on in the next array.
        """
        found: dict[str, list[dict[str, Any]]] = {field.name: [] for field in self.fields}
        for field in self.fields:
            for leaf in self.leaves:
                first, end = max(field.start, leaf.start), min(field.stop, leaf.stop)
                if first < end:
                    key = [each if isinstance(each, int) else str(each) for each in leaf.path]
                    found[field.name].append({"key": key, "slice": [first - leaf.start, end - leaf.start]})
        return found

    def _where(self, vector: Array) -> str:
        bad = np.flatnonzero(~np.isfinite(vector)).tolist()
        named = [
            field.name if field.size == 1 else f"{field.name}[{i - field.start}]"
            for field in self.fields
            for i in bad
            if field.start <= i < field.stop
        ]
        return ", ".join(named[:5]) or f"{bad[:5]}"


@dataclass(frozen=True, slots=True)
class ActionLayout:
    """How a vector becomes an action.

    Attributes:
        leaves: the spaces in it, in the vector's order.
        fields: the vector's numbers by name.
        low: (size,) bounds in the controller's numbers.
        high: (size,) likewise.
        scales: (size,) the environment gets the vector times these.
        space: the environment's own.
    """

    leaves: tuple[Leaf, ...]
    fields: tuple[Field, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    scales: tuple[float, ...]
    space: Any
    # ``scales`` is a tuple, so that layouts can be compared; this is the same as an array, made once and not a step.
    _scales: Array = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_scales", np.array(self.scales))

    @property
    def is_identity(self) -> bool:
        """Whether the action of a float32 vector within the bounds is that vector."""
        space = self.space
        return (
            isinstance(space, spaces.Box)
            and space.dtype == np.float32
            and space.shape == (len(self.scales),)
            and all(scale == 1.0 for scale in self.scales)
            and self.low == _tuple(space.low)
            and self.high == _tuple(space.high)
        )

    def action(self, vector: Array) -> Any:
        """Return the action of the space for a vector of shape (size,) within the bounds."""
        numbers = np.asarray(vector, np.float64) * self._scales
        values = {leaf.path: value_of(leaf.space, numbers[leaf.start : leaf.stop]) for leaf in self.leaves}
        return assemble(self.space, values)


def observation_layout(space: Any, parts: Any) -> ObservationLayout:
    """Lay out an observation space.

    Args:
        space: a gymnasium space.
        parts: as ``Environment.observation``.

    Raises:
        WorkspaceError: the space has a kind or size that a controller cannot use, or the parts do not fit it;
            the message names no file.
    """
    hidden = [key for key, part in parts.items() if part is None] if isinstance(parts, Mapping) else []
    leaves = _with_gaps(space, hidden)
    size = leaves[-1].stop if leaves else 0
    if not 0 < size <= LARGEST:
        raise WorkspaceError(
            f"observation: the space has {size} numbers, and a controller can read 1 to {LARGEST}; wrap the"
            " environment so that it gives states, not pictures"
        )
    shown = tuple(leaf for leaf in leaves if not leaf.path or leaf.path[0] not in hidden)
    fields, heights = _with_heights(list(_fields("observation", space, leaves, parts)), _parts(parts))
    return ObservationLayout(shown, fields, size + len(heights), heights)


def _with_heights(
    fields: Sequence[Field], parts: Sequence[Part]
) -> tuple[tuple[Field, ...], tuple[tuple[int, float], ...]]:
    """Return fields whose planar points have a third number, and its places."""
    known = {part.name: part.height for part in parts if part.name and part.height is not None}
    heights = tuple((f.stop, float(known[f.name])) for f in fields if f.name in known)
    moved = []
    for f in fields:
        before = sum(place <= f.start for place, _ in heights)
        start, stop, meaning = f.start + before, f.stop + before, f.meaning
        if f.name in known:
            stop, meaning = stop + 1, f"{meaning}{'; ' * bool(meaning)}z is always {known[f.name]:g}"
        moved.append(dataclasses.replace(f, start=start, stop=stop, meaning=meaning))
    return tuple(moved), heights


def _with_gaps(space: Any, hidden: Sequence[Any]) -> tuple[Leaf, ...]:
    """Return the leaves of an observation, hidden ones too where they can be numbers.

    So the numbers of the others keep their places, which controllers in stores may know, whether a key is hidden or
    not. A text or a picture that is hidden takes no place.
    """
    if hidden:
        try:
            leaves = leaves_of(space, "observation")
        except WorkspaceError:
            return leaves_of(space, "observation", hidden)
        if not leaves or leaves[-1].stop > LARGEST:
            return leaves_of(space, "observation", hidden)
        return leaves
    return leaves_of(space, "observation")


def action_layout(space: Any, parts: Any) -> ActionLayout:
    """Lay out an action space.

    Args:
        space: a gymnasium space.
        parts: as ``Environment.action``; their ``low`` and ``high`` narrow the bounds of the space.

    Raises:
        WorkspaceError: as of ``observation_layout``, or a number has no bounds.
    """
    leaves = leaves_of(space, "action")
    named = list(_fields("action", space, leaves, parts))
    by_name = {part.name: part for part in _parts(parts)}
    size = leaves[-1].stop if leaves else 0
    low, high, scales, whole = np.empty(size), np.empty(size), np.ones(size), np.zeros(size, bool)
    for leaf in leaves:
        here = slice(leaf.start, leaf.stop)
        low[here], high[here] = bounds_of(leaf.space)
        whole[here] = not (isinstance(leaf.space, spaces.Box) and leaf.space.dtype.kind == "f")
    for field in named:
        # A key without parts has a field all the same, and a neutral part.
        here, part = slice(field.start, field.stop), by_name.get(field.name, Part(field.name))
        scales[here] = part.scale
        # Sorted, because a negative scale swaps the bounds.
        ends = np.sort([low[here] / part.scale, high[here] / part.scale], axis=0)
        low[here] = ends[0] if part.low is None else np.maximum(part.low, ends[0])
        high[here] = ends[1] if part.high is None else np.minimum(part.high, ends[1])
        if not (np.isfinite(low[here]).all() and np.isfinite(high[here]).all()):
            raise WorkspaceError(
                f"action: {field.name!r} has no bounds in its space; give them: part({field.name!r},"
                f" {field.size}, low=..., high=...)"
            )
    # Actions are float32 to controllers, and larger bounds would become infinite.
    low, high = np.clip(low, -LARGEST_ACTION, LARGEST_ACTION), np.clip(high, -LARGEST_ACTION, LARGEST_ACTION)
    fields = tuple(
        Field(f.name, f.start, f.stop, f.unit, f.meaning, bool(whole[f.start : f.stop].all())) for f in named
    )
    return ActionLayout(leaves, fields, _tuple(low), _tuple(high), _tuple(scales), space)


def _fields(what: str, space: Any, leaves: Sequence[Leaf], parts: Any) -> Iterator[Field]:
    """Yield the fields that ``parts`` name, and default ones for keys they leave out."""
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
                yield from _default_fields(what, inner)
            elif parts[key] is not None:
                yield from _named_fields(f"{what} {key!r}", inner, _parts({key: parts[key]}))
    elif parts is not None:
        yield from _named_fields(what, leaves, _parts(parts))
    else:
        yield from _default_fields(what, leaves)


def _named_fields(what: str, leaves: Sequence[Leaf], parts: Sequence[Part]) -> Iterator[Field]:
    """Yield a field for each part in order, using up all numbers."""
    start, stop = leaves[0].start, leaves[-1].stop
    used = sum(part.size for part in parts)
    if used != stop - start:
        sizes = " + ".join(str(part.size) for part in parts) or "0"
        raise WorkspaceError(
            f"{what}: the parts name {sizes} = {used} numbers, and the space has {stop - start};"
            f" {'name the others too, or skip(n)' if used < stop - start else 'make them smaller'}"
        )
    for part in parts:
        if part.name:  # skip(n) has none: its numbers stay in the vector, without a field
            yield Field(part.name, start, start + part.size, part.unit, part.meaning)
        start += part.size


def _default_fields(what: str, leaves: Sequence[Leaf]) -> Iterator[Field]:
    """Yield the fields of unnamed leaves: one for each key or each number of a vector."""
    for leaf in leaves:
        if not leaf.path and leaf.stop - leaf.start > 1:
            yield from (
                Field(f"{what}_{i}", i, i + 1, "", whole_numbers_text(leaf.space)) for i in range(leaf.stop)
            )
        elif leaf.stop > leaf.start:
            name = leaf.name if leaf.name.isidentifier() else f"{what}_{leaf.name}" if leaf.path else what
            yield Field(name, leaf.start, leaf.stop, "", whole_numbers_text(leaf.space))


def _parts(parts: Any) -> list[Part]:
    """Return the parts of a list, or of all keys of a mapping, in order."""
    if parts is None:
        return []
    groups = parts.values() if isinstance(parts, Mapping) else [parts]
    return [
        part
        for group in groups
        for part in ([group] if isinstance(group, Part) else group or [])
        if part is not None
    ]


def _tuple(numbers: Array) -> tuple[float, ...]:
    return tuple(float(number) for number in numbers)


def _of(leaf: Leaf) -> str:
    return f" {leaf.name!r}" if leaf.path else ""


def _short_repr(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"a {type(value).__name__}"
