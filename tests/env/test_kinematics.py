"""Hands of arms in joint space: inverse kinematics reaches, repeats, and says what it lacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from helpers.arms import JOINTS, TWO, JointArm, four_joints, model_of, six_joints
from trace_robot import Environment, Hand, HandSpec, part
from trace_robot.env.conformance import space_problems, spec_problems
from trace_robot.env.declared import DeclaredPlugin
from trace_robot.env.simulation import physics_of
from trace_robot.errors import WorkspaceError

from .conftest import Echo, echo, plug

# One number for both fingers, which closes them where it is large.
TENDON = """<tendon><fixed name="jaws"><joint joint="left" coef="0.5"/>
<joint joint="right" coef="0.5"/></fixed></tendon>"""


def arm(
    model: Any, *hands: Hand, tips: tuple[str, ...] = ("tip",), action: Any = None, **how: Any
) -> DeclaredPlugin:
    observed = [*(part(f"{tip}_position", 3, "m") for tip in tips), part("goal", 3), part("angles", model.nq)]
    return plug(
        Environment(
            "arm",
            "Reach.",
            make=lambda **_: JointArm(model, tips=tips, **how),
            observation=observed,
            action=action,
            positions=(f"{tips[0]}_position", "goal"),
            hands=hands or [Hand("tip_position")],
            success=lambda e: False,
            success_when="never",
        )
    )


def made(plugin: DeclaredPlugin, seed: int = 3) -> Any:
    env = plugin.make("arm", control="pose")
    env.reset(seed=seed)
    return env


def motion(env: Any, *numbers: float) -> Any:
    """Return an action of these numbers and zeros."""
    action = np.zeros(env.task_spec.action_size, np.float32)
    action[: len(numbers)] = numbers
    return action


def travelled(env: Any, action: Any, tip: int = 0) -> tuple[Any, int]:
    """Return how far a tip has come in one decision, and its simulator steps."""
    before = env.inner.unwrapped.tip(tip)
    _, _, _, _, info = env.step(action)
    return env.inner.unwrapped.tip(tip) - before, int(info["steps"])


FIVE = (0.03, -0.03, 0.0264)  # meters; 5 cm in all


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("velocity", {"hold": False}),
        ("position", {}),
        ("motor", {"hold": False}),
        ("position", {"apply": "after ctrl", "scale": 0.05}),
        ("velocity", {"apply": "after ctrl", "scale": 0.2, "hold": False}),
    ],
)
def test_an_arm_of_four_joints_reaches_5_cm_within_20_steps(kind: str, how: dict[str, Any]) -> None:
    env = made(arm(model_of(*four_joints(kind)), **how))
    assert str(env.hands[0]) == f"hand 'hand': inverse kinematics over 4 joints by {kind} actuators"
    came, steps = travelled(env, motion(env, *FIVE))
    assert steps <= 20
    assert np.abs(came - FIVE).max() < 0.006


@pytest.mark.parametrize("how", ["after ctrl", "after qpos"])
def test_an_arm_of_six_joints_by_increments_reaches_and_keeps_its_orientation(how: str) -> None:
    env = made(arm(model_of(*six_joints(TWO)), apply=how, scale=0.1))
    data = env.inner.unwrapped.data
    before = data.site("tip").xmat.reshape(3, 3).copy()
    came, _ = travelled(env, motion(env, *FIVE))
    assert np.abs(came - FIVE).max() < 0.006
    turned = before.T @ data.site("tip").xmat.reshape(3, 3)
    assert np.arccos((np.trace(turned) - 1) / 2) < 0.05


def test_an_action_is_displacement_turn_gripper_and_what_no_hand_uses() -> None:
    body, drives = four_joints("position", fingers=TWO)
    lamp = (
        '<body pos="1 0 0"><joint name="lamp" axis="0 0 1" range="-1 1"/><geom size="0.01" mass="1"/></body>'
    )
    drives += '<motor joint="lamp" ctrlrange="-2 2"/>'
    named = [part("joints", 4), part("fingers", 2), part("lamp")]
    plugin = arm(model_of(body + lamp, drives), Hand("tip_position", turn="turn"), action=named)
    spec = plugin.describe("arm", control="pose")
    assert [(field.name, field.start, field.stop) for field in spec.action] == [
        ("displacement", 0, 3), ("turn", 3, 4), ("gripper", 4, 5), ("lamp", 5, 6)
    ]  # fmt: skip
    assert (spec.low, spec.high) == ((-0.5,) * 3 + (-1.0, -1.0, -2.0), (0.5,) * 3 + (1.0, 1.0, 2.0))
    assert spec.hands == (HandSpec("hand", "tip_position", 0, turn=3, gripper=4, opens=1.0),)
    env = made(plugin)
    assert not [*spec_problems(spec), *space_problems(spec, env)]
    env.step(np.array([0, 0, 0, 0, -1, 1.5], np.float32))
    assert env.inner.unwrapped.data.ctrl[-1] == 1.5


def test_both_fingers_follow_the_number_of_the_gripper_and_the_sign_that_opens_is_measured() -> None:
    one_turned = TWO.replace(
        'joint="right" kp="50" ctrlrange="0 0.03"', 'joint="right" gear="-1" kp="50" ctrlrange="-0.03 0"'
    )
    for fingers in (TWO, one_turned):
        env = made(arm(model_of(*four_joints("position", fingers=fingers))))
        (hand,) = env.task_spec.hands
        for number, expected in ((hand.opens, 0.03), (-hand.opens, 0.0)):
            for _ in range(3):
                env.step(motion(env, 0, 0, 0, number))
            assert env.inner.unwrapped.data.qpos[-2:] == pytest.approx([expected, expected], abs=2e-3)
    assert env.hands[0].endswith("gripper 'action_4, action_5', opens +1")


def test_a_declared_gripper_and_its_sign_are_taken_as_they_are() -> None:
    named = [part("joints", 4), part("left"), part("right")]
    hand = Hand("tip_position", gripper="right", opens=-1.0)
    spec = arm(model_of(*four_joints("position", fingers=TWO)), hand, action=named).describe(
        "arm", control="pose"
    )
    assert [field.name for field in spec.action] == ["displacement", "gripper", "left"]
    assert spec.hands[0].opens == -1.0


def test_a_turn_about_the_vertical_axis_is_made_while_the_hand_stays() -> None:
    env = made(arm(model_of(*six_joints(TWO)), Hand("tip_position", turn="turn")))
    data = env.inner.unwrapped.data
    before = data.site("tip").xmat.reshape(3, 3).copy()
    came = np.zeros(3)
    for _ in range(2):
        came += travelled(env, motion(env, 0, 0, 0, 0.2))[0]
    turned = data.site("tip").xmat.reshape(3, 3) @ before.T
    assert np.arctan2(turned[1, 0], turned[0, 0]) == pytest.approx(0.4, abs=0.1)
    assert np.abs(came).max() < 0.011


def test_two_arms_move_at_once_each_its_own_way() -> None:
    left, right = four_joints("position", "left_"), four_joints("motor", "right_", 0.8)
    hands = [Hand("left_tip_position", "left"), Hand("right_tip_position", "right")]
    plugin = arm(
        model_of(left[0] + right[0], left[1] + right[1]),
        *hands,
        tips=("left_tip", "right_tip"),
        posture=(0.3, 0.3, 0.6, 0.5) * 2,
        hold=False,
    )
    spec = plugin.describe("arm", control="pose")
    assert [field.name for field in spec.action] == ["left_displacement", "right_displacement"]
    assert [hand.motion for hand in spec.hands] == [0, 3]
    env = made(plugin)
    tips = [env.inner.unwrapped.tip(i) for i in range(2)]
    env.step(motion(env, *FIVE, -0.03, 0.03, 0.0))
    env.step(motion(env))
    came = [env.inner.unwrapped.tip(i) - tip for i, tip in enumerate(tips)]
    assert came[0] == pytest.approx(FIVE, abs=0.012)
    assert came[1] == pytest.approx((-0.03, 0.03, 0.0), abs=0.012)


def test_a_joint_at_its_limit_is_left_out_and_the_others_reach() -> None:
    model = model_of(*four_joints("position"))
    model.jnt_range[2] = (0.55, 0.65)  # the elbow, which begins at 0.6
    env = made(arm(model))
    came, _ = travelled(env, motion(env, 0.0, 0.03, 0.03))
    assert 0.55 <= env.inner.unwrapped.data.qpos[2] <= 0.65
    assert np.abs(came - (0.0, 0.03, 0.03)).max() < 0.006


def test_a_stretched_arm_comes_back() -> None:
    """Its Jacobian has no joint that moves the hand towards the base."""
    env = made(arm(model_of(*four_joints("position")), posture=(0.0, 1.5708, -1.5708, 0.0)))
    came = sum(travelled(env, motion(env, -0.04, 0.0, 0.0))[0] for _ in range(2))
    assert came[0] < -0.06


def test_an_episode_repeats_exactly_and_goes_on_exactly_from_a_snapshot() -> None:
    plugin = arm(model_of(*six_joints(TWO)), Hand("tip_position", turn="turn"), apply="after ctrl", scale=0.1)
    generator = np.random.default_rng(0)
    spec = plugin.describe("arm", control="pose")
    actions = [(0.2 * generator.uniform(spec.low, spec.high)).astype(np.float32) for _ in range(8)]

    def rest(env: Any, which: list[Any]) -> list[bytes]:
        return [env.step(action)[0].tobytes() for action in which]

    env, other = made(plugin), made(plugin, seed=5)
    whole = rest(env, actions)
    other.step(actions[0])  # state of an earlier episode must not matter
    other.reset(seed=3)
    assert rest(other, actions) == whole
    env.reset(seed=3)
    rest(env, actions[:4])
    saved = env.snapshot()
    rest(env, actions[::-1])
    env.reset(seed=7)
    env.restore(saved)
    assert rest(env, actions[4:]) == whole[4:]


def test_looking_at_the_hand_does_not_touch_the_simulation_of_the_environment() -> None:
    env = made(arm(model_of(*four_joints("position"))))
    data = env.inner.unwrapped.data
    before = data.site_xpos.copy(), data.qpos.copy(), data.ctrl.copy()
    observation = env.task_spec.named(env.reset(seed=3)[0])
    tracking = env._tracking
    tracking.raw(observation, tracking.target(observation, motion(env, *FIVE)), motion(env, *FIVE))
    for one, other in zip(before, (data.site_xpos, data.qpos, data.ctrl), strict=True):
        assert np.array_equal(one, other)


def test_raw_control_of_such_an_arm_has_no_hands() -> None:
    spec = arm(model_of(*four_joints("position"))).describe("arm", control="raw")
    assert (spec.hands, spec.action_size) == ((), 4)


def test_the_usual_mode_of_an_arm_in_joint_space_is_pose() -> None:
    plugin = arm(model_of(*four_joints("position")))
    assert plugin.controls("arm") == ("pose", "raw")
    assert plugin.solves("arm", {})


def muscle(model: Any) -> Any:
    model.actuator_gaintype[0] = 2
    return model


@pytest.mark.parametrize(
    ("hand", "how", "message"),
    [
        (Hand("tip_position", site="top"), {}, "'hand': no site 'top'; did you mean 'tip'?"),
        (Hand("tip_position", body="torso"), {}, "'hand': no body 'torso'"),
        (
            Hand("tip_position", site="goal"),
            {},
            "m from 'tip_position' of the observation; name what is at that",
        ),
        (Hand("goal"), {}, "no site or body of the model is where 'goal' is observed;"),
        (Hand("tip_position", joints=["elbo"]), {}, "no joint before the hand 'elbo'; did you mean 'elbow'?"),
        (Hand("tip_position", gripper="claw"), {}, "gripper: no action part 'claw'"),
        (
            Hand("tip_position", gripper="action_1"),
            {},
            "gripper 'action_1' has numbers that move joints of an arm: 1;",
        ),
        (
            Hand("tip_position"),
            {"apply": "squared"},
            "what the action numbers of 'action_0' do to joint 'turn' is not understood",
        ),
    ],
)
def test_what_is_missing_is_named_with_what_to_declare(hand: Hand, how: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkspaceError, match=r"^mine\.py: arm: hands: ") as caught:
        arm(model_of(*four_joints("position")), hand, **how).describe("arm", control="pose")
    assert message in str(caught.value)


def test_a_hand_that_no_actuator_moves_is_named_with_the_joints_that_there_are() -> None:
    body, _ = four_joints("position")
    free = '<body><joint name="spare" range="-1 1"/><geom size="0.1"/></body>'
    with pytest.raises(WorkspaceError) as caught:
        arm(model_of(body + free, '<motor joint="spare" ctrlrange="-1 1"/>'), hold=False).describe(
            "arm", control="pose"
        )
    assert "no joint between site 'tip' and the root has an actuator that the action drives" in str(
        caught.value
    )
    assert f"(joints there: {', '.join(JOINTS)})" in str(caught.value)


def test_an_actuator_of_another_kind_is_named() -> None:
    with pytest.raises(
        WorkspaceError, match="actuator 'turn' of joint 'turn' is neither position, velocity nor"
    ):
        arm(muscle(model_of(*four_joints("position")))).describe("arm", control="pose")


def test_what_needs_a_model_is_refused_without_one() -> None:
    space = spaces.Box(-1.0, 1.0, (3,), np.float64)
    hand = Hand("tip", site="tool")
    plugin = plug(echo(observation_space=space, observation=[part("tip", 3)], hands=[hand]))
    with pytest.raises(
        WorkspaceError, match=r"site, .* need a MuJoCo model, and Echo shows none; leave"
    ) as caught:
        plugin.describe("echo", control="pose")
    assert str(caught.value).startswith("mine.py: echo: ")


def test_a_gripper_by_a_tendon_is_found_and_the_sign_that_opens_is_measured() -> None:
    body, drives = four_joints("position", fingers=" ")
    law = 'gainprm="-0.0235" biasprm="6 -200" biastype="affine"'
    drives += f'<general name="jaws" tendon="jaws" ctrlrange="0 255" {law}/>'
    model = model_of(body, drives, TENDON)
    env = made(arm(model, hold=False))
    assert env.hands == (
        "hand 'hand': inverse kinematics over 4 joints by position actuators, gripper 'action_4', opens -1",
    )
    for number, expected in ((-1.0, 0.03), (1.0, 0.0)):
        for _ in range(4):
            env.step(motion(env, 0, 0, 0, number))
        assert env.inner.unwrapped.data.qpos[-2:].mean() == pytest.approx(expected, abs=3e-3)


def test_actuators_that_integrate_a_velocity_reach() -> None:
    body, drives = four_joints("position")
    drives = drives.replace("<position", "<intvelocity").replace(
        'ctrlrange="-3 3"', 'ctrlrange="-2 2" actrange="-3 3"'
    )
    env = made(arm(model_of(body, drives), hold=False, posture=(0.0, 0.3, 0.0, 0.0)))
    for _ in range(2):  # their activation begins at 0, which is not where the joints are
        env.step(motion(env))
    came, _ = travelled(env, motion(env, 0.0, -0.03, 0.03))
    assert np.abs(came - (0.0, -0.03, 0.03)).max() < 0.008


def test_a_simulation_behind_physics_is_found_as_in_dm_control() -> None:
    class Handle:
        def __init__(self, ptr: Any) -> None:
            self.ptr = ptr

    class Physics:
        def __init__(self, model: Any, data: Any) -> None:
            self.model, self.data = Handle(model), Handle(data)

    class Behind(Echo):
        def __init__(self) -> None:
            super().__init__()
            self.arm = JointArm(model_of(*four_joints("position")))
            self.physics = Physics(self.arm.model, self.arm.data)

    env = Behind()
    assert physics_of(env) == (env.arm.model, env.arm.data)
    assert physics_of(env.arm) == (env.arm.model, env.arm.data)
    assert physics_of(Echo()) is None
