"""The variation operators for staged programs: mutation and crossover."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from trace_robot.search.staged.primitives import CLOSED, DECIMALS, LONGEST, OPEN, MotionPrimitives
from trace_robot.search.staged.program import Stage, StagedProgram, Vector, When


@dataclass(frozen=True, slots=True)
class Mutator:
    """The variation operators: a new program from one other, or from two."""

    primitives: MotionPrimitives

    def mutate(self, program: StagedProgram) -> StagedProgram:
        """Return ``program`` with one to three random changes."""
        for _ in range(int(self.primitives.random.choice((1, 2, 3), p=(0.5, 0.3, 0.2)))):
            program = self._once(program)
        return program

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
