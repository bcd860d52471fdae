"""A planar arm in joint space: its points of two numbers, its id, and its file from another folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import planar_arm
from trace_robot.cli.main import main
from trace_robot.env.registry import describe, make, make_described, plugin
from trace_robot.env_checker import Finding, measure
from trace_robot.env_checker.child import examination
from trace_robot.errors import WorkspaceError
from trace_robot.search import StagedSearch, search_for

POSITIONS = planar_arm.POSITIONS
ENABLED = "staged programs for one hand (--control pose, which optimize takes); feedback laws"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACE_ROBOT_WORKSPACE", raising=False)
    return tmp_path


def found(name: str, check: str) -> list[Finding]:
    every = [Finding(**message["finding"]) for message in examination(name, {}) if "finding" in message]
    assert not [finding.text for finding in every if finding.verdict == "problem"]
    return [finding for finding in every if finding.check == check]


def test_a_class_of_a_file_is_measured_with_the_heights_of_its_planar_points(own: Path) -> None:
    planar_arm.write(own).unlink()
    (own / "elsewhere").mkdir()
    (own / "planar_arm_module.py").rename(own / "elsewhere" / "arm.py")
    line = ["init", "--env", "elsewhere/arm.py:Planar", "--write", "envs/mine.py", "--task", "Reach."]
    assert main(line) == 0
    text = (own / "envs" / "mine.py").read_text()
    assert 'make="../elsewhere/arm.py:Planar"' in text
    assert 'part("tip_position", 2, "m", "x and y of site \'tip\', world frame", height=0.3)' in text
    assert 'positions=("tip_position", "target_position")' in text
    assert search_for(describe("Planar", control="pose")) is StagedSearch


def test_what_is_no_class_of_a_file_is_refused_with_what_is_accepted(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planar_arm.write(own)
    for env, reason in (
        ("planar_arm_module.py:Round", "has no function 'Round'"),
        ("no_such.py:Planar", "there is no file"),
        ("./planar_arm_module:Planar-v0", "init takes FILE.py:NAME"),
    ):
        assert main(["init", "--env", env, "--write", "envs/other.py"]) == 1
        error = capsys.readouterr().err
        assert reason in error
        assert "relative import" not in error
    assert not (own / "envs" / "other.py").exists()


def test_positions_enable_what_the_mode_that_optimize_takes_enables(own: Path) -> None:
    planar_arm.write(own, height="0.3", positions=POSITIONS)
    assert [finding.text for finding in found("Planar-v0", "enables")] == [ENABLED]
    (positions,) = found("Planar-v0", "positions")
    assert (
        positions.text == "tip_position (site 'tip'), target_position (site 'target'); the first is the hand"
    )


def test_planar_points_without_a_height_are_named_with_the_lines_that_mend_it(own: Path) -> None:
    planar_arm.write(own)
    (note,) = found("Planar-v0", "positions")
    assert note.verdict == "note"
    assert "part('tip_position', 2, 'm', height=0.3)" in note.remedy
    assert note.remedy.endswith("positions=('tip_position', 'target_position')")


def test_a_planar_position_without_a_height_is_refused_with_the_part_to_write(own: Path) -> None:
    planar_arm.write(own, positions=POSITIONS)
    with pytest.raises(WorkspaceError, match=r"give its height: part\('tip_position', 2, 'm', height=0.0\)"):
        make_described("Planar-v0")


def test_a_plugin_is_found_by_id_module_name_and_file(own: Path) -> None:
    path = planar_arm.write(own, name="my-arm")
    names = ("planar_arm_module:Planar-v0", "Planar-v0", "my-arm", "planar_plugin", str(path))
    assert {plugin(name).file for name in names} == {str(path)}
    assert {describe(name).name for name in names} == {"my-arm"}


def test_an_id_that_two_environments_are_made_of_asks_for_a_name(own: Path) -> None:
    path = planar_arm.write(own, name="my-arm")
    (own / "envs" / "second.py").write_text(path.read_text().replace("my-arm", "other-arm"))
    with pytest.raises(WorkspaceError, match="is declared as my-arm, other-arm; name one of them"):
        plugin("planar_arm_module:Planar-v0")


def test_a_file_outside_of_the_workspace_is_drawn(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planar_arm.write(own)
    (own / "another").mkdir()
    monkeypatch.chdir(own / "another")
    assert [finding.verdict for finding in found("../envs/planar_plugin.py", "picture")] == ["good"]


def test_the_name_of_an_environment_draws_it_where_it_is_found_by_name(own: Path) -> None:
    path = planar_arm.write(own)
    assert make(str(path)).unwrapped.drawn_as == ""


def test_a_body_that_no_joint_of_it_drives_is_no_planar_hand(own: Path) -> None:
    # The arm's base slides freely, as a cart on wheels does, and its joints are those of a body that is not seen.
    path = planar_arm.write(own)
    text = (own / "planar_arm_module.py").read_text()
    slides = (
        '<joint type="slide" axis="1 0 0" limited="false"/><joint type="slide" axis="0 1 0" limited="false"/>'
    )
    text = text.replace(
        '<body pos="0 0 0.3">',
        f'<body pos="0 0 0.3">{slides}<geom fromto="0 0 0 0 0 0.05"/><site name="cart"/><body>',
        1,
    )
    text = text.replace("</body></body></body>", "</body></body></body></body>").replace(
        'site("tip")', 'site("cart")'
    )
    text = text.replace("self.data.qpos, self.data.qvel", "self.data.qpos[2:], self.data.qvel[2:]")
    text = text.replace("self.data.qpos[:] =", "self.data.qpos[2:] =").replace("Planar-v0", "Cart-v0")
    (own / "cart_module.py").write_text(text)
    path.write_text(path.read_text().replace("planar_arm_module:Planar-v0", "cart_module:Cart-v0"))
    assert found("Cart-v0", "positions") == []
    assert [finding.text for finding in found("Cart-v0", "enables")] == ["feedback laws"]


def test_a_goal_at_a_height_that_no_action_gives_the_hand_is_pointed_out(own: Path) -> None:
    path = planar_arm.write(own, height="0.3", positions=POSITIONS)
    target = 'part("target_position", 2, "m", height=0.3)'
    text = path.read_text()
    assert target in text
    path.write_text(text.replace(target, target.replace("0.3", "0.05")))
    (note,) = [finding for finding in found("Planar-v0", "positions") if finding.verdict == "note"]
    assert note.text == (
        "target_position is 25 cm or more from tip_position along z, and no action moves tip_position along z: no"
        " controller brings one to the other"
    )
    assert note.remedy == "if both are meant to meet, give them the same z: part(..., 2, 'm', height=...)"


UPRIGHT = """
import gymnasium
import mujoco
import numpy as np

