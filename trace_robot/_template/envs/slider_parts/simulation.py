"""The environment itself: any gymnasium environment will do, with MuJoCo or without."""

from pathlib import Path

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box


class Slider(gymnasium.Env):
    """A cart that a force pushes along a rail; 50 decisions a second.

    model, data, fullpath and dt are what videos are made from.
    """

    metadata = {"render_modes": []}
    observation_space = Box(-10.0, 10.0, (3,), np.float64)
    action_space = Box(-5.0, 5.0, (1,), np.float32)

    def __init__(self):
        self.fullpath = str(Path(__file__).with_name("slider.xml"))
        self.model = mujoco.MjModel.from_xml_path(self.fullpath)
        self.data = mujoco.MjData(self.model)
        self.steps_a_decision = 10
        self.dt = self.steps_a_decision * self.model.opt.timestep

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)  # sets self.np_random, the only source of chance
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[0], mark = self.np_random.uniform(-0.8, 0.8, 2)
        self.data.mocap_pos[0, 0] = mark
        mujoco.mj_forward(self.model, self.data)
        return self.observation(), {}

    def step(self, action):
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, self.steps_a_decision)
        position, velocity, mark = self.observation()
        distance = abs(position - mark)
        info = {"distance": distance, "stopped": bool(distance < 0.02 and abs(velocity) < 0.05)}
        return self.observation(), -distance, False, False, info

    def observation(self):
        return np.array([self.data.qpos[0], self.data.qvel[0], self.data.mocap_pos[0, 0]])
