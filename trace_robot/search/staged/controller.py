"""The interpreter of staged programs, and staged programs as a kind of controller."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from trace_robot.search.staged.constants import names
from trace_robot.search.staged.hands import Data, decide, is_machine, table
from trace_robot.search.staged.program import (
    HERE,
    STALLED,
    Stage,
    StagedProgram,
    Waypoint,
    check,
    relations,
    spiral_step,
    things,
)
from trace_robot.search.staged.writer import code, write
from trace_robot.spec import Array, TaskSpec, gripper_range, hands_of

if TYPE_CHECKING:
    from trace_robot.optimizers.problem import Candidate

Point = tuple[float, float, float]
MOST_NUMBERS = 24  # that conditions are about, for the measures of an episode are few
PLAIN = (4, 0, 3, 0.0, 1.0)  # size, motion, gripper and its range of the action that needs no placing
NEAR = 0.02  # metres from where something was at success, within which it counts as there
NOWHERE = (
    1e-6  # metres: between points nearer than this a direction is noise; the written text has the same number
)


class StagedRunner:
    """One episode of a program, called with the flat observation of each decision.

    Plain Python floats, a few microseconds a decision: arrays of three numbers would cost more than the
    arithmetic, and a search runs millions of decisions. ``writer`` writes the same operations in the same order,
    so that the text that is written out gives the same actions bit for bit; change both together.

    finished: the program has made its last pass and stays still from now on.
    """

    __slots__ = (
        "_bounds",
        "_entry",
        "_hand",
        "_layout",
        "_mark",
        "_pass",
        "_program",
        "_rests",
        "_scale",
        "_seen",
        "_spiral",
        "_stage",
        "_stalled",
        "_start",
        "_waited",
        "_where",
        "finished",
    )

    def __init__(self, program: StagedProgram, spec: TaskSpec) -> None:
        """Begin an episode, or raise PolicyError if the program does not fit."""
        check(program, spec)
        starts = {part.name: part.start for part in spec.observation}
        self._where = {name: starts[name] for name in spec.positions}
        hand = hands_of(spec)[0]
        self._hand = self._where[hand.position]
        first, layout = hand.motion, (spec.action_size, hand.motion, hand.gripper, *gripper_range(hand, spec))
        self._layout = None if layout == PLAIN else layout
        self._program = program
        self._scale = 1.0 if spec.control == "pose" else program.gain
        self._bounds = tuple(zip(spec.low[first : first + 3], spec.high[first : first + 3], strict=True))
        self._start: list[float] = []
        self._entry: list[float] = []
        self._seen: list[float] = []
        self._mark: Point | None = None
        self._spiral = (0.0, 0.0)
        self._stage = self._waited = self._pass = self._rests = self._stalled = 0
        self.finished = False

    def __call__(self, observation: Array) -> npt.NDArray[np.float32]:
        """Return the action, (act_dim,) float32."""
        program = self._program
        seen: list[float] = observation.tolist()
        if program.sight:
            self._look(seen)
        if not self._start:
            self._start = self._entry = seen
        stages = program.stages
        stage = stages[self._stage]
        x, y, z = self._stage_error(stage, seen)
        if program.rest is not None and self._resting(seen):
            if program.rest.still:
                return self._action((0.0, 0.0, 0.0, stage.gripper))
            return self._motion(stage, x, y, z)
        if stage.grasp and self._distance_to_hand(stage.grasp, seen) > stage.grasp_tolerance:
            self._enter(len(stages), seen)
        elif (
            self._waited >= stage.max_decisions
            or math.hypot(x, y, z) <= stage.tolerance
            or (stage.guard and self._stuck(stage, seen))
        ):
            self._enter(self._stage + 1, seen)
        if self._waited == 0:
            stage = stages[self._stage]
            x, y, z = self._stage_error(stage, seen)
        self._waited += 1
        if self.finished:
            return np.zeros(self._layout[0] if self._layout else 4, np.float32)
        return self._motion(stage, x, y, z)

    def _motion(self, stage: Stage, x: float, y: float, z: float) -> npt.NDArray[np.float32]:
        """Return the action of a stage for the error of what it tracks, metres."""
        scale, speed = self._scale, stage.speed
        (low_x, high_x), (low_y, high_y), (low_z, high_z) = self._bounds
        return self._action(
            (
                min(max(scale * x, speed * low_x), speed * high_x),
                min(max(scale * y, speed * low_y), speed * high_y),
                min(max(scale * z, speed * low_z), speed * high_z),
                stage.gripper,
            )
        )

    def _action(self, numbers: tuple[float, float, float, float]) -> npt.NDArray[np.float32]:
        """Return motion and gripper where the action has them, zeros elsewhere."""
        if self._layout is None:
            return np.array(numbers, np.float32)
        size, motion, gripper, middle, half = self._layout
        action = np.zeros(size, np.float32)
        action[motion : motion + 3] = numbers[:3]
        if gripper >= 0:
            action[gripper] = middle + half * numbers[3] if middle else half * numbers[3]
        return action

    def _look(self, seen: list[float]) -> None:
        """Put the moving averages of the positions into what is seen, but for the hand's."""
        before = self._seen or seen
        for start in self._where.values():
            if start != self._hand:
                for i in range(start, start + 3):
                    seen[i] = before[i] + self._program.sight * (seen[i] - before[i])
        self._seen = seen

    def _resting(self, seen: list[float]) -> bool:
        """Return whether the program rests at this decision."""
        rest = self._program.rest
        if rest is None:
            return False
        if math.hypot(*self._error(rest.tracked, rest.place, seen)) <= rest.tolerance:
            self._rests = rest.lasts
        elif self._rests > 0:
            self._rests -= 1
        return self._rests > 0

    def _stuck(self, stage: Stage, seen: list[float]) -> bool:
        """Return whether a guarded move has come no further for STALLED decisions."""
        i = self._where[stage.tracked]
        mark = self._mark
        if (
            mark is None
            or math.hypot(seen[i] - mark[0], seen[i + 1] - mark[1], seen[i + 2] - mark[2]) > stage.guard
        ):
            self._mark = (seen[i], seen[i + 1], seen[i + 2])
            self._stalled = 0
        else:
            self._stalled += 1
        return self._stalled >= STALLED

    def _enter(self, stage: int, seen: list[float]) -> None:
        """Begin a stage, the first one in another pass after the last."""
        if stage == len(self._program.stages):
            stage = 0
            self._pass += 1
            self._spiral = spiral_step(self._program.spiral, self._pass)
            self.finished = 0 < self._program.passes <= self._pass
        self._stage, self._waited, self._entry, self._mark = stage, 0, seen, None

    def _stage_error(self, stage: Stage, seen: list[float]) -> Point:
        x, y, z = self._point(stage.place, seen)
        i = self._where[stage.tracked]
        if self._program.spiral and i == self._hand:
            east, north = self._spiral
            x, y, z = x + east, y + north, z + 0.0  # as the text adds a step of three numbers
        return x - seen[i], y - seen[i + 1], z - seen[i + 2]

    def _error(self, tracked: str, place: Waypoint, seen: list[float]) -> Point:
        x, y, z = self._point(place, seen)
        i = self._where[tracked]
        return x - seen[i], y - seen[i + 1], z - seen[i + 2]

    def _point(self, place: Waypoint, seen: list[float]) -> Point:
        remembered = seen if place.when == "now" else self._entry if place.when == "entry" else self._start
        i = self._where[place.anchor]
        x, y, z = remembered[i : i + 3]
        if place.offset != HERE:
            dx, dy, dz = place.offset
            x, y, z = x + dx, y + dy, z + dz
        if not place.toward:
            return x, y, z
        j = self._where[place.toward]
        east, north = seen[j] - remembered[i], seen[j + 1] - remembered[i + 1]
        length = math.hypot(east, north)
        if length < NOWHERE:
            return x + 0.0, y + 0.0, z + 0.0  # as the text adds a zero step: -0.0 becomes 0.0 there too
        share = place.along / length
        return x + share * east, y + share * north, z + 0.0

    def _distance_to_hand(self, name: str, seen: list[float]) -> float:
        i, j = self._where[name], self._hand
        return math.hypot(seen[i] - seen[j], seen[i + 1] - seen[j + 1], seen[i + 2] - seen[j + 2])


