"""Interpreter and writer of programs for any hands, from one text.

In the text of a program of one hand whose stages only go to places, each stage is a function (``writer``). All
others are a table, ``program`` below. The interpreter calls the functions here and the writer copies their
source, so that both give the same actions bit for bit.
"""

from __future__ import annotations

import inspect
import math
import pprint
import re
import textwrap
from dataclasses import asdict
from typing import Any

from trace_robot.search.staged.program import (
    HERE,
    STALLED,
    TURN,
    Condition,
    Move,
    Stage,
    StagedProgram,
    Turn,
    Waypoint,
    check,
    things,
)
from trace_robot.spec import HandSpec, TaskSpec, gripper_range, hands_of, has_gripper

Data = dict[str, Any]
TURNED = 0.05  # rad from its orientation within which a hand is turned, about what a jaw forgives
WIDEST = 1e9  # in place of an infinite bound, which has no literal
PRIVATE = re.compile(r"\b_(\w+)(?=\()")  # functions are private here and have plain names in the text
# What sets grippers, left out where no hand has one.
GRIPS = re.compile(r'^ +memory\["grip"\].*\n|\n +if "gripper" in hand:\n.*', re.MULTILINE)
LINE = 100  # characters of a line of the table
MACHINE_IMPORTS = "import math\nfrom typing import Any\n"
HEAD = f"""\
{MACHINE_IMPORTS}
Data = dict[str, Any]
TURNED = {TURNED}  # rad from its orientation within which a hand is turned
TURN = {TURN}  # rad from one try of a spiral to the next
STALLED = {STALLED}  # decisions in which a guarded move must get ahead
"""
ACT = '''\
def act(observation, memory):
    """Return the action: the next motions of the present stage of PROGRAM."""
    return decide(PROGRAM, observation, memory)
'''


def decide(program: Data, observation: Data, memory: Data) -> list[float]:
    """Return the action of one decision: a finite state machine over the stages.

    A stage ends when all its moves have arrived, at its condition or when its decisions are used up.
    After the last one, or when what is grasped got lost, the program starts over.

    Args:
        program: as ``table`` returns it.
        observation: numbers by name, or arrays of them.
        memory: of the episode, empty at first.
    """
    if not memory:
        memory.update(stage=0, waited=0, rounds=0, rest=0, mark=None, stalled=0, grip={}, aim={}, turned={})
        memory.update(start=dict(observation), entry=dict(observation), last=dict(observation))
    observation = _averaged(program, observation, memory["last"])
    memory.update(before=memory["last"], last=observation)
    stage = program["stages"][memory["stage"]]
    errors = _remaining(program, stage, observation, memory)
    if _resting(program, observation, memory):
        return _motion(program, stage, None if program["rest"]["still"] else errors, observation, memory)
    lost = _is_lost(program, stage, observation)
    if lost or _has_ended(program, stage, errors, observation, memory):
        following = memory["stage"] + 1
        if lost:
            following = len(program["stages"])
        elif "expects" in stage and not _holds(stage["expects"], observation, memory):
            following = max(0, memory["stage"] - stage["back"])
        if following == len(program["stages"]):
            following = 0
            memory["rounds"] += 1
        memory.update(stage=following, waited=0, entry=observation, mark=None)
        stage = program["stages"][following]
        errors = _remaining(program, stage, observation, memory)
    memory["waited"] += 1
    if 0 < program.get("passes", 0) <= memory["rounds"]:
        return [0.0] * len(program["low"])
    return _motion(program, stage, errors, observation, memory)


def _averaged(program: Data, observation: Data, before: Data) -> Data:
    """Return the observation with moving averages of the positions of things."""
    seen = dict(observation)
    for name in program.get("averaged", ()):
        share = program["sight"]
        seen[name] = [b + share * (now - b) for now, b in zip(observation[name], before[name], strict=True)]
    return seen


