"""Plainer versions of a program: without a stage, without small offsets and odd speeds, with rounder numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from trace_robot.program import Program, Stage
from trace_robot.program.data import HERE, Vector

SMALL = 0.01  # metres below which an offset may be left out
GRID = 0.005  # metres


def simpler(program: Program) -> Iterator[tuple[str, Program]]:
    """Yield what was made simpler, and the result, largest changes first."""
    stages = program.stages
    for i in range(len(stages)):
        if len(stages) > 1:
            rest = stages[:i] + stages[i + 1 :]
            yield f"stage {i + 1} left out", replace(program, stages=(replace(rest[0], hold=""), *rest[1:]))
    rounder = replace(
        program, stages=tuple(_rounded(stage) for stage in stages), gain=float(round(program.gain))
    )
    if rounder != program:
        yield "numbers rounded", rounder
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
    if stage.hold:
        yield "hold", replace(stage, hold="", slack=0.1)
    if stage.speed != 1.0:
        yield "speed", replace(stage, speed=1.0)
    if place.toward:
        yield "direction", replace(stage, place=replace(place, toward="", along=0.0))


def _rounded(stage: Stage) -> Stage:
    x, y, z = (round(round(part / GRID) * GRID, 4) for part in stage.place.offset)
    offset: Vector = (x, y, z)
    place = replace(stage.place, offset=offset, along=round(round(stage.place.along / GRID) * GRID, 4))
    patience = stage.patience if stage.patience < 10 else 5 * round(stage.patience / 5)
    close = max(round(stage.close, 3), 0.003) if stage.close > 0 else 0.0
    return replace(
        stage, place=place, speed=round(stage.speed, 1), close=close, patience=patience,
        gripper=1.0 if stage.gripper > 0 else -1.0, slack=round(stage.slack, 2),
    )  # fmt: skip