class HandsRunner:
    """One episode of a program for any hands, called with flat observations.

    finished: the program has made its last pass and stays still from now on.
    """

    def __init__(self, program: StagedProgram, spec: TaskSpec) -> None:
        """Begin an episode, or raise PolicyError if the program does not fit."""
        check(program, spec)
        self._table, self._memory = table(program, spec), Data()
        self._fields = [(part.name, part.start, part.stop) for part in spec.observation]
        self._passes = program.passes
        self.finished = False

    def __call__(self, observation: Array) -> npt.NDArray[np.float32]:
        """Return the action, (act_dim,) float32."""
        # Plain floats and lists: the same functions take arrays, which cost several times as much here.
        seen: list[float] = observation.tolist()
        named = {name: seen[a] if b == a + 1 else seen[a:b] for name, a, b in self._fields}
        action = decide(self._table, named, self._memory)
        self.finished = 0 < self._passes <= self._memory["rounds"]
        return np.array(action, np.float32)


def run(program: StagedProgram, spec: TaskSpec) -> StagedRunner | HandsRunner:
    """Return the interpreter that a program needs, at the beginning of an episode.

    Args:
        program: any.
        spec: the environment.

    Raises:
        PolicyError: if the program does not fit the environment.
    """
    return (HandsRunner if is_machine(program, spec) else StagedRunner)(program, spec)


