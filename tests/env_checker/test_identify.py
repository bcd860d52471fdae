"""Identification: what is written of an environment is what its documentation says of its numbers.

Expected parts are the observation tables of gymnasium and gymnasium-robotics, not what the code gave once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from trace_robot.cli import main
from trace_robot.env.plugins import plugin_at
from trace_robot.env_checker import examine, measure
from trace_robot.env_checker.child import examination
from trace_robot.env_checker.draft import draft
from trace_robot.env_checker.plugin_writer import plugin_text

ARM = """
import gymnasium, mujoco, numpy as np
from gymnasium import spaces

XML = '''
<mujoco>
  <option timestep="0.01" gravity="0 0 0" integrator="implicitfast"/>
  <default><joint armature="0.05"/></default>
  <worldbody>
    <site name="goal" pos="0.3 0.2 0.1"/>
    <body name="upper">
      <joint name="shoulder" type="hinge" axis="0 0 1" damping="1"/>
      <geom type="capsule" fromto="0 0 0 0.3 0 0" size="0.02"/>
      <body name="lower" pos="0.3 0 0">
        <joint name="elbow" type="hinge" axis="0 1 0" damping="1"/>
        <geom type="capsule" fromto="0 0 0 0.3 0 0" size="0.02"/>
        <site name="tip {quote}" pos="0.3 0 0"/>
        <body name="left" pos="0.3 0.02 0">
          <joint name="left finger" type="slide" axis="0 1 0" range="0 0.05" limited="true" damping="5"/>
          <geom type="box" size="0.02 0.005 0.01"/>
        </body>
        <body name="right" pos="0.3 -0.02 0">
          <joint name="right finger" type="slide" axis="0 -1 0" range="0 0.05" limited="true" damping="5"/>
          <geom type="box" size="0.02 0.005 0.01"/>
        </body>
      </body>
    </body>
    <body name="cube" pos="0.2 -0.3 0"><freejoint/><geom type="box" size="0.02 0.02 0.02" mass="0.1"/></body>
  </worldbody>
  <equality><joint joint1="left finger" joint2="right finger"/></equality>
  <actuator>
    <position name="turn" joint="shoulder" kp="40"/>
    <velocity name="bend" joint="elbow" kv="4"/>
    <motor name="squeeze" joint="left finger" gear="{gear}"/>
  </actuator>
  <sensor><accelerometer name="felt" site="tip {quote}"/></sensor>
</mujoco>
'''

class Arm(gymnasium.Env):
    metadata = {"render_modes": [], "render_fps": 20}
    observation_space = spaces.Box(-np.inf, np.inf, (25,), np.float64)
    action_space = spaces.Box(-1, 1, (3,), np.float32)
    def __init__(self):
        self.model = mujoco.MjModel.from_xml_string(XML)
        self.data = mujoco.MjData(self.model)
    def observe(self):
        d, m = self.data, self.model
        tip, cube = d.site_xpos[1], d.body("cube").xpos
        return np.concatenate([
            tip, d.qpos[:2], cube, d.body("cube").xquat, cube - tip, d.site_xpos[0], d.qvel[:2] * 3,
            d.sensordata, [d.time, 7.0],
        ])
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:2] = self.np_random.uniform(-0.5, 0.5, 2)
        self.data.qpos[4:7] = [0.2, -0.3, 0] + self.np_random.uniform(-0.1, 0.1, 3)
        self.data.qvel[4:10] = self.np_random.uniform(-0.5, 0.5, 6)
        self.model.site_pos[0] = self.np_random.uniform(0.1, 0.3, 3)
        mujoco.mj_forward(self.model, self.data)
        return self.observe(), {}
    def step(self, action):
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, 5)
        away = np.linalg.norm(self.data.site_xpos[1] - self.data.site_xpos[0])
        return self.observe(), -1.0, False, False, {"solved": float(away < 0.05)}

gymnasium.register("Arm-v0", entry_point=Arm)
"""
FLAT = """
import gymnasium, numpy as np
from gymnasium import spaces

