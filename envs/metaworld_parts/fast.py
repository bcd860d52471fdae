"""The fast engine: upstream's control step, bit for bit, without its detours.

Upstream looks names up, copies arrays and computes values that no result depends on.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import mujoco
import numpy as np

from trace_robot.spec import Array

from .exact import matrix_reader
from .layout import RULES, THINGS, Rule, Thing

FINGERS = ("rightEndEffector", "leftEndEffector")
CLAWS = ("rightclaw", "leftclaw")
THREE_FLOATS = struct.Struct("3f")
HAND_TURN = np.array((1.0, 0.0, 1.0, 0.0))


class FastStep:
    """Steps one of upstream's environments, an instance of a ``quick_class``.

    rewards: whether to compute upstream's reward and its terms, or success alone.

    ``step`` advances one control step; the action has shape (4,), float32, within [-1, 1]. It is one closure
    because the physics leaves the caches cold: what counts is how much code runs between two of its steps, so
    three numbers are handled as floats, arrays that are written are views made once, and nothing is clipped
    that lies within its bounds.
    """

    def __init__(self, name: str, upstream: Any, rewards: bool) -> None:
        self.upstream = upstream
        self._raw = np.zeros(39)
        self._copied = [(self._raw[:3], upstream.data.body("hand").xpos)]
        self._computed: list[Callable[[], None]] = []
        for index, thing in enumerate(THINGS[name]):
            self._read(name, thing, 4 + 7 * index)
        push, observe = self._pusher(), self._observer()
        succeeded = _rule(RULES[name], upstream)
        evaluate = upstream.evaluate_state if rewards else None
        model, data, frames = upstream.model, upstream.data, upstream.frame_skip
        mj_step, mj_forward = mujoco.mj_step, mujoco.mj_forward

        def step(action: Array) -> tuple[Array, float, Mapping[str, Any]]:
            """Advance one control step and return observation, reward and terms."""
            push(action)
            mj_step(model, data, frames)
            mj_forward(model, data)
            observation = observe()
            if evaluate is None:
                return observation, 0.0, {"success": succeeded(observation)}
            reward, terms = evaluate(observation, action)
            return observation, reward, terms

        self.step = step
        self.load()

    def load(self) -> None:
        """Take over what upstream remembers, after a reset or a restored snapshot."""
        self._raw[:18] = self.upstream._prev_obs
        self._clipped_before = True

    def store(self) -> None:
        """Give upstream what it would remember, before a snapshot."""
        self.upstream._prev_obs = self._raw[:18].copy()

    def _pusher(self) -> Callable[[Array], None]:
        """Return what moves the mocap target and sets the gripper.

        Upstream multiplies in float32: the product of two such numbers is exact in float64, and packing rounds it.
        """
        upstream, data = self.upstream, self.upstream.data
        control, mocap, turn = data.ctrl, data.mocap_pos[0], data.mocap_quat[0]
        low_x, low_y, low_z = upstream.mocap_low.tolist()
        high_x, high_y, high_z = upstream.mocap_high.tolist()
        scale = float(np.float32(upstream.action_scale))
        pack, unpack = THREE_FLOATS.pack, THREE_FLOATS.unpack

        def push(action: Array) -> None:
            """Apply an action, (4,), to the simulator's inputs."""
            dx, dy, dz, grip = action.tolist()
            dx, dy, dz = unpack(pack(dx * scale, dy * scale, dz * scale))
            x, y, z = mocap.tolist()
            x, y, z = x + dx, y + dy, z + dz
            mocap[0] = low_x if x < low_x else high_x if x > high_x else x
            mocap[1] = low_y if y < low_y else high_y if y > high_y else y
            mocap[2] = low_z if z < low_z else high_z if z > high_z else z
            turn[:] = HAND_TURN
            control[0] = grip
            control[1] = -grip

        return push

    def _observer(self) -> Callable[[], Array]:
        """Return what reads the observation out of the simulator."""
        upstream, data, raw = self.upstream, self.upstream.data, self._raw
        now, before, between = raw[:18], raw[18:36], np.zeros(3)
        copied, computed, dot, sqrt = self._copied, self._computed, between.dot, math.sqrt
        hand, right, left = (data.body(name).xpos for name in ("hand", *CLAWS))
        low, high = upstream.sawyer_observation_space.low, upstream.sawyer_observation_space.high
        (low_x, low_y, low_z), (high_x, high_y, high_z) = low[:3].tolist(), high[:3].tolist()
        goal: list[float] = []
        goal_clipped = True

        def observe() -> Array:
            nonlocal goal, goal_clipped
            before[:] = now
            for place, source in copied:
                place[:] = source
            for compute in computed:
                compute()
            (x, y, z), (left_x, left_y, left_z) = right.tolist(), left.tolist()
            between[0], between[1], between[2] = x - left_x, y - left_y, z - left_z
            opening = sqrt(dot(between)) / 0.1
            raw[3] = 1.0 if opening > 1.0 else opening
            target = upstream._target_pos.tolist()
            if target != goal:
                goal, raw[36:39] = target, target
                goal_clipped = bool((raw[36:39] < low[36:39]).any() or (raw[36:39] > high[36:39]).any())
            x, y, z = hand.tolist()
            clipped = not (low_x <= x <= high_x and low_y <= y <= high_y and low_z <= z <= high_z)
            if clipped or self._clipped_before or goal_clipped:
                self._clipped_before = clipped
                return np.minimum(np.maximum(raw, low), high)  # type: ignore[no-any-return]
            return raw.copy()

        return observe

    def _read(self, name: str, thing: Thing, at: int) -> None:
        """Arrange that an object's position and orientation are read in every step."""
        data, place, turn = self.upstream.data, self._raw[at : at + 3], self._raw[at + 3 : at + 7]
        position = getattr(data, thing.kind)(thing.name).xpos
        if name == "dial-turn-v3":
            self._computed.append(_dial(place, position, data.joint("knob_Joint_1").qpos))
        elif thing.shift is not None:
            self._computed.append(_shifted(place, position, np.array(thing.shift)))
        else:
            self._copied.append((place, position))
        if len(thing.turn) == 4:
            self._copied.append((turn, np.array(thing.turn)))
        elif thing.turn[0] == "quaternion":
            self._copied.append((turn, data.body(thing.turn[1]).xquat))
        else:
            self._computed.append(_turned(turn, getattr(data, thing.turn[0])(thing.turn[1]).xmat))