def _remaining(program: Data, stage: Data, observation: Data, memory: Data) -> list[Any]:
    """Return metres left for each move, and note where its hand must turn to."""
    errors: list[Any] = []
    for move in stage["moves"]:
        x, y, z = _point(move["place"], observation, memory)
        here = observation[move["tracked"]]
        if "spiral" in program and any(move["tracked"] == h["position"] for h in program["hands"].values()):
            radius, angle = program["spiral"] * math.sqrt(memory["rounds"]), TURN * memory["rounds"]
            x, y, z = x + radius * math.cos(angle), y + radius * math.sin(angle), z + 0.0
        errors.append((x - here[0], y - here[1], z - here[2]))
        if "turn" in move:
            memory["aim"][move["hand"]] = (_heading(move["turn"], observation), move["turn"]["symmetry"])
    return errors


def _point(place: Data, observation: Data, memory: Data) -> tuple[float, float, float]:
    """Return a place as a point in space, metres, world frame."""
    when = place.get("when", "now")
    here = (observation if when == "now" else memory[when])[place["anchor"]]
    x, y, z = here[0], here[1], observation[place["level"]] if "level" in place else here[2]
    if "offset" in place:
        dx, dy, dz = place["offset"]
        x, y, z = x + dx, y + dy, z + dz
    if "lead" in place:
        now, before = observation[place["anchor"]], memory["before"][place["anchor"]]
        x, y, z = (part + place["lead"] * (a - b) for part, a, b in zip((x, y, z), now, before, strict=True))
    if "toward" in place:
        there = observation[place["toward"]]
        east, north = there[0] - here[0], there[1] - here[1]
        length = math.hypot(east, north)
        share = 0.0 if length < 1e-6 else place.get("along", 0.0) / length
        x, y, z = x + share * east, y + share * north, z + 0.0
    return x, y, z


def _heading(turn: Data, observation: Data) -> float:
    """Return the angle that a hand must have, rad about the vertical axis."""
    angle = turn["angle"]
    if "field" in turn:
        angle += observation[turn["field"]]
    if "start" in turn and "end" in turn:
        start, end = observation[turn["start"]], observation[turn["end"]]
        angle += math.atan2(end[1] - start[1], end[0] - start[0])
    return float(angle)


def _turning(program: Data, name: str, observation: Data, memory: Data) -> float:
    """Return the angle that a hand has yet to turn, rad, 0 if none was asked."""
    if name not in memory["aim"]:
        return 0.0
    angle, symmetry = memory["aim"][name]
    yaw = program["hands"][name].get("yaw")
    return math.remainder(angle - (observation[yaw] if yaw else memory["turned"].get(name, 0.0)), symmetry)


def _holds(condition: Data, observation: Data, memory: Data) -> bool:
    """Return whether a number, or its change in the stage, is beyond a threshold."""
    field, k = condition["field"], condition.get("index")
    number = observation[field] if k is None else observation[field][k]
    if condition.get("change"):
        number = number - (memory["entry"][field] if k is None else memory["entry"][field][k])
    return bool(number > condition["above"] if "above" in condition else number < condition["below"])


def _is_lost(program: Data, stage: Data, observation: Data) -> bool:
    if "grasp" not in stage:
        return False
    hand = observation[program["hands"][stage["moves"][0]["hand"]]["position"]]
    thing = observation[stage["grasp"]]
    away = math.hypot(*(a - b for a, b in zip(thing, hand, strict=True)))
    return bool(away > stage["grasp_tolerance"])


def _has_ended(program: Data, stage: Data, errors: list[Any], observation: Data, memory: Data) -> bool:
    arrived = all(math.hypot(*error) <= stage["tolerance"] for error in errors) and not any(
        "turn" in move and abs(_turning(program, move["hand"], observation, memory)) > TURNED
        for move in stage["moves"]
    )
    until = "until" in stage and _holds(stage["until"], observation, memory)
    if arrived or until or memory["waited"] >= stage["decisions"]:
        return True
    return "guard" in stage and _is_stuck(stage, observation, memory)


def _is_stuck(stage: Data, observation: Data, memory: Data) -> bool:
    """Return whether the first move has come no further for STALLED decisions."""
    here, mark = observation[stage["moves"][0]["tracked"]], memory["mark"]
    if mark is None or math.hypot(*(a - b for a, b in zip(here, mark, strict=True))) > stage["guard"]:
        memory.update(mark=here, stalled=0)
    else:
        memory["stalled"] += 1
    return bool(memory["stalled"] >= STALLED)


