"""The interpreter of feedback laws, feedback laws as a kind of controller, and what probes measure of an episode."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from trace_robot.search.feedback_law.features import comparable_parts, disjoint, joint_sets, planar_vectors
from trace_robot.search.feedback_law.law import (
    DECISIONS,
    KEY,
    PROBE,
    Feedback,
    FeedbackLaw,
    Quantity,
    Sum,
    check,
)
from trace_robot.search.feedback_law.writer import write
from trace_robot.spec import Array, TaskSpec

if TYPE_CHECKING:
    from trace_robot.optimizers.problem import Candidate

Numbers = list[float]
Compiled = tuple[tuple[float, tuple[int, ...]], ...]  # pairs of a weight and the places of its factors
ALIKE = 1e-4  # squared, as a share: two numbers change by the same, the same way or the opposite one
ON_CIRCLE = 1e-3  # squares of a cosine and a sine add up to 1 this well
LIKE = 0.95  # correlation of a number with the changes of another from which it may be its rate
LEAST = 8  # decisions of an episode that is long enough for a correlation to mean something
RIGID = 0.05  # share of the motion of a vector that the links of a chain may leave unexplained


class LawRunner:
    """One episode of a law, called with the flat observation of each decision.

    Plain Python floats, a few microseconds a decision, since a search runs millions of decisions. ``writer``
    writes the same operations in the same order, so that the text that is written out gives the same actions;
    change both together.

    inner: whether the inner feedback was in charge at the last decision.
    """

    __slots__ = (
        "_action",
        "_angles",
        "_bounds",
        "_columns",
        "_decisions",
        "_differences",
        "_filters",
        "_hysteresis",
        "_inner",
        "_outer",
        "_switch",
        "_synergies",
        "_taken",
        "_turned",
        "finished",
        "inner",
    )

    def __init__(self, law: FeedbackLaw, spec: TaskSpec, decisions: int = 0) -> None:
        """Begin an episode, of a number of decisions at most, 0 for no limit.

        Raises:
            PolicyError: the law does not fit.
        """
        check(law, spec)
        self._decisions = decisions or -1
        self.finished = False
        kinds = list(enumerate(law.quantities))
        self._columns = [0 if quantity.kind == "action" else quantity.index for quantity in law.quantities]
        self._angles = [(i, quantity.other) for i, quantity in kinds if quantity.kind == "angle"]
        self._differences = [(i, quantity.other) for i, quantity in kinds if quantity.kind == "difference"]
        self._taken = [(i, quantity.index) for i, quantity in kinds if quantity.kind == "action"]
        self._turned = [
            (i, math.cos if quantity.kind == "cosine" else math.sin)
            for i, quantity in kinds
            if quantity.kind in ("cosine", "sine")
        ]
        self._filters = [(i, _Filter(quantity)) for i, quantity in kinds if quantity.memory]
        self._synergies = [_terms(synergy) for synergy in law.synergies]
        self._action = [0.0] * spec.action_size
        self._bounds = [
            ((low + high) / 2, (high - low) / 2) for low, high in zip(spec.low, spec.high, strict=True)
        ]
        self._outer = _compiled(law.outer)
        self._inner = None if law.inner is None else _compiled(law.inner)
        self._switch = () if law.switching_function is None else _terms(law.switching_function)
        self._hysteresis = law.hysteresis
        self.inner = False

    def __call__(self, observation: Array) -> npt.NDArray[np.float32]:
        """Return the action, (action_size,) float32, within the bounds."""
        self._decisions -= 1
        self.finished = self._decisions == 0
        seen: Numbers = observation.tolist()
        numbers = [seen[i] for i in self._columns]
        for i, sine in self._angles:
            numbers[i] = math.atan2(seen[sine], numbers[i])
        for i, other in self._differences:
            numbers[i] -= seen[other]
        for i, function in self._turned:
            numbers[i] = function(numbers[i])
        for i, place in self._taken:
            numbers[i] = self._action[place]
        for i, kept in self._filters:
            numbers[i] = kept(numbers[i])
        if self._synergies:
            numbers += [_value(synergy, numbers) for synergy in self._synergies]
        controls, gain = self._outer
        if self._inner is not None:
            self.inner = _value(self._switch, numbers) > (-self._hysteresis if self.inner else 0.0)
            if self.inner:
                controls, gain = self._inner
        action = []
        factor = None if gain is None else _value(gain, numbers)
        for control, (middle, reach) in zip(controls, self._bounds, strict=True):
            unbounded = _value(control, numbers)
            if factor is not None:
                unbounded *= factor
            action.append(middle + reach * min(max(unbounded, -1.0), 1.0))
        self._action = action
        return np.array(action, np.float32)


class _Filter:
    """What is kept of a quantity between decisions, see ``Quantity.memory``."""

    __slots__ = ("_factor", "_is_angle", "_is_change", "_last", "_value")

    def __init__(self, quantity: Quantity) -> None:
        self._factor = quantity.factor
        self._is_angle = quantity.kind == "angle"
        self._is_change = quantity.memory == "change"
        self._last: float | None = None
        self._value = 0.0

    def __call__(self, number: float) -> float:
        """Take the number of this decision and return the change or the average."""
        if not self._is_change:
            if self._last is None:
                self._last = self._value = number
            self._value += self._factor * (number - self._value)
            return self._value
        step = number - (number if self._last is None else self._last)
        if self._is_angle:
            step = math.remainder(step, math.tau)
        self._last = number
        self._value += self._factor * (step - self._value)
        return self._value


def _compiled(feedback: Feedback) -> tuple[tuple[Compiled, ...], Compiled | None]:
    gain = None if feedback.energy_gain is None else _terms(feedback.energy_gain)
    return tuple(_terms(control) for control in feedback.controls), gain


def _terms(total: Sum) -> Compiled:
    return tuple(zip(total.weights, total.products, strict=True))


def _value(terms: Compiled, numbers: Numbers) -> float:
    total = 0.0
    for weight, product in terms:
        for i in product:
            weight *= numbers[i]
        total += weight
    return total


@dataclass(frozen=True, slots=True)
class LawController:
    """A feedback law behind the protocol ``search.controller.DataController``.

    probe: whether its episodes bring back what shows the features of the observation. Only a few do, since it
    takes every pair of numbers into account. decisions: after which its episodes end, 0 for none.
    """

    law: FeedbackLaw
    probe: bool = False
    decisions: int = 0
    kind: ClassVar[str] = "law"

    @classmethod
    def recognizes(cls, data: Mapping[str, Any]) -> bool:
        """Return whether the data holds a law."""
        return KEY in data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> LawController:
        """Return the controller, or raise PolicyError."""
        return cls(FeedbackLaw.from_data(data), bool(data.get(PROBE)), int(data.get(DECISIONS, 0)))

    def to_data(self) -> dict[str, Any]:
        """Return the law's data, with a key more for a probe and for an early end."""
        data = self.law.to_data() | ({PROBE: True} if self.probe else {})
        return {**data, DECISIONS: self.decisions} if self.decisions else data

    def start(self, spec: TaskSpec) -> LawRunner:
        """Begin an episode, or raise PolicyError."""
        return LawRunner(self.law, spec, self.decisions)

    def measures(
        self, spec: TaskSpec, observations: Array, rewards: Array, infos: Mapping[str, float]
    ) -> dict[str, float]:
        """Return the features of a probe, nothing of other episodes.

        Args:
            spec: the environment.
            observations: (T + 1, observation_size), flat.
            rewards: (T,), not used: their sum is in every outcome.
            infos: of the last step, not used.
        """
        return probe_features(spec, observations) if self.probe else {}

    def write(self, spec: TaskSpec) -> str:
        """Return a whole policy file."""
        return write(self.law, spec)

    def write_out(self, candidate: Candidate, spec: TaskSpec) -> Candidate:
        """Return the candidate with the law's text as the whole controller.

        Args:
            candidate: one whose ``program`` is this one as data.
            spec: the environment that the text is for.
        """
        return replace(candidate, text=self.write(spec), program=None, seeds=None)


