"""Declarations: what a plug-in file says about an environment, as plain data.

Nothing is imported or started for a declaration.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from trace_robot.child_process import workspace_root
from trace_robot.errors import KnownFields, WorkspaceError
from trace_robot.safe_files import interpreter_of

if TYPE_CHECKING:
    from trace_robot.env.tracking import Tracking

Parts = Sequence["Part"]
OfTransition = Callable[["Transition"], Any]
SUCCESS_FLAGS = ("success", "is_success")  # what environments call it in info: Meta-World, gymnasium-robotics
SUCCESS_MISSING = "success_missing"  # in the last info of an episode that never had the declared entry


@dataclass(frozen=True, slots=True)
class Part:
    """A named run of numbers of an observation or an action, made by ``part``.

    Attributes:
        name: a Python name; "" for numbers that ``skip`` leaves out.
        size: how many numbers.
        unit: such as "m" or "rad/s".
        meaning: what the numbers are, for a model to read.
        scale: of an action: the environment gets ``scale`` times the controller's number, so -1 turns a sign.
        low: of an action: a lower bound in the controller's numbers, for an environment that has none.
        high: an upper bound, likewise.
        height: of a planar point of an observation: the constant third number that a controller sees, meters.
    """

    name: str
    size: int = 1
    unit: str = ""
    meaning: str = ""
    scale: float = 1.0
    low: float | None = None
    high: float | None = None
    height: float | None = None


def part(
    name: str,
    size: int = 1,
    unit: str = "",
    meaning: str = "",
    *,
    scale: float = 1.0,
    low: float | None = None,
    high: float | None = None,
    height: float | None = None,
) -> Part:
    """Name the next ``size`` numbers of an observation or an action.

    Args:
        name: a Python name such as "joint_angles"; a controller reads ``observation["joint_angles"]``.
        size: how many numbers, at least 1. One number is a float to the controller, more are an array.
        unit: such as "m" or "rad/s".
        meaning: what the numbers are, for a model to read.
        scale: of an action: the environment gets ``scale`` times the controller's number, so -1 turns a sign.
        low: of an action: a lower bound in the controller's numbers. It can narrow the bounds of the space, and
            is needed where the space has none.
        high: an upper bound, likewise.
        height: of a planar point, two numbers x and y: its constant z, meters. A controller sees three numbers.

    Raises:
        WorkspaceError: the name is no Python name, the size is not a whole number of at least 1, the scale is 0, or
            what has a height is no planar point.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise WorkspaceError(f"the name of a part must be a Python name such as 'joint_angles', got {name!r}")
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise WorkspaceError(f"part {name!r}: the size must be a whole number of at least 1, got {size!r}")
    if not scale or not math.isfinite(scale):
        raise WorkspaceError(
            f"part {name!r}: the scale must be finite and not 0, got {scale!r}; leave it out for 1"
        )
    for end, bound in (("low", low), ("high", high)):
        if bound is not None and math.isnan(bound):
            raise WorkspaceError(f"part {name!r}: {end} must be a number, got {bound!r}")
    if height is not None and (size != 2 or not math.isfinite(height)):
        raise WorkspaceError(f"part {name!r}: a finite height is for 2 numbers, x, y; got {size}, {height!r}")
    return Part(name, size, unit, meaning, float(scale), low, high, height)


def skip(size: int = 1) -> Part:
    """Hide the next ``size`` numbers of an observation from the controller."""
    return Part("", size)