XML = '''<mujoco><option timestep="0.02"/><worldbody>
  <body pos="0 0 0.5"><joint name="shoulder" axis="0 1 0" damping="0.5"/><geom size="0.02" fromto="0 0 0 0.2 0 0"
      type="capsule"/>
    <body pos="0.2 0 0"><joint name="elbow" axis="0 1 0" damping="0.5"/><geom size="0.02" fromto="0 0 0 0.2 0 0"
        type="capsule"/><site name="tip" pos="0.2 0 0"/></body></body>
  <body name="goal" mocap="true"><site name="goal"/></body></worldbody>
  <actuator><motor joint="shoulder" gear="2" ctrlrange="-1 1"/><motor joint="elbow" ctrlrange="-1 1"/></actuator>
</mujoco>'''


class Arm(gymnasium.Env):
    def __init__(self, render_mode=None):
        self.model = mujoco.MjModel.from_xml_string(XML)
        self.data = mujoco.MjData(self.model)
        self.action_space = gymnasium.spaces.Box(-1, 1, (2,))
        self.aim = np.zeros(2)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (len(self.see()),))

    def see(self):
        tip, goal = self.data.site("tip").xpos[[0, 2]], self.data.site("goal").xpos[[0, 2]]
        return np.concatenate([self.data.qpos, self.data.qvel, SEEN]).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = self.np_random.uniform(-0.5, 0.5, 2)
        self.aim = self.np_random.uniform(0.1, 0.4, 2)
        self.data.mocap_pos[0, [0, 2]] = self.np_random.uniform(0.1, 0.4, 2)
        mujoco.mj_forward(self.model, self.data)
        return self.see(), {}

    def step(self, action):
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data)
        mujoco.mj_forward(self.model, self.data)
        return self.see(), -1.0, False, False, {}


class Flat(gymnasium.Env):
    def __init__(self, render_mode=None):
        self.action_space = gymnasium.spaces.Box(-1, 1, (2,))
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (6,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.to = self.np_random.uniform(-1, 1, (2, 2))
        return np.concatenate([self.at, self.to, self.to - self.at]).astype(np.float32), {}

    def step(self, action):
        self.at = self.at + 0.05 * np.asarray(action, float)
        return np.concatenate([self.at, self.to, self.to - self.at]).astype(np.float32), 0.0, False, False, {}
"""


@pytest.mark.parametrize(
    ("made", "seen", "parts"),
    [
        ("Arm", "goal - tip", [("goal_from_tip", 2, "position of 'goal' minus that of 'tip'", "")]),
        (
            "Arm",
            "self.aim, tip - self.aim",  # the simulator holds no target
            [
                ("target_position", 2, "", "a point in meters? another part is its difference to site 'tip'"),
                ("tip_from_target", 2, "position of 'tip' minus that of 'target'", ""),
            ],
        ),
        (
            "Flat",
            "0",
            [
                (
                    "observation_0_position",
                    2,
                    "",
                    SECOND := "a point in meters? another part is its difference to a second point",
                ),
                ("observation_2_position", 2, "", SECOND),
                ("observation_2_from_observation_0", 2, "", ""),
            ],
        ),
    ],
)
def test_differences_of_an_upright_plane_are_recognized(
    own: Path, made: str, seen: str, parts: list[tuple[str, int, str, str]]
) -> None:
    (own / "upright.py").write_text(UPRIGHT.replace("SEEN", seen))
    found = measure(f"upright.py:{made}", {})["observation"]
    rows = [(each["name"], each["size"], each["meaning"], each["guess"]) for each in found]
    assert [row for row in rows if not row[0].startswith("joint_")] == parts
    assert {each["unit"] for each in found if not each["name"].startswith("joint_")} == {"m"}


def test_what_our_own_plugins_mean_is_no_note() -> None:
    # Numbers that are skipped, joints that are tracked, results by return, a state that cannot be saved.
    for name in ("FetchReach-v4", "Pusher-v5", "Swimmer-v5", "Humanoid-v5"):
        messages = list(examination(name, {}))
        findings = [Finding(**message["finding"]) for message in messages if "finding" in message]
        assert [finding.text for finding in findings if finding.verdict != "good"] == [], name
        assert len(findings) > 5