def probe_features(spec: TaskSpec, observations: Array) -> dict[str, float]:
    """Return named numbers on what the columns of an episode's observations did.

    Args:
        spec: the environment, whose fields say which numbers are shown.
        observations: (T + 1, observation_size), flat.

    Returns:
        size_I, mean_I: root mean square, and mean. moves_I: 1 if it changed. step_I: root mean square of its change
        between two decisions. apart_I_J: of the difference of numbers of comparable parts. along_I_J: 1 if these
        change alike, or by the opposite, as a place and an error of it. circle_I_J: 1 if the squares sum to 1 all the
        time. rate_J_I and rate_J_I_K: where number J goes with the change of number I, or of the angle at I and K, the
        change for each unit of J. link_X_Y_JOINTS_K: see ``_links``.
    """
    shown = [index for part in spec.observation for index in range(part.start, part.stop)]
    numbers: dict[str, float] = {}
    if not len(observations):
        return numbers
    for i in shown:
        column = observations[:, i]
        numbers[f"size_{i}"] = float(np.sqrt(np.mean(column * column)))
        numbers[f"moves_{i}"] = float(np.ptp(column) > 1e-9)
        numbers[f"mean_{i}"] = float(np.mean(column))
        steps = np.diff(column)
        numbers[f"step_{i}"] = float(np.sqrt(np.mean(steps * steps))) if len(steps) else 0.0
    for i, j in (
        pair for first, second in comparable_parts(spec) for pair in zip(first, second, strict=True)
    ):
        apart = observations[:, i] - observations[:, j]
        numbers[f"apart_{i}_{j}"] = float(np.sqrt(np.mean(apart * apart)))
        one, other = np.diff(observations[:, i]), np.diff(observations[:, j])
        step = float(np.sum(one * one + other * other))
        off = min(float(np.sum((one - other) ** 2)), float(np.sum((one + other) ** 2)))
        numbers[f"along_{i}_{j}"] = float(step > 0.0 and off < ALIKE * step)
    moving = [i for i in shown if numbers[f"moves_{i}"]]
    changes: dict[tuple[int, ...], Array] = {(i,): np.diff(observations[:, i]) for i in moving}
    squares = observations[:, moving] ** 2
    for place, i in enumerate(moving):
        off = np.abs(squares[:, place, None] + squares[:, place + 1 :] - 1.0).max(axis=0)
        for j in (moving[place + 1 + int(k)] for k in np.flatnonzero(off < ON_CIRCLE)):
            numbers[f"circle_{i}_{j}"] = 1.0
            changes[(i, j)] = np.diff(_angle(observations, (i, j)))
    if len(observations) > LEAST and moving:
        keys = list(changes)
        alike = _alike(np.stack(list(changes.values()), axis=1))
        for j in moving:
            middle = (observations[1:, j] + observations[:-1, j]) / 2
            for places in (keys[int(k)] for k in np.flatnonzero(alike(middle))):
                if j not in places and abs(slope := _slope(changes[places], middle)) > 0.0:
                    numbers["_".join(map(str, ("rate", j, *places)))] = slope
        pairs = disjoint(sorted(key for key in keys if len(key) == 2))
        turned = {int(places[0]) for _, *places in (n.split("_")[1:] for n in numbers if n[:5] == "rate_")}
        numbers |= _links(spec, observations, joint_sets(spec, pairs, moving, turned), moving)
    return numbers


