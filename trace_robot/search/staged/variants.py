"""The constants of a program as one vector, for CMA-ES and for noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from trace_robot.search.staged import Stage, StagedProgram
from trace_robot.search.staged.mutation import DECIMALS
from trace_robot.search.staged.program import HERE, Vector
from trace_robot.spec import Array

TOLERANCE = 0.6  # units of noise that every constant must bear
METRE = 0.01  # an offset moves by about 1 cm a unit of the vector
LONGEST_PATIENCE = 200


def to_vector(program: StagedProgram) -> Array:
    """Return offsets (units of METRE), then along, speed, close, log patience of each stage, then log gain."""
    numbers: list[float] = []
    for stage in program.stages:
        numbers += [part / METRE for part in stage.place.offset]
        numbers += [stage.place.along / METRE, stage.speed / 0.1, stage.close / 0.005]
        numbers += [np.log(stage.patience) / 0.2]
    return np.array([*numbers, np.log(program.gain) / 0.15])


def from_vector(program: StagedProgram, vector: Array) -> StagedProgram:
    """Return ``program`` with the constants of ``vector``, within their bounds."""
    stages = []
    for stage, part in zip(program.stages, vector[:-1].reshape(-1, 7), strict=True):
        stages.append(_stage(stage, [float(number) for number in part]))
    gain = round(float(np.clip(np.exp(0.15 * vector[-1]), 2.0, 40.0)), DECIMALS)
    return replace(program, stages=tuple(stages), gain=gain)


def free(program: StagedProgram) -> Array:
    """Return which entries of the vector have an effect."""
    marks: list[bool] = []
    for stage in program.stages:
        waits = stage.close == 0.0
        marks += [True, True, True, bool(stage.place.toward), True, not waits, True]
    return np.array([*marks, True])


def shaken(program: StagedProgram, noise: Array, sigma: float) -> StagedProgram:
    """Return ``program`` with ``sigma`` units of ``noise``, at least as long as the vector, on its constants."""
    vector = to_vector(program)
    return from_vector(program, vector + sigma * noise[: len(vector)] * free(program))


def disturbed(program: StagedProgram, noise: Array, sigma: float) -> StagedProgram:
    """Return a pass of ``program`` shaken by ``sigma``, then one shaken by TOLERANCE: it must have margins for both.

    noise: at least twice as long as the vector; its end shakes the second pass.
    """
    first = tuple(replace(stage, hold="") for stage in shaken(program, noise, sigma).stages)
    second = shaken(program, noise[::-1], TOLERANCE)
    return replace(second, stages=first + second.stages, rounds=1)


def _stage(stage: Stage, part: list[float]) -> Stage:
    x, y, z, along, speed, close, patience = part
    place = stage.place
    offset = (round(METRE * x, DECIMALS), round(METRE * y, DECIMALS), round(METRE * z, DECIMALS))
    return replace(
        stage,
        place=replace(place, offset=offset, along=round(METRE * along, DECIMALS) if place.toward else 0.0),
        speed=round(min(max(0.1 * speed, 0.1), 1.0), DECIMALS),
        close=round(min(max(0.005 * close, 0.003), 0.1), DECIMALS) if stage.close > 0 else 0.0,
        patience=round(min(max(np.exp(0.2 * patience), 1.0), LONGEST_PATIENCE)),
    )


SMALL = 0.01  # metres below which an offset may be left out
GRID = 0.005  # metres


def simpler(program: StagedProgram) -> Iterator[tuple[str, StagedProgram]]:
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
