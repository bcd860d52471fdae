"""A flat slippery puck and a fingertip that reaches its upper face only."""

from __future__ import annotations

import numpy as np

from .robot import Array, Info, Robot, yaw_of

MODEL = """
<mujoco model="slip puck">
  <compiler angle="radian"/>
  <option timestep="0.004" integrator="implicitfast" cone="elliptic" impratio="5"/>
  <default><geom contype="0" conaffinity="0"/><motor ctrlrange="-8 8"/></default>
  <worldbody>
    <light pos="0 0 2"/>
    <geom name="table" type="plane" size="0.6 0.6 0.1" rgba="0.9 0.9 0.9 1"/>
    <body name="finger" gravcomp="1">
      <joint name="x" type="slide" axis="1 0 0" range="-0.35 0.35" damping="1"/>
      <joint name="y" type="slide" axis="0 1 0" range="-0.35 0.35" damping="1"/>
      <joint name="z" type="slide" axis="0 0 1" range="0.0115 0.12" damping="2"/>
      <geom name="tip" type="sphere" size="0.014" pos="0 0 0.014" mass="0.35" rgba="0.5 0.5 0.6 1"/>
      <geom type="capsule" fromto="0 0 0.02 0 0 0.12" size="0.008" mass="0.05" rgba="0.5 0.5 0.6 1"/>
      <site name="tip"/>
    </body>
    <body name="puck">
      <freejoint name="puck"/>
      <geom name="puck" type="cylinder" size="0.045 0.006" mass="0.2" rgba="0.2 0.6 0.3 1"/>
      <geom type="box" size="0.012 0.003 0.0005" pos="0.03 0 0.006" mass="0" rgba="0.9 0.9 0.9 1"/>
      <site name="top" pos="0 0 0.006"/>
    </body>
    <body name="mark" mocap="true"><geom type="cylinder" size="0.045 0.0005" rgba="0.9 0.2 0.2 0.5"/></body>
  </worldbody>
  <contact>
    <pair name="grip" geom1="tip" geom2="puck" condim="4" friction="0.3 0.3 0.001 0.0001 0.0001"/>
    <pair name="slide" geom1="table" geom2="puck" condim="4" friction="0.12 0.12 0.001 0.0001 0.0001"/>
  </contact>
  <actuator><motor joint="x"/><motor joint="y"/><motor joint="z"/></actuator>
</mujoco>
"""
HELD = 10  # decisions at rest on the mark that are a success, 0.2 s


class SlipPuck(Robot):
    """Tip, puck, its angle and the mark are seen, no speeds; 50 decisions a second. Both frictions differ."""

    def __init__(self, render_mode: str | None = None) -> None:
        high = [3.0, 3.0, 8.0]
        super().__init__(MODEL, low=[-x for x in high], high=high, seconds=0.02, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """The mark lies 15 to 30 cm from the puck, the fingertip begins 6 cm above the table."""
        self.data.qpos[:3] = [*random.uniform(-0.2, 0.2, 2), 0.06]
        puck = mark = np.zeros(2)
        while not 0.15 < np.linalg.norm(puck - mark) < 0.3:
            puck, mark = random.uniform(-0.2, 0.2, (2, 2))
        self.set_free("puck", [*puck, 0.006], random.uniform(-np.pi, np.pi))
        self.set_mocap("mark", [*mark, 0.0])
        self.model.pair("grip").friction[:2] = random.uniform(0.24, 0.32)
        self.model.pair("slide").friction[:2] = random.uniform(0.10, 0.14)
        self.held = 0

    def observe(self) -> Array:
        """Return (8,): tip, its height, puck, its angle, mark."""
        yaw = yaw_of(self.data.body("puck").xmat)
        return np.array([*self.site("tip"), *self.site("top")[:2], yaw, *self.body("mark")[:2]])

    def advance(self) -> None:
        """Count the decisions during which the puck lies on the mark, at rest and not touched."""
        near = self._to_mark() < 0.012 and self.speed("puck") < 0.01
        self.held = self.held + 1 if near and not self.touching("puck", "tip") else 0

    def judge(self) -> tuple[float, Info]:
        """Return minus the distances tip to puck and puck to mark, and more once the puck is left there."""
        to_puck = float(np.linalg.norm(self.site("tip") - self.site("top")))
        to_mark = self._to_mark()
        reward = -0.3 * to_puck - 3.0 * to_mark + 0.1 * min(self.held, HELD)
        return reward, {"to_puck": to_puck, "to_mark": to_mark, "success": self.held >= HELD}

    def _to_mark(self) -> float:
        return float(np.linalg.norm((self.body("puck") - self.body("mark"))[:2]))
