"""One ascent: CMA-ES (Hansen, arXiv:1604.00772) on the numbers of one shape of law."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trace_robot.search.feedback_law import FeedbackLaw
from trace_robot.search.feedback_law.evaluation import Value
from trace_robot.search.feedback_law.structures import Shape
from trace_robot.spec import Array

WIDE = 2.0  # spread of the vectors drawn at first, in sizes of a term
DRAWN = 4  # times as many laws as later generations have
DRAWS = 4  # first generations at most, while all laws do the same, such as nothing
NARROW, WIDER = 0.5, 2.0  # of those around a start at nothing, of plain shapes and of richer ones
SHARE = 0.3  # of the size of another start


class CmaRestart:
    """Asked for laws of a shape, told how good they are.

    start: where CMA-ES begins, such as at nothing; None for the best law of a first generation that is drawn
    at random and wide, and drawn again while no law of it does better than another. known: numbers of
    those that are drawn which a plainer shape has found already; 0 for the others.
    """

    def __init__(
        self, shape: Shape, seed: int, start: Array | None = None, known: Array | None = None
    ) -> None:
        self.shape = shape
        self.random = np.random.default_rng(seed)
        self.strategy: Any = None if start is None else self._start(start)
        self.known = np.zeros(shape.count) if known is None else known
        self.generations = 0
        self._vectors: list[Array] = []

    @property
    def population(self) -> int:
        return 8 + int(3 * np.log(self.shape.count + 1))

    def ask(self) -> list[FeedbackLaw]:
        if self.strategy is None:
            count = DRAWN * self.population
            wide = WIDE * self.random.standard_normal((count, self.shape.count))
            wide *= 10.0 ** self.random.uniform(-0.5, 0.5, (count, 1))
            wide = np.where(self.known != 0.0, self.known, wide)
            self._vectors = list(wide)
        else:
            self._vectors = list(self.strategy.ask())
        return [self.shape.build(vector) for vector in self._vectors]

    def tell(self, values: Sequence[Value]) -> None:
        ordered = sorted(set(values), reverse=True)
        losses = [float(ordered.index(value)) for value in values]
        if self.strategy is None:
            if len(ordered) > 1 or self.generations + 1 == DRAWS:
                self.strategy = self._start(self._vectors[int(np.argmin(losses))])
        else:
            self.strategy.tell(self._vectors, losses)
        self.generations += 1

    @property
    def mean(self) -> FeedbackLaw:
        """The law in the middle of the present generation."""
        return self.shape.build(self.strategy.mean)

    @property
    def over(self) -> bool:
        return bool(self.strategy is not None and self.strategy.stop())

    def _start(self, vector: Array) -> Any:
        from trace_robot.optimizers.cma_es import cma

        spread = SHARE * float(np.sqrt(np.mean(vector * vector))) or (WIDER if self.shape.plainer else NARROW)
        options = {
            "popsize": self.population,
            "seed": float("nan"),
            "randn": lambda *shape: self.random.standard_normal(shape),
            "verbose": -9,
            "tolx": 1e-3,
            "tolfun": 0,
            "tolfunhist": 0,
            "tolflatfitness": 20,
            "tolstagnation": float("inf"),
        }
        return cma.CMAEvolutionStrategy(vector, spread, options)
