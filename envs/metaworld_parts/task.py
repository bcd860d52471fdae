"""What is known of a task without a simulator: texts, fields, initial conditions."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from trace_robot.errors import ValueMismatchError
from trace_robot.spec import Array, Field

DATA = Path(__file__).parent.parent / "metaworld_tasks.json"
OBSERVATION_SIZE = 39
Point = tuple[float, float, float]
Box = tuple[Point, Point]


@dataclass(frozen=True)
class Task:
    """One task as data.

    Attributes:
        name: such as "reach-v3".
        instruction: what a controller must do, as text.
        success: what ``info["success"]`` means, as text.
        observation: the fields of the flat observation that a controller sees.
        hand: the box (low, high) in which upstream keeps the hand's target, meters.
        starts: the box (low, high) in which a position lies when an episode starts, by field.
        low: lower bounds of the variation, the vector that fixes the initial condition, (3,) or (6,).
        high: its upper bounds.
        apart: meters that the first two numbers of a variation must keep from ``apart_from``, or from the first
            two of its second half.
        apart_from: a point in the plane, meters.
    """

    name: str
    instruction: str
    success: str
    observation: tuple[Field, ...]
    hand: Box
    starts: Mapping[str, Box]
    low: tuple[float, ...]
    high: tuple[float, ...]
    apart: float = 0.0
    apart_from: tuple[float, float] | None = None

    @property
    def positions(self) -> tuple[str, ...]:
        """Names of the fields that are points, the hand's first."""
        return tuple(field.name for field in self.observation if field.name.endswith("_position"))

    def accepts(self, variation: Array) -> bool:
        """Return whether object and goal are as far apart as upstream wants them."""
        if not self.apart:
            return True
        other = variation[-3:-1] if self.apart_from is None else np.array(self.apart_from)
        return bool(np.linalg.norm(variation[:2] - other) >= self.apart)

    def variation(self, seed: int) -> Array:
        """Return the initial condition number ``seed``, a function of name and seed alone.

        Built on PCG64's raw stream, which numpy promises never to change; its distributions may change.
        """
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise ValueMismatchError(f"seed must be a whole number of at least 0, got {seed!r}")
        stream = np.random.PCG64(np.random.SeedSequence((zlib.crc32(self.name.encode()), int(seed))))
        low, high = np.array(self.low), np.array(self.high)
        # Rejection sampling, as upstream does it: a draw that puts object and goal too near is drawn again.
        while True:
            fractions = (stream.random_raw(low.size) >> np.uint64(11)) * 2.0**-53
            variation: Array = low + fractions * (high - low)
            if self.accepts(variation):
                return variation

    def checked(self, variation: Sequence[float] | Array) -> Array:
        """Return a user's variation as an array.

        Raises:
            ValueMismatchError: the wrong size, a number that is not finite, or object and goal too near.
        """
        vector = np.array(variation, dtype=np.float64)
        if vector.shape != (len(self.low),) or not np.isfinite(vector).all():
            raise ValueMismatchError(
                f"a variation of {self.name} must be {len(self.low)} finite numbers, got {variation!r}"
            )
        if not self.accepts(vector):
            raise ValueMismatchError(
                f"variation {variation!r} of {self.name} puts object and goal nearer than {self.apart} m"
            )
        return vector


@cache
def tasks() -> Mapping[str, Task]:
    """Return the fifty tasks by name."""
    data = json.loads(DATA.read_text(encoding="utf-8"))
    return {name: _task(name, part, data["common"]) for name, part in data["tasks"].items()}


def _task(name: str, data: Mapping[str, Any], common: Mapping[str, Any]) -> Task:
    fields = {**common, **data["observation"]}
    variation = data["variation"]
    return Task(
        name=name,
        instruction=data["instruction"],
        success=data["success"],
        observation=tuple(_field(key, part, data["hand"]) for key, part in fields.items()),
        hand=_corners(data["hand"]),
        starts={key: _corners(part["starts"]) for key, part in fields.items() if "starts" in part},
        low=tuple(variation["low"]),
        high=tuple(variation["high"]),
        apart=variation.get("apart", 0.0),
        apart_from=tuple(variation["apart_from"]) if "apart_from" in variation else None,
    )


def _corners(box: Sequence[Sequence[float]]) -> Box:
    (low_x, low_y, low_z), (high_x, high_y, high_z) = box
    return (low_x, low_y, low_z), (high_x, high_y, high_z)


def _field(name: str, data: Mapping[str, Any], hand: Sequence[Sequence[float]]) -> Field:
    meaning = data["meaning"]
    if name == "hand_position":
        meaning += f"; reaches {_box(*hand)}"
    elif "starts" in data:
        meaning += f"; {'is' if name == 'goal_position' else 'starts'} at {_box(*data['starts'])}"
    return Field(name, data["at"][0], data["at"][1], data["unit"], meaning)


def _box(low: Sequence[float], high: Sequence[float]) -> str:
    """Return a box as text, to the centimeter: "x -0.10 to 0.10, y 0.60, z 0.02"."""
    sides = []
    for axis, start, end in zip("xyz", low, high, strict=True):
        middle = f"{(start + end) / 2:.2f}"
        sides.append(f"{axis} {middle}" if end - start < 0.01 else f"{axis} {start:.2f} to {end:.2f}")
    return ", ".join(sides).replace("-0.00", "0.00")
