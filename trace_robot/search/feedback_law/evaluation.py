"""Evaluation of laws: scores, episodes to ask for, finalists, and probes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.search.base import Steps
from trace_robot.search.feedback_law.law import (
    DECISIONS,
    PROBE,
    Feedback,
    FeedbackLaw,
    Quantity,
    Sum,
    parts,
    perturbed,
    rounded,
    size,
    without_terms,
)
from trace_robot.search.feedback_law.structures import AnyStructure
from trace_robot.spec import Array, TaskSpec

# Conditions by purpose, so that nothing is chosen on what it was tuned on, and nothing confirmed on what it was
# chosen on: the first half to tune on, others to choose on and to confirm on.
CHOOSE, CONFIRM = slice(128, 160), slice(192, 256)
LONG = 1000  # decisions of an episode from which on fewer conditions do: each shows more, and costs more
FEWEST_CONDITIONS = 2  # of a long episode
MARGIN = 1.5  # standard errors by which the mean return must be better than what success takes
COPIES = 3  # perturbations of a law
PERTURBED = 16  # conditions that each of them runs on
Value = tuple[float, float]  # of a law, larger is better
WORST: Value = (-math.inf, -math.inf)
LEAD = 0.75  # of its lead over the threshold that a law must keep when it is simplified
NOTES = ("size_", "moves_", "circle_", "rate_", "mean_", "step_", "apart_", "along_", "link_")
CONSTANT = 6  # probes that push one way all the time
RANDOM = 18  # probes with numbers of all sizes


@dataclass(frozen=True, slots=True, eq=False)
class LawScore:
    """What a law did: one return and one success a condition.

    faulty: whether an episode of it ended with an error, as when numbers grow without bounds. details: of the
    outcome, with the numbers of a probe.
    """

    returns: Array
    successes: Array
    faulty: bool = False
    details: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __add__(self, other: LawScore) -> LawScore:
        returns = np.concatenate((self.returns, other.returns))
        successes = np.concatenate((self.successes, other.successes))
        return LawScore(returns, successes, self.faulty or other.faulty)


@dataclass(frozen=True, slots=True)
class Judge:
    """Decides which score is better, and which is good enough.

    threshold: the return that counts as success; where there is one, the mean return decides. Without one the
    share of successes does, and the mean return between equals.
    """

    threshold: float | None = None

    def value(self, score: LawScore) -> Value:
        """Return what laws are ranked by, larger is better, a faulty law is worst."""
        if score.faulty:
            return WORST
        mean = float(score.returns.mean())
        return (float(score.successes.mean()), mean) if self.threshold is None else (mean, 0.0)

    def solves(self, score: LawScore, margin: float) -> bool:
        """Return whether a score solves the task.

        Args:
            score: of some conditions.
            margin: standard errors by which the mean return must be above the threshold; without a threshold
                every episode must have succeeded.
        """
        if score.faulty or self.threshold is None:
            return not score.faulty and bool(score.successes.all())
        error = float(score.returns.std()) / math.sqrt(len(score.returns))
        return float(score.returns.mean()) - margin * error >= self.threshold

    def is_acceptable_loss(self, score: LawScore, original: LawScore) -> bool:
        """Return whether a simplified law is good enough to replace the original.

        It must solve the task, succeed as often, and keep at least LEAD of the original's margin over the return
        threshold, if there is one.

        Args:
            score: of the simplified law.
            original: of the law that it was made from, on the same conditions.
        """
        if not self.solves(score, 1.0) or score.successes.mean() < original.successes.mean():
            return False
        if self.threshold is None:
            return True
        lead = float(original.returns.mean()) - self.threshold
        return float(score.returns.mean()) >= self.threshold + LEAD * lead


Scored = Sequence[tuple[FeedbackLaw, LawScore]]


class LawEvaluation:
    """Runs laws on conditions: yields candidates and is sent their outcomes.

    horizon: decisions of a whole episode, 0 where none ends before.
    """

    def __init__(self, threshold: float | None = None, horizon: int = 0) -> None:
        self.judge = Judge(threshold)
        self.horizon = horizon
        self.worst = 0.0  # reward of a decision in the worst of the probes
        self.count = 0
        self.decisions = 0  # after which the episodes that are asked for end, 0 for none

    def returns(self, outcome: Outcome) -> list[float]:
        """Return the return of each episode, one that failed extrapolated to the end.

        Where each decision costs something, a ball that is thrown off its plate at once would else have the best of
        returns: each decision that is left costs as much as in the worst of the probes. Where a return counts as
        success, it is what it is. An episode that was cut short goes on as it did.
        """
        details = outcome.details
        rewards = [float(reward) for reward in details["reward"]]
        if self.decisions:
            return [
                reward * self.horizon / steps if steps == self.decisions else reward
                for reward, steps in zip(rewards, details["steps"], strict=True)
            ]
        if self.judge.threshold is not None or "steps" not in details:
            return rewards
        episodes = zip(rewards, details["steps"], details["success"], strict=True)
        return [
            reward + (self.horizon - steps) * min(self.worst, reward / steps)
            if reward < 0.0 and not success and 0 < steps < self.horizon
            else reward
            for reward, steps, success in episodes
        ]

    @property
    def is_long(self) -> bool:
        """Whether an episode is long, so that conditions are saved."""
        return self.horizon >= LONG

    def conditions(self, count: int) -> int:
        """Return the conditions in the place of ``count``: fewer of long episodes."""
        return max(FEWEST_CONDITIONS, round(count * LONG / (2 * self.horizon))) if self.is_long else count

    def number(self) -> int:
        """Return the next number of a candidate."""
        self.count += 1
        return self.count

    def run(
        self, laws: Sequence[FeedbackLaw], conditions: Sequence[int], note: str = "", *, probe: bool = False
    ) -> Steps[list[LawScore]]:
        """Run each law once on each condition.

        Args:
            laws: what to run.
            conditions: initial states, by their seeds.
            note: why, for the record.
            probe: whether to bring back the features of each episode, in ``details``.
        """
        asked = []
        for law in laws:
            data = law.to_data()
            data |= {PROBE: True} if probe else {}
            data |= {DECISIONS: self.decisions} if self.decisions else {}
            asked.append(
                Candidate(self.number(), None, {}, note, "search", program=data, seeds=tuple(conditions))
            )
        outcomes = yield asked
        if probe:
            self._see_worst(outcomes)
        return [self._score(outcome) for outcome in outcomes]

    def _see_worst(self, outcomes: Sequence[Outcome]) -> None:
        """Take the least mean reward of a decision in the episodes of probes."""
        for outcome in outcomes:
            rewards, steps = outcome.details["reward"], outcome.details.get("steps", ())
            means = [reward / count for reward, count in zip(rewards, steps, strict=False) if count]
            self.worst = min([self.worst, *(mean for mean in means if math.isfinite(mean))])

    def _score(self, outcome: Outcome) -> LawScore:
        details, returns = outcome.details, np.array(self.returns(outcome), float)
        faulty = bool(outcome.faults) or not bool(np.isfinite(returns).all())
        return LawScore(np.nan_to_num(returns), np.array(details["success"], bool), faulty, details)


@dataclass(slots=True, eq=False)
class LawFinalist:
    """A law with its score on the conditions to choose on.

    vector: what the structure made it of. refused: it did not hold on other conditions.
    """

    number: int
    law: FeedbackLaw
    score: LawScore
    name: str
    structure: AnyStructure | None = None
    vector: Array | None = None
    refused: bool = False


@dataclass(slots=True)
class LawFinalists:
    """The laws that tuning ended with: their test, and their simplification."""

    evaluation: LawEvaluation
    seeds: tuple[int, ...]
    random: np.random.Generator
    list: list[LawFinalist] = field(default_factory=list)

    def some(self, purpose: slice) -> tuple[int, ...]:
        """Return the conditions of a purpose."""
        seeds = self.seeds[purpose]
        return seeds[: self.evaluation.conditions(len(seeds))]

    def value(self, finalist: LawFinalist) -> Value:
        """Return what finalists are ranked by."""
        return self.evaluation.judge.value(finalist.score)

    @property
    def ranked(self) -> Sequence[LawFinalist]:
        """All finalists, best first."""
        return sorted(self.list, key=self.value, reverse=True)

    @property
    def champion(self) -> LawFinalist | None:
        """The best finalist, a refused one only where all are, None without any."""
        return max(self.list, key=lambda finalist: (not finalist.refused, self.value(finalist)), default=None)

    def leading(self, structures: Iterable[AnyStructure]) -> LawFinalist | None:
        """Return the best finalist: of those that are not sparse, if a race has any."""
        dense = [one for one in self.ranked if one.structure is None or not one.structure.sparse]
        if len(dense) == len(self.list) or all(structure.sparse for structure in structures):
            return self.champion
        return dense[0] if dense else None

    def enter(
        self, laws: Sequence[FeedbackLaw], structures: Sequence[AnyStructure], vectors: Sequence[Array]
    ) -> Steps[Sequence[LawFinalist]]:
        """Score laws on the conditions to choose on and return them as finalists.

        Args:
            laws: one from each restart.
            structures: of each law.
            vectors: that each structure made the law of.
        """
        scores = yield from self.evaluation.run(laws, self.some(CHOOSE), "on conditions to choose on")
        new = [
            LawFinalist(self.evaluation.number(), law, score, structure.name, structure, vector.copy())
            for law, score, structure, vector in zip(laws, scores, structures, vectors, strict=True)
        ]
        self.list += new
        return new

    def solution(self) -> Steps[LawFinalist | None]:
        """Return a finalist that solves the task on conditions it was not chosen on.

        Among those that may, the one that bears perturbation best is tried first; one that fails is refused, and
        the next is tried. None if none is left.
        """
        judge = self.evaluation.judge
        while able := [one for one in self.ranked if not one.refused and judge.solves(one.score, 0.0)]:
            shortest = sorted(able, key=lambda finalist: size(finalist.law))[:3]
            steadiest = yield from self._steadiest(shortest + able[:1])
            if (yield from self._holds(steadiest)):
                return steadiest
            steadiest.refused = True
        return None

    def simplified(self, finalist: LawFinalist) -> Steps[LawFinalist]:
        """Return the plainest law that still solves the task.

        Terms are left out greedily; where the result does not hold on other conditions, the steps are undone one
        by one until it does.
        """
        chain = [finalist]
        while (plainer := (yield from self._plainer(chain[-1].law, finalist.score))) is not None:
            law, score = plainer
            chain.append(LawFinalist(self.evaluation.number(), law, score, finalist.name))
        while len(chain) > 1 and not (yield from self._holds(chain[-1])):
            chain.pop()
        return chain[-1]

    def _steadiest(self, able: Sequence[LawFinalist]) -> Steps[LawFinalist]:
        """Return the law that succeeds most often when perturbed, the shortest of equals."""
        able = list(dict.fromkeys(able))
        noisy = [perturbed(finalist.law, self.random) for finalist in able for _ in range(COPIES)]
        seeds = self.seeds[CHOOSE][: self.evaluation.conditions(PERTURBED)]
        scores = yield from self.evaluation.run(noisy, seeds, "its numbers disturbed")
        shares = [
            sum(float(score.successes.mean()) for score in scores[k * COPIES : (k + 1) * COPIES])
            for k in range(len(able))
        ]
        return able[max(range(len(able)), key=lambda k: (shares[k], -size(able[k].law)))]

    def _plainer(self, law: FeedbackLaw, original: LawScore) -> Steps[tuple[FeedbackLaw, LawScore] | None]:
        """Return a simpler law at an acceptable loss, with its score, if there is one."""
        whole = yield from self._acceptable(parts(law), original)
        if whole:
            return min(whole, key=lambda pair: size(pair[0]))
        terms = {without_terms(law, {k}): k for k in range(size(law))}
        singles = yield from self._acceptable(list(terms), original)
        if not singles:
            return None
        # Those that cost least, many at once: one by one would take a round of episodes for each of them.
        order = [terms[plainer] for plainer, _ in singles]
        bulk = [without_terms(law, set(order[:n])) for n in (2, 4, 8, 16, 32) if n <= len(order)]
        together = yield from self._acceptable(bulk, original)
        return min(together, key=lambda pair: size(pair[0])) if together else singles[0]

    def _acceptable(self, laws: Sequence[FeedbackLaw], original: LawScore) -> Steps[Scored]:
        """Return the laws that lose acceptably little, with their scores, the best first."""
        if not laws:
            return []
        scores = yield from self.evaluation.run(laws, self.some(CHOOSE), "something left out")
        judge = self.evaluation.judge
        pairs = zip(laws, scores, strict=True)
        acceptable = [pair for pair in pairs if judge.is_acceptable_loss(pair[1], original)]
        return sorted(acceptable, key=lambda pair: judge.value(pair[1]), reverse=True)

    def _holds(self, finalist: LawFinalist) -> Steps[bool]:
        """Return whether a law solves the task on conditions that nothing was chosen on."""
        judge = self.evaluation.judge
        (score,) = yield from self.evaluation.run(
            [finalist.law], self.some(CONFIRM), "on conditions to confirm on"
        )
        return judge.solves(finalist.score + score, MARGIN) and judge.solves(score, 0.0)


def probing_laws(spec: TaskSpec, random: np.random.Generator) -> list[FeedbackLaw]:
    """Return laws that push one way or at random.

    Args:
        spec: the environment.
        random: draws the latter.
    """
    shown = [i for field in spec.observation for i in range(field.start, field.stop)]
    quantities = tuple(Quantity("number", i) for i in shown)
    products = tuple((k,) for k in range(len(shown)))
    actions = spec.action_size
    signs = list(product((-1.0, 1.0), repeat=min(actions, 3)))[:CONSTANT]
    laws = [
        FeedbackLaw((), Feedback(tuple(Sum(((),), (row[j % len(row)],)) for j in range(actions))))
        for row in signs
    ]
    for _ in range(RANDOM):
        sizes = 10.0 ** random.uniform(-1, 1, len(shown))
        weights = random.standard_normal((actions, len(shown))) * sizes
        controls = tuple(Sum(products, tuple(map(rounded, row))) for row in weights)
        laws.append(FeedbackLaw(quantities, Feedback(controls)))
    return laws


def notes_of(details: Mapping[str, Any]) -> list[dict[str, float]]:
    """Return the numbers of each probe episode, without NaN for those it lacks."""
    names = [name for name in details if name.startswith(NOTES)]
    episodes = len(details["reward"])
    return [{name: x for name in names if (x := details[name][k]) == x} for k in range(episodes)]
