"""A round body with three legs that it cannot stand on while one is lifted."""

from __future__ import annotations

import numpy as np

from .robot import Array, Info, Robot

LEG = """
<body euler="0 0 {angle}">
  <body pos="0.11 0 0.01">
    <joint name="swing{n}" axis="0 0 1" range="-0.8 0.8"/>
    <geom class="leg" fromto="0 0 0 0.05 0 0" size="0.016" mass="0.08"/>
    <body pos="0.05 0 0">
      <joint name="lift{n}" axis="0 -1 0" range="-1.0 0.8"/>
      <geom class="leg" fromto="0 0 0 0.09 0 0.02" size="0.012" mass="0.06"/>
      <geom class="leg" fromto="0.09 0 0.02 0.14 0 -0.06" size="0.01" mass="0.04"/>
      <geom class="foot" name="foot{n}" type="sphere" size="0.014" pos="0.14 0 -0.06" mass="0.02"/>
    </body>
  </body>
</body>
"""
MODEL = """
<mujoco model="tripod crawler">
  <compiler angle="radian"/>
  <option timestep="0.005" integrator="implicitfast" cone="elliptic"/>
  <default>
    <geom contype="0" conaffinity="0" rgba="0.5 0.5 0.6 1"/>
    <joint armature="0.005" damping="0.1"/>
    <default class="leg"><geom type="capsule"/></default>
    <default class="foot">
      <geom contype="1" conaffinity="2" friction="1 0.01 0.001" priority="1" rgba="0.2 0.2 0.2 1"/>
    </default>
    <position kp="12" kv="0.6" forcerange="-3 3"/>
  </default>
  <worldbody>
    <light pos="0 0 3"/>
    <geom name="ground" type="plane" size="5 5 0.1" contype="2" conaffinity="1" friction="0.4 0.01 0.001"
      rgba="0.9 0.9 0.9 1"/>
    <body name="hull" pos="0 0 0.035">
      <freejoint name="hull"/>
      <geom name="hull" type="cylinder" size="0.11 0.02" mass="1.2" contype="1" conaffinity="2" rgba="0.2 0.6 0.3 1"/>
      <geom name="nose" type="box" size="0.02 0.006 0.004" pos="0.08 0 0.022" mass="0" rgba="0.9 0.6 0.2 1"/>
      {legs}
    </body>
  </worldbody>
  <actuator>
    <position joint="swing0" ctrlrange="-0.8 0.8"/><position joint="lift0" ctrlrange="-1 0.8"/>
    <position joint="swing1" ctrlrange="-0.8 0.8"/><position joint="lift1" ctrlrange="-1 0.8"/>
    <position joint="swing2" ctrlrange="-0.8 0.8"/><position joint="lift2" ctrlrange="-1 0.8"/>
  </actuator>
</mujoco>
""".replace("{legs}", "".join(LEG.format(n=n, angle=2.0943951 * n) for n in range(3)))
WAY, BESIDE = 2.0, 0.3  # m along the heading, and the most beside it


class TripodCrawler(Robot):
    """Hull, joints, all speeds and the heading are seen; 20 decisions a second. Actions are parts of the range."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(MODEL, low=[-1.0] * 6, high=[1.0] * 6, seconds=0.05, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """The crawler lies at the origin at any angle, and the heading is any; the ground's friction differs."""
        turn, heading = random.uniform(-np.pi, np.pi, 2)
        self.set_free("hull", [0.0, 0.0, 0.021], turn)
        self.data.qpos[7:] = random.uniform(-0.1, 0.1, 6) + np.tile([0.0, 0.4], 3)
        self.data.ctrl[:] = self.data.qpos[7:]
        self.way = np.array([np.cos(heading), np.sin(heading)])
        self.model.geom("ground").friction[0] = random.uniform(0.3, 0.5)
        self.model.geom("hull").friction[0] = random.uniform(0.2, 0.4)
        self.before = 0.0

    def move(self, action: Array) -> None:
        """Turn the servos to a part of their range, -1 to 1."""
        low, high = self.model.actuator_ctrlrange.T
        self.data.ctrl[:] = low + 0.5 * (action + 1.0) * (high - low)

    def observe(self) -> Array:
        """Return (27,): the hull's position, quaternion, joints, the hull's speeds, joints' speeds, the heading."""
        return np.concatenate([self.data.qpos, self.data.qvel, self.way])

    def judge(self) -> tuple[float, Info]:
        """Return the way made along the heading in this step, less for what is beside it."""
        along, beside = self._made()
        upright = float(self.data.body("hull").xmat[8])
        reward, self.before = 10.0 * (along - self.before) - 0.05 * abs(beside), along
        failed = bool(abs(beside) > BESIDE or upright < 0.0)
        info = {"along": along, "beside": beside, "success": along > WAY and not failed, "failed": failed}
        return reward - 2.0 * failed, info

    def _made(self) -> tuple[float, float]:
        """Return how far the hull is along the heading and to the left of it, m."""
        x, y = self.data.qpos[:2]
        return float(self.way @ [x, y]), float(self.way[0] * y - self.way[1] * x)
