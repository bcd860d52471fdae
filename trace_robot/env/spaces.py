"""Leaves, bounds and values of gymnasium's spaces, as runs of numbers; hands as parts of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from trace_robot.errors import WorkspaceError, unknown
from trace_robot.spec import Array, Field, HandSpec, TaskSpec

if TYPE_CHECKING:
    from trace_robot.env.declaration import Environment, Hand
    from trace_robot.env.motion_model import PushResponse
    from trace_robot.env.tracking import Tracking

FEW = 64  # numbers: 0.5 µs as floats for 39, where an array with its warnings off takes 1.4
ASIDE = 0.1  # part of a number's motion by which it may move a hand along another axis
STAYS = 16  # steps within which a hand must have arrived, to stay there
DIFFERS = 0.1  # part of the motion by which a hand that has arrived may still differ
SPACES = "Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A space that holds no other spaces, at ``[start:stop]`` of the flat vector.

    path: the keys of Dict and numbers of Tuple spaces that lead to it.
    """

    path: tuple[Any, ...]
    space: Any
    start: int
    stop: int

    @property
    def name(self) -> str:
        """The path as a Python name, or nearly one: a key may begin with a digit."""
        return "_".join(re.sub(r"\W", "_", str(key)) for key in self.path)


def leaves_of(space: Any, what: str, hidden: Collection[Any] = ()) -> tuple[Leaf, ...]:
    """Return the spaces in a space that hold no others, depth first.

    Args:
        space: a gymnasium space.
        what: "observation" or "action", for messages.
        hidden: keys of a Dict space that are left out, of whatever kind their spaces are.

    Raises:
        WorkspaceError: a space of another kind, such as Text or Graph.
    """
    if hidden and isinstance(space, spaces.Dict):
        space = spaces.Dict({key: child for key, child in space.spaces.items() if key not in hidden})
    return tuple(_leaves(space, (), what, 0))


def _leaves(space: Any, path: tuple[Any, ...], what: str, start: int) -> Iterator[Leaf]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        inner = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        for key, child in inner:
            for leaf in _leaves(child, (*path, key), what, start):
                yield leaf
                start = leaf.stop
        return
    if isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        yield Leaf(path, space, start, start + _count(space))
        return
    where = f" {'_'.join(map(str, path))!r}" if path else ""
    raise WorkspaceError(
        f"{what}: the space{where} is {type(space).__name__}, and a controller can use {SPACES}; wrap the environment"
    )


def space_of(data: Mapping[str, Any]) -> spaces.Space[Any]:
    """Return the gymnasium space of ``trace_robot.env.simulation.space_data``."""
    kind = data["kind"]
    if kind == "Box":
        return spaces.Box(data["low"], data["high"], dtype=data["low"].dtype.type)
    if kind == "Discrete":
        return spaces.Discrete(data["n"], start=data["start"], dtype=np.dtype(data["dtype"]).type)
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(data["nvec"], dtype=np.dtype(data["dtype"]).type, start=data["start"])
    if kind == "MultiBinary":
        return spaces.MultiBinary(data["n"])
    if kind == "Dict":
        return spaces.Dict({key: space_of(child) for key, child in data["spaces"]})
    if kind == "Tuple":
        return spaces.Tuple(tuple(space_of(child) for child in data["spaces"]))
    # What no controller can use is refused by its name later, or hidden.
    return type(str(data["name"]), (spaces.Space,), {})()  # type: ignore[no-any-return]


def bounds_of(space: Any) -> tuple[Array, Array]:
    """Return the lowest and highest value of each number, flat and float64."""
    if isinstance(space, spaces.Box):
        return space.low.reshape(-1).astype(np.float64), space.high.reshape(-1).astype(np.float64)
    if isinstance(space, spaces.Discrete):
        return np.array([space.start], float), np.array([space.start + space.n - 1], float)
    if isinstance(space, spaces.MultiDiscrete):
        first = np.asarray(space.start, float).reshape(-1)
        return first, first + np.asarray(space.nvec, float).reshape(-1) - 1
    count = _count(space)
    return np.zeros(count), np.ones(count)


def _count(space: Any) -> int:
    return int(np.prod(space.shape))


