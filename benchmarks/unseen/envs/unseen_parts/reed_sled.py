"""A sled that two drives push, and on it a flat reed with a weight at its top that hardly stops to swing."""

from __future__ import annotations

import mujoco
import numpy as np

from .robot import Array, Info, Robot

MODEL = """
<mujoco model="reed sled">
  <compiler angle="radian"/>
  <option timestep="0.005" integrator="implicitfast"/>
  <default><geom contype="0" conaffinity="0" rgba="0.5 0.5 0.6 1"/></default>
  <worldbody>
    <light pos="0 0 3"/>
    <geom type="plane" size="2 2 0.1" rgba="0.9 0.9 0.9 1"/>
    <body name="sled" pos="0 0 0.04">
      <joint name="x" type="slide" axis="1 0 0" damping="4"/>
      <joint name="y" type="slide" axis="0 1 0" damping="4"/>
      <geom type="box" size="0.1 0.1 0.03" mass="4"/>
      <body name="reed" pos="0 0 0.03">
        <joint name="bend_x" axis="0 1 0" stiffness="4.1" damping="0.006"/>
        <joint name="bend_y" axis="-1 0 0" stiffness="6.8" damping="0.008"/>
        <geom type="box" size="0.012 0.003 0.3" pos="0 0 0.3" mass="0.02" rgba="0.9 0.6 0.2 1"/>
        <geom type="sphere" size="0.025" pos="0 0 0.6" mass="0.25" rgba="0.2 0.6 0.3 1"/>
        <site name="tip" pos="0 0 0.6"/>
      </body>
    </body>
    <body name="mark" mocap="true">
      <geom type="cylinder" size="0.1 0.001" rgba="0.9 0.2 0.2 1"/>
    </body>
  </worldbody>
</mujoco>
"""
FORCE = np.array([5.0, -3.5])  # N, of full power: the second drive is weaker, and the other way round
AFTER = 5  # decisions until a drive obeys, 200 ms
LATE = 3  # decisions until the tip is seen, 120 ms
NEAR, UPRIGHT, BROKEN = 0.015, 0.012, 0.08  # m, of the sled from the mark, and of the tip from above the sled
HELD = 20  # decisions at rest that are a success, 0.8 s


class ReedSled(Robot):
    """Sled, tip and mark are seen, no speeds; 25 decisions a second. Stiffness and power differ."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(MODEL, low=[-1.0, -1.0], high=[1.0, 1.0], seconds=0.04, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """The reed swings 2.5 to 4 cm along each axis; the mark lies 0.4 to 0.9 m away along each."""
        side = random.choice([-1.0, 1.0], 2)
        self.mark = side * random.uniform(0.4, 0.9, 2)
        self.set_mocap("mark", [*self.mark, 0.0])
        bend = random.choice([-1.0, 1.0], 2) * random.uniform(0.025, 0.04, 2) / 0.6
        self.data.qpos[2:4] = bend
        for joint, stiffness in (("bend_x", 4.1), ("bend_y", 6.8)):
            self.model.joint(joint).stiffness[0] = stiffness * random.uniform(0.93, 1.07)
        self.force = FORCE * random.uniform(0.93, 1.07, 2)
        self.waiting = [np.zeros(2)] * AFTER
        self.held = 0
        mujoco.mj_kinematics(self.model, self.data)
        self.tips = [self.site("tip")[:2]] * (LATE + 1)

    def move(self, action: Array) -> None:
        """Push the sled by what was asked for a while ago."""
        self.waiting = [*self.waiting, np.asarray(action, float)]
        self.data.qfrc_applied[:2] = self.force * self.waiting.pop(0)

    def observe(self) -> Array:
        """Return (6,): the sled now, the tip as it was 120 ms ago, the mark."""
        return np.concatenate([self.data.qpos[:2], self.tips[0], self.mark])

    def advance(self) -> None:
        """Look at the tip, and count the decisions during which sled and reed are where they should be."""
        self.tips = [*self.tips[1:], self.site("tip")[:2]]
        there = self._beside() < NEAR and self._bent() < UPRIGHT
        self.held = self.held + 1 if there else 0

    def judge(self) -> tuple[float, Info]:
        """Return minus the distance from the mark and the bend, which counts more near the mark."""
        beside, bent = self._beside(), self._bent()
        broken = bent > BROKEN
        reward = -beside - 2.0 * bent * (beside < 0.1) - 0.2 * (beside >= 0.1) + 0.1 * (self.held > 0)
        info = {"beside": beside, "bent": bent, "success": self.held >= HELD, "failed": broken}
        return reward - 100.0 * broken, info

    def _beside(self) -> float:
        return float(np.linalg.norm(self.data.qpos[:2] - self.mark))

    def _bent(self) -> float:
        return float(np.linalg.norm(self.site("tip")[:2] - self.data.qpos[:2]))
