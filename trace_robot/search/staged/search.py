"""The search over staged programs: evolution with racing, then tuning under noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from trace_robot.optimizers.problem import Candidate
from trace_robot.search.base import GeneratorSearch, Standing, Steps
from trace_robot.search.staged.constants import SeenRanges
from trace_robot.search.staged.controller import numbers_seen
from trace_robot.search.staged.coordination import primitives_for
from trace_robot.search.staged.evaluation import (
    Individual,
    ProgramEvaluation,
    diverse,
    first_of_shapes,
)
from trace_robot.search.staged.mutation import Mutator, mutator_for
from trace_robot.search.staged.primitives import RestProposals
from trace_robot.search.staged.program import StagedProgram, things
from trace_robot.search.staged.tuning import Tuning, refined
from trace_robot.search.staged.writer import code
from trace_robot.spec import TaskSpec, hands_of

POSE_STEPS = 15  # simulator steps that a decision usually takes in pose control
MORE = 2  # confirming conditions in place of one where worlds differ, as each draws another world
NOMINAL = 5  # conditions without a difference that are solved first
FURTHER = 480  # conditions on which finalists are compared, EACH at a time
WARM, WARMING = 0.5, 40  # share of the budget and generations after which the worlds begin in any case
TURNS_IN_WORLDS = 3  # of which one explores there and the others tune: what stages can do is known by then
MARGIN_IN_WORLDS = 0.99  # success there at which there is nothing left to tune
SOUND, POLISHING = 0.95, 4  # success there from which turns are counted, and how many of them are enough
RESTED = 12  # programs of a generation that are tried with a rest, where success must last
RESTS = 2  # rests that each of them is tried with
DRAWN = "made a" + "new"  # the note of a program that is drawn at random: stored runs have it


class StagedSearch(GeneratorSearch[Individual]):
    """An evolutionary search until all conditions are solved, then for margin.

    Exploring is a genetic algorithm on lists of stages, with random newcomers. Its offspring are raced by
    successive halving (Hyperband, arXiv:1603.06560, section 3): conditions are the budget, most programs are
    dropped after one, and all conditions are spent on the few that may deserve it.

    The same for every environment; deterministic for ``seed`` and the outcomes. Each outcome's details must
    hold lists with one entry a condition of its candidate: "success", "steps" and the numbers of ``measure``;
    and may hold "simulator_steps", else a decision counts as one.

    Args:
        spec: the environment, with positions of a hand and of things.
        seeds: training conditions, on which every program is compared.
        confirm: further conditions, on which programs that solve all of ``seeds`` are chosen among.
        seed: of all random choices.
        parameter: the parameter whose value the written program is.
        budget: simulator steps that the caller will grant, of which the last are kept for making the best
            program plainer; None for no limit.
        nominal: where worlds differ, conditions in which nothing does: the search solves these before it goes on
            to ``seeds`` (curriculum learning, Bengio et al., 2009). Empty to begin in the worlds.
        further: where worlds differ, conditions on which finalists are compared.
    """

    wanted = 6  # programs that solve every condition before exploring makes room for tuning
    waiting = 4  # generations of exploring after the first such program at most
    margin = 0.9  # success under noise at which there is nothing left to tune
    polishing = 6  # turns of exploring and tuning for more margin, once a program solves everything
    tunings = 64  # turns in all: an end where neither the margin nor a budget gives one
    share = 0.85  # of the budget, after which the best program is made plainer

    def __init__(
        self,
        spec: TaskSpec,
        seeds: Sequence[int],
        *,
        confirm: Sequence[int] = (),
        seed: int = 0,
        parameter: str = "act",
        budget: int | None = None,
        nominal: Sequence[int] = (),
        further: Sequence[int] = (),
    ) -> None:
        self.spec = spec
        self.parameter, self.budget = parameter, budget
        random = np.random.default_rng(seed)
        pace, ranges = POSE_STEPS if spec.control == "pose" else 1, SeenRanges(numbers_seen(spec))
        primitives = primitives_for(spec, random, pace, ranges)
        self.evaluation = ProgramEvaluation(spec, seeds, random, confirm, further)
        rests = RestProposals(spec, primitives) if "hold" in spec.options else None
        if rests is not None:
            self.evaluation.touched.append(rests.add)
        self.evaluation.touched.append(ranges.add)
        worlds, self._in_worlds = self.evaluation.worlds, (self.evaluation.worlds, self.evaluation.conditions)
        if worlds and nominal:
            worlds, self.evaluation.worlds, self.evaluation.conditions = False, False, tuple(nominal)
        self.exploration = Exploration(self.evaluation, mutator_for(primitives, rests, worlds))
        self.tuning = Tuning(self.evaluation)
        super().__init__()

    @classmethod
    def suits(cls, spec: TaskSpec) -> bool:
        """Return whether there is a hand, and something that it can act on."""
        return bool(hands_of(spec)) and bool(things(spec))

    @classmethod
    def begin(
        cls,
        spec: TaskSpec,
        conditions: Callable[[int], Sequence[int]],
        *,
        episodes: int,
        confirm: int,
        seed: int,
        budget: int | None,
        nominal: Callable[[int], bool] | None = None,
    ) -> StagedSearch:
        """Return a new search.

        Args:
            spec: the environment.
            conditions: gives the first training conditions of a run, as many as it is asked for.
            episodes: how many of them every program is compared on.
            confirm: how many further ones to choose on; MORE times that where worlds differ.
            seed: of all random choices.
            budget: simulator steps that will be granted; None for no limit.
            nominal: whether nothing differs in a condition; None where worlds do not differ.
        """
        if "world" not in spec.options:
            seeds = conditions(episodes + confirm)
            return cls(spec, seeds[:episodes], confirm=seeds[episodes:], seed=seed, budget=budget)
        end = episodes + MORE * confirm
        seeds = conditions(end + FURTHER)
        plain = [each for each in seeds if nominal is not None and nominal(each)]
        return cls(
            spec,
            seeds[:episodes],
            confirm=seeds[episodes:end],
            seed=seed,
            budget=budget,
            nominal=plain[:NOMINAL],
            further=seeds[end:],
        )

    @property
    def champion(self) -> Individual | None:
        """The best program so far.

        Under noise once there are finalists; before that by rank among those tried on every condition, so that
        there is none until the first generation is over.
        """
        if self.tuning.finalists:
            return self.tuning.finalists[0].individual
        return self.exploration.pool[0] if self.exploration.pool else None

    @property
    def finalists_to_score(self) -> list[Candidate]:
        """What to score when a run ends now: a contender, which is proven, or the best."""
        final = self.contender or self.best
        return [] if final is None else [final]

    def _outdoes(self, standing: Standing, champion: Individual) -> bool:
        # All conditions of a race are training conditions, on which the champion was tried: more successes there are a
        # proof, a higher share of fewer is none. A finalist succeeds on all of them.
        # Worlds are of unlike difficulty, so that successes in some say little about all.
        if self.tuning.finalists or self._in_worlds[0]:
            return False
        return standing.successes > champion.successes(self.evaluation.conditions)

    def _candidate(self, champion: Individual) -> Candidate:
        data, note = champion.program.to_data(), champion.note
        if self.evaluation.worlds and champion.trials:
            note += f" ({self._worlds_text(champion)})"
        return self._lasting(Candidate(champion.id, champion.parent, {}, note, "search", data))

    def _worlds_text(self, individual: Individual) -> str:
        """Return the two numbers by which programs rank where worlds differ."""
        mean, worst = self.evaluation.mean_and_worst(individual)
        share = individual.successes(individual.trials) / (count := len(individual.trials))
        return (
            f"success {share:.2f}, value {mean:.2f} on average and {worst:.2f} in the worst fifth of"
            f" {count} worlds"
        )

    def _lasting(self, candidate: Candidate) -> Candidate:
        """Return the candidate starting over for ever, with its code as a value."""
        program = replace(StagedProgram.from_data(candidate.program or {}), passes=0)
        values = {self.parameter: code(program, self.spec)}
        return replace(candidate, values=values, program=program.to_data())

    def _search(self) -> Steps[None]:
        exploration, tuning = self.exploration, self.tuning
        while not self._explored():
            yield from exploration.generation()
            self._part_is_over()
        if self._in_worlds[0]:
            yield from self._enter_worlds()
        self.phase = "tune"
        yield from tuning.screen(self._to_screen())
        yield from tuning.measure_again()
        polished, worlds = 0, self.evaluation.worlds
        polishing, sound = (POLISHING, SOUND) if worlds else (self.polishing, 0.0)
        for turn in range(self.tunings):
            if self._tuned() or polished >= polishing:
                break
            polished += self._confirmed() and tuning.finalists[0].success >= sound
            # In turn, because a program that lacks margin may need other constants or other stages.
            if turn % (TURNS_IN_WORLDS if worlds else 2) == 0:
                yield from exploration.generation()
                self._part_is_over()
                yield from tuning.screen(self._to_screen())
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
        if worlds:
            self.done = (
                f"{self._worlds_text(first.individual)}, and {first.success:.2f} with noise on the constants"
            )
            return
        self.done = (
            f"every training condition{more} solved, and {first.success:.2f} with noise on the constants"
        )

    def _enter_worlds(self) -> Steps[None]:
        """Take the pool into the worlds, where a few generations adapt it."""
        exploration = self.exploration
        self.phase = "adapt"
        self.evaluation.worlds, self.evaluation.conditions = self._in_worlds
        yield from exploration.enter(replace(exploration.mutator, worlds=True))
        self._part_is_over()
        for _ in range(self.waiting):
            yield from exploration.generation()
            self._part_is_over()

    def _warm(self) -> bool:
        """Return whether exploring before the worlds has used its share."""
        spent, exploration = self.evaluation.spent, self.exploration
        return exploration.generations >= WARMING or (self.budget is not None and spent >= WARM * self.budget)

    def _to_screen(self) -> list[Individual]:
        """Return what may become finalists: solvers, in worlds the first of the pool."""
        exploration = self.exploration
        return exploration.pool[: self.wanted] if self.evaluation.worlds else exploration.solved

    def _confirmed(self) -> bool:
        return self.tuning.finalists[0].confirmed >= self.evaluation.enough(len(self.evaluation.confirm))

    def _tuned(self) -> bool:
        """Return whether the first finalist has margin, or the budget is nearly spent."""
        if self.budget is not None and self.evaluation.spent >= self.share * self.budget:
            return True
        margin = MARGIN_IN_WORLDS if self.evaluation.worlds else self.margin
        return self._confirmed() and self.tuning.finalists[0].success >= margin

    def _explored(self) -> bool:
        exploration = self.exploration
        waited = exploration.generations - exploration.first_solved
        if self._in_worlds[0] and exploration.pool and self._warm():
            return True
        return len(exploration.solved) >= self.wanted or (
            len(exploration.solved) > 0 and waited >= self.waiting
        )


@dataclass(slots=True)
class Exploration:
    """A pool of programs that grows by generations, the survivors of a race each.

    batch: new programs a generation, twice that in the first. rungs: of the race: after how many conditions it is
    decided how many of them go on; in the end to all. size: of the pool. fresh, crossed: share of the new
    programs that is drawn at random, and that is made from two of the pool.
    """

    evaluation: ProgramEvaluation
    mutator: Mutator
    batch: int = 96
    rungs: tuple[tuple[int, int], ...] = ((1, 24), (2, 8))
    size: int = 24
    fresh: float = 0.3
    crossed: float = 0.15
    pool: list[Individual] = field(default_factory=list)
    generations: int = 0
    first_solved: int = 0  # the generation that first solved every condition, while there is none the next

    @property
    def solved(self) -> list[Individual]:
        """The programs of the pool that solve every training condition, by rank."""
        return [individual for individual in self.pool if self.evaluation.solves(individual)]

    def enter(self, mutator: Mutator) -> Steps[None]:
        """Go on with the pool in worlds that differ.

        Its programs start over for ever from now on, and are tried on the training conditions as they are now.

        Args:
            mutator: for the programs to come.
        """
        make = self.evaluation.individual
        pool = [make(replace(one.program, passes=0), one, one.note) for one in self.pool]
        yield from self.evaluation.run(pool)
        self.pool, self.mutator = self._ranked(pool), mutator
        self.batch, self.rungs, self.fresh = 48, ((2, 16), (6, 6)), 0.05
        self.generations = self.first_solved = 0

    def generation(self) -> Steps[None]:
        """Race offspring over one, two and all training conditions into the pool."""
        self.pool = self._ranked(self.pool)  # what was confirmed since ranks by that as well
        new = self._offspring()
        order = self._hardest()
        first, tried = order[0], 0
        for count, kept in self.rungs:
            yield from self.evaluation.run(new, order[tried:count])
            if not tried:
                new += yield from self._rested(new, order[:count])
            new = diverse(self._ranked(new, *order[:count]), kept, first)
            tried = count
        yield from self.evaluation.run(new)
        self.pool = first_of_shapes(self._ranked(self.pool + new), self.size)
        if not self.solved:
            self.first_solved = self.generations + 1
        self.generations += 1

    def _rested(self, individuals: list[Individual], conditions: Sequence[int]) -> Steps[list[Individual]]:
        """Return programs that lost their success, each with a rest, none without hold.

        Args:
            individuals: with a trial on each condition.
            conditions: that the race has begun on.
        """
        rests = self.mutator.rests
        if rests is None:
            return []
        trials = {one.id: one.trials[conditions[0]] for one in individuals}
        lost = [one for one in individuals if trials[one.id].touched and not trials[one.id].success]
        new = []
        for one in self._ranked(lost, *conditions)[:RESTED]:
            for _ in range(RESTS):
                rest = rests.propose([trials[one.id].numbers])
                new.append(
                    self.evaluation.individual(replace(one.program, rest=rest), one, "rests when it is done")
                )
        yield from self.evaluation.run(new, conditions)
        return new

    def _ranked(self, individuals: list[Individual], *conditions: int) -> list[Individual]:
        """Sort by value on the conditions, or on all that each was tried on."""
        return sorted(individuals, key=lambda one: -self.evaluation.value(one, conditions or None))

    def _hardest(self) -> list[int]:
        """Return the conditions in the order to race on, the hardest first.

        These are those that the pool's best solve least often. Where worlds differ, first those that about half of
        the best solve: some may be beyond any program. Equals come in turn, so that a race is not always lost on
        the same initial state.
        """
        conditions = self.evaluation.conditions
        order = [conditions[(self.generations + i) % len(conditions)] for i in range(len(conditions))]
        best = self.pool[:5]
        solved = {each: sum(one.trials[each].success for one in best) for each in order}
        if self.evaluation.worlds:
            solved = {each: abs(2 * count - len(best)) for each, count in solved.items()}
        order.sort(key=lambda condition: solved[condition])
        return order

    def _offspring(self) -> list[Individual]:
        make, primitives = self.evaluation.individual, self.mutator.primitives
        if not self.pool:
            return [make(primitives.program(), note=DRAWN) for _ in range(2 * self.batch)]
        steps = refined(self.pool, primitives)
        new = [make(program, parent, "a step of a climb") for parent, program in steps]
        for _ in range(self.batch - len(new)):
            kind, parent = primitives.random.random(), self._parent()
            if kind < self.fresh:
                new.append(make(self._lasting(primitives.program()), note=DRAWN))
            elif kind < self.fresh + self.crossed:
                other = self._parent()
                program = self.mutator.cross(parent.program, other.program)
                new.append(make(program, parent, f"its beginning, then the end of {other.id}"))
            else:
                program = self.mutator.mutate(parent.program)
                new.append(make(program, parent, "stages or constants changed"))
        return new

    def _lasting(self, program: StagedProgram) -> StagedProgram:
        return replace(program, passes=0) if self.evaluation.worlds else program

    def _parent(self) -> Individual:
        """Return the better of two of the pool by rank: a tournament of size two."""
        i, j = self.mutator.primitives.random.integers(len(self.pool), size=2)
        return self.pool[min(int(i), int(j))]
