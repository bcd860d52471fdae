"""Trials, and strategies that choose the one to improve on and those to show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from trace_robot.errors import OrderError
from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.optimizers.prompt.table import minimal

Records = tuple[Mapping[str, Any], ...]
MOST_GRAPH_CHARACTERS = 800  # of the text of a value in a graph


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate with its outcome.

    Args:
        candidate: what was evaluated.
        outcome: what it did, without its graph.
        graph: the minimal subgraph of its most informative episode, as records.
        remarks: what else is known of it, a text each for the prompt: what was tuned, what a person saw.
    """

    candidate: Candidate
    outcome: Outcome
    graph: Records = ()
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, candidate: Candidate, outcome: Outcome) -> Trial:
        """Return the trial of an outcome, its graph cut down to what a parameter leads to.

        Args:
            candidate: what was evaluated.
            outcome: what it did, with its graph.
        """
        graph: Records = outcome.graph
        if not graph and outcome.subgraph is not None:
            graph = tuple(outcome.subgraph.to_records(max_chars=MOST_GRAPH_CHARACTERS))
        return cls(candidate, outcome.without_graph(), minimal(graph))

    @property
    def rank(self) -> tuple[int, float, float]:
        """The outcome's."""
        return self.outcome.rank

    @property
    def still(self) -> bool:
        """Whether it stood still without a success, which costs of motion reward."""
        return self.outcome.evidence is not None and self.outcome.evidence.still


