"""Changes of a program: small ones to its numbers, larger ones to its stages, and parts of two put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from trace_robot.optimize.search.moves import CLOSED, DECIMALS, LONGEST, OPEN, Moves
from trace_robot.program import Program, Stage
from trace_robot.program.data import Vector, When


@dataclass(frozen=True, slots=True)
class Changes:
    """Makes a new program from one or two others."""

    moves: Moves

    def mutate(self, program: Program) -> Program:
        """Return ``program`` with one to three random changes."""
        for _ in range(int(self.moves.random.choice((1, 2, 3), p=(0.5, 0.3, 0.2)))):
            program = self._once(program)
        return program

    def cross(self, first: Program, second: Program) -> Program:
        """Return the beginning of ``first`` followed by the end of ``second``."""
        random = self.moves.random
        head = int(random.integers(1, len(first.stages) + 1))
        tail = int(random.integers(0, len(second.stages)))
        return replace(first, stages=(first.stages[:head] + second.stages[tail:])[:LONGEST])

    def _once(self, program: Program) -> Program:
        changes: tuple[tuple[float, Callable[[Program], Program]], ...] = (
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
        return changes[int(self.moves.random.choice(len(changes), p=weights))][1](program)

    def _numbers(self, program: Program) -> Program:
        """Move one offset, or change when a stage ends or how fast it goes."""
        i, stage = self._pick(program)
        kind = int(self.moves.random.choice(5, p=(0.6, 0.1, 0.1, 0.1, 0.1)))
        place = stage.place
        if kind == 0 and place.toward and self.moves.chance(0.4):
            along = round(place.along + float(self.moves.random.normal(0, 0.03)), DECIMALS)
            stage = replace(stage, place=replace(place, along=along))
        elif kind == 0:
            stage = replace(stage, place=replace(place, offset=self._nudge(place.offset)))
        elif kind == 1:
            stage = replace(stage, patience=max(1, round(stage.patience * self.moves.number(0.5, 1.8))))
        elif kind == 2:
            stage = replace(stage, close=self.moves.number(0.003, 0.04))
        elif kind == 3:
            stage = replace(stage, speed=1.0 if self.moves.chance(0.4) else self.moves.number(0.2, 1.0))
        else:
            held = "" if stage.hold or i == 0 else self.moves.thing()
            stage = replace(stage, hold=held, slack=self.moves.number(0.06, 0.2))
        return _with(program, i, stage)

    def _stage(self, program: Program) -> Program:
        """Change what one stage goes to, what it brings there, or its gripper."""
        i, stage = self._pick(program)
        kind = int(self.moves.random.integers(4))
        if kind == 0:
            stage = replace(stage, gripper=OPEN if stage.gripper > 0 else CLOSED)
        elif kind == 1:
            stage = replace(stage, mover=self.moves.hand if self.moves.chance(0.6) else self.moves.thing())
        elif kind == 2:
            stage = replace(stage, place=replace(stage.place, anchor=self._anchor(), when=self._when()))
        else:
            along = 0.0 if stage.place.toward else self.moves.number(-0.1, 0.1)
            toward = "" if stage.place.toward else self.moves.thing()
            stage = replace(stage, place=replace(stage.place, toward=toward, along=along))
        return _with(program, i, stage)

    def _insert(self, program: Program) -> Program:
        """Put a stage in: a random one, or one on the way to or away from the place of its neighbour."""
        i, stage = self._pick(program)
        if self.moves.chance(0.4):
            new = self.moves.wander()[0]
        else:
            offset = self._nudge(stage.place.offset, 0.08)
            new = replace(stage, place=replace(stage.place, offset=offset), hold="" if i == 0 else stage.hold)
            i += int(self.moves.random.integers(2))
        return replace(program, stages=(program.stages[:i] + (new,) + program.stages[i:])[:LONGEST])

    def _drop(self, program: Program) -> Program:
        if len(program.stages) == 1:
            return self._numbers(program)
        i, _ = self._pick(program)
        return replace(program, stages=program.stages[:i] + program.stages[i + 1 :])

    def _extend(self, program: Program) -> Program:
        """Put another random move behind a beginning of the program."""
        kept = program.stages[: int(self.moves.random.integers(1, len(program.stages) + 1))]
        return replace(program, stages=(kept + self.moves.program().stages)[:LONGEST])

    def _repeat(self, program: Program) -> Program:
        """Add a leg: go on from where the hand then is."""
        stage = program.stages[-1]
        leg = self.moves.leg(self.moves.thing(), stage.place.offset, stage.gripper)
        return replace(program, stages=(*program.stages, leg)[:LONGEST])

    def _shift(self, program: Program) -> Program:
        """Move the offsets of all stages at the same anchor by the same amount."""
        _, chosen = self._pick(program)
        dx, dy, dz = self._nudge((0.0, 0.0, 0.0))

        def shifted(stage: Stage) -> Stage:
            place = stage.place
            if place.anchor != chosen.place.anchor or place.when == "entry":
                return stage
            x, y, z = place.offset
            moved = (round(x + dx, DECIMALS), round(y + dy, DECIMALS), round(z + dz, DECIMALS))
            return replace(stage, place=replace(place, offset=moved))

        return replace(program, stages=tuple(shifted(stage) for stage in program.stages))

    def _gain(self, program: Program) -> Program:
        return replace(program, gain=self.moves.number(6.0, 25.0))

    def _pick(self, program: Program) -> tuple[int, Stage]:
        i = int(self.moves.random.integers(len(program.stages)))
        return i, program.stages[i]

    def _nudge(self, offset: Vector, width: float | None = None) -> Vector:
        """Move an offset along one or all axes, by about 1, 3 or 8 cm unless ``width`` is given."""
        random = self.moves.random
        sigma = width or float(random.choice((0.01, 0.03, 0.08)))
        step = random.normal(0.0, sigma, 3)
        if self.moves.chance(0.6):
            axis = int(random.integers(3))
            step = step * [i == axis for i in range(3)]
        x, y, z = (round(float(a + b), DECIMALS) for a, b in zip(offset, step, strict=True))
        return x, y, z

    def _anchor(self) -> str:
        return self.moves.hand if self.moves.chance(0.2) else self.moves.thing()

    def _when(self) -> When:
        whens: tuple[When, ...] = ("now", "entry", "start")
        return whens[int(self.moves.random.choice(3, p=(0.7, 0.15, 0.15)))]


def _with(program: Program, i: int, stage: Stage) -> Program:
    return replace(program, stages=program.stages[:i] + (stage,) + program.stages[i + 1 :])
