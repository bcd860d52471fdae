"""Hands as parts of an action: those that a plug-in declares, a controller tracks, or three numbers move.

Only a push is measured for it; what inverse kinematics needs is found out in ``trace_robot.env.hands``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trace_robot.env.tracking import HandTracking
from trace_robot.errors import WorkspaceError, unknown
from trace_robot.spec import Field, HandSpec, TaskSpec

if TYPE_CHECKING:
    from trace_robot.env.declaration import Environment, Hand
    from trace_robot.env.description import Probe
    from trace_robot.env.motion_model import PushResponse
    from trace_robot.env.tracking import Tracking

ASIDE = 0.1  # part of a number's motion by which it may move a hand along another axis
STAYS = 16  # steps within which a hand must have arrived, to stay there
LEVEL = 0.01  # rad between two angles that are the same
DIFFERS = 0.1  # part of the motion by which a hand that has arrived may still differ


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
    if not isinstance(declaration.pose, HandTracking):
        return ()
    tracked = declaration.pose.hand
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


def yaw_part(probe: Probe, place: tuple[bool, int], looks: int) -> str:
    """Return the observation part with a hand's yaw, "" for none.

    Args:
        probe: of an environment object that nothing else uses.
        place: of the hand, whether it is a site, and the id of that site or body.
        looks: states to look at.
    """
    is_site, number = place
    angles = [part.name for part in probe.spec.observation if part.size == 1 and part.unit == "rad"]
    generator, seen = np.random.default_rng(0), []
    probe.reset()
    for _ in range(looks):
        probe.step(generator.uniform(probe.spec.low, probe.spec.high))
        turned = (probe.data.site_xmat if is_site else probe.data.xmat)[number]  # (9,) by rows
        yaw = math.atan2(turned[3], turned[0])
        seen.append([yaw, *(math.remainder(float(probe.seen[name]) - yaw, math.tau) for name in angles)])
    yaws, *gaps = np.unwrap(np.array(seen), axis=0).T
    found = [name for name, gap in zip(angles, gaps, strict=True) if np.ptp(gap) < LEVEL]
    return found[0] if found and np.ptp(yaws) > LEVEL else ""
