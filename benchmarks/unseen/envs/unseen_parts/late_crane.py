"""A trolley on two axes, a rope that swings both ways, wind, and a pit little wider than the load."""

from __future__ import annotations

import numpy as np

from .robot import Array, Info, Robot

MODEL = """
<mujoco model="late crane">
  <compiler angle="radian"/>
  <option timestep="0.005" integrator="implicitfast" cone="elliptic"/>
  <default>
    <geom contype="0" conaffinity="0" rgba="0.5 0.5 0.6 1"/>
    <default class="solid"><geom type="box" contype="1" conaffinity="1" friction="0.4 0.01 0.001"/></default>
  </default>
  <worldbody>
    <light pos="0 0 3"/>
    <geom name="floor" class="solid" type="plane" size="2 2 0.1" rgba="0.9 0.9 0.9 1"/>
    <body name="trolley" pos="0 0 1.6">
      <joint name="x" type="slide" axis="1 0 0" range="-0.9 0.9" damping="20"/>
      <joint name="y" type="slide" axis="0 1 0" range="-0.9 0.9" damping="20"/>
      <geom type="box" size="0.08 0.08 0.03" pos="0 0 0.03" mass="15"/>
      <body name="rope">
        <joint name="swing_x" axis="0 1 0" damping="0.05" armature="0.002"/>
        <joint name="swing_y" axis="1 0 0" damping="0.05" armature="0.002"/>
        <geom type="capsule" fromto="0 0 0 0 0 -0.3" size="0.004" mass="0.02"/>
        <body name="load">
          <joint name="rope" type="slide" axis="0 0 -1" range="0.4 1.7" damping="20"/>
          <geom name="load" class="solid" size="0.04 0.04 0.04" mass="3" rgba="0.2 0.6 0.3 1"/>
        </body>
      </body>
    </body>
    <body name="pit" mocap="true">
      <geom class="solid" size="0.1 0.02 0.075" pos="0 0.08 0.075" rgba="0.9 0.2 0.2 1"/>
      <geom class="solid" size="0.1 0.02 0.075" pos="0 -0.08 0.075" rgba="0.9 0.2 0.2 1"/>
      <geom class="solid" size="0.02 0.06 0.075" pos="0.08 0 0.075" rgba="0.9 0.2 0.2 1"/>
      <geom class="solid" size="0.02 0.06 0.075" pos="-0.08 0 0.075" rgba="0.9 0.2 0.2 1"/>
    </body>
  </worldbody>
  <actuator>
    <velocity joint="x" kv="200" forcerange="-60 60"/><velocity joint="y" kv="200" forcerange="-60 60"/>
    <velocity joint="rope" kv="400" forcerange="-90 90"/>
  </actuator>
</mujoco>
"""
LATE = 3  # decisions, 120 ms
HELD = 10  # decisions at rest in the pit that are a success, 0.4 s
WIND = 1.5  # N, the most along each axis


class LateCrane(Robot):
    """Trolley, rope, load and pit are seen late, no speeds; 25 decisions a second. The wind differs."""

    def __init__(self, render_mode: str | None = None) -> None:
        high = [0.6, 0.6, 0.4]
        super().__init__(MODEL, low=[-x for x in high], high=high, seconds=0.04, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """The load swings a little below the trolley; the pit lies 0.6 m from it or more."""
        trolley = pit = np.zeros(2)
        while np.linalg.norm(trolley - pit) < 0.6:
            trolley, pit = random.uniform(-0.7, 0.7, (2, 2))
        self.data.qpos[:5] = [*trolley, *random.uniform(-0.1, 0.1, 2), random.uniform(0.8, 1.1)]
        self.set_mocap("pit", [*pit, 0.0])
        self.data.xfrc_applied[self.model.body("load").id, :2] = random.uniform(-WIND, WIND, 2)
        self.held, self.before = 0, np.zeros(3)
        self.seen: list[Array] = []

    def observe(self) -> Array:
        """Return (8,): trolley, rope and load as they were 120 ms ago, the pit."""
        if not self.seen:
            self.seen = [self._look()] * (LATE + 1)
        return np.concatenate([self.seen[0], self.body("pit")[:2]])

    def advance(self) -> None:
        """Look, and count the decisions during which the load stands in the pit."""
        self.seen = [*self.seen[1:], self._look()]
        moved = float(np.linalg.norm(self.body("load") - self.before))
        self.before = self.body("load")
        standing = self._beside() < 0.045 and self.before[2] < 0.05
        self.held = self.held + 1 if standing and moved < 0.02 * self.dt else 0

    def judge(self) -> tuple[float, Info]:
        """Return minus the distance beside the pit and the height, which counts more above the pit."""
        beside, height = self._beside(), float(self.body("load")[2] - 0.04)
        reward = -beside - 0.5 * height * (beside < 0.045) - 0.3 * (beside >= 0.045) + 0.1 * (self.held > 0)
        return reward, {"beside": beside, "height": height, "success": self.held >= HELD}

    def _look(self) -> Array:
        return np.concatenate([self.data.qpos[:2], self.data.qpos[4:5], self.body("load")])

    def _beside(self) -> float:
        """Return how far the middle of the load is from the middle of the pit on the worse axis, m."""
        return float(np.abs(self.body("load") - self.body("pit"))[:2].max())