def whole_numbers_text(space: Any) -> str:
    """Return as text which whole numbers a discrete space takes, "" for a Box."""
    if isinstance(space, spaces.Box):
        return ""
    low, high = bounds_of(space)
    ends = sorted({(int(a), int(b)) for a, b in zip(low, high, strict=True)})
    return "a whole number, " + " or ".join(f"{a} to {b}" for a, b in ends)


def value_of(space: Any, numbers: Array) -> Any:
    """Return a value of a leaf, rounded where it takes whole numbers only.

    Args:
        space: of the leaf.
        numbers: (n,) float64.
    """
    if isinstance(space, spaces.Box):
        low, high = space.low, space.high
        if space.dtype.kind != "f":
            numbers = np.rint(numbers)
        # Clipped after the cast: rounding to float32 may step over a bound.
        return clip(numbers.reshape(space.shape).astype(space.dtype), low, high)
    low, high = bounds_of(space)
    whole = np.clip(np.rint(numbers), low, high)
    if isinstance(space, spaces.Discrete):
        return space.dtype.type(whole[0])
    return whole.reshape(space.shape).astype(space.dtype)


def assemble(space: Any, values: Mapping[tuple[Any, ...], Any]) -> Any:
    """Return a value of a space from those of its leaves.

    Args:
        space: a gymnasium space.
        values: of each leaf, by its path.
    """
    return _assemble(space, (), values)


def _assemble(space: Any, path: tuple[Any, ...], values: Mapping[tuple[Any, ...], Any]) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _assemble(child, (*path, key), values) for key, child in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_assemble(child, (*path, i), values) for i, child in enumerate(space.spaces))
    return values[path]


def clip(numbers: Array, low: Array, high: Array) -> Array:
    """Clip like ``numpy.clip``.

    In a third of its time for a few numbers, and it runs in every step.

    Args:
        numbers: (n,).
        low: (n,).
        high: (n,), nowhere below ``low``.
    """
    between: Array = np.minimum(np.maximum(numbers, low), high)
    return between


def all_finite(numbers: Array) -> bool:
    """Return whether all numbers are finite, of shape (n,)."""
    # One sum is faster than a mask. It may overflow for numbers that are finite all the same; only then is each looked
    # at. Python's floats, the faster ones for a few numbers, overflow without a warning.
    if numbers.size <= FEW:
        total = sum(numbers.tolist())
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            total = numbers.dot(numbers)
    return math.isfinite(total) or bool(np.isfinite(numbers).all())


def raw_hands(declaration: Environment, raw: TaskSpec) -> tuple[HandSpec, ...]:
    """Return the hands that the environment's own action moves.

    Args:
        declaration: its ``hands`` name parts of the observation and the action.
        raw: the environment in mode "raw".

    Returns:
        None with inverse kinematics.

    Raises:
        WorkspaceError: a part that there is not, or one of another size.
    """
    observed, acted = ({part.name: part for part in parts} for parts in (raw.observation, raw.action))
    for hand in declaration.hands:
        where = f"hands: {hand.name!r}"
        require_part(f"{where}: position", hand.position, observed, 3, "observation")
        if hand.yaw:
            require_part(f"{where}: yaw", hand.yaw, observed, 1, "observation")
        if hand.motion:
            require_part(f"{where}: motion", hand.motion, acted, 3, "action")
        if hand.turn and hand.motion:
            require_part(f"{where}: turn", hand.turn, acted, 1, "action")
        if hand.gripper:
            # The fingers of a joint-space arm may have a number each.
            require_part(f"{where}: gripper", hand.gripper, acted, 1 if hand.motion else 0, "action")
    if not declaration.hands or declaration.solves:
        return ()
    return tuple(_raw_hand(hand, acted) for hand in declaration.hands)


def tracked_spec(spec: TaskSpec, pose: Tracking) -> TaskSpec:
    """Replace the environment's own action by a tracking controller's target.

    Args:
        spec: in mode "raw".
        pose: the tracking controller.
    """
    fields, low, high = pose.action(spec)
    # A prompt says how long a decision may be followed; ``EnvAdapter.scene`` takes the entry out again, because it is
    # no option of ``make``.
    options = {**spec.options, "decision_steps": pose.steps}
    return replace(spec, action=fields, low=low, high=high, options=options)


