"""Choice among programs that solve every condition, and CMA-ES on their constants.

What counts is how well a program does on all conditions, confirming ones included, and how well it does under noise:
few conditions say little about others, and a program that works when all its constants are off by centimetres, or
makes up for it in a second pass, has the margins that other conditions need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from trace_robot.optimizers.cma_es import load_cma
from trace_robot.search.base import Steps
from trace_robot.search.staged.constants import free, from_vector, to_vector, with_move
from trace_robot.search.staged.coordination import HandsPrimitives
from trace_robot.search.staged.evaluation import (
    EACH,
    MOVED,
    Individual,
    ProgramEvaluation,
    first_of_shapes,
)
from trace_robot.search.staged.primitives import DECIMALS, LONGEST, MotionPrimitives, clipped_rest
from trace_robot.search.staged.program import HERE, Stage, StagedProgram, Vector, Waypoint
from trace_robot.spec import Array

SLOWER = 0.02  # value (a share of the horizon) that a plainer program may cost
ENOUGH = 5  # episodes of a program for each sigma, at least
NEARLY = 1  # confirming conditions that a program worth measuring under noise may solve less than the best
NEARLY_IN_WORLDS = 3  # the same where worlds differ, of twice as many
SMALL = 0.01  # metres below which an offset may be left out
GRID = 0.005  # metres to which offsets are rounded at the end
REFINED, FIRST_OF_POOL = 24, 3  # programs of a generation that are steps of a climb, and from how many
BROUGHT = 4  # of these programs, as many bring what was moved somewhere
BRANCHED = 6  # of these programs, as many have another condition
STEPS = (0.005, 0.02, 0.05)  # metres
PLAINER = 8  # plainer programs measured under noise at a time


class Tuner:
    """CMA-ES (Hansen, arXiv:1604.00772) on the free constants of a program."""

    def __init__(self, program: StagedProgram, population: int, seed: int) -> None:
        self.program, self.origin, self.mask = program, to_vector(program), free(program)
        options = {"popsize": population, "seed": seed, "verbose": -9}
        self.strategy: Any = load_cma().CMAEvolutionStrategy(np.zeros(int(self.mask.sum())), 0.5, options)

    def build(self, vector: Array) -> StagedProgram:
        """Return the program with ``vector`` added to its free constants."""
        full = self.origin.copy()
        full[self.mask] += vector
        return from_vector(self.program, full)


@dataclass(slots=True, eq=False)
class ProgramFinalist:
    """A program that solves every training condition.

    confirmed: how many confirming conditions it solves. success, value: means over ``episodes`` under noise.
    """

    individual: Individual
    confirmed: int
    success: float
    value: float
    episodes: int
    tuner: Tuner | None = None

    def add(self, success: float, value: float, episodes: int) -> None:
        """Take more episodes under noise into the means.

        Args:
            success: the share of successes in them.
            value: their mean value.
            episodes: how many there were.
        """
        total = self.episodes + episodes
        self.success += (success - self.success) * episodes / total
        self.value += (value - self.value) * episodes / total
        self.episodes = total


@dataclass(slots=True)
class Tuning:
    """The finalists, best first.

    They rank by their value undisturbed and under noise, added. Measured: the first program that solved the
    training conditions of one task succeeded on 0.76 to 0.88 of 50 others, this choice on 1.00; ranking by the
    confirming conditions alone took a program that solved 24 of 25 and 0.76 elsewhere.

    sigmas: noise in units of the constants' vector (1 cm, 0.1 of the speed, ...).
    """

    evaluation: ProgramEvaluation
    sigmas: tuple[float, ...] = (0.8, 1.6, 3.0)
    size: int = 8
    population: int = 9
    simplifications: int = 4
    finalists: list[ProgramFinalist] = field(default_factory=list)
    screened: set[int] = field(default_factory=set)

    def screen(self, solved: Sequence[Individual]) -> Steps[None]:
        """Make finalists of programs that were not screened before, keep the best.

        Only those that solve nearly as many confirming conditions as the best are measured under noise, which
        costs the most episodes.
        """
        new = first_of_shapes([one for one in solved if one.id not in self.screened], self.size, alike=3)
        if not new:
            return
        self.screened |= {individual.id for individual in new}
        counts = yield from self.evaluation.count_confirmed(new)
        bar = max(*counts, *(finalist.confirmed for finalist in self.finalists), 0) - self._nearly
        kept = [(individual, count) for individual, count in zip(new, counts, strict=True) if count >= bar]
        scores = yield from self._robustness([individual.program for individual, _ in kept], 1)
        for (individual, count), score in zip(kept, scores, strict=True):
            self.finalists.append(ProgramFinalist(individual, count, *score, self._episodes(1)))
        self._sort()

    def measure_again(self) -> Steps[None]:
        """Measure the first two again on new noises, which corrects for the winner's luck."""
        first = self.finalists[:2]
        scores = yield from self._robustness([f.individual.program for f in first], 2)
        for finalist, (success, value) in zip(first, scores, strict=True):
            finalist.add(success, value, self._episodes(2))
        self._sort()

    def generation(self) -> Steps[None]:
        """Run one generation of CMA-ES on the constants of the first finalist.

        Its mean becomes a finalist if it solves every training condition. The tuner goes with it, so that the
        next generation goes on from here.
        """
        first = self.finalists[0]
        if first.tuner is None:
            seed = int(self.evaluation.random.integers(1, 2**31))
            first.tuner = Tuner(first.individual.program, self.population, seed)
        tuner = first.tuner
        vectors = tuner.strategy.ask()
        scores = yield from self._robustness([tuner.build(v) for v in vectors], 1)
        tuner.strategy.tell(vectors, [-value for _, value in scores])
        program = tuner.build(tuner.strategy.mean)
        tuned = self.evaluation.individual(program, first.individual, "constants tuned by CMA-ES")
        yield from self.evaluation.run([tuned])
        if not self._stands(tuned, first.individual):
            return
        (count,) = yield from self.evaluation.count_confirmed([tuned])
        ((success, value),) = yield from self._robustness([program], 2)
        self.finalists.append(ProgramFinalist(tuned, count, success, value, self._episodes(2), tuner))
        self._sort()

    def simplify(self) -> Steps[None]:
        """Simplify the first finalist while that costs no success and little time."""
        for _ in range(self.simplifications):
            first = self.finalists[0]
            make = self.evaluation.individual
            plainer = [
                make(program, first.individual, what) for what, program in simpler(first.individual.program)
            ]
            yield from self.evaluation.run(plainer)
            conditions = self.evaluation.conditions
            bar = self.evaluation.value(first.individual, conditions) - SLOWER
            plainer = [one for one in plainer if self.evaluation.value(one, conditions) >= bar]
            programs = [first.individual.program, *(one.program for one in plainer[:PLAINER])]
            (success, value), *scores = yield from self._robustness(programs, 2)
            bar = value - SLOWER
            good = [one for one, score in zip(plainer, scores, strict=False) if score >= (success, bar)]
            counts = yield from self.evaluation.count_confirmed(good)
            good = [one for one, count in zip(good, counts, strict=True) if count >= first.confirmed]
            if not good:
                return
            self.finalists.insert(0, replace(first, individual=good[0], tuner=None))

    def _stands(self, tuned: Individual, first: Individual) -> bool:
        """Return whether a tuned program solves the training conditions.

        In worlds it must solve about as many as the first.
        """
        if not self.evaluation.worlds:
            return self.evaluation.solves(tuned)
        conditions = self.evaluation.conditions
        return tuned.successes(conditions) >= first.successes(conditions) - 1

    @property
    def _nearly(self) -> int:
        return NEARLY_IN_WORLDS if self.evaluation.worlds else NEARLY

    @property
    def _repeats(self) -> int:
        """How many noises of each sigma make up for few training conditions."""
        if self.evaluation.worlds:
            return 1
        return -(-ENOUGH // len(self.evaluation.conditions))

    def _robustness(self, programs: Sequence[StagedProgram], copies: int) -> Steps[list[tuple[float, float]]]:
        return self.evaluation.robustness(programs, self.sigmas, copies * self._repeats)

    def _episodes(self, copies: int) -> int:
        if self.evaluation.worlds:
            return copies * EACH
        return copies * self._repeats * len(self.sigmas) * len(self.evaluation.conditions)

    def _sort(self) -> None:
        self.finalists.sort(key=lambda f: -self._value(f))
        del self.finalists[self.size :]

    def _value(self, finalist: ProgramFinalist) -> float:
        own = self.evaluation.value(finalist.individual)
        if not self.evaluation.worlds:
            return finalist.value + own
        # Trials in worlds are all of one kind, so that they count alike.
        count = len(finalist.individual.trials)
        return (finalist.value * finalist.episodes + own * count) / (finalist.episodes + count)


def refined(
    pool: Sequence[Individual], primitives: MotionPrimitives
) -> list[tuple[Individual, StagedProgram]]:
    """Return steps of a climb: the first programs, ended otherwise or one stage moved.

    A climb by the reward: it takes the last centimetres where no program solves a condition yet, and two hands that
    must move alike. What is in its place must often be let go, or held for a while, which no reward shows before. For
    environments that describe their hands; others keep the draws of stored runs.

    Args:
        pool: by rank.
        primitives: that draw for the environment.
    """
    if not isinstance(primitives, HandsPrimitives):
        return []
    random, result = primitives.random, []
    for parent in pool[:FIRST_OF_POOL]:
        stages = list(parent.program.stages)
        ends = primitives.finished(stages), [*stages[:-1], primitives.lasting(stages[-1])]
        result += [(parent, replace(parent.program, stages=tuple(end))) for end in ends if end != stages]
    for k in range(BROUGHT + BRANCHED):
        parent = pool[min(k % FIRST_OF_POOL, len(pool) - 1)]
        stages = list(parent.program.stages)
        if k < BROUGHT:
            stages = brought(stages, parent, primitives)
        elif primitives.ranges.changing():
            stages = branched(stages, primitives)
        if stages != list(parent.program.stages):
            result.append((parent, replace(parent.program, stages=tuple(stages))))
    for k in range(REFINED - len(result)):
        parent = pool[min(k % FIRST_OF_POOL, len(pool) - 1)]
        program, count = parent.program, len(parent.program.stages)
        i = count - 1 - min(int(random.geometric(0.35)) - 1, count - 1)  # the last ones most often
        axis = int(random.choice(3, p=(0.25, 0.25, 0.5)))
        step = round(float(random.normal(0.0, random.choice(STEPS))), DECIMALS) or STEPS[0]
        for place, move in enumerate(program.stages[i].moves):
            offset = list(move.place.offset)
            offset[axis] = round(offset[axis] + step, DECIMALS)
            x, y, z = offset
            program = with_move(program, i, place, place=replace(move.place, offset=(x, y, z)))
        result.append((parent, program))
    return result


def brought(stages: list[Stage], parent: Individual, primitives: HandsPrimitives) -> list[Stage]:
    """Return stages that end with bringing a thing that was moved to one that was not.

    All hands of the last stage move alike, as to carry it, and perhaps stay there.

    Args:
        stages: of a program.
        parent: the program with its trials, of which the first says what was moved.
        primitives: that draw for the environment.
    """
    numbers = next((trial.numbers for trial in parent.trials.values()), {})
    moved = [name for name in primitives.things if numbers.get(f"moved_{name}", 0.0) > MOVED]
    if not moved:
        return stages
    last, random = stages[-1], primitives.random
    still = [name for name in primitives.things if name not in moved] or moved
    thing, goal = moved[int(random.integers(len(moved)))], still[int(random.integers(len(still)))]
    place = Waypoint(goal, (0.0, 0.0, 0.0 if primitives.chance(0.6) else primitives.number(0.0, 0.15)))
    others = tuple(replace(move, tracked=thing, place=place) for move in last.others)
    new = replace(last, tracked=thing, place=place, others=others, tolerance=0.01, until=None, expects=None)
    new = replace(new, grasp="", back=0, max_decisions=primitives.wait(30, 100))
    kept = stages if primitives.chance(0.7) or len(stages) == 1 else stages[:-1]
    return [*kept, primitives.lasting(new) if primitives.chance(0.5) else new][-LONGEST:]


def branched(stages: list[Stage], primitives: HandsPrimitives) -> list[Stage]:
    """Return stages of which one to four are done again until a number is as expected.

    Args:
        stages: of a program.
        primitives: that draw for the environment.
    """
    i = int(primitives.random.integers(len(stages)))
    back = min(int(primitives.random.integers(4)), i)
    if primitives.chance(0.3):
        return primitives.conditioned(stages)
    return [*stages[:i], replace(stages[i], expects=primitives.condition(), back=back), *stages[i + 1 :]]


def simpler(program: StagedProgram) -> Iterator[tuple[str, StagedProgram]]:
    """Yield one-step simplifications, each with what it is, largest changes first."""
    stages = program.stages
    for i in range(len(stages)):
        if len(stages) > 1:
            rest = stages[:i] + stages[i + 1 :]
            yield f"stage {i + 1} left out", replace(program, stages=(replace(rest[0], grasp=""), *rest[1:]))
    rounder = replace(
        program, stages=tuple(_rounded(stage) for stage in stages), gain=float(round(program.gain))
    )
    if program.rest is not None:
        offset = _on_grid(program.rest.place.offset)
        rounder = replace(rounder, rest=clipped_rest(program.rest, offset, round(program.rest.tolerance, 3)))
    if rounder != program:
        yield "numbers rounded", rounder
    if program.rest is not None:
        yield "rest left out", replace(program, rest=None)
    if program.sight:
        yield "average of positions left out", replace(program, sight=0.0)
    if program.spiral:
        yield "spiral left out", replace(program, spiral=0.0)
    for i, stage in enumerate(stages):
        for what, plain in _plainer(stage):
            yield (
                f"{what} of stage {i + 1} left out",
                replace(program, stages=(*stages[:i], plain, *stages[i + 1 :])),
            )


def _plainer(stage: Stage) -> Iterator[tuple[str, Stage]]:
    place = stage.place
    if place.offset != HERE and max(abs(part) for part in place.offset) < SMALL:
        yield "offset", replace(stage, place=replace(place, offset=HERE))
    if stage.grasp:
        yield "hold", replace(stage, grasp="", grasp_tolerance=0.1)
    if stage.guard:
        yield "guard", replace(stage, guard=0.0)
    if stage.speed != 1.0:
        yield "speed", replace(stage, speed=1.0)
    for move in stage.others:
        kept = tuple(other for other in stage.others if other is not move)
        yield f"move of {move.hand}", replace(stage, others=kept)
    unset = {"turn": {"turn": None}, "condition": {"until": None}, "way back": {"expects": None, "back": 0}}
    plain = ((what, replace(stage, **fields)) for what, fields in unset.items())  # type: ignore[arg-type]
    yield from ((what, other) for what, other in plain if other != stage)
    if place.level:
        yield "level", replace(stage, place=replace(place, level=""))
    if place.lead:
        yield "lead", replace(stage, place=replace(place, lead=0.0))
    if place.toward:
        yield "direction", replace(stage, place=replace(place, toward="", along=0.0))


def _rounded(stage: Stage) -> Stage:
    """Return the stage with constants that a person might have written."""
    offset = _on_grid(stage.place.offset)
    decisions = stage.max_decisions
    return replace(
        stage,
        place=replace(stage.place, offset=offset, along=round(round(stage.place.along / GRID) * GRID, 4)),
        speed=round(stage.speed, 1),
        tolerance=max(round(stage.tolerance, 3), 0.003) if stage.tolerance > 0 else 0.0,
        max_decisions=decisions if decisions < 10 else 5 * round(decisions / 5),
        gripper=1.0 if stage.gripper > 0 else -1.0,
        grasp_tolerance=round(stage.grasp_tolerance, 2),
    )


def _on_grid(offset: Vector) -> Vector:
    x, y, z = (round(round(part / GRID) * GRID, 4) for part in offset)
    return x, y, z
