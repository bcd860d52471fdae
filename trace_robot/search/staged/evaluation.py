"""Asks for the trials of programs and keeps what they did."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.search.base import Steps
from trace_robot.search.staged import StagedProgram
from trace_robot.search.staged.variants import disturbed
from trace_robot.spec import TaskSpec

MEASURES = ("best", "last", "moved_", "raised_")
FIRST = 10  # confirming conditions that all are tried on
SPARED = 2  # failures there above which a program is not tried on the others
NOISES = 512  # numbers drawn for one noise, more than a program has constants


class ProgramEvaluation:
    """Runs programs on conditions through candidates that are yielded and outcomes that are sent back.

    conditions: those that every program is compared on. confirm: further ones, on which to choose among programs
    that solve these. spent: simulator steps so far. part: of all conditions, the one that the next noise comes with.
    """

    def __init__(
        self,
        spec: TaskSpec,
        conditions: Sequence[int],
        random: np.random.Generator,
        confirm: Sequence[int] = (),
    ) -> None:
        self.spec = spec
        self.conditions, self.confirm = tuple(conditions), tuple(confirm)
        self.random = random
        self.scale = Scale()
        self.count = 0
        self.spent = 0
        self.part = 0

    def individual(
        self, program: StagedProgram, parent: Individual | None = None, note: str = ""
    ) -> Individual:
        self.count += 1
        return Individual(self.count, program, None if parent is None else parent.id, note)

    def run(self, individuals: Sequence[Individual], conditions: Sequence[int] | None = None) -> Steps[None]:
        """Run each on those of ``conditions`` (the training ones if None) that it has no trial of."""
        wanted = self.conditions if conditions is None else conditions
        yield from self.run_each([(one, wanted) for one in individuals])

    def run_each(self, pairs: Sequence[tuple[Individual, Sequence[int]]]) -> Steps[None]:
        """Run each individual on those of its own conditions that it has no trial of."""
        asked = []
        for one, conditions in pairs:
            missing = tuple(condition for condition in conditions if condition not in one.trials)
            if missing:
                data = one.program.to_data()
                asked.append(
                    Candidate(one.id, one.parent, {}, one.note, "search", program=data, seeds=missing)
                )
        if not asked:
            return
        outcomes = yield asked
        known = {one.id: one for one, _ in pairs}
        for candidate, outcome in zip(asked, outcomes, strict=True):
            self.spent += int(sum(outcome.details.get("simulator_steps", outcome.details["steps"])))
            for condition, trial in zip(candidate.seeds or (), self._trials(outcome), strict=True):
                known[candidate.id].trials[condition] = trial
                self.scale.see(condition, trial)

    def solves(self, individual: Individual) -> bool:
        """Return whether it succeeded on every training condition."""
        return individual.successes(self.conditions) == len(self.conditions)

    def value(self, individual: Individual, conditions: Iterable[int] | None = None) -> float:
        """Return its mean value on ``conditions``; None: on all that it was tried on, confirming ones included."""
        return self.scale.mean(individual, tuple(individual.trials) if conditions is None else conditions)

    def confirmed(self, individuals: Sequence[Individual]) -> Steps[list[int]]:
        """Try each on the confirming conditions, starting over for ever; return how many of them it solves.

        What it did there is kept among its own trials. One that fails on many of the first is spared the rest,
        which count as failed.
        """
        lasting = [self.individual(replace(one.program, rounds=0), one, "confirmed") for one in individuals]
        yield from self.run(lasting, self.confirm[:FIRST])
        good = [one for one in lasting if len(one.trials) - one.successes(self.confirm) <= SPARED]
        yield from self.run(good, self.confirm)
        for one, copy in zip(individuals, lasting, strict=True):
            one.trials.update(copy.trials)
        return [one.successes(self.confirm) for one in lasting]

    def robustness(
        self, programs: Sequence[StagedProgram], sigmas: Sequence[float], copies: int
    ) -> Steps[list[tuple[float, float]]]:
        """Return success and value of each program after a pass disturbed by noises, the same ones for all.

        Every noise comes with as many conditions as there are for training, in turn of all there are.
        """
        everywhere = self.conditions + self.confirm
        parts = -(-len(everywhere) // len(self.conditions))
        noises = []
        for sigma in sigmas:
            for _ in range(copies):
                conditions = everywhere[self.part % parts :: parts]
                noises.append((sigma, self.random.standard_normal(NOISES), conditions))
                self.part += 1
        noisy = [
            [
                (self.individual(disturbed(program, noise, sigma), note="a disturbed pass first"), conditions)
                for sigma, noise, conditions in noises
            ]
            for program in programs
        ]
        yield from self.run_each([pair for group in noisy for pair in group])
        scores = []
        for group in noisy:
            episodes = sum(len(conditions) for _, conditions in group)
            success = sum(one.successes(conditions) for one, conditions in group)
            value = sum(self.value(one) * len(conditions) for one, conditions in group)
            scores.append((success / episodes, value / episodes))
        return scores

    def _trials(self, outcome: Outcome) -> list[ProgramTrial]:
        """Read the episodes of an outcome; numbers that are not finite are left out."""
        details: Mapping[str, Sequence[float]] = outcome.details
        names = [name for name in details if name.startswith(MEASURES)]
        trials = []
        for i, (success, steps) in enumerate(zip(details["success"], details["steps"], strict=True)):
            numbers = {name: float(details[name][i]) for name in names}
            kept = {name: number for name, number in numbers.items() if math.isfinite(number)}
            trials.append(ProgramTrial(bool(success), min(steps / self.spec.horizon, 1.0), kept))
        return trials


MOVED = 0.01  # metres from which a thing counts as moved
RAISED = 0.02  # metres from which it counts as raised


@dataclass(frozen=True, slots=True)
class ProgramTrial:
    """One episode: whether it succeeded, its length as a share of the longest, and its measures."""

    success: bool
    time: float
    numbers: Mapping[str, float]

    @property
    def reward(self) -> float:
        """How far it came by its rewards: mostly the best one, a little the last one; NaN if it has none."""
        return 0.7 * self.numbers.get("best", math.nan) + 0.3 * self.numbers.get("last", math.nan)

    @property
    def behaviour(self) -> tuple[Any, ...]:
        """Which things it moved and raised."""
        moved = (k for k, v in self.numbers.items() if k.startswith("moved_") and v > MOVED)
        raised = (k for k, v in self.numbers.items() if k.startswith("raised_") and v > RAISED)
        return (*sorted(moved), *sorted(raised))


@dataclass(slots=True, eq=False)
class Individual:
    """A program with its trials, by condition."""

    id: int
    program: StagedProgram
    parent: int | None = None
    note: str = ""
    trials: dict[int, ProgramTrial] = field(default_factory=dict)

    def successes(self, conditions: Iterable[int]) -> int:
        """Return on how many of ``conditions`` it succeeded; one that it was not tried on counts as failed."""
        return sum(condition in self.trials and self.trials[condition].success for condition in conditions)

    @property
    def shape(self) -> tuple[Any, ...]:
        """What stays of the program without its numbers."""
        return tuple((s.mover, s.place.anchor, s.place.when, s.gripper > 0) for s in self.program.stages)


class Scale:
    """Makes rewards of different conditions comparable: 0 the worst seen there, 1 the best, successes above 2."""

    def __init__(self) -> None:
        self._ranges: dict[int, tuple[float, float]] = {}

    def see(self, condition: int, trial: ProgramTrial) -> None:
        if math.isnan(trial.reward):
            return
        low, high = self._ranges.get(condition, (trial.reward, trial.reward))
        self._ranges[condition] = (min(low, trial.reward), max(high, trial.reward))

    def value(self, condition: int, trial: ProgramTrial) -> float:
        if trial.success:
            return 3.0 - trial.time
        low, high = self._ranges.get(condition, (0.0, 0.0))
        return (trial.reward - low) / (high - low) if high > low and not math.isnan(trial.reward) else 0.0

    def mean(self, individual: Individual, conditions: Iterable[int]) -> float:
        values = [self.value(condition, individual.trials[condition]) for condition in conditions]
        return sum(values) / len(values)


def diverse(ranked: Sequence[Individual], count: int, condition: int, share: float = 0.5) -> list[Individual]:
    """Return ``count`` of ``ranked``: first the best by rank, the rest the best of behaviours not yet among them."""
    chosen = list(ranked[: max(1, round(count * share))])
    seen = {individual.trials[condition].behaviour for individual in chosen}
    for individual in ranked[len(chosen) :]:
        if len(chosen) >= count:
            break
        behaviour = individual.trials[condition].behaviour
        if behaviour not in seen:
            seen.add(behaviour)
            chosen.append(individual)
    for individual in ranked:
        if len(chosen) >= count:
            break
        if individual not in chosen:
            chosen.append(individual)
    return chosen


def trimmed(ranked: Sequence[Individual], count: int, alike: int = 2) -> list[Individual]:
    """Return the first ``count`` of ``ranked``, at most ``alike`` of one shape."""
    chosen: list[Individual] = []
    shapes: dict[tuple[Any, ...], int] = {}
    for individual in ranked:
        shapes[individual.shape] = shapes.get(individual.shape, 0) + 1
        if shapes[individual.shape] <= alike and len(chosen) < count:
            chosen.append(individual)
    return chosen
