"""Search over staged programs as an optimizer: asked for candidates, told what they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from trace_robot.optimizers.problem import Candidate
from trace_robot.search.base import GeneratorSearch, Steps
from trace_robot.search.staged import code
from trace_robot.search.staged.evaluation import Individual, ProgramEvaluation, diverse, trimmed
from trace_robot.search.staged.mutation import Changes, MotionPrimitives
from trace_robot.search.staged.tuning import Tuning
from trace_robot.spec import TaskSpec

POSE_STEPS = 15  # simulator steps that a decision usually takes in pose control


class StagedSearch(GeneratorSearch[Individual]):
    """Explores programs until some solve every training condition, then seeks margin under noise.

    The same for every environment; deterministic for ``seed`` and the outcomes told. ``done`` says why it
    stopped. Each outcome's details must hold lists with one entry a condition of its candidate: "success",
    "steps" and the numbers of ``measure``; may hold "simulator_steps", else a decision counts as one.
    confirm: further conditions, on which programs that solve all of ``seeds`` are chosen among. budget: simulator
    steps that the caller will grant, of which the last are kept for making the best program plainer.
    """

    wanted = 6  # programs that solve every condition before exploring makes room for tuning
    patience = 4  # generations of exploring after the first such program at most
    margin = 0.9  # success under noise at which there is nothing left to tune
    polishing = 6  # turns of exploring and tuning for more margin, once a program solves everything
    tunings = 64
    share = 0.85  # of the budget, after which what was found is made plainer

    def __init__(
        self,
        spec: TaskSpec,
        seeds: Sequence[int],
        *,
        confirm: Sequence[int] = (),
        seed: int = 0,
        parameter: str = "act",
        budget: int | None = None,
    ) -> None:
        self.spec = spec
        self.parameter, self.budget = parameter, budget
        random = np.random.default_rng(seed)
        moves = MotionPrimitives(spec, random, POSE_STEPS if spec.control == "pose" else 1)
        self.evaluation = ProgramEvaluation(spec, seeds, random, confirm)
        self.exploration = Exploration(self.evaluation, Changes(moves))
        self.tuning = Tuning(self.evaluation)
        super().__init__()

    @property
    def champion(self) -> Individual | None:
        """The best so far: under noise once programs are tuned, before by rank among those tried on everything."""
        if self.tuning.finalists:
            return self.tuning.finalists[0].individual
        return self.exploration.pool[0] if self.exploration.pool else None

    def _candidate(self, champion: Individual) -> Candidate:
        """The champion, for ever starting over, with its code as the value of the parameter."""
        program = replace(champion.program, rounds=0)
        values = {self.parameter: code(program, self.spec)}
        return Candidate(champion.id, champion.parent, values, champion.note, "search", program.to_data())

    def _search(self) -> Steps[None]:
        """The whole search as one text: what it yields is asked, what was told is sent back."""
        exploration, tuning = self.exploration, self.tuning
        while not self._explored():
            yield from exploration.generation()
        self.phase = "tune"
        yield from tuning.screen(exploration.solved)
        yield from tuning.measure_again()
        polished = 0
        for turn in range(self.tunings):
            if self._tuned() or polished >= self.polishing:
                break
            polished += self._confirmed()
            if turn % 2 == 0:
                yield from exploration.generation()
                yield from tuning.screen(exploration.solved)
            else:
                yield from tuning.generation()
            yield from tuning.measure_again()
        self.phase = "simplify"
        yield from tuning.simplify()
        first = tuning.finalists[0]
        more = (
            f" and {first.confirmed} of {len(self.evaluation.confirm)} more"
            if self.evaluation.confirm
            else ""
        )
        self.done = (
            f"every training condition{more} solved, and {first.success:.2f} with noise on the constants"
        )

    def _confirmed(self) -> bool:
        return self.tuning.finalists[0].confirmed == len(self.evaluation.confirm)

    def _tuned(self) -> bool:
        """Whether the first finalist solves everything with margin, or the budget is nearly spent."""
        if self.budget is not None and self.evaluation.spent >= self.share * self.budget:
            return True
        return self._confirmed() and self.tuning.finalists[0].success >= self.margin

    def _explored(self) -> bool:
        exploration = self.exploration
        waited = exploration.generations - exploration.first_solved
        return len(exploration.solved) >= self.wanted or (
            len(exploration.solved) > 0 and waited >= self.patience
        )


@dataclass(slots=True)
class Exploration:
    """A pool of programs that grows by generations.

    batch: new programs a generation, twice that in the first. second, all: how many of them go on to a
    second condition and to all. fresh, crossed: share that is made anew, and from two of the pool.
    """

    evaluation: ProgramEvaluation
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

    def generation(self) -> Steps[None]:
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