@dataclass(frozen=True, slots=True)
class Hand(KnownFields):
    """A hand that an action moves, declared in ``Environment.hands``.

    With ``motion`` the environment's own action moves it along x, y, z. Without, its joints are moved by inverse
    kinematics of the MuJoCo model, which adds control mode "pose": an action is then a displacement in meters for each
    hand, its turn and its gripper, and the numbers that no hand uses.

    Attributes:
        position: the observation part that is its position, (3,), meters, world frame.
        name: of the hand, a Python name.
        site: of the MuJoCo model, at the hand's position; found by that position where neither is given.
        body: likewise, for a model without a site there.
        motion: the action part of three numbers that move it along x, y, z; "" for inverse kinematics.
        gripper: the action part of its gripper; found where left out without ``motion``.
        opens: the sign of the gripper's number that opens it; None for what is measured without ``motion``, else -1.
        turn: the action part that turns it about the vertical axis. Without ``motion`` any name, which asks for
            such a number.
        yaw: the observation part with that angle, one number, rad; without ``motion`` it asks for a turn as well.
        joints: of the MuJoCo model, that move it; found where left out.
    """

    position: str = "tip_position"
    name: str = "hand"
    site: str = ""
    body: str = ""
    motion: str = ""
    gripper: str = ""
    opens: float | None = None
    turn: str = ""
    yaw: str = ""
    joints: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Transition:
    """One step, as an ``Environment``'s own functions see it.

    These are ``success``, ``failure`` and ``reward``.

    Attributes:
        observation: the named values that a controller sees after the step.
        reward: the environment's own reward of the step.
        terminated: whether the environment itself ended the episode.
        info: the environment's own info.
        raw: the environment's own observation.
        env: the environment itself, unwrapped.
    """

    observation: Mapping[str, Any]
    reward: float
    terminated: bool
    info: Mapping[str, Any]
    raw: Any
    env: Any


@dataclass(frozen=True)
class Environment(KnownFields):
    """Declaration of an environment and its task.

    Everything but ``id`` and ``task`` has a default.

    Attributes:
        id: a registered gymnasium id, with "module:" before it where a module must be imported to register it;
            or, with ``make``, any name.
        task: what a controller must do, as text for people and models.
        make: a class or function that returns the gymnasium environment, instead of ``gymnasium.make(id)``; it
            gets ``arguments``, and ``render_mode`` where pictures are asked for. It may be a text, and with ``python``
            must: "FILE.py:FUNCTION" relative to this file, or "MODULE:FUNCTION".
        name: what is typed for it; the id without its module where left out.
        arguments: keyword arguments of ``make`` or ``gymnasium.make``.
        observation: the parts, in order. For a Dict space a mapping from key to a part or parts, or to None for a
            key that the controller need not see. Left out, a Dict gives one part a key, a Tuple numbered parts,
            and a Box ``observation_0`` and so on.
        action: likewise; every number needs a name.
        positions: names of the parts that are points in meters in the world frame, the hand first.
        success: an entry of ``info`` or a function of a ``Transition``; it ends the episode. Left out: "success"
            or "is_success" where ``info`` has one of them, be it in the last step only.
        success_when: the same as text.
        return_threshold: where success is a sum of rewards; it is compared when the episode is over. Left out:
            the reward threshold that gymnasium knows of the id, where nothing else decides success.
        failure: an entry of ``info`` or a function that ends the episode without success.
        failure_when: the same as text, also of an environment that terminates by itself.
        reward: a function that gives the reward instead of the environment's own.
        terms: entries of ``info`` that feedback shows; all numbers in it where left out.
        horizon: steps of an episode; what gymnasium knows of the id where left out, else 1000.
        camera: a camera of the model, or a view: "distance", "azimuth", "elevation" (degrees), "x", "y", "z".
        marks: a function of the unwrapped environment that returns where sites of its model are to be drawn:
            world positions by name, for goals that it moves only when it draws itself.
        pose: a tracking controller, which adds control mode "pose" to "raw": an action is a target position.
        needs: the extra of trace-robot that installs what it needs.
        hands: the hands that an action moves. Without ``Hand.motion`` they add control mode "pose" as well, by
            inverse kinematics.
        python: the path of another interpreter, relative to this file, in which the environment runs.
        facts: lines that a prompt shows beside its model's; "joint lid:" withholds those that begin so, () all.

    Raises:
        WorkspaceError: a field has a value that cannot be right; the message names the field.
    """

    id: str
    task: str
    make: Callable[..., Any] | str | None = None
    name: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    observation: Parts | Mapping[str, Part | Parts | None] | None = None
    action: Parts | Mapping[str, Part | Parts] | None = None
    positions: Sequence[str] = ()
    success: str | OfTransition | None = None
    success_when: str = ""
    return_threshold: float | None = None
    failure: str | OfTransition | None = None
    failure_when: str = ""
    reward: OfTransition | None = None
    terms: Sequence[str] = ()
    horizon: int | None = None
    camera: str | Mapping[str, float] = ""
    marks: Callable[[Any], Mapping[str, Any]] | None = None
    pose: Tracking | None = None
    needs: str = ""
    hands: Sequence[Hand] = ()
    python: str = ""
    facts: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id.strip():
            raise WorkspaceError(
                f"Environment: id must be a gymnasium id such as 'Pusher-v5', or a name, got {self.id!r}"
            )
        problem = next(_problems(self), None)
        if problem is not None:
            raise WorkspaceError(f"Environment {self.id!r}: {problem}")

    @property
    def env_name(self) -> str:
        """The name to type: ``name``, or the id without its module."""
        return self.name or self.id.rpartition(":")[2]

    @property
    def controls(self) -> tuple[str, ...]:
        """The control modes: "pose" comes with ``pose`` or inverse kinematics."""
        return ("pose", "raw") if self.pose is not None or self.solves else ("raw",)

    @property
    def solves(self) -> bool:
        """Whether inverse kinematics moves its hands."""
        return bool(self.hands) and not self.hands[0].motion


