"""Worlds: what differs from nominal in an episode (domain randomization).

A world is plain data: ranges for noise, errors and delays of what is seen, for delays, noise and gain of what is done,
and for the physics of a MuJoCo model (Tobin et al., arXiv:1703.06907; Peng et al., arXiv:1710.06537). What an episode
gets is drawn from the number of its condition, so that it is the same for every candidate, in every worker and after a
resume. Each kind of difference has its own random stream: with more noise the delays stay those they were.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from trace_robot.errors import ValueMismatchError, unknown

Range = tuple[float, float]
LONGEST_DELAY = 10.0  # seconds
LARGEST = 1e12  # of any number
# The number of each random stream. They are part of what a condition means, and never change.
STREAMS = {
    "error": 1,
    "noise": 2,
    "loss": 3,
    "action_noise": 4,
    "action_loss": 5,
    "constants": 6,
    "physics": 7,
    "push": 8,
    "choice": 10,
    "reset": 11,
}
# To train in, each as often as it stands here. What is off by a constant comes twice: it is what costs most.
STANDARD: tuple[Mapping[str, Any], ...] = (
    {"name": "nominal"},
    {"name": "off", "observation_error": {"positions": [0.006, 0.012]}},
    {"name": "late", "action_delay": [0.04, 0.12]},
    {"name": "off", "observation_error": {"positions": [0.006, 0.012]}},
    {
        "name": "all at once",
        "observation_error": {"positions": [0.0, 0.006]},
        "observation_noise": {"positions": [0.0, 0.008]},
        "observation_loss": [0.0, 0.5],
        "observation_delay": [0.0, 0.05],
        "action_delay": [0.0, 0.05],
        "action_gain": [0.7, 1.3],
        "mass": [0.5, 2.0],
        "friction": [0.5, 2.0],
    },
)
# Where there is no MuJoCo model: the same without physics.
SIGNALS = tuple(
    {name: value for name, value in world.items() if name not in ("mass", "friction")} for world in STANDARD
)
WORLDS: Mapping[str, Sequence[Mapping[str, Any]]] = {"standard": STANDARD, "signals": SIGNALS}
# What an environment may be unable to have of these sets, with why.
LACKING = {
    "noise and errors of positions (it names none)": ("observation_error", "observation_noise"),
    "physics (it shows no MuJoCo model)": ("mass", "friction"),
    "delays (it does not say how long a step is)": ("observation_delay", "action_delay"),
}


def reductions(data: Any) -> dict[tuple[str, ...], Any]:
    """Return a set of worlds by what each variant leaves out.

    Args:
        data: plain data of worlds.
    """
    found: dict[tuple[str, ...], Any] = {(): data}
    built_in = [[World.from_data(each) for each in worlds] for worlds in WORLDS.values()]
    if not isinstance(data, list | tuple) or list(WorldSet.from_data(data).worlds) not in built_in:
        return found
    for size in range(1, len(LACKING) + 1):
        for left_out in itertools.combinations(LACKING, size):
            names = {name for lacking in left_out for name in LACKING[lacking]}
            worlds = [{name: of for name, of in world.items() if name not in names} for world in data]
            # A world of which nothing is left would be a second nominal one.
            kept = [new for new, old in zip(worlds, data, strict=True) if len(new) > 1 or len(old) == 1]
            if kept not in found.values():
                found[left_out] = kept
    return found


@dataclass(frozen=True, slots=True)
class World:
    """Ranges from which an episode draws what differs from nominal.

    A range is (low, high), drawn once an episode; equal ends are a constant. Seconds become whole simulator steps.

    Attributes:
        name: for tables and feedback.
        observation_error: by field, "positions" or "all": the standard deviation of an error on each number that stays
            for the episode, in the field's unit.
        observation_noise: likewise, of an error that is drawn at every step.
        observation_delay: seconds by which observations are late.
        observation_loss: the probability that an observation is missing; the last one stays.
        observation_period: seconds between two observations; 0 for one at every step.
        action_delay: seconds by which actions are late. At first the action is zero.
        action_noise: the standard deviation of noise at every step, as a share of half the action's range.
        action_loss: the probability that an action is missing; the last one stays.
        action_gain: a factor on each number of an action, drawn for each.
        mass: a factor on the masses and inertias of all bodies of a MuJoCo model.
        friction: a factor on the friction of all geoms and contact pairs.
        damping: a factor on the damping of all joints and tendons.
        armature: a factor on the armature of all joints.
        actuator_gain: a factor on the gain and the bias of all actuators.
        gravity_tilt: degrees by which gravity leans, in a direction that is drawn.
        push_force: newtons, in a direction that is drawn for each push.
        push_seconds: how long a push lasts.
        push_period: seconds from the beginning of one push to that of the next; 0 for none.
        push_bodies: names of the bodies that are pushed, one of them each time; empty for all that can move.
        reset_noise: by joint, "all", "driven" or "free": the standard deviation of an error on the state in which an
            episode begins, see ``trace_robot.env.initial_state``.
    """

    name: str = "nominal"
    observation_error: Mapping[str, Range] = field(default_factory=dict)
    observation_noise: Mapping[str, Range] = field(default_factory=dict)
    observation_delay: Range = (0.0, 0.0)
    observation_loss: Range = (0.0, 0.0)
    observation_period: Range = (0.0, 0.0)
    action_delay: Range = (0.0, 0.0)
    action_noise: Range = (0.0, 0.0)
    action_loss: Range = (0.0, 0.0)
    action_gain: Range = (1.0, 1.0)
    mass: Range = (1.0, 1.0)
    friction: Range = (1.0, 1.0)
    damping: Range = (1.0, 1.0)
    armature: Range = (1.0, 1.0)
    actuator_gain: Range = (1.0, 1.0)
    gravity_tilt: Range = (0.0, 0.0)
    push_force: Range = (0.0, 0.0)
    push_seconds: Range = (0.1, 0.1)
    push_period: Range = (0.0, 0.0)
    push_bodies: tuple[str, ...] = ()
    reset_noise: Mapping[str, Range] = field(default_factory=dict)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> World:
        """Return the world that plain data describes, as a JSON file holds it.

        Args:
            data: by attribute; a number stands for the range (number, number).

        Raises:
            ValueMismatchError: a value that cannot be right; the message names it.
            UnknownNameError: an attribute that worlds do not have.
        """
        if not isinstance(data, Mapping):
            raise ValueMismatchError(
                f"a world must be a mapping such as {{'action_delay': 0.05}}, got {data!r}"
            )
        names = [one.name for one in fields(cls)]
        values: dict[str, Any] = {}
        for name, value in data.items():
            if name not in names:
                raise unknown("setting of a world", str(name), names)
            values[name] = _value(name, value)
        world = cls(**values)
        if (world.push_force[1] > 0) != (world.push_period[1] > 0):
            raise ValueMismatchError(
                f"world {world.name!r} needs both push_force and push_period to push; give the other one too"
            )
        return world

    def to_data(self) -> dict[str, Any]:
        """Return the world as plain data for JSON, without what is nominal."""
        data: dict[str, Any] = {"name": self.name}
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name == "name" or value == _NOMINAL[one.name]:
                continue
            if isinstance(value, Mapping):
                data[one.name] = {key: _plain(of) for key, of in value.items()}
            else:
                data[one.name] = list(value) if one.name == "push_bodies" else _plain(value)
        return data

    @property
    def nominal(self) -> bool:
        """Whether no episode differs from one without a world."""
        return not (self.differs_seen or self.differs_done or self.physical)

    @property
    def differs_seen(self) -> bool:
        """Whether what is seen may differ."""
        some = (*self.observation_error.values(), *self.observation_noise.values())
        return _any_above_zero(*some) or _any_above_zero(
            self.observation_delay, self.observation_loss, self.observation_period
        )

    @property
    def differs_done(self) -> bool:
        """Whether what is done may differ."""
        return self.action_gain != (1.0, 1.0) or _any_above_zero(
            self.action_delay, self.action_noise, self.action_loss
        )

    @property
    def begins_elsewhere(self) -> bool:
        """Whether the state in which an episode begins may differ."""
        return _any_above_zero(*self.reset_noise.values())

    @property
    def physical(self) -> bool:
        """Whether it needs a MuJoCo model."""
        factors = (self.mass, self.friction, self.damping, self.armature, self.actuator_gain)
        pushes = self.push_force[1] > 0 and self.push_period[1] > 0
        changed = any(each != (1.0, 1.0) for each in factors) or self.gravity_tilt[1] > 0
        return pushes or changed or self.begins_elsewhere


_NOMINAL = {one.name: getattr(World(), one.name) for one in fields(World)}
_FACTORS = ("action_gain", "mass", "friction", "damping", "armature", "actuator_gain")
_SECONDS = ("observation_delay", "observation_period", "action_delay", "push_seconds", "push_period")
_SHARES = ("observation_loss", "action_loss")
# Those that are given by name, with what names and an example.
_EXAMPLES = {
    "observation_error": "field, such as {'positions': 0.01}",
    "observation_noise": "field, such as {'positions': 0.01}",
    "reset_noise": "joint, such as {'all': 0.01}",
}


def _any_above_zero(*ranges: Range) -> bool:
    return any(high > 0 for _, high in ranges)


def _plain(value: Range) -> Any:
    low, high = value
    return low if low == high else [low, high]


def _value(name: str, value: Any) -> Any:
    """Return an attribute of a world from plain data."""
    if name == "name":
        if not isinstance(value, str) or not value.strip() or len(value) > 60 or not value.isprintable():
            raise ValueMismatchError(
                f"the name of a world must be a line of at most 60 characters, got {value!r}"
            )
        return value
    if name == "push_bodies":
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            raise ValueMismatchError(f"push_bodies must be a list of names of bodies, got {value!r}")
        return tuple(value)
    if name in _EXAMPLES:
        if not isinstance(value, Mapping):
            raise ValueMismatchError(f"{name} must give a number by {_EXAMPLES[name]}, got {value!r}")
        return {str(key): _range(f"{name} of {key!r}", each, 0.0, math.inf) for key, each in value.items()}
    if name in _FACTORS:
        return _range(name, value, 0.0, math.inf, above=True)
    if name in _SHARES:
        return _range(name, value, 0.0, 1.0)
    return _range(name, value, 0.0, LONGEST_DELAY if name in _SECONDS else math.inf)


def _range(name: str, value: Any, least: float, most: float, *, above: bool = False) -> Range:
    """Return a range from a number or two.

    Args:
        name: for messages.
        value: as given.
        least: what no end may be below.
        most: what no end may be above.
        above: whether ``least`` itself is too little.
    """
    ends = value if isinstance(value, list | tuple) else (value, value)
    numbers = [each for each in ends if isinstance(each, int | float) and not isinstance(each, bool)]
    if len(ends) != 2 or len(numbers) != 2 or not all(abs(each) <= LARGEST for each in numbers):
        raise ValueMismatchError(f"{name} must be a finite number or [low, high], got {str(value)[:80]}")
    low, high = map(float, numbers)
    if low > high:
        raise ValueMismatchError(f"{name} must be [low, high] with low at most high, got {value!r}")
    if low < least or high > most or (above and low <= least):
        limits = (
            f"above {least:g}"
            if above
            else f"from {least:g} to {most:g}"
            if most < math.inf
            else f"{least:g} or more"
        )
        raise ValueMismatchError(f"{name} must be {limits}, got {value!r}")
    return low, high


def _named(world: Any, name: str) -> Any:
    return {"name": name, **world} if isinstance(world, Mapping) else world


@dataclass(frozen=True, slots=True)
class WorldSet:
    """One world, or several of which each episode gets one.

    worlds: at least one.
    """

    worlds: tuple[World, ...]

    @classmethod
    def from_data(cls, data: Any) -> WorldSet:
        """Return the worlds of plain data: a mapping, or a list of them.

        Raises:
            ValueMismatchError: a value that cannot be right.
            UnknownNameError: an attribute that worlds do not have.
        """
        if isinstance(data, Mapping):
            return cls((World.from_data(_named(data, "world")),))
        if not isinstance(data, list | tuple) or not data:
            raise ValueMismatchError(
                f"worlds must be a mapping or a list of them, at least one, got {data!r}"
            )
        return cls(tuple(World.from_data(_named(each, f"world {n}")) for n, each in enumerate(data, 1)))

    def to_data(self) -> Any:
        """Return it as plain data for JSON."""
        return [world.to_data() for world in self.worlds]

    def of(self, seed: int) -> World:
        """Return the world of a condition."""
        if len(self.worlds) == 1:
            return self.worlds[0]
        return self.worlds[int(stream(seed, "choice").integers(len(self.worlds)))]

    @property
    def physical(self) -> bool:
        """Whether one of them needs a MuJoCo model."""
        return any(world.physical for world in self.worlds)


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the random stream of a condition for one kind of difference.

    Args:
        seed: of the condition.
        name: a key of ``STREAMS``.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((0x776F726C64, STREAMS[name], seed))))


def between(bounds: tuple[float, float], shares: Any) -> Any:
    """Return factors between two ends, evenly on a logarithmic scale.

    A half is then as likely as a double.

    Args:
        bounds: (low, high), both above 0.
        shares: numbers from 0 to 1, of any shape.
    """
    low, high = bounds
    return np.exp(math.log(low) + shares * (math.log(high) - math.log(low)))
