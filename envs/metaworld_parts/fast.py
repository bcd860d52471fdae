"""A control step without what upstream looks up, copies and computes for nothing; the same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import mujoco
import numpy as np

from trace_robot.spec import Array

from .exact import matrix_reader
from .layout import RULES, THINGS, Rule, Thing

FINGERS = ("rightEndEffector", "leftEndEffector")
HAND_TURN = (1.0, 0.0, 1.0, 0.0)


class FastStep:
    """Steps one of upstream's environments, an instance of a ``quick_class``.

    rewards: whether to compute upstream's reward and its terms, or success alone.
    """

    def __init__(self, name: str, upstream: Any, rewards: bool) -> None:
        self.upstream, self.rewards = upstream, rewards
        self._model, self._data = upstream.model, upstream.data
        data = self._data
        self._mocap, self._mocap_turn = data.mocap_pos[0], data.mocap_quat[0]
        self._control, self._frames = data.ctrl, upstream.frame_skip
        self._moved, self._scale = np.zeros(3, np.float32), upstream.action_scale
        self._mocap_low, self._mocap_high = upstream.mocap_low, upstream.mocap_high
        space = upstream.sawyer_observation_space
        self._low, self._high = space.low, space.high
        self._raw = np.zeros(39)
        self._now, self._before, self._goal = self._raw[:18], self._raw[18:36], self._raw[36:39]
        self._opening, self._claws = np.zeros(3), (data.body("rightclaw").xpos, data.body("leftclaw").xpos)
        self._read = [*_reads(self._raw[:3], data.body("hand").xpos)]
        for index, thing in enumerate(THINGS[name]):
            self._read += self._reads_of(name, thing, 4 + 7 * index)
        self._succeeded = _rule(RULES[name], upstream)
        self.load()

    def load(self) -> None:
        """Take over what upstream remembers, after a reset or a restored snapshot."""
        self._now[:] = self.upstream._prev_obs

    def store(self) -> None:
        """Give upstream what it would remember, before a snapshot."""
        self.upstream._prev_obs = self._now.copy()

    def step(self, action: Array) -> tuple[Array, float, Mapping[str, Any]]:
        """Advance one control step; the action has shape (4,), float32, within [-1, 1]."""
        mocap = self._mocap
        np.multiply(action[:3], self._scale, out=self._moved)
        np.add(mocap, self._moved, out=mocap)
        np.maximum(mocap, self._mocap_low, out=mocap)
        np.minimum(mocap, self._mocap_high, out=mocap)
        self._mocap_turn[:] = HAND_TURN
        self._control[0] = grip = float(action[3])
        self._control[1] = -grip
        mujoco.mj_step(self._model, self._data, self._frames)
        mujoco.mj_forward(self._model, self._data)
        self.upstream.curr_path_length += 1
        observation = self._observe()
        if self.rewards:
            reward, terms = self.upstream.evaluate_state(observation, action)
            return observation, reward, terms
        return observation, 0.0, {"success": self._succeeded(observation)}

    def _observe(self) -> Array:
        self._before[:] = self._now
        for read in self._read:
            read()
        np.subtract(*self._claws, out=self._opening)
        self._raw[3] = min(max(math.sqrt(self._opening.dot(self._opening)) / 0.1, 0.0), 1.0)
        self._goal[:] = self.upstream._target_pos
        observation: Array = np.maximum(self._raw, self._low)
        np.minimum(observation, self._high, out=observation)
        return observation

    def _reads_of(self, name: str, thing: Thing, at: int) -> list[Callable[[], Any]]:
        """Return what copies one object's position and orientation into the observation."""
        data, raw = self._data, self._raw
        place, turn = raw[at : at + 3], raw[at + 3 : at + 7]
        position = getattr(data, thing.kind)(thing.name).xpos
        if name == "dial-turn-v3":
            reads = [_dial(place, position, data.joint("knob_Joint_1").qpos)]
        else:
            reads = _reads(place, position, thing.shift)
        if len(thing.turn) == 4:
            self._raw[at + 3 : at + 7] = thing.turn
            return [*reads, *_reads(turn, np.array(thing.turn))]
        kind, turned = thing.turn
        if kind == "quaternion":
            return [*reads, *_reads(turn, data.body(turned).xquat)]
        return [*reads, _matrix(turn, getattr(data, kind)(turned).xmat)]


