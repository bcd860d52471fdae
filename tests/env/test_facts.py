"""Facts of the body: what a prompt says of joints, sizes and decisions is what the simulator does."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest

from trace_robot.env.declaration import Environment
from trace_robot.env.facts import body_facts, decision_rule, facts_of, rules_of
from trace_robot.env.registry import describe, make
from trace_robot.env.simulation import physics_of
from trace_robot.errors import WorkspaceError
from trace_robot.fault import Limits
from trace_robot.spec import Field

PUSHER = {"control": "raw"}


def test_the_facts_of_pusher_are_those_of_its_model() -> None:
    spec = describe("Pusher-v5", **PUSHER)
    facts = "\n".join(facts_of("Pusher-v5", PUSHER, spec).body)
    env = make("Pusher-v5", **PUSHER)
    model = env.unwrapped.inner.unwrapped.model
    low, high = model.joint("r_elbow_flex_joint").range
    assert "joint r_elbow_flex_joint: hinge about 0 1 0 at the start" in facts
    assert f"from {low:.4f} to {high:.0f} rad" in facts
    assert "r_wrist_flex_joint 0.321" in facts
    assert "fixed table: plane at z -0.325 m" in facts
    assert "body object: cylinder along z, radius 0.05" in facts
    assert "contact without friction" in facts  # contacts of dimension 1, whatever the friction beside it
    assert (
        "along x, radius 0.02, half length 0.05 m at 0.05 -0.1 0 and at 0.05 0.1 0 " in facts
    )  # sides of the hook
    assert "(from fingertip_position, along the world's axes at the start)" in facts
    assert "reward near 0.5" in facts
    assert "step is 0.05 s (20 Hz)" in facts
    env.close()


def test_a_decision_of_meta_world_ends_by_the_rule_of_its_facts() -> None:
    spec = describe("push-v3", control="pose")
    rule = facts_of("push-v3", {"control": "pose"}, spec).decision
    assert "for 4 to 20 simulator steps" in rule
    assert "so 25 to 125 decisions" in rule
    env = make("push-v3", control="pose")
    env.reset(seed=0)
    _, _, _, _, info = env.step(np.zeros(4, np.float32))
    first = info["steps"]
    _, _, _, _, info = env.step(np.array([0.5, 0, 0, 0], np.float32))
    assert first >= 4
    assert info["steps"] - first == 20
    env.close()


def test_how_far_a_full_action_moves_a_hand_is_measured() -> None:
    spec = describe("push-v3", control="pose")
    facts = facts_of("push-v3", {"control": "pose"}, spec).body
    assert any(
        "a full action (asked for 0.5 m) moved hand_position" in line and "in 20 steps" in line
        for line in facts
    )
    assert not any("goal" in line for line in facts)  # where to go is no fact of the body


def test_an_environment_without_a_model_has_the_rest() -> None:
    facts = facts_of("CartPole-v1", {"control": "raw"}, describe("CartPole-v1", control="raw"))
    assert facts.body == ("The environment's step is 0.02 s (50 Hz).",)
    assert facts.decision == ""


def test_an_environment_that_fails_has_no_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no simulator here")

    monkeypatch.setattr("trace_robot.env.facts.make", fail)
    assert facts_of("push-v3", {}, describe("push-v3")).body == ()


PLUGIN = """from trace_robot.env import Environment, part

ENVIRONMENTS = [Environment("Pendulum-v1", "Hold it up.", name="held-{name}", facts={facts})]
"""


@pytest.mark.parametrize(
    ("facts", "expected"),
    [("()", False), ('("the rod is 1 m long",)', True), ("None", False)],
)
def test_a_plug_in_adds_facts_or_withholds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: str, expected: bool
) -> None:
    (tmp_path / "envs").mkdir()
    file = tmp_path / "envs" / "held.py"
    file.write_text(PLUGIN.format(name="x", facts=facts))
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(tmp_path))
    spec = describe("held-x", control="raw")
    body = facts_of("held-x", {"control": "raw"}, spec).body
    assert ("the rod is 1 m long" in body) == expected
    assert bool(body) == (facts != "()")


def test_the_dynamics_of_pusher_are_grouped_and_those_of_the_object_come_first() -> None:
    spec = describe("Pusher-v5", **PUSHER)
    lines = [line for line in facts_of("Pusher-v5", PUSHER, spec).body if line.startswith("dynamics")]
    assert lines[:3] == [
        "dynamics of obj_slidey to goal_slidex (not driven): damping 0.5 N s/m, armature 0.04 kg",
        "dynamics of r_shoulder_pan_joint and r_shoulder_lift_joint: damping 1 N m s/rad, armature 0.04 kg m2",
        "dynamics of r_upper_arm_roll_joint to r_wrist_roll_joint: damping 0.1 N m s/rad, armature 0.04 kg m2",
    ]
    assert lines[-1] == "dynamics: gravity 0 0 0 m/s2"


DRAWN = """import gymnasium, mujoco, numpy as np
from trace_robot import Environment

