"""Staged programs as frozen data: what interpreter, writer and search share.

A staged program is a finite state machine for a hand with a gripper: each stage is a proportional controller
towards a waypoint, and ends at it or after a number of decisions.
"""

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

    anchor: the position field it is given from. when: the anchor as observed now, at the decision that
    entered the stage, or at the first decision of the episode. offset: added to the anchor. toward, along:
    then ``along`` metres (negative: away) horizontally towards the position field ``toward``, if there is one.
    """

    anchor: str
    offset: Vector = HERE
    when: When = "now"
    toward: str = ""
    along: float = 0.0


@dataclass(frozen=True, slots=True)
class Stage:
    """One state of the machine: bring ``tracked`` to ``place``, then enter the next.

    tracked: the position field whose error is controlled, the hand's or that of a thing it carries or pushes.
    gripper: -1 open, +1 closed. speed: bound of the motion as a fraction of the action's own bounds.
    tolerance: metres between tracked and place at which the stage ends; 0 for never. max_decisions: after
    which it ends in any case. grasp: a position field that must stay within ``grasp_tolerance`` metres of the
    hand, else the program starts over, which counts as a pass; "" for none.
    """

    tracked: str
    place: Waypoint
    gripper: float = -1.0
    speed: float = 1.0
    tolerance: float = 0.02
    max_decisions: int = 50
    grasp: str = ""
    grasp_tolerance: float = 0.1


@dataclass(frozen=True, slots=True)
class StagedProgram:
    """Stages one after the other, then from the first again.

    gain: action per metre of error; without effect in pose control, where the action is the displacement
    itself. passes: after which the hand stays still; 0 for never.
    """

    stages: tuple[Stage, ...]
    gain: float = 10.0
    passes: int = 0

    def to_data(self) -> dict[str, Any]:
        """Return JSON-able data, under stored names: journals hold its hash."""
        return {
            "stages": tuple(_stage_to_data(stage) for stage in self.stages),
            "gain": self.gain,
            "rounds": self.passes,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> StagedProgram:
        """Return the program that ``to_data`` gave.

        Raises:
            PolicyError: on anything that ``to_data`` could not have given.
        """
        try:
            stages = tuple(_stage_from_data(stage) for stage in data["stages"])
            program = cls(stages, float(data["gain"]), int(data["rounds"]))
        except (KeyError, TypeError, ValueError) as error:
            raise PolicyError(
                f"a staged program must be what StagedProgram.to_data gives, got {error!r}"
            ) from error
        if not stages:
            raise PolicyError("a staged program needs at least one stage, got none")
        return program


def check(program: StagedProgram, spec: TaskSpec) -> None:
    """Refuse a program that an environment cannot run.

    Args:
        program: what is to run.
        spec: the environment.

    Raises:
        PolicyError: if ``spec`` lacks a position that the program names, or its action is not three numbers
            of motion and one of the gripper.
    """
    if spec.action_size != 4 or not spec.positions:
        raise PolicyError(
            "staged programs need a hand position and an action of three numbers of motion and one of the "
            f"gripper; {spec.name!r} has {spec.action_size} and positions {', '.join(spec.positions) or 'none'}"
        )
    for stage in program.stages:
        for name in (stage.tracked, stage.place.anchor, stage.place.toward, stage.grasp):
            if name and name not in spec.positions:
                known = ", ".join(spec.positions)
                raise PolicyError(f"{spec.name!r} has no position {name!r}; known: {known}")


def _stage_to_data(stage: Stage) -> dict[str, Any]:
    return {
        "mover": stage.tracked,
        "place": asdict(stage.place),
        "gripper": stage.gripper,
        "speed": stage.speed,
        "close": stage.tolerance,
        "patience": stage.max_decisions,
        "hold": stage.grasp,
        "slack": stage.grasp_tolerance,
    }


def _stage_from_data(data: Mapping[str, Any]) -> Stage:
    place = data["place"]
    if place["when"] not in get_args(When):
        raise ValueError(f"when {place['when']!r}")
    waypoint = Waypoint(
        str(place["anchor"]),
        _vector(place["offset"]),
        cast(When, place["when"]),
        str(place["toward"]),
        float(place["along"]),
    )
    return Stage(
        str(data["mover"]),
        waypoint,
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
