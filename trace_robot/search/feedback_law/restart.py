"""One restart of CMA-ES (Hansen, arXiv:1604.00772) on the numbers of a structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trace_robot.optimizers.cma_es import load_cma
from trace_robot.search.feedback_law.evaluation import Value
from trace_robot.search.feedback_law.law import FeedbackLaw
from trace_robot.search.feedback_law.structures import Structure
from trace_robot.spec import Array

# Of a restart without a start: its first generation is drawn at random, with weights of very different sizes.
WIDE = 2.0  # spread of the vectors, in sizes of a term
DRAWN = 4  # times as many laws as later generations have
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
        self, structure: Structure, seed: int, start: Array | None = None, known: Array | None = None
    ) -> None:
        self.structure = structure
        self.random = np.random.default_rng(seed)
        self.strategy: Any = None if start is None else self._start(start)
        self.known = np.zeros(structure.count) if known is None else known
        self.generations = 0
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
            count = DRAWN * self.population
            wide = WIDE * self.random.standard_normal((count, self.structure.count))
            wide *= 10.0 ** self.random.uniform(-0.5, 0.5, (count, 1))
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