class Sled(gymnasium.Env):
    def __init__(self):
        self.model = mujoco.MjModel.from_xml_string('''<mujoco><worldbody>
<body name='sled'><joint name='track' type='slide' axis='1 0 0' damping='3'/><geom size='.1' mass='2'/></body>
<body name='bob'><joint name='bob' axis='0 1 0' stiffness='5' frictionloss='.2'/><geom size='.1' mass='2'/></body>
</worldbody><actuator><motor joint='track'/></actuator></mujoco>''')
        self.data = mujoco.MjData(self.model)
        self.action_space = gymnasium.spaces.Box(-1, 1, (1,))
        self.observation_space = gymnasium.spaces.Box(-9, 9, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.model.dof_damping[0], self.model.body_mass[2] = self.np_random.uniform(1, 2, 2)
        mujoco.mj_forward(self.model, self.data)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, False, False, {}

ENVIRONMENTS = [Environment("sled", "Move.", make=Sled, horizon=9, return_threshold=1.0, facts=FACTS)]
"""


@pytest.mark.parametrize("facts", ["None", '("dynamics:", "it is red")'])
def test_what_a_reset_draws_has_no_number_and_lines_are_withheld_by_how_they_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: str
) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "sled.py").write_text(DRAWN.replace("FACTS", facts))
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(tmp_path))
    body = facts_of("sled", {"control": "raw"}, describe("sled", control="raw")).body
    (thing,) = (line for line in body if line.startswith("body bob"))
    assert "; a mass that differs between episodes, sliding friction 1" in thing
    lines = [line for line in body if line.startswith("dynamics")]
    if facts != "None":
        assert lines == []
        assert body[-1] == "it is red"
        return
    assert lines[:2] == [
        "dynamics of bob (not driven): friction loss 0.2 N m, spring 5 N m/rad towards 0",
        "dynamics of track: damping that differs between episodes",
    ]


@pytest.mark.parametrize("facts", ["the rod is 1 m long", [1, 2]])
def test_facts_that_are_no_lines_are_refused(facts: object) -> None:
    with pytest.raises(WorkspaceError, match="facts must be a tuple of lines, got"):
        Environment("Pendulum-v1", "Hold it up.", facts=facts)  # type: ignore[arg-type]


def test_the_rules_say_when_success_counts_and_what_may_be_computed() -> None:
    spec = describe("push-v3", control="raw")
    rules = "\n".join(rules_of(spec, "", Limits(call_seconds=0.5, memory_mb=99)))
    assert "passing through it counts" in rules
    assert "may compute for 0.5 s" in rules
    assert "99 MB" in rules
    held = replace(spec, options={**spec.options, "hold": 0.5})
    assert "passing through" not in "\n".join(rules_of(held))
    cart = describe("CartPole-v1", control="raw")
    assert "decided when the episode is over" in "\n".join(rules_of(cart))


def test_a_tracking_of_which_nothing_is_known_has_no_rule() -> None:
    assert decision_rule(object(), describe("push-v3")) == ""


class Bare:
    """An environment of a model alone."""

    def __init__(self, xml: str) -> None:
        self.model = mujoco.MjModel.from_xml_string(xml)
        self.data = mujoco.MjData(self.model)
        mujoco.mj_forward(self.model, self.data)
        self.unwrapped = self


ARM = """<mujoco><worldbody>
<geom name="bench" type="box" size=".3 .2 .1" pos="0 0 .2"/>
<body name="upper"><joint name="lift" axis="0 1 0" range="-90 45"/><geom type="capsule" size=".02 .2"/>
<body name="fore" pos="0 0 .37"><joint name="bend" axis="1 0 0"/><geom type="box" size=".01 .02 .03"/></body></body>
<body name="brick" pos="0 0 1"><freejoint/><geom type="box" size=".02 .03 .04" mass=".7" friction=".4"/></body>
</worldbody><actuator><position name="lifter" joint="lift" kp="30" ctrlrange="-1 .5"/><motor joint="bend" gear="7"/>
</actuator></mujoco>"""


def test_every_fact_of_a_small_arm() -> None:
    spec = replace(describe("CartPole-v1", control="raw"), positions=())
    assert body_facts(Bare(ARM), spec) == [
        "body brick: box of 0.04 x 0.06 x 0.08 m (full sides); 0.7 kg, sliding friction 0.4",
        "fixed bench: box x -0.3 to 0.3, y -0.2 to 0.2, z 0.1 to 0.3 m",
        "touching parts of fore: box of 0.02 x 0.04 x 0.06 m",
        "joint lift: hinge about 0 1 0 at the start, from -1.5708 to 0.7854 rad; actuator 0 (lifter), position,"
        " stiffness 30, control -1 to 0.5",
        "joint bend: hinge about 1 0 0 at the start; actuator 1, motor, gain 1, gear 7",
        "links, m from joint to joint, from lift: bend 0.37",
        "dynamics, inertia with armature in the model's zero pose, about hinges, kg m2: lift 0.0148; bend 2.08e-05",
        "dynamics, masses in kg that each joint moves, up to the next: lift 0.536; bend 0.048",
    ]


TOOL = """<mujoco><default><geom density="0" mass=".1"/></default><worldbody>
<body name="wrist" pos="0 0 .5"><joint name="turn" axis="0 0 1"/>
<geom type="sphere" size=".01" contype="0" conaffinity="0"/>
<body name="palm" pos=".1 0 0"><site name="grip" pos=".02 0 0"/>
<geom type="box" size=".01 .02 .03" pos=".05 0 0" euler="0 0 90" solref="-900 -30"/></body></body>
<body name="mallet" pos="0 .3 1"><freejoint/>
<body name="head" pos="0 0 .2" euler="90 0 0"><geom name="face" type="cylinder" size=".03 .05" solref=".005 .7"/></body>
<geom type="capsule" size=".01 .1" euler="0 30 0" solimp=".5 .6 .02"/></body>
<body name="lid" pos="1 0 0"><joint name="hinge" axis="0 1 0"/>
<geom type="ellipsoid" size=".1 .2 .3" pos=".4 0 0" margin=".004"/></body>
</worldbody><actuator><motor joint="turn"/></actuator></mujoco>"""


def test_shapes_are_placed_from_what_is_observed_and_their_softness_is_given() -> None:
    parts = (Field("grip", 0, 3), Field("mallet", 3, 6), Field("lid", 6, 9))
    spec = replace(
        describe("CartPole-v1", control="raw"), observation=parts, positions=("grip", "mallet"), hands=()
    )
    first = np.array([0.12, 0, 0.5, 0, 0.3, 1.2, 1, 0, 0])
    lines = body_facts(Bare(TOOL), spec, first)
    axes = "along the world's axes at the start"
    assert lines[:4] == [
        "body mallet: cylinder along y, radius 0.03, half length 0.05 m, capsule along 0.5 0 0.87, radius 0.01, half"
        f" length 0.1 m at 0 0 -0.2 (from mallet, {axes}); 0.2 kg, sliding friction 1",
        f"body lid: ellipsoid, half axes 0.1 0.2 0.3 m at 0.4 0 0 (from its origin, {axes}); 0.1 kg, sliding"
        " friction 1",
        f"touching parts of wrist: box of 0.04 x 0.02 x 0.06 m (full sides) at 0.03 0 0 (from grip, {axes})",
        "joint turn: hinge about 0 0 1 at the start; actuator 0, motor, gain 1",
    ]
    assert lines[-1] == (
        "softness of contact, where not the usual time constant 0.02 s, damping ratio 1, impedance 0.9 to 0.95 over"
        " 0.001 m: palm stiffness 900, 30, 0.9 to 0.95 over 0.001 m; mallet 0.02 s, 1, 0.5 to 0.6 over 0.02 m; head"
        " 0.005 s, 0.7, 0.9 to 0.95 over 0.001 m; lid felt from a gap of 0.004 m on"
    )


def test_the_head_of_a_hammer_is_where_the_facts_place_it_from_the_observed_position() -> None:
    spec = describe("hammer-v3", control="pose")
    lines = facts_of("hammer-v3", {"control": "pose"}, spec).body
    (placed,) = re.findall(
        r"^body hammer.* 0.038, half length 0.016 m at (\S+) (\S+) ([^ ,]+)[ ,]", "\n".join(lines), re.M
    )
    offset = [float(word) for word in placed]
    env = make("hammer-v3", control="pose")
    seen, _ = env.reset(seed=3)  # another start than that of the facts
    part = next(part for part in spec.observation if part.name == "hammer_position")
    found = physics_of(env.unwrapped.simulation)
    assert found is not None
    model, data = found
    hit = seen[part.start : part.stop] + offset
    heads = [g for g in range(model.ngeom) if abs(model.geom_size[g, 0] - 0.038) < 1e-9]
    assert min(float(np.linalg.norm(data.geom_xpos[g] - hit)) for g in heads) < 0.002
    env.close()
