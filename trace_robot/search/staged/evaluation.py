"""Evaluation of programs: which episodes to ask for, and how programs compare."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.search.base import Steps
from trace_robot.search.staged.constants import disturbed
from trace_robot.search.staged.program import StagedProgram
from trace_robot.spec import TaskSpec

MEASURES = ("best", "last", "moved_", "raised_", "rest_", "seen_")
FIRST = 10  # confirming conditions that all programs are tried on
SPARED = 2  # failures there above which a program is not tried on the others
NOISES = 512  # numbers drawn for one noise, more than twice as many as a program has constants
MOVED = 0.01  # metres from which a thing counts as moved
RAISED = 0.02  # metres from which it counts as raised
# Where worlds differ, the worst one of this number of trials counts more (conditional value at risk of a fifth).
WORST = 5
EACH = 24  # further conditions in place of a noise there


class ProgramEvaluation:
    """Runs programs on conditions: yields candidates and is sent their outcomes.

    A condition is an initial state, by its seed; a program has one trial on each, since episodes are
    deterministic. conditions: those that every program is compared on. confirm: further ones, on which to
    choose among programs that solve these. spent: simulator steps so far. part: of all conditions, the one
    that the next noise comes with. worlds: whether worlds differ between conditions; then some conditions may be
    beyond what a controller can do, and programs rank by the mean of all trials and that of the worst fifth.
    further: conditions on which robustness is measured where worlds differ, in turn, so that constants are tuned on
    conditions that they were not chosen on. touched: each is called with the measures of each episode.
    """

    def __init__(
        self,
        spec: TaskSpec,
        conditions: Sequence[int],
        random: np.random.Generator,
        confirm: Sequence[int] = (),
        further: Sequence[int] = (),
    ) -> None:
        self.spec = spec
        self.conditions, self.confirm = tuple(conditions), tuple(confirm)
        self.further = tuple(further) or self.confirm or self.conditions
        self.random = random
        self.scale = RewardScale()
        self.worlds = "world" in spec.options
        self.touched: list[Callable[[Mapping[str, float]], None]] = []
        self.count = 0
        self.spent = 0
        self.part = 0

    def individual(
        self, program: StagedProgram, parent: Individual | None = None, note: str = ""
    ) -> Individual:
        """Return a program with the next number and no trials.

        Args:
            program: what it does.
            parent: what the program was made from, None for nothing.
            note: how it was made.
        """
        self.count += 1
        return Individual(self.count, program, None if parent is None else parent.id, note)

    def run(self, individuals: Sequence[Individual], conditions: Sequence[int] | None = None) -> Steps[None]:
        """Run programs on those conditions that they have no trial of.

        Args:
            individuals: the programs; their trials are added to.
            conditions: None for the training ones.
        """
        wanted = self.conditions if conditions is None else conditions
        yield from self._run_each([(individual, wanted) for individual in individuals])

    def solves(self, individual: Individual) -> bool:
        """Return whether it solves the training conditions, nearly all in worlds."""
        return individual.successes(self.conditions) >= self.enough(len(self.conditions))

    def enough(self, conditions: int) -> int:
        """Return on how many of a number of conditions a solver must succeed."""
        return conditions - conditions // WORST if self.worlds else conditions

    def value(self, individual: Individual, conditions: Iterable[int] | None = None) -> float:
        """Return the mean value of a program's trials.

        Where worlds differ, it is the mean of that and of the mean of the worst fifth.

        Args:
            individual: a program.
            conditions: of which trials; None for all that it has, also on confirming conditions.
        """
        mean, worst = self.mean_and_worst(individual, conditions)
        return (mean + worst) / 2 if self.worlds else mean

    def mean_and_worst(
        self, individual: Individual, conditions: Iterable[int] | None = None
    ) -> tuple[float, float]:
        """Return the mean value of a program's trials, and that of the worst fifth.

        Args:
            individual: a program.
            conditions: of which trials; None for all that it has.
        """
        chosen = tuple(individual.trials) if conditions is None else conditions
        values = self.scale.values(individual, chosen)
        return sum(values) / len(values), worst_mean(values)

    def count_confirmed(self, individuals: Sequence[Individual]) -> Steps[list[int]]:
        """Return how many confirming conditions each program solves.

        It starts over for ever there, as in the controller that is written; the trials are kept with its others.
        A program that fails on many of the first conditions is spared the rest, which count as failed: most
        programs are brittle, and these are seen early.
        """
        lasting = [self.individual(replace(one.program, passes=0), one, "confirmed") for one in individuals]
        yield from self.run(lasting, self.confirm[:FIRST])
        spared = SPARED + FIRST // WORST if self.worlds else SPARED
        good = [one for one in lasting if len(one.trials) - one.successes(self.confirm) <= spared]
        yield from self.run(good, self.confirm)
        for individual, copy in zip(individuals, lasting, strict=True):
            individual.trials.update(copy.trials)
        return [one.successes(self.confirm) for one in lasting]

    def robustness(
        self, programs: Sequence[StagedProgram], sigmas: Sequence[float], copies: int
    ) -> Steps[list[tuple[float, float]]]:
        """Measure programs with noise on their constants, the same noises for all.

        Args:
            programs: to be compared. Common random numbers make differences between them visible in few episodes.
            sigmas: sizes of noise, in units of the constants' vector.
            copies: noises of each size. Each comes with as many conditions as there are for training, in turn
                of all there are.

        Returns:
            The share of successes and the mean value of each program.
        """
        if self.worlds:
            return (yield from self._in_further_worlds(programs, copies))
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
        yield from self._run_each([pair for group in noisy for pair in group])
        scores = []
        for group in noisy:
            episodes = sum(len(conditions) for _, conditions in group)
            success = sum(individual.successes(conditions) for individual, conditions in group)
            value = sum(self.value(individual) * len(conditions) for individual, conditions in group)
            scores.append((success / episodes, value / episodes))
        return scores

    def _in_further_worlds(
        self, programs: Sequence[StagedProgram], copies: int
    ) -> Steps[list[tuple[float, float]]]:
        """Measure programs on the next further conditions, whose worlds are the noise."""
        count = min(copies * EACH, len(self.further))
        start = self.part % len(self.further)
        conditions = (self.further + self.further)[start : start + count]
        self.part += count
        lasting = [
            self.individual(replace(program, passes=0), note="in further worlds") for program in programs
        ]
        yield from self.run(lasting, conditions)
        return [(one.successes(conditions) / count, self.value(one)) for one in lasting]

    def _run_each(self, pairs: Sequence[tuple[Individual, Sequence[int]]]) -> Steps[None]:
        """Run each program on those conditions beside it that it has no trial of."""
        asked = []
        for individual, conditions in pairs:
            missing = tuple(condition for condition in conditions if condition not in individual.trials)
            if missing:
                asked.append(
                    Candidate(
                        individual.id,
                        individual.parent,
                        {},
                        individual.note,
                        "search",
                        program=individual.program.to_data(),
                        seeds=missing,
                    )
                )
        if not asked:
            return
        outcomes = yield asked
        by_id = {individual.id: individual for individual, _ in pairs}
        for candidate, outcome in zip(asked, outcomes, strict=True):
            self.spent += int(sum(outcome.details.get("simulator_steps", outcome.details["steps"])))
            for condition, trial in zip(candidate.seeds or (), self._trials(outcome), strict=True):
                by_id[candidate.id].trials[condition] = trial
                self.scale.add(condition, trial)
                for called in self.touched:
                    called(trial.numbers)

    def _trials(self, outcome: Outcome) -> list[ProgramTrial]:
        """Return the episodes of an outcome, without numbers that are not finite."""
        details: Mapping[str, Sequence[float]] = outcome.details
        names = [name for name in details if name.startswith(MEASURES)]
        trials = []
        for i, (success, steps) in enumerate(zip(details["success"], details["steps"], strict=True)):
            numbers = {name: float(details[name][i]) for name in names}
            finite = {name: number for name, number in numbers.items() if math.isfinite(number)}
            trials.append(ProgramTrial(bool(success), min(steps / self.spec.horizon, 1.0), finite))
        return trials


@dataclass(frozen=True, slots=True)
class ProgramTrial:
    """One episode: success, length as a share of the longest, and measures."""

    success: bool
    time: float
    numbers: Mapping[str, float]

    @property
    def reward(self) -> float:
        """How far the episode came: mostly by its best reward, NaN without any."""
        return 0.7 * self.numbers.get("best", math.nan) + 0.3 * self.numbers.get("last", math.nan)

    @property
    def touched(self) -> float:
        """The longest success as a share of the longest episode, 0 without any.

        It is measured only where success must last.
        """
        return self.numbers.get("rest_longest", 0.0)

    @property
    def behavior(self) -> tuple[Any, ...]:
        """Which things moved and rose: the descriptor that keeps a pool diverse."""
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
        """Return how many conditions it solved, of which one without a trial is not."""
        return sum(condition in self.trials and self.trials[condition].success for condition in conditions)

    @property
    def shape(self) -> tuple[Any, ...]:
        """What stays of the program without its numbers."""
        return tuple(
            (
                tuple((m.hand, m.tracked, m.place.anchor, m.place.when, m.gripper > 0) for m in s.moves),
                s.turn and s.turn.field,
                s.until and s.until.field,
                s.expects and s.expects.field,
            )
            for s in self.program.stages
        )


class RewardScale:
    """Makes rewards of different conditions comparable, by the range seen on each.

    0 is the worst reward seen on a condition and 1 the best; a success is above 2, a quick one more. Where success
    must last, one that did not is between 1 and 2.
    """

    def __init__(self) -> None:
        self._ranges: dict[int, tuple[float, float]] = {}
        self._ended_at_once: set[int] = set()

    def add(self, condition: int, trial: ProgramTrial) -> None:
        """Widen the range of a condition.

        Args:
            condition: where the trial was.
            trial: one without a reward changes nothing.
        """
        if math.isnan(trial.reward):
            return
        if trial.time == 0.0:
            self._ended_at_once.add(condition)
            return
        low, high = self._ranges.get(condition, (trial.reward, trial.reward))
        self._ranges[condition] = (min(low, trial.reward), max(high, trial.reward))

    def values(self, individual: Individual, conditions: Iterable[int]) -> list[float]:
        """Return the values of trials, by the ranges as they are now.

        Args:
            individual: a program.
            conditions: of which trials; it must have them all.
        """
        return [self._value(condition, individual.trials[condition]) for condition in conditions]

    def _value(self, condition: int, trial: ProgramTrial) -> float:
        if trial.success:
            return 3.0 - trial.numbers.get("rest_first", trial.time)
        if trial.touched:
            return 1.0 + trial.touched
        low, high = self._ranges.get(condition, (0.0, 0.0))
        if condition in self._ended_at_once and high > 0.0:
            low = min(low, 0.0)
        elif trial.time == 0.0:
            return 0.0  # where rewards are costs, that a program without a step had none is no merit
        return (trial.reward - low) / (high - low) if high > low and not math.isnan(trial.reward) else 0.0


def worst_mean(values: Sequence[float]) -> float:
    """Return the conditional value at risk: the mean of the worst fifth of values."""
    worst = sorted(values)[: -(-len(values) // WORST)]
    return sum(worst) / len(worst)


def diverse(ranked: Sequence[Individual], count: int, condition: int, share: float = 0.5) -> list[Individual]:
    """Return the best programs together with the best of other behaviors.

    Rewards mislead on the way to some tasks; a program that moves what no better one moves is kept for that.

    Args:
        ranked: best first.
        count: how many to return.
        condition: the trial whose behavior counts.
        share: of ``count`` that is taken by rank alone.
    """
    kept = list(ranked[: max(1, round(count * share))])
    behaviors = {individual.trials[condition].behavior for individual in kept}
    for individual in ranked[len(kept) :]:
        if len(kept) >= count:
            break
        behavior = individual.trials[condition].behavior
        if behavior not in behaviors:
            behaviors.add(behavior)
            kept.append(individual)
    for individual in ranked:
        if len(kept) >= count:
            break
        if individual not in kept:
            kept.append(individual)
    return kept


def first_of_shapes(ranked: Sequence[Individual], count: int, alike: int = 2) -> list[Individual]:
    """Return the best programs, not many of one shape.

    Args:
        ranked: best first.
        count: how many to return at most.
        alike: how many of one shape at most.
    """
    kept: list[Individual] = []
    shapes: dict[tuple[Any, ...], int] = {}
    for individual in ranked:
        shapes[individual.shape] = shapes.get(individual.shape, 0) + 1
        if shapes[individual.shape] <= alike and len(kept) < count:
            kept.append(individual)
    return kept