class Hand(gymnasium.Env):
    # Without a simulator: a hand with a gripper and a cube, in the keys of a goal environment.
    metadata = {"render_modes": [], "render_fps": 10}
    observation_space = spaces.Dict({
        "observation": spaces.Box(-np.inf, np.inf, (14,), np.float32),
        "achieved_goal": spaces.Box(-np.inf, np.inf, (3,), np.float32),
        "desired_goal": spaces.Box(-np.inf, np.inf, (3,), np.float32),
    })
    action_space = spaces.Box(-1, 1, (4,), np.float32)
    def observe(self):
        angle = self.angle
        numbers = [*self.hand, *self.cube, *(self.cube - self.hand), self.width]
        numbers += [np.cos(angle), np.sin(angle), 0.1 * self.steps, self.spin]
        return {"observation": np.array(numbers, np.float32), "achieved_goal": self.cube.astype(np.float32),
                "desired_goal": self.goal.astype(np.float32)}
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.hand, self.cube, self.goal = self.np_random.uniform(-0.3, 0.3, (3, 3))
        self.width, self.angle, self.spin, self.steps = 0.04, self.np_random.uniform(-3, 3), 0.0, 0
        return self.observe(), {"is_success": False}
    def step(self, action):
        self.hand = self.hand + 0.02 * action[:3]
        self.width = float(np.clip(self.width - 0.01 * action[3], 0, 0.08))
        self.cube = self.cube + self.np_random.normal(0, 0.001, 3)
        self.spin = self.np_random.uniform(-1, 1)
        self.angle, self.steps = self.angle + 0.1 * self.spin, self.steps + 1
        return self.observe(), -1.0, False, False, {"is_success": False}

