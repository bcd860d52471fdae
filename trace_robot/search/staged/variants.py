"""Variants of a program: other constants as one vector, under noise, simplified."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from trace_robot.search.staged.primitives import DECIMALS
from trace_robot.search.staged.program import HERE, Stage, StagedProgram, Vector
from trace_robot.spec import Array

# Units of the vector: what changes a program about as much as any other constant, so that one step size and one
# noise fit all of them.
METRE = 0.01  # an offset moves by 1 cm a unit
SPEED, TOLERANCE, DECISIONS, GAIN = 0.1, 0.005, 0.2, 0.15  # the last two of a logarithm: shares
MOST_DECISIONS = 200
RETRY_NOISE = 0.6  # units of noise that every constant must bear in the pass that makes up for a failed one
SMALL = 0.01  # metres below which an offset may be left out
GRID = 0.005  # metres to which offsets are rounded at the end


def to_vector(program: StagedProgram) -> Array:
    """Return the constants of a program as one vector.

    Returns:
        (7 * stages + 1,): of each stage the offset (3), along, speed, tolerance and log of the decisions, then
        the log of the gain, in units in which all of them matter about as much.
    """
    numbers: list[float] = []
    for stage in program.stages:
        numbers += [part / METRE for part in stage.place.offset]
        numbers += [stage.place.along / METRE, stage.speed / SPEED, stage.tolerance / TOLERANCE]
        numbers += [np.log(stage.max_decisions) / DECISIONS]
    return np.array([*numbers, np.log(program.gain) / GAIN])


def from_vector(program: StagedProgram, vector: Array) -> StagedProgram:
    """Return a program with other constants.

    Args:
        program: gives all but the constants; those that have no effect in it stay without.
        vector: as ``to_vector`` returns it; clipped to what makes sense.
    """
    stages = []
    for stage, part in zip(program.stages, vector[:-1].reshape(-1, 7), strict=True):
        stages.append(_stage(stage, [float(number) for number in part]))
    gain = round(float(np.clip(np.exp(GAIN * vector[-1]), 2.0, 40.0)), DECIMALS)
    return replace(program, stages=tuple(stages), gain=gain)


def free(program: StagedProgram) -> Array:
    """Return which entries of the vector have an effect, booleans of its shape."""
    marks: list[bool] = []
    for stage in program.stages:
        only_waits = stage.tolerance == 0.0
        marks += [True, True, True, bool(stage.place.toward), True, not only_waits, True]
    return np.array([*marks, True])


def disturbed(program: StagedProgram, noise: Array, sigma: float) -> StagedProgram:
    """Return two passes under noise, a test of the margins that a program has.

    The first pass shows how far off the constants may be; the second, under little noise and from wherever the
    first has left things, whether the program makes up for a failure.

    Args:
        program: to be tested.
        noise: standard normal, at least as long as the vector; its end disturbs the second pass.
        sigma: units of noise in the first pass.
    """
    first = tuple(replace(stage, grasp="") for stage in _shaken(program, noise, sigma).stages)
    second = _shaken(program, noise[::-1], RETRY_NOISE)
    return replace(second, stages=first + second.stages, passes=1)


def _shaken(program: StagedProgram, noise: Array, sigma: float) -> StagedProgram:
    """Return the program with ``sigma`` units of noise on its free constants."""
    vector = to_vector(program)
    return from_vector(program, vector + sigma * noise[: len(vector)] * free(program))


def _stage(stage: Stage, part: list[float]) -> Stage:
    x, y, z, along, speed, tolerance, decisions = part
    place = stage.place
    offset = (round(METRE * x, DECIMALS), round(METRE * y, DECIMALS), round(METRE * z, DECIMALS))
    return replace(
        stage,
        place=replace(place, offset=offset, along=round(METRE * along, DECIMALS) if place.toward else 0.0),
        speed=round(min(max(SPEED * speed, 0.1), 1.0), DECIMALS),
        tolerance=round(min(max(TOLERANCE * tolerance, 0.003), 0.1), DECIMALS)
        if stage.tolerance > 0
        else 0.0,
        max_decisions=round(min(max(np.exp(DECISIONS * decisions), 1.0), MOST_DECISIONS)),
    )


def simpler(program: StagedProgram) -> Iterator[tuple[str, StagedProgram]]:
    """Yield one-step simplifications, each with what it is, largest changes first."""
    stages = program.stages
    for i in range(len(stages)):
        if len(stages) > 1:
            rest = stages[:i] + stages[i + 1 :]
            yield f"stage {i + 1} left out", replace(program, stages=(replace(rest[0], grasp=""), *rest[1:]))
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
    if stage.grasp:
        yield "hold", replace(stage, grasp="", grasp_tolerance=0.1)
    if stage.speed != 1.0:
        yield "speed", replace(stage, speed=1.0)
    if place.toward:
        yield "direction", replace(stage, place=replace(place, toward="", along=0.0))


def _rounded(stage: Stage) -> Stage:
    """Return the stage with constants that a person might have written."""
    x, y, z = (round(round(part / GRID) * GRID, 4) for part in stage.place.offset)
    offset: Vector = (x, y, z)
    decisions = stage.max_decisions
    return replace(
        stage,
        place=replace(stage.place, offset=offset, along=round(round(stage.place.along / GRID) * GRID, 4)),
        speed=round(stage.speed, 1),
        tolerance=max(round(stage.tolerance, 3), 0.003) if stage.tolerance > 0 else 0.0,
        max_decisions=decisions if decisions < 10 else 5 * round(decisions / 5),
        gripper=1.0 if stage.gripper > 0 else -1.0,
        grasp_tolerance=round(stage.grasp_tolerance, 2),
    )
