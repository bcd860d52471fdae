"""Variation operators for staged programs: mutation, crossover, noise, simplification."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from trace_robot.search.staged.primitives import (
    CLOSED,
    DECIMALS,
    LONGEST,
    OPEN,
    MotionPrimitives,
    RestProposals,
    clipped_rest,
)
from trace_robot.search.staged.program import HERE, Move, Stage, StagedProgram, Turn, Vector, When
from trace_robot.spec import Array

# Units of the vector: what changes a program about as much as any other constant, so that one step size and one
# noise fit all of them.
METRE = 0.01  # an offset moves by 1 cm a unit
SPEED, TOLERANCE, DECISIONS, GAIN = 0.1, 0.005, 0.2, 0.15  # the last two of a logarithm: shares
RADIAN, LEAD = 0.1, 1.0  # an angle moves by 0.1 rad a unit, a lead by one decision
REST_METRE = 0.005  # a rest is finer than a motion: it must tell a task that is done from one that nearly is
MOST_DECISIONS = 200
RETRY_NOISE = 0.6  # units of noise that every constant must bear in the pass that makes up for a failed one
SMALL = 0.01  # metres below which an offset may be left out
GRID = 0.005  # metres to which offsets are rounded at the end


def to_vector(program: StagedProgram) -> Array:
    """Return the constants of a program as one vector.

    Returns:
        (7 * stages + 1,): of each stage the offset (3), along, speed, tolerance and log of the decisions, then
        the log of the gain, in units in which all of them matter about as much. With a rest four more: its
        offset and its tolerance. Then what ``_with_later`` goes through.
    """
    numbers: list[float] = []
    for stage in program.stages:
        numbers += [part / METRE for part in stage.place.offset]
        numbers += [stage.place.along / METRE, stage.speed / SPEED, stage.tolerance / TOLERANCE]
        numbers += [np.log(stage.max_decisions) / DECISIONS]
    numbers.append(np.log(program.gain) / GAIN)
    if program.rest is not None:
        numbers += [part / REST_METRE for part in program.rest.place.offset]
        numbers.append(program.rest.tolerance / REST_METRE)

    def _note(value: float, unit: float) -> float:
        numbers.append(value / unit)
        return value

    _with_later(program, _note)
    return np.array(numbers)


def _with_later(program: StagedProgram, change: Callable[[float, float], float]) -> StagedProgram:
    """Change the leads, angles and places of further hands of a program.

    ``change`` is called with each of them and its unit.
    """

    def _turned(turn: Turn | None) -> Turn | None:
        return turn and replace(turn, angle=change(turn.angle, RADIAN))

    def _moved(move: Move) -> Move:
        x, y, z = (change(part, METRE) for part in move.place.offset)
        along = change(move.place.along, METRE) if move.place.toward else 0.0
        place = replace(move.place, offset=(x, y, z), along=along)
        return replace(move, place=place, turn=_turned(move.turn))

    def _staged(stage: Stage) -> Stage:
        lead = change(stage.place.lead, LEAD) if stage.place.lead else 0.0
        place, others = replace(stage.place, lead=lead), tuple(map(_moved, stage.others))
        return replace(stage, place=place, turn=_turned(stage.turn), others=others)

    return replace(program, stages=tuple(map(_staged, program.stages)))


def from_vector(program: StagedProgram, vector: Array) -> StagedProgram:
    """Return a program with other constants.

    Args:
        program: gives all but the constants; those that have no effect in it stay without.
        vector: as ``to_vector`` returns it; clipped to what makes sense.
    """
    stages = []
    end = 7 * len(program.stages)
    for stage, part in zip(program.stages, vector[:end].reshape(-1, 7), strict=True):
        stages.append(_stage(stage, [float(number) for number in part]))
    gain = round(float(np.clip(np.exp(GAIN * vector[end]), 2.0, 40.0)), DECIMALS)
    rest = program.rest
    if rest is not None:
        x, y, z, tolerance = (float(REST_METRE * number) for number in vector[end + 1 : end + 5])
        rest = clipped_rest(rest, (x, y, z), tolerance)
    program = replace(program, stages=tuple(stages), gain=gain, rest=rest)
    later = iter(vector[end + 1 if rest is None else end + 5 :])
    return _with_later(program, lambda _, unit: round(unit * float(next(later)), DECIMALS))


def free(program: StagedProgram) -> Array:
    """Return which entries of the vector have an effect, booleans of its shape."""
    marks: list[bool] = []
    for stage in program.stages:
        only_waits = stage.tolerance == 0.0
        marks += [True, True, True, bool(stage.place.toward), True, not only_waits, True]
    marks += [True] * (1 if program.rest is None else 5)
    return np.array(marks + [True] * (len(to_vector(program)) - len(marks)))


def disturbed(program: StagedProgram, noise: Array, sigma: float) -> StagedProgram:
    """Return two passes under noise, a test of the margins that a program has.

    The first pass shows how far off the constants may be; the second, under little noise and from wherever the
    first has left things, whether the program makes up for a failure.

    Args:
        program: to be tested.
        noise: standard normal, at least as long as the vector; its end disturbs the second pass.
        sigma: units of noise in the first pass.
    """
    first = tuple(replace(stage, grasp="") for stage in _shaken(program, noise, sigma).stages)
    second = _shaken(program, noise[::-1], RETRY_NOISE)
    return replace(second, stages=first + second.stages, passes=1)


def _shaken(program: StagedProgram, noise: Array, sigma: float) -> StagedProgram:
    """Return the program with ``sigma`` units of noise on its free constants."""
    vector = to_vector(program)
    return from_vector(program, vector + sigma * noise[: len(vector)] * free(program))


def _stage(stage: Stage, part: list[float]) -> Stage:
    x, y, z, along, speed, tolerance, decisions = part
    place = stage.place
    offset = (round(METRE * x, DECIMALS), round(METRE * y, DECIMALS), round(METRE * z, DECIMALS))
    return replace(
        stage,
        place=replace(place, offset=offset, along=round(METRE * along, DECIMALS) if place.toward else 0.0),
        speed=round(min(max(SPEED * speed, 0.1), 1.0), DECIMALS),
        tolerance=round(min(max(TOLERANCE * tolerance, 0.003), 0.1), DECIMALS)
        if stage.tolerance > 0
        else 0.0,
        max_decisions=round(min(max(np.exp(DECISIONS * decisions), 1.0), MOST_DECISIONS)),
    )


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


@dataclass(frozen=True, slots=True)
class Mutator:
    """The variation operators: a new program from one other, or from two.

    rests: proposals of rest, where success must last. worlds: whether worlds differ, for which there is more to try.
    """

    primitives: MotionPrimitives
    rests: RestProposals | None = None
    worlds: bool = False

    def mutate(self, program: StagedProgram) -> StagedProgram:
        """Return ``program`` with one to three random changes."""
        for _ in range(int(self.primitives.random.choice((1, 2, 3), p=(0.5, 0.3, 0.2)))):
            program = self._once(program)
        if self.rests is not None and self.primitives.chance(0.3):
            program = self.rests.vary(program)
        if self.worlds and self.primitives.chance(0.3):
            program = self._steady(program)
        return program

    def _steady(self, program: StagedProgram) -> StagedProgram:
        """Change the average of positions, the search in a spiral, or the guard of a move."""
        kind = int(self.primitives.random.integers(3))
        if kind == 0:
            drop = program.spiral > 0 and self.primitives.chance(0.4)
            return replace(program, spiral=0.0 if drop else self.primitives.number(0.005, 0.02))
        if kind == 1:
            drop = program.sight > 0 and self.primitives.chance(0.4)
            return replace(program, sight=0.0 if drop else self.primitives.number(0.1, 0.9))
        i, stage = self._pick(program)
        drop = stage.guard > 0 and self.primitives.chance(0.4)
        return _with(program, i, replace(stage, guard=0.0 if drop else self.primitives.number(0.002, 0.01)))

    def cross(self, first: StagedProgram, second: StagedProgram) -> StagedProgram:
        """Return a one-point crossover: a program's beginning, then another's end.

        Args:
            first: gives its first stages, at least one, and the gain.
            second: gives its last stages, at least one; cut to LONGEST stages in all.
        """
        random = self.primitives.random
        head = int(random.integers(1, len(first.stages) + 1))
        tail = int(random.integers(0, len(second.stages)))
        return replace(first, stages=(first.stages[:head] + second.stages[tail:])[:LONGEST])

    def _once(self, program: StagedProgram) -> StagedProgram:
        """Return the program with one change of a random kind."""
        # Numbers most often: a program's stages are useless with any but a few of them.
        changes: tuple[tuple[float, Callable[[StagedProgram], StagedProgram]], ...] = (
            (0.40, self._numbers),
            (0.14, self._stage),
            (0.10, self._insert),
            (0.10, self._drop),
            (0.08, self._extend),
            (0.06, self._repeat),
            (0.06, self._shift),
            (0.06, self._gain),
        )
        weights = [weight for weight, _ in changes]
        return changes[int(self.primitives.random.choice(len(changes), p=weights))][1](program)

    def _numbers(self, program: StagedProgram) -> StagedProgram:
        """Move one offset, or change when a stage ends or how fast it goes."""
        i, stage = self._pick(program)
        kind = int(self.primitives.random.choice(5, p=(0.6, 0.1, 0.1, 0.1, 0.1)))
        place = stage.place
        if kind == 0 and place.toward and self.primitives.chance(0.4):
            along = round(place.along + float(self.primitives.random.normal(0, 0.03)), DECIMALS)
            stage = replace(stage, place=replace(place, along=along))
        elif kind == 0:
            stage = replace(stage, place=replace(place, offset=self._nudge(place.offset)))
        elif kind == 1:
            stage = replace(
                stage, max_decisions=max(1, round(stage.max_decisions * self.primitives.number(0.5, 1.8)))
            )
        elif kind == 2:
            stage = replace(stage, tolerance=self.primitives.number(0.003, 0.04))
        elif kind == 3:
            stage = replace(
                stage, speed=1.0 if self.primitives.chance(0.4) else self.primitives.number(0.2, 1.0)
            )
        else:
            held = "" if stage.grasp or i == 0 else self.primitives.thing()
            stage = replace(stage, grasp=held, grasp_tolerance=self.primitives.number(0.06, 0.2))
        return _with(program, i, stage)

    def _stage(self, program: StagedProgram) -> StagedProgram:
        """Change what one stage goes to, what it brings there, or its gripper."""
        i, stage = self._pick(program)
        kind = int(self.primitives.random.integers(4))
        if kind == 0:
            stage = replace(stage, gripper=OPEN if stage.gripper > 0 else CLOSED)
        elif kind == 1:
            stage = replace(
                stage,
                tracked=self.primitives.hand if self.primitives.chance(0.6) else self.primitives.thing(),
            )
        elif kind == 2:
            stage = replace(stage, place=replace(stage.place, anchor=self._anchor(), when=self._when()))
        else:
            along = 0.0 if stage.place.toward else self.primitives.number(-0.1, 0.1)
            toward = "" if stage.place.toward else self.primitives.thing()
            stage = replace(stage, place=replace(stage.place, toward=toward, along=along))
        return _with(program, i, stage)

    def _insert(self, program: StagedProgram) -> StagedProgram:
        """Put a stage in: a random one, or one on the way to or from a neighbor's place."""
        i, stage = self._pick(program)
        if self.primitives.chance(0.4):
            new = self.primitives.wander()[0]
        else:
            offset = self._nudge(stage.place.offset, 0.08)
            new = replace(
                stage, place=replace(stage.place, offset=offset), grasp="" if i == 0 else stage.grasp
            )
            i += int(self.primitives.random.integers(2))
        return replace(program, stages=(program.stages[:i] + (new,) + program.stages[i:])[:LONGEST])

    def _drop(self, program: StagedProgram) -> StagedProgram:
        if len(program.stages) == 1:
            return self._numbers(program)
        i, _ = self._pick(program)
        return replace(program, stages=program.stages[:i] + program.stages[i + 1 :])

    def _extend(self, program: StagedProgram) -> StagedProgram:
        """Put other random primitives behind a beginning of the program."""
        kept = program.stages[: int(self.primitives.random.integers(1, len(program.stages) + 1))]
        return replace(program, stages=(kept + self.primitives.program().stages)[:LONGEST])

    def _repeat(self, program: StagedProgram) -> StagedProgram:
        """Add a leg that goes on from where the hand is at the end."""
        stage = program.stages[-1]
        leg = self.primitives.leg(self.primitives.thing(), stage.place.offset, stage.gripper)
        return replace(program, stages=(*program.stages, leg)[:LONGEST])

    def _shift(self, program: StagedProgram) -> StagedProgram:
        """Move the offsets of all stages at the same anchor by the same amount."""
        _, chosen = self._pick(program)
        dx, dy, dz = self._nudge((0.0, 0.0, 0.0))

        def _shifted(stage: Stage) -> Stage:
            place = stage.place
            if place.anchor != chosen.place.anchor or place.when == "entry":
                return stage
            x, y, z = place.offset
            moved = (round(x + dx, DECIMALS), round(y + dy, DECIMALS), round(z + dz, DECIMALS))
            return replace(stage, place=replace(place, offset=moved))

        return replace(program, stages=tuple(_shifted(stage) for stage in program.stages))

    def _gain(self, program: StagedProgram) -> StagedProgram:
        return replace(program, gain=self.primitives.number(6.0, 25.0))

    def _pick(self, program: StagedProgram) -> tuple[int, Stage]:
        i = int(self.primitives.random.integers(len(program.stages)))
        return i, program.stages[i]

    def _nudge(self, offset: Vector, width: float | None = None) -> Vector:
        """Move an offset along one or all axes, by about 1, 3 or 8 cm unless given."""
        random = self.primitives.random
        sigma = width or float(random.choice((0.01, 0.03, 0.08)))
        step = random.normal(0.0, sigma, 3)
        if self.primitives.chance(0.6):
            axis = int(random.integers(3))
            step = step * [i == axis for i in range(3)]
        x, y, z = (round(float(a + b), DECIMALS) for a, b in zip(offset, step, strict=True))
        return x, y, z

    def _anchor(self) -> str:
        return self.primitives.hand if self.primitives.chance(0.2) else self.primitives.thing()

    def _when(self) -> When:
        whens: tuple[When, ...] = ("now", "entry", "start")
        return whens[int(self.primitives.random.choice(3, p=(0.7, 0.15, 0.15)))]


def _with(program: StagedProgram, i: int, stage: Stage) -> StagedProgram:
    return replace(program, stages=program.stages[:i] + (stage,) + program.stages[i + 1 :])
