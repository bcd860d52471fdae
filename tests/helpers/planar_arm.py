"""A planar arm of three joints with position servos, as the text of a module that registers it."""

from __future__ import annotations

from pathlib import Path

MODULE = '''
import gymnasium as gym
import mujoco
import numpy as np

XML = """
<mujoco>
  <option timestep="0.005" gravity="0 0 0" integrator="implicitfast"/>
  <default><joint type="hinge" axis="0 0 1" damping="0.4" limited="true"/>
    <geom type="capsule" size="0.02" density="900" contype="0" conaffinity="0"/></default>
  <worldbody>
    <body pos="0 0 0.3"><joint name="j1" range="-170 170"/><geom fromto="0 0 0 0.25 0 0"/>
      <body pos="0.25 0 0"><joint name="j2" range="-150 150"/><geom fromto="0 0 0 0.20 0 0"/>
        <body pos="0.20 0 0"><joint name="j3" range="-120 120"/><geom fromto="0 0 0 0.12 0 0"/>
          <site name="tip" pos="0.12 0 0"/></body></body></body>
    <site name="target" pos="0.3 0 0.3"/>
  </worldbody>
  <actuator><position joint="j1" kp="20" kv="1.5" ctrlrange="-2.9 2.9"/>
    <position joint="j2" kp="15" kv="1" ctrlrange="-2.6 2.6"/>
    <position joint="j3" kp="8" kv="0.5" ctrlrange="-2 2"/></actuator>
</mujoco>"""


class Planar(gym.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}

    def __init__(self, render_mode=None):
        self.model = mujoco.MjModel.from_xml_string(XML)
        self.data = mujoco.MjData(self.model)
        self.render_mode = render_mode
        bounds = self.model.actuator_ctrlrange.astype(np.float32)
        self.action_space = gym.spaces.Box(bounds[:, 0], bounds[:, 1])
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (10,), np.float64)

    def _obs(self):
        tip, target = self.data.site("tip").xpos[:2], self.data.site("target").xpos[:2]
        return np.concatenate([self.data.qpos, self.data.qvel, tip, target])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = self.np_random.uniform(-0.5, 0.5, 3) + [0, 0.8, 0.4]
        radius, angle = self.np_random.uniform(0.25, 0.5), self.np_random.uniform(-2, 2)
        self.model.site("target").pos[:2] = radius * np.cos(angle), radius * np.sin(angle)
        mujoco.mj_forward(self.model, self.data)
        return self._obs(), {}

    def step(self, action):
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, nstep=8)
        obs = self._obs()
        distance = float(np.linalg.norm(obs[6:8] - obs[8:10]))
        return obs, -distance, False, False, {"is_success": distance < 0.015, "distance": distance}

    def render(self):
        picture = np.zeros((60, 80, 3), np.uint8)
        picture[30, int(40 + 60 * self.data.site("tip").xpos[0]) % 80] = 255
        return picture


gym.register("Planar-v0", entry_point=Planar, max_episode_steps=150)
'''
PLUGIN = """
from trace_robot import Environment, part

ENVIRONMENTS = [
    Environment(
        "planar_arm_module:Planar-v0", "Bring the tip to the target.", success="is_success", NAME
        observation=[
            part("joint_angles", 3, "rad"),
            part("joint_velocities", 3, "rad/s"),
            part("tip_position", 2, "m"HEIGHT),
            part("target_position", 2, "m"HEIGHT),
        ],
        action=[part("target_angles", 3, "rad")], POSITIONS
    )
]
"""
POSITIONS = 'positions=("tip_position", "target_position"),'


def write(folder: Path, *, height: str = "", positions: str = "", name: str = "") -> Path:
    """Write the module and a plug-in for it into a folder, and return the plug-in's path.

    Args:
        folder: a workspace.
        height: of its planar points, such as "0.3"; "" for none.
        positions: ``POSITIONS``, or "".
        name: of the environment; "" for its id.
    """
    (folder / "envs").mkdir(exist_ok=True)
    (folder / "planar_arm_module.py").write_text(MODULE)
    path = folder / "envs" / "planar_plugin.py"
    text = PLUGIN.replace("HEIGHT", f", height={height}" if height else "").replace("POSITIONS", positions)
    path.write_text(text.replace("NAME", f'name="{name}",' if name else ""))
    return path