def _resting(program: Data, observation: Data, memory: Data) -> bool:
    if "rest" not in program:
        return False
    rest = program["rest"]
    here = observation[rest["tracked"]]
    away = math.hypot(*(a - b for a, b in zip(_point(rest["place"], observation, memory), here, strict=True)))
    memory["rest"] = rest["lasts"] if away <= rest["tolerance"] else max(0, memory["rest"] - 1)
    return bool(memory["rest"] > 0)


def _motion(program: Data, stage: Data, errors: Any, observation: Data, memory: Data) -> list[float]:
    """Return the action: errors times the gain, within bounds, no motion for None."""
    gain, low, high = program["gain"], program["low"], program["high"]
    action = [0.0] * len(low)
    for k, move in enumerate(stage["moves"]):
        memory["grip"][move["hand"]] = move.get("gripper", 0.0)
        if errors is not None:
            first, speed = program["hands"][move["hand"]]["motion"], move["speed"]
            for i, error in enumerate(errors[k], first):
                action[i] = min(max(gain * error, speed * low[i]), speed * high[i])
    for name, hand in program["hands"].items():
        if "turn" in hand and errors is not None:
            i = hand["turn"]
            action[i] = min(max(gain * _turning(program, name, observation, memory), low[i]), high[i])
            memory["turned"][name] = memory["turned"].get(name, 0.0) + action[i] / gain
        if "gripper" in hand:
            action[hand["gripper"]] = hand["middle"] + hand["half"] * memory["grip"].get(name, -1.0)
    return action


FUNCTIONS = (
    decide, _averaged, _remaining, _point, _heading, _turning, _holds, _is_lost, _has_ended, _is_stuck,
    _resting, _motion,
)  # fmt: skip


def is_machine(program: StagedProgram, spec: TaskSpec) -> bool:
    """Return whether a program needs the functions above.

    Args:
        program: any.
        spec: the environment.
    """
    return len(hands_of(spec)) > 1 or any(
        stage.turn or stage.others or stage.until or stage.expects or stage.place.lead or stage.place.level
        for stage in program.stages
    )


def machine_code(program: StagedProgram, spec: TaskSpec) -> str:
    """Return ``act`` with the program as a table and the functions that run it.

    Args:
        program: what the code does.
        spec: the environment that it is for.
    """
    check(program, spec)
    data = table(program, spec)
    lines = ["PROGRAM = {"]
    for name, value in data.items():
        if name == "stages":
            lines.append('    "stages": [')
            for i, (stage, row) in enumerate(zip(program.stages, value, strict=True), 1):
                comment = textwrap.wrap(f"{i}. {_sentence(stage, spec)}", LINE - 10)
                lines += [f"        # {line}" for line in comment] + [f"{_literal(row, 8)},"]
            lines.append("    ],")
        else:
            lines.append(f'    "{name}": {_literal(value, 4).lstrip()},')
    functions = [PRIVATE.sub(r"\1", inspect.getsource(function).rstrip()) for function in FUNCTIONS]
    if not any(hand.gripper >= 0 for hand in hands_of(spec)):
        functions = [GRIPS.sub("", function).replace(" grip={},", "") for function in functions]
    return "\n\n\n".join([HEAD + "\n".join([*lines, "}"]), *functions, ACT.rstrip()]) + "\n"


def table(program: StagedProgram, spec: TaskSpec) -> Data:
    """Return a program as the table that ``decide`` runs, what is unused left out.

    Args:
        program: any that fits.
        spec: the environment.
    """
    data: Data = {
        "hands": {hand.name: _hand(hand, spec) for hand in hands_of(spec)},
        "low": [max(bound, -WIDEST) for bound in spec.low],
        "high": [min(bound, WIDEST) for bound in spec.high],
        "gain": 1.0 if spec.control == "pose" else program.gain,
        "stages": [_stage(stage, spec) for stage in program.stages],
    }
    rest = program.rest
    if rest is not None:
        data["rest"] = {"tracked": rest.tracked, "place": _used(rest.place), "tolerance": rest.tolerance}
        data["rest"].update(lasts=rest.lasts, still=rest.still)
    sight = {"sight": program.sight, "averaged": list(things(spec))} if program.sight else {}
    later = {"passes": program.passes, "spiral": program.spiral}
    return data | sight | {name: number for name, number in later.items() if number}


