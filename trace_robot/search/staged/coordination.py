"""Motion primitives and variation for any hands: two hands, turns, conditions, leads.

For environments that describe their hands. Those with the one hand that ``hands_of`` supposes are searched by
``primitives`` and ``mutation`` alone, so that stored runs of them resume.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from trace_robot.search.staged.controller import numbers_seen
from trace_robot.search.staged.mutation import Mutator
from trace_robot.search.staged.primitives import (
    CLOSED,
    DECIMALS,
    LONGEST,
    OPEN,
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

SYMMETRIES = (math.tau, math.pi, math.pi / 2)
STILL = 1e-6  # range below which a number says nothing
Part = tuple[str, Waypoint]  # what a hand brings, and where to


class SeenRanges:
    """The range of each number of ``numbers_seen``, from which thresholds are drawn."""

    def __init__(self, spec: TaskSpec) -> None:
        self.names = list(numbers_seen(spec).values())
        self.ranges: dict[int, tuple[float, float]] = {}

    def add(self, numbers: Mapping[str, float]) -> None:
        """Widen the ranges by the measures of an episode."""
        for k in range(len(self.names)):
            if f"seen_low_{k}" in numbers:
                low, high = numbers[f"seen_low_{k}"], numbers[f"seen_high_{k}"]
                before = self.ranges.get(k, (low, high))
                self.ranges[k] = (min(low, before[0]), max(high, before[1]))

    def changing(self) -> list[int]:
        """Return the numbers that were not always the same."""
        return [k for k, (low, high) in sorted(self.ranges.items()) if high - low > STILL]


@dataclass(frozen=True, slots=True)
class HandsPrimitives(MotionPrimitives):
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
        return self.named(int(self.random.integers(len(self.hands))), MotionPrimitives.primitive)

    def wander(self) -> list[Stage]:
        """Return one stage of any kind, of any hand."""
        return self.named(int(self.random.integers(len(self.hands))), MotionPrimitives.wander)

    def named(self, mover: int, draw: Callable[[MotionPrimitives], list[Stage]]) -> list[Stage]:
        """Return stages that are drawn for one hand, with its name.

        Args:
            mover: the number of the hand.
            draw: a primitive.
        """
        one = MotionPrimitives(self.spec, self.random, self.pace, mover)
        return [replace(stage, hand=self.hands[mover].name if mover else "") for stage in draw(one)]

    def turn(self) -> Turn:
        """Return the yaw of something, the line between two positions, or an angle."""
        own = {hand.yaw for hand in self.hands}
        angles = [
            p.name for p in self.spec.observation if p.unit == "rad" and p.size == 1 and p.name not in own
        ]
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

    def _with_turns(self, stages: list[Stage]) -> list[Stage]:
        """Give orientations to hands that turn, most often to their first stage."""
        begun: set[str] = set()
        result = []
        for stage in stages:
            if self.can_turn(stage) and self.chance(0.25 if stage.hand in begun else 0.7):
                stage = replace(stage, turn=self.turn())
            begun.add(stage.hand)
            others = tuple(
                replace(move, turn=self.turn()) if self.can_turn(move) and self.chance(0.4) else move
                for move in stage.others
            )
            result.append(replace(stage, others=others))
        return result

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
            stages.append(self._pair_stage(pair, self._carried(pair), grip, 0.01, self.wait(30, 100)))
        return stages

    def _crossed(self, k: int, m: int) -> bool:
        """Return whether to exchange two positions that are not in the hands' order."""
        return k > m and self.chance(0.7)

    def _carried(self, pair: tuple[HandSpec, HandSpec]) -> tuple[Part, Part]:
        """Return where two hands move that keep their distance."""
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