gymnasium.register("Hand-v0", entry_point=Hand)
"""


def drafted(name: str, **options: Any) -> dict[str, Any]:
    *_, last = draft(name, options)
    return dict(last["draft"])


def parts(found: dict[str, Any], field: str = "observation") -> list[tuple[str, int, str]]:
    return [(each["name"], each["size"], each["unit"]) for each in found[field] if not each["hidden"]]


# name: parts of the observation, of the action, positions; units as in the documentation's tables.
DOCUMENTED = {
    "Reacher-v5": (
        [("joint_cosines", 2, ""), ("joint_sines", 2, ""), ("target_position", 2, "m"),
         ("joint_velocities", 2, "rad/s"), ("fingertip_from_target", 2, "m")],
        [("torques", 2, "200 N m")],
        [],
    ),
    "Pusher-v5": (
        [("joint_angles", 7, "rad"), ("joint_velocities", 7, "rad/s"), ("tips_arm_position", 3, "m"),
         ("object_position", 3, "m"), ("goal_position", 3, "m")],
        [("torques", 7, "N m")],
        ["tips_arm_position", "object_position", "goal_position"],
    ),
    "HalfCheetah-v5": (
        [("rootz_position", 1, "m"), ("rooty_angle", 1, "rad"), ("joint_angles", 6, "rad"),
         ("root_velocities", 2, "m/s"), ("rooty_velocity", 1, "rad/s"), ("joint_velocities", 6, "rad/s")],
        [("torques", 6, "")],
        [],
    ),
    "Ant-v5": (
        [("torso_z", 1, "m"), ("torso_quaternion", 4, ""), ("joint_angles", 8, "rad"), ("torso_velocity", 3, "m/s"),
         ("torso_angular_velocity", 3, "rad/s"), ("joint_velocities", 8, "rad/s"), ("contact_forces", 78, "")],
        [("torques", 8, "150 N m")],
        [],
    ),
    "InvertedPendulum-v5": (
        [("slider_position", 1, "m"), ("hinge_angle", 1, "rad"), ("slider_velocity", 1, "m/s"),
         ("hinge_velocity", 1, "rad/s")],
        [("slide_force", 1, "100 N")],
        [],
    ),
    "Pendulum-v1": (
        [("cosine", 1, ""), ("sine", 1, ""), ("angular_velocity", 1, "rad/s")],
        [("moves_angular_velocity", 1, "")],
        [],
    ),
    "gymnasium_robotics:FetchPickAndPlace-v4": (
        [("goal_position", 3, "m"), ("grip_position", 3, "m"), ("object0_position", 3, "m"),
         ("object0_from_grip", 3, "m"), ("gripper_finger_joint_positions", 2, "m"), ("object0_rotation", 3, "rad"),
         ("object0_velocity_from_grip", 3, "m a step"), ("object0_angular_velocity", 3, "rad a step"),
         ("grip_velocity", 3, "m a step"), ("gripper_finger_joint_velocities", 2, "m a step")],
        [("motion", 3, ""), ("gripper", 1, "")],
        ["grip_position", "object0_position", "goal_position"],
    ),
    "gymnasium_robotics:AdroitHandDoor-v1": (
        [("joint_angles", 27, "rad"), ("constant_27", 1, ""), ("door_hinge_angle", 1, "rad"),
         ("s_grasp_position", 3, "m"), ("s_handle_position", 3, "m"), ("s_grasp_from_s_handle", 3, "m"),
         ("constant_38", 1, "")],
        [("a_artz_target_position", 1, "0.4 m"), ("target_angles", 27, "")],
        ["s_grasp_position", "s_handle_position"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_numbers_are_what_the_documentation_says(name: str) -> None:
    if name.startswith("gymnasium_robotics"):
        pytest.importorskip("gymnasium_robotics")
    found = drafted(name)
    observation, action, positions = DOCUMENTED[name]
    assert parts(found) == observation
    assert parts(found, "action") == action
    assert found["positions"] == positions


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACE_ROBOT_WORKSPACE", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("arm_sim", "hand_sim"):
        sys.modules.pop(module, None)
    return tmp_path


def arm(own: Path, *, quote: str = "a", gear: str = "1") -> str:
    (own / "arm_sim.py").write_text(ARM.replace("{quote}", quote).replace("{gear}", gear))
    return "arm_sim:Arm-v0"


def test_an_arm_of_your_own_is_measured(own: Path) -> None:
    found = drafted(arm(own))
    assert parts(found) == [
        ("tip_a_position", 3, "m"),
        ("joint_angles", 2, "rad"),
        ("cube_position", 3, "m"),
        ("cube_quaternion", 4, ""),
        ("cube_from_tip_a", 3, "m"),
        ("goal_position", 3, "m"),
        ("shoulder_scaled_joint_velocity", 1, ""),
        ("elbow_scaled_joint_velocity", 1, ""),
        ("felt", 3, "m/s²"),
        ("time", 1, "s"),
        ("constant_24", 1, ""),
    ]
    assert found["positions"] == ["tip_a_position", "cube_position", "goal_position"]
    assert parts(found, "action")[:2] == [
        ("turn_target_angle", 1, "rad"),
        ("bend_target_velocity", 1, "rad/s"),
    ]
    scaled = next(each for each in found["observation"] if each["name"].startswith("shoulder"))
    assert scaled["meaning"].startswith("3 times the joint velocity of 'shoulder'")
    assert found["truths"] == ["solved"]


@pytest.mark.parametrize(("gear", "scale"), [("1", -1.0), ("-1", 1.0)])
def test_which_way_a_gripper_opens_is_measured(own: Path, gear: str, scale: float) -> None:
    gripper = drafted(arm(own, gear=gear))["action"][2]
    assert (gripper["name"], gripper["scale"], gripper["guess"]) == ("gripper", scale, "")


def test_points_without_a_simulator_are_guessed_from_keys_and_differences(own: Path) -> None:
    (own / "hand_sim.py").write_text(FLAT)
    found = drafted("hand_sim:Hand-v0")
    assert parts(found) == [
        ("goal_position", 3, "m"),
        ("observation_0_position", 3, "m"),
        ("achieved_goal_position", 3, "m"),
        ("achieved_goal_from_observation_0", 3, "m"),
        ("gripper_width", 1, ""),
        ("cosine", 1, ""),
        ("sine", 1, ""),
        ("time", 1, "s"),
        ("angular_velocity", 1, "rad/s"),
    ]
    assert found["positions"] == ["observation_0_position", "achieved_goal_position", "goal_position"]
    assert parts(found, "action") == [("motion", 3, ""), ("gripper", 1, "")]
    gripper = found["action"][1]
    assert gripper["scale"] == 1.0
    assert gripper["guess"]
    points = [each for each in found["observation"] if each["unit"] == "m" and not each["hidden"]]
    assert [bool(each["guess"]) for each in points] == [True, True, True, False]  # the difference is exact


def test_what_is_written_passes_the_check(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--env", arm(own), "--write", "envs/mine.py", "--task", "Lift the cube."]) == 0
    assert "envs/mine.py" in capsys.readouterr().out
    text = (own / "envs" / "mine.py").read_text()
    before = [f.text for f in examine("envs/mine.py").findings if f.verdict == "problem"]
    assert before == [
        "nothing says what success is: no entry success or is_success of info, no reward threshold"
    ]
    (own / "envs" / "mine.py").write_text(text.replace('# success="solved"', 'success="solved"'))  # one line
    findings = examine("envs/mine.py").findings
    assert not [f for f in findings if f.verdict == "problem"]
    words = [f.text for f in findings if f.check == "positions"]
    assert words == [
        "tip_a_position (site 'tip a'), cube_position (body 'cube'), goal_position (site 'goal');"
        " the first is the hand",
    ]
    assert any("inverse kinematics over 2 joints" in f.text for f in findings if f.check == "hands")
    enabled = "staged programs for one hand (--control pose, which optimize takes); feedback laws"
    assert [f.text for f in findings if f.check == "enables"] == [enabled]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_written_file_passes_the_check_after_one_line_at_most(own: Path, name: str) -> None:
    if name.startswith("gymnasium_robotics"):
        pytest.importorskip("gymnasium_robotics")
    (own / "envs").mkdir()
    text = plugin_text(name, measure(name, {}), options={"task": "Do it."}, own="mine")
    if name == "Pendulum-v1":  # nothing says what success is there
        assert "# return_threshold=" in text
        text = text.replace("# return_threshold=", "return_threshold=")
    (own / "envs" / "mine.py").write_text(text)
    messages = [message["finding"] for message in examination("mine", {}) if "finding" in message]
    assert not [each["text"] for each in messages if each["verdict"] == "problem"]


def test_a_point_that_positions_leave_out_is_pointed_out(own: Path) -> None:
    (own / "envs").mkdir()
    name = arm(own)
    text = plugin_text(name, drafted(name), options={"return_threshold": 1.0})
    short = text.replace(
        '"tip_a_position", "cube_position", "goal_position"', '"tip_a_position", "goal_position"'
    )
    assert short != text
    (own / "envs" / "mine.py").write_text(short)
    notes = [
        m["finding"]["text"]
        for m in examination("envs/mine.py", {})
        if m.get("finding", {}).get("verdict") == "note"
    ]
    assert "points that positions does not name: cube_position is body 'cube'" in notes


def test_a_position_that_no_part_has_is_named_with_a_similar_one(own: Path) -> None:
    (own / "envs").mkdir()
    name = arm(own)
    text = plugin_text(name, drafted(name), options={"return_threshold": 1.0})
    (own / "envs" / "mine.py").write_text(
        text.replace('positions=("tip_a_position"', 'positions=("tip_a_positon"')
    )
    problems = [
        m["finding"]
        for m in examination("envs/mine.py", {})
        if m.get("finding", {}).get("verdict") == "problem"
    ]
    ((text, field),) = [(each["text"], each["field"]) for each in problems]
    assert text.startswith(
        "positions: no part of the observation 'tip_a_positon'; did you mean 'tip_a_position'"
    )
    assert field == "positions"


def test_names_of_an_environment_cannot_become_code(own: Path) -> None:
    hostile = '"""\\n)\\nimport os; os.system("touch owned") #\u202e'
    found = drafted(arm(own))
    for each in found["observation"]:
        each |= {"meaning": hostile, "unit": hostile, "guess": hostile, "key": hostile}
    found |= {"truths": [hostile], "flag": hostile, "positions": [hostile]}
    text = plugin_text(hostile, found, options={"task": hostile, hostile: hostile}, own="mine")
    (own / "envs").mkdir()
    (own / "envs" / "mine.py").write_text(text)
    plugin = plugin_at(own / "envs" / "mine.py", own)
    assert plugin is not None
    (declared,) = plugin.environments  # type: ignore[attr-defined]
    assert declared.id == declared.task == declared.success == declared.positions[0] == hostile
    assert not (own / "owned").exists()
    assert "\u202e" not in text


