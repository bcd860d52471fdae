"""Variation operators for staged programs: mutation and crossover, of one hand or any."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from trace_robot.search.staged.constants import with_move, with_stage
from trace_robot.search.staged.coordination import SYMMETRIES, HandsPrimitives
from trace_robot.search.staged.primitives import (
    CLOSED,
    DECIMALS,
    LONGEST,
    OPEN,
    MotionPrimitives,
    RestProposals,
)
from trace_robot.search.staged.program import Move, Stage, StagedProgram, Vector, When

FINE = 0.004  # metres, of a small step aside


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
        return with_stage(
            program, i, replace(stage, guard=0.0 if drop else self.primitives.number(0.002, 0.01))
        )

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
        return with_stage(program, i, stage)

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
        return with_stage(program, i, stage)

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
            (0.08, self._centre),
            (0.06, self._end),
        ]
        if primitives.levels:
            levelled = any(stage.place.level for stage in program.stages)
            changes.append((0.25 if levelled else 0.06, self._level))
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
        return with_move(program, i, k, turn=turn)

    def _others(self, program: StagedProgram) -> StagedProgram:
        """Change what another hand does, alone or together with the first."""
        i, stage = self._pick(program)
        primitives = self.primitives
        if not stage.others or primitives.chance(0.1):
            return with_stage(program, i, self._joined(stage))
        k = int(primitives.random.integers(len(stage.others)))
        move = stage.others[k]
        kind = int(primitives.random.choice(5, p=(0.35, 0.25, 0.2, 0.1, 0.1)))
        nudged = self._nudge(move.place.offset)
        if kind == 0:
            return with_move(program, i, k + 1, place=replace(move.place, offset=nudged))
        if kind == 1:  # both by the same step, perhaps in a mirror
            dx, dy, dz = (b - a for a, b in zip(move.place.offset, nudged, strict=True))
            sx, sy = (-1.0 if primitives.chance(0.5) else 1.0 for _ in range(2))
            x, y, z = stage.place.offset
            first = (round(x + sx * dx, DECIMALS), round(y + sy * dy, DECIMALS), round(z + dz, DECIMALS))
            program = with_move(program, i, k + 1, place=replace(move.place, offset=nudged))
            step = round(float(primitives.random.normal(0, 0.03)), DECIMALS)
            if move.place.toward and stage.place.toward:
                along = round(move.place.along + step, DECIMALS)
                program = with_move(program, i, k + 1, place=replace(move.place, along=along))
                return with_move(program, i, 0, place=replace(stage.place, along=along))
            return with_move(program, i, 0, place=replace(stage.place, offset=first))
        if kind == 2:
            anchor = primitives.thing()
            return with_move(program, i, k + 1, place=replace(move.place, anchor=anchor, when=self._when()))
        if kind == 3:
            grip = -stage.gripper
            return with_move(with_move(program, i, k + 1, gripper=grip), i, 0, gripper=grip)
        return with_stage(program, i, replace(stage, others=stage.others[:k] + stage.others[k + 1 :]))

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
                return with_stage(program, i, replace(stage, until=condition))
            return with_stage(program, i, replace(stage, expects=condition, back=0 if drop else stage.back))
        return replace(program, stages=tuple(self.primitives.conditioned(list(program.stages))))

    def _lead(self, program: StagedProgram) -> StagedProgram:
        i, stage = self._pick(program)
        lead = stage.place.lead
        if lead and self.primitives.chance(0.6):
            lead = round(lead * self.primitives.number(0.6, 1.6), 1)
        else:
            lead = 0.0 if lead and self.primitives.chance(0.5) else self.primitives.lead()
        return with_move(program, i, 0, place=replace(stage.place, lead=lead))

    def _centre(self, program: StagedProgram) -> StagedProgram:
        """Take a move straight above or below its anchor, or a little aside."""
        i, stage = self._pick(program)
        k = int(self.primitives.random.integers(len(stage.moves)))
        place = stage.moves[k].place
        if self.primitives.chance(0.5):
            return with_move(program, i, k, place=replace(place, offset=(0.0, 0.0, place.offset[2])))
        return with_move(program, i, k, place=replace(place, offset=self._nudge(place.offset, FINE)))

    def _end(self, program: StagedProgram) -> StagedProgram:
        """Let go at the end, or let the last stage last, or no longer."""
        stages = list(program.stages)
        if self.primitives.chance(0.5):
            return replace(program, stages=tuple(self.primitives.finished(stages)))
        last = stages[-1]
        over = replace(last, tolerance=0.01) if last.tolerance == 0.0 else self.primitives.lasting(last)
        return replace(program, stages=(*stages[:-1], over))

    def _level(self, program: StagedProgram) -> StagedProgram:
        """Take a stage to a height that a number tells, another distance from it, or none."""
        levelled = [k for k, stage in enumerate(program.stages) if stage.place.level]
        if not levelled or self.primitives.chance(0.15):
            i, stage = self._pick(program)
            return with_stage(program, i, self.primitives.levelled(stage))
        i = levelled[int(self.primitives.random.integers(len(levelled)))]
        stage, drop = program.stages[i], self.primitives.chance(0.15)
        step = float(
            self.primitives.random.normal(0.0, float(self.primitives.random.choice((0.01, 0.03, 0.06))))
        )
        for k, move in enumerate(stage.moves):
            x, y, z = move.place.offset
            place = replace(move.place, offset=(x, y, round(z + step, DECIMALS)))
            place = replace(move.place, level="") if drop else place
            program = with_move(program, i, k, place=place)
        return program

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
                program = with_move(program, i, k, tracked=tracked, place=place)
        return program


def mutator_for(primitives: MotionPrimitives, rests: RestProposals | None, worlds: bool) -> Mutator:
    """Return what varies the programs that ``primitives`` draws.

    Args:
        primitives: of one hand, or of any.
        rests: proposals of rest, where success must last.
        worlds: whether worlds differ.
    """
    if isinstance(primitives, HandsPrimitives):
        return HandsMutator(primitives, rests, worlds)
    return Mutator(primitives, rests, worlds)
