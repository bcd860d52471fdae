"""Code generation of a plug-in file from what was identified of an environment.

What is written may hold any text that a package chose: names become identifiers, texts are written as literals, and
comments keep to one line.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from trace_robot.env_checker.identify import PUSH
from trace_robot.env_checker.simulator import Effect, Identified, referents
from trace_robot.errors import UNSEEN, EnvironmentFault

NAME = 40  # letters of a name
LISTED = 8  # owners that a meaning lists
TURNING = ("cosine", "sine", "angle")  # beginnings of names of angles
PLURALS = {
    "angle": "angles",
    "joint position": "positions",
    "joint velocity": "velocities",
    "joint velocity a step": "velocities",
    "cosine": "cosines",
    "sine": "sines",
    "control": "controls",
    "actuator force": "actuator_forces",
    "constraint force": "constraint_forces",
    "actuation force": "actuation_forces",
    "contact force": "contact_forces",
    "center-of-mass velocity": "center_of_mass_velocities",
    "inertia": "inertias",
}


@dataclass(frozen=True, slots=True)
class DraftPart:
    """A part of an observation or an action, as it is to be written.

    Attributes:
        name: a Python name.
        size: how many numbers.
        unit: such as "m".
        meaning: what the numbers are.
        guess: why it may be wrong; "" for what was measured.
        key: of the Dict space that it belongs to.
        hidden: whether the key repeats other numbers, so that a controller need not see it.
        scale: of an action: -1 turns its sign.
        bounds: of an action without bounds, which are guessed.
        height: of a planar point.
    """

    name: str
    size: int
    unit: str = ""
    meaning: str = ""
    guess: str = ""
    key: str | int = ""
    hidden: bool = False
    scale: float = 1.0
    bounds: float = 0.0
    height: float | None = None


def observation_parts(
    runs: Sequence[Identified], keys: Mapping[int, str | int], named: bool
) -> dict[Identified, DraftPart]:
    """Return a part for each run.

    Args:
        runs: in order.
        keys: the first number of each key, and the key.
        named: whether these are keys of a Dict space, whose names then name what was not identified.
    """
    parts: dict[Identified, DraftPart] = {}
    taken: set[str] = set()
    starts = sorted(keys)
    at = {run: max(start for start in starts if start <= run.start) for run in runs}
    # What refers to other parts comes after them, as it is named after them.
    waiting = sorted(runs, key=lambda run: (any(owner.startswith("@") for owner in run.owners), run.start))
    while waiting:
        # The first where each refers to another: three numbers may be rates in a circle.
        run = next((each for each in waiting if not each.refers_to(waiting)), waiting[0])
        waiting.remove(run)
        key = keys[at[run]]
        alone = named and sum(at[each] == at[run] for each in runs) == 1
        base = str(key) if named and key != "" else "observation"
        owners = referents(run, {each: part.name for each, part in parts.items()}, base)
        fallback = base if alone else f"{base}_{run.start - at[run]}"
        hidden = alone and run.role == "repeated position"
        # A hidden part takes no name: the comment beside it is about the one that is shown.
        name = unique(_name(run, owners, fallback, alone), set() if hidden else taken)
        unit, meaning = _unit(run._replace(owners=owners)), _meaning(run, owners)
        parts[run] = DraftPart(name, run.stop - run.start, unit, meaning, run.guess, key, hidden)
    return {run: parts[run] for run in runs}


def _unit(run: Identified) -> str:
    # A rate is per second of what it is the rate of; only of an angle is the unit of that known.
    turning = run.owners and run.owners[0].startswith(TURNING)
    return ("rad/s" if turning else "") if run.unit == "/s" else run.unit


def _name(run: Identified, owners: Sequence[str], fallback: str, alone: bool) -> str:
    """Return the name of a run, after what it is and whose it is."""
    role, size = run.role, run.stop - run.start
    owner = owners[0].rpartition(":")[2] if owners else fallback
    if role in ("unknown", "constant"):
        return fallback if alone or role == "unknown" else f"constant_{run.start}"
    if role.startswith("like "):
        return f"like_{_common(run.owners)}_{PLURALS.get(role[5:], role[5:])}"
    if role.startswith("difference of "):
        suffix = (
            "" if "position" in role else "_" + role.removeprefix("difference of ").replace(" a step", "")
        )
        return f"{_without_suffix(owner)}{suffix}_from_{_without_suffix(owners[1].rpartition(':')[2])}"
    if role in PLURALS and (size > 1 or role in ("contact force", "inertia")):
        return f"{_common(run.owners)}_{PLURALS[role]}" if run.kind == "joint" else PLURALS[role]
    if role in ("position", "repeated position"):
        ending = "_position" if size > 1 else f"_{run.axes or 'position'}"
        return f"{_without_suffix(owner)}{ending}"
    if role in ("sensor", "time", "time left", "last action"):
        return {"sensor": owner, "last action": f"last_action_{run.start}"}.get(role, role)
    if role in ("gripper width", "goal") or (role in ("cosine", "sine") and run.kind != "joint"):
        return role
    if role == "rate":
        turning = "angular_velocities" if size > 1 else "angular_velocity"
        return turning if owner.startswith(TURNING) else f"{owner}_rate"
    word = role.removeprefix("joint ").removesuffix(" a step").replace("Euler angles", "rotation")
    ending = f"_{run.axes}" if 0 < len(run.axes) < 3 else ""
    return f"{_without_suffix(owner)}_{word}{ending}"


def _without_suffix(owner: str) -> str:
    return re.sub(r"[_ ]?(position|pos)$", "", owner) or owner


def _common(owners: Sequence[str]) -> str:
    """Return what the names of joints have in common, else "joint"."""
    names = [owner.rpartition(":")[2] for owner in owners]
    if len(names) == 1:
        return names[0]
    front = _front(names).rstrip("_0123456789")
    back = _front([name[::-1] for name in names])[::-1].lstrip("_0123456789")
    return next((part for part in (front, back) if len(part) > 2), "joint")


def _front(names: Sequence[str]) -> str:
    """Return the letters that all names begin with."""
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in same)


def _meaning(run: Identified, owners: Sequence[str]) -> str:
    """Return what the numbers are, for a model to read."""
    listed = ", ".join(map(repr, owners[:LISTED])) + (
        f" and {len(owners) - LISTED} more" if len(owners) > LISTED else ""
    )
    kind = run.kind if len(owners) < 2 or not run.kind else {"body": "bodies"}.get(run.kind, f"{run.kind}s")
    if run.role == "position" and run.kind in ("site", "body", "geom"):
        which = {1: f"{run.axes} coordinate", 2: f"{' and '.join(run.axes)}"}.get(len(run.axes), "position")
        text = (
            f"world {which} of {kind} {listed}"
            if len(run.axes) != 2
            else f"{which} of {kind} {listed}, world frame"
        )
    elif run.role in ("rate", "sine") and run.owners and run.owners[0].startswith("@"):
        of = (
            f"of the angle of {owners[0]}"
            if run.role == "sine" or owners[0].startswith("cosine")
            else f"of {owners[0]}"
        )
        text = f"{run.role} {of}{', a second' if run.unit == '/s' else ''}"
    elif run.kind in ("", "clock", "goal", "key", "numbers") or run.role.startswith(("scaled", "difference")):
        text = ""
    else:
        text = f"{run.role.removeprefix('joint ')} of {kind} {listed}"
    return ", ".join(part for part in (text, run.meaning) if part)


def action_part(
    kinds: Sequence[Effect],
    first: int,
    hand: Identified | None,
    unit_bounds: bool,
    names: Mapping[str, str],
    taken: set[str],
) -> DraftPart:
    """Return one part for consecutive numbers of one kind.

    Args:
        kinds: what each number does.
        first: index of the first one.
        hand: the point that motions move.
        unit_bounds: whether their bounds are -1 and 1.
        names: of the observation's parts, by "@" and the index of each number.
        taken: names so far; the new one is added.
    """
    kind, unit, factor, owner = kinds[0]
    size, owners = len(kinds), [each[3] for each in kinds]
    factors = [each[2] for each in kinds]
    whose = f"{hand.kind} {hand.owners[0]!r}" if hand is not None and hand.owners else "the hand"
    if kind == "gripper":
        # The convention of what ships, Meta-World's: the higher number closes.
        ends = "-1 opens, 1 closes" if unit_bounds else "the lowest opens, the highest closes"
        meaning = f"{ends}; measured by {names.get(owner, owner)}"
        guess = "no simulator shows fingers; it may be something else" if unit else ""
        return DraftPart(unique("gripper", taken), 1, "", meaning, guess, scale=-1.0 if factor > 0 else 1.0)
    if kind == "motion":
        ways = ", ".join(
            f"{'-' if each < 0 else ''}{axis}" for each, axis in zip(factors, owners, strict=True)
        )
        far = f"{max(map(abs, factors)):.2g} m between the lowest and the highest, held for {PUSH} steps"
        return DraftPart(unique("motion", taken), size, "", f"moves {whose} along {ways}: {far}")
    if kind == "nothing":
        return DraftPart(unique("unused", taken), size, guess="no effect was measured")
    if kind == "unknown":
        what = whose if unit else names.get(owner, "")
        name = f"moves_{what}" if what and not unit and size == 1 else f"action_{first}"
        return DraftPart(
            unique(name, taken), size, guess=f"it moves {what} most" if what else "what does it do?"
        )
    listed = ", ".join(map(repr, owners[:LISTED])) + (f" and {size - LISTED} more" if size > LISTED else "")
    same = max(factors) - min(factors) <= 1e-6 * max(map(abs, factors))
    name = f"{owner}_{kind}" if size == 1 else {"target velocity": "target_velocities"}.get(kind, f"{kind}s")
    shown = unit if same and abs(factor - 1) < 1e-6 else f"{factor:.6g} {unit}" if same else ""
    scaled = "" if same else f", each number scaled to its actuator, in {unit}"
    return DraftPart(unique(name, taken), size, shown, f"{kind} of {listed or 'the actuators'}{scaled}")


def unique(name: str, taken: set[str]) -> str:
    """Return a text as a Python name that is not taken yet, and take it.

    Args:
        name: any text, such as the name of a body.
        taken: names so far; the new one is added.
    """
    word = re.sub(r"[^0-9a-zA-Z]+", "_", name)[:NAME].strip("_").lower() or "part"
    word = f"n_{word}" if word[0].isdigit() else word
    number, result = 2, word
    while result in taken:
        number, result = number + 1, f"{word}_{number}"
    taken.add(result)
    return result


HEAD = '''"""An environment as `trace-robot init --env` measured it.

