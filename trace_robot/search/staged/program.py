"""Staged programs as frozen data: what interpreter, writer and search share.

A staged program is a finite state machine for one hand or several: each stage is a proportional controller
towards a waypoint of each hand that moves in it, and ends there, after a number of decisions, or at a condition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from trace_robot.errors import PolicyError
from trace_robot.spec import TaskSpec, hands_of

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
    lead: decisions by which a moving anchor is led: its motion since the last decision is added this many times.
    level: an observation field of one number, metres, whose height takes the place of the anchor's; "" for none.
    """

    anchor: str
    offset: Vector = HERE
    when: When = "now"
    toward: str = ""
    along: float = 0.0
    lead: float = 0.0
    level: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """An orientation about the vertical axis that a hand takes and keeps.

    field: an observation field with an angle, rad, "" for none. start, end: position fields, of the level axis
    from one to the other; "" for none. angle: rad, added. symmetry: rad, by which orientations that count as the
    same are apart: 2 pi, or pi where half a turn changes nothing.
    """

    field: str = ""
    start: str = ""
    end: str = ""
    angle: float = 0.0
    symmetry: float = math.tau


@dataclass(frozen=True, slots=True)
class Condition:
    """Whether a number seen is above a threshold, or below it.

    field, index: an observation field and which of its numbers. above: else below. change: whether the number's
    change since the stage began counts in place of it.
    """

    field: str
    index: int
    threshold: float
    above: bool = True
    change: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """What another hand does in a stage, with the fields of ``Stage``."""

    hand: str
    tracked: str
    place: Waypoint
    gripper: float = -1.0
    speed: float = 1.0
    turn: Turn | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """One state of the machine: bring ``tracked`` to ``place``, then enter the next.

    tracked: the position field whose error is controlled, the hand's or that of a thing it carries or pushes.
    gripper: -1 open, +1 closed. speed: bound of the motion as a fraction of the action's own bounds.
    tolerance: metres between tracked and place at which the stage ends; 0 for never. max_decisions: after
    which it ends in any case. grasp: a position field that must stay within ``grasp_tolerance`` metres of the
    hand, else the program starts over, which counts as a pass; "" for none. guard: of a guarded move: the stage
    also ends when ``tracked`` has come no further than this, metres, in STALLED decisions; 0 for never.

    hand: the name of the hand that moves, "" for the first one. turn: the orientation that it takes, None for the one
    that it was given before. others: moves of other hands; the stage ends when all have arrived. A hand without a
    move stays where it is, its gripper too. until: the stage also ends when this is so. expects: must be so when the
    stage ends by itself, else the program goes ``back`` as many stages, at most to the first.
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
    hand: str = ""
    turn: Turn | None = None
    others: tuple[Move, ...] = ()
    until: Condition | None = None
    expects: Condition | None = None
    back: int = 0

    @property
    def moves(self) -> tuple[Stage | Move, ...]:
        """The move of the stage itself, then those of other hands."""
        return (self, *self.others)


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
            data["rest"] = {**asdict(self.rest), "place": _place_to_data(self.rest.place)}
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


def things(spec: TaskSpec) -> tuple[str, ...]:
    """Return the position fields that are no hand's: what hands can act on."""
    hands = {hand.position for hand in hands_of(spec)}
    return tuple(name for name in spec.positions if name not in hands)


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
        PolicyError: if ``spec`` lacks a position, a hand or a number that the program names, or has no hand.
    """
    hands = [hand.name for hand in hands_of(spec)]
    if not hands:
        raise PolicyError(
            "staged programs need the hands of an action, or two positions and an action of three numbers of motion "
            f"and one of the gripper; {spec.name!r} has {spec.action_size} numbers and positions "
            f"{', '.join(spec.positions) or 'none'}"
        )
    sizes = {part.name: part.size for part in spec.observation}
    moves = [move for stage in program.stages for move in stage.moves]
    users: list[Stage | Move | Rest] = [*moves, *([program.rest] if program.rest else [])]
    places = [(user.tracked, user.place.anchor, user.place.toward) for user in users]
    places += [(move.turn.start, move.turn.end, "") for move in moves if move.turn]
    for name in (*(name for names in places for name in names), *(stage.grasp for stage in program.stages)):
        if name and name not in spec.positions:
            known = ", ".join(spec.positions)
            raise PolicyError(f"{spec.name!r} has no position {name!r}; known: {known}")
    for stage in program.stages:
        used = [move.hand or hands[0] for move in stage.moves]
        if not set(used) <= set(hands) or len(set(used)) < len(used):
            known = ", ".join(hands)
            raise PolicyError(f"a stage moves hands of {spec.name!r} once each, got {used!r}; known: {known}")
    numbers = [
        (move.turn.field, 0 if sizes.get(move.turn.field) == 1 else -1)
        for move in moves
        if move.turn and move.turn.field
    ]
    levels = [user.place.level for user in users if user.place.level]
    numbers += [(name, 0 if sizes.get(name) == 1 else -1) for name in levels]
    conditions = [each for stage in program.stages for each in (stage.until, stage.expects) if each]
    for name, index in (*numbers, *((each.field, each.index) for each in conditions)):
        if not 0 <= index < sizes.get(name, 0):  # an angle is one number
            known = ", ".join(sizes)
            raise PolicyError(f"{spec.name!r} has no number {index} of a field {name!r}; known: {known}")


def _place_to_data(place: Waypoint) -> dict[str, Any]:
    return {name: value for name, value in asdict(place).items() if value or name not in ("lead", "level")}


def _stage_to_data(stage: Stage) -> dict[str, Any]:
    data: dict[str, Any] = {
        "mover": stage.tracked,
        "place": _place_to_data(stage.place),
        "gripper": stage.gripper,
        "speed": stage.speed,
        "close": stage.tolerance,
        "patience": stage.max_decisions,
        "hold": stage.grasp,
        "slack": stage.grasp_tolerance,
    }
    later: dict[str, Any] = {
        "guard": stage.guard,
        "hand": stage.hand,
        "turn": stage.turn and asdict(stage.turn),
        "others": tuple(_move_to_data(move) for move in stage.others),
        "until": stage.until and asdict(stage.until),
        "expects": stage.expects and asdict(stage.expects),
        "back": stage.back,
    }
    return data | {name: value for name, value in later.items() if value}


def _move_to_data(move: Move) -> dict[str, Any]:
    place, turn = _place_to_data(move.place), move.turn and asdict(move.turn)
    data = {"hand": move.hand, "mover": move.tracked, "place": place, "gripper": move.gripper}
    return data | {"speed": move.speed} | ({"turn": turn} if turn else {})


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
        str(data.get("hand", "")),
        _turn_from_data(data.get("turn")),
        tuple(_move_from_data(move) for move in data.get("others", ())),
        _condition_from_data(data.get("until")),
        _condition_from_data(data.get("expects")),
        int(data.get("back", 0)),
    )


def _move_from_data(data: Mapping[str, Any]) -> Move:
    place, turn = _waypoint_from_data(data["place"]), _turn_from_data(data.get("turn"))
    return Move(
        str(data["hand"]), str(data["mover"]), place, float(data["gripper"]), float(data["speed"]), turn
    )


def _turn_from_data(data: Mapping[str, Any] | None) -> Turn | None:
    if data is None:
        return None
    symmetry = _finite(data["symmetry"])
    if symmetry <= 0.0:
        raise ValueError(f"symmetry {symmetry!r}, which is radians above 0")
    return Turn(str(data["field"]), str(data["start"]), str(data["end"]), _finite(data["angle"]), symmetry)


def _condition_from_data(data: Mapping[str, Any] | None) -> Condition | None:
    if data is None:
        return None
    threshold, above, change = _finite(data["threshold"]), bool(data["above"]), bool(data["change"])
    return Condition(str(data["field"]), int(data["index"]), threshold, above, change)


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number!r}, which is no finite number")
    return number


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
        _finite(place.get("lead", 0.0)),
        str(place.get("level", "")),
    )


def _vector(numbers: Sequence[float]) -> Vector:
    x, y, z = numbers
    return float(x), float(y), float(z)
