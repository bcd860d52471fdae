"""The writer of staged programs: Python to be read, and rewritten by a model.

The text does the same float64 arithmetic in the same order as the interpreter, so that both give the same
float32 actions, bit for bit. Journals hold hashes of these texts: where one changes, stored runs cannot resume.
"""

from __future__ import annotations

import textwrap

from trace_robot.search.staged.constants import WIDTH, names
from trace_robot.search.staged.hands import (
    MACHINE_IMPORTS,
    grip_phrase,
    is_machine,
    machine_code,
    phrase_of,
    short,
)
from trace_robot.search.staged.program import (
    HERE,
    STALLED,
    TURN,
    Rest,
    Stage,
    StagedProgram,
    Waypoint,
    check,
)
from trace_robot.spec import TaskSpec, gripper_range, hands_of

IMPORTS = """\
import math

import numpy as np
"""
ACT = '''\
def act(observation, memory):
    """Return __NAMES__: the next motion of the present stage of STAGES.

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
    return __ACTION__
'''
# Lines of ``ACT`` before which a program's further parts come.
_FIRST = '    stage = STAGES[memory["stage"]]\n'
_LOST = '    lost = stage["hold"]'
# What is left out where nothing is held, as by a hand without a gripper.
_HELD = {
    f'{_LOST} and apart(observation[stage["hold"]], observation[HAND]) > stage["slack"]\n': "",
    "lost or ": "",
    "len(STAGES) if lost else ": "",
    "after the last one, or when the\n    object got lost, it starts": "after the last one it\n    starts",
}
STILL = """\
    if memory["rounds"] >= ROUNDS:
        return __NOTHING__
"""
APART = '''\
def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))
'''
TOWARDS = '''\
def towards(here, there, metres):
    """The level step of so __HOW__ metres from here towards there (away from it if negative)."""
    east, north = there[0] - here[0], there[1] - here[1]
    length = math.hypot(east, north)
    if length < 1e-6:
        return np.zeros(3)
    return np.array([metres / length * east, metres / length * north, 0.0])
'''.replace("__HOW__", "many")
RESTING = """\
    if math.hypot(*remaining(observation, memory)) <= ENOUGH:
        memory["rest"] = REST
    elif memory["rest"] > 0:
        memory["rest"] -= 1
    if memory["rest"] > 0:
__RESTING__"""
STAY = """\
        return __STILL__
"""
GO_ON = """\
        motion = np.clip(__MOTION__)
        return __ACTION__
"""
AVERAGED = '''\
def averaged(observation, memory):
    """The observation with moving averages of the positions in AVERAGED."""
    seen, before = dict(observation), memory.get("seen", observation)
    for name in AVERAGED:
        seen[name] = before[name] + SIGHT * (observation[name] - before[name])
    memory["seen"] = seen
    return seen
'''
SEARCHING = f'''\
def aside(memory):
    """The level step of this pass in a spiral around the target; none in the first pass."""
    radius, angle = SPIRAL * math.sqrt(memory["rounds"]), {TURN} * memory["rounds"]
    return np.array([radius * math.cos(angle), radius * math.sin(angle), 0.0])
'''
STUCK = f'''\
def stuck(stage, observation, memory):
    """Whether what a stage moves has come no further than its guard for {STALLED} decisions."""
    here = observation[stage["moves"]]
    if memory["mark"] is None or apart(here, memory["mark"]) > stage["guard"]:
        memory.update(mark=here, stalled=0)
    else:
        memory["stalled"] += 1
    return memory["stalled"] >= {STALLED}
'''


def write(program: StagedProgram, spec: TaskSpec) -> str:
    """Return the text of a policy file: the program's code, its ``act`` trainable.

    Args:
        program: what the policy does.
        spec: the environment that it is for.

    Raises:
        PolicyError: if the program does not fit the environment.
    """
    titles = ", ".join(title.replace("_", " ") for title in names(program, spec))
    docstring = textwrap.fill(f"Found by search for {spec.name}: {titles}.", WIDTH)
    head = f'"""{docstring}\n"""\n\n' if "\n" in docstring else f'"""{docstring}"""\n\n'
    plain = MACHINE_IMPORTS if is_machine(program, spec) else IMPORTS
    imports = f'{plain}\nfrom trace_robot import bundle\n\nCONTROL = "{spec.control}"\n'
    rest = (
        code(program, spec).removeprefix(plain).replace("\ndef act(", "\n@bundle(trainable=True)\ndef act(")
    )
    return head + imports + rest.removeprefix("\n")