def _problems(declared: Environment) -> Iterator[str]:
    """Yield what cannot be right in a declaration, without looking at the environment."""
    if not isinstance(declared.task, str) or not declared.task.strip():
        yield f"task must be a text that says what a controller must do, got {declared.task!r}"
    if isinstance(declared.make, str):
        if not all(declared.make.rpartition(":")[::2]):
            yield f"make as a text must be 'FILE.py:FUNCTION' or 'MODULE:FUNCTION', got {declared.make!r}"
    elif declared.make is not None and not callable(declared.make):
        yield f"make must be a class or a function that returns the environment, got {declared.make!r}"
    elif declared.make is not None and declared.python:
        yield (
            f"make must be a text such as 'parts/arm.py:make' where python={declared.python!r}, as that interpreter"
            f" cannot be given the function {getattr(declared.make, '__name__', declared.make)!r} of this one"
        )
    if not isinstance(declared.python, str):
        yield f"python must be the path of an interpreter, got {declared.python!r}"
    for name, value in (("success", declared.success), ("failure", declared.failure)):
        if value is not None and not isinstance(value, str) and not callable(value):
            yield f"{name} must name an entry of info or be a function of a step, got {value!r}"
    if declared.reward is not None and not callable(declared.reward):
        yield f"reward must be a function of a step, got {declared.reward!r}"
    if declared.success is not None and declared.return_threshold is not None:
        yield "success and return_threshold both say what success is; leave one out"
    threshold = declared.return_threshold
    if threshold is not None and not _is_number(threshold):
        yield f"return_threshold must be a number, got {threshold!r}"
    elif threshold is not None and not math.isfinite(threshold):
        yield f"return_threshold must be finite, got {threshold!r}; leave it out where no sum of rewards is a success"
    horizon = declared.horizon
    if horizon is not None and (isinstance(horizon, bool) or not isinstance(horizon, int) or horizon < 1):
        yield f"horizon must be a whole number of at least 1, got {horizon!r}"
    lists = (("positions", declared.positions), ("terms", declared.terms), ("facts", declared.facts or ()))
    for name, names in lists:
        # A text is a sequence of texts too: positions="hand" would be four names of one letter.
        if isinstance(names, str) or not all(isinstance(entry, str) for entry in names):
            yield f"{name} must be a tuple of {'lines' if name == 'facts' else 'names'}, got {names!r}"
    for name, parts in (("observation", declared.observation), ("action", declared.action)):
        yield from _part_problems(name, parts)
    yield from _hand_problems(declared)


