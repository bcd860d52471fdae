"""Programs that were tried, what they did on each training condition, and which to go on with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trace_robot.program import Program

MOVED = 0.01  # metres from which a thing counts as moved
RAISED = 0.02  # metres from which it counts as raised


@dataclass(frozen=True, slots=True)
class Trial:
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
    program: Program
    parent: int | None = None
    note: str = ""
    trials: dict[int, Trial] = field(default_factory=dict)

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

    def see(self, condition: int, trial: Trial) -> None:
        if math.isnan(trial.reward):
            return
        low, high = self._ranges.get(condition, (trial.reward, trial.reward))
        self._ranges[condition] = (min(low, trial.reward), max(high, trial.reward))

    def value(self, condition: int, trial: Trial) -> float:
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
