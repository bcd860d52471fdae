"""Search over feedback laws as an optimizer: asked for candidates, told what they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count, product

import numpy as np

from trace_robot.optimizers.problem import Candidate
from trace_robot.search.base import GeneratorSearch, Steps
from trace_robot.search.feedback_law import Feedback, FeedbackLaw, Quantity, Sum
from trace_robot.search.feedback_law.evaluation import POOL, Finalists, LawFinalist, LawTrials
from trace_robot.search.feedback_law.features import NOTES, Features
from trace_robot.search.feedback_law.restart import CmaRestart
from trace_robot.search.feedback_law.structures import Shape, rounded, shapes
from trace_robot.spec import TaskSpec

RUNGS = (8, 10, 20, 30)  # generations between two looks at how a race stands; the last goes on
GO_ON = (4, 2, 1)  # climbs that go on after the second look and the later ones
FEWEST, MOST = 4, 10  # conditions of a generation: more as a race goes on
STARTS = 3  # of a richer shape, and of a shape in a later race
AT_MOST = 2  # climbs of one shape that go on
MEASURED = 4  # laws that say how large numbers are when they are pushed well
STALE = 2  # looks without a better law after which a race is given up


class FeedbackLawSearch(GeneratorSearch[LawFinalist]):
    """Races shapes of laws against one another, from simple to rich, each climbed by CMA-ES from two starts.

    The same for every environment; deterministic for ``seed`` and the outcomes told. ``done`` says why it
    stopped. Each outcome's details must hold lists with one entry a condition of its candidate: "success" and
    "reward", and for candidates whose program says "look" the numbers of ``look``.

    seeds: POOL training conditions.
    """

    def __init__(self, spec: TaskSpec, seeds: Sequence[int], *, seed: int = 0) -> None:
        self.spec = spec
        self.seeds = tuple(seeds)
        self.random = np.random.default_rng(seed)
        self.trials = LawTrials(spec.return_threshold)
        self.finalists = Finalists(self.trials, self.seeds, self.random)
        self.chosen: LawFinalist | None = None
        super().__init__()

    @property
    def champion(self) -> LawFinalist | None:
        """The best law so far on the conditions to choose on; once solved, the one that was settled on."""
        return self.chosen or self.finalists.champion

    def _candidate(self, champion: LawFinalist) -> Candidate:
        return Candidate(champion.number, None, {}, champion.name, "search", champion.law.to_data())

    def _search(self) -> Steps[None]:
        """The whole search as one text: what it yields is asked, what was told is sent back."""
        features = yield from explore(self.spec, self.trials, self.seeds[:2], self.random)
        found = shapes(features, self.spec.action_size)
        climbs = [
            climb
            for shape in found
            if not shape.plainer
            for climb in (
                CmaRestart(shape, self._seed(), np.zeros(shape.count)),
                CmaRestart(shape, self._seed()),
            )
        ]
        ranked = yield from self._rung(climbs, 1, 0)
        if self.chosen is not None:
            return
        found = yield from self._measured(features)
        climbs = self._rescaled(ranked, found) + self._richer(found)
        for race in count(1):
            yield from self._race(climbs, race)
            if self.chosen is not None:
                return
            found = yield from self._measured(features)
            climbs = self._from_best(found) if race % 2 else self._from_nothing(found)

    def _measured(self, features: Features) -> Steps[list[Shape]]:
        """Return the shapes with the sizes that numbers have under the best laws."""
        laws = [each.law for each in self.finalists.ranked[:MEASURED]]
        features = yield from measured(self.spec, self.trials, self.seeds[:2], features, laws)
        return shapes(features, self.spec.action_size)

    def _race(self, climbs: list[CmaRestart], race: int) -> Steps[None]:
        """Let climbs go on and drop those that are behind, until none gets on or the task is solved."""
        stale, best = 0, self.finalists.champion
        for rung in count(1):
            ranked = yield from self._rung(climbs, race, rung)
            if self.chosen is not None:
                return
            stale = stale + 1 if self.finalists.champion is best else 0
            best = self.finalists.champion
            climbs = self._kept([climb for climb in ranked if not climb.over], rung)
            if not climbs or stale >= STALE:
                return

    def _rung(self, climbs: list[CmaRestart], race: int, rung: int) -> Steps[list[CmaRestart]]:
        """Let climbs go on for some generations; settle on a law that solves the task, return them ranked."""
        self.phase = f"race {race}: {len(climbs)} climbs, {climbs[0].shape.name}"
        for _ in range(RUNGS[min(rung, len(RUNGS) - 1)]):
            yield from self._generation(climbs, min(FEWEST + 2 * max(rung - 1, 0), MOST))
        entered = yield from self.finalists.enter(
            [climb.mean for climb in climbs],
            [climb.shape for climb in climbs],
            [climb.strategy.mean for climb in climbs],
        )
        yield from self._solved()
        order = sorted(range(len(climbs)), key=lambda k: self.finalists.value(entered[k]), reverse=True)
        return [climbs[k] for k in order]

    def _kept(self, ranked: list[CmaRestart], rung: int) -> list[CmaRestart]:
        """Return the climbs that go on, not all of the same shape."""
        kept: list[CmaRestart] = []
        for climb in ranked:
            alike = sum(each.shape.name == climb.shape.name for each in kept)
            if alike < AT_MOST and len(kept) < GO_ON[min(rung, len(GO_ON)) - 1]:
                kept.append(climb)
        return kept

    def _rescaled(self, ranked: list[CmaRestart], found: Sequence[Shape]) -> list[CmaRestart]:
        """Return the better climb of each shape as one of the same shape in ``found``, in the units of that one."""
        by_name = {shape.name: shape for shape in found}
        better = {climb.shape.name: climb for climb in reversed(ranked) if climb.shape.name in by_name}
        return [
            CmaRestart(by_name[name], self._seed(), by_name[name].vector_of(climb.shape, climb.strategy.mean))
            for name, climb in better.items()
        ]

    def _richer(self, found: Sequence[Shape]) -> list[CmaRestart]:
        """Return climbs of shapes with a switch, from what the best law of a plainer one has found and from nothing."""
        best = {each.name: each for each in reversed(self.finalists.ranked)}
        climbs = []
        for shape in found:
            known = best.get(shape.plainer) if shape.nearness else None
            if known is None or known.shape is None or known.vector is None:
                continue
            vector = shape.vector_of(known.shape, known.vector)
            climbs.append(CmaRestart(shape, self._seed(), known=vector))
            climbs += [CmaRestart(shape, self._seed(), np.zeros(shape.count)) for _ in range(STARTS - 1)]
        return climbs

    def _generation(self, climbs: Sequence[CmaRestart], count: int) -> Steps[None]:
        """One generation of each climb, all on the same ``count`` conditions, other ones each time."""
        conditions = [self.seeds[k] for k in self.random.choice(POOL // 2, count, replace=False)]
        climbs = [climb for climb in climbs if not climb.over]
        laws = [climb.ask() for climb in climbs]
        if not laws:
            return
        scores = yield from self.trials.run([law for group in laws for law in group], conditions)
        values = iter([self.trials.judge.value(score) for score in scores])
        for climb, group in zip(climbs, laws, strict=True):
            climb.tell([next(values) for _ in group])

    def _from_best(self, found: Sequence[Shape]) -> list[CmaRestart]:
        """Return a climb that begins near the best law."""
        best = self.finalists.ranked[0]
        return [
            CmaRestart(shape, self._seed(), shape.vector_of(best.shape, best.vector))
            for shape in found
            if shape.name == best.name and best.shape is not None and best.vector is not None
        ]

    def _from_nothing(self, found: Sequence[Shape]) -> list[CmaRestart]:
        """Return climbs of the shapes of the best laws that begin anywhere."""
        names = list(dict.fromkeys(each.name for each in self.finalists.ranked))[:2]
        return [
            CmaRestart(shape, self._seed(), None if k == 0 else np.zeros(shape.count))
            for shape in found
            if shape.name in names
            for k in range(STARTS)
        ]

    def _solved(self) -> Steps[bool]:
        """Settle on a law if there is one that solves the task; return whether there is."""
        found = yield from self.finalists.solved()
        if found is None:
            return False
        self.phase = "simplify"
        self.chosen = found
        self.chosen = yield from self.finalists.simplified(found)
        mean, success = self.chosen.score.returns.mean(), self.chosen.score.successes.mean()
        self.done = (
            f"solved on conditions that it was not tuned on: mean return {mean:.4g}, success {success:.2f}"
        )
        return True

    def _seed(self) -> int:
        return int(self.random.integers(2**31))


CONSTANT = 6  # laws that push one way all the time
RANDOM = 18  # laws with numbers of all sizes


def explore(
    spec: TaskSpec, trials: LawTrials, conditions: Sequence[int], random: np.random.Generator
) -> Steps[Features]:
    shown = [i for field in spec.observation for i in range(field.start, field.stop)]
    quantities = tuple(Quantity("number", i) for i in shown)
    products = tuple((k,) for k in range(len(shown)))
    signs = list(product((-1.0, 1.0), repeat=min(spec.action_size, 3)))[:CONSTANT]
    laws = [
        FeedbackLaw((), Feedback(tuple(Sum(((),), (row[j % len(row)],)) for j in range(spec.action_size))))
        for row in signs
    ]
    for _ in range(RANDOM):
        sizes = 10.0 ** random.uniform(-1, 1, len(shown))
        weights = random.standard_normal((spec.action_size, len(shown))) * sizes
        laws.append(
            FeedbackLaw(
                quantities, Feedback(tuple(Sum(products, tuple(map(rounded, row))) for row in weights))
            )
        )
    scores = yield from trials.run(laws, conditions, "to see what the observation is made of", probe=True)
    return Features.of(spec, [notes for score in scores for notes in _notes(score.details)])


def measured(
    spec: TaskSpec,
    trials: LawTrials,
    conditions: Sequence[int],
    features: Features,
    laws: Sequence[FeedbackLaw],
) -> Steps[Features]:
    """Return the features with the sizes that numbers have under ``laws``, which do better than pushes at random."""
    scores = yield from trials.run(laws, conditions, "to see how large the numbers are", probe=True)
    notes = [notes for score in scores for notes in _notes(score.details)]
    return replace(features, sizes=Features.of(spec, notes).sizes)


def _notes(details: dict[str, list[float]]) -> list[dict[str, float]]:
    """Return what was noted in each episode; what an episode did not note is not a number in the list."""
    names = [name for name in details if name.startswith(NOTES)]
    episodes = len(details["reward"])
    return [{name: x for name in names if (x := details[name][k]) == x} for k in range(episodes)]


__all__ = ["POOL", "FeedbackLawSearch"]
