"""Motion primitives: random short runs of stages that a hand with a gripper needs.

Programs are drawn from these, since stages drawn one by one seldom do anything. Probabilities and widths are the
same for every environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from trace_robot.search.staged.program import (
    Rest,
    Stage,
    StagedProgram,
    Vector,
    Waypoint,
    relations,
    things,
)
from trace_robot.spec import Array, TaskSpec, hands_of

OPEN, CLOSED = -1.0, 1.0  # the gripper
AXES: tuple[Vector, ...] = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
LONGEST = 10  # stages of a program
REMEMBERED = 60  # episodes of which a proposal of rest is made
CENTRED = 0.6  # share of the offsets that are centred
DECIMALS = 4  # of metres: a tenth of a millimetre can be read and is finer than any simulator's contact


@dataclass(frozen=True, slots=True)
class MotionPrimitives:
    """Draw random programs for an environment from its position names alone.

    random: the generator that all draws come from, in an order that a seed fixes: another order of calls is
    another search. pace: simulator steps that a decision stands for; times are drawn in steps and divided by it.
    mover: the number of the hand that stages are drawn for.
    """

    spec: TaskSpec
    random: np.random.Generator
    pace: int = 1
    mover: int = 0

    @property
    def hand(self) -> str:
        """The position field of the hand that stages are drawn for."""
        return hands_of(self.spec)[self.mover].position

    @property
    def things(self) -> tuple[str, ...]:
        """The position fields that are no hand's."""
        return things(self.spec)

    def program(self) -> StagedProgram:
        """Return one to three random primitives as a program of one pass."""
        stages: list[Stage] = []
        for _ in range(int(self.random.choice((1, 2, 3), p=(0.7, 0.25, 0.05)))):
            stages += self.primitive()
        return StagedProgram(tuple(stages[:LONGEST]), gain=self.number(8.0, 20.0), passes=1)

    def primitive(self) -> list[Stage]:
        """Return the stages of one random primitive."""
        kinds: tuple[Callable[[], list[Stage]], ...] = (
            self._reach,
            self._pick_and_place,
            self._push,
            self._press,
            self._drag,
            self.wander,
        )
        return kinds[int(self.random.choice(len(kinds), p=(0.1, 0.25, 0.2, 0.15, 0.25, 0.05)))]()

    def _reach(self) -> list[Stage]:
        """Go to a position."""
        place = Waypoint(self.thing(), self.jitter(0.02))
        return [
            Stage(
                self.hand,
                place,
                self._gripper(),
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

    def _pick_and_place(self) -> list[Stage]:
        """Grasp a thing, perhaps lift it, bring it to another position, perhaps let go."""
        thing, goal = self._pair()
        stages = self.grasp(thing)
        held, apart = (thing, self.number(0.08, 0.2)) if self.chance(0.5) else ("", 0.1)
        tracked = thing if self.chance(0.7) else self.hand
        speed = self.number(0.4, 1.0) if self.chance(0.3) else 1.0

        def _carry(tracked: str, place: Waypoint, tolerance: float) -> Stage:
            return Stage(tracked, place, CLOSED, speed, tolerance, self.wait(30, 80), held, apart)

        if self.chance(0.5):
            lift = (0.0, 0.0, self.number(0.05, 0.3))
            stages.append(_carry(self.hand, Waypoint(self.hand, lift, "entry"), 0.02))
        x, y, z = self.jitter(0.02) if self.chance(0.8) else self._beside()
        if self.chance(0.5):
            stages.append(
                _carry(tracked, Waypoint(goal, (x, y, round(z + self.number(0.05, 0.2), DECIMALS))), 0.02)
            )
        stages.append(_carry(tracked, Waypoint(goal, (x, y, z)), 0.01))
        if self.chance(0.25):
            wait = Waypoint(self.hand, when="entry")
            stages.append(Stage(self.hand, wait, OPEN, tolerance=0.0, max_decisions=self.wait(5, 20)))
        return stages

    def _push(self) -> list[Stage]:
        """Go behind a thing as seen from another position, then push it there."""
        thing, goal = self._pair()
        x, y, z = self.jitter(0.015)
        behind, grip = -self.number(0.02, 0.12), self._gripper()
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

    def _press(self) -> list[Stage]:
        """Go to one side of a thing, then through it to the other side."""
        thing, direction, grip = self.thing(), self.axis(), self._gripper()
        side = self.jitter(0.03)
        before = add_scaled(side, direction, -self.number(0.03, 0.15))
        after = add_scaled(side, direction, self.number(0.0, 0.2))
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

    def _drag(self) -> list[Stage]:
        """Come down to a point near a thing, perhaps close the gripper, then move off."""
        thing, grip = self.thing(), self._gripper()
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
        """Return a stage that moves along a random direction.

        How far is one of three: the hand by a distance, the hand to a point beyond the thing, which it pushes
        along, or until the thing is a distance from where it started.

        Args:
            thing: the position field of what is moved.
            contact: offset of the hand from the thing, metres.
            grip: the gripper, -1 open to 1 closed.
        """
        direction, length = self.axis(), self.number(0.05, 0.35)
        if self.chance(0.3):
            second = self.axis()
            direction = (direction[0] + second[0], direction[1] + second[1], direction[2] + second[2])
        speed, decisions = self.number(0.3, 1.0), self.wait(30, 100)
        kind = int(self.random.integers(3))
        if kind == 0:
            tracked, place = (
                self.hand,
                Waypoint(self.hand, add_scaled((0, 0, 0), direction, length), "entry"),
            )
        elif kind == 1:
            tracked, place = self.hand, Waypoint(thing, add_scaled(contact, direction, 0.5 * length))
        else:
            tracked, place = thing, Waypoint(thing, add_scaled((0, 0, 0), direction, length), "start")
        return Stage(tracked, place, grip, speed, 0.01, decisions)

    def wander(self) -> list[Stage]:
        """Return one stage of any kind."""
        tracked = self.thing() if self.chance(0.25) else self.hand
        when = ("now", "entry", "start")[int(self.random.choice(3, p=(0.7, 0.2, 0.1)))]
        anchor = self.hand if when == "entry" else self.thing()
        place = Waypoint(anchor, self.jitter(0.08), when)  # type: ignore[arg-type]
        return [Stage(tracked, place, self._gripper(), self.number(0.3, 1.0), 0.02, self.wait(10, 80))]

    def thing(self) -> str:
        """Return a position that is not the hand's."""
        return self.things[int(self.random.integers(len(self.things)))]

    def _pair(self) -> tuple[str, str]:
        """Return what to move and where to, mostly in the order of the environment."""
        others = self.things
        if len(others) == 1:
            return others[0], others[0]
        i, j = self.random.choice(len(others), 2, replace=False)
        return (others[i], others[j]) if self.chance(0.2) else (others[min(i, j)], others[max(i, j)])

    def _gripper(self) -> float:
        """Return open or closed, more often closed, which pushes better."""
        return CLOSED if self.chance(0.6) else OPEN

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return bool(self.random.random() < probability)

    def number(self, low: float, high: float) -> float:
        """Return a uniform random number, rounded.

        Args:
            low: the least it may be.
            high: the most.
        """
        return round(float(self.random.uniform(low, high)), DECIMALS)

    def jitter(self, width: float) -> Vector:
        """Return a random offset, normal with ``width`` metres on each axis."""
        x, y, z = self.random.normal(0.0, width, 3)
        return round(float(x), DECIMALS), round(float(y), DECIMALS), round(float(z), DECIMALS)

    def _beside(self) -> Vector:
        """Return an offset to one side: what is grasped need not be what must arrive."""
        return add_scaled(self.jitter(0.02), AXES[int(self.random.integers(4))], self.number(0.04, 0.2))

    def axis(self) -> Vector:
        """Return one of the six directions along an axis."""
        return AXES[int(self.random.integers(len(AXES)))]

    def wait(self, low: int, high: int) -> int:
        """Return a random number of decisions.

        Args:
            low: simulator steps that they take at least.
            high: simulator steps that they take less than.
        """
        return max(1, round(int(self.random.integers(low, high)) / self.pace))


@dataclass(frozen=True, slots=True)
class CentredPrimitives(MotionPrimitives):
    """Draw the same, with most offsets straight above or below a position.

    There a hand grasps a thing, or a slot takes it. Environments that describe no hands keep the draws of stored runs.
    """

    def jitter(self, width: float) -> Vector:
        """Return a random offset, of which mostly the height alone is not 0.

        Args:
            width: metres, standard deviation.
        """
        x, y, z = MotionPrimitives.jitter(self, width)
        return (0.0, 0.0, z if self.chance(0.6) else 0.0) if self.chance(CENTRED) else (x, y, z)


def add_scaled(offset: Vector, direction: Vector, length: float) -> Vector:
    """Return an offset moved along a direction.

    Args:
        offset: metres.
        direction: a vector of any length.
        length: how many times it is added, metres.
    """
    x, y, z = (round(start + length * part, DECIMALS) for start, part in zip(offset, direction, strict=True))
    return x, y, z


def clipped_rest(rest: Rest, offset: Vector, tolerance: float) -> Rest:
    """Return a rest with other constants, clipped to what makes sense.

    Args:
        rest: gives all but these constants.
        offset: of its place, metres.
        tolerance: metres.
    """
    x, y, z = (round(part, DECIMALS) for part in offset)
    place = replace(rest.place, offset=(x, y, z))
    return replace(rest, place=place, tolerance=round(min(max(tolerance, 0.003), 0.15), DECIMALS))


class RestProposals:
    """Proposes when a program has done its task, from episodes in which it had.

    The episodes of all programs are put together. What says that a task is done is a relation of two positions that
    was about the same in all of them at success, and was not so before. Success rates decide about proposals.
    """

    def __init__(self, spec: TaskSpec, primitives: MotionPrimitives) -> None:
        """Begin without any episode.

        Args:
            spec: the environment.
            primitives: of which the random generator and the pace are used.
        """
        self.primitives = primitives
        self._relations = relations(spec)
        # Of each episode and relation: x, y, z, how far from there at first, share of time near it before.
        self._episodes: list[Array] = []

    def add(self, numbers: Mapping[str, float]) -> None:
        """Remember an episode by its measures, if the task was done in it."""
        row = self._row(numbers)
        if np.isfinite(row).all():
            self._episodes.append(row)
            del self._episodes[:-REMEMBERED]

    def propose(self, own: Sequence[Mapping[str, float]] = ()) -> Rest | None:
        """Return a rest drawn by how well it tells success, None without any success.

        Args:
            own: measures of the program's own episodes. Half of the proposals are about where that program was.
        """
        if not self._episodes:
            return None
        episodes = np.array(self._episodes)
        centers = np.median(episodes[:, :, :3], axis=0)
        spreads = np.quantile(np.linalg.norm(episodes[:, :, :3] - centers, axis=2), 0.8, axis=0)
        travels, near = np.median(episodes[:, :, 3], axis=0), np.median(episodes[:, :, 4], axis=0)
        # Tight at success, far at first, and not met long before: the square prefers the best without excluding others.
        weights = (travels / (0.01 + spreads) * np.clip(1.0 - near, 0.0, 1.0) ** 2) ** 2
        if weights.sum() <= 0:
            return None
        random = self.primitives.random
        k = int(random.choice(len(weights), p=weights / weights.sum()))
        center, rows = centers[k], [self._row(each)[k, :3] for each in own]
        mine = [row for row in rows if np.isfinite(row).all()]
        if mine and self.primitives.chance(0.5):
            center = np.mean(mine, axis=0)
        tolerance = 0.004 + min(float(spreads[k]), 0.08) * self.primitives.number(0.3, 1.3)
        tracked, place = self._relations[k]
        lasts = max(1, round(int(random.integers(5, 60)) / self.primitives.pace))
        x, y, z = (float(part) for part in center)
        return clipped_rest(
            Rest(tracked, place, lasts=lasts, still=self.primitives.chance(0.5)), (x, y, z), tolerance
        )

    def vary(self, program: StagedProgram) -> StagedProgram:
        """Return the program with another rest, or with constants of its rest changed."""
        rest = program.rest
        if rest is None or self.primitives.chance(0.25):
            return replace(program, rest=self.propose() or rest)
        kind = int(self.primitives.random.choice(4, p=(0.35, 0.35, 0.15, 0.15)))
        if kind == 0:
            x, y, z = (float(part) for part in rest.place.offset + self.primitives.random.normal(0, 0.008, 3))
            rest = clipped_rest(rest, (x, y, z), rest.tolerance)
        elif kind == 1:
            rest = clipped_rest(rest, rest.place.offset, rest.tolerance * self.primitives.number(0.5, 1.8))
        elif kind == 2:
            rest = replace(rest, still=not rest.still)
        else:
            rest = replace(rest, lasts=max(1, round(rest.lasts * self.primitives.number(0.4, 2.5))))
        return replace(program, rest=rest)

    def _row(self, numbers: Mapping[str, float]) -> Array:
        names = ("x", "y", "z", "from", "near")  # those that an episode lacks are NaN
        return np.array(
            [[numbers.get(f"rest_{k}_{name}", np.nan) for name in names] for k in range(len(self._relations))]
        )
