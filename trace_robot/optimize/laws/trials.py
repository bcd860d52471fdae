"""Asks for the episodes of laws, and says which of two did better."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trace_robot.law import Law
from trace_robot.optimize.problem import Candidate, Outcome
from trace_robot.spec import Array

Step = Generator[list[Candidate], Sequence[Outcome], None]
Value = tuple[float, float]
LOOK = "look"


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """What a law did, one number a condition. faulty: whether an episode of it ended with an error."""

    returns: Array
    successes: Array
    faulty: bool = False
    details: Any = field(default=None, compare=False, repr=False)

    def __add__(self, other: Score) -> Score:
        returns = np.concatenate((self.returns, other.returns))
        successes = np.concatenate((self.successes, other.successes))
        return Score(returns, successes, self.faulty or other.faulty)


Scores = Generator[list[Candidate], Sequence[Outcome], list[Score]]


@dataclass(frozen=True, slots=True)
class Judge:
    """Says which scores are better and which are good enough.

    threshold: the return that counts as success; where there is one, the mean return decides. Without one the
    share of successes does, and the mean return between equals.
    """

    threshold: float | None = None

    def value(self, score: Score) -> Value:
        """What laws are ranked by; larger is better."""
        if score.faulty:
            return (-math.inf, -math.inf)
        mean = float(score.returns.mean())
        return (float(score.successes.mean()), mean) if self.threshold is None else (mean, 0.0)

    def solves(self, score: Score, margin: float) -> bool:
        """Return whether all succeeded, or the mean return is ``margin`` standard errors above the threshold."""
        if score.faulty or self.threshold is None:
            return not score.faulty and bool(score.successes.all())
        error = float(score.returns.std()) / math.sqrt(len(score.returns))
        return float(score.returns.mean()) - margin * error >= self.threshold

    def worth(self, score: Score, other: Score) -> bool:
        """Return whether a score loses no success, and at most a quarter of what another is better than it must be."""
        if not self.solves(score, 1.0) or score.successes.mean() < other.successes.mean():
            return False
        if self.threshold is None:
            return True
        lead = float(other.returns.mean()) - self.threshold
        return float(score.returns.mean()) >= self.threshold + 0.75 * lead


class Trials:
    """Runs laws through candidates that are yielded and outcomes that are sent back."""

    def __init__(self, threshold: float | None = None) -> None:
        self.judge = Judge(threshold)
        self.count = 0

    def number(self) -> int:
        """Return the next number of a candidate."""
        self.count += 1
        return self.count

    def run(
        self, laws: Sequence[Law], conditions: Sequence[int], note: str = "", *, look: bool = False
    ) -> Scores:
        """Run each law once on each of ``conditions``."""
        asked = []
        for law in laws:
            data = {**law.to_data(), **({LOOK: True} if look else {})}
            asked.append(
                Candidate(self.number(), None, {}, note, "search", program=data, seeds=tuple(conditions))
            )
        outcomes = yield asked
        return [_score(outcome) for outcome in outcomes]


def _score(outcome: Outcome) -> Score:
    details = outcome.details
    returns = np.array(details["reward"], float)
    faulty = bool(outcome.faults) or not bool(np.isfinite(returns).all())
    return Score(np.nan_to_num(returns), np.array(details["success"], bool), faulty, details)