def _hand_problems(declared: Environment) -> Iterator[str]:
    hands = declared.hands
    if isinstance(hands, str) or not isinstance(hands, Sequence):
        yield f"hands must be a list of Hand(...), got {hands!r}"
        return
    for hand in hands:
        if not isinstance(hand, Hand):
            yield f"hands: each hand must be Hand(position, ...), got {hand!r}"
            return
        if not isinstance(hand.name, str) or not hand.name.isidentifier():
            yield f"hands: the name of a hand must be a Python name such as 'left', got {hand.name!r}"
        if hand.opens not in (None, 1, -1):
            yield f"hands: opens of {hand.name!r} must be 1 or -1, got {hand.opens!r}"
        if hand.site and hand.body:
            yield f"hands: {hand.name!r} has site {hand.site!r} and body {hand.body!r}; leave one out"
        unused = [name for name in ("site", "body", "joints") if getattr(hand, name)]
        if hand.motion and unused:
            yield f"hands: {hand.name!r} has motion, which needs no {' and no '.join(unused)}; leave out either"
    names = [hand.name for hand in hands]
    if len(set(names)) < len(names):
        yield f"hands: each needs a name that no other has, got {', '.join(names)}"
    if len({bool(hand.motion) for hand in hands}) == 2:
        yield "hands: either all have motion, or none of them and inverse kinematics moves all"
    if declared.solves and declared.pose is not None:
        yield "pose and hands without motion both say what mode pose is; leave one out, or name the parts of motion"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _part_problems(name: str, parts: Any) -> Iterator[str]:
    if parts is None:
        return
    groups = parts.values() if isinstance(parts, Mapping) else [parts]
    for group in groups:
        members = [group] if isinstance(group, Part) or group is None else group
        if isinstance(members, str) or not isinstance(members, Sequence):
            more = "; a Dict within a Dict is one list" if isinstance(members, Mapping) else ""
            text = f"{name} must be a list of parts, or a mapping from key to parts for a Dict space{more}"
            yield f"{text}, got {members!r}"
            return
        for member in members:
            if member is None and isinstance(parts, Mapping) and name == "observation":
                continue
            if not isinstance(member, Part):
                yield f"{name}: each part must be part(name, size, unit, meaning), got {member!r}"
            elif name == "action" and member.height is not None:
                yield f"action: part {member.name!r} has a height, which is for observations only"
            elif name == "action" and not member.name:
                yield "action: an action cannot leave numbers out; name them all with part(...)"
            elif name == "observation" and (
                member.scale != 1.0 or member.low is not None or member.high is not None
            ):
                yield f"observation: part {member.name!r} has scale, low or high, which are for actions only"


def with_options(declaration: Environment, options: Mapping[str, Any]) -> Environment:
    """Return the declaration with the options that take the place of its fields.

    Args:
        declaration: of a plug-in.
        options: as of ``describe``; those of the environment itself are left out.
    """
    changes: dict[str, Any] = {}
    if path := options.get("python"):
        # Of the working directory, as on a command line; one in a declaration is relative to its file.
        changes["python"] = interpreter_of(path)
    if options.get("task"):
        changes["task"] = str(options["task"])
    if options.get("horizon") is not None:
        changes["horizon"] = options["horizon"]
    # The threshold takes the place of the declared success, or both would decide.
    if options.get("return_threshold") is not None:
        changes |= {"return_threshold": options["return_threshold"], "success": None, "success_when": ""}
    return replace(declaration, **changes) if changes else declaration


def interpreter_path(path: str, folder: str = "") -> str:
    """Return an interpreter's absolute path.

    Links are not followed: that of a virtual environment says where its packages are.

    Args:
        path: absolute, or relative to ``folder``; "~" is the home folder.
        folder: the workspace's where it is "".

    Raises:
        WorkspaceError: there is no such file, or it cannot be executed.
    """
    if os.name != "posix":
        raise WorkspaceError("an environment in another interpreter needs Linux or macOS; leave python out")
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise WorkspaceError(
            f"python must be the path of an interpreter, such as ENV/bin/python, got {path!r}"
        )
    place = os.path.abspath(os.path.join(folder or workspace_root(), os.path.expanduser(path)))
    if os.path.isdir(place):
        raise WorkspaceError(
            f"python must be an interpreter, got the folder {place!r}; is it {place}/bin/python?"
        )
    if not os.path.exists(place):
        raise WorkspaceError(f"there is no interpreter {place!r}; give the path of one, or a name on PATH")
    if not os.access(place, os.X_OK):
        raise WorkspaceError(f"the interpreter {place!r} is not executable; give another one, or chmod +x it")
    return place
