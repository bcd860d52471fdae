"""Descriptions of environments and recorded states, as plain data for any process."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
MEASURES = {  # how well an episode was done, by the names of its infos: a title and a unit for tables
    "quality_success_seconds": ("time to success", "s"),
    "quality_final_distance": ("final distance", "m"),
    "quality_path_length": ("path", "m"),
    "quality_peak_speed": ("peak speed", "m/s"),
    "quality_jerk": ("jerk (rms)", "m/s³"),
    "quality_peak_force": ("peak contact force", "N"),
}
COUNTED = re.compile(r"(.*?)([0-9]{1,6})")  # a name that a number ends, such as observation_12


DIFFERENCE = re.compile(r"_(from|to)_")
UPWARD = re.compile(r"\b(z|height|vertical|up)\b|_(z|height)\b")


def may_be_planar_point(part: Field) -> bool:
    """Return whether two numbers may be a planar point, by their names.

    A difference of two points ("target_from_hook") is none, and neither is a point of a vertical plane.
    """
    words = f"{part.name} {part.meaning}".lower()
    return (part.size, part.unit) == (2, "m") and not (DIFFERENCE.search(part.name) or UPWARD.search(words))


@dataclass(frozen=True, slots=True)
class Field:
    """A named part ``[start:stop]`` of a flat observation or action.

    Attributes:
        name: a Python name; a controller reads ``observation[name]``.
        start: index of its first number.
        stop: index after its last number.
        unit: such as "m" or "rad/s"; "" where it has none.
        meaning: what the numbers are, for a model to read.
        whole: of an action: whether the environment takes whole numbers only; others are rounded to the nearest.
    """

    name: str
    start: int
    stop: int
    unit: str = ""
    meaning: str = ""
    whole: bool = False

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return self.stop - self.start

    def of(self, vector: Array) -> Any:
        """Return this field of a vector: a float, or a copy of shape (size,) for more."""
        return float(vector[self.start]) if self.size == 1 else vector[self.start : self.stop].copy()


@dataclass(frozen=True, slots=True)
class HandSpec:
    """One hand of an action, in the terms of the action that a controller gives.

    Attributes:
        name: such as "hand" or "left".
        position: the observation field that is its position, (3,), meters, world frame.
        motion: index of the first of three action numbers that move it along x, y, z.
        turn: index of the action number that turns it about the vertical axis; -1 for none.
        yaw: the observation field with the angle that ``turn`` changes, one number, rad; "" for none.
        gripper: index of the action number of its gripper; -1 for none.
        opens: the sign of that number that opens it.
    """

    name: str
    position: str
    motion: int
    turn: int = -1
    yaw: str = ""
    gripper: int = -1
    opens: float = -1.0


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """Everything an optimizer, a prompt or a sandbox may know of an environment.

    Attributes:
        name: of the environment.
        instruction: what a controller must do, as text.
        observation: the fields a controller sees, in the order of the flat vector; fields may leave gaps.
        action: the fields of the action, which use it up.
        observation_size: how many numbers the flat observation has, with those in gaps.
        low: lower bounds of the action, (act_dim,).
        high: upper bounds of the action, (act_dim,).
        horizon: decisions after which an episode ends with "time".
        success: what ``info["success"]`` means, or what the return must be, as text.
        control: "raw" for the environment's own actions, "pose" for targets that are tracked.
        positions: names of observation fields that are points in meters, world frame, shape (3,); the hand's
            comes first, empty where the environment has none.
        options: with which the environment can be made again.
        failure: why the environment itself may end an episode that has not succeeded, as text.
        return_threshold: an episode succeeds if the sum of its rewards is at least this when it ends; None where
            ``info["success"]`` decides, as soon as it is true.
        terms: entries of ``info`` that feedback shows, in this order; empty for every number in it.
        simulator_steps: of an episode at most, where a decision may take several; 0 for as many as the horizon.
        hands: the hands that the action moves, as declared; ``hands_of`` also knows the one that is implied.
    """

    name: str
    instruction: str
    observation: tuple[Field, ...]
    action: tuple[Field, ...]
    observation_size: int
    low: tuple[float, ...]
    high: tuple[float, ...]
    horizon: int
    success: str = ""
    control: str = "raw"
    positions: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""
    return_threshold: float | None = None
    terms: tuple[str, ...] = ()
    simulator_steps: int = 0
    hands: tuple[HandSpec, ...] = ()

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> TaskSpec:
        """Return the spec of which ``to_data`` gave ``data``, also after JSON."""
        fields: dict[str, tuple[Any, ...]] = {}
        for name in ("observation", "action"):
            fields[name] = tuple(Field(**part) for part in data[name])
        if "hands" in data:
            fields["hands"] = tuple(HandSpec(**hand) for hand in data["hands"])
        # JSON has no tuples; as lists they would make a spec that is read unequal to the one that was written.
        tuples = {name: tuple(data[name]) for name in ("low", "high", "positions", "terms") if name in data}
        return cls(**{**data, **fields, **tuples})

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data, without ``hands`` where it declares none."""
        data = asdict(self)
        if not self.hands:
            del data["hands"]  # a run that is stored without them has the bytes that it always had
        return data

    @property
    def action_size(self) -> int:
        """How many numbers an action has: act_dim."""
        return len(self.low)

    def named(self, observation: Array) -> dict[str, Any]:
        """Return the observation, shape (observation_size,), as a dict of its fields."""
        return {part.name: part.of(observation) for part in self.observation}