def code(program: StagedProgram, spec: TaskSpec) -> str:
    """Return ``act`` with the imports, constants and helper functions around it.

    Args:
        program: what the code does.
        spec: the environment that it is for.

    Raises:
        PolicyError: if the program does not fit the environment.
    """
    if is_machine(program, spec):
        return machine_code(program, spec)
    check(program, spec)
    titles = names(program, spec)
    blocks = [f"{IMPORTS}\n{_constants(program, spec, titles)}"]
    blocks += [APART.rstrip()] if _holds(program, spec) or _guarded(program) else []
    rest: list[Stage | Rest] = [] if program.rest is None else [program.rest]
    if any(user.place.toward for user in (*program.stages, *rest)):
        blocks.append(TOWARDS.rstrip())
    if program.sight:
        blocks.append(AVERAGED.rstrip())
    if program.spiral:
        blocks.append(SEARCHING.rstrip())
    if _guarded(program):
        blocks.append(STUCK.rstrip())
    blocks += [_function("remaining", each) for each in rest]
    hand = hands_of(spec)[0].position
    blocks += [
        _function(title, stage, aside=bool(program.spiral) and stage.tracked == hand)
        for title, stage in zip(titles, program.stages, strict=True)
    ]
    blocks += [_table(program, titles, spec), _act(program, spec).rstrip()]
    return "\n\n\n".join(blocks) + "\n"


def _constants(program: StagedProgram, spec: TaskSpec, titles: list[str]) -> str:
    hand = hands_of(spec)[0]
    low, high = (list(bounds[hand.motion : hand.motion + 3]) for bounds in (spec.low, spec.high))
    lines = [f'HAND = "{hand.position}"']
    if spec.control == "pose":
        lines.append(f"LOW = np.array({low!r})  # metres a decision")
        lines.append(f"HIGH = np.array({high!r})  # metres a decision")
    else:
        lines.append(f"GAIN = {program.gain!r}  # action per metre of error")
        if set(low) != {-1.0} or set(high) != {1.0}:
            lines.append(f"LOW = np.array({low!r})  # bounds of the action")
            lines.append(f"HIGH = np.array({high!r})")
    if program.passes:
        lines.append(f"ROUNDS = {program.passes}  # passes after which it stays still")
    users: list[tuple[str, Stage | Rest]] = list(zip(titles, program.stages, strict=True))
    if program.sight:
        things = tuple(name for name in spec.positions if name != hand.position)
        lines.append(f"AVERAGED = {things!r}")
        lines.append(f"SIGHT = {program.sight!r}  # weight of what is new in the average")
    if program.spiral:
        lines.append(f"SPIRAL = {program.spiral!r}  # metres by which each further pass looks elsewhere")
    if program.rest is not None:
        lines.append(f"ENOUGH = {program.rest.tolerance!r}  # metres that may remain when the program rests")
        lines.append(f"REST = {program.rest.lasts}  # decisions for which it rests when more remains again")
        users.append(("remaining", program.rest))
    for title, user in users:
        place = user.place
        x, y, z = (float(number) for number in place.offset)
        if place.offset != HERE:
            lines.append(f"{title.upper()} = np.array([{x!r}, {y!r}, {z!r}])  # metres, from {place.anchor}")
        if place.toward:
            lines.append(f"{title.upper()}_ALONG = {place.along!r}  # metres, level, towards {place.toward}")
    return "\n".join(lines)


def _guarded(program: StagedProgram) -> bool:
    return any(stage.guard for stage in program.stages)


def _holds(program: StagedProgram, spec: TaskSpec) -> bool:
    return hands_of(spec)[0].gripper >= 0 or any(stage.grasp for stage in program.stages)


def _function(title: str, stage: Stage | Rest, *, aside: bool = False) -> str:
    """Return the function that gives the error of a stage or of the rest, metres.

    ``aside`` adds the step of the spiral.
    """
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
    step = " + aside(memory)" if aside else ""
    lines.append(f'    return target{step} - observation["{stage.tracked}"]')
    return "\n".join(lines)


def _docstring(stage: Stage | Rest) -> str:
    place = stage.place
    tracked = short(stage.tracked)
    text = f"From {tracked} to {phrase_of(place)}."
    if len(text) > WIDTH:
        text = f"From {tracked} to near {phrase_of(Waypoint(place.anchor, when=place.when))}."
    return text


def _seen(place: Waypoint) -> str:
    seen = "observation" if place.when == "now" else f'memory["{place.when}"]'
    return f'{seen}["{place.anchor}"]'