def _shifted(place: Array, source: Array, offset: Array) -> Callable[[], None]:
    def read() -> None:
        np.add(source, offset, place)

    return read


def _turned(place: Array, matrix: Array) -> Callable[[], None]:
    quaternion = matrix_reader()

    def read() -> None:
        place[0], place[1], place[2], place[3] = quaternion(matrix)

    return read


def _dial(place: Array, center: Array, angle: Array) -> Callable[[], None]:
    def read() -> None:
        mark = np.array([np.sin(angle).item(), -np.cos(angle).item(), 0.0])
        mark *= 0.05
        np.add(center, mark, place)

    return read


def _rule(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    """Return the function that decides whether an observation is a success."""
    # It looks ``_target_pos`` up in every call: a reset may bind it to another array.
    if rule.what in ("x", "y", "z"):
        axis = "xyz".index(rule.what)
        return lambda seen: bool(abs(seen[4 + axis] - upstream._target_pos[axis]) <= rule.radius)
    if rule.what == "object":
        return _distance(rule, upstream)
    return _SPECIAL[rule.what](rule, upstream)


def _length(vector: Array) -> float:
    return math.sqrt(vector.dot(vector))


def _distance(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    """Return the most frequent rule: the distance of object and target."""
    # In most steps the object is far off, and three comparisons of floats decide without a norm.
    radius, shift = rule.radius, None if rule.shift is None else np.array(rule.shift)
    far = radius * 1.001 + (0.0 if rule.shift is None else max(map(abs, rule.shift)))

    def _succeeded(seen: Array) -> bool:
        target, place = upstream._target_pos, seen[4:7]
        (x, y, z), (to_x, to_y, to_z) = place.tolist(), target.tolist()
        if not (-far < x - to_x < far and -far < y - to_y < far and -far < z - to_z < far):
            return False
        distance = _length((place if shift is None else place + shift) - target)
        return distance < radius if rule.strict else distance <= radius

    return _succeeded


def _fingertips(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    right, left = (upstream.data.site(name).xpos for name in FINGERS)
    return lambda seen: _length((right + left) / 2.0 - upstream._target_pos) <= rule.radius


def _peg_head(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    head, scale = upstream.data.site("pegHead").xpos, np.array(rule.scale)
    return lambda seen: _length((head - upstream._target_pos) * scale) <= rule.radius


def _above_hoop(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    scale = np.array(rule.scale)

    def _succeeded(seen: Array) -> bool:
        target = upstream._target_pos.copy()
        target[2] = 0.3
        return _length((seen[4:7] - target) * scale) <= rule.radius

    return _succeeded


def _seen_from_above(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    def _succeeded(seen: Array) -> bool:
        target = upstream._target_pos
        return _length(seen[4:7] - np.array([target[0], target[1], seen[6]])) <= rule.radius

    return _succeeded


def _nut_on_peg(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    nut = upstream.data.site("RoundNut").xpos

    def _succeeded(seen: Array) -> bool:
        away = upstream._target_pos - nut
        return _length(away[:2]) < rule.radius and bool(away[2] > 0.0)

    return _succeeded


def _higher(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    return lambda seen: bool(seen[6] > upstream._target_pos[2])


def _nail(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    depth = upstream.data.joint(rule.joint).qpos
    return lambda seen: bool(depth[0] > rule.radius)


def _lever(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    angle = upstream.data.joint(rule.joint).qpos
    return lambda seen: abs(float(-angle.item()) - np.pi / 2.0) <= np.pi / 24


def _stick_holds(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    def _succeeded(seen: Array) -> bool:
        return (
            _length(seen[11:14] - upstream._target_pos) <= rule.radius
            and bool(seen[3] > 0)
            and bool(seen[6] - 0.01 > upstream.stick_init_pos[2])
            and upstream.touching_main_object
        )

    return _succeeded


def _stick_inserted(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    end = upstream.data.site("stick_end").xpos

    def _succeeded(seen: Array) -> bool:
        handle = seen[11:14]
        near = _length(handle - upstream._target_pos) <= rule.radius
        return near and bool(upstream._stick_is_inserted(handle, end))

    return _succeeded


_SPECIAL: Mapping[str, Callable[[Rule, Any], Callable[[Array], bool]]] = {
    "fingertips": _fingertips,
    "pegHead": _peg_head,
    "above hoop": _above_hoop,
    "seen from above": _seen_from_above,
    "nut on peg": _nut_on_peg,
    "higher": _higher,
    "nail": _nail,
    "lever": _lever,
    "stick holds": _stick_holds,
    "stick inserted": _stick_inserted,
}
