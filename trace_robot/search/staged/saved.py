"""Annotation of a staged program that was found: its stages' names, what it is, and bounds of its constants.

A search asks for programs without these, and journals hold hashes of what it asks for. So they are added to the file
that is kept, in which no value and no statement that runs is another.
"""

from __future__ import annotations

import ast
import math
import re
import textwrap

from trace_robot.search.staged.hands import short
from trace_robot.search.staged.program import Stage, StagedProgram, Waypoint
from trace_robot.spec import TaskSpec, has_gripper

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
