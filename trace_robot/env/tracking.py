"""Control mode "pose": an action is a target for a tracking controller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from trace_robot.errors import WorkspaceError
from trace_robot.spec import Array, Field, HandSpec, TaskSpec

REACH = 0.5  # meters of a decision at most, on each axis, as of HandTracking
TURN = 1.0  # rad of a decision at most
# What an action is added to: nothing, data.ctrl, the joint's position.
ABSOLUTE, AFTER_CTRL, AFTER_QPOS = range(3)
POSITION, VELOCITY, MOTOR = "position", "velocity", "motor"


class Tracking(Protocol):
    """A tracking controller: how a target becomes raw actions.

    An ``observation`` is the dict of named values that a controller sees; an ``action`` is the controller's,
    float32 of shape (act_dim,), clipped to the bounds.
    """

    @property
    def steps(self) -> int:
        """Simulator steps of a decision at most."""
        ...

    @property
    def least(self) -> int:
        """Simulator steps of a decision at least: the robot must start to move."""
        ...

    def action(self, raw: TaskSpec) -> tuple[tuple[Field, ...], tuple[float, ...], tuple[float, ...]]:
        """Return fields, lower and upper bounds of an action in mode "pose".

        raw: the environment in mode "raw"; WorkspaceError is raised where it does not fit.
        """
        ...

    def target(self, observation: Mapping[str, Any], action: Array) -> Array:
        """Return the target of a decision, in the units of the tracked part.

        Args:
            observation: on which the decision was taken.
            action: the decision.
        """
        ...

    def raw(self, observation: Mapping[str, Any], target: Array, action: Array) -> Array:
        """Return the next raw action, not clipped.

        Args:
            observation: of this simulator step.
            target: of the decision.
            action: the decision; what is not tracked, such as a gripper, is passed on.
        """
        ...

    def there(self, before: Mapping[str, Any], observation: Mapping[str, Any], target: Array) -> bool:
        """Return whether the decision may end early.

        Args:
            before: the observation one simulator step ago.
            observation: of now.
            target: of the decision.
        """
        ...


@dataclass(frozen=True, slots=True)
class HandTracking:
    """Proportional control of a hand that the first three action numbers move.

    An action is then a displacement of the hand in meters, and the numbers after it. A decision ends early once
    the hand is near its target and ``still`` has come to rest.

    Attributes:
        hand: the observation part that is its position, meters.
        gain: raw action per meter of error.
        reach: meters of a decision at most, on each axis.
        steps: simulator steps of a decision at most.
        least: simulator steps of a decision at least.
        near: meters from the target, on each axis, at which a decision may end.
        still: an observation part, such as a gripper's opening, that must have come to rest; "" for none.
        change: change of ``still`` in a step below which it rests, in its own unit.
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
        """Return fields and bounds of an action, as ``Tracking`` defines it."""
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
        # Displacement and not position: the bounds are the same wherever the hand is.
        return (motion, *rest), (-self.reach,) * 3 + raw.low[3:], (self.reach,) * 3 + raw.high[3:]

    def target(self, observation: Mapping[str, Any], action: Array) -> Array:
        """Return the hand's target position, (3,), meters, world frame.

        Args:
            observation: has the hand's position.
            action: its first three numbers are the displacement.
        """
        target: Array = observation[self.hand] + action[:3]
        return target

    def raw(self, observation: Mapping[str, Any], target: Array, action: Array) -> Array:
        """Return ``gain`` times the hand's error, and the rest of the action as it is.

        Args:
            observation: has the hand's position.
            target: (3,), meters.
            action: (act_dim,); its numbers after the third are passed on.
        """
        return np.concatenate([self.gain * (target - observation[self.hand]), action[3:]])

    def there(self, before: Mapping[str, Any], observation: Mapping[str, Any], target: Array) -> bool:
        """Return whether the hand is near its target on each axis and ``still`` rests.

        Args:
            before: the observation one simulator step ago.
            observation: of now.
            target: (3,), meters.
        """
        if float(np.abs(target - observation[self.hand]).max()) >= self.near:
            return False
        return not self.still or bool(
            np.all(np.abs(observation[self.still] - before[self.still]) < self.change)
        )