@dataclass(frozen=True, slots=True)
class StagedController:
    """A staged program behind the protocol ``search.controller.DataController``."""

    program: StagedProgram
    kind: ClassVar[str] = "staged"

    @classmethod
    def recognizes(cls, data: Mapping[str, Any]) -> bool:
        """Return whether the data has stages."""
        return "stages" in data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> StagedController:
        """Return the controller, or raise PolicyError."""
        return cls(StagedProgram.from_data(data))

    def to_data(self) -> dict[str, Any]:
        return self.program.to_data()

    def start(self, spec: TaskSpec) -> StagedRunner | HandsRunner:
        """Begin an episode, or raise PolicyError."""
        return run(self.program, spec)

    def measures(
        self, spec: TaskSpec, observations: Array, rewards: Array, infos: Mapping[str, float]
    ) -> dict[str, float]:
        """Return what ``measure`` gives, and with hold what ``measure_success`` gives.

        Args:
            spec: the environment.
            observations: (T + 1, observation_size), flat.
            rewards: (T,).
            infos: of the last step.
        """
        numbers = measure(spec, observations, rewards)
        if "first_success_step" in infos:
            numbers.update(measure_success(spec, observations, infos))
        return numbers

    def write(self, spec: TaskSpec) -> str:
        """Return a whole policy file."""
        return write(self.program, spec)

    def write_out(self, candidate: Candidate, spec: TaskSpec) -> Candidate:
        """Return the candidate with the program's code as ``act``, stages in the note.

        Args:
            candidate: one whose ``program`` is this one as data.
            spec: the environment that the code is for.
        """
        stages = ", ".join(title.replace("_", " ") for title in names(self.program, spec))
        note = f"{candidate.note}: {stages}" if candidate.note else stages
        values = {"act": code(self.program, spec)}
        return replace(candidate, values=values, program=None, seeds=None, note=note)


