"""Hands that are declared with parts of the environment's own action."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from trace_robot import Environment, Hand, HandSpec, HandTracking, part
from trace_robot.errors import WorkspaceError

from .conftest import echo, plug

OBSERVED = [part("tip", 3, "m"), part("angle", 1, "rad"), part("goal", 3, "m")]


def cartesian(*hands: Hand, action: Any = None, **more: Any) -> Environment:
    """Return an environment with seven observed numbers and five action numbers."""
    return echo(
        observation_space=spaces.Box(-1.0, 1.0, (7,), np.float64),
        action_space=spaces.Box(-1.0, 1.0, (5,), np.float32),
        observation=OBSERVED,
        action=action or [part("grip"), part("motion", 3), part("twist")],
        positions=("tip", "goal"),
        hands=hands,
        **more,
    )


def test_a_hand_names_its_numbers_of_the_action_in_any_order() -> None:
    hand = Hand("tip", motion="motion", gripper="grip", opens=1.0, turn="twist", yaw="angle")
    spec = plug(cartesian(hand)).describe("echo")
    assert spec.control == "raw"
    assert spec.hands == (HandSpec("hand", "tip", 1, turn=4, yaw="angle", gripper=0, opens=1.0),)


def test_a_hand_without_gripper_and_turn_has_neither() -> None:
    spec = plug(cartesian(Hand("tip", motion="motion"))).describe("echo")
    assert spec.hands == (HandSpec("hand", "tip", 1),)


def test_hand_tracking_keeps_the_hand_that_it_moves() -> None:
    action = [part("motion", 3), part("grip"), part("twist")]
    hand = Hand("tip", motion="motion", gripper="grip", opens=1.0)
    plugin = plug(cartesian(hand, action=action, pose=HandTracking("tip")))
    assert plugin.describe("echo", control="pose").hands == (
        HandSpec("hand", "tip", 0, gripper=3, opens=1.0),
    )
    assert plugin.describe("echo", control="raw").hands == (HandSpec("hand", "tip", 0, gripper=3, opens=1.0),)


@pytest.mark.parametrize(
    ("hand", "message"),
    [
        (Hand("tap", motion="motion"), "position: no observation part 'tap'; did you mean 'tip'?"),
        (
            Hand("angle", motion="motion"),
            "position must be an observation part of 3 numbers, got 'angle' of 1",
        ),
        (Hand("tip", motion="notion"), "motion: no action part 'notion'; did you mean 'motion'?"),
        (Hand("tip", motion="grip"), "motion must be an action part of 3 numbers, got 'grip' of 1"),
        (Hand("tip", motion="motion", gripper="motion"), "gripper must be an action part of 1 number,"),
        (Hand("tip", motion="motion", yaw="tip"), "yaw must be an observation part of 1 number,"),
    ],
)
def test_a_hand_that_does_not_fit_is_named_with_its_part(hand: Hand, message: str) -> None:
    with pytest.raises(WorkspaceError, match=r"^mine\.py: echo: hands: 'hand'") as caught:
        plug(cartesian(hand)).describe("echo")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("hands", "message"),
    [
        ("tip", "hands must be a list of Hand(...), got 'tip'"),
        (["tip"], "each hand must be Hand(position, ...), got 'tip'"),
        ([Hand("tip", name="left hand")], "must be a Python name such as 'left', got 'left hand'"),
        ([Hand("tip", opens=2.0)], "opens of 'hand' must be 1 or -1, got 2.0"),
        ([Hand("tip", site="a", body="b")], "has site 'a' and body 'b'; leave one out"),
        ([Hand("tip", motion="motion", site="a")], "has motion, which needs no site; leave out either"),
        ([Hand("tip"), Hand("tip")], "each needs a name that no other has, got hand, hand"),
        ([Hand("tip"), Hand("tip", "left", motion="m")], "either all have motion, or none of them"),
    ],
)
def test_a_declaration_of_hands_that_cannot_be_right_is_refused(hands: Any, message: str) -> None:
    with pytest.raises(WorkspaceError) as caught:
        echo(hands=hands)
    assert message in str(caught.value)


def test_inverse_kinematics_and_a_tracking_controller_exclude_each_other() -> None:
    with pytest.raises(WorkspaceError, match="both say what mode pose is"):
        echo(hands=[Hand("tip")], pose=HandTracking("tip"))
