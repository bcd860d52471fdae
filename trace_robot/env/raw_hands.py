"""Hands that parts of the environment's own action move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from trace_robot.env.declaration import Environment, Hand
from trace_robot.env.tracking import HandTracking
from trace_robot.errors import WorkspaceError, unknown
from trace_robot.spec import Field, HandSpec, TaskSpec


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


def tracked_hands(declaration: Environment, hands: Sequence[HandSpec]) -> tuple[HandSpec, ...]:
    """Return the hands of an action in mode "pose" with ``Environment.pose``.

    ``HandTracking`` puts the displacement of its hand first and leaves the other numbers where they are. Any other
    hand keeps its own units, so only the tracked one remains.

    Args:
        declaration: with a tracking controller.
        hands: those of mode "raw".
    """
    pose = declaration.pose
    if not isinstance(pose, HandTracking):
        return ()
    return tuple(replace(hand, motion=0) for hand in hands if hand.position == pose.hand and hand.motion == 0)


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
