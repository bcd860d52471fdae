"""Names and sentences for the stages of a program."""

from __future__ import annotations

from trace_robot.program.data import Place, Program, Stage

DIRECTIONS = (("left", "right"), ("back", "forward"), ("lower", "lift"))
ABOVE = 0.04  # metres over its anchor from which a place counts as above it


def names(program: Program) -> list[str]:
    """Return a different function name for each stage, telling what it does."""
    pairs = zip(program.stages, (None, *program.stages[:-1]), strict=True)
    plain = [_name(stage, previous) for stage, previous in pairs]
    result: list[str] = []
    for i, name in enumerate(plain):
        earlier = plain[:i].count(name)
        result.append(f"{name}_{earlier + 1}" if plain.count(name) > 1 else name)
    return result


def sentence(stage: Stage) -> str:
    """Say in words what a stage does and when it ends."""
    ends = f"for {stage.patience} decisions"
    if stage.close > 0:
        ends = f"until within {_centimetres(stage.close)} cm or for {stage.patience} decisions"
    kept = ""
    if stage.hold:
        away = f"more than {_centimetres(stage.slack)} cm from the hand"
        kept = f"; starts over if {short(stage.hold)} is {away}"
    return f"{short(stage.mover)} to {where(stage.place)}, {grip(stage.gripper)}, {ends}{kept}"


def where(place: Place) -> str:
    """Say in words which point a place is."""
    text = short(place.anchor)
    if place.when == "entry":
        text = f"where {text} was when the stage began"
    elif place.when == "start":
        text = f"where {text} was at the start"
    if any(place.offset):
        text += " + (" + ", ".join(_centimetres(number) for number in place.offset) + ") cm"
    if place.toward and place.along:
        direction = "towards" if place.along > 0 else "away from"
        text += f", {_centimetres(abs(place.along))} cm {direction} {short(place.toward)}"
    return text


def grip(gripper: float) -> str:
    return "gripper open" if gripper <= -0.5 else "gripper closed" if gripper >= 0.5 else "gripper half open"


def short(position: str) -> str:
    return position.removesuffix("_position")


def _name(stage: Stage, previous: Stage | None) -> str:
    place = stage.place
    if stage.mover != place.anchor and not stage.mover.startswith("hand"):
        return f"bring_{short(stage.mover)}_to_{short(place.anchor)}"
    if previous is not None and stage.gripper - previous.gripper >= 1.0 and stage.close == 0:
        return "close_gripper"
    if previous is not None and stage.gripper - previous.gripper <= -1.0 and stage.close == 0:
        return "open_gripper"
    if stage.mover == place.anchor:
        return _move(place, "" if stage.mover.startswith("hand") else f"_{short(stage.mover)}")
    side = max(abs(place.offset[0]), abs(place.offset[1]), abs(place.along))
    if place.offset[2] >= ABOVE and side <= place.offset[2]:
        return f"go_above_{short(place.anchor)}"
    if place.toward and abs(place.along) >= ABOVE:
        return f"go_{'before' if place.along > 0 else 'behind'}_{short(place.anchor)}"
    return f"go_to_{short(place.anchor)}"


def _move(place: Place, what: str) -> str:
    """Name a motion relative to where something is or was by its largest part."""
    if place.toward and abs(place.along) > max(abs(number) for number in place.offset):
        return f"move{what}_{'towards' if place.along > 0 else 'away_from'}_{short(place.toward)}"
    axis = max(range(3), key=lambda i: abs(place.offset[i]))
    direction = DIRECTIONS[axis][place.offset[axis] > 0]
    if not any(place.offset):
        return f"wait{what}"
    return f"{direction}{what}" if axis == 2 else f"move{what}_{direction}"


def _centimetres(metres: float) -> str:
    return f"{100 * metres:.3g}"
