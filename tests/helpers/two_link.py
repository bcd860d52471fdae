"""A planar two-link arm without a simulator of ours, as the text of a module: what shows no model."""

from __future__ import annotations

from pathlib import Path

MODULE = '''
import gymnasium as gym
import numpy as np


class TwoLink(gym.Env):
    """Torques or, with quick=True, velocities; it shows angles, rates, tip, target and the steps that are left."""

    def __init__(self, render_mode=None, quick=False, deaf=False, bounded=True):
        self.quick, self.deaf = quick, deaf
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        high = np.array([np.pi, np.pi, *[np.inf] * 9]) if bounded else np.full(11, np.inf)
        self.observation_space = gym.spaces.Box(-high, high, dtype=np.float64)

    def tip(self):
        first, both = self.q[0], self.q[0] + self.q[1]
        return np.array([0.3 * np.cos(first) + 0.25 * np.cos(both), 0.3 * np.sin(first) + 0.25 * np.sin(both), 0.1])

    def observe(self):
        angles = (self.q + np.pi) % (2 * np.pi) - np.pi
        return np.concatenate([angles, self.v, self.tip(), self.target, [100 - self.t]])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.q, self.v, self.t = self.np_random.uniform(-0.6, 0.6, 2) + [0, 1.2], np.zeros(2), 0
        radius, angle = self.np_random.uniform(0.35, 0.5), self.np_random.uniform(-1.2, 1.2)
        self.target = np.array([radius * np.cos(angle), radius * np.sin(angle), 0.1])
        return self.observe(), {}

    def step(self, action):
        action = np.zeros(2) if self.deaf else np.clip(action, -1, 1)
        for _ in range(4):
            self.v = 2 * action if self.quick else self.v + 0.01 * (action * [8.0, 6.0] - 1.5 * self.v)
            self.q = self.q + 0.01 * self.v
        self.t += 1
        near = float(np.linalg.norm(self.tip() - self.target))
        return self.observe(), -near, False, self.t >= 100, {"is_success": near < 0.02}
'''
PLUGIN = """
from trace_robot import Environment, part

ENVIRONMENTS = [
    Environment(
        "two-link",
        "Bring the tip to the target.",
        make="../two_link.py:TwoLink",
        arguments={arguments},
        observation=[
            part("angles", 2, "rad"),
            part("rates", 2, "rad/s"),
            part("tip", 3, "m"),
            part("target", 3, "m"),
            part("steps_left", 1),
        ],
        positions=("tip", "target"),
        success="is_success",
        horizon=100,
    )
]
"""


def write(folder: Path, **arguments: bool) -> None:
    """Write the module, and envs/two_link.py that describes it.

    Args:
        folder: of a workspace.
        arguments: of the class.
    """
    (folder / "envs").mkdir(exist_ok=True)
    (folder / "two_link.py").write_text(MODULE)
    (folder / "envs" / "two_link.py").write_text(PLUGIN.replace("{arguments}", repr(arguments)))