A line that ends with "# ?" and a reason was guessed. Look at it, mend it or delete the mark.
"""

from trace_robot import Environment, part

ENVIRONMENTS = [
    Environment(
'''
TASK = "Get as much reward as possible."


def plugin_text(
    name: str, found: Mapping[str, Any], *, options: Mapping[str, Any], own: str = "", make: str = ""
) -> str:
    """Return the Python text of a plug-in file.

    Args:
        name: the gymnasium id, with its module.
        found: what ``draft`` gave; untrusted, as the names in it are the environment's.
        options: as typed: arguments of the environment, "task", "horizon", "return_threshold" and "python".
        own: the name to type for it where the id is taken; "" for the id.
        make: "FILE.py:NAME" of what makes it, where that is no id.

    Raises:
        EnvironmentFault: what was found makes no Python file.
    """
    lines = [_field("", name)]
    task = options.get("task")
    lines.append(_field("", str(task or TASK), "" if task else "what must a controller do?"))
    ours = ("task", "horizon", "return_threshold", "python")
    arguments = {k: v for k, v in options.items() if k not in ours}
    given = {"make": make, "name": own, "arguments": arguments}
    lines += [_field(field, value) for field, value in given.items() if value]
    lines += [_field("python", str(options["python"]))] if options.get("python") else []
    lines += _parts(
        "observation", [DraftPart(**each) for each in found["observation"]], bool(found["mapped"])
    )
    lines += _parts("action", [DraftPart(**each) for each in found["action"]], False)
    lines += _positions(found)
    lines += _success(found, options)
    if found["ended"]:
        first, last = min(found["ended"]), max(found["ended"])
        text = f"the environment ended {len(found['ended'])} of {found['episodes']} random episodes"
        lines.append(_comment(f'failure_when="why",  # ? {text}, after {first} to {last} steps'))
    horizon = options.get("horizon") or found["horizon"]
    lines.append(_field("horizon", int(horizon), str(found["horizon_guess"])))
    text = HEAD + "".join(f"        {line}\n" for line in lines) + "    )\n]  # fmt: skip\n"
    try:
        ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise EnvironmentFault(
            f"{name}: what was found makes no Python file: {error}; write the file by hand"
        ) from error
    return text


def _parts(field: str, parts: Sequence[DraftPart], mapped: bool) -> Iterator[str]:
    """Yield the lines of the parts, of a Dict space as a mapping from its keys."""
    if not parts:
        return
    yield f"{field}={'{' if mapped else '['}"
    for key in dict.fromkeys(part.key for part in parts):
        members = [part for part in parts if part.key == key]
        if mapped and all(part.hidden for part in members):
            yield f"    {literal(key)}: None,  # the same numbers as {unseen(members[0].name)}"
            continue
        if mapped:
            yield f"    {literal(key)}: ["
        for part in members:
            yield f"    {'    ' * mapped}{_part(part)},{_guess(part.guess)}"
        if mapped:
            yield "    ],"
    yield "}," if mapped else "],"


def _part(part: DraftPart) -> str:
    values: list[Any] = [part.name, part.size, part.unit, part.meaning]
    while len(values) > 2 and not values[-1]:
        values.pop()
    named = [] if part.scale == 1.0 else [f"scale={literal(part.scale)}"]
    named += [] if part.height is None else [f"height={literal(part.height)}"]
    named += [f"low={literal(-part.bounds)}", f"high={literal(part.bounds)}"] if part.bounds else []
    return f"part({', '.join([*map(literal, values), *named])})"


def _positions(found: Mapping[str, Any]) -> Iterator[str]:
    names = tuple(map(str, found["positions"]))
    if names:
        few = "only the hand was found" if len(names) == 1 else ""
        first = "which is the hand?" if not found["hand_measured"] else few
        yield _field("positions", names, first)
    else:
        yield "# positions: no whole point (x, y, z) of the observation follows the action"


def _success(found: Mapping[str, Any], options: Mapping[str, Any]) -> Iterator[str]:
    """Yield what success is, or what may be taken for it, as comments."""
    given = options.get("return_threshold")
    rewards, returns = found["rewards"], found["returns"]
    if rewards:
        yield f"# random actions: rewards from {rewards[0]:.4g} to {rewards[1]:.4g} a step" + (
            f", sums from {returns[0]:.4g} to {returns[1]:.4g} in {found['episodes']} whole episodes"
            if returns
            else ""
        )
    if given is not None:
        yield _field("return_threshold", given)
    elif found["flag"]:
        yield _field("success", str(found["flag"]))
    elif found["threshold"] is not None:
        yield f"return_threshold={literal(float(found['threshold']))},  # gymnasium's threshold of this id"
    else:
        yield "# ? nothing says what success is: take the '#' from one of these lines and mend it"
        best = round(returns[1], 2) if returns else 0.0
        yield _comment(f"return_threshold={best!r},  # the best sum of {found['episodes']} random episodes")
    for entry in found["truths"]:
        yield _comment(f"success={literal(entry)},  # an entry of info that was always 0 or 1")
    names = found["positions"]
    if len(names) > 1 and not found["flag"]:
        pair = " - ".join(f'e.observation["{unseen(name)}"]' for name in names[-2:])
        yield _comment(f"success=lambda e: abs({pair}).max() < 0.05,")


def _field(name: str, value: Any, guess: str = "") -> str:
    return f"{f'{name}=' if name else ''}{literal(value)},{_guess(guess)}"


def _guess(guess: str) -> str:
    return f"  # ? {unseen(guess)}" if guess else ""


def _comment(text: str) -> str:
    return f"# {unseen(text)}"


def literal(value: Any) -> str:
    """Return plain data as Python source, texts in double quotes if possible."""
    text = repr(value)
    if isinstance(value, str) and text[0] == "'" and '"' not in text:
        return f'"{text[1:-1]}"'
    if isinstance(value, tuple) and value:
        return f"({', '.join(map(literal, value))}{',' * (len(value) == 1)})"
    return text


def unseen(text: str) -> str:
    """Return a text as one line without characters that are not seen, for a comment."""
    return UNSEEN.sub("", " ".join(str(text).splitlines()))