def test_sites_with_quotes_in_their_names_are_written_as_texts(own: Path) -> None:
    found = drafted(arm(own, quote="&#10;&quot;; import os #"))
    first = found["observation"][0]
    assert first["name"] == "tip_import_os_position"
    assert compile(plugin_text("Arm-v0", found, options={}), "mine.py", "exec")


def test_a_file_that_exists_is_kept_without_force(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "mine.py").write_text("mine")
    assert main(["init", "--env", "Pendulum-v1", "--write", "mine.py"]) == 1
    assert "'mine.py' exists; add --force to replace it, or give another name" in capsys.readouterr().err
    assert (own / "mine.py").read_text() == "mine"
    assert main(["init", "--env", "Pendulum-v1", "--write", "mine.py", "--force"]) == 0
    assert 'part("angular_velocity", 1, "rad/s"' in (own / "mine.py").read_text()


@pytest.mark.skipif(os.name != "posix", reason="another interpreter needs Linux or macOS")
def test_another_interpreter_measures_and_stands_in_the_file(own: Path) -> None:
    command = ["init", "--env", "Pendulum-v1", "--python", sys.executable, "--write", "envs/mine.py"]
    assert main(command) == 0
    text = (own / "envs" / "mine.py").read_text()
    assert f'python="{sys.executable}"' in text
    assert "arguments=" not in text
    assert 'part("cosine"' in text
    assert "horizon=200," in text  # by the registry over there


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "Ant-v5"], "--env and --write go together"),
        (["--write", "a.py"], "--env and --write go together"),
        ([], "init needs a folder, or --env ID --write FILE, and not both"),
        (["folder", "--env", "Ant-v5", "--write", "a.py"], "init needs a folder"),
        (["folder", "--force"], "--force, --task, --env-arg and --python are for a plug-in"),
        (["folder", "--python", "python3"], "--force, --task, --env-arg and --python are for a plug-in"),
        (["--env", "Ant-v5", "--write", "a.txt"], "--write needs the name of a Python file"),
        (["--env", "Antt-v5", "--write", "a.py"], "did you mean"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    own: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["init", *arguments]) in (1, 2)
    assert message in capsys.readouterr().err
    assert not list(own.glob("a.*"))