def _hand(hand: HandSpec, spec: TaskSpec) -> Data:
    data: Data = {"position": hand.position, "motion": hand.motion}
    data |= {"turn": hand.turn} if hand.turn >= 0 else {}
    data |= {"yaw": hand.yaw} if hand.yaw else {}
    if hand.gripper >= 0:
        middle, half = gripper_range(hand, spec)
        data.update(gripper=hand.gripper, middle=middle, half=half)
    return data


def _stage(stage: Stage, spec: TaskSpec) -> Data:
    # Where a number ends a stage, standing still does not.
    never = stage.until is not None and stage.tolerance == 0.0
    data: Data = {
        "moves": [_move(move, spec) for move in stage.moves],
        "tolerance": -1.0 if never else stage.tolerance,
        "decisions": stage.max_decisions,
    }
    if stage.grasp:
        data.update(grasp=stage.grasp, grasp_tolerance=stage.grasp_tolerance)
    if stage.guard:
        data["guard"] = stage.guard
    if stage.until is not None:
        data["until"] = _condition(stage.until, spec)
    if stage.expects is not None:
        data.update(expects=_condition(stage.expects, spec), back=stage.back)
    return data


def _move(move: Stage | Move, spec: TaskSpec) -> Data:
    data: Data = {"hand": move.hand or hands_of(spec)[0].name, "tracked": move.tracked}
    data["place"] = _used(move.place)
    data |= {"gripper": move.gripper} if has_gripper(move.hand, spec) else {}
    data["speed"] = move.speed
    if move.turn is not None:
        data["turn"] = _used(move.turn) | {"angle": move.turn.angle}
    return data


def _condition(condition: Condition, spec: TaskSpec) -> Data:
    size = next(part.size for part in spec.observation if part.name == condition.field)
    data: Data = {"field": condition.field} | ({"index": condition.index} if size > 1 else {})
    data["above" if condition.above else "below"] = condition.threshold
    return data | ({"change": True} if condition.change else {})


def _used(part: Waypoint | Turn) -> Data:
    return {name: value for name, value in asdict(part).items() if value not in ("", 0.0, "now", HERE)}


def _sentence(stage: Stage, spec: TaskSpec) -> str:
    parts = []
    for move in stage.moves:
        hand = f"{move.hand}: " if move.hand else ""
        turn = f", turned to {_orientation(move.turn)}" if move.turn else ""
        grip = f", {grip_phrase(move.gripper)}" if has_gripper(move.hand, spec) else ""
        parts.append(f"{hand}{short(move.tracked)} to {phrase_of(move.place)}{turn}{grip}")
    ends = f"; at most {stage.max_decisions} decisions"
    ends += f", until {_state(stage.until)}" if stage.until else ""
    back = f"; {stage.back} stages back unless {_state(stage.expects)}" if stage.expects else ""
    return "; ".join(parts) + ends + back


def _orientation(turn: Turn) -> str:
    axis = f"the line from {short(turn.start)} to {short(turn.end)}" if turn.start and turn.end else ""
    return f"{turn.field or axis or 'an angle'} + {turn.angle:.3g} rad"


def _state(condition: Condition) -> str:
    what = "the change of " * condition.change + condition.field
    return f"{what} is {'above' if condition.above else 'below'} {condition.threshold:.3g}"


def _literal(value: Any, indent: int) -> str:
    return textwrap.indent(pprint.pformat(value, width=LINE - indent, sort_dicts=False), " " * indent)


def phrase_of(place: Waypoint) -> str:
    """Return a phrase for the point that a place is."""
    text = short(place.anchor)
    when = {"entry": "when the stage began", "start": "at the start"}.get(place.when, "")
    text = f"where {text} was {when}" if when else text
    text += f" at the height of {place.level}" * bool(place.level)
    if any(place.offset):
        text += " + (" + ", ".join(f"{100 * number:.3g}" for number in place.offset) + ") cm"
    if place.toward and place.along:
        direction = "towards" if place.along > 0 else "away from"
        text += f", {100 * abs(place.along):.3g} cm {direction} {short(place.toward)}"
    return text


def grip_phrase(gripper: float) -> str:
    return "gripper open" if gripper <= -0.5 else "gripper closed" if gripper >= 0.5 else "gripper half open"


def short(position: str) -> str:
    return position.removesuffix("_position")
