"""Asks for the trials of programs and keeps what they did."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence

import numpy as np

from trace_robot.optimize.problem import Candidate, Outcome
from trace_robot.optimize.search.constants import disturbed
from trace_robot.optimize.search.population import Individual, Scale, Trial
from trace_robot.program import Program
from trace_robot.spec import EnvSpec

Step = Generator[list[Candidate], Sequence[Outcome], None]
Scores = Generator[list[Candidate], Sequence[Outcome], list[tuple[float, float]]]
MEASURES = ("best", "last", "moved_", "raised_")
NOISES = 512  # numbers drawn for one noise, more than a program has constants


class Evaluation:
    """Runs programs on training conditions through candidates that are yielded and outcomes that are sent back."""

    def __init__(self, spec: EnvSpec, conditions: Sequence[int], random: np.random.Generator) -> None:
        self.spec = spec
        self.conditions = tuple(conditions)
        self.random = random
        self.scale = Scale()
        self.count = 0

    def individual(self, program: Program, parent: Individual | None = None, note: str = "") -> Individual:
        self.count += 1
        return Individual(self.count, program, None if parent is None else parent.id, note)

    def run(self, individuals: Sequence[Individual], conditions: Sequence[int] | None = None) -> Step:
        """Run each on those of ``conditions`` (all if None) that it has no trial of."""
        asked = []
        for one in individuals:
            missing = [
                c for c in (self.conditions if conditions is None else conditions) if c not in one.trials
            ]
            if missing:
                data = one.program.to_data()
                asked.append(
                    Candidate(one.id, one.parent, {}, one.note, "search", program=data, seeds=tuple(missing))
                )
        if not asked:
            return
        outcomes = yield asked
        known = {one.id: one for one in individuals}
        for candidate, outcome in zip(asked, outcomes, strict=True):
            for condition, trial in zip(candidate.seeds or (), self._trials(outcome), strict=True):
                known[candidate.id].trials[condition] = trial
                self.scale.see(condition, trial)

    def value(self, individual: Individual, conditions: Iterable[int] | None = None) -> float:
        return self.scale.mean(individual, self.conditions if conditions is None else conditions)

    def robustness(self, programs: Sequence[Program], sigmas: Sequence[float], copies: int) -> Scores:
        """Success and value of each program on all conditions after a pass disturbed by the same noises."""
        noises = [(sigma, self.random.standard_normal(NOISES)) for sigma in sigmas for _ in range(copies)]
        noisy = []
        for program in programs:
            for sigma, noise in noises:
                noisy.append(self.individual(disturbed(program, noise, sigma), note="a disturbed pass first"))
        yield from self.run(noisy)
        scores = []
        for i in range(len(programs)):
            group = noisy[i * len(noises) : (i + 1) * len(noises)]
            success = sum(one.successes for one in group) / (len(noises) * len(self.conditions))
            scores.append((success, sum(self.value(one) for one in group) / len(noises)))
        return scores

    def _trials(self, outcome: Outcome) -> list[Trial]:
        """Read the episodes of an outcome; numbers that are not finite are left out."""
        details: Mapping[str, Sequence[float]] = outcome.details
        names = [name for name in details if name.startswith(MEASURES)]
        trials = []
        for i, (success, steps) in enumerate(zip(details["success"], details["steps"], strict=True)):
            numbers = {name: float(details[name][i]) for name in names}
            kept = {name: number for name, number in numbers.items() if math.isfinite(number)}
            trials.append(Trial(bool(success), min(steps / self.spec.horizon, 1.0), kept))
        return trials
