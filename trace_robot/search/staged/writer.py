"""Writes a staged program as a controller that a person can read and go on with.

The text does the same float64 arithmetic in the same order as the interpreter, so that both give the same
float32 actions, bit for bit.
"""

from __future__ import annotations

import textwrap

from trace_robot.search.staged.program import (
    HERE,
    Stage,
    StagedProgram,
    Waypoint,
    check,
    names,
    sentence,
    short,
    where,
)
from trace_robot.spec import TaskSpec

LONGEST = 96  # characters of a docstring
IMPORTS = """\
import math

import numpy as np
"""
ACT = '''\
def act(observation, memory):
    """Return [x, y, z, gripper]: the next motion of the present stage of STAGES.

    A stage ends when it is close enough or its decisions are used up; after the last one, or when the
    object got lost, it starts over.
    """
    if not memory:
        memory.update(stage=0, waited=0, rounds=0, start=dict(observation), entry=dict(observation))
    stage = STAGES[memory["stage"]]
    error = stage["go"](observation, memory)
    lost = stage["hold"] and apart(observation[stage["hold"]], observation[HAND]) > stage["slack"]
    if lost or memory["waited"] >= stage["patience"] or math.hypot(*error) <= stage["close"]:
        following = len(STAGES) if lost else memory["stage"] + 1
        if following == len(STAGES):
            following = 0
            memory["rounds"] += 1
        memory.update(stage=following, waited=0, entry=dict(observation))
        stage = STAGES[following]
        error = stage["go"](observation, memory)
    memory["waited"] += 1
__REST__    motion = np.clip(__MOTION__)
    return [*motion, stage["gripper"]]
'''
STILL = """\
    if memory["rounds"] >= ROUNDS:
        return [0.0, 0.0, 0.0, 0.0]
"""
APART = '''\
def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))
'''
TOWARDS = '''\
def towards(here, there, metres):
    """The level step of so many metres from here towards there (away from it if negative)."""
    east, north = there[0] - here[0], there[1] - here[1]
    length = math.hypot(east, north)
    if length < 1e-6:
        return np.zeros(3)
    return np.array([metres / length * east, metres / length * north, 0.0])
'''


def write(program: StagedProgram, spec: TaskSpec) -> str:
    """Return the text of a policy file: the program's code, its ``act`` trainable.

    Raises PolicyError if the program does not fit the environment.
    """
    titles = ", ".join(title.replace("_", " ") for title in names(program))
    said = textwrap.fill(f"Found by search for {spec.name}: {titles}.", LONGEST)
    head = f'"""{said}\n"""\n\n' if "\n" in said else f'"""{said}"""\n\n'
    imports = f'{IMPORTS}\nfrom trace_robot import bundle\n\nCONTROL = "{spec.control}"\n'
    rest = (
        code(program, spec).removeprefix(IMPORTS).replace("\ndef act(", "\n@bundle(trainable=True)\ndef act(")
    )
    return head + imports + rest.removeprefix("\n")


def code(program: StagedProgram, spec: TaskSpec) -> str:
    """Return ``act`` with the imports, constants and helper functions around it."""
    check(program, spec)
    titles = names(program)
    blocks = [f"{IMPORTS}\n{_constants(program, spec, titles)}", APART.rstrip()]
    if any(stage.place.toward for stage in program.stages):
        blocks.append(TOWARDS.rstrip())
    blocks += [_function(title, stage) for title, stage in zip(titles, program.stages, strict=True)]
    blocks += [_table(program, titles), _act(program, spec).rstrip()]
    return "\n\n\n".join(blocks) + "\n"


def _constants(program: StagedProgram, spec: TaskSpec, titles: list[str]) -> str:
    lines = [f'HAND = "{spec.positions[0]}"']
    if spec.control == "pose":
        lines.append(f"LOW = np.array({list(spec.low[:3])!r})  # metres a decision")
        lines.append(f"HIGH = np.array({list(spec.high[:3])!r})  # metres a decision")
    else:
        lines.append(f"GAIN = {program.gain!r}  # action per metre of error")
        if set(spec.low[:3]) != {-1.0} or set(spec.high[:3]) != {1.0}:
            lines.append(f"LOW = np.array({list(spec.low[:3])!r})  # bounds of the action")
            lines.append(f"HIGH = np.array({list(spec.high[:3])!r})")
    if program.rounds:
        lines.append(f"ROUNDS = {program.rounds}  # passes after which it stays still")
    for title, stage in zip(titles, program.stages, strict=True):
        place = stage.place
        x, y, z = (float(number) for number in place.offset)
        if place.offset != HERE:
            lines.append(f"{title.upper()} = np.array([{x!r}, {y!r}, {z!r}])  # metres, from {place.anchor}")
        if place.toward:
            lines.append(f"{title.upper()}_ALONG = {place.along!r}  # metres, level, towards {place.toward}")
    return "\n".join(lines)


def _function(title: str, stage: Stage) -> str:
    place = stage.place
    shifted = "" if place.offset == HERE else f" + {title.upper()}"
    lines = [f"def {title}(observation, memory):", f'    """{_docstring(stage)}"""']
    if place.toward:
        lines.append(f"    here = {_seen(place)}")
        there = f'observation["{place.toward}"]'
        lines.append(f"    step = towards(here, {there}, {title.upper()}_ALONG)")
        lines.append(f"    target = here{shifted} + step")
    else:
        lines.append(f"    target = {_seen(place)}{shifted}")
    lines.append(f'    return target - observation["{stage.mover}"]')
    return "\n".join(lines)


def _docstring(stage: Stage) -> str:
    place = stage.place
    mover = short(stage.mover)
    text = f"From {mover} to {where(place)}."
    if len(text) > LONGEST:
        text = f"From {mover} to near {where(Waypoint(place.anchor, when=place.when))}."
    return text


def _seen(place: Waypoint) -> str:
    seen = "observation" if place.when == "now" else f'memory["{place.when}"]'
    return f'{seen}["{place.anchor}"]'


def _table(program: StagedProgram, titles: list[str]) -> str:
    head = (
        "# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;\n"
        "# speed: share of the action's bounds; hold: what must stay within slack metres of the hand\n"
    )
    rows = []
    for i, (title, stage) in enumerate(zip(titles, program.stages, strict=True), 1):
        said = f"{i}. {sentence(stage)}"
        rows += [f"    # {line}\n" for line in textwrap.wrap(said, LONGEST + 8)]
        hold = f'"hold": "{stage.hold}", "slack": {stage.slack!r}'
        rows.append(
            f'    {{"go": {title}, "gripper": {stage.gripper!r}, "close": {float(stage.close)!r}, '
            f'"patience": {stage.patience!r},\n     "speed": {stage.speed!r}, {hold}}},\n'
        )
    return head + "STAGES = [\n" + "".join(rows) + "]"


def _act(program: StagedProgram, spec: TaskSpec) -> str:
    error = "error" if spec.control == "pose" else "GAIN * error"
    plain = spec.control != "pose" and set(spec.low[:3]) == {-1.0} and set(spec.high[:3]) == {1.0}
    bounds = '-stage["speed"], stage["speed"]' if plain else 'stage["speed"] * LOW, stage["speed"] * HIGH'
    rest = STILL if program.rounds else ""
    return ACT.replace("__REST__", rest).replace("__MOTION__", f"{error}, {bounds}")