def _links(
    spec: TaskSpec,
    observations: Array,
    every: Sequence[Sequence[tuple[int, ...]]],
    moving: Collection[int],
) -> dict[str, float]:
    """Return link_X_Y_JOINTS_K: the links of a planar chain of joints at X, Y.

    Each joint turns all links behind it, so that link k points along the sum of the first k angles. Link k adds
    2 k and 2 k + 1: how far it reaches along that direction and to its left. They are a linear regression of the
    vector's changes on those of the directions (the kinematic calibration of a chain), where it explains all of them.

    Args:
        spec: the environment.
        observations: (T + 1, observation_size), flat.
        every: sets of joints, each the numbers that are an angle, or its cosine and sine.
        moving: the numbers that change.
    """
    found: dict[str, float] = {}
    for joints in every:
        angles = np.cumsum([_angle(observations, joint) for joint in joints], axis=0)
        # Changes of cosines and sines, not of angles: an arm that spins turns far in a decision.
        cosine, sine = np.diff(np.cos(angles)), np.diff(np.sin(angles))
        columns = np.concatenate([np.stack((cosine, -sine), 1), np.stack((sine, cosine), 1)], axis=2)
        columns = columns.reshape(2 * len(joints), -1).T
        for x, y in planar_vectors(spec, moving, {i for joint in joints for i in joint}):
            moved = np.diff(observations[:, [x, y]], axis=0).T.ravel()
            links, *_ = np.linalg.lstsq(columns, moved, rcond=None)
            if np.sum((moved - columns @ links) ** 2) < RIGID * np.sum(moved**2):
                names = "-".join("+".join(map(str, joint)) for joint in joints)
                found |= {f"link_{x}_{y}_{names}_{k}": float(link) for k, link in enumerate(links)}
    return found


def _angle(observations: Array, numbers: tuple[int, ...]) -> Array:
    """Return an angle without jumps, seen as it is or by its cosine and sine."""
    if len(numbers) == 1:
        return observations[:, numbers[0]]
    cosine, sine = numbers
    angle: Array = np.unwrap(np.arctan2(observations[:, sine], observations[:, cosine]))
    return angle


def _alike(changes: Array) -> Callable[[Array], Array]:
    """Return a function that says which changes may correlate with a rate.

    It finds a little more than ``_slope``, which decides.
    One product of matrices for all of them: pair by pair takes 6 s for 348 numbers (measured).

    Args:
        changes: (T, count), one a column.
    """
    centred = changes - changes.mean(axis=0)
    sizes = np.sqrt((centred * centred).sum(axis=0))

    def alike(rate: Array) -> Array:
        rate = rate - rate.mean()
        likely: Array = np.abs(rate @ centred) > (LIKE - 1e-6) * np.sqrt(rate @ rate) * sizes - 1e-9
        return likely

    return alike


def _slope(change: Array, rate: Array) -> float:
    """Return the change for each unit of rate, 0 where the two do not correlate."""
    change, rate = change - change.mean(), rate - rate.mean()
    size = float(np.sqrt((change @ change) * (rate @ rate)))
    both = float(change @ rate)
    return both / float(rate @ rate) if size > 1e-12 and abs(both) > LIKE * size else 0.0
