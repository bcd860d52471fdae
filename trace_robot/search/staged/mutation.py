"""Random and mutated programs: the variation operators of the search over staged programs.

Programs are drawn from motion primitives, short runs of stages that a hand with a gripper is likely to need, since
stages drawn one by one seldom do anything. Probabilities and widths are the same for every environment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from trace_robot.search.staged.program import Stage, StagedProgram, Vector, Waypoint, When
from trace_robot.spec import TaskSpec

OPEN, CLOSED = -1.0, 1.0  # the gripper
AXES: tuple[Vector, ...] = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
LONGEST = 10  # stages of a program
DECIMALS = 4  # of metres: a tenth of a millimetre can be read and is finer than any simulator's contact


@dataclass(frozen=True, slots=True)
class MotionPrimitives:
    """Draw random programs for an environment from its position names alone.

    random: the generator that all draws come from, in an order that a seed fixes: another order of calls is
    another search. pace: simulator steps that a decision stands for; times are drawn in steps and divided by it.
    """

    spec: TaskSpec
    random: np.random.Generator
    pace: int = 1

    @property
    def hand(self) -> str:
        return self.spec.positions[0]

    def program(self) -> StagedProgram:
        """Return one to three random primitives as a program of one pass."""
        kinds: tuple[Callable[[], list[Stage]], ...] = (
            self.reach,
            self.pick_and_place,
            self.push,
            self.press,
            self.drag,
            self.wander,
        )
        stages: list[Stage] = []
        for _ in range(int(self.random.choice((1, 2, 3), p=(0.7, 0.25, 0.05)))):
            stages += kinds[int(self.random.choice(len(kinds), p=(0.1, 0.25, 0.2, 0.15, 0.25, 0.05)))]()
        return StagedProgram(tuple(stages[:LONGEST]), gain=self.number(8.0, 20.0), passes=1)

    def reach(self) -> list[Stage]:
        """Go to a position."""
        place = Waypoint(self.thing(), self.jitter(0.02))
        return [
            Stage(
                self.hand,
                place,
                self.gripper(),
                tolerance=self.number(0.003, 0.03),
                max_decisions=self.wait(30, 80),
            )
        ]

    def grasp(self, thing: str) -> list[Stage]:
        """Go above a thing, descend, close the gripper: at its position or beside it."""
        x, y, z = self.jitter(0.012 if self.chance(0.7) else 0.03)
        if self.chance(0.3):
            z = round(z + self.number(0.0, 0.06), DECIMALS)
        above = Waypoint(thing, (x, y, round(z + self.number(0.05, 0.15), DECIMALS)))
        wait = Waypoint(self.hand, when="entry")
        return [
            Stage(self.hand, above, OPEN, tolerance=self.number(0.01, 0.03), max_decisions=self.wait(40, 80)),
            Stage(
                self.hand, Waypoint(thing, (x, y, z)), OPEN, tolerance=0.01, max_decisions=self.wait(20, 50)
            ),
            Stage(self.hand, wait, CLOSED, tolerance=0.0, max_decisions=self.wait(8, 25)),
        ]

    def pick_and_place(self) -> list[Stage]:
        """Grasp a thing, perhaps lift it, bring it to another position, perhaps let go."""
        thing, goal = self.pair()
        stages = self.grasp(thing)
        held, apart = (thing, self.number(0.08, 0.2)) if self.chance(0.5) else ("", 0.1)
        tracked = thing if self.chance(0.7) else self.hand
        speed = self.number(0.4, 1.0) if self.chance(0.3) else 1.0

        def carry(tracked: str, place: Waypoint, tolerance: float) -> Stage:
            return Stage(tracked, place, CLOSED, speed, tolerance, self.wait(30, 80), held, apart)

        if self.chance(0.5):
            lift = (0.0, 0.0, self.number(0.05, 0.3))
            stages.append(carry(self.hand, Waypoint(self.hand, lift, "entry"), 0.02))
        x, y, z = self.jitter(0.02) if self.chance(0.8) else self.beside()
        if self.chance(0.5):
            stages.append(
                carry(tracked, Waypoint(goal, (x, y, round(z + self.number(0.05, 0.2), DECIMALS))), 0.02)
            )
        stages.append(carry(tracked, Waypoint(goal, (x, y, z)), 0.01))
        if self.chance(0.25):
            wait = Waypoint(self.hand, when="entry")
            stages.append(Stage(self.hand, wait, OPEN, tolerance=0.0, max_decisions=self.wait(5, 20)))
        return stages

    def push(self) -> list[Stage]:
        """Go behind a thing as seen from another position, then push it there."""
        thing, goal = self.pair()
        x, y, z = self.jitter(0.015)
        behind, grip = -self.number(0.02, 0.12), self.gripper()
        high = Waypoint(thing, (x, y, z + self.number(0.06, 0.15)), toward=goal, along=behind)
        low = Waypoint(thing, (x, y, z), toward=goal, along=behind)
        stages = [
            Stage(self.hand, high, grip, tolerance=0.02, max_decisions=self.wait(30, 80)),
            Stage(self.hand, low, grip, tolerance=0.015, max_decisions=self.wait(20, 50)),
        ]
        through = Waypoint(thing, (x, y, z), toward=goal, along=self.number(0.02, 0.1))
        last = (
            Stage(thing, Waypoint(goal)),
            Stage(self.hand, Waypoint(goal, (x, y, z))),
            Stage(self.hand, through),
        )
        chosen = last[int(self.random.integers(3))]
        speed = self.number(0.3, 1.0)
        stages.append(Stage(chosen.tracked, chosen.place, grip, speed, 0.01, self.wait(40, 100)))
        return stages

    def press(self) -> list[Stage]:
        """Go to one side of a thing, then through it to the other side."""
        thing, direction, grip = self.thing(), self.axis(), self.gripper()
        side = self.jitter(0.03)
        before = _add(side, direction, -self.number(0.03, 0.15))
        after = _add(side, direction, self.number(0.0, 0.2))
        stages = [
            Stage(self.hand, Waypoint(thing, before), grip, tolerance=0.02, max_decisions=self.wait(30, 80)),
            Stage(self.hand, Waypoint(thing, after), grip, tolerance=0.01, max_decisions=self.wait(30, 80)),
        ]
        if self.chance(0.4):
            high = (before[0], before[1], round(before[2] + self.number(0.08, 0.2), DECIMALS))
            stages.insert(
                0,
                Stage(
                    self.hand, Waypoint(thing, high), grip, tolerance=0.03, max_decisions=self.wait(30, 80)
                ),
            )
        return stages

    def drag(self) -> list[Stage]:
        """Come down to a point near a thing, perhaps close the gripper, then move off."""
        thing, grip = self.thing(), self.gripper()
        x, y, z = self.jitter(0.04)
        high = Waypoint(thing, (x, y, round(z + self.number(0.05, 0.15), DECIMALS)))
        stages = [
            Stage(self.hand, high, grip, tolerance=0.02, max_decisions=self.wait(30, 80)),
            Stage(
                self.hand, Waypoint(thing, (x, y, z)), grip, tolerance=0.015, max_decisions=self.wait(20, 60)
            ),
        ]
        if self.chance(0.4):
            stages[0] = Stage(self.hand, high, OPEN, tolerance=0.02, max_decisions=stages[0].max_decisions)
            stages[1] = Stage(
                self.hand, stages[1].place, OPEN, tolerance=0.015, max_decisions=stages[1].max_decisions
            )
            grip, wait = CLOSED, Waypoint(self.hand, when="entry")
            stages.append(Stage(self.hand, wait, grip, tolerance=0.0, max_decisions=self.wait(8, 25)))
        for _ in range(1 + self.chance(0.35)):
            stages.append(self.leg(thing, (x, y, z), grip))
        return stages

    def leg(self, thing: str, contact: Vector, grip: float) -> Stage:
        """Move along a direction by one of three ways to say how far.

        The hand by a distance, the hand to a point beyond the thing that the thing is pushed ahead of, or until
        the thing is a distance from where it started.
        """
        direction, length = self.axis(), self.number(0.05, 0.35)
        if self.chance(0.3):
            second = self.axis()
            direction = (direction[0] + second[0], direction[1] + second[1], direction[2] + second[2])
        speed, decisions = self.number(0.3, 1.0), self.wait(30, 100)
        kind = int(self.random.integers(3))
        if kind == 0:
            tracked, place = self.hand, Waypoint(self.hand, _add((0, 0, 0), direction, length), "entry")
        elif kind == 1:
            tracked, place = self.hand, Waypoint(thing, _add(contact, direction, 0.5 * length))
        else:
            tracked, place = thing, Waypoint(thing, _add((0, 0, 0), direction, length), "start")
        return Stage(tracked, place, grip, speed, 0.01, decisions)

    def wander(self) -> list[Stage]:
        """One stage of any kind."""
        tracked = self.thing() if self.chance(0.25) else self.hand
        when = ("now", "entry", "start")[int(self.random.choice(3, p=(0.7, 0.2, 0.1)))]
        anchor = self.hand if when == "entry" else self.thing()
        place = Waypoint(anchor, self.jitter(0.08), when)  # type: ignore[arg-type]
        return [Stage(tracked, place, self.gripper(), self.number(0.3, 1.0), 0.02, self.wait(10, 80))]

    def thing(self) -> str:
        """Return a position that is not the hand's."""
        return self.spec.positions[1 + int(self.random.integers(len(self.spec.positions) - 1))]

    def pair(self) -> tuple[str, str]:
        """Return what to move and where to: two positions, mostly in the order of the environment."""
        others = self.spec.positions[1:]
        if len(others) == 1:
            return others[0], others[0]
        i, j = self.random.choice(len(others), 2, replace=False)
        return (others[i], others[j]) if self.chance(0.2) else (others[min(i, j)], others[max(i, j)])

    def gripper(self) -> float:
        """Return a position for the gripper, more often closed: a closed one pushes better."""
        return CLOSED if self.chance(0.6) else OPEN

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return bool(self.random.random() < probability)

    def number(self, low: float, high: float) -> float:
        """Return a uniform number between two bounds, rounded."""
        return round(float(self.random.uniform(low, high)), DECIMALS)

    def jitter(self, width: float) -> Vector:
        """Return a random offset, normal with ``width`` metres on each axis."""
        x, y, z = self.random.normal(0.0, width, 3)
        return round(float(x), DECIMALS), round(float(y), DECIMALS), round(float(z), DECIMALS)

    def beside(self) -> Vector:
        """Return an offset to one side: what is grasped need not be what must arrive."""
        return _add(self.jitter(0.02), AXES[int(self.random.integers(4))], self.number(0.04, 0.2))

    def axis(self) -> Vector:
        """Return one of the six directions along an axis."""
        return AXES[int(self.random.integers(len(AXES)))]

    def wait(self, low: int, high: int) -> int:
        """Return a number of decisions that take ``low`` to ``high`` simulator steps."""
        return max(1, round(int(self.random.integers(low, high)) / self.pace))


