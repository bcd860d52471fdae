"""Inverse kinematics by damped least squares: hands moved by joint-space actions.

The step is Wampler's (IEEE Transactions on Systems, Man, and Cybernetics, 1986): the Jacobian of the hands comes from
MuJoCo, the solve is a small one of numpy. A package for quadratic programs such as mink treats limits as constraints;
it would be one more dependency and takes some hundred microseconds a solve, where a simulator step takes about as much.
Limits are kept here by leaving a joint that meets one out of the solve.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from trace_robot.env.motion_model import ERROR, LEAST, NEAR, STEPS
from trace_robot.env.simulation import physics_of
from trace_robot.env.tracking import (
    ABSOLUTE,
    AFTER_CTRL,
    AFTER_QPOS,
    VELOCITY,
    ArmModel,
    HandModel,
    ancestors,
)
from trace_robot.errors import EnvironmentFault
from trace_robot.spec import Array, Field, TaskSpec

NEAR_TURN = 0.05  # rad from the target at which a decision may end
STILL = 0.001  # change of a finger joint in a step below which it rests, meters or rad
# Of least squares, meters a rad and rad a rad. A joint of a tabletop arm moves its hand 0.1 to 0.5 m a rad. The square
# of their ratio is what a rad of orientation weighs against a meter: where not both can be had, the position is.
DAMPING, TURN_DAMPING = 0.01, 0.3
TURN_ERROR = 0.2  # rad of error that one solve looks at: the Jacobian is of here
JOINT_STEP, JOINT_SPEED = 0.3, 3.0  # rad or meters of a joint in one solve at most, and a second
POSTURE = 0.05  # part of the way back to the posture of the reset, in the null space, in a step
STUCK = 0.1  # part of the error below which a solve that removes less has found a stretched arm
BEND = 0.03  # rad or meters that each joint is then bent
MARGIN = 0.01  # of a joint's range, kept from its limits
RATE = 0.4  # part of the error that a velocity removes in a step; 1 overshoots with any lag of the servo
LEAST_ROOM = 0.05  # part of the range of an action number that a motion may use where gravity needs the rest
TINY = 1e-9
BANDWIDTH = 0.4  # of torque control, rad a step: twice that is the damping, and 1 is its limit of stability
LOOSE = 0.5  # stiffness of a servo, inertia over a squared step, up to which its joint hardly moves in a step
FASTEST = 25.0  # rad/s of torque control's bandwidth at most


class ArmTracking:
    """Resolved-rate control of hands by their joints, as a ``Tracking``.

    All state within an episode is the posture and the orientation that the reset left; the rest is read from the
    simulation, so that a restored or repeated episode is exact. Kinematics are computed in a MuJoCo data of this
    object: the environment's may be one time step old, and writing there could change what the environment computes.
    """

    steps = STEPS

    def __init__(self, arm: ArmModel) -> None:
        """Use what was found of an environment."""
        self.arm = arm
        self.least = LEAST if any(hand.grip.size for hand in arm.hands) else 1
        # Rows of all hands' positions, then of what is held or turned besides.
        joints, moved, turned = len(arm.dofs), 3 * len(arm.hands), sum(hand.rows - 3 for hand in arm.hands)
        self._jacobian, self._error = np.zeros((moved + turned, joints)), np.zeros(moved + turned)
        self._moved = moved
        self._damping = np.diag([DAMPING**2] * moved + [TURN_DAMPING**2] * turned)
        self._redundant = joints > moved + turned
        self._at, self._dofs, self._numbered = _slice(arm.qpos), _slice(arm.dofs), _slice(arm.numbers)
        self._zeros: Array = np.zeros(joints)
        self._posture: Array = self._zeros
        self._orientations: Array = np.zeros((len(arm.hands), 3, 3))
        self._model: Any = None
        self._data: Any = None
        self._seen = False
        ranges = np.where(np.isfinite(arm.limits).all(0), arm.limits[1] - arm.limits[0], 0.0)
        self._low, self._high = arm.limits[0] + MARGIN * ranges, arm.limits[1] - MARGIN * ranges
        self._effect = arm.gear * arm.affine[0]
        self._integrates = bool((arm.integrated >= 0).any())
        self._rates = VELOCITY in arm.kinds or self._integrates or bool((arm.base != ABSOLUTE).any())
        self._after_qpos = (arm.base == AFTER_QPOS).astype(float)
        self._most = min(JOINT_STEP, JOINT_SPEED * arm.seconds / RATE)
        self._bandwidth = min(BANDWIDTH / arm.seconds, FASTEST)

    def action(self, raw: TaskSpec) -> tuple[tuple[Field, ...], tuple[float, ...], tuple[float, ...]]:
        """Return fields and bounds of an action in mode "pose", whatever ``raw`` is."""
        return self.arm.fields, self.arm.low, self.arm.high

    def begin(self, env: Any, observation: Mapping[str, Any]) -> None:
        """Begin an episode: remember posture and orientation.

        Args:
            env: just reset, unwrapped.
            observation: not used: the simulation says where the hands are.

        Raises:
            EnvironmentFault: its model is not the one that was looked at.
        """
        self._attach(env)
        self._look()
        self._posture = self._qpos[self.arm.qpos].copy()
        self._orientations = np.array([self._pose(hand)[1] for hand in self.arm.hands])
        self._seen = False

    def saved(self) -> tuple[Any, ...]:
        """Return what ``return_to`` needs to go on with the episode."""
        return self._posture, self._orientations

    def return_to(self, env: Any, saved: tuple[Any, ...]) -> None:
        """Continue an episode from a snapshot.

        Args:
            env: unwrapped.
            saved: what ``saved()`` gave.
        """
        self._attach(env)
        self._posture, self._orientations = saved
        self._seen = False

    def target(self, observation: Mapping[str, Any], action: Array) -> Array:
        """Return positions, meters, and orientation matrices to reach, (hands, 12).

        Args:
            observation: has the hands' positions; a displacement is seen from there.
            action: the decision.
        """
        self._look()
        targets = np.empty((len(self.arm.hands), 12))
        for row, hand, first in zip(targets, self.arm.hands, self._orientations, strict=True):
            spec = hand.spec
            row[:3] = observation[spec.position] + action[spec.motion : spec.motion + 3]
            held = first
            if spec.turn >= 0:
                angle = _yaw(self._pose(hand)[1] @ first.T) + float(action[spec.turn])
                cos, sin = np.cos(angle), np.sin(angle)
                held = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]) @ first
            row[3:] = held.reshape(-1)
        return targets

    def raw(self, observation: Mapping[str, Any], target: Array, action: Array) -> Array:
        """Return the next raw action: joints, grippers, and what is passed on.

        Args:
            observation: not used: the simulation says where the joints are.
            target: of the decision.
            action: the decision.
        """
        if not self._seen:
            self._look()
        self._seen = False
        arm = self.arm
        raw = np.zeros(len(arm.raw_low))
        raw[self._numbered] = self._numbers(self._solve(target))
        if arm.passed.size:
            raw[arm.passed[1]] = action[arm.passed[0]]
        for hand in arm.hands:
            if hand.grip.size:
                low, high = arm.raw_low[hand.grip], arm.raw_high[hand.grip]
                raw[hand.grip] = (
                    low + high + (high - low) * hand.signs * float(action[hand.spec.gripper])
                ) / 2
        return raw

    def there(self, before: Mapping[str, Any], observation: Mapping[str, Any], target: Array) -> bool:
        """Return whether each hand is near its target on each axis, and its fingers rest.

        Args:
            before: not used.
            observation: not used: the simulation says where the hands are.
            target: of the decision.
        """
        self._look()
        for hand, row in zip(self.arm.hands, target, strict=True):
            position, matrix = self._pose(hand)
            if np.abs(row[:3] - position).max() >= NEAR:
                return False
            if hand.spec.turn >= 0 and abs(_yaw(row[3:].reshape(3, 3) @ matrix.T)) >= NEAR_TURN:
                return False
            if hand.fingers.size and np.abs(self._qvel[hand.fingers]).max() * self.arm.seconds >= STILL:
                return False
        return True

    def spread(self, hand: HandModel) -> float:
        """Return the distance of a hand's fingertips now, meters, summed over pairs."""
        self._look()
        model = self._model
        fingers = {int(model.dof_bodyid[dof]) for dof in hand.fingers}
        moved = {b for b in range(model.nbody) if fingers & set(ancestors(model, b))}
        tips = [b for b in moved if not moved & set(np.flatnonzero(model.body_parentid == b).tolist())]
        points = [self._own.xipos[b] for b in tips]
        if len(points) == 1:  # one jaw moves: from the hand, which is in front of the other
            points.append(self._pose(hand)[0])
        return sum(float(np.linalg.norm(one - other)) for one, other in combinations(points, 2))

    def _attach(self, env: Any) -> None:
        """Look model and data up again: an environment may have compiled new ones."""
        import mujoco

        found = physics_of(env)
        model: Any
        model, self._data = found or (None, None)
        if model is None or (model.nq, model.nv, model.nu) != self.arm.size:
            raise EnvironmentFault(
                "hands: the MuJoCo model of this episode is another than the one that was looked at; make the"
                " environment keep its joints and actuators"
            )
        if model is not self._model:
            self._model, self._own = model, mujoco.MjData(model)
            self._hand_jacobian, self._inertia = np.zeros((6, model.nv)), np.zeros((model.nv, model.nv))
        arm, rate = self.arm, RATE / self.arm.seconds
        # Torque for a step of a joint: what its servo gives, or more where that would be slower than RATE.
        servo, brake = -(arm.gear**2) * arm.affine[2:]
        self._brake = brake + model.dof_damping[arm.dofs]
        self._torque = np.maximum(servo, rate * self._brake)
        self._spring = servo * arm.seconds**2
        self._diagonal = model.dof_Madr[arm.dofs]
        # Views stay those of the data; each look-up in a MuJoCo data makes a new one, 0.3 µs.
        data, own = self._data, self._own
        self._qpos, self._qvel, self._own_qpos = data.qpos, data.qvel, own.qpos
        self._forces = (data.qfrc_bias, data.qfrc_spring, data.qfrc_gravcomp)
        self._ctrl, self._act = data.ctrl, data.act
        self._places = (own.site_xpos, own.site_xmat), (own.xpos, own.xmat)
        self._jacobian_of = mujoco.mj_jacSite, mujoco.mj_jacBody
        self._mujoco = mujoco

    def _look(self) -> None:
        """Compute where the hands are now."""
        self._own_qpos[:] = self._qpos
        if self._model.nmocap:
            self._own.mocap_pos[:], self._own.mocap_quat[:] = self._data.mocap_pos, self._data.mocap_quat
        self._mujoco.mj_kinematics(self._model, self._own)
        self._mujoco.mj_comPos(self._model, self._own)
        self._seen = True

    def _pose(self, hand: HandModel) -> tuple[Array, Array]:
        """Return a hand's position, (3,), and orientation, (3, 3)."""
        positions, matrices = self._places[not hand.is_site]
        return positions[hand.id], matrices[hand.id].reshape(3, 3)

    def _solve(self, target: Array) -> Array:
        """Return the step of the joints by damped least squares within their limits."""
        self._linearize(target)
        position, moved = self._qpos[self._at], self._moved
        low, high = self._low - position, self._high - position
        wanted = POSTURE * (self._posture - position) if self._redundant else self._zeros
        step = self._step(wanted, low, high, None)
        error = self._error[:moved]
        size = float(error @ error)
        if size > NEAR**2 and error @ (self._jacobian[:moved] @ step) < STUCK * size:
            # A stretched arm: no joint moves the hand towards its base, and the solve alone would stay there. Where
            # the joints are bent towards the middles of their ranges, they can.
            finite = np.isfinite(low) & np.isfinite(high)
            bend = (np.where(finite, low, 0.0) + np.where(finite, high, 0.0)) / 2
            step = self._step(np.minimum(np.maximum(bend, -BEND), BEND), low, high, moved)
        largest = max(step.max(), -step.min())
        return step if largest <= self._most else step * (self._most / largest)

    def _step(self, wanted: Array, low: Array, high: Array, rows: int | None) -> Array:
        """Return the least change to a wanted step of the joints that removes the error.

        Args:
            wanted: (n,) step of the joints.
            low: (n,) the joints' limits from where they are.
            high: (n,) likewise.
            rows: how many of the error count, None for all.
        """
        whole, error, damping = self._jacobian[:rows], self._error[:rows], self._damping[:rows, :rows]
        jacobian = whole
        for _ in range(3):  # each time joints that would leave their range are left out
            missing = np.linalg.solve(jacobian @ jacobian.T + damping, error - whole @ wanted)
            step: Array = wanted + missing @ jacobian
            kept: Array = np.minimum(np.maximum(step, low), high)
            outside = kept != step
            if True not in outside.tolist():  # outside.any() takes 2 µs
                break
            jacobian, wanted = np.where(outside, 0.0, jacobian), np.where(outside, kept, wanted)
        return kept

    def _linearize(self, target: Array) -> None:
        """Fill in the Jacobian and the error of all hands."""
        columns, row, turn = self._hand_jacobian, 0, self._moved
        for hand, wanted in zip(self.arm.hands, target, strict=True):
            position, matrix = self._pose(hand)
            self._jacobian_of[not hand.is_site](self._model, self._own, columns[:3], columns[3:], hand.id)
            moved = columns[:, self._dofs]
            self._jacobian[row : row + 3] = moved[:3]
            error = wanted[:3] - position
            length = float(error @ error) ** 0.5
            self._error[row : row + 3] = error if length <= ERROR else error * (ERROR / length)
            row += 3
            if hand.rows > 3:
                left = (wanted[3:].reshape(3, 3) @ matrix.T).tolist()
                if hand.rows == 4:
                    self._jacobian[turn] = moved[5]
                    self._error[turn] = max(-TURN_ERROR, min(TURN_ERROR, _yaw(left)))
                else:
                    self._jacobian[turn : turn + 3] = moved[3:]
                    (_, xy, xz), (yx, _, yz), (zx, zy, _) = left
                    # Half of it is the axis times the sine of the angle.
                    x, y, z = zy - yz, xz - zx, yx - xy
                    share = min(0.5, TURN_ERROR / (math.sqrt(x * x + y * y + z * z) or 1.0))
                    self._error[turn : turn + 3] = share * x, share * y, share * z
                turn += hand.rows - 3

    def _numbers(self, step: Array) -> Array:
        """Return the raw action numbers, (k,), that make the joints take a step."""
        arm, dofs, position = self.arm, self._dofs, self._qpos[self._at]
        bias, spring, gravity = self._forces
        # What holds the arm up against gravity, without the damping of the joints, which keeps a servo steady.
        force = (bias[dofs] - spring[dofs] - gravity[dofs]) / arm.gear
        hold = (force - arm.affine[1] - arm.gear * arm.affine[2] * position) / arm.affine[0]
        move = self._torque * step
        inertia = self._data.qM[self._diagonal]  # the environment's, one time step old at most
        loose = (self._brake < 2 * self._bandwidth * inertia) & (self._spring < LOOSE * inertia)
        if True in loose.tolist():
            # Computed torque, critically damped, where there is no servo, or one that is too loose to stop its joint.
            self._mujoco.mj_fullM(self._model, self._inertia, self._data.qM)
            wanted = self._bandwidth**2 * step - 2 * self._bandwidth * self._qvel[dofs]
            # Damping is fed forward for the wanted velocity: cancelled, it could not steady anything.
            forward = self._brake * (self._bandwidth / 2) * step
            move = np.where(loose, self._inertia[arm.dofs[:, None], arm.dofs] @ wanted + forward, move)
        move = move / self._effect
        if self._integrates:
            integrated = arm.integrated >= 0
            hold = np.where(integrated, (hold - self._act[arm.integrated]) / arm.seconds, hold)
            move = np.where(integrated, move / arm.seconds, move)
        hold = hold - arm.offset
        if not self._rates:
            absolute: Array = arm.inverse @ (hold + move)
            return absolute
        hold = hold - np.where(arm.base == AFTER_CTRL, self._ctrl[arm.actuators], self._after_qpos * position)
        still, moving = arm.inverse @ hold, arm.inverse @ move
        # A rate that is too fast is made slower as a whole: a straight way stays straight.
        low, high = arm.raw_low[arm.numbers], arm.raw_high[arm.numbers]
        room = np.maximum(np.where(moving > 0, high - still, still - low), LEAST_ROOM * (high - low))
        share = float((np.abs(moving) / np.maximum(room, TINY)).max())
        rates: Array = still + moving / max(share, 1.0)
        return rates


def _yaw(rotation: Any) -> float:
    """Return the angle about the vertical axis that is nearest to a rotation, rad."""
    return math.atan2(rotation[1][0] - rotation[0][1], rotation[0][0] + rotation[1][1])


def _slice(indices: Array) -> Any:
    """Return consecutive indices as a slice, whose views cost a third of copies."""
    first = int(indices[0])
    run = slice(first, first + len(indices))
    return run if indices.tolist() == list(range(first, run.stop)) else indices