def measure(spec: TaskSpec, observations: Array, rewards: Array) -> dict[str, float]:
    """Return the few numbers of an episode by which the search ranks programs.

    Args:
        spec: the environment.
        observations: (T + 1, observation_size), flat.
        rewards: (T,).

    Returns:
        best, last, mean: of the rewards. moved_<position>, raised_<position>: how far a position other than
        a hand's went from where it started, and how far up, metres; missing if T is 0.
        With explicit hands also seen_low_<k>, seen_high_<k>: the range of each of ``numbers_seen``.
    """
    if not len(rewards):
        return {"best": 0.0, "last": 0.0, "mean": 0.0}
    numbers = {"best": float(rewards.max()), "last": float(rewards[-1]), "mean": float(rewards.mean())}
    starts = {part.name: part.start for part in spec.observation}
    for name in things(spec):
        i = starts[name]
        track = observations[:, i : i + 3] - observations[0, i : i + 3]
        numbers[f"moved_{name}"] = float(np.sqrt((track * track).sum(axis=1)).max())
        numbers[f"raised_{name}"] = float(track[:, 2].max())
    for k, i in enumerate(numbers_seen(spec) if spec.hands else ()):
        numbers[f"seen_low_{k}"] = float(observations[:, i].min())
        numbers[f"seen_high_{k}"] = float(observations[:, i].max())
    return numbers


def numbers_seen(spec: TaskSpec) -> dict[int, tuple[str, int]]:
    """Return the numbers of conditions, by index: a field and which of its numbers."""
    fields = [part for part in spec.observation if part.name not in spec.positions]
    pairs = [(part.start + i, (part.name, i)) for part in fields for i in range(part.size)]
    return dict(pairs[:MOST_NUMBERS])


def measure_success(spec: TaskSpec, observations: Array, infos: Mapping[str, float]) -> dict[str, float]:
    """Return where positions were at success, and whether they were there before.

    The moment is the middle of the longest success as far as it is known, since its first step is at an edge.

    Args:
        spec: the environment.
        observations: (T + 1, observation_size), flat.
        infos: of the last step: "first_success_step" and "longest_success_steps", in simulator steps.

    Returns:
        rest_first, rest_longest: when the first success came and how long the longest lasted, as shares of the
        longest episode. Of each of ``relations``, by its number k: rest_k_x, rest_k_y, rest_k_z: the position as
        seen from the other, metres; rest_k_from: how far from that it was at first, metres; rest_k_near: the share
        of the time before success in which it was within NEAR of that. All are NaN without a success.
    """
    decisions = len(observations) - 1
    kept = int(infos["longest_success_steps"])
    first = int(infos["first_success_step"])
    done = first >= 0 and decisions > 0
    # A decision may be several simulator steps, about as many each.
    pace = decisions / max(1.0, infos.get("steps", decisions)) if done else 0.0
    entered = max(1, min(decisions, round(first * pace))) if done else 0
    moment = min(decisions, entered + int((kept - 1) / 2 * pace)) if done else 0
    numbers = {"rest_first": math.nan, "rest_longest": math.nan}
    if done:
        numbers["rest_first"] = min(1.0, entered / spec.horizon)
        numbers["rest_longest"] = min(1.0, kept / (spec.simulator_steps or spec.horizon))
    starts = {part.name: part.start for part in spec.observation}
    for k, (tracked, place) in enumerate(relations(spec)):
        i, j = starts[tracked], starts[place.anchor]
        others = observations[:1] if place.when == "start" else observations
        seen = observations[:, i : i + 3] - others[:, j : j + 3]
        there = seen[moment] if done else np.full(3, math.nan)
        away = np.sqrt(((seen[: max(1, entered)] - there) ** 2).sum(axis=1))
        numbers.update(zip((f"rest_{k}_x", f"rest_{k}_y", f"rest_{k}_z"), map(float, there), strict=True))
        numbers[f"rest_{k}_from"] = float(away[0])
        numbers[f"rest_{k}_near"] = float((away <= NEAR).mean()) if done else math.nan
    return numbers