def tracked_hands(declaration: Environment, hands: Sequence[HandSpec]) -> tuple[HandSpec, ...]:
    """Return the hands of an action in mode "pose" with ``Environment.pose``.

    ``HandTracking`` puts the displacement of its hand first and leaves the other numbers where they are. Any other
    hand keeps its own units, so only the tracked one remains.

    Args:
        declaration: with a tracking controller.
        hands: those of mode "raw".
    """
    tracked = getattr(declaration.pose, "hand", None)  # of HandTracking alone
    return tuple(replace(hand, motion=0) for hand in hands if hand.position == tracked and hand.motion == 0)


def may_move_itself(env: Any) -> bool:
    """Return whether an action is three numbers, without looking at what they do."""
    return getattr(env.action_space, "shape", None) == (3,)


def points_named(declaration: Environment, spec: TaskSpec) -> list[str]:
    """Return the parts that are points, as declared or by their names and unit.

    Args:
        declaration: with ``positions``, or without.
        spec: of the environment.
    """
    named = [part.name for part in spec.observation if part.unit == "m" and part.name.endswith("position")]
    sizes = {part.name: part.size for part in spec.observation}
    return [name for name in declaration.positions or named if sizes.get(name) == 3]


def with_own_hand(spec: TaskSpec, points: Sequence[str], pushes: Callable[[], PushResponse]) -> TaskSpec:
    """Return a spec with the hand that its own three numbers move along x, y, z.

    A controller of such a hand needs no tracking, in a simulation or on a robot.

    Args:
        spec: in mode "raw"; returned as it is where no point is such a hand.
        points: names of observation parts of three numbers, meters.
        pushes: measure what a push of each number does, in an environment object that nothing else uses.

    Raises:
        EnvironmentFault: the environment raises.
    """
    if len(points) < 2:
        return spec
    try:
        hand = _own_hand(spec, points, pushes())
    except WorkspaceError:  # two episodes of one seed differ, or are too short
        return spec
    if hand is None:
        return spec
    positions = (hand.position, *(name for name in points if name != hand.position))
    return replace(spec, hands=(hand,), positions=positions)


def _own_hand(spec: TaskSpec, points: Sequence[str], response: PushResponse) -> HandSpec | None:
    """Return the point that each number moves along its own axis, positive forwards.

    Where a push ends it stays: the numbers are increments or velocities. A force, or a target, needs another
    controller than a gain.
    """
    for part in (part for name in points for part in spec.observation if part.name == name):
        effect = response.pulse[:, :, part.start : part.stop]  # (3, T, 3) meters
        end = effect[:, -1]
        along = np.diag(end)
        straight = (along > 0).all() and (np.abs(end - np.diag(along)).max(1) < ASIDE * along).all()
        if straight and (np.abs(effect[:, STAYS:] - end[:, None]).max((1, 2)) < DIFFERS * along).all():
            return HandSpec("hand", part.name, 0)
    return None


def require_part(what: str, name: str, parts: Mapping[str, Field], size: int, kind: str) -> None:
    """Check that a part is there and has a size.

    Args:
        what: names it, for the message.
        name: of the part.
        parts: those that there are.
        size: how many numbers it must have; 0 for any.
        kind: "observation" or "action".

    Raises:
        WorkspaceError: it is not, or has not.
    """
    if name not in parts:
        raise WorkspaceError(f"{what}: {unknown(f'{kind} part', name, parts)}")
    if size and parts[name].size != size:
        raise WorkspaceError(
            f"{what} must be an {kind} part of {size} number{'s' * (size > 1)}, got {name!r} of {parts[name].size};"
            f" name the numbers with part(...) in {kind}"
        )


def _raw_hand(hand: Hand, acted: Mapping[str, Field]) -> HandSpec:
    turn, gripper = (acted[name].start if name else -1 for name in (hand.turn, hand.gripper))
    opens = -1.0 if hand.opens is None else float(hand.opens)
    return HandSpec(hand.name, hand.position, acted[hand.motion].start, turn, hand.yaw, gripper, opens)
