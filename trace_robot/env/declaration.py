"""What a plug-in file says of an environment: plain data, and nothing is imported or started for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trace_robot.errors import WorkspaceError

if TYPE_CHECKING:
    from trace_robot.env.tracking import Tracking

Parts = Sequence["Part"]
Says = Callable[["Transition"], Any]


@dataclass(frozen=True, slots=True)
class Part:
    """A named run of numbers of an observation or an action.

    scale: of an action; the environment gets ``scale`` times what the controller says, so that -1 turns a sign.
    low, high: of an action, bounds in the controller's numbers, for an environment that has none.
    """

    name: str
    size: int = 1
    unit: str = ""
    meaning: str = ""
    scale: float = 1.0
    low: float | None = None
    high: float | None = None


def part(
    name: str,
    size: int = 1,
    unit: str = "",
    meaning: str = "",
    *,
    scale: float = 1.0,
    low: float | None = None,
    high: float | None = None,
) -> Part:
    """Name the next ``size`` numbers of an observation or an action."""
    if not isinstance(name, str) or not name.isidentifier():
        raise WorkspaceError(f"the name of a part must be a Python name such as 'joint_angles', got {name!r}")
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise WorkspaceError(f"part {name!r}: the size must be a whole number of at least 1, got {size!r}")
    if not scale:
        raise WorkspaceError(f"part {name!r}: the scale must not be 0; leave it out for 1")
    return Part(name, size, unit, meaning, float(scale), low, high)


def skip(size: int = 1) -> Part:
    """Leave the next ``size`` numbers of an observation out: the controller does not see them."""
    return Part("", size)


@dataclass(frozen=True, slots=True)
class Transition:
    """One step as ``success``, ``failure`` and ``reward`` of an ``Environment`` see it.

    observation: the named values that a controller sees. raw: the environment's own observation. env: the
    environment itself, unwrapped.
    """

    observation: Mapping[str, Any]
    reward: float
    terminated: bool
    info: Mapping[str, Any]
    raw: Any
    env: Any


@dataclass(frozen=True)
class Environment:
    """An environment in words; everything but the task has a default.

    id: a registered gymnasium id, with "module:" before it where a module must be imported to register it; or,
        with ``make``, any name.
    task: what a controller must do, in words.
    make: a class or function that returns the gymnasium environment, instead of ``gymnasium.make(id)``; it is
        given ``arguments``, and ``render_mode`` where pictures are asked for.
    name: what is typed for it; the id without its module where left out.
    observation, action: the parts, in order. For a Dict space a mapping from key to a part or parts, or to None
        for a key that the controller need not see. Left out, a Dict gives one part a key, a Tuple numbered parts,
        and a Box ``observation_0`` and so on.
    positions: names of the parts that are points in metres in the world frame; the hand first.
    success: an entry of ``info`` or a function of a ``Transition``; it ends the episode. Left out: "success" or
        "is_success" where ``info`` has it. success_when: the same in words.
    return_threshold: where success is a sum of rewards; it is looked at when the episode is over. Left out: the
        reward threshold that gymnasium knows of the id, where nothing else says what success is.
    failure: an entry of ``info`` or a function that ends the episode without success. failure_when: in words, also
        of an environment that terminates by itself.
    reward: a function that gives the reward instead of the environment's own.
    terms: entries of ``info`` worth telling; all numbers in it where left out.
    horizon: steps of an episode; what gymnasium knows of the id where left out, else 1000.
    camera: a camera of the model, or a view: "distance", "azimuth", "elevation", "x", "y", "z".
    marks: a function of the unwrapped environment that says where sites of its model are to be drawn: world
        positions by name, for goals that it moves only when it draws itself.
    pose: a tracking controller, which gives control mode "pose" beside "raw": an action is a target position.
    needs: the extra of trace-robot that installs what it needs.
    """

    id: str
    task: str
    make: Callable[..., Any] | None = None
    name: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    observation: Parts | Mapping[str, Part | Parts | None] | None = None
    action: Parts | Mapping[str, Part | Parts] | None = None
    positions: Sequence[str] = ()
    success: str | Says | None = None
    success_when: str = ""
    return_threshold: float | None = None
    failure: str | Says | None = None
    failure_when: str = ""
    reward: Says | None = None
    terms: Sequence[str] = ()
    horizon: int | None = None
    camera: str | Mapping[str, float] = ""
    marks: Callable[[Any], Mapping[str, Any]] | None = None
    pose: Tracking | None = None
    needs: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id.strip():
            raise WorkspaceError(
                f"Environment: id must be a gymnasium id such as 'Pusher-v5', or a name, got {self.id!r}"
            )
        problem = next(_problems(self), None)
        if problem is not None:
            raise WorkspaceError(f"Environment {self.id!r}: {problem}")

    @property
    def called(self) -> str:
        return self.name or self.id.rpartition(":")[2]

    @property
    def controls(self) -> tuple[str, ...]:
        return ("raw",) if self.pose is None else ("pose", "raw")


def _problems(spec: Environment) -> Any:
    """Yield what cannot be right in a declaration, without looking at the environment."""
    if not isinstance(spec.task, str) or not spec.task.strip():
        yield f"task must say in words what a controller must do, got {spec.task!r}"
    if spec.make is not None and not callable(spec.make):
        yield f"make must be a class or a function that returns the environment, got {spec.make!r}"
    for name in ("success", "failure"):
        value = getattr(spec, name)
        if value is not None and not isinstance(value, str) and not callable(value):
            yield f"{name} must name an entry of info or be a function of a step, got {value!r}"
    if spec.reward is not None and not callable(spec.reward):
        yield f"reward must be a function of a step, got {spec.reward!r}"
    if spec.success is not None and spec.return_threshold is not None:
        yield "success and return_threshold both say what success is; leave one out"
    if spec.return_threshold is not None and not isinstance(spec.return_threshold, int | float):
        yield f"return_threshold must be a number, got {spec.return_threshold!r}"
    horizon = spec.horizon
    if horizon is not None and (isinstance(horizon, bool) or not isinstance(horizon, int) or horizon < 1):
        yield f"horizon must be a whole number of at least 1, got {horizon!r}"
    for name in ("positions", "terms"):
        value = getattr(spec, name)
        if isinstance(value, str) or not all(isinstance(each, str) for each in value):
            yield f"{name} must be a tuple of names, got {value!r}"
    for name in ("observation", "action"):
        yield from _part_problems(name, getattr(spec, name))


def _part_problems(name: str, parts: Any) -> Any:
    if parts is None:
        return
    groups = parts.values() if isinstance(parts, Mapping) else [parts]
    for group in groups:
        each = [group] if isinstance(group, Part) or group is None else group
        if isinstance(each, str) or not isinstance(each, Sequence):
            yield f"{name} must be a list of parts, or a mapping from key to parts for a Dict space, got {each!r}"
            return
        for one in each:
            if one is None and isinstance(parts, Mapping) and name == "observation":
                continue
            if not isinstance(one, Part):
                yield f"{name}: each part must be part(name, size, unit, meaning), got {one!r}"
            elif name == "action" and not one.name:
                yield "action: an action cannot leave numbers out; name them all with part(...)"
            elif name == "observation" and (one.scale != 1.0 or one.low is not None or one.high is not None):
                yield f"observation: part {one.name!r} has scale, low or high, which are for actions only"
