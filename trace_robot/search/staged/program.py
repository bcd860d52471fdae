"""Staged programs as frozen data: what interpreter, writer and search share.

A staged program is a finite state machine for a hand with a gripper: each stage is a proportional controller
towards a waypoint, and ends at it or after a number of decisions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from trace_robot.errors import PolicyError
from trace_robot.spec import TaskSpec

Vector = tuple[float, float, float]
When = Literal["now", "entry", "start"]
HERE: Vector = (0.0, 0.0, 0.0)
STALLED = 5  # decisions in which a guarded move must get ahead
WIDEST_SPIRAL = 0.1  # metres
LONGEST_REST = 1_000_000  # decisions
TURN = 2.4  # radians from one try of a spiral to the next: about the golden angle, so that no two are alike


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
    hand, else the program starts over, which counts as a pass; "" for none. guard: of a guarded move: the stage
    also ends when ``tracked`` has come no further than this, metres, in STALLED decisions; 0 for never.
    """

    tracked: str
    place: Waypoint
    gripper: float = -1.0
    speed: float = 1.0
    tolerance: float = 0.02
    max_decisions: int = 50
    grasp: str = ""
    grasp_tolerance: float = 0.1
    guard: float = 0.0


@dataclass(frozen=True, slots=True)
class Rest:
    """The state in which a program has done its task, as far as is seen.

    It rests from the decision on at which ``tracked`` is within ``tolerance`` metres of ``place``, and for
    ``lasts`` decisions after the last one of which that is true; then the stage goes on that it was in.

    still: whether the hand stays where it is meanwhile. Else it goes on with what the stage does, without an end.
    The gripper stays as it is in that stage.
    """

    tracked: str
    place: Waypoint
    tolerance: float = 0.02
    lasts: int = 20
    still: bool = True


@dataclass(frozen=True, slots=True)
class StagedProgram:
    """Stages one after the other, then from the first again.

    gain: action per metre of error; without effect in pose control, where the action is the displacement
    itself. passes: after which the hand stays still; 0 for never. rest: when it stops starting over, None for
    never. sight: the weight of what is new in an exponential moving average of the positions, which is seen in
    their place; the hand's is seen as it is. 0 for no average. spiral: metres between the tries of a search in a
    spiral: in pass p the hand's targets are a level step of ``spiral_step(spiral, p)`` aside; 0 for none.
    """

    stages: tuple[Stage, ...]
    gain: float = 10.0
    passes: int = 0
    rest: Rest | None = None
    sight: float = 0.0
    spiral: float = 0.0

    def to_data(self) -> dict[str, Any]:
        """Return JSON-able data, under stored names: journals hold its hash.

        What came later than the first stored runs is in it only where it is set, so that their hashes stay.
        """
        data: dict[str, Any] = {
            "stages": tuple(_stage_to_data(stage) for stage in self.stages),
            "gain": self.gain,
            "rounds": self.passes,
        }
        if self.rest is not None:
            data["rest"] = asdict(self.rest)
        if self.sight:
            data["sight"] = self.sight
        if self.spiral:
            data["spiral"] = self.spiral
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> StagedProgram:
        """Return the program that ``to_data`` gave.

        Raises:
            PolicyError: on anything that ``to_data`` could not have given.
        """
        try:
            stages = tuple(_stage_from_data(stage) for stage in data["stages"])
            rest = None if data.get("rest") is None else _rest_from_data(data["rest"])
            sight = float(data.get("sight", 0.0))
            if not 0.0 <= sight <= 1.0:
                raise ValueError(f"sight {sight!r}, which is a weight from 0 to 1")
            spiral = float(data.get("spiral", 0.0))
            if not 0.0 <= spiral <= WIDEST_SPIRAL:
                raise ValueError(f"spiral {spiral!r}, which is metres from 0 to {WIDEST_SPIRAL}")
            program = cls(stages, float(data["gain"]), int(data["rounds"]), rest, sight, spiral)
        except (KeyError, TypeError, ValueError) as error:
            raise PolicyError(
                f"a staged program must be what StagedProgram.to_data gives, got {error!r}"
            ) from error
        if not stages:
            raise PolicyError("a staged program needs at least one stage, got none")
        return program


def spiral_step(spiral: float, tries: int) -> tuple[float, float]:
    """Return a level step of Vogel's spiral, which is even over a growing disk.

    Args:
        spiral: metres; the radius is this times the square root of ``tries``.
        tries: how many were made before. 0 gives no step.

    Returns:
        Metres along x and y.
    """
    radius, angle = spiral * math.sqrt(tries), TURN * tries
    return radius * math.cos(angle), radius * math.sin(angle)


def relations(spec: TaskSpec) -> list[tuple[str, Waypoint]]:
    """Return what may say that a task is done: positions and where they are seen from.

    Each position from where it began, and each pair of them from one to the other.
    """
    names = spec.positions
    pairs = [(one, Waypoint(other)) for i, one in enumerate(names) for other in names[i + 1 :]]
    return [*pairs, *((name, Waypoint(name, when="start")) for name in names)]


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
    users: list[Stage | Rest] = [*program.stages, *([program.rest] if program.rest else [])]
    for user in users:
        grasp = user.grasp if isinstance(user, Stage) else ""
        for name in (user.tracked, user.place.anchor, user.place.toward, grasp):
            if name and name not in spec.positions:
                known = ", ".join(spec.positions)
                raise PolicyError(f"{spec.name!r} has no position {name!r}; known: {known}")


def _stage_to_data(stage: Stage) -> dict[str, Any]:
    data: dict[str, Any] = {
        "mover": stage.tracked,
        "place": asdict(stage.place),
        "gripper": stage.gripper,
        "speed": stage.speed,
        "close": stage.tolerance,
        "patience": stage.max_decisions,
        "hold": stage.grasp,
        "slack": stage.grasp_tolerance,
    }
    if stage.guard:
        data["guard"] = stage.guard
    return data


def _stage_from_data(data: Mapping[str, Any]) -> Stage:
    return Stage(
        str(data["mover"]),
        _waypoint_from_data(data["place"]),
        float(data["gripper"]),
        float(data["speed"]),
        float(data["close"]),
        int(data["patience"]),
        str(data["hold"]),
        float(data["slack"]),
        _guard(data.get("guard", 0.0)),
    )


def _guard(value: Any) -> float:
    guard = float(value)
    if not 0.0 <= guard < math.inf:
        raise ValueError(f"guard {guard!r}, which is metres, 0 or more")
    return guard


def _rest_from_data(data: Mapping[str, Any]) -> Rest:
    place, still = _waypoint_from_data(data["place"]), data["still"]
    tolerance, lasts = float(data["tolerance"]), int(data["lasts"])
    if not 0.0 <= tolerance < math.inf or not 0 <= lasts <= LONGEST_REST or not isinstance(still, bool):
        raise ValueError(f"a rest of {tolerance} m, {lasts} decisions, still {still!r}")
    return Rest(str(data["tracked"]), place, tolerance, lasts, still)


def _waypoint_from_data(place: Mapping[str, Any]) -> Waypoint:
    if place["when"] not in get_args(When):
        raise ValueError(f"when {place['when']!r}")
    return Waypoint(
        str(place["anchor"]),
        _vector(place["offset"]),
        cast(When, place["when"]),
        str(place["toward"]),
        float(place["along"]),
    )


def _vector(numbers: Sequence[float]) -> Vector:
    x, y, z = numbers
    return float(x), float(y), float(z)
