"""Asks for the episodes of laws, and says which of two did better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.search.base import Steps
from trace_robot.search.feedback_law import FeedbackLaw
from trace_robot.search.feedback_law.controller import LawController
from trace_robot.search.feedback_law.structures import Shape, disturbed, halves, size, without
from trace_robot.spec import Array

Value = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class LawScore:
    """What a law did, one number a condition. faulty: whether an episode of it ended with an error."""

    returns: Array
    successes: Array
    faulty: bool = False
    details: Any = field(default=None, compare=False, repr=False)

    def __add__(self, other: LawScore) -> LawScore:
        returns = np.concatenate((self.returns, other.returns))
        successes = np.concatenate((self.successes, other.successes))
        return LawScore(returns, successes, self.faulty or other.faulty)


@dataclass(frozen=True, slots=True)
class Judge:
    """Says which scores are better and which are good enough.

    threshold: the return that counts as success; where there is one, the mean return decides. Without one the
    share of successes does, and the mean return between equals.
    """

    threshold: float | None = None

    def value(self, score: LawScore) -> Value:
        """What laws are ranked by; larger is better."""
        if score.faulty:
            return (-math.inf, -math.inf)
        mean = float(score.returns.mean())
        return (float(score.successes.mean()), mean) if self.threshold is None else (mean, 0.0)

    def solves(self, score: LawScore, margin: float) -> bool:
        """Return whether all succeeded, or the mean return is ``margin`` standard errors above the threshold."""
        if score.faulty or self.threshold is None:
            return not score.faulty and bool(score.successes.all())
        error = float(score.returns.std()) / math.sqrt(len(score.returns))
        return float(score.returns.mean()) - margin * error >= self.threshold

    def worth(self, score: LawScore, other: LawScore) -> bool:
        """Return whether a score loses no success, and at most a quarter of what another is better than it must be."""
        if not self.solves(score, 1.0) or score.successes.mean() < other.successes.mean():
            return False
        if self.threshold is None:
            return True
        lead = float(other.returns.mean()) - self.threshold
        return float(score.returns.mean()) >= self.threshold + 0.75 * lead


class LawTrials:
    """Runs laws through candidates that are yielded and outcomes that are sent back."""

    def __init__(self, threshold: float | None = None) -> None:
        self.judge = Judge(threshold)
        self.count = 0

    def number(self) -> int:
        """Return the next number of a candidate."""
        self.count += 1
        return self.count

    def run(
        self, laws: Sequence[FeedbackLaw], conditions: Sequence[int], note: str = "", *, probe: bool = False
    ) -> Steps[list[LawScore]]:
        """Run each law once on each of ``conditions``."""
        asked = []
        for law in laws:
            data = LawController(law, probe).to_data()
            asked.append(
                Candidate(self.number(), None, {}, note, "search", program=data, seeds=tuple(conditions))
            )
        outcomes = yield asked
        return [_score(outcome) for outcome in outcomes]


def _score(outcome: Outcome) -> LawScore:
    details = outcome.details
    returns = np.array(details["reward"], float)
    faulty = bool(outcome.faults) or not bool(np.isfinite(returns).all())
    return LawScore(np.nan_to_num(returns), np.array(details["success"], bool), faulty, details)


POOL = 256  # conditions: the first half to climb on, others to choose on and to confirm on
CHOOSE, CONFIRM = slice(128, 160), slice(192, 256)
MARGIN = 1.5  # standard errors by which the mean return must be better than what success takes
COPIES = 3


@dataclass(slots=True, eq=False)
class LawFinalist:
    """A law with its score on the conditions to choose on.

    vector: what the shape made it of, in units of the shape; refused: it did not hold on others.
    """

    number: int
    law: FeedbackLaw
    score: LawScore
    name: str
    shape: Shape | None = None
    vector: Array | None = None
    refused: bool = False


@dataclass(slots=True)
class Finalists:
    """Keeps them, and says which is the best."""

    trials: LawTrials
    seeds: tuple[int, ...]
    random: np.random.Generator
    list: list[LawFinalist] = field(default_factory=list)

    def value(self, finalist: LawFinalist) -> Value:
        return self.trials.judge.value(finalist.score)

    @property
    def ranked(self) -> Sequence[LawFinalist]:
        return sorted(self.list, key=self.value, reverse=True)

    @property
    def champion(self) -> LawFinalist | None:
        """The best on the conditions to choose on; one that did not hold on others comes last."""
        return max(self.list, key=lambda each: (not each.refused, self.value(each)), default=None)

    def enter(
        self, laws: Sequence[FeedbackLaw], shapes: Sequence[Shape], vectors: Sequence[Array]
    ) -> Steps[Sequence[LawFinalist]]:
        """Run laws on the conditions to choose on; return the finalists that they are."""
        scores = yield from self.trials.run(laws, self.seeds[CHOOSE], "on conditions to choose on")
        new = [
            LawFinalist(self.trials.number(), law, score, shape.name, shape, vector.copy())
            for law, score, shape, vector in zip(laws, scores, shapes, vectors, strict=True)
        ]
        self.list += new
        return new

    def solved(self) -> Steps[LawFinalist | None]:
        """Return a finalist that solves the task on conditions it was not chosen on, if there is one.

        Among several that may, those are preferred that bear to have their numbers disturbed.
        """
        judge = self.trials.judge
        while able := [each for each in self.ranked if not each.refused and judge.solves(each.score, 0.0)]:
            steady: LawFinalist = yield from self._steadiest(
                sorted(able, key=lambda each: size(each.law))[:3] + able[:1]
            )
            if (yield from self._holds(steady)):
                return steady
            steady.refused = True
        return None

    def _steadiest(self, able: Sequence[LawFinalist]) -> Steps[LawFinalist]:
        """Return the law that succeeds most often with its numbers disturbed, the shortest of equals."""
        able = list(dict.fromkeys(able))
        noisy = [disturbed(each.law, self.random) for each in able for _ in range(COPIES)]
        scores = yield from self.trials.run(noisy, self.seeds[CHOOSE][:16], "its numbers disturbed")
        shares = [
            sum(float(score.successes.mean()) for score in scores[k * COPIES : (k + 1) * COPIES])
            for k in range(len(able))
        ]
        return able[max(range(len(able)), key=lambda k: (shares[k], -size(able[k].law)))]

    def simplified(self, finalist: LawFinalist) -> Steps[LawFinalist]:
        """Leave out what a solution can do without; return the plainest law that still solves the task."""
        chain = [finalist]
        while (plainer := (yield from self._plainer(chain[-1].law, finalist.score))) is not None:
            law, score = plainer
            chain.append(LawFinalist(self.trials.number(), law, score, finalist.name))
        while len(chain) > 1 and not (yield from self._holds(chain[-1])):
            chain.pop()
        return chain[-1]

    def _plainer(self, law: FeedbackLaw, score: LawScore) -> Steps[tuple[FeedbackLaw, LawScore] | None]:
        """Return a plainer law with its score, one that is worth nearly ``score``; None if there is none."""
        parts = yield from self._worth(halves(law), score)
        if parts:
            return min(parts, key=lambda pair: size(pair[0]))
        terms = {without(law, {k}): k for k in range(size(law))}
        singles = yield from self._worth(list(terms), score)
        if not singles:
            return None
        order = [terms[each] for each, _ in singles]
        bulk = [without(law, set(order[:n])) for n in (2, 4, 8, 16, 32) if n <= len(order)]
        together = yield from self._worth(bulk, score)
        return min(together, key=lambda pair: size(pair[0])) if together else singles[0]

    def _worth(
        self, laws: Sequence[FeedbackLaw], score: LawScore
    ) -> Steps[Sequence[tuple[FeedbackLaw, LawScore]]]:
        """Return those of ``laws`` that are worth nearly ``score``, with their scores; the best first."""
        if not laws:
            return []
        scores = yield from self.trials.run(laws, self.seeds[CHOOSE], "something left out")
        judge = self.trials.judge
        fit = [pair for pair in zip(laws, scores, strict=True) if judge.worth(pair[1], score)]
        return sorted(fit, key=lambda pair: judge.value(pair[1]), reverse=True)

    def _holds(self, finalist: LawFinalist) -> Steps[bool]:
        """Return whether a law solves the task on conditions that nothing was chosen on."""
        judge = self.trials.judge
        (score,) = yield from self.trials.run(
            [finalist.law], self.seeds[CONFIRM], "on conditions to confirm on"
        )
        return judge.solves(finalist.score + score, MARGIN) and judge.solves(score, 0.0)