def test_an_action_without_bounds_gets_guessed_ones(own: Path) -> None:
    (own / "arm_sim.py").write_text(
        ARM.replace("{quote}", "a")
        .replace("{gear}", "1")
        .replace("spaces.Box(-1, 1, (3,)", "spaces.Box(-np.inf, np.inf, (3,)")
    )
    text = plugin_text("arm_sim:Arm-v0", drafted("arm_sim:Arm-v0"), options={})
    assert (
        'part("turn_target_angle", 1, "rad", "target angle of \'turn\'", low=-1.0, high=1.0),  # ? ' in text
    )


UNNAMED = """
import gymnasium, numpy as np
from gymnasium import spaces

class Line(gymnasium.Env):
    # Without a simulator: {numbers}.
    metadata = {{"render_modes": [], "render_fps": 10}}
    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)
    action_space = spaces.Box(-1, 1, (1,), np.float32)
    def observe(self):
        return np.array([{numbers}])
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.noise, self.place, self.speed = self.np_random.uniform(-1, 1, 3)
        return self.observe(), {{}}
    def step(self, action):
        self.noise, push = self.np_random.uniform(-1, 1), {push}
        self.speed, self.place = self.speed + 0.1 * push, self.place + 0.1 * self.speed{late}
        return self.observe(), -1.0, False, False, {{}}

gymnasium.register("Line-v0", entry_point=Line)
"""


@pytest.mark.parametrize(
    ("numbers", "push", "late", "named"),
    [
        # The number has no part that begins with it.
        ("self.noise, self.place, self.speed", "float(action[0])", "", ["observation_0", "observation_0_1_rate"]),
        ("self.speed, self.place, self.noise", "float(action[0])", "", ["observation_1_0_rate", "observation_1"]),
        # Each is the rate of the other.
        ("self.place, self.speed, self.noise", "-self.place", " + 0.01 * push",
         ["observation_0", "observation_0_rate", "observation_2"]),
    ],
)  # fmt: skip
def test_a_rate_is_called_after_its_number(
    own: Path, numbers: str, push: str, late: str, named: list[str]
) -> None:
    (own / "line_sim.py").write_text(UNNAMED.format(numbers=numbers, push=push, late=late))
    sys.modules.pop("line_sim", None)
    assert [name for name, _, _ in parts(drafted("line_sim:Line-v0"))] == named
