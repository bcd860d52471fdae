"""A staged program as frozen data: what the interpreter runs, the writer writes and the search changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from trace_robot.errors import PolicyError
from trace_robot.spec import EnvSpec

Vector = tuple[float, float, float]
When = Literal["now", "entry", "start"]
HERE: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Place:
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
    place: Place
    gripper: float = -1.0
    speed: float = 1.0
    close: float = 0.02
    patience: int = 50
    hold: str = ""
    slack: float = 0.1


@dataclass(frozen=True, slots=True)
class Program:
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
    def from_data(cls, data: Mapping[str, Any]) -> Program:
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


def check(program: Program, spec: EnvSpec) -> None:
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
    where = Place(
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