def _add(offset: Vector, direction: Vector, length: float) -> Vector:
    x, y, z = (round(start + length * part, DECIMALS) for start, part in zip(offset, direction, strict=True))
    return x, y, z


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
        """Return a one-point crossover: the beginning of a program, then the end of another.

        Args:
            first: gives its first stages, at least one, and the gain.
            second: gives its last stages, at least one; cut to LONGEST stages in all.
        """
        random = self.primitives.random
        head = int(random.integers(1, len(first.stages) + 1))
        tail = int(random.integers(0, len(second.stages)))
        return replace(first, stages=(first.stages[:head] + second.stages[tail:])[:LONGEST])

    def _once(self, program: StagedProgram) -> StagedProgram:
        """Make one change of a random kind; numbers most often, since structure is harder to get right."""
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

        def shifted(stage: Stage) -> Stage:
            place = stage.place
            if place.anchor != chosen.place.anchor or place.when == "entry":
                return stage
            x, y, z = place.offset
            moved = (round(x + dx, DECIMALS), round(y + dy, DECIMALS), round(z + dz, DECIMALS))
            return replace(stage, place=replace(place, offset=moved))

        return replace(program, stages=tuple(shifted(stage) for stage in program.stages))

    def _gain(self, program: StagedProgram) -> StagedProgram:
        return replace(program, gain=self.primitives.number(6.0, 25.0))

    def _pick(self, program: StagedProgram) -> tuple[int, Stage]:
        i = int(self.primitives.random.integers(len(program.stages)))
        return i, program.stages[i]

    def _nudge(self, offset: Vector, width: float | None = None) -> Vector:
        """Move an offset along one or all axes, by about 1, 3 or 8 cm unless a width is given."""
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
