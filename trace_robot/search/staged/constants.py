"""Constants of a staged program: as a vector, their bounds in its text, ranges of thresholds; its stages' names.

A search asks for programs without bounds, and journals hold hashes of what it asks for. So they are added to the file
that is kept, in which no value and no statement that runs is another.
"""

from __future__ import annotations

import ast
import math
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from trace_robot.search.staged.hands import short
from trace_robot.search.staged.primitives import DECIMALS, clipped_rest
from trace_robot.search.staged.program import Move, Stage, StagedProgram, Turn, Waypoint
from trace_robot.spec import Array, TaskSpec, has_gripper

WIDTH = 96  # characters of a docstring, which with its indent and quotes stays within a line of code
DIRECTIONS = (("left", "right"), ("back", "forward"), ("lower", "lift"))
ABOVE = 0.04  # metres beside its anchor from which a place is named by the side it is on
REACH = 0.5  # metres from its anchor within which a place is looked for, more where it is further away
GAINS, SPEEDS = "Bounds(1.0, 40.0)", "Bounds(0.1, 1.0)"  # about those that the search itself keeps to
GRIPPER, NEAR, SLACK = "Bounds(-1.0, 1.0)", "Bounds(0.0, 0.1)", "Bounds(0.01, 0.5)"
STAGE_BOUNDS = {"gripper": GRIPPER, "close": NEAR, "speed": SPEEDS, "slack": SLACK, "guard": NEAR}
# Of a program as a table. The action's bounds and what opens a gripper are facts of the robot.
TABLE_BOUNDS = {
    **dict.fromkeys(("low", "high", "middle", "half"), "fixed"),
    "gain": GAINS,
    "gripper": GRIPPER,
    "speed": SPEEDS,
    "tolerance": SLACK,
    "grasp_tolerance": SLACK,
    "guard": NEAR,
    "sight": SPEEDS,
    "spiral": NEAR,
}
PLAIN = {
    "GAIN": f"float, {GAINS}",
    "LOW": "np.ndarray, fixed",
    "HIGH": "np.ndarray, fixed",
    "SIGHT": "float, Bounds(0.01, 1.0)",
    "SPIRAL": f"float, {NEAR}",
    "ENOUGH": "float, Bounds(0.0, 1.0)",
    "TURNED": "float, fixed",
    "TURN": "float, fixed",
}
ASSIGNED = re.compile(r"^([A-Z][A-Z0-9_]*) = (.*)$", re.MULTILINE)
IMPORTED = re.compile(r"^from (typing|trace_robot) import (\w+(?:, \w+)*)$", re.MULTILINE)
# Units of the vector: what changes a program about as much as any other constant, so that one step size and one
# noise fit all of them.
METRE = 0.01  # an offset moves by 1 cm a unit
SPEED, TOLERANCE, DECISIONS, GAIN = 0.1, 0.005, 0.2, 0.15  # the last two of a logarithm: shares
RADIAN, LEAD = 0.1, 1.0  # an angle moves by 0.1 rad a unit, a lead by one decision
REST_METRE = 0.005  # a rest is finer than a motion: it must tell a task that is done from one that nearly is
MOST_DECISIONS = 200
STILL = 1e-6  # range below which a number says nothing
RETRY_NOISE = 0.6  # units of noise that every constant must bear in the pass that makes up for a failed one


def to_vector(program: StagedProgram) -> Array:
    """Return the constants of a program as one vector.

    Returns:
        (7 * stages + 1,): of each stage the offset (3), along, speed, tolerance and log of the decisions, then
        the log of the gain, in units in which all of them matter about as much. With a rest four more: its
        offset and its tolerance. Then what ``_with_later`` goes through.
    """
    numbers: list[float] = []
    for stage in program.stages:
        numbers += [part / METRE for part in stage.place.offset]
        numbers += [stage.place.along / METRE, stage.speed / SPEED, stage.tolerance / TOLERANCE]
        numbers += [np.log(stage.max_decisions) / DECISIONS]
    numbers.append(np.log(program.gain) / GAIN)
    if program.rest is not None:
        numbers += [part / REST_METRE for part in program.rest.place.offset]
        numbers.append(program.rest.tolerance / REST_METRE)

    def _note(value: float, unit: float) -> float:
        numbers.append(value / unit)
        return value

    _with_later(program, _note)
    return np.array(numbers)


def _with_later(program: StagedProgram, change: Callable[[float, float], float]) -> StagedProgram:
    """Change the leads, angles and places of further hands of a program.

    ``change`` is called with each of them and its unit.
    """

    def _turned(turn: Turn | None) -> Turn | None:
        return turn and replace(turn, angle=change(turn.angle, RADIAN))

    def _moved(move: Move) -> Move:
        x, y, z = (change(part, METRE) for part in move.place.offset)
        along = change(move.place.along, METRE) if move.place.toward else 0.0
        place = replace(move.place, offset=(x, y, z), along=along)
        return replace(move, place=place, turn=_turned(move.turn))

    def _staged(stage: Stage) -> Stage:
        lead = change(stage.place.lead, LEAD) if stage.place.lead else 0.0
        place, others = replace(stage.place, lead=lead), tuple(map(_moved, stage.others))
        return replace(stage, place=place, turn=_turned(stage.turn), others=others)

    return replace(program, stages=tuple(map(_staged, program.stages)))


