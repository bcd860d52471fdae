"""Runs a staged program on flat observations: plain float arithmetic, a few microseconds a decision."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from trace_robot.search.staged.program import HERE, Stage, StagedProgram, Waypoint, check
from trace_robot.spec import Array, TaskSpec

Point = tuple[float, float, float]
NOWHERE = 1e-6  # metres; nearer than this a direction means nothing


class StagedRunner:
    """One episode of a program; call it with the flat observation of each decision.

    finished: the program has made its last pass and stays still from now on.
    """

    __slots__ = (
        "_bounds",
        "_entry",
        "_hand",
        "_program",
        "_round",
        "_scale",
        "_stage",
        "_start",
        "_waited",
        "_where",
        "finished",
    )

    def __init__(self, program: StagedProgram, spec: TaskSpec) -> None:
        check(program, spec)
        starts = {part.name: part.start for part in spec.observation}
        self._where = {name: starts[name] for name in spec.positions}
        self._hand = self._where[spec.positions[0]]
        self._program = program
        self._scale = 1.0 if spec.control == "pose" else program.gain
        self._bounds = tuple(zip(spec.low[:3], spec.high[:3], strict=True))
        self._start: list[float] = []
        self._entry: list[float] = []
        self._stage = self._waited = self._round = 0
        self.finished = False

    def __call__(self, observation: Array) -> npt.NDArray[np.float32]:
        seen: list[float] = observation.tolist()
        if not self._start:
            self._start = self._entry = seen
        stages = self._program.stages
        stage = stages[self._stage]
        x, y, z = self._error(stage, seen)
        if stage.hold and self._apart(stage.hold, seen) > stage.slack:
            self._enter(len(stages), seen)
        elif self._waited >= stage.patience or math.hypot(x, y, z) <= stage.close:
            self._enter(self._stage + 1, seen)
        if self._waited == 0:
            stage = stages[self._stage]
            x, y, z = self._error(stage, seen)
        self._waited += 1
        if self.finished:
            return np.zeros(4, np.float32)
        scale, speed = self._scale, stage.speed
        (low_x, high_x), (low_y, high_y), (low_z, high_z) = self._bounds
        return np.array(
            (
                min(max(scale * x, speed * low_x), speed * high_x),
                min(max(scale * y, speed * low_y), speed * high_y),
                min(max(scale * z, speed * low_z), speed * high_z),
                stage.gripper,
            ),
            np.float32,
        )

    def _enter(self, stage: int, seen: list[float]) -> None:
        if stage == len(self._program.stages):
            stage = 0
            self._round += 1
            self.finished = 0 < self._program.rounds <= self._round
        self._stage, self._waited, self._entry = stage, 0, seen

    def _error(self, stage: Stage, seen: list[float]) -> Point:
        x, y, z = self._point(stage.place, seen)
        i = self._where[stage.mover]
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
            return x + 0.0, y + 0.0, z + 0.0
        share = place.along / length
        return x + share * east, y + share * north, z + 0.0

    def _apart(self, name: str, seen: list[float]) -> float:
        i, j = self._where[name], self._hand
        return math.hypot(seen[i] - seen[j], seen[i + 1] - seen[j + 1], seen[i + 2] - seen[j + 2])


def start(program: StagedProgram, spec: TaskSpec) -> StagedRunner:
    """Return what maps the flat observation of each decision of one episode to its action, float32.

    Raises PolicyError if the program does not fit the environment.
    """
    return StagedRunner(program, spec)
