"""Explores programs: many on one training condition, the better ones on a second, the best on all."""

from __future__ import annotations

from dataclasses import dataclass, field

from trace_robot.optimize.search.changes import Changes
from trace_robot.optimize.search.evaluation import Evaluation, Step
from trace_robot.optimize.search.population import Individual, diverse, trimmed


@dataclass(slots=True)
class Exploration:
    """A pool of programs that grows by generations.

    batch: new programs a generation, twice that in the first. second, all: how many of them go on to a
    second condition and to all. fresh, crossed: share that is made anew, and from two of the pool.
    """

    evaluation: Evaluation
    changes: Changes
    batch: int = 96
    second: int = 24
    all: int = 8
    size: int = 24
    fresh: float = 0.3
    crossed: float = 0.15
    pool: list[Individual] = field(default_factory=list)
    generations: int = 0
    first_solved: int = 0  # the generation that first solved every condition, while there is none the next

    @property
    def solved(self) -> list[Individual]:
        return [one for one in self.pool if self.evaluation.solves(one)]

    def generation(self) -> Step:
        self.pool = self._ranked(self.pool)  # what was confirmed since ranks by that as well
        new = self._offspring()
        first, second = self._race()
        yield from self.evaluation.run(new, [first])
        new = diverse(self._ranked(new, first), self.second, first)
        yield from self.evaluation.run(new, [second])
        new = diverse(self._ranked(new, first, second), self.all, first)
        yield from self.evaluation.run(new)
        self.pool = trimmed(self._ranked(self.pool + new), self.size)
        if not self.solved:
            self.first_solved = self.generations + 1
        self.generations += 1

    def _ranked(self, individuals: list[Individual], *conditions: int) -> list[Individual]:
        """Sort by the value on ``conditions``, none: on all that each was tried on."""
        return sorted(individuals, key=lambda one: -self.evaluation.value(one, conditions or None))

    def _race(self) -> tuple[int, int]:
        """Two conditions to race on: those that the pool's best solve least often, in turn."""
        conditions = self.evaluation.conditions
        order = [conditions[(self.generations + i) % len(conditions)] for i in range(len(conditions))]
        order.sort(key=lambda condition: sum(one.trials[condition].success for one in self.pool[:5]))
        return order[0], order[1 % len(order)]

    def _offspring(self) -> list[Individual]:
        make, moves = self.evaluation.individual, self.changes.moves
        if not self.pool:
            return [make(moves.program(), note="made anew") for _ in range(2 * self.batch)]
        new = []
        for _ in range(self.batch):
            kind, parent = moves.random.random(), self._parent()
            if kind < self.fresh:
                new.append(make(moves.program(), note="made anew"))
            elif kind < self.fresh + self.crossed:
                other = self._parent()
                program = self.changes.cross(parent.program, other.program)
                new.append(make(program, parent, f"its beginning, then the end of {other.id}"))
            else:
                new.append(make(self.changes.mutate(parent.program), parent, "stages or constants changed"))
        return new

    def _parent(self) -> Individual:
        """The better of two of the pool, by rank."""
        i, j = self.changes.moves.random.integers(len(self.pool), size=2)
        return self.pool[min(int(i), int(j))]
