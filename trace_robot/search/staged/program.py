"""A staged program as frozen data: what the interpreter runs, the writer writes and the search changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from trace_robot.errors import PolicyError
from trace_robot.spec import TaskSpec

Vector = tuple[float, float, float]
When = Literal["now", "entry", "start"]
HERE: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Waypoint:
    """A point in space, metres, world frame.

    anchor: the position field it is given from. when: the anchor as seen now, at the decision that entered
    the stage, or at the first decision of the episode. offset: added to the anchor. toward, along: then
    ``along`` metres (negative: away) horizontally towards the position field ``toward``, if there is one.
    """

    anchor: str
    offset: Vector = HERE
    when: When = "now"
    toward: str = ""
    along: float = 0.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Bring the position ``mover`` to ``place`` with the gripper at ``gripper`` (-1 open, +1 closed).

    speed: bound of the motion as a fraction of the action's own bounds. The stage ends when mover and place
    are within ``close`` metres (0: never) or after ``patience`` decisions. hold: a position that must stay
    within ``slack`` metres of the hand, else the program starts over (a pass as well); "" for none.
    """

    mover: str
    place: Waypoint
    gripper: float = -1.0
    speed: float = 1.0
    close: float = 0.02
    patience: int = 50
    hold: str = ""
    slack: float = 0.1


@dataclass(frozen=True, slots=True)
class StagedProgram:
    """Stages one after the other, then from the first again.

    gain: action per metre of error; without effect in pose control, where the action is the displacement
    itself. rounds: passes after which it stays still; 0 for never.
    """

    stages: tuple[Stage, ...]
    gain: float = 10.0
    rounds: int = 0

    def to_data(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> StagedProgram:
        """Raises PolicyError on anything that ``to_data`` could not have given."""
        try:
            stages = tuple(_stage(stage) for stage in data["stages"])
            program = cls(stages, float(data["gain"]), int(data["rounds"]))
        except (KeyError, TypeError, ValueError) as error:
            raise PolicyError(
                f"a staged program must be what Program.to_data gives, got {error!r}"
            ) from error
        if not stages:
            raise PolicyError("a staged program needs at least one stage, got none")
        return program


def check(program: StagedProgram, spec: TaskSpec) -> None:
    """Raise PolicyError if ``spec`` lacks a position that ``program`` names, or its action does not fit."""
    if spec.action_size != 4 or not spec.positions:
        raise PolicyError(
            "staged programs need a hand position and an action of three numbers of motion and one of the "
            f"gripper; {spec.name!r} has {spec.action_size} and positions {', '.join(spec.positions) or 'none'}"
        )
    for stage in program.stages:
        for name in (stage.mover, stage.place.anchor, stage.place.toward, stage.hold):
            if name and name not in spec.positions:
                known = ", ".join(spec.positions)
                raise PolicyError(f"{spec.name!r} has no position {name!r}; known: {known}")


def _stage(data: Mapping[str, Any]) -> Stage:
    place = data["place"]
    if place["when"] not in get_args(When):
        raise ValueError(f"when {place['when']!r}")
    where = Waypoint(
        str(place["anchor"]),
        _vector(place["offset"]),
        cast(When, place["when"]),
        str(place["toward"]),
        float(place["along"]),
    )
    return Stage(
        str(data["mover"]),
        where,
        float(data["gripper"]),
        float(data["speed"]),
        float(data["close"]),
        int(data["patience"]),
        str(data["hold"]),
        float(data["slack"]),
    )


def _vector(numbers: Sequence[float]) -> Vector:
    x, y, z = numbers
    return float(x), float(y), float(z)


DIRECTIONS = (("left", "right"), ("back", "forward"), ("lower", "lift"))
ABOVE = 0.04  # metres over its anchor from which a place counts as above it


def names(program: StagedProgram) -> list[str]:
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


def where(place: Waypoint) -> str:
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


def _move(place: Waypoint, what: str) -> str:
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