def take_waiting(waiting: list[Candidate], outcome: Outcome) -> Candidate:
    """Remove the candidate that an outcome is of, and return it.

    Args:
        waiting: candidates that were asked for and have no outcome yet; changed.
        outcome: of one of them.

    Raises:
        OrderError: the candidate was not asked for, or has its outcome already.
    """
    for index, candidate in enumerate(waiting):
        if candidate.id == outcome.candidate:
            return waiting.pop(index)
    known = ", ".join(str(candidate.id) for candidate in waiting) or "none"
    raise OrderError(f"no candidate {outcome.candidate} waits for an outcome; waiting: {known}")


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial that ranks highest, the earlier of equals unless one cures."""
    best: Trial | None = None
    for trial in trials:
        if best is None or trial.outcome.outranks(best.outcome):
            best = trial
    return best


def moving_of(trials: Sequence[Trial]) -> Sequence[Trial]:
    """Return the trials to build on: those that move, where the best one stands still.

    Args:
        trials: all of them; they are returned where the best one moves, or none moves without an error.
    """
    best = best_of(trials)
    if best is None or not best.still:
        return trials
    return [trial for trial in trials if not (trial.still or trial.outcome.faults)] or trials


def with_remark(trials: Sequence[Trial], candidate: int, text: str) -> list[Trial]:
    """Return trials of which one has a further remark.

    Args:
        trials: all of them.
        candidate: the id of the one trial's.
        text: the remark.
    """
    return [
        replace(trial, remarks=(*trial.remarks, text)) if trial.candidate.id == candidate else trial
        for trial in trials
    ]


class Strategy(Protocol):
    """Chooses among trials, which are never none and in the order of evaluation."""

    def parent(self, trials: Sequence[Trial]) -> Trial:
        """Return the trial to improve on, whose values, graph and feedback are shown."""
        ...

    def shown(self, trials: Sequence[Trial], parent: Trial, size: int) -> list[Trial]:
        """Return further trials for the history, the most useful first.

        Args:
            trials: all trials.
            parent: the one to improve on, which is not part of the history.
            size: most trials to return.
        """
        ...


@dataclass(frozen=True, slots=True)
class BestFirst:
    """Work on the best of the trials, or on one of the next two after some failures.

    A latest trial without a score (nan) is worked on at once. The history holds the best and the latest trials in turn.
    A trial that stands still is not worked on while another one moves without an error: a dense reward often pays more
    for it than for a first attempt, and there is nothing in it to build on (reward hacking).

    Args:
        patience: candidates made from a trial before it is the next one's turn.
    """

    patience: int = 4

    def parent(self, trials: Sequence[Trial]) -> Trial:
        """Return the one of the three best that was tried for the fewest rounds."""
        if math.isnan(trials[-1].outcome.score):
            return trials[-1]
        usable = moving_of(trials)
        best = best_of(usable)
        ranked = sorted(usable, key=lambda trial: (trial.rank, trial is best), reverse=True)
        tries = {trial.candidate.id: 0 for trial in trials}
        for trial in trials:
            if trial.candidate.parent in tries:
                tries[trial.candidate.parent] += 1
        # ``min`` takes the first of equals: the best until it has had ``patience`` children, then the next.
        return min(ranked[:3], key=lambda trial: tries[trial.candidate.id] // self.patience)

    def shown(self, trials: Sequence[Trial], parent: Trial, size: int) -> list[Trial]:
        """Return the latest trial, the best, the one before the latest, and so on.

        Args:
            trials: all trials.
            parent: the one to improve on, which is not part of the history.
            size: most trials to return.
        """
        others = [trial for trial in trials if trial.candidate.id != parent.candidate.id]
        ranked = sorted(others, key=lambda trial: trial.rank, reverse=True)
        chosen: list[Trial] = []
        for pair in zip(reversed(others), ranked, strict=True):
            chosen.extend(trial for trial in pair if trial not in chosen)
        return chosen[:size]


@dataclass(frozen=True, slots=True)
class Latest:
    """Work on the last trial, whatever it scored: a single chain, as published."""

    def parent(self, trials: Sequence[Trial]) -> Trial:
        """Return the last trial."""
        return trials[-1]

    def shown(self, trials: Sequence[Trial], parent: Trial, size: int) -> list[Trial]:
        """Return the trials before the last, the latest first.

        Args:
            trials: all trials.
            parent: the last of them.
            size: most trials to return.
        """
        return list(reversed(trials[:-1]))[:size]


def newest_after(trials: Sequence[Trial], parent: Trial | None) -> Trial | None:
    """Return the newest trial after the one to improve on, a model's first.

    Args:
        trials: in the order of evaluation.
        parent: the one to improve on; None gives None.
    """
    if parent is None:
        return None
    later = [trial for trial in trials if trial.candidate.id != parent.candidate.id]
    place = next((i for i, trial in enumerate(trials) if trial.candidate.id == parent.candidate.id), 0)
    later = later[place:]
    of_model = [trial for trial in later if trial.candidate.origin == "model"]
    return next(reversed(of_model or later), None)


def remembered(
    strategy: Strategy, trials: Sequence[Trial], parent: Trial | None, size: int, with_newest: bool
) -> list[Trial]:
    """Return the other trials that a prompt shows.

    Args:
        strategy: chooses them.
        trials: in the order of evaluation.
        parent: the one to improve on; None gives none.
        size: most of them.
        with_newest: whether ``newest_after`` is one of them in any case.
    """
    if parent is None or size == 0:
        return []
    shown, newest = strategy.shown(trials, parent, size), newest_after(trials, parent)
    if not with_newest or newest is None or any(t.candidate.id == newest.candidate.id for t in shown):
        return shown
    return [newest, *shown[: size - 1]]


def forget_graphs(trials: Sequence[Trial], keep: int = 4) -> list[Trial]:
    """Drop the graphs of trials that no strategy works on any more, to bound memory.

    Args:
        trials: in the order of evaluation.
        keep: how many of the best, and as many of the latest, keep their graphs.

    Returns:
        All trials, in the same order.
    """
    ranked = sorted(trials, key=lambda trial: trial.rank, reverse=True)
    kept = {trial.candidate.id for trial in (*ranked[:keep], *trials[-keep:])}
    return [t if t.candidate.id in kept or not t.graph else replace(t, graph=()) for t in trials]
