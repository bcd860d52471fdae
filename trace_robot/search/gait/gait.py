"""Gaits as frozen data and their interpreter: rhythm and linear feedback.

A gait is a central pattern generator. One clock counts strides. Each number of the action is one joint, whose target
swings with the clock (open-loop oscillators, Raffin et al., arXiv:2310.05808); where the joint's angle and rate are
seen, proportional-derivative feedback follows the target. Linear feedback of numbers less their mean and in units of
their spread (augmented random search, Mania et al., arXiv:1803.07055, version V2) is added to it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial, reduce
from operator import add, mul
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_robot.errors import PolicyError
from trace_robot.spec import Array, TaskSpec

KEY = "gait"
STILL_DECISIONS = 50  # between two looks at whether anything moves
STILL = 1e-3  # change of every number between the two, in units of the observation, below which nothing does
# The sum of numbers, one after the other: from Python 3.12 on ``sum`` compensates for rounding.
ADDED: Any = sum if sys.version_info < (3, 12) else partial(reduce, add)
MANY = 120  # products from which numpy adds them up faster: 2 µs of 14 saved for the 216 of Ant-v5
LARGEST_STRIDE = 1000.0  # strides a second: above it the clock says nothing


@dataclass(frozen=True, slots=True)
class Joint:
    """What one number of the action does.

    The target is ``offset + amplitude * sin(phase + lag) + second * sin(2 * phase + second_lag)``, with the lags in
    turns. With an angle it is in the unit of the angle, and followed; without one it is the control itself, of which -1
    is the lower bound of the action and 1 the upper one.

    angle, rate: of which numbers of the observation the joint's angle and its rate are; -1 for none.
    """

    offset: float
    amplitude: float
    lag: float
    second: float = 0.0
    second_lag: float = 0.0
    angle: int = -1
    rate: int = -1


@dataclass(frozen=True, slots=True)
class Balance:
    """Linear feedback added to the controls.

    Control ``j`` gets the sum of ``gains[j][k]`` times number ``indices[k]`` of the observation, less ``means[k]`` and
    divided by ``spreads[k]``.
    """

    indices: tuple[int, ...]
    means: tuple[float, ...]
    spreads: tuple[float, ...]
    gains: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Truncation:
    """How an episode of a search is cut short.

    A controller that is found has none.

    decisions: after which it ends; 0 for no limit. still: whether it ends when nothing moves any more.
    """

    decisions: int = 0
    still: bool = False


@dataclass(frozen=True, slots=True)
class Gait:
    """A rhythm, what follows it, and what balances it.

    frequency: strides a second; 0 for no rhythm. step_seconds: of a decision. stance: share of a stride that the first
    half of the rhythm lasts, such as stance before swing; 0.5 for an even rhythm. stiffness, damping: control for each
    unit of angle that a joint is from its target, and for each unit of its rate. joints: one for each number of the
    action. balance: None for no feedback.
    """

    frequency: float
    step_seconds: float
    joints: tuple[Joint, ...]
    stance: float = 0.5
    stiffness: float = 0.0
    damping: float = 0.0
    balance: Balance | None = None

    def to_data(self) -> dict[str, Any]:
        """Return JSON-able data, the same in every version: journals hold its hash."""
        data = asdict(self)
        data["joints"] = [
            [
                joint.offset,
                joint.amplitude,
                joint.lag,
                joint.second,
                joint.second_lag,
                joint.angle,
                joint.rate,
            ]
            for joint in self.joints
        ]
        return {KEY: data}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Gait:
        """Return the gait that ``to_data`` gave.

        Raises:
            PolicyError: on anything that ``to_data`` could not have given.
        """
        try:
            return _gait(data[KEY])
        except (KeyError, TypeError, ValueError) as error:
            raise PolicyError(f"a gait must be what Gait.to_data gives, got {error!r}") from error

    @property
    def follows(self) -> bool:
        """Whether a joint follows a target by proportional-derivative feedback."""
        return any(joint.angle >= 0 for joint in self.joints)

    @property
    def swings(self) -> bool:
        """Whether a target changes with the clock."""
        moving = any(joint.amplitude or joint.second for joint in self.joints)
        return self.frequency > 0.0 and moving

    @property
    def followers(self) -> dict[int, int]:
        """Joints that do what another does, half a stride later, each with that one."""
        found: dict[int, int] = {}
        for second, joint in enumerate(self.joints):
            for first, other in enumerate(self.joints[:second]):
                lag = half_a_stride_later(other.lag)
                late = replace(other, lag=lag, angle=joint.angle, rate=joint.rate)
                if joint == late and joint.amplitude and not {first, second} & {*found, *found.values()}:
                    found[second] = first
        return found


def check(gait: Gait, spec: TaskSpec) -> None:
    """Refuse a gait that an environment cannot run.

    Args:
        gait: what is to run.
        spec: the environment.

    Raises:
        PolicyError: if the gait reads numbers that no field of ``spec`` shows, or has another number of joints than the
            action has numbers.
    """
    if len(gait.joints) != spec.action_size:
        raise PolicyError(
            f"the action of {spec.name!r} has {spec.action_size} numbers, the gait moves {len(gait.joints)} joints"
        )
    shown = {index for field in spec.observation for index in range(field.start, field.stop)}
    read = {index for joint in gait.joints for index in (joint.angle, joint.rate) if index != -1}
    read |= set(() if gait.balance is None else gait.balance.indices)
    if unknown := sorted(read - shown):
        raise PolicyError(f"no field of {spec.name!r} shows observation {unknown[0]}, which the gait reads")


WHOLE = Truncation()  # an episode that is not cut short


class GaitRunner:
    """One episode of a gait, called with the flat observation of each decision.

    Plain Python floats, some microseconds a decision, since a search runs millions of decisions. Feedback of many
    numbers is added up by numpy, along the first axis: one product after the other, as ``ADDED`` does it. ``writer``
    writes the same operations in the same order, so that the text that is written out gives the same actions; change
    both together.

    finished: whether the trial is over.
    """

    __slots__ = (
        "_balance",
        "_count",
        "_gait",
        "_moves",
        "_readings",
        "_seen",
        "_trial",
        "_turns",
        "finished",
    )

    def __init__(self, gait: Gait, spec: TaskSpec, trial: Truncation) -> None:
        """Begin an episode, or raise PolicyError if the gait does not fit."""
        check(gait, spec)
        self._gait, self._trial = gait, trial
        balance = gait.balance
        self._balance: tuple[Array, Array, Array, Array] | None = None
        self._readings: list[tuple[int, float, float]] = []
        rows: Sequence[tuple[float, ...]] = ((),) * len(gait.joints)
        if balance is not None and len(balance.indices) * len(gait.joints) > MANY:
            columns = np.ascontiguousarray(np.array(balance.gains).T)
            indices, means, spreads = map(np.array, (balance.indices, balance.means, balance.spreads))
            self._balance = indices, means, spreads, columns
        elif balance is not None:
            self._readings = list(zip(balance.indices, balance.means, balance.spreads, strict=True))
            rows = balance.gains
        # One flat tuple a joint: a look at an attribute is as slow as a product.
        self._moves = [
            (j.offset, j.amplitude, j.lag * math.tau, j.second, j.second_lag * math.tau, j.angle, j.rate,
             row, (low + high) / 2, (high - low) / 2)
            for j, row, low, high in zip(gait.joints, rows, spec.low, spec.high, strict=True)
        ]  # fmt: skip
        self._turns = gait.frequency * gait.step_seconds if gait.swings else 0.0
        self._count = 0
        self._seen: Array | None = None
        self.finished = False

    def __call__(self, observation: Array) -> npt.NDArray[np.float32]:
        """Return the action, (action_size,) float32, within the bounds."""
        gait, trial = self._gait, self._trial
        if trial.decisions and self._count >= trial.decisions:
            self.finished = True
        elif trial.still and self._count % STILL_DECISIONS == 0:
            self.finished = self._seen is not None and bool(np.abs(observation - self._seen).max() < STILL)
            self._seen = observation.copy()  # the caller may write the next one into the same array
        seen: list[float] = observation.tolist()
        phase = phase_at(self._count, self._turns, gait.stance) if self._turns else 0.0
        double = 2.0 * phase
        self._count += 1
        errors = [(seen[i] - mean) / spread for i, mean, spread in self._readings]
        added: list[float] = []
        if self._balance is not None:
            indices, means, spreads, gains = self._balance
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused as an action
                deviations = (observation[indices] - means) / spreads
                added = np.add.reduce(gains * deviations[:, None]).tolist()
        stiffness, damping = gait.stiffness, gait.damping
        action: list[float] = []
        for offset, amplitude, lag, second, second_lag, angle, rate, row, middle, reach in self._moves:
            control = offset
            if amplitude:
                control += amplitude * math.sin(phase + lag)
            if second:
                control += second * math.sin(double + second_lag)
            if angle >= 0:
                control = stiffness * (control - seen[angle])
            if rate >= 0:
                control -= damping * seen[rate]
            if row:
                control += ADDED(map(mul, row, errors))
            elif added:
                control += added[len(action)]
            # Ten times as fast as ``min`` and ``max``.
            action.append(middle + reach * (-1.0 if control < -1.0 else 1.0 if control > 1.0 else control))
        return np.array(action, np.float32)


def phase_at(count: int, turns: float, stance: float) -> float:
    """Return the phase of a stride, 0 to 2 pi, half of it after the share ``stance``.

    Args:
        count: decisions before this one.
        turns: strides a decision.
        stance: share of the stride, above 0 and below 1.
    """
    turn = count * turns % 1.0
    if turn < stance:
        return math.pi * turn / stance
    return math.pi + math.pi * (turn - stance) / (1.0 - stance)


def half_a_stride_later(lag: float) -> float:
    """Return the lag, in turns, of a joint that does the same half a stride later."""
    return (lag + 0.5) % 1.0


def _gait(data: Mapping[str, Any]) -> Gait:
    joints = tuple(_joint(*row) for row in data["joints"])
    if not joints:
        raise ValueError("a gait without joints")
    frequency, seconds, stance = (_finite(data[name]) for name in ("frequency", "step_seconds", "stance"))
    if not 0.0 <= frequency <= LARGEST_STRIDE or seconds <= 0.0 or not 0.0 < stance < 1.0:
        raise ValueError(f"frequency {frequency!r}, step_seconds {seconds!r}, stance {stance!r}")
    balance = None if data["balance"] is None else _balance(data["balance"], len(joints))
    return Gait(
        frequency, seconds, joints, stance, _finite(data["stiffness"]), _finite(data["damping"]), balance
    )


def _joint(
    offset: float, amplitude: float, lag: float, second: float, second_lag: float, angle: int, rate: int
) -> Joint:
    numbers = (_finite(number) for number in (offset, amplitude, lag, second, second_lag))
    return Joint(*numbers, int(angle), int(rate))  # type: ignore[call-arg,arg-type]


def _balance(data: Mapping[str, Any], controls: int) -> Balance:
    indices = tuple(int(index) for index in data["indices"])
    means, spreads = (tuple(map(_finite, data[name])) for name in ("means", "spreads"))
    gains = tuple(tuple(map(_finite, row)) for row in data["gains"])
    sizes = {len(indices), len(means), len(spreads), *map(len, gains)}
    if len(gains) != controls or len(sizes) != 1 or min(spreads, default=1.0) <= 0.0:
        raise ValueError(f"{len(gains)} rows of gains for {controls} controls, of lengths {sorted(sizes)}")
    return Balance(indices, means, spreads, gains)


def _finite(number: Any) -> float:
    if not math.isfinite(number):
        raise ValueError(f"number {number!r}")
    return float(number)
