"""A new user: the installed wheel, no checkout, a robot that is not shipped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODEL = """
<mujoco model="arm">
  <option timestep="0.005" gravity="0 0 0"/>
  <worldbody>
    <body name="arm">
      <joint name="shoulder" type="hinge" axis="0 0 1" damping="0.1"/>
      <geom type="capsule" fromto="0 0 0 0.4 0 0" size="0.03" mass="0.5"/>
      <site name="tip" pos="0.4 0 0"/>
    </body>
    <body name="target" mocap="true"><geom type="sphere" size="0.02" contype="0" conaffinity="0"/></body>
  </worldbody>
  <actuator><motor joint="shoulder" ctrllimited="true" ctrlrange="-1 1"/></actuator>
</mujoco>
"""
THEIRS = '''
"""An environment written before trace-robot was known."""
import gymnasium, mujoco, numpy as np
from pathlib import Path

class Arm(gymnasium.Env):
    observation_space = gymnasium.spaces.Dict({
        "joint": gymnasium.spaces.Box(-20, 20, (2,)), "target": gymnasium.spaces.Box(-4, 4, (1,)),
    })
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def __init__(self):
        self.fullpath = str(Path(__file__).with_name("arm.xml"))
        self.model = mujoco.MjModel.from_xml_path(self.fullpath)
        self.data = mujoco.MjData(self.model)

    def look(self):
        return {"joint": np.array([*self.data.qpos, *self.data.qvel]), "target": np.array([self.target])}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.target = self.np_random.uniform(-1.5, 1.5)
        self.data.mocap_pos[0, :2] = 0.4 * np.cos(self.target), 0.4 * np.sin(self.target)
        return self.look(), {}

    def step(self, action):
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, 4)
        error = abs(self.target - self.data.qpos[0])
        return self.look(), -error, False, False, {"error": error}
'''
PLUGIN = """
from trace_robot import Environment, part

from .their_code.arm import Arm

ENVIRONMENTS = [
    Environment(
        "arm",
        "Turn the arm until it points at the target, and stop there.",
        make=Arm,
        observation={"joint": [part("angle", 1, "rad"), part("velocity", 1, "rad/s")]},
        action=[part("torque", 1, "N m")],
        success=lambda e: e.info["error"] < 0.02 and abs(e.observation["velocity"]) < 0.1,
        horizon=200,
    )
]
"""
POLICY = """
from trace_robot import Bounds, node

stiffness = node(0.0, name="stiffness", trainable=True, constraint=Bounds(0, 20))
damping = node(0.0, name="damping", trainable=True, constraint=Bounds(0, 5))

def act(observation):
    return [stiffness * (observation["target"] - observation["angle"]) - damping * observation["velocity"]]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built and installed where no checkout is."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True, capture_output=True
    )
    return folder / "site"


def test_a_users_environment_is_plugged_in_and_optimized_in_few_lines(site: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    for name in ("TRACE_ROBOT_WORKSPACE", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        environment.pop(name, None)
    typed = []

    def trace_robot(line: str) -> str:
        typed.append(line)
        done = subprocess.run(
            [sys.executable, "-m", "trace_robot", *line.split()],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    trace_robot("init .")
    theirs = tmp_path / "envs" / "their_code"
    theirs.mkdir()
    (theirs / "arm.py").write_text(THEIRS)
    (theirs / "arm.xml").write_text(MODEL)
    (tmp_path / "envs" / "arm.py").write_text(PLUGIN.lstrip())
    (tmp_path / "policies" / "arm.py").write_text(POLICY)
    assert len(PLUGIN.strip().splitlines()) <= 15

    assert "problem" not in trace_robot("check-env arm")
    shown = trace_robot("optimize arm --policy arm --steps 60000 --workers 1 --held-out 20 --out run")
    assert "held out" in shown
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["held_out_success"] >= 0.9 > result["start_success"]
    assert (tmp_path / "run" / "iterations" / "001" / "episode.mp4").is_file()
    if "report" in trace_robot("--help").split():
        trace_robot("report run")
    used = trace_robot("envs arm --json")
    assert str(tmp_path / "envs" / "arm.py") in used
    where = subprocess.run(
        [sys.executable, "-c", "import trace_robot; print(trace_robot.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(site)
    assert len(typed) <= 6