@dataclass(frozen=True, slots=True)
class HandsMutator(Mutator):
    """Variation operators with turns, conditions, leads and further hands."""

    primitives: HandsPrimitives

    def mutate(self, program: StagedProgram) -> StagedProgram:
        """Return ``program`` with a few random changes."""
        return self._fitting(Mutator.mutate(self, program))

    def _once(self, program: StagedProgram) -> StagedProgram:
        primitives = self.primitives
        changes: list[tuple[float, Callable[[StagedProgram], StagedProgram]]] = [
            (0.6, lambda each: Mutator._once(self, each)),
            (0.05, self._lead),
        ]
        if any(hand.turn >= 0 for hand in primitives.hands):
            changes.append((0.2, self._turn))
        if len(primitives.hands) > 1:
            changes.append((0.35, self._others))
        if primitives.ranges.changing():
            changes.append((0.15, self._conditions))
        total = sum(weight for weight, _ in changes)
        weights = [weight / total for weight, _ in changes]
        return changes[int(primitives.random.choice(len(changes), p=weights))][1](program)

    def _turn(self, program: StagedProgram) -> StagedProgram:
        """Give a move another orientation, none, or a slightly different one."""
        i, stage = self._pick(program)
        moves = list(stage.moves)
        k = int(self.primitives.random.integers(len(moves)))
        turn = moves[k].turn
        if turn is not None and self.primitives.chance(0.6):
            kind = int(self.primitives.random.integers(3))
            symmetry = SYMMETRIES[int(self.primitives.random.integers(3))]
            angle = round(turn.angle + float(self.primitives.random.normal(0, 0.2)), DECIMALS)
            quarter = round(turn.angle + math.pi / 2, DECIMALS)
            turn = (
                replace(turn, angle=angle),
                replace(turn, angle=quarter),
                replace(turn, symmetry=symmetry),
            )[kind]
        elif turn is not None and self.primitives.chance(0.4):
            turn = None
        elif self.primitives.can_turn(moves[k]):
            turn = self.primitives.turn()
        return _with_move(program, i, k, turn=turn)

    def _others(self, program: StagedProgram) -> StagedProgram:
        """Change what another hand does, alone or together with the first."""
        i, stage = self._pick(program)
        primitives = self.primitives
        if not stage.others or primitives.chance(0.1):
            return _with_stage(program, i, self._joined(stage))
        k = int(primitives.random.integers(len(stage.others)))
        move = stage.others[k]
        kind = int(primitives.random.choice(5, p=(0.35, 0.25, 0.2, 0.1, 0.1)))
        nudged = self._nudge(move.place.offset)
        if kind == 0:
            return _with_move(program, i, k + 1, place=replace(move.place, offset=nudged))
        if kind == 1:  # both by the same step, perhaps in a mirror
            dx, dy, dz = (b - a for a, b in zip(move.place.offset, nudged, strict=True))
            sx, sy = (-1.0 if primitives.chance(0.5) else 1.0 for _ in range(2))
            x, y, z = stage.place.offset
            first = (round(x + sx * dx, DECIMALS), round(y + sy * dy, DECIMALS), round(z + dz, DECIMALS))
            program = _with_move(program, i, k + 1, place=replace(move.place, offset=nudged))
            step = round(float(primitives.random.normal(0, 0.03)), DECIMALS)
            if move.place.toward and stage.place.toward:
                along = round(move.place.along + step, DECIMALS)
                program = _with_move(program, i, k + 1, place=replace(move.place, along=along))
                return _with_move(program, i, 0, place=replace(stage.place, along=along))
            return _with_move(program, i, 0, place=replace(stage.place, offset=first))
        if kind == 2:
            anchor = primitives.thing()
            return _with_move(program, i, k + 1, place=replace(move.place, anchor=anchor, when=self._when()))
        if kind == 3:
            grip = -stage.gripper
            return _with_move(_with_move(program, i, k + 1, gripper=grip), i, 0, gripper=grip)
        return _with_stage(program, i, replace(stage, others=stage.others[:k] + stage.others[k + 1 :]))

    def _joined(self, stage: Stage) -> Stage:
        """Return a stage of one hand with a move of another that does about the same."""
        primitives = self.primitives
        used = {move.hand or primitives.hands[0].name for move in stage.moves}
        free = [hand for hand in primitives.hands if hand.name not in used]
        if not free:
            return replace(stage, others=())
        hand = free[int(primitives.random.integers(len(free)))]
        own = stage.place.when == "entry" or primitives.chance(0.3)
        place = replace(stage.place, anchor=hand.position, when="entry") if own else stage.place
        if not own and primitives.chance(0.7):
            place = replace(place, anchor=primitives.thing(), offset=self._nudge(place.offset))
        return replace(
            stage, others=(*stage.others, Move(hand.name, hand.position, place, stage.gripper, stage.speed))
        )

    def _conditions(self, program: StagedProgram) -> StagedProgram:
        """Put a condition in, take one out, or draw another for a stage that has one."""
        i, stage = self._pick(program)
        if (stage.until or stage.expects) and self.primitives.chance(0.6):
            drop = self.primitives.chance(0.4)
            condition = None if drop else self.primitives.condition()
            if stage.until:
                return _with_stage(program, i, replace(stage, until=condition))
            return _with_stage(program, i, replace(stage, expects=condition, back=0 if drop else stage.back))
        return replace(program, stages=tuple(self.primitives.conditioned(list(program.stages))))

    def _lead(self, program: StagedProgram) -> StagedProgram:
        i, stage = self._pick(program)
        lead = stage.place.lead
        if lead and self.primitives.chance(0.6):
            lead = round(lead * self.primitives.number(0.6, 1.6), 1)
        else:
            lead = 0.0 if lead and self.primitives.chance(0.5) else self.primitives.lead()
        return _with_move(program, i, 0, place=replace(stage.place, lead=lead))

    def _fitting(self, program: StagedProgram) -> StagedProgram:
        """Return the program with moves that bring their own hand, not another one."""
        positions = {hand.name: hand.position for hand in self.primitives.hands}
        first = self.primitives.hands[0].name
        for i, stage in enumerate(program.stages):
            for k, move in enumerate(stage.moves):
                own, place = positions[move.hand or first], move.place
                tracked = own if move.tracked in positions.values() else move.tracked
                if place.when == "entry" and place.anchor in positions.values():
                    place = replace(place, anchor=own)
                program = _with_move(program, i, k, tracked=tracked, place=place)
        return program


def _with_stage(program: StagedProgram, i: int, stage: Stage) -> StagedProgram:
    return replace(program, stages=program.stages[:i] + (stage,) + program.stages[i + 1 :])


def _with_move(program: StagedProgram, i: int, k: int, **fields: object) -> StagedProgram:
    """Return the program with fields of a move changed, the stage's own for 0."""
    stage = program.stages[i]
    if k == 0:
        return _with_stage(program, i, replace(stage, **fields))  # type: ignore[arg-type]
    move = replace(stage.others[k - 1], **fields)  # type: ignore[arg-type]
    return _with_stage(program, i, replace(stage, others=stage.others[: k - 1] + (move,) + stage.others[k:]))
