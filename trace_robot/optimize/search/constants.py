"""The constants of a program as one vector, for CMA-ES and for noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trace_robot.optimize.search.moves import DECIMALS
from trace_robot.program import Program, Stage
from trace_robot.spec import Array

TOLERANCE = 0.6  # units of noise that every constant must bear
METRE = 0.01  # an offset moves by about 1 cm a unit of the vector
LONGEST_PATIENCE = 200


def to_vector(program: Program) -> Array:
    """Return offsets (units of METRE), then along, speed, close, log patience of each stage, then log gain."""
    numbers: list[float] = []
    for stage in program.stages:
        numbers += [part / METRE for part in stage.place.offset]
        numbers += [stage.place.along / METRE, stage.speed / 0.1, stage.close / 0.005]
        numbers += [np.log(stage.patience) / 0.2]
    return np.array([*numbers, np.log(program.gain) / 0.15])


def from_vector(program: Program, vector: Array) -> Program:
    """Return ``program`` with the constants of ``vector``, within their bounds."""
    stages = []
    for stage, part in zip(program.stages, vector[:-1].reshape(-1, 7), strict=True):
        stages.append(_stage(stage, [float(number) for number in part]))
    gain = round(float(np.clip(np.exp(0.15 * vector[-1]), 2.0, 40.0)), DECIMALS)
    return replace(program, stages=tuple(stages), gain=gain)


def free(program: Program) -> Array:
    """Return which entries of the vector have an effect."""
    marks: list[bool] = []
    for stage in program.stages:
        waits = stage.close == 0.0
        marks += [True, True, True, bool(stage.place.toward), True, not waits, True]
    return np.array([*marks, True])


def shaken(program: Program, noise: Array, sigma: float) -> Program:
    """Return ``program`` with ``sigma`` units of ``noise``, at least as long as the vector, on its constants."""
    vector = to_vector(program)
    return from_vector(program, vector + sigma * noise[: len(vector)] * free(program))


def disturbed(program: Program, noise: Array, sigma: float) -> Program:
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
