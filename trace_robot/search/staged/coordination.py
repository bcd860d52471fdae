"""Motion primitives for any hands: two hands, turns, conditions, leads.

For environments that describe their hands. Those with the one hand that ``hands_of`` supposes are searched by
``primitives`` and ``Mutator`` alone, so that stored runs of them resume.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from trace_robot.search.staged.constants import SeenRanges
from trace_robot.search.staged.primitives import (
    CLOSED,
    DECIMALS,
    LONGEST,
    OPEN,
    CentredPrimitives,
    MotionPrimitives,
    add_scaled,
)
from trace_robot.search.staged.program import (
    Condition,
    Move,
    Stage,
    StagedProgram,
    Turn,
    Vector,
    Waypoint,
)
from trace_robot.spec import HandSpec, TaskSpec, hands_of

LONG = 120  # simulator steps above which a stage is one that lasts
SYMMETRIES = (math.tau, math.pi, math.pi / 2)
Part = tuple[str, Waypoint]  # what a hand brings, and where to


@dataclass(frozen=True, slots=True)
class HandsPrimitives(CentredPrimitives):
    """Draw random programs for the hands of an environment, without knowing the task.

    ranges: of the numbers that conditions are about.
    """

    ranges: SeenRanges = field(kw_only=True)

    @property
    def hands(self) -> tuple[HandSpec, ...]:
        """All hands, the first one first."""
        return hands_of(self.spec)

    def program(self) -> StagedProgram:
        """Return random primitives, perhaps with turns, a condition or a lead."""
        stages = list(MotionPrimitives.program(self).stages)
        if self.chance(0.3):
            stages = self.finished(stages)
        if self.levels and self.chance(0.3):
            stages[-1] = self.levelled(stages[-1])
        if self.chance(0.3):
            stages[-1] = self.lasting(stages[-1])
        stages = self._with_turns(stages)
        if self.chance(0.3):
            stages = self.conditioned(stages)
        if self.chance(0.15):
            i = int(self.random.integers(len(stages)))
            stages[i] = replace(stages[i], place=replace(stages[i].place, lead=self.lead()))
        return StagedProgram(tuple(stages[:LONGEST]), gain=self.number(8.0, 20.0), passes=1)

    def primitive(self) -> list[Stage]:
        """Return a random primitive of one hand, or of two that act together."""
        if len(self.hands) > 1 and self.chance(0.6):
            return self._together()
        if self.angles and any(hand.turn >= 0 for hand in self.hands) and self.chance(0.15):
            turning = [k for k, hand in enumerate(self.hands) if hand.turn >= 0]
            return self._twist(turning[int(self.random.integers(len(turning)))])
        return self.named(int(self.random.integers(len(self.hands))), MotionPrimitives.primitive)

    def wander(self) -> list[Stage]:
        """Return one stage of any kind, of any hand."""
        return self.named(int(self.random.integers(len(self.hands))), MotionPrimitives.wander)

    def _twist(self, mover: int) -> list[Stage]:
        """Grasp a thing as it lies, then turn it where it is to an angle that is seen.

        Args:
            mover: the number of the hand.
        """
        thing, symmetry = self.thing(), SYMMETRIES[int(self.random.choice(3, p=(0.2, 0.7, 0.1)))]
        heading = self.headings().get(thing) if self.chance(0.8) else None
        grasp = self.named(mover, lambda one: one.grasp(thing))
        stages = [replace(stage, turn=heading) for stage in grasp[:-1]] + grasp[-1:]
        name = self.angles[int(self.random.integers(len(self.angles)))]
        angle = 0.0 if self.chance(0.7) else self.number(-math.pi, math.pi)
        decisions = self.wait(40, 150)
        turned = replace(stages[-1], turn=Turn(name, angle=angle, symmetry=symmetry), max_decisions=decisions)
        return [*stages, turned]

    @property
    def angles(self) -> list[str]:
        """The fields with an angle that is not a hand's own."""
        own = {hand.yaw for hand in self.hands}
        return [
            p.name for p in self.spec.observation if p.unit == "rad" and p.size == 1 and p.name not in own
        ]

    def named(self, mover: int, draw: Callable[[MotionPrimitives], list[Stage]]) -> list[Stage]:
        """Return stages that are drawn for one hand, with its name.

        Args:
            mover: the number of the hand.
            draw: a primitive.
        """
        one = CentredPrimitives(self.spec, self.random, self.pace, mover)
        return [replace(stage, hand=self.hands[mover].name if mover else "") for stage in draw(one)]

    @property
    def levels(self) -> list[str]:
        """The fields of one number, metres, that may be a height to go to."""
        fields = [part.name for part in self.spec.observation if part.size == 1 and part.unit == "m"]
        changing = {self.ranges.names[k][0] for k in self.ranges.moving}
        return [name for name in fields if name not in changing] or fields

    def levelled(self, stage: Stage) -> Stage:
        """Return a stage whose moves go to the height that a number tells."""
        name = self.levels[int(self.random.integers(len(self.levels)))]
        up = 0.0 if self.chance(0.2) else self.number(-0.1, 0.15)

        def _at(move: Stage | Move) -> Waypoint:
            x, y, _ = move.place.offset
            return replace(move.place, offset=(x, y, up), level=name)

        others = tuple(replace(move, place=_at(move)) for move in stage.others)
        return replace(stage, place=_at(stage), others=others)

    def lasting(self, stage: Stage) -> Stage:
        """Return a stage that does not end when it has arrived, as to hold a thing."""
        return replace(stage, tolerance=0.0, max_decisions=self.wait(100, 1500))

    def finished(self, stages: list[Stage]) -> list[Stage]:
        """Return stages after which what is held is let go, and the hands perhaps rise."""
        last = stages[-1]
        if last.gripper < 0.0 or len(stages) >= LONGEST:
            return stages
        names = [move.hand or self.hands[0].name for move in last.moves]
        hands = [hand for hand in self.hands if hand.name in names]
        # What lasts would never be over: a tight place may stop a hand before it has arrived.
        long = last.tolerance == 0.0 or last.max_decisions > LONG / self.pace
        over = (
            replace(last, tolerance=last.tolerance or 0.01, max_decisions=self.wait(30, 100))
            if long
            else last
        )
        result = [*stages[:-1], over]
        for up in (0.0, self.number(0.05, 0.2))[: 1 + self.chance(0.5)]:
            moves = [(hand, Waypoint(hand.position, (0.0, 0.0, up), "entry")) for hand in hands]
            (hand, place), *more = moves
            others = tuple(Move(other.name, other.position, there, OPEN) for other, there in more)
            first = "" if hand.name == self.hands[0].name else hand.name
            result.append(
                Stage(
                    hand.position,
                    place,
                    OPEN,
                    1.0,
                    0.01 if up else 0.0,
                    self.wait(8, 30),
                    hand=first,
                    others=others,
                )
            )
        return result[:LONGEST]

    def turn(self) -> Turn:
        """Return the yaw of something, the line between two positions, or an angle."""
        angles = self.angles
        angle = 0.0 if self.chance(0.6) else self.number(-math.pi / 2, math.pi / 2)
        symmetry = SYMMETRIES[int(self.random.choice(3, p=(0.3, 0.5, 0.2)))]
        kind = self.random.random()
        if angles and kind < 0.7:
            return Turn(angles[int(self.random.integers(len(angles)))], angle=angle, symmetry=symmetry)
        if kind < 0.9:
            i, j = self.random.choice(len(self.spec.positions), 2, replace=False)
            start, end = self.spec.positions[int(i)], self.spec.positions[int(j)]
            return Turn("", start, end, angle, symmetry)
        return Turn(angle=self.number(-math.pi, math.pi), symmetry=symmetry)

    def can_turn(self, move: Stage | Move) -> bool:
        """Return whether the hand of a move turns."""
        return next(
            (hand.turn >= 0 for hand in self.hands if hand.name == move.hand), self.hands[0].turn >= 0
        )

    def lead(self) -> float:
        """Return a number of decisions by which a moving target is led."""
        return max(0.5, round(self.number(1.0, 25.0) / self.pace, 1))

    def condition(self) -> Condition:
        """Return a condition on a number that changed, of which there must be one."""
        chosen = self.ranges.changing()
        k = chosen[int(self.random.integers(len(chosen)))]
        name, index = self.ranges.names[k]
        low, high = self.ranges.ranges[k]
        share = 0.5 if self.chance(0.5) else self.number(0.0, 1.0)
        change, above = self.chance(0.2), self.chance(0.6)
        threshold = share * (high - low) * (1 if above else -1) if change else low + share * (high - low)
        return Condition(name, index, float(f"{threshold:.4g}"), above, change)

    def conditioned(self, stages: list[Stage]) -> list[Stage]:
        """Return stages that wait for a number, end by one, or are repeated until one."""
        if not self.ranges.changing():
            return stages
        i, kind = int(self.random.integers(len(stages))), int(self.random.integers(3))
        if kind == 0:
            return [*stages[:i], replace(stages[i], until=self.condition()), *stages[i + 1 :]]
        if kind == 1:
            stage = stages[i]
            mine = next((hand for hand in self.hands if hand.name == stage.hand), self.hands[0])
            wait = Waypoint(mine.position, when="entry")
            decisions, until = self.wait(20, 150), self.condition()
            pause = Stage(
                mine.position, wait, stage.gripper, 1.0, 0.0, decisions, hand=stage.hand, until=until
            )
            return [*stages[: i + 1], pause, *stages[i + 1 :]][:LONGEST]
        back = int(self.random.integers(i + 1))
        return [*stages[:i], replace(stages[i], expects=self.condition(), back=back), *stages[i + 1 :]]

    def headings(self) -> dict[str, Turn]:
        """Return an orientation for each thing that has an angle, all of one kind.

        The angle whose name begins most like a position's is its own, else the one in the same place of their order.
        """
        angles, things = self.angles, self.things
        if not angles or not any(hand.turn >= 0 for hand in self.hands):
            return {}

        def _own(k: int, name: str) -> str:
            alike = {angle: _shared(name, angle) for angle in angles}
            best = max(angles, key=lambda angle: alike[angle])
            rivals = [other for other in things if _shared(other, best) >= alike[best]]
            return best if alike[best] > 1 and rivals == [name] else angles[min(k, len(angles) - 1)]

        angle = 0.0 if self.chance(0.7) else float(self.random.choice((-1, 1))) * round(math.pi / 2, DECIMALS)
        symmetry = SYMMETRIES[int(self.random.choice(3, p=(0.2, 0.7, 0.1)))]
        return {name: Turn(_own(k, name), angle=angle, symmetry=symmetry) for k, name in enumerate(things)}

    def _with_turns(self, stages: list[Stage]) -> list[Stage]:
        """Give orientations to hands that turn: those of what they go to, or any.

        A hand that takes a thing as it lies, and turns as the place lies that it brings it to, has turned the thing.
        """
        headings = self.headings() if self.chance(0.6) else {}
        if headings:
            return [self._headed(stage, headings) for stage in stages]
        begun: set[str] = set()
        result = []
        for stage in stages:
            if (
                stage.turn is None
                and self.can_turn(stage)
                and self.chance(0.25 if stage.hand in begun else 0.7)
            ):
                stage = replace(stage, turn=self.turn())
            begun.add(stage.hand)
            others = tuple(
                replace(move, turn=self.turn()) if self.can_turn(move) and self.chance(0.4) else move
                for move in stage.others
            )
            result.append(replace(stage, others=others))
        return result

    def _headed(self, stage: Stage, headings: Mapping[str, Turn]) -> Stage:
        """Return a stage whose moves turn as the things lie that they go to."""

        def _turn(move: Stage | Move) -> Turn | None:
            return move.turn or (headings.get(move.place.anchor) if self.can_turn(move) else None)

        others = tuple(replace(move, turn=_turn(move)) for move in stage.others)
        return replace(stage, turn=_turn(stage), others=others)

    def _together(self) -> list[Stage]:
        """Bring two hands to two positions or both sides of a thing, then carry it."""
        i, j = (int(k) for k in self.random.choice(len(self.hands), 2, replace=False))
        pair = self.hands[min(i, j)], self.hands[max(i, j)]
        things, grip = self.things, OPEN if self.chance(0.7) else CLOSED
        both_sides = len(things) == 1 or self.chance(0.4)
        k, m = (0, 0) if both_sides else (int(n) for n in self.random.choice(len(things), 2, replace=False))
        offset = self.jitter(0.012 if self.chance(0.6) else 0.03)
        twin = offset if self.chance(0.5) else (-offset[0], -offset[1], offset[2])
        along = self.number(0.02, 0.2) if both_sides else 0.0
        if not both_sides and self._crossed(k, m):
            k, m = m, k

        def _at(up: float, along: float) -> tuple[Part, Part]:
            places = []
            for hand, name, side in zip(pair, (things[k], things[m]), (offset, twin), strict=True):
                toward = hand.position if both_sides else ""
                place = Waypoint(name, add_scaled(side, (0, 0, 1), up), toward=toward, along=along)
                places.append((hand.position, place))
            return places[0], places[1]

        stages = []
        if self.chance(0.7):
            above, wide = (
                (self.number(0.05, 0.15), 0.0) if self.chance(0.6) else (0.0, self.number(0.03, 0.12))
            )
            apart = round(along + wide, DECIMALS) if both_sides else 0.0
            stages.append(self._pair_stage(pair, _at(above, apart), grip, 0.02, self.wait(30, 80)))
        stages.append(self._pair_stage(pair, _at(0.0, along), grip, 0.01, self.wait(30, 80)))
        if self.chance(0.7):
            grip = CLOSED
            close = self._from_here(pair, (0.0, 0.0, 0.0))
            if both_sides and self.chance(0.5):
                close = _at(0.0, round(along * self.number(0.0, 0.8), DECIMALS))
            stages.append(self._pair_stage(pair, close, grip, 0.0, self.wait(8, 30)))
        for _ in range(int(self.random.choice((0, 1, 2), p=(0.2, 0.5, 0.3)))):
            carried = self._carried(pair, (things[k], things[m]))
            stages.append(self._pair_stage(pair, carried, grip, 0.01, self.wait(30, 100)))
        return stages

    def _crossed(self, k: int, m: int) -> bool:
        """Return whether to exchange two positions that are not in the hands' order."""
        return k > m and self.chance(0.7)

    def _carried(self, pair: tuple[HandSpec, HandSpec], held: tuple[str, str]) -> tuple[Part, Part]:
        """Return where two hands move that keep their distance, or to a height."""
        if self.levels and held[0] != held[1] and self.chance(0.4):
            name, up = self.levels[int(self.random.integers(len(self.levels)))], self.number(-0.1, 0.15)
            one, two = (Waypoint(thing, (0.0, 0.0, up), "entry", level=name) for thing in held)
            return (held[0], one), (held[1], two)
        kind = int(self.random.choice(3, p=(0.4, 0.2, 0.4)))
        if kind == 0:
            return self._from_here(pair, (0.0, 0.0, self.number(0.05, 0.3)))
        if kind == 1:
            return self._from_here(pair, add_scaled((0.0, 0.0, 0.0), self.axis(), self.number(0.05, 0.35)))
        thing, goal = self.thing(), self.thing()
        offset = self.jitter(0.01)
        if goal == thing or self.chance(0.2):
            lift = (offset[0], offset[1], round(offset[2] + self.number(0.05, 0.3), DECIMALS))
            place = Waypoint(thing, lift, "start")
        else:
            place = Waypoint(goal, offset)
        return (thing, place), (thing, place)

    def _from_here(self, pair: tuple[HandSpec, HandSpec], offset: Vector) -> tuple[Part, Part]:
        first, second = (hand.position for hand in pair)
        return (first, Waypoint(first, offset, "entry")), (second, Waypoint(second, offset, "entry"))

    def _pair_stage(
        self,
        pair: tuple[HandSpec, HandSpec],
        parts: tuple[Part, Part],
        grip: float,
        tolerance: float,
        decisions: int,
    ) -> Stage:
        """Return a stage in which two hands move at one speed."""
        speed = self.number(0.2, 1.0) if self.chance(0.4) else 1.0
        (tracked, place), (brought, there) = parts
        first = "" if pair[0].name == self.hands[0].name else pair[0].name
        others = (Move(pair[1].name, brought, there, grip, speed),)
        return Stage(tracked, place, grip, speed, tolerance, decisions, hand=first, others=others)


def primitives_for(
    spec: TaskSpec, random: np.random.Generator, pace: int, ranges: SeenRanges
) -> MotionPrimitives:
    """Return what draws programs for an environment.

    Args:
        spec: the environment.
        random: that all draws come from.
        pace: simulator steps that a decision stands for.
        ranges: of the numbers that conditions are about.
    """
    if spec.hands:
        return HandsPrimitives(spec, random, pace, ranges=ranges)
    return MotionPrimitives(spec, random, pace)


def _shared(name: str, other: str) -> int:
    """Return with how many of the same characters two names begin."""
    pairs = enumerate(zip(name, other, strict=False))
    return next((k for k, (a, b) in pairs if a != b), min(len(name), len(other)))
