"""Restarts of CMA-ES, each of one structure, and a generation of several of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trace_robot.optimizers.cma_es import load_cma
from trace_robot.search.base import Steps
from trace_robot.search.feedback_law.evaluation import WORST, LawEvaluation, Value
from trace_robot.search.feedback_law.law import FeedbackLaw
from trace_robot.search.feedback_law.structures import AnyStructure
from trace_robot.spec import Array

# Of a restart without a start: its first generation is drawn at random, with weights of very different sizes.
DRAWN = 4  # times as many laws as later generations have
SIFTED = 128  # laws of a sparse structure, each on one condition, of which later generations' number is tried on more
DRAWS = 4  # such generations at most, while all laws do the same, such as nothing
# The first step size of CMA-ES.
NARROW, WIDER = 0.5, 2.0  # around doing nothing, for plain structures and for those with a switch
SHARE = 0.3  # of the size of another start


class CmaRestart:
    """Ask and tell of one structure.

    Restarts from several points are how a local search copes with many optima (as in IPOP-CMA-ES, Auger and
    Hansen, CEC 2005, but with starts chosen for what a law is, and raced against one another).

    Args:
        structure: of the laws.
        seed: of all random choices.
        start: where CMA-ES begins, such as at doing nothing, (structure.count,); None for the best law of a
            generation that is drawn at random, and drawn again while no law of it does better than another.
        known: those numbers of drawn vectors that a plainer structure has found already; 0 for the others.
    """

    def __init__(
        self, structure: AnyStructure, seed: int, start: Array | None = None, known: Array | None = None
    ) -> None:
        self.structure = structure
        self.random = np.random.default_rng(seed)
        self.strategy: Any = None if start is None else self._start(start)
        self.known = np.zeros(structure.count) if known is None else known
        self.generations = 0
        self.spread = 0.0  # powers of 10 by which drawn numbers differ, one by one
        self.began = self.value = WORST
        self._vectors: list[Array] = []

    @property
    def population(self) -> int:
        """Laws of a generation, four more than the usual 4 + 3 ln(n): returns are noisy."""
        return 8 + int(3 * np.log(self.structure.count + 1))

    @property
    def mean(self) -> FeedbackLaw:
        """The law at the mean of the distribution, steadier than a generation's best."""
        return self.structure.build(self.strategy.mean)

    @property
    def over(self) -> bool:
        """Whether CMA-ES has converged or given up."""
        return bool(self.strategy is not None and self.strategy.stop())

    def ask(self) -> list[FeedbackLaw]:
        """Return the laws of the next generation."""
        if self.strategy is None:
            count = max(DRAWN * self.population, SIFTED if self.structure.sparse or self.spread else 0)
            wide = self.structure.drawn(self.random, count)
            if self.spread:
                wide = wide * 10.0 ** self.random.uniform(-self.spread, self.spread, wide.shape)
            wide = np.where(self.known != 0.0, self.known, wide)
            self._vectors = list(wide)
        else:
            self._vectors = list(self.strategy.ask())
        return [self.structure.build(vector) for vector in self._vectors]

    def tell(self, values: Sequence[Value]) -> None:
        """Take the values of the laws of the last ``ask``, larger is better."""
        ordered = sorted(set(values), reverse=True)
        losses = [float(ordered.index(value)) for value in values]  # CMA-ES uses ranks alone
        if self.strategy is None:
            if len(ordered) > 1 or self.generations + 1 == DRAWS:
                self.strategy = self._start(self._vectors[int(np.argmin(losses))])
        else:
            self.strategy.tell(self._vectors, losses)
        self.generations += 1

    def _start(self, vector: Array) -> Any:
        start = NARROW if not self.structure.plainer else WIDER
        spread = SHARE * float(np.sqrt(np.mean(vector * vector))) or start
        options = {
            "popsize": self.population,
            "seed": float(
                "nan"
            ),  # with randn: all numbers come from this restart's generator, none from numpy's
            "randn": lambda *shape: self.random.standard_normal(shape),
            "verbose": -9,
            "tolx": 1e-3,
            "tolflatfitness": 20,  # generations in which all laws rank the same
            # No other ends by the values: they are ranks, on other conditions in each generation.
            "tolfun": 0,
            "tolfunhist": 0,
            "tolstagnation": float("inf"),
        }
        return load_cma().CMAEvolutionStrategy(vector, spread, options)


def generation(
    restarts: Sequence[CmaRestart], evaluation: LawEvaluation, seeds: Sequence[int]
) -> Steps[list[Value]]:
    """Run one generation of each restart, all on the same conditions.

    Returns the value of a good law of each restart, at the upper quartile. Common conditions make ranks comparable
    within a generation.

    Args:
        restarts: those that have not ended are run.
        evaluation: runs laws.
        seeds: the conditions.
    """
    restarts = [restart for restart in restarts if not restart.over]
    groups = [restart.ask() for restart in restarts]
    if not groups:
        return []
    values = yield from _sifted(restarts, groups, evaluation, seeds[0])
    going = [(i, k) for i, group in enumerate(values) for k, value in enumerate(group) if value is None]
    scores = yield from evaluation.run([groups[i][k] for i, k in going], seeds)
    for (i, k), score in zip(going, scores, strict=True):
        values[i][k] = evaluation.judge.value(score)
    good = []
    for restart, group in zip(restarts, values, strict=True):
        final = [WORST if value is None else value for value in group]
        tried = sorted((value for value in final if value != WORST), reverse=True) or [WORST]
        good.append(tried[len(tried) // 4])
        restart.began = restart.began if restart.generations else good[-1]
        # Where all do the same, such as nothing, others are drawn.
        same = _sifts(restart, evaluation) and len({*tried}) == 1
        restart.tell([WORST] * len(final) if same else final)
    return good


def _sifts(restart: CmaRestart, evaluation: LawEvaluation) -> bool:
    """Return whether the next generation is drawn, and tried on one condition first."""
    return restart.strategy is None and (restart.structure.sparse or evaluation.is_long)


def _sifted(
    restarts: Sequence[CmaRestart],
    groups: Sequence[Sequence[FeedbackLaw]],
    evaluation: LawEvaluation,
    seed: int,
) -> Steps[list[list[Value | None]]]:
    """Try the laws of drawn generations on one condition: few of many are worth more.

    Returns for each law of each restart None where it is to be tried on, else WORST.
    """
    values: list[list[Value | None]] = []
    for restart, group in zip(restarts, groups, strict=True):
        kept = list(range(len(group)))
        if _sifts(restart, evaluation):
            scores = yield from evaluation.run(group, [seed])
            ranks = [evaluation.judge.value(score) for score in scores]
            kept = sorted(kept, key=lambda k: ranks[k], reverse=True)[: restart.population]
        values.append([None if k in {*kept} else WORST for k in range(len(group))])
    return values