def hands_of(spec: TaskSpec) -> tuple[HandSpec, ...]:
    """Return the hands of an action: those declared, or the one that is implied.

    An action of four numbers beside at least two positions is the motion of a hand along x, y, z and its gripper, as
    Meta-World and Fetch have it.
    """
    if spec.hands:
        return spec.hands
    if len(spec.positions) >= 2 and spec.action_size == 4:
        return (HandSpec("hand", spec.positions[0], 0, gripper=3),)
    return ()


def has_gripper(name: str, spec: TaskSpec) -> bool:
    """Return whether a hand has a gripper.

    Args:
        name: of the hand, "" for the first.
        spec: the environment.
    """
    hands = hands_of(spec)
    return next((hand for hand in hands if hand.name == name), hands[0]).gripper >= 0


def gripper_range(hand: HandSpec, spec: TaskSpec) -> tuple[float, float]:
    """Return the number of a half open gripper, and what closing it adds.

    Args:
        hand: whose gripper it is, which it may lack.
        spec: whose bounds open and closed are, -1 and 1 where they are infinite.
    """
    if hand.gripper < 0:
        return 0.0, 0.0
    low, high = spec.low[hand.gripper], spec.high[hand.gripper]
    low, high = (low, high) if math.isfinite(high - low) else (-1.0, 1.0)
    return (low + high) / 2, (low - high) / 2 if hand.opens > 0 else (high - low) / 2


@dataclass(frozen=True, slots=True)
class Scene:
    """What is needed to draw recorded states in another process.

    Attributes:
        model_path: the MJCF file; "" where the environment draws itself.
        model_arrays: arrays of the model that the reset changed (``body_pos``, ...), by name.
        camera: a fixed camera's name; "" for a free one.
        upside_down: whether its picture must be turned by 180 degrees.
        view: of a free camera: "distance" (meters), "azimuth" and "elevation" (degrees), and the point "x", "y",
            "z" (meters) it looks at; what is left out is chosen.
        replay: for an environment that no model file describes: its name and options and the seed of the episode.
            It draws itself, being stepped again with the recorded actions, which are then the states' ``qpos``.
    """

    model_path: str
    model_arrays: Mapping[str, Array] = field(default_factory=dict)
    camera: str = ""
    upside_down: bool = False
    view: Mapping[str, float] = field(default_factory=dict)
    replay: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class States:
    """Recorded simulator states, F frames.

    Attributes:
        qpos: (F, nq) MuJoCo's positions of the joints; or (F, act_dim + 1) actions and rewards for a
            ``Scene.replay``.
        mocap_pos: (F, nmocap, 3) positions of mocap bodies, meters.
        mocap_quat: (F, nmocap, 4) their quaternions, w first.
        seconds: (F,) simulated time.
    """

    qpos: Array
    mocap_pos: Array
    mocap_quat: Array
    seconds: Array

    def __len__(self) -> int:
        return int(np.shape(self.qpos)[0])


def describe_fields(
    fields: Iterable[Field], low: tuple[float, ...] = (), high: tuple[float, ...] = (), *, joined: bool
) -> list[str]:
    """Return the names, shapes, units and bounds of fields as text, a line each.

    Args:
        fields: of an observation or an action, in their order.
        low: (n,), bounds of an action by number; empty for an observation.
        high: (n,), likewise.
        joined: whether three or more numbers in a row take one line if only the number that ends their names differs.
    """
    # Of each: its name without a number, this number less its place, what follows the name, the name.
    lines: list[tuple[str, int, str, str]] = []
    for place, part in enumerate(fields):
        shape = f"{'number' if part.size == 1 else f'({part.size},)'}{f', {part.unit}' if part.unit else ''}"
        bounds = f", from {low[part.start]:g} to {high[part.start]:g}" if low else ""
        bounds += ", rounded to the nearest whole number" if part.whole else ""
        counted = COUNTED.fullmatch(part.name) if joined and part.size == 1 else None
        stem, number = counted.groups() if counted else (part.name, "0")
        lines.append((stem, int(number) - place, f"{shape}{bounds}. {part.meaning}".rstrip(), part.name))
    found = []
    for (_, _, text), group in groupby(lines, lambda line: line[:3]):
        names = [line[3] for line in group]
        if len(names) > 2:
            found.append(f"- {names[0]} to {names[-1]}: {len(names)} in a row, each: {text}")
        else:
            found += [f"- {name}: {text}" for name in names]
    return found


def fields_data(spec: TaskSpec) -> dict[str, Any]:
    """Return the fields of observation and action as plain data.

    spec: an infinite bound of it is None.
    """
    bounds = {
        name: [each if abs(each) < float("inf") else None for each in getattr(spec, name)]
        for name in ("low", "high")
    }
    return {
        "observation": [asdict(part) for part in spec.observation],
        "action": [
            asdict(part) | {name: every[part.start : part.stop] for name, every in bounds.items()}
            for part in spec.action
        ],
    }
