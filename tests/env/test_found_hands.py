"""Hands and positions that no plug-in names, found in a MuJoCo model."""

from __future__ import annotations

from typing import Any

import pytest
from gymnasium import spaces

from helpers.arms import TWO, JointArm, four_joints, model_of, six_joints
from trace_robot import Environment, HandSpec, HandTracking, part
from trace_robot.env import registry
from trace_robot.env.declared import DeclaredPlugin
from trace_robot.env.registry import usual_control

from .conftest import echo, plug


def arm(
    model: Any, tips: tuple[str, ...] = ("tip",), goal: str = "goal_position", **more: Any
) -> DeclaredPlugin:
    observed = [
        *(part(f"{tip}_position", 3, "m") for tip in tips),
        part(goal, 3, "m"),
        part("angles", model.nq),
    ]
    return plug(
        Environment(
            "arm",
            "Reach.",
            make=lambda **_: JointArm(model, tips=tips, hold=False),
            observation=observed,
            success="success",
            **more,
        )
    )


def test_an_arm_without_hands_and_positions_gets_both() -> None:
    plugin = arm(model_of(*four_joints("velocity")))
    assert plugin.solves("arm", {})
    spec = plugin.describe("arm", control="pose")
    assert spec.positions == ("tip_position", "goal_position")
    assert spec.hands == (HandSpec("hand", "tip_position", 0),)
    assert [field.name for field in spec.action] == ["displacement"]


@pytest.mark.parametrize(
    "option",
    [
        {"hold": 0.5},
        {"hold": "end"},
        {"world": {"mass": 1.5}},
        {"quality": True},
        {"envelope": {"speed": 1.0}},
    ],
)
def test_no_world_hold_or_envelope_changes_the_control_mode(
    option: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = arm(model_of(*four_joints("velocity")))
    monkeypatch.setattr(registry, "_lookup", lambda name, options: (plugin, name))
    assert usual_control("arm", "raw") == usual_control("arm", "raw", option) == "pose"


def test_its_own_action_stays_as_declared() -> None:
    spec = arm(model_of(*four_joints("velocity"))).describe("arm", control="raw")
    assert (spec.positions, spec.hands, spec.action_size) == ((), (), 4)


def test_declared_positions_are_kept_with_the_hand_first() -> None:
    plugin = arm(model_of(*four_joints("velocity")), positions=("goal_position", "tip_position"))
    assert plugin.describe("arm", control="pose").positions == ("tip_position", "goal_position")


def test_a_point_that_is_nowhere_in_the_model_counts_where_it_is_called_a_position() -> None:
    plugin = arm(model_of(*four_joints("velocity")), goal="away_from_tip")
    assert plugin.describe("arm", control="pose").positions == ("tip_position",)


def test_a_gripper_is_found_behind_the_arm() -> None:
    spec = arm(model_of(*six_joints(TWO))).describe("arm", control="pose")
    assert [(hand.position, hand.gripper) for hand in spec.hands] == [("tip_position", 3)]


def test_each_arm_of_two_has_a_hand_that_is_called_as_its_part() -> None:
    left, right = four_joints("velocity", "left_"), four_joints("velocity", "right_", 0.8)
    model = model_of(left[0] + right[0], left[1] + right[1])
    spec = arm(model, tips=("left_tip", "right_tip")).describe("arm", control="pose")
    assert [(hand.name, hand.motion) for hand in spec.hands] == [("left_tip", 0), ("right_tip", 3)]


def test_a_hand_that_the_plug_in_tracks_is_left_alone() -> None:
    plugin = plug(
        echo(
            observation_space=spaces.Box(-1.0, 1.0, (6,)),
            action_space=spaces.Box(-1.0, 1.0, (4,)),
            observation=[part("tip_position", 3, "m"), part("goal_position", 3, "m")],
            pose=HandTracking("tip_position"),
        )
    )
    assert not plugin.solves("echo", {})


def test_without_a_model_nothing_is_found() -> None:
    plugin = plug(
        echo(
            observation_space=spaces.Box(-1.0, 1.0, (6,)),
            action_space=spaces.Box(-1.0, 1.0, (4,)),
            observation=[part("tip_position", 3, "m"), part("goal_position", 3, "m")],
        )
    )
    assert not plugin.solves("echo", {})


@pytest.mark.parametrize(
    ("name", "control"),
    [("reach-v3", "raw"), ("FetchReach-v4", "raw"), ("Pusher-v5", "raw"), ("InvertedPendulum-v5", "raw")],
)
def test_what_ships_is_controlled_as_before(name: str, control: str) -> None:
    assert usual_control(name, "raw") == control


def test_finding_hands_and_describing_them_make_the_environment_once() -> None:
    made = []

    def make(**_: Any) -> JointArm:
        made.append(JointArm(model_of(*four_joints("velocity")), hold=False))
        return made[-1]

    observed = [part("tip_position", 3, "m"), part("goal_position", 3, "m"), part("angles", 4)]
    plugin = plug(Environment("arm", "Reach.", make=make, observation=observed, success="success"))
    assert plugin.solves("arm", {"horizon": 50})
    assert plugin.describe("arm", control="pose", horizon=50).horizon == 50
    assert len(made) == 1
    assert plugin.describe("arm", control="raw", horizon=50).hands == ()
    assert len(made) == 2
