"""The search over feedback laws: successive halving over restarts of CMA-ES."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import numpy as np

from trace_robot.errors import PolicyError
from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.search.base import POOL, RacingSearch, Standing, Steps
from trace_robot.search.feedback_law.catalog import left_out, structures
from trace_robot.search.feedback_law.evaluation import (
    LawEvaluation,
    LawFinalist,
    LawFinalists,
    Value,
    notes_of,
    probing_laws,
)
from trace_robot.search.feedback_law.features import Features
from trace_robot.search.feedback_law.law import DECISIONS
from trace_robot.search.feedback_law.restarts import CmaRestart, generation
from trace_robot.search.feedback_law.structures import AnyStructure, Synergic
from trace_robot.spec import TaskSpec

RUNGS = (8, 10, 20, 30)  # generations up to each rung of a race; the last number for all further ones
GO_ON = (4, 2, 1)  # restarts that go on after the second rung and the later ones
FEWEST, MOST = 4, 10  # conditions of a generation: more as a race goes on
STARTS = 3  # of a structure with a switch, and of a structure in a later race: one in three often ends badly
AT_MOST = 2  # restarts of one structure that go on
REMEASURED = 4  # laws that show how large numbers are when the controls are good
# Generations of the sparse rung after which the better half goes on, of this many at least.
HALVED, LEAST = (2, 4), 3
GAINED = 0.02  # success that a rung of sparse restarts must gain for another one
STALE = 2  # rungs without a better law after which a race is given up
SHORT = (0, 4, 4, 2, 2)  # of a long episode, this part in the generations of the first rung, until all of it
# Powers of 10 by which drawn numbers differ where episodes are long: random laws see larger numbers than good ones.
SPREAD = 0.7
CLOSED = 0.75  # of what is missing to a solution, up to which it must get for sparse feedback to go on alone
LARGEST = 1000  # numbers of an action: a constant for each is what CMA-ES can still tune


class FeedbackLawSearch(RacingSearch[LawFinalist]):
    """Successive halving over restarts of CMA-ES, on structures from simple to rich.

    A race is successive halving (Hyperband, arXiv:1603.06560, section 3; "rung" is the word of
    arXiv:1810.05934): all restarts run for some generations, their means are compared, and the better part goes on
    for more generations on more conditions. So most of the budget goes to restarts that get somewhere, without
    a choice of structure beforehand.

    The same for every environment; deterministic for ``seed`` and the outcomes. Each outcome's details must
    hold lists with one entry a condition of its candidate: "success" and "reward", and for probes the numbers
    of ``probe_features``.

    Args:
        spec: the environment.
        seeds: POOL training conditions.
        seed: of all random choices.

    Raises:
        PolicyError: the action has more than LARGEST numbers.
    """

    def __init__(self, spec: TaskSpec, seeds: Sequence[int], *, seed: int = 0) -> None:
        if spec.action_size > LARGEST:
            raise PolicyError(
                f"the built-in search tunes laws of at most {LARGEST} actions, and {spec.name!r} has"
                f" {spec.action_size}; use --optimizer cma with a policy of few numbers, or a model"
            )
        self.random = np.random.default_rng(seed)
        self.evaluation = LawEvaluation(spec.return_threshold, spec.horizon)
        self.finalists = LawFinalists(self.evaluation, tuple(seeds), self.random)
        self.solution: LawFinalist | None = None
        self.left_out = ""
        super().__init__(spec, seeds, seed=seed)

    @classmethod
    def suits(cls, spec: TaskSpec) -> bool:
        """Return True: a law reads numbers, and every environment shows some."""
        return True

    @property
    def champion(self) -> LawFinalist | None:
        """The best law so far on the conditions to choose on, or the solution.

        There is none until the first rung is over.
        """
        return self.solution or self.finalists.champion

    def _consider(self, candidate: Candidate, outcome: Outcome) -> None:
        details = {**outcome.details, "reward": self.evaluation.returns(outcome)}
        super()._consider(candidate, replace(outcome, details=details))

    def _lasting(self, candidate: Candidate) -> Candidate:
        program = candidate.program or {}
        return replace(candidate, program={key: program[key] for key in program if key != DECISIONS})

    def _rank(self, standing: Standing) -> tuple[float, float]:
        """Return what laws are ranked by: ``Judge.value``, doubted on few conditions."""
        if standing.faulty:
            return -math.inf, -math.inf
        mean = standing.reward / standing.conditions
        if self.spec.return_threshold is not None:
            return mean, standing.conditions
        return standing.successes / (standing.conditions + 1), mean

    def _outdoes(self, standing: Standing, champion: LawFinalist) -> bool:
        if self.solution is not None or standing.conditions < self.evaluation.conditions(FEWEST):
            return False
        score, candidate = champion.score, standing.candidate
        known = Standing(candidate, len(score.returns), int(score.successes.sum()))
        known.reward, known.faulty = float(score.returns.sum()), score.faulty
        return self._rank(standing) > self._rank(known)

    def _candidate(self, champion: LawFinalist) -> Candidate:
        note = f"{champion.name} ({self.left_out})" if self.left_out else champion.name
        return Candidate(champion.number, None, {}, note, "search", champion.law.to_data())

    def _search(self) -> Steps[None]:
        features = yield from self._identify()
        every = structures(features, self.spec.action_size)
        self.left_out = left_out(features, self.spec.action_size)
        restarts = []
        # Chains alone at first, then all that is sparse: they cost little, and where one solves the task all else is
        # spared.
        for tier, sparse in (("chain", True), ("sparse", True), ("dense", False)):
            begun = [
                restart
                for structure in every
                if self._tier(structure) == tier and (structure.sparse or not structure.plainer)
                for restart in (
                    CmaRestart(structure, self._seed(), structure.plain_start),
                    CmaRestart(structure, self._seed()),
                )
            ]
            for restart in begun if self.evaluation.is_long else ():
                restart.spread = 0.0 if restart.structure.plain_start is None else SPREAD
            if begun:
                begun = yield from self._rung(begun, 1, 0)
            if begun and sparse and self.solution is None:
                begun = yield from self._going_on(begun)
            restarts += begun
            if self.solution is not None:
                return
        ranked = sorted(restarts, key=lambda restart: restart.value, reverse=True)
        every = yield from self._remeasured(features)
        restarts = self._rescaled(ranked, every) + self._richer(every)
        for race in count(1):
            yield from self._race(restarts, race)
            if self.solution is not None:
                return
            every = yield from self._remeasured(features)
            # In turn near the best law and anywhere: the first refines, the second leaves a poor optimum.
            restarts = (self._from_best(every) if race % 2 else []) or self._from_nothing(every)

    def _tier(self, structure: AnyStructure) -> str:
        if isinstance(structure, Synergic) and structure.joints:
            return "chain"
        return "sparse" if structure.sparse else "dense"

    def _going_on(self, restarts: list[CmaRestart]) -> Steps[list[CmaRestart]]:
        """Run the sparse restarts on while their best succeeds more often each time.

        What is found with few numbers is not left half tuned for what has many. Where a return counts as success, the
        first goes on while it gets closer.

        Args:
            restarts: by rank.
        """
        if self.spec.return_threshold is not None:
            yield from self._continued(restarts[0], self.spec.return_threshold)
            return restarts
        going, best = restarts[:LEAST], 0.0
        for rung in count(1):
            success = max(restart.value[0] for restart in going)
            going = [restart for restart in going if not restart.over]
            if not going or success <= best + GAINED:
                break
            best = success
            yield from self._rung(going, 1, rung)
            if self.solution is not None:
                break
        return sorted(restarts, key=lambda restart: restart.value, reverse=True)

    def _identify(self) -> Steps[Features]:
        """Run probes, laws that push one way or at random, and return the features."""
        laws = probing_laws(self.spec, self.random)
        note = "to see what the observation is made of"
        scores = yield from self.evaluation.run(laws, self.seeds[:2], note, probe=True)
        return Features.of(self.spec, [notes for score in scores for notes in notes_of(score.details)])

    def _remeasured(self, features: Features) -> Steps[list[AnyStructure]]:
        """Return the structures with the sizes that numbers have under the best laws.

        They are larger under random controls: what is near a goal stays small.
        """
        laws = [finalist.law for finalist in self.finalists.ranked[:REMEASURED]]
        note = "to see how large the numbers are"
        scores = yield from self.evaluation.run(laws, self.seeds[:2], note, probe=True)
        notes = [notes for score in scores for notes in notes_of(score.details)]
        features = replace(features, sizes=Features.of(self.spec, notes).sizes)
        return structures(features, self.spec.action_size)

    def _race(self, restarts: list[CmaRestart], race: int) -> Steps[None]:
        """Run rungs until no restart gets on, or the task is solved."""
        stale, best = 0, self.finalists.leading([restart.structure for restart in restarts])
        for rung in count(1):
            ranked = yield from self._rung(restarts, race, rung)
            if self.solution is not None:
                return
            leading = self.finalists.leading([restart.structure for restart in restarts])
            stale, best = (stale + 1 if leading is best else 0), leading
            restarts = self._kept([restart for restart in ranked if not restart.over], rung)
            if not restarts or stale >= STALE:
                return

    def _continued(self, best: CmaRestart, threshold: float) -> Steps[None]:
        """Run the best of the sparse restarts further while it gets closer.

        It is small, and may be all that is needed.

        Args:
            best: the restart.
            threshold: the return that counts as success.
        """
        gap, stale = threshold - best.value[0], 0
        if gap > CLOSED * (threshold - best.began[0]):
            return
        while self.solution is None and not best.over and stale < STALE:
            yield from self._rung([best], 1, 1)
            closer = threshold - best.value[0]
            stale, gap = (0, closer) if closer < CLOSED * gap else (stale + 1, gap)

    def _rung(self, restarts: list[CmaRestart], race: int, rung: int) -> Steps[list[CmaRestart]]:
        """Run restarts to their next rung and return them ranked, best first.

        What they ended with becomes finalists; if one solves the task, it becomes the solution.
        """
        self.phase = f"race {race}: {len(restarts)} climbs, {restarts[0].structure.name}"
        sparse = all(restart.structure.sparse for restart in restarts)
        for number in range(1, 1 + RUNGS[min(rung, len(RUNGS) - 1)]):
            short = SHORT[number] if self.evaluation.is_long and rung == 0 and number < len(SHORT) else 0
            self.evaluation.decisions = self.spec.horizon // short if short else 0
            conditions = self.evaluation.conditions(min(FEWEST + 2 * max(rung - 1, 0), MOST))
            # Others each time, which keeps a law from being tuned to a few.
            places = self.random.choice(POOL // 2, conditions, replace=False)
            best = yield from generation(restarts, self.evaluation, [self.seeds[k] for k in places])
            if not short and (sparse or self.evaluation.is_long) and any(map(self._succeeds, best)):
                break
            halved = sparse or (self.evaluation.is_long and rung == 0)
            if halved and number in HALVED and len(best) == len(restarts):
                order = sorted(range(len(restarts)), key=lambda k: best[k], reverse=True)
                # The better one of each structure first: one of many numbers gets on later than one of few.
                first = {restarts[k].structure.name: k for k in reversed(order)}.values()
                order = [*sorted(first, key=order.index), *(k for k in order if k not in first)]
                restarts = [restarts[k] for k in sorted(order[: max(LEAST, len(order) // 2)])]
        self.evaluation.decisions = 0
        # One of which all laws did the same so far, such as nothing, has none to compare.
        restarts = [restart for restart in restarts if restart.strategy is not None]
        entered = yield from self.finalists.enter(
            [restart.mean for restart in restarts],
            [restart.structure for restart in restarts],
            [restart.strategy.mean for restart in restarts],
        )
        self._part_is_over()
        yield from self._settle()
        for restart, finalist in zip(restarts, entered, strict=True):
            restart.value = self.finalists.value(finalist)
        return sorted(restarts, key=lambda restart: restart.value, reverse=True)

    def _kept(self, ranked: list[CmaRestart], rung: int) -> list[CmaRestart]:
        """Return the restarts that go on, not all of the same structure.

        The best sparse one goes on beside the others: where parts of one unit are no error (a target, and a distance
        from it), sparse laws are soon better than nothing, and would take the places of those that get further.
        """
        kept: list[CmaRestart] = []
        places = GO_ON[min(rung, len(GO_ON)) - 1]
        for restart in ranked:
            alike = sum(other.structure.name == restart.structure.name for other in kept)
            if not restart.structure.sparse and alike < AT_MOST and len(kept) < places:
                kept.append(restart)
        return kept + [restart for restart in ranked if restart.structure.sparse][:1]

    def _rescaled(self, ranked: list[CmaRestart], every: Sequence[AnyStructure]) -> list[CmaRestart]:
        """Return the better restart of each structure, begun again in its new units."""
        by_name = {structure.name: structure for structure in every}
        better = {
            restart.structure.name: restart
            for restart in reversed(ranked)
            if restart.structure.name in by_name
        }
        return [
            CmaRestart(
                by_name[name],
                self._seed(),
                by_name[name].vector_of(restart.structure, restart.strategy.mean),
            )
            for name, restart in better.items()
        ]

    def _richer(self, every: Sequence[AnyStructure]) -> list[CmaRestart]:
        """Return restarts of structures with a switch.

        One begins with what the plainer structure has found, the others from nothing: alone, one in three ended
        in a poor optimum.
        """
        best = {finalist.name: finalist for finalist in reversed(self.finalists.ranked)}
        restarts = []
        for structure in every:
            plainer = best.get(structure.plainer) if structure.switch and not structure.sparse else None
            if plainer is None or plainer.structure is None or plainer.vector is None:
                continue
            known = structure.vector_of(plainer.structure, plainer.vector)
            restarts.append(CmaRestart(structure, self._seed(), known=known))
            nothing = np.zeros(structure.count)
            restarts += [CmaRestart(structure, self._seed(), nothing.copy()) for _ in range(STARTS - 1)]
        return restarts

    def _from_best(self, every: Sequence[AnyStructure]) -> list[CmaRestart]:
        """Return a restart that begins near the best law."""
        best = self.finalists.ranked[0]
        return [
            CmaRestart(structure, self._seed(), structure.vector_of(best.structure, best.vector))
            for structure in every
            if structure.name == best.name and best.structure is not None and best.vector is not None
        ]

    def _from_nothing(self, every: Sequence[AnyStructure]) -> list[CmaRestart]:
        """Return restarts of the structures of the best laws that begin anywhere."""
        names = list(dict.fromkeys(finalist.name for finalist in self.finalists.ranked))[:2]
        return [
            CmaRestart(structure, self._seed(), None if k == 0 else np.zeros(structure.count))
            for structure in every
            if structure.name in names
            for k in range(STARTS)
        ]

    def _succeeds(self, value: Value) -> bool:
        """Return whether a value on few conditions is as good as that of a solution."""
        threshold = self.spec.return_threshold
        return value[0] >= (1.0 if threshold is None else threshold)

    def _settle(self) -> Steps[None]:
        """End the search if a finalist solves the task, with its simplification."""
        solution = yield from self.finalists.solution()
        if solution is None:
            return
        self.phase = "simplify"
        self.solution = solution
        self.solution = yield from self.finalists.simplified(solution)
        mean, success = self.solution.score.returns.mean(), self.solution.score.successes.mean()
        self.done = (
            f"solved on conditions that it was not tuned on: mean return {mean:.4g}, success {success:.2f}"
        )

    def _seed(self) -> int:
        return int(self.random.integers(2**31))