def from_vector(program: StagedProgram, vector: Array) -> StagedProgram:
    """Return a program with other constants.

    Args:
        program: gives all but the constants; those that have no effect in it stay without.
        vector: as ``to_vector`` returns it; clipped to what makes sense.
    """
    stages = []
    end = 7 * len(program.stages)
    for stage, part in zip(program.stages, vector[:end].reshape(-1, 7), strict=True):
        stages.append(_stage(stage, [float(number) for number in part]))
    gain = round(float(np.clip(np.exp(GAIN * vector[end]), 2.0, 40.0)), DECIMALS)
    rest = program.rest
    if rest is not None:
        x, y, z, tolerance = (float(REST_METRE * number) for number in vector[end + 1 : end + 5])
        rest = clipped_rest(rest, (x, y, z), tolerance)
    program = replace(program, stages=tuple(stages), gain=gain, rest=rest)
    later = iter(vector[end + 1 if rest is None else end + 5 :])
    return _with_later(program, lambda _, unit: round(unit * float(next(later)), DECIMALS))


def free(program: StagedProgram) -> Array:
    """Return which entries of the vector have an effect, booleans of its shape."""
    marks: list[bool] = []
    for stage in program.stages:
        only_waits = stage.tolerance == 0.0
        marks += [True, True, True, bool(stage.place.toward), True, not only_waits, True]
    marks += [True] * (1 if program.rest is None else 5)
    return np.array(marks + [True] * (len(to_vector(program)) - len(marks)))


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


def with_stage(program: StagedProgram, i: int, stage: Stage) -> StagedProgram:
    """Return the program with another stage.

    Args:
        program: to be changed.
        i: place of the stage.
        stage: in its place.
    """
    return replace(program, stages=program.stages[:i] + (stage,) + program.stages[i + 1 :])


def with_move(program: StagedProgram, i: int, k: int, **fields: object) -> StagedProgram:
    """Return the program with fields of a move changed.

    Args:
        program: to be changed.
        i: place of the stage.
        k: place of the move among those of the stage, whose own is the first.
        fields: of the move, by name.
    """
    stage = program.stages[i]
    if k == 0:
        return with_stage(program, i, replace(stage, **fields))  # type: ignore[arg-type]
    move = replace(stage.others[k - 1], **fields)  # type: ignore[arg-type]
    return with_stage(program, i, replace(stage, others=stage.others[: k - 1] + (move,) + stage.others[k:]))


def saved_text(text: str, env: str) -> str:
    """Return the text of a found program with its docstring and bounds.

    A text that is no program as the search writes them, or has these already, is returned as it is.

    Args:
        text: of a whole policy file.
        env: the name of the environment that it was found for.
    """
    if "Annotated[" in text or not re.search(r"^(STAGES = \[|PROGRAM = \{)$", text, re.MULTILINE):
        return text
    bounded = ASSIGNED.sub(_annotated, text)
    names = {"typing": {"Annotated"}, "trace_robot": {"Bounds"}}
    if re.search(r"\bfixed\b", bounded) and not re.search(r"\bfixed\b", text):
        names["trace_robot"].add("fixed")
    return _described(_importing(bounded, names), env)


