"""The interpreter of gaits, and gaits as a kind of controller."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import mul
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from trace_robot.search.gait.gait import KEY, Gait, Truncation, check
from trace_robot.search.gait.identify import PROBE, SIZES, probe_notes, size_notes
from trace_robot.search.gait.writer import write
from trace_robot.spec import Array, TaskSpec

if TYPE_CHECKING:
    from trace_robot.optimizers.problem import Candidate

TRIAL = "trial"
WHOLE = Truncation()  # an episode that is not cut short
STILL_DECISIONS = 50  # between two looks at whether anything moves
STILL = 1e-3  # change of every number between the two, in units of the observation, below which nothing does


class GaitRunner:
    """One episode of a gait, called with the flat observation of each decision.

    Plain Python floats, some microseconds a decision, since a search runs millions of decisions. ``writer`` writes the
    same operations in the same order, so that the text that is written out gives the same actions; change
    both together.

    finished: whether the trial is over.
    """

    __slots__ = ("_bounds", "_count", "_gait", "_indices", "_joints", "_means", "_rows", "_seen", "_spreads", "_trial",
                 "finished")  # fmt: skip

    def __init__(self, gait: Gait, spec: TaskSpec, trial: Truncation) -> None:
        """Begin an episode, or raise PolicyError if the gait does not fit."""
        check(gait, spec)
        self._gait, self._trial = gait, trial
        self._joints = [
            (j.offset, j.amplitude, j.lag * math.tau, j.second, j.second_lag * math.tau, j.angle, j.rate)
            for j in gait.joints
        ]
        balance = gait.balance
        self._indices = () if balance is None else balance.indices
        self._means = () if balance is None else balance.means
        self._spreads = () if balance is None else balance.spreads
        self._rows = [()] * len(gait.joints) if balance is None else list(balance.gains)
        self._bounds = [
            ((low + high) / 2, (high - low) / 2) for low, high in zip(spec.low, spec.high, strict=True)
        ]
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
            self._seen = observation
        seen: list[float] = observation.tolist()
        phase = phase_at(self._count, gait.frequency * gait.step_seconds, gait.stance)
        double = 2.0 * phase
        self._count += 1
        errors = [
            (seen[i] - mean) / spread
            for i, mean, spread in zip(self._indices, self._means, self._spreads, strict=True)
        ]
        stiffness, damping = gait.stiffness, gait.damping
        action = []
        for joint, row, (middle, reach) in zip(self._joints, self._rows, self._bounds, strict=True):
            offset, amplitude, lag, second, second_lag, angle, rate = joint
            control = offset + amplitude * math.sin(phase + lag)
            if second:
                control += second * math.sin(double + second_lag)
            if angle >= 0:
                control = stiffness * (control - seen[angle])
            if rate >= 0:
                control -= damping * seen[rate]
            if errors:
                control += sum(map(mul, row, errors))
            action.append(middle + reach * min(max(control, -1.0), 1.0))
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


@dataclass(frozen=True, slots=True)
class GaitController:
    """A gait behind the protocol ``search.controller.DataController``.

    trial: how its episodes are cut short. probe: what an episode brings back beside its reward, ALL or SIZES of
    ``identify``; None for nothing.
    """

    gait: Gait
    trial: Truncation = WHOLE
    probe: int | None = None
    kind: ClassVar[str] = "gait"

    @classmethod
    def recognizes(cls, data: Mapping[str, Any]) -> bool:
        """Return whether the data holds a gait."""
        return KEY in data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> GaitController:
        """Return the controller, or raise PolicyError."""
        trial = data.get(TRIAL)
        cut = WHOLE if trial is None else Truncation(int(trial["decisions"]), bool(trial["still"]))
        return cls(Gait.from_data(data), cut, data.get(PROBE))

    def to_data(self) -> dict[str, Any]:
        """Return the gait's data, with one more key for a trial and for a probe."""
        data = self.gait.to_data()
        if self.trial != WHOLE:
            data[TRIAL] = {"decisions": self.trial.decisions, "still": self.trial.still}
        return data if self.probe is None else {**data, PROBE: self.probe}

    def start(self, spec: TaskSpec) -> GaitRunner:
        """Begin an episode, or raise PolicyError."""
        return GaitRunner(self.gait, spec, self.trial)

    def measures(
        self, spec: TaskSpec, observations: Array, rewards: Array, infos: Mapping[str, float]
    ) -> dict[str, float]:
        """Return what a probe shows, nothing of other episodes.

        Args:
            spec: the environment.
            observations: (T + 1, observation_size), flat.
            rewards: (T,), not used: their sum is in every outcome.
            infos: of the last step.
        """
        if self.probe is None:
            return {}
        if self.probe == SIZES:
            return size_notes(spec, observations)
        return probe_notes(spec, observations, infos)

    def write(self, spec: TaskSpec) -> str:
        """Return a whole policy file."""
        return write(self.gait, spec)

    def write_out(self, candidate: Candidate, spec: TaskSpec) -> Candidate:
        """Return the candidate with the gait's text as the whole controller.

        Args:
            candidate: one whose ``program`` is this one as data.
            spec: the environment that the text is for.
        """
        return replace(candidate, text=self.write(spec), program=None, seeds=None)
