"""Laws that came far enough to be compared: on the same conditions, and with their numbers disturbed."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trace_robot.law import Law
from trace_robot.optimize.laws.simplify import disturbed, halves, size, without
from trace_robot.optimize.laws.structures import Shape
from trace_robot.optimize.laws.trials import Score, Trials, Value
from trace_robot.optimize.problem import Candidate, Outcome
from trace_robot.spec import Array

POOL = 256  # conditions: the first half to climb on, others to choose on and to confirm on
CHOOSE, CONFIRM = slice(128, 160), slice(192, 256)
MARGIN = 1.5  # standard errors by which the mean return must be better than what success takes
COPIES = 3

Found = Generator[list[Candidate], Sequence[Outcome], "Finalist | None"]


@dataclass(slots=True, eq=False)
class Finalist:
    """A law with its score on the conditions to choose on.

    vector: what the shape made it of, in units of the shape; refused: it did not hold on others.
    """

    number: int
    law: Law
    score: Score
    name: str
    shape: Shape | None = None
    vector: Array | None = None
    refused: bool = False


@dataclass(slots=True)
class Finalists:
    """Keeps them, and says which is the best."""

    trials: Trials
    seeds: tuple[int, ...]
    random: np.random.Generator
    list: list[Finalist] = field(default_factory=list)

    def value(self, finalist: Finalist) -> Value:
        return self.trials.judge.value(finalist.score)

    @property
    def ranked(self) -> Sequence[Finalist]:
        return sorted(self.list, key=self.value, reverse=True)

    @property
    def champion(self) -> Finalist | None:
        """The best on the conditions to choose on; one that did not hold on others comes last."""
        return max(self.list, key=lambda each: (not each.refused, self.value(each)), default=None)

    def enter(self, laws: Sequence[Law], shapes: Sequence[Shape], vectors: Sequence[Array]) -> Any:
        """Run laws on the conditions to choose on; return the finalists that they are."""
        scores = yield from self.trials.run(laws, self.seeds[CHOOSE], "on conditions to choose on")
        new = [
            Finalist(self.trials.number(), law, score, shape.name, shape, vector.copy())
            for law, score, shape, vector in zip(laws, scores, shapes, vectors, strict=True)
        ]
        self.list += new
        return new

    def solved(self) -> Found:
        """Return a finalist that solves the task on conditions it was not chosen on, if there is one.

        Among several that may, those are preferred that bear to have their numbers disturbed.
        """
        judge = self.trials.judge
        while able := [each for each in self.ranked if not each.refused and judge.solves(each.score, 0.0)]:
            steady: Finalist = yield from self._steadiest(
                sorted(able, key=lambda each: size(each.law))[:3] + able[:1]
            )
            if (yield from self._holds(steady)):
                return steady
            steady.refused = True
        return None

    def _steadiest(self, able: Sequence[Finalist]) -> Any:
        """Return the law that succeeds most often with its numbers disturbed, the shortest of equals."""
        able = list(dict.fromkeys(able))
        noisy = [disturbed(each.law, self.random) for each in able for _ in range(COPIES)]
        scores = yield from self.trials.run(noisy, self.seeds[CHOOSE][:16], "its numbers disturbed")
        shares = [
            sum(float(score.successes.mean()) for score in scores[k * COPIES : (k + 1) * COPIES])
            for k in range(len(able))
        ]
        return able[max(range(len(able)), key=lambda k: (shares[k], -size(able[k].law)))]

    def simplified(self, finalist: Finalist) -> Any:
        """Leave out what a solution can do without; return the plainest law that still solves the task."""
        chain = [finalist]
        while (plainer := (yield from self._plainer(chain[-1].law, finalist.score))) is not None:
            law, score = plainer
            chain.append(Finalist(self.trials.number(), law, score, finalist.name))
        while len(chain) > 1 and not (yield from self._holds(chain[-1])):
            chain.pop()
        return chain[-1]

    def _plainer(self, law: Law, score: Score) -> Any:
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

    def _worth(self, laws: Sequence[Law], score: Score) -> Any:
        """Return those of ``laws`` that are worth nearly ``score``, with their scores; the best first."""
        if not laws:
            return []
        scores = yield from self.trials.run(laws, self.seeds[CHOOSE], "something left out")
        judge = self.trials.judge
        fit = [pair for pair in zip(laws, scores, strict=True) if judge.worth(pair[1], score)]
        return sorted(fit, key=lambda pair: judge.value(pair[1]), reverse=True)

    def _holds(self, finalist: Finalist) -> Any:
        """Return whether a law solves the task on conditions that nothing was chosen on."""
        judge = self.trials.judge
        (score,) = yield from self.trials.run(
            [finalist.law], self.seeds[CONFIRM], "on conditions to confirm on"
        )
        return judge.solves(finalist.score + score, MARGIN) and judge.solves(score, 0.0)
