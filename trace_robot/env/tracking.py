"""Control mode "pose": an action says where to be, and a controller brings the robot there in several steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from trace_robot.errors import WorkspaceError
from trace_robot.spec import Array, Field, TaskSpec


class Tracking(Protocol):
    """How a target becomes raw actions; a decision is at most ``steps`` of them and at least ``least``."""

    @property
    def steps(self) -> int: ...

    @property
    def least(self) -> int: ...

    def action(self, raw: TaskSpec) -> tuple[tuple[Field, ...], tuple[float, ...], tuple[float, ...]]:
        """Return the fields and bounds of an action; raise WorkspaceError where ``raw`` does not fit."""
        ...

    def target(self, seen: Mapping[str, Any], wanted: Array) -> Array:
        """Return where to be, given the observation on which a decision was taken."""
        ...

    def raw(self, seen: Mapping[str, Any], target: Array, wanted: Array) -> Array:
        """Return the next raw action, not clipped."""
        ...

    def there(self, before: Mapping[str, Any], seen: Mapping[str, Any], target: Array) -> bool: ...


@dataclass(frozen=True, slots=True)
class HandTracking:
    """For an environment whose first three action numbers move a hand: an action is a displacement in metres.

    hand: the observation part that is its position. gain: raw action per metre of error. reach: metres a decision.
    still: an observation part, such as a gripper's opening, that must change by less than ``change`` a step before
    a decision ends early, which it does once the hand is within ``near`` metres of its target on each axis.
    """

    hand: str
    gain: float = 10.0
    reach: float = 0.5
    steps: int = 20
    least: int = 4
    near: float = 0.005
    still: str = ""
    change: float = 0.002

    def action(self, raw: TaskSpec) -> tuple[tuple[Field, ...], tuple[float, ...], tuple[float, ...]]:
        sizes = {part.name: part.size for part in raw.observation}
        if sizes.get(self.hand) != 3 or raw.action_size < 3 or (self.still and self.still not in sizes):
            raise WorkspaceError(
                f"pose: HandTracking needs a hand part of 3 numbers, at least 3 action numbers, and the part named by"
                f" still; got hand {self.hand!r}, still {self.still!r}, {raw.action_size} action numbers and the parts"
                f" {', '.join(sizes)}"
            )
        rest = tuple(part for part in raw.action if part.start >= 3)
        if sum(part.size for part in rest) != raw.action_size - 3:
            raise WorkspaceError(
                "pose: HandTracking needs the first three action numbers in a part of their own"
            )
        motion = Field("displacement", 0, 3, "m", "where the hand must go, seen from where it is")
        return (motion, *rest), (-self.reach,) * 3 + raw.low[3:], (self.reach,) * 3 + raw.high[3:]

    def target(self, seen: Mapping[str, Any], wanted: Array) -> Array:
        target: Array = seen[self.hand] + wanted[:3]
        return target

    def raw(self, seen: Mapping[str, Any], target: Array, wanted: Array) -> Array:
        return np.concatenate([self.gain * (target - seen[self.hand]), wanted[3:]])

    def there(self, before: Mapping[str, Any], seen: Mapping[str, Any], target: Array) -> bool:
        if float(np.abs(target - seen[self.hand]).max()) >= self.near:
            return False
        return not self.still or bool(np.all(np.abs(seen[self.still] - before[self.still]) < self.change))


@dataclass(frozen=True, slots=True)
class JointTracking:
    """For an environment whose actions are joint torques: an action is the angles that the joints must have.

    angles, velocities: observation parts, one number a torque. stiffness: raw action per radian of error;
    damping: per radian a second. low, high: bounds of an angle, one for all or one a joint.
    """

    angles: str
    velocities: str
    stiffness: float
    damping: float
    low: float | Sequence[float] = -3.14
    high: float | Sequence[float] = 3.14
    steps: int = 20
    least: int = 1
    near: float = 0.01

    def action(self, raw: TaskSpec) -> tuple[tuple[Field, ...], tuple[float, ...], tuple[float, ...]]:
        sizes = {part.name: part.size for part in raw.observation}
        count = raw.action_size
        if sizes.get(self.angles) != count or sizes.get(self.velocities) != count:
            raise WorkspaceError(
                f"pose: JointTracking needs one angle and one velocity for each of {count} action numbers, got"
                f" {self.angles!r} of {sizes.get(self.angles, 0)} and {self.velocities!r} of"
                f" {sizes.get(self.velocities, 0)}"
            )
        low, high = (np.broadcast_to(np.asarray(each, float), (count,)) for each in (self.low, self.high))
        field = Field("angles", 0, count, "rad", "the angles that the joints must have")
        return (field,), tuple(low.tolist()), tuple(high.tolist())

    def target(self, seen: Mapping[str, Any], wanted: Array) -> Array:
        return wanted.astype(np.float64)

    def raw(self, seen: Mapping[str, Any], target: Array, wanted: Array) -> Array:
        raw: Array = self.stiffness * (target - seen[self.angles]) - self.damping * np.asarray(
            seen[self.velocities]
        )
        return np.atleast_1d(raw)

    def there(self, before: Mapping[str, Any], seen: Mapping[str, Any], target: Array) -> bool:
        return bool(np.abs(target - seen[self.angles]).max() < self.near)