def _table(program: StagedProgram, titles: list[str], spec: TaskSpec) -> str:
    grips, holds = hands_of(spec)[0].gripper >= 0, _holds(program, spec)
    head = f"# {'gripper: -1 open, 1 closed; ' * grips}close: metres, 0 never; patience: decisions;\n"
    held = "; hold: what must stay within slack metres of the hand" * holds
    head += f"# speed: share of the action's bounds{held}\n"
    guarded = _guarded(program)
    if guarded:
        head += "# guard: metres that what it moves must come further, else the stage ends; 0 for no guard\n"
    rows = []
    for i, (title, stage) in enumerate(zip(titles, program.stages, strict=True), 1):
        comment = f"{i}. {_sentence(stage, grips=grips)}"
        rows += [f"    # {line}\n" for line in textwrap.wrap(comment, WIDTH + 8)]
        grasp = f', "hold": "{stage.grasp}", "slack": {stage.grasp_tolerance!r}' * holds
        grip = f'"gripper": {stage.gripper!r}, ' * grips
        if guarded:
            grasp += f',\n     "moves": "{stage.tracked}", "guard": {float(stage.guard)!r}'
        rows.append(
            f'    {{"go": {title}, {grip}"close": {float(stage.tolerance)!r}, '
            f'"patience": {stage.max_decisions!r},\n     "speed": {stage.speed!r}{grasp}}},\n'
        )
    return head + "STAGES = [\n" + "".join(rows) + "]"


def _act(program: StagedProgram, spec: TaskSpec) -> str:
    error = "error" if spec.control == "pose" else "GAIN * error"
    first = hands_of(spec)[0].motion
    bounds = set(spec.low[first : first + 3]), set(spec.high[first : first + 3])
    plain = spec.control != "pose" and bounds == ({-1.0}, {1.0})
    clip = '-stage["speed"], stage["speed"]' if plain else 'stage["speed"] * LOW, stage["speed"] * HIGH'
    still = STILL if program.passes else ""
    text = ACT.replace("__REST__", still)
    if program.rest is not None:
        text = text.replace(
            "starts over.\n", "starts over. It rests, and stays in its stage, while little remains.\n"
        )
        resting = RESTING.replace("__RESTING__", STAY if program.rest.still else GO_ON)
        text = text.replace(_LOST, resting + _LOST)
        text = text.replace(_FIRST, f"        memory.update(rest=0)\n{_FIRST}")
    if _guarded(program):
        ended = 'or math.hypot(*error) <= stage["close"]'
        text = text.replace(
            f'    if lost or memory["waited"] >= stage["patience"] {ended}:',
            f'    used = memory["waited"] >= stage["patience"] {ended}\n'
            '    if lost or used or (stage["guard"] and stuck(stage, observation, memory)):',
        )
        text = text.replace(
            "entry=dict(observation))\n        stage", "entry=dict(observation), mark=None)\n        stage"
        )
        text = text.replace(_FIRST, f"        memory.update(mark=None, stalled=0)\n{_FIRST}")
    if program.sight:
        text = text.replace(
            "    if not memory:\n",
            '    observation = averaged(observation, memory)\n    if "stage" not in memory:\n',
        )
    for held, left in _HELD.items() if not _holds(program, spec) else ():
        text = text.replace(held, left)
    for mark, action in zip(("__NAMES__", "__ACTION__", "__STILL__"), _actions(spec), strict=True):
        text = text.replace(mark, f"[{', '.join(action)}]")
    text = text.replace("__NOTHING__", f"[{', '.join(['0.0'] * spec.action_size)}]")
    return text.replace("__MOTION__", f"{error}, {clip}")


def _actions(spec: TaskSpec) -> tuple[list[str], list[str], list[str]]:
    """Return the numbers of an action as names, code, and code without motion."""
    hand = hands_of(spec)[0]
    middle, half = gripper_range(hand, spec)
    signed = {1.0: "", -1.0: "-"}.get(half, f"{half!r} * ") + 'stage["gripper"]'
    grip = f"{middle!r} + {signed}" if middle else signed
    named, code, still = [], [], []
    for i in range(spec.action_size):
        axis = i - hand.motion
        if 0 <= axis < 3:
            named.append("xyz"[axis])
            code += ["*motion"] if axis == 0 else []
            still.append("0.0")
        else:
            named.append("gripper" if i == hand.gripper else "0")
            code.append(grip if i == hand.gripper else "0.0")
            still.append(code[-1])
    return named, code, still


def _sentence(stage: Stage, *, grips: bool) -> str:
    """Return a comment on what a stage does and when it ends."""
    ends = f"for {stage.max_decisions} decisions"
    if stage.tolerance > 0:
        ends = f"until within {100 * stage.tolerance:.3g} cm or for {stage.max_decisions} decisions"
    kept = ""
    if stage.grasp:
        away = f"more than {100 * stage.grasp_tolerance:.3g} cm from the hand"
        kept = f"; starts over if {short(stage.grasp)} is {away}"
    if stage.guard:
        ends += ", or until it no longer moves"
    grip = f"{grip_phrase(stage.gripper)}, " * grips
    return f"{short(stage.tracked)} to {phrase_of(stage.place)}, {grip}{ends}{kept}"
