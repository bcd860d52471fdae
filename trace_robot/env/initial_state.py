"""Noise on the state in which an episode begins: a world's ``reset_noise``.

What ``reset_noise_scale`` is to gymnasium's MuJoCo environments, but by joint and for every one. It comes after the
environment's own reset, and the first observation is that of the changed state, by the environment's own function of it
or not at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trace_robot.env.world import stream
from trace_robot.errors import EnvironmentFault, ValueMismatchError, unknown
from trace_robot.spec import Array

if TYPE_CHECKING:
    from trace_robot.env.guard import StateObserver
    from trace_robot.env.world import Range, World, WorldSet

ALL, DRIVEN, FREE = GROUPS = ("all", "driven", "free")
TRIES = 100  # of a state in which no shapes interpenetrate; most worlds need one or two
DEEP = 0.01  # meters by which two shapes may interpenetrate more than after the environment's own reset
SHOWN = 6  # joints that feedback names
BEGAN = "began_"  # of the entries of what was drawn; then the unit, "_", and the name of the joint
SETTLING = 0.625  # seconds for an arm to follow its mocap body: as long as Meta-World's own reset takes
# Numbers of MuJoCo's enumerations, so that only what simulates imports it.
FREE_JOINT, BALL_JOINT, SLIDE_JOINT = 0, 1, 2  # mjtJoint
CONNECT, WELD, JOINT_EQUALITY = 0, 1, 2  # mjtEq
JOINT_TRANSMISSIONS = (0, 1)  # mjTRN_JOINT, mjTRN_JOINTINPARENT
TENDON_TRANSMISSION, JOINT_WRAP = 3, 1  # mjTRN_TENDON, mjWRAP_JOINT
SITE = 6  # mjOBJ_SITE


def check_reset_noise(
    worlds: WorldSet, name: str, physics: tuple[Any, Any], observer: StateObserver | None
) -> None:
    """Check that an environment can begin in other states.

    Args:
        worlds: to be checked.
        name: of the environment.
        physics: MuJoCo's model and data.
        observer: of the environment, None where there is none.

    Raises:
        UnknownNameError: a joint that the model does not have.
        ValueMismatchError: the environment has no function of the state, or a joint cannot be moved by itself.
    """
    for world in worlds.worlds:
        if world.reset_noise:
            _Joints(name, *physics, observer).sizes(world.reset_noise, 0.0)
        if world.begins_elsewhere and observer is None:
            raise ValueMismatchError(
                f"{name} has no method _get_obs() that gives the observation of its state, so a world cannot change"
                " where its episodes begin; give its class one, or leave reset_noise out"
            )


def begin_elsewhere(
    world: World, seed: int, name: str, physics: tuple[Any, Any], observer: StateObserver
) -> dict[str, float]:
    """Change the joint positions in which an episode begins, after a reset.

    Args:
        world: the standard deviations.
        seed: of the condition.
        name: of the environment.
        physics: MuJoCo's model and data.
        observer: of the environment.

    Returns:
        How far off each joint is, in its unit, the largest ones.

    Raises:
        EnvironmentFault: in every state that was drawn shapes interpenetrate.
        UnknownNameError, ValueMismatchError: as of ``check_reset_noise``, for a model that was made in this reset.
    """
    import mujoco

    model, data = physics
    random = stream(seed, "reset")
    joints = _Joints(name, model, data, observer)
    sizes, shifts = joints.sizes(world.reset_noise, float(random.random()))
    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    before = np.empty(mujoco.mj_stateSize(model, kind))
    mujoco.mj_getState(model, data, before, kind)
    start, mocap, warnings = data.qpos.copy(), data.mocap_pos.copy(), data.warning.number.copy()
    mujoco.mj_forward(model, data)  # a cached reset may have left the contacts of another state
    allowed = _depths(data)
    hands = data.xpos[joints.hands].copy()
    for _ in range(TRIES):
        # Numbers for all joints in every try, so that what one of them gets depends on no other.
        noise, shift = (
            random.standard_normal(sizes.shape) * sizes,
            random.standard_normal(shifts.shape) * shifts,
        )
        mujoco.mj_setState(model, data, before, kind)
        if shift.any():
            place = mocap + shift
            if observer.mocap_low is not None and observer.mocap_high is not None:
                place = np.where(shift == 0.0, mocap, place.clip(observer.mocap_low, observer.mocap_high))
            data.mocap_pos[:], data.qpos[:] = place, joints.settled(before, start, place)
        data.qpos[:] = joints.displaced(data.qpos, noise)
        mujoco.mj_forward(model, data)
        if np.isfinite(data.qpos).all() and np.isfinite(data.qacc).all() and not _deep(data, allowed):
            drawn = joints.drawn(start, data.qpos, sizes)
            return drawn | joints.moved(shifts, data.xpos[joints.hands] - hands)
        data.warning.number[:] = warnings  # of a state that no episode has
    raise EnvironmentFault(
        f"world {world.name!r} found no initial state of {name} in which shapes interpenetrate by at most {DEEP:g} m in"
        f" {TRIES} draws; give reset_noise smaller numbers, or fewer joints"
    )


def _depths(data: Any) -> dict[tuple[int, int], float]:
    """Return the meters by which shapes interpenetrate, by their pair."""
    depths: dict[tuple[int, int], float] = {}
    for (first, second), distance in zip(data.contact.geom.tolist(), data.contact.dist.tolist(), strict=True):
        depths[first, second] = max(depths.get((first, second), 0.0), -distance)
    return depths


def _deep(data: Any, allowed: Mapping[tuple[int, int], float]) -> bool:
    """Return whether shapes interpenetrate much deeper than after the reset."""
    return any(not depth <= allowed.get(pair, 0.0) + DEEP for pair, depth in _depths(data).items())


class _Joints:
    """Joints of a model that can be moved by themselves, by name.

    A joint without a name is called as its body. Joints that an equality constraint holds would snap back: those of an
    arm that hangs on a mocap body are moved with that body.
    """

    def __init__(self, env: str, model: Any, data: Any, observer: StateObserver | None) -> None:
        """Look at a model.

        Args:
            env: name of the environment.
            model: MuJoCo's.
            data: its state, which has the constraints that are active.
            observer: has the bounds of mocap bodies. Others are not moved: that of FetchPush-v4 is a meter away from
                the hand until its first step.
        """
        self._env, self._model = env, model
        self._has_arms = observer is not None and observer.mocap_low is not None
        self._labels = [
            model.joint(joint).name or model.body(int(model.jnt_bodyid[joint])).name or f"joint {joint}"
            for joint in range(model.njnt)
        ]
        # By mocap body: its name, the body that follows it, and the joints that move with that.
        self._arms: dict[int, tuple[str, int, set[int]]] = {}
        self._held: dict[int, str] = {}  # why
        for constraint in np.flatnonzero(data.eq_active).tolist():
            self._look(constraint)

    def sizes(self, noise: Mapping[str, Range], share: float) -> tuple[Array, Array]:
        """Return the standard deviations of joints, (nv,), and mocaps, (nmocap, 3).

        Args:
            noise: by name of a joint, a group or a mocap body; what is named itself counts before its group.
            share: from 0 to 1, where each range is.

        Raises:
            UnknownNameError: there is no such joint.
            ValueMismatchError: a joint is held, or a group has none that is not.
        """
        model = self._model
        sizes, shifts = np.zeros(model.nv), np.zeros((model.nmocap, 3))
        for name in sorted(noise, key=lambda each: (each != ALL) + (each not in GROUPS)):
            low, high = noise[name]
            size = low + share * (high - low)
            arm = next((mocap for mocap, (each, _, _) in self._arms.items() if each == name), None)
            if arm is not None and name not in self._labels:
                shifts[arm] = size
                continue
            for joint in self._named(name):
                dof, kind = int(model.jnt_dofadr[joint]), int(model.jnt_type[joint])
                if kind == FREE_JOINT:  # x, y, and the turn about z
                    sizes[[dof, dof + 1, dof + 5]] = size
                else:
                    sizes[dof : dof + (3 if kind == BALL_JOINT else 1)] = size
        return sizes, shifts

    def displaced(self, start: Array, noise: Array) -> Array:
        """Return joint positions that are off by noise, within the ranges of the joints.

        Args:
            start: (nq,) positions.
            noise: (nv,) radians and meters.
        """
        import mujoco

        model, qpos = self._model, start.copy()
        for joint in self._moving(noise):
            at, dof = int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint])
            kind, (low, high) = int(model.jnt_type[joint]), model.jnt_range[joint].tolist()
            limited = bool(model.jnt_limited[joint])
            if kind == FREE_JOINT:
                qpos[at : at + 2] += noise[dof : dof + 2]
                half = float(noise[dof + 5]) / 2
                turn = np.array((math.cos(half), 0.0, 0.0, math.sin(half)))
                mujoco.mju_mulQuat(qpos[at + 3 : at + 7], turn, start[at + 3 : at + 7])
            elif kind == BALL_JOINT:
                turned, vector = start[at : at + 4].copy(), np.zeros(3)
                mujoco.mju_quatIntegrate(turned, noise[dof : dof + 3], 1.0)
                mujoco.mju_quat2Vel(vector, turned, 1.0)
                angle = float(np.linalg.norm(vector))
                if limited and angle > high > 0:  # its range is that of its angle
                    mujoco.mju_axisAngle2Quat(turned, vector / angle, high)
                qpos[at : at + 4] = turned
            else:
                value = float(start[at] + noise[dof])
                # A reset may begin beyond a range, and is then not moved into it.
                qpos[at] = min(max(value, min(low, start[at])), max(high, start[at])) if limited else value
        return qpos

    def settled(self, state: Array, start: Array, places: Array) -> Array:
        """Return joint positions, (nq,), once arms have followed their mocap bodies.

        Simulated in another ``MjData``, from which the arms alone are taken: what lies around is not moved.

        Args:
            state: integration state.
            start: (nq,) positions.
            places: (nmocap, 3) meters.
        """
        import mujoco

        model, scratch = self._model, mujoco.MjData(self._model)
        mujoco.mj_setState(model, scratch, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        scratch.mocap_pos[:] = places
        mujoco.mj_step(model, scratch, nstep=max(1, round(SETTLING / model.opt.timestep)))
        qpos = start.copy()
        for joint in set().union(*(joints for _, _, joints in self._arms.values())):
            at = int(model.jnt_qposadr[joint])
            end = at + {FREE_JOINT: 7, BALL_JOINT: 4}.get(int(model.jnt_type[joint]), 1)
            qpos[at:end] = scratch.qpos[at:end]
        return qpos

    def drawn(self, start: Array, qpos: Array, sizes: Array) -> dict[str, float]:
        """Return how far off the joints with noise are, the largest, by unit and name.

        Args:
            start: (nq,) positions after the environment's reset.
            qpos: (nq,) positions in which the episode begins.
            sizes: (nv,) standard deviations.
        """
        model, found = self._model, {}
        for joint in self._moving(sizes):
            at, kind, label = int(model.jnt_qposadr[joint]), int(model.jnt_type[joint]), self._labels[joint]
            if kind == FREE_JOINT:
                found[f"{BEGAN}m_{label}"] = float(np.linalg.norm(qpos[at : at + 2] - start[at : at + 2]))
                found[f"{BEGAN}rad_{label}"] = _angle(start[at + 3 : at + 7], qpos[at + 3 : at + 7])
            elif kind == BALL_JOINT:
                found[f"{BEGAN}rad_{label}"] = _angle(start[at : at + 4], qpos[at : at + 4])
            else:
                found[f"{BEGAN}{'m' if kind == SLIDE_JOINT else 'rad'}_{label}"] = float(qpos[at] - start[at])
        largest = sorted(found, key=lambda name: -abs(found[name]))[:SHOWN]
        return {name: found[name] for name in largest if found[name]}

    @property
    def hands(self) -> list[int]:
        """The bodies that follow mocap bodies, H of them."""
        return [body for _, body, _ in self._arms.values()]

    def moved(self, shifts: Array, away: Array) -> dict[str, float]:
        """Return how far off the hands with noise are, by name of the mocap body.

        Args:
            shifts: (nmocap, 3) standard deviations.
            away: (H, 3) meters.
        """
        far = zip(self._arms.items(), np.linalg.norm(away, axis=1).tolist(), strict=True)
        return {f"{BEGAN}m_{name}": meters for (mocap, (name, _, _)), meters in far if shifts[mocap].any()}

    def _moving(self, sizes: Array) -> list[int]:
        """Return the joints of which a degree of freedom, of (nv,), is not 0."""
        return sorted({int(self._model.dof_jntid[dof]) for dof in np.flatnonzero(sizes).tolist()})

    def _named(self, name: str) -> list[int]:
        """Return the joints of a name or a group that can be moved, at least one."""
        model = self._model
        able = [joint for joint in range(model.njnt) if joint not in self._held]
        names = [*dict.fromkeys(self._labels[joint] for joint in able), *self._mocap_names()]
        possible = f"possible are {', '.join([*names, *GROUPS])}"
        found = [joint for joint, label in enumerate(self._labels) if label == name]
        if found:
            if held := [joint for joint in found if joint in self._held]:
                raise ValueMismatchError(
                    f"joint {name!r} of {self._env} {self._held[held[0]]}, and would snap back; {possible}"
                )
            return found
        if name not in GROUPS:
            raise unknown(f"joint of {self._env}", name, [*names, *GROUPS])
        driven = self._driven() if name == DRIVEN else set()
        found = [
            joint
            for joint in able
            if name == ALL or joint in driven or (name == FREE and model.jnt_type[joint] == FREE_JOINT)
        ]
        if not found:
            raise ValueMismatchError(
                f"{self._env} has no {name} joints that can be moved by themselves; {possible}"
            )
        return found

    def _mocap_names(self) -> list[str]:
        return [name for name, _, _ in self._arms.values()]

    def _driven(self) -> set[int]:
        """Return the joints that actuators drive, by themselves or by tendons."""
        model, driven = self._model, set()
        for kind, (target, _) in zip(
            model.actuator_trntype.tolist(), model.actuator_trnid.tolist(), strict=True
        ):
            if kind in JOINT_TRANSMISSIONS:
                driven.add(target)
            elif kind == TENDON_TRANSMISSION:
                first = int(model.tendon_adr[target])
                wraps = range(first, first + int(model.tendon_num[target]))
                driven.update(
                    int(model.wrap_objid[wrap]) for wrap in wraps if model.wrap_type[wrap] == JOINT_WRAP
                )
        return driven

    def _look(self, constraint: int) -> None:
        """Note the joints that an equality constraint holds."""
        model, kind = self._model, int(self._model.eq_type[constraint])
        ends = int(model.eq_obj1id[constraint]), int(model.eq_obj2id[constraint])
        if kind == JOINT_EQUALITY:
            self._held.update(
                dict.fromkeys((each for each in ends if each >= 0), "is coupled to another one")
            )
        if kind not in (CONNECT, WELD):
            return
        if int(model.eq_objtype[constraint]) == SITE:
            ends = int(model.site_bodyid[ends[0]]), int(model.site_bodyid[ends[1]])
        first, second = map(self._chain, ends)
        reason = "is in a closed chain"
        for mocap, body in (ends, ends[::-1]):
            if (number := int(model.body_mocapid[mocap])) >= 0:
                name = model.body(mocap).name or f"mocap {number}"
                follows = [
                    each for each in range(model.njnt) if body in self._bodies(int(model.jnt_bodyid[each]))
                ]
                if self._has_arms:
                    self._arms[number] = name, body, {*self._chain(body), *follows}
                reason = f"hangs on the mocap body {name!r}"
        for joint in first ^ second:
            self._held.setdefault(joint, reason)

    def _bodies(self, body: int) -> list[int]:
        """Return a body and those it hangs on, without the world."""
        found = []
        while body > 0:
            found.append(body)
            body = int(self._model.body_parentid[body])
        return found

    def _chain(self, body: int) -> set[int]:
        """Return the joints between a body and the world."""
        bodies = self._bodies(body)
        return {joint for joint in range(self._model.njnt) if int(self._model.jnt_bodyid[joint]) in bodies}


def _angle(first: Array, second: Array) -> float:
    """Return the angle between two rotations, quaternions of (4,), radians."""
    import mujoco

    vector = np.zeros(3)
    mujoco.mju_subQuat(vector, np.ascontiguousarray(second), np.ascontiguousarray(first))
    return float(np.linalg.norm(vector))
