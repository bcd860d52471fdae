"""Evaluated candidates, which of them is worked on next, and which are shown to the model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.optimizers.prompt.table import minimal

Records = tuple[Mapping[str, Any], ...]
MOST_CHARACTERS = 800


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate with its outcome; graph: the subgraph of its most telling episode, as records."""

    candidate: Candidate
    outcome: Outcome
    graph: Records = ()

    @classmethod
    def of(cls, candidate: Candidate, outcome: Outcome) -> Trial:
        graph: Records = outcome.graph
        if not graph and outcome.subgraph is not None:
            graph = tuple(outcome.subgraph.to_records(max_chars=MOST_CHARACTERS))
        return cls(candidate, outcome.without_graph(), minimal(graph))

    @property
    def rank(self) -> tuple[float, float]:
        """Success first, then score; what is not a number ranks last."""
        score = float(self.outcome.score)
        return (self.outcome.success, -math.inf if math.isnan(score) else score)


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The trial that ranks highest, the earlier one of equals."""
    return max(trials, key=lambda trial: trial.rank, default=None)


class Strategy(Protocol):
    """Chooses; ``trials`` is never empty and in the order of evaluation."""

    def parent(self, trials: Sequence[Trial]) -> Trial:
        """Return the trial whose values, graph and feedback the model is shown to improve on."""
        ...

    def shown(self, trials: Sequence[Trial], parent: Trial, size: int) -> list[Trial]:
        """Return at most ``size`` further trials for the history, the most useful first."""
        ...


@dataclass(frozen=True, slots=True)
class BestFirst:
    """Work on the best trial; after ``patience`` children of it that are no better, on the next best in turn.

    A latest trial without a score (not a number) is worked on at once. The history holds the best and the
    latest trials in turn.
    """

    patience: int = 4

    def parent(self, trials: Sequence[Trial]) -> Trial:
        if math.isnan(trials[-1].outcome.score):
            return trials[-1]
        ranked = sorted(trials, key=lambda trial: trial.rank, reverse=True)
        tries = {trial.candidate.id: 0 for trial in trials}
        for trial in trials:
            if trial.candidate.parent in tries:
                tries[trial.candidate.parent] += 1
        return min(ranked[:3], key=lambda trial: tries[trial.candidate.id] // self.patience)

    def shown(self, trials: Sequence[Trial], parent: Trial, size: int) -> list[Trial]:
        others = [trial for trial in trials if trial.candidate.id != parent.candidate.id]
        ranked = sorted(others, key=lambda trial: trial.rank, reverse=True)
        chosen: list[Trial] = []
        for pair in zip(reversed(others), ranked, strict=True):
            chosen.extend(trial for trial in pair if trial not in chosen)
        return chosen[:size]


@dataclass(frozen=True, slots=True)
class Latest:
    """A single chain, as published: always the last trial, whatever it scored."""

    def parent(self, trials: Sequence[Trial]) -> Trial:
        return trials[-1]

    def shown(self, trials: Sequence[Trial], parent: Trial, size: int) -> list[Trial]:
        return list(reversed(trials[:-1]))[:size]


def forget_graphs(trials: Sequence[Trial], keep: int = 4) -> list[Trial]:
    """Drop the graphs of all but the ``keep`` best and the ``keep`` latest trials."""
    ranked = sorted(trials, key=lambda trial: trial.rank, reverse=True)
    kept = {trial.candidate.id for trial in (*ranked[:keep], *trials[-keep:])}
    return [t if t.candidate.id in kept or not t.graph else replace(t, graph=()) for t in trials]