def _annotated(match: re.Match[str]) -> str:
    name, value = match.groups()
    if name == "STAGES" and value == "[":
        return f"STAGES: Annotated[list, {_table(STAGE_BOUNDS, match.string)}] = ["
    if name == "PROGRAM" and value == "{":
        return f"PROGRAM: Annotated[dict, {_table(TABLE_BOUNDS, match.string)}] = {{"
    kind = PLAIN.get(name, "")
    if not kind and "  # metres, " in value:
        code = value.partition("  #")[0]
        numbers = [abs(float(number)) for number in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", code)]
        reach = max(REACH, math.ceil(20 * max(numbers, default=0.0)) / 10)  # twice as far, in tenths
        kind = f"{'np.ndarray' if 'array' in code else 'float'}, Bounds({-reach!r}, {reach!r})"
    return f"{name}: Annotated[{kind}] = {value}" if kind else match.group()


def _table(bounds: dict[str, str], text: str) -> str:
    """Return bounds by key in lines, of the keys in a text."""
    pairs = [f'"{key}": {value}' for key, value in bounds.items() if re.search(f"[\"']{key}[\"']: ", text)]
    rows = textwrap.wrap(", ".join(pair.replace(" ", "\0") for pair in pairs), WIDTH)
    return "{\n" + "".join(f"    {row}\n" for row in rows).replace("\0", " ") + "}"


def _importing(text: str, names: dict[str, set[str]]) -> str:
    """Return the text with names imported beside those that it imports."""

    def with_more(match: re.Match[str]) -> str:
        every = sorted({*match.group(2).split(", "), *names.pop(match.group(1), ())}, key=_imported)
        return f"from {match.group(1)} import {', '.join(every)}"

    text = IMPORTED.sub(with_more, text)
    lines = "".join(f"from {module} import {', '.join(sorted(few))}\n" for module, few in names.items())
    first = re.search(r"^(?:import .*\n)+|^from (?!__future__)|^(?=CONTROL)", text, re.MULTILINE)
    at = 0 if first is None else first.end() if first.group().startswith("import") else first.start()
    return text[:at] + lines + text[at:]


def _imported(name: str) -> tuple[bool, str]:
    return not name[:1].isupper(), name  # classes first, as the linter sorts


def _described(text: str, env: str) -> str:
    """Return the text with its docstring in place of the start's."""
    tree = ast.parse(text)
    stages = [
        row.values[0].id.replace("_", " ")
        for statement in tree.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.value, ast.List)
        for row in statement.value.elts
        if isinstance(row, ast.Dict) and isinstance(row.values[0], ast.Name)
    ]
    what = ", ".join(stages) or "the stages of PROGRAM"
    docstring = textwrap.fill(f'"""Found by search for {env}: {what}.', WIDTH)
    docstring += '\n"""' if "\n" in docstring else '"""'
    first = tree.body[0]
    lines = text.split("\n")
    if ast.get_docstring(tree, clean=False) is None:
        return f"{docstring}\n\n{text}"
    lines[first.lineno - 1 : first.end_lineno] = docstring.split("\n")
    return "\n".join(lines)


def names(program: StagedProgram, spec: TaskSpec) -> list[str]:
    """Return a function name for each stage: what it does, all different.

    Args:
        program: of stages.
        spec: the environment, whose hands may have no gripper to close.
    """
    pairs = zip(program.stages, (None, *program.stages[:-1]), strict=True)
    plain = [_name(stage, before if has_gripper(stage.hand, spec) else None) for stage, before in pairs]
    result: list[str] = []
    for i, name in enumerate(plain):
        earlier = plain[:i].count(name)
        result.append(f"{name}_{earlier + 1}" if plain.count(name) > 1 else name)
    return result


def _name(stage: Stage, previous: Stage | None) -> str:
    place = stage.place
    if stage.tracked != place.anchor and not stage.tracked.startswith("hand"):
        return f"bring_{short(stage.tracked)}_to_{short(place.anchor)}"
    if previous is not None and stage.gripper - previous.gripper >= 1.0 and stage.tolerance == 0:
        return "close_gripper"
    if previous is not None and stage.gripper - previous.gripper <= -1.0 and stage.tolerance == 0:
        return "open_gripper"
    if stage.tracked == place.anchor:
        return _move(place, "" if stage.tracked.startswith("hand") else f"_{short(stage.tracked)}")
    side = max(abs(place.offset[0]), abs(place.offset[1]), abs(place.along))
    if place.offset[2] >= ABOVE and side <= place.offset[2]:
        return f"go_above_{short(place.anchor)}"
    if place.toward and abs(place.along) >= ABOVE:
        return f"go_{'before' if place.along > 0 else 'behind'}_{short(place.anchor)}"
    return f"go_to_{short(place.anchor)}"


def _move(place: Waypoint, what: str) -> str:
    """Name a motion relative to where something is or was by its largest part."""
    if place.toward and abs(place.along) > max(abs(number) for number in place.offset):
        return f"move{what}_{'towards' if place.along > 0 else 'away_from'}_{short(place.toward)}"
    axis = max(range(3), key=lambda i: abs(place.offset[i]))
    direction = DIRECTIONS[axis][place.offset[axis] > 0]
    if not any(place.offset):
        return f"wait{what}"
    return f"{direction}{what}" if axis == 2 else f"move{what}_{direction}"


class SeenRanges:
    """The range of each number of ``numbers_seen``, from which thresholds are drawn.

    moving: numbers that changed within an episode, as none does that says where to.
    """

    def __init__(self, numbers: Mapping[int, tuple[str, int]]) -> None:
        self.names = list(numbers.values())
        self.ranges: dict[int, tuple[float, float]] = {}
        self.moving: set[int] = set()

    def add(self, numbers: Mapping[str, float]) -> None:
        """Widen the ranges by the measures of an episode."""
        for k in range(len(self.names)):
            if f"seen_low_{k}" in numbers:
                low, high = numbers[f"seen_low_{k}"], numbers[f"seen_high_{k}"]
                if high - low > STILL:
                    self.moving.add(k)
                before = self.ranges.get(k, (low, high))
                self.ranges[k] = (min(low, before[0]), max(high, before[1]))

    def changing(self) -> list[int]:
        """Return the numbers that were not always the same."""
        return [k for k, (low, high) in sorted(self.ranges.items()) if high - low > STILL]