@dataclass(frozen=True, slots=True)
class JointTracking:
    """Proportional-derivative control of joints whose raw actions are torques.

    An action is then the angles that the joints must reach, in radians.

    Attributes:
        angles: the observation part with the angles, radians, one number for each torque.
        velocities: the observation part with their velocities, radians per second.
        stiffness: raw action per radian of error.
        damping: raw action per radian per second.
        low: lower bound of an angle, radians; one for all or one for each joint.
        high: upper bound, likewise.
        steps: simulator steps of a decision at most.
        least: simulator steps of a decision at least.
        near: radians from the target at which a decision may end.
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
        """Return fields and bounds of an action, as ``Tracking`` defines it."""
        sizes = {part.name: part.size for part in raw.observation}
        count = raw.action_size
        if sizes.get(self.angles) != count or sizes.get(self.velocities) != count:
            raise WorkspaceError(
                f"pose: JointTracking needs one angle and one velocity for each of {count} action numbers, got"
                f" {self.angles!r} of {sizes.get(self.angles, 0)} and {self.velocities!r} of"
                f" {sizes.get(self.velocities, 0)}"
            )
        low, high = (np.broadcast_to(np.asarray(bound, float), (count,)) for bound in (self.low, self.high))
        field = Field("angles", 0, count, "rad", "the angles that the joints must have")
        return (field,), tuple(low.tolist()), tuple(high.tolist())

    def target(self, observation: Mapping[str, Any], action: Array) -> Array:
        """Return the target angles, (act_dim,), radians.

        Args:
            observation: not used: angles are absolute.
            action: the angles.
        """
        return action.astype(np.float64)

    def raw(self, observation: Mapping[str, Any], target: Array, action: Array) -> Array:
        """Return the torques, (act_dim,), in the environment's units, not clipped.

        Args:
            observation: has the angles and their velocities.
            target: (act_dim,), radians.
            action: not used: every number is tracked.
        """
        raw: Array = self.stiffness * (target - observation[self.angles]) - self.damping * np.asarray(
            observation[self.velocities]
        )
        return np.atleast_1d(raw)

    def there(self, before: Mapping[str, Any], observation: Mapping[str, Any], target: Array) -> bool:
        """Return whether each joint is near its target.

        Args:
            before: not used.
            observation: of now.
            target: (act_dim,), radians.
        """
        return bool(np.abs(target - observation[self.angles]).max() < self.near)


@dataclass(frozen=True, slots=True)
class HandModel:
    """What moves one hand, in MuJoCo's ids.

    Attributes:
        spec: the hand in the terms of an action in mode "pose".
        is_site: whether the hand is a site, else a body.
        id: of the site or body.
        rows: 3 for position alone, 4 with the turn about the vertical axis, 6 with the whole orientation.
        joints: how many move it.
        kinds: of actuators that drive these.
        fingers: (f,) degrees of freedom of its fingers.
        grip: (g,) indices of raw action numbers of its gripper.
        signs: (g,) of these against the number of the gripper.
        gripper: name of the raw action part, for people.
    """

    spec: HandSpec
    is_site: bool
    id: int
    rows: int
    joints: int
    kinds: tuple[str, ...]
    fingers: Array
    grip: Array
    signs: Array
    gripper: str = ""

    def __str__(self) -> str:
        kinds = " and ".join(self.kinds)
        text = f"hand {self.spec.name!r}: inverse kinematics over {self.joints} joints by {kinds} actuators"
        return f"{text}, gripper {self.gripper!r}, opens {self.spec.opens:+g}" if self.gripper else text


@dataclass(frozen=True, slots=True)
class ArmModel:
    """All that inverse kinematics needs to know of an environment.

    There are n joints and k action numbers.

    Attributes:
        hands: that it moves.
        fields: of an action in mode "pose".
        low: lower bounds of such an action.
        high: upper bounds, likewise.
        qpos: (n,) indices of the joints in ``qpos``.
        dofs: (n,) indices in ``qvel``.
        limits: (2, n) of the joints, infinite for none.
        actuators: (n,) ids.
        affine: (4, n) of each actuator: gain, and the bias of nothing, of length and of velocity.
        gear: (n,) of each actuator.
        integrated: (n,) indices in ``act`` of actuators that integrate their input, -1 for others.
        kinds: (n,) of the actuators.
        base: (n,) what an action is added to, such as ABSOLUTE.
        offset: (n,) of the actuators' inputs for an action of zeros.
        numbers: (k,) indices of the raw action that move the joints.
        inverse: (k, n) change of these for a change of the actuators' inputs.
        raw_low: (raw_dim,) bounds of the raw action.
        raw_high: (raw_dim,) likewise.
        passed: (2, p) indices of an action and of the raw action, of numbers that no hand uses.
        seconds: of a simulator step.
        size: numbers of positions, velocities and actuators of the model, to know it again.
    """

    hands: tuple[HandModel, ...]
    fields: tuple[Field, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    qpos: Array
    dofs: Array
    limits: Array
    actuators: Array
    affine: Array
    gear: Array
    integrated: Array
    kinds: tuple[str, ...]
    base: Array
    offset: Array
    numbers: Array
    inverse: Array
    raw_low: Array
    raw_high: Array
    passed: Array
    seconds: float
    size: tuple[int, int, int]


def ancestors(model: Any, body: int) -> list[int]:
    """Return a body of a MuJoCo model and those it hangs on, the root first.

    Args:
        model: of MuJoCo.
        body: its id.
    """
    path = [body]
    while path[-1]:
        path.append(int(model.body_parentid[path[-1]]))
    return path[::-1]


def joints_behind(model: Any, chain: Sequence[int]) -> list[int]:
    """Return the joints of the bodies that hang on the last joint of a chain.

    Args:
        model: of MuJoCo.
        chain: joints, the last one next to the hand.
    """
    last = int(model.jnt_bodyid[chain[-1]])
    return [j for j in range(model.njnt) if last in ancestors(model, int(model.jnt_bodyid[j]))]


def joint_of(model: Any, actuator: int) -> int:
    """Return the hinge or slide joint that an actuator acts on directly, -1 for none.

    Args:
        model: of MuJoCo.
        actuator: its id.
    """
    joint = int(model.actuator_trnid[actuator, 0])
    direct = model.actuator_trntype[actuator] in (0, 1)  # mjTRN_JOINT, mjTRN_JOINTINPARENT
    return joint if direct and model.jnt_type[joint] in (2, 3) else -1  # mjJNT_SLIDE, mjJNT_HINGE


def joints_drawn(model: Any, actuator: int) -> set[int]:
    """Return the joints that an actuator acts on, directly or by a fixed tendon.

    Args:
        model: of MuJoCo.
        actuator: its id.
    """
    if model.actuator_trntype[actuator] != 3:  # mjTRN_TENDON
        return {joint} if (joint := joint_of(model, actuator)) >= 0 else set()
    tendon = int(model.actuator_trnid[actuator, 0])
    first = int(model.tendon_adr[tendon])
    wraps = range(first, first + int(model.tendon_num[tendon]))
    return {int(model.wrap_objid[i]) for i in wraps if model.wrap_type[i] == 1}  # mjWRAP_JOINT


def affine_of(model: Any, actuator: int) -> tuple[float, float, float, float]:
    """Return gain, and bias of nothing, of length and of velocity, of an actuator.

    Args:
        model: of MuJoCo.
        actuator: its id.
    """
    biased = model.actuator_biastype[actuator] == 1  # mjBIAS_AFFINE
    constant, length, velocity = model.actuator_biasprm[actuator, :3].tolist() if biased else (0.0, 0.0, 0.0)
    return float(model.actuator_gainprm[actuator, 0]), constant, length, velocity


def kind_of(model: Any, actuator: int) -> str:
    """Return POSITION, VELOCITY or MOTOR, "" for any other.

    Args:
        model: of MuJoCo.
        actuator: its id.
    """
    gain, _, length, velocity = affine_of(model, actuator)
    # A fixed gain, an affine bias or none, and no activation or one of an integrator or a filter: no muscles.
    plain = not model.actuator_gaintype[actuator] and model.actuator_biastype[actuator] <= 1
    if not plain or model.actuator_dyntype[actuator] > 3 or not gain or not model.actuator_gear[actuator, 0]:
        return ""
    return POSITION if length else VELOCITY if velocity else MOTOR
