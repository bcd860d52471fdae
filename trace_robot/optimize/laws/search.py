"""Search over feedback laws as an optimizer: asked for candidates, told what they did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np

from trace_robot.errors import OrderError
from trace_robot.optimize.laws.climb import Climb
from trace_robot.optimize.laws.explore import explore
from trace_robot.optimize.laws.finalists import POOL, Finalist, Finalists
from trace_robot.optimize.laws.structures import Shape, shapes
from trace_robot.optimize.laws.trials import Step, Trials
from trace_robot.optimize.problem import Candidate, Outcome
from trace_robot.spec import EnvSpec

TURN = 6  # generations between two looks at how a race stands
FEWEST, MOST = 6, 10  # conditions of a generation: more as a race goes on
RICHER = 0  # turn after which richer shapes join
FINAL = 2  # climbs that go on to the end
STALE = 5  # turns without a better law after which a race is given up


class LawSearch:
    """Races shapes of laws against one another, from simple to rich, each climbed by CMA-ES from two starts.

    The same for every environment; deterministic for ``seed`` and the outcomes told. ``done`` says why it
    stopped. Each outcome's details must hold lists with one entry a condition of its candidate: "success" and
    "reward", and for candidates whose program says "look" the numbers of ``look``.

    seeds: POOL training conditions.
    """

    uses_graph = False

    def __init__(self, spec: EnvSpec, seeds: Sequence[int], *, seed: int = 0) -> None:
        self.spec = spec
        self.seeds = tuple(seeds)
        self.random = np.random.default_rng(seed)
        self.trials = Trials(spec.return_threshold)
        self.finalists = Finalists(self.trials, self.seeds, self.random)
        self.done = ""
        self.phase = "explore"
        self.chosen: Finalist | None = None
        self._steps = self._run()
        self._waiting: list[Candidate] = next(self._steps)
        self._told: list[list[dict[str, Any]]] = []

    def ask(self) -> list[Candidate]:
        return list(self._waiting)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Raises OrderError unless there is an outcome for each candidate that was asked for."""
        told = {outcome.candidate: outcome for outcome in outcomes}
        missing = [candidate.id for candidate in self._waiting if candidate.id not in told]
        if missing or not self._waiting:
            raise OrderError(
                f"tell wants an outcome for each candidate of the last ask, got none for {missing[:5]!r}"
                if missing
                else f"tell wants candidates that were asked for, but the search is done: {self.done}"
            )
        ordered = [told[candidate.id] for candidate in self._waiting]
        self._told.append([outcome.to_data() for outcome in ordered])
        try:
            self._waiting = self._steps.send(ordered)
        except StopIteration:
            self._waiting = []

    @property
    def champion(self) -> Finalist | None:
        """The best law so far on the conditions to choose on; once solved, the one that was settled on."""
        return self.chosen or self.finalists.champion

    @property
    def best(self) -> Candidate | None:
        champion = self.champion
        if champion is None:
            return None
        return Candidate(champion.number, None, {}, champion.name, "search", champion.law.to_data())

    def state(self) -> dict[str, Any]:
        """Everything told so far; ``restore`` hears it again."""
        return {"told": self._told}

    def restore(self, state: Mapping[str, Any]) -> None:
        for round_ in state["told"]:
            self.tell([Outcome.from_data(data) for data in round_])

    def _run(self) -> Step:
        """The whole search as one text: what it yields is asked, what was told is sent back."""
        self.features = yield from explore(self.spec, self.trials, self.seeds[:2], self.random)
        found = shapes(self.features, self.spec.action_size)
        self._richer = [shape for shape in found if shape.plainer]
        climbs = [
            climb
            for shape in found
            if not shape.plainer
            for climb in (Climb(shape, self._seed(), np.zeros(shape.count)), Climb(shape, self._seed()))
        ]
        for race in count(1):
            yield from self._race(climbs, race)
            if self.chosen is not None:
                return
            climbs = self._again()

    def _race(self, climbs: list[Climb], race: int) -> Step:
        """Let climbs go on and drop those that are behind, until none gets on or the task is solved."""
        stale, best = 0, self.finalists.champion
        for turn in count():
            self.phase = f"race {race}: {len(climbs)} climbs, {climbs[0].shape.name}"
            for _ in range(TURN):
                yield from self._generation(climbs, min(FEWEST + turn, MOST))
            entered = yield from self.finalists.enter(
                [climb.mean for climb in climbs],
                [climb.shape for climb in climbs],
                [climb.strategy.mean for climb in climbs],
            )
            if (yield from self._solved()):
                return
            stale, best = (
                (stale + 1, best) if self.finalists.champion is best else (0, self.finalists.champion)
            )
            order = sorted(range(len(climbs)), key=lambda k: self.finalists.value(entered[k]), reverse=True)
            climbs = self._kept([climbs[k] for k in order if not climbs[k].over], turn)
            if race == 1 and turn == RICHER:
                climbs += self._grown()
                stale = 0
            if not climbs or stale >= STALE:
                return

    def _kept(self, ranked: list[Climb], turn: int) -> list[Climb]:
        """Return the climbs that go on: after the first turn the better one of each shape, later the better half."""
        if turn == 0:
            return list({climb.shape.name: climb for climb in reversed(ranked)}.values())[::-1]
        return ranked if turn <= RICHER or turn % 2 else ranked[: max(FINAL, (len(ranked) + 1) // 2)]

    def _grown(self) -> list[Climb]:
        """Return climbs of richer shapes: from what the best law of a plainer one has found, and from anywhere."""
        best = {each.name: each.vector for each in reversed(self.finalists.ranked)}
        return [
            Climb(shape, self._seed(), known=known)
            for shape in self._richer
            if shape.plainer in best
            for known in (best[shape.plainer], None)
        ]

    def _generation(self, climbs: Sequence[Climb], count: int) -> Step:
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

    def _again(self) -> list[Climb]:
        """Return climbs for another race: from the best laws of the best shapes, and from anywhere."""
        best: dict[str, tuple[Finalist, Shape]] = {}
        for finalist in self.finalists.ranked:
            if finalist.shape is not None:
                best.setdefault(finalist.name, (finalist, finalist.shape))
        first = list(best.values())[:3]
        climbs = [Climb(shape, self._seed(), finalist.vector) for finalist, shape in first]
        return climbs + [Climb(shape, self._seed()) for _, shape in first for _ in range(2)]

    def _solved(self) -> Any:
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