def _reads(place: Array, source: Array, shift: Any = None) -> list[Callable[[], Any]]:
    if shift is None:
        return [lambda: np.copyto(place, source)]
    offset = np.array(shift)
    return [lambda: np.add(source, offset, place)]


def _matrix(place: Array, matrix: Array) -> Callable[[], Any]:
    quaternion = matrix_reader()

    def read() -> None:
        place[:] = quaternion(matrix)

    return read


def _dial(place: Array, centre: Array, angle: Array) -> Callable[[], Any]:
    def read() -> None:
        mark = np.array([np.sin(angle).item(), -np.cos(angle).item(), 0.0])
        mark *= 0.05
        np.add(centre, mark, place)

    return read


def _rule(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    """Return what says whether an observation is a success; ``_target_pos`` may be replaced by a reset."""
    if rule.what in ("x", "y", "z"):
        axis = "xyz".index(rule.what)
        return lambda seen: bool(abs(seen[4 + axis] - upstream._target_pos[axis]) <= rule.radius)
    if rule.what == "object":
        return _distance(rule, upstream)
    return _SPECIAL[rule.what](rule, upstream)


def _length(vector: Array) -> float:
    return math.sqrt(vector.dot(vector))


def _distance(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    shift = None if rule.shift is None else np.array(rule.shift)
    radius = rule.radius
    if rule.strict:
        return lambda seen: _length(seen[4:7] - upstream._target_pos) < radius
    if shift is not None:
        return lambda seen: _length(seen[4:7] + shift - upstream._target_pos) <= radius
    return lambda seen: _length(seen[4:7] - upstream._target_pos) <= radius


def _fingertips(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    right, left = (upstream.data.site(name).xpos for name in FINGERS)
    return lambda seen: _length((right + left) / 2.0 - upstream._target_pos) <= rule.radius


def _peg_head(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    head, scale = upstream.data.site("pegHead").xpos, np.array(rule.scale)
    return lambda seen: _length((head - upstream._target_pos) * scale) <= rule.radius


def _above_hoop(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    scale = np.array(rule.scale)

    def succeeded(seen: Array) -> bool:
        target = upstream._target_pos.copy()
        target[2] = 0.3
        return _length((seen[4:7] - target) * scale) <= rule.radius

    return succeeded


def _seen_from_above(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    def succeeded(seen: Array) -> bool:
        target = upstream._target_pos
        return _length(seen[4:7] - np.array([target[0], target[1], seen[6]])) <= rule.radius

    return succeeded


def _nut_on_peg(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    nut = upstream.data.site("RoundNut").xpos

    def succeeded(seen: Array) -> bool:
        away = upstream._target_pos - nut
        return _length(away[:2]) < rule.radius and bool(away[2] > 0.0)

    return succeeded


def _higher(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    return lambda seen: bool(seen[6] > upstream._target_pos[2])


def _nail(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    depth = upstream.data.joint(rule.joint).qpos
    return lambda seen: bool(depth[0] > rule.radius)


def _lever(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    angle = upstream.data.joint(rule.joint).qpos
    return lambda seen: abs(float(-angle.item()) - np.pi / 2.0) <= np.pi / 24


def _stick_holds(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    def succeeded(seen: Array) -> bool:
        return (
            _length(seen[11:14] - upstream._target_pos) <= rule.radius
            and bool(seen[3] > 0)
            and bool(seen[6] - 0.01 > upstream.stick_init_pos[2])
            and upstream.touching_main_object
        )

    return succeeded


def _stick_inserted(rule: Rule, upstream: Any) -> Callable[[Array], bool]:
    end = upstream.data.site("stick_end").xpos

    def succeeded(seen: Array) -> bool:
        handle = seen[11:14]
        near = _length(handle - upstream._target_pos) <= rule.radius
        return near and bool(upstream._stick_is_inserted(handle, end))

    return succeeded


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
