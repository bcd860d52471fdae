"""A gantry with yaw and two fingers, a bar, and a slot of any angle to put it into."""

from __future__ import annotations

import numpy as np

from .robot import Array, Info, Robot, fold, yaw_of

MODEL = """
<mujoco model="bar gantry">
  <compiler angle="radian"/>
  <option timestep="0.004" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <default>
    <geom type="box" density="400" contype="0" conaffinity="0" rgba="0.5 0.5 0.6 1"/>
    <joint armature="0.5" damping="2"/>
    <velocity kv="100"/>
    <default class="solid"><geom contype="1" conaffinity="1" friction="1 0.01 0.001" condim="4"/></default>
    <default class="finger"><joint type="slide" axis="0 1 0" range="0 0.04" damping="5" armature="0.02"/></default>
  </default>
  <worldbody>
    <light pos="0 0 2"/>
    <geom name="floor" class="solid" type="plane" size="1 1 0.1" rgba="0.9 0.9 0.9 1"/>
    <body gravcomp="1">
      <joint name="x" type="slide" axis="1 0 0" range="-0.35 0.35"/>
      <geom size="0.03 0.4 0.02" pos="0 0 0.6"/>
      <body gravcomp="1">
        <joint name="y" type="slide" axis="0 1 0" range="-0.35 0.35"/>
        <geom size="0.04 0.04 0.03" pos="0 0 0.6"/>
        <body gravcomp="1">
          <joint name="z" type="slide" axis="0 0 1" range="0.01 0.3"/>
          <geom size="0.012 0.012 0.12" pos="0 0 0.19"/>
          <body gravcomp="1">
            <joint name="yaw" axis="0 0 1" range="-3.2 3.2" armature="0.05"/>
            <geom size="0.02 0.055 0.01" pos="0 0 0.06"/>
            <site name="hand"/>
            <body pos="0 0.006 0.02" gravcomp="1">
              <joint name="left" class="finger"/>
              <geom name="finger_left" class="solid" size="0.012 0.006 0.03"/>
            </body>
            <body pos="0 -0.006 0.02" gravcomp="1">
              <joint name="right" class="finger" axis="0 -1 0"/>
              <geom name="finger_right" class="solid" size="0.012 0.006 0.03"/>
            </body>
          </body>
        </body>
      </body>
    </body>
    <body name="bar">
      <freejoint name="bar"/>
      <geom name="bar" class="solid" size="0.05 0.012 0.025" mass="0.08" rgba="0.2 0.6 0.3 1"/>
    </body>
    <body name="slot" mocap="true">
      <geom class="solid" size="0.072 0.008 0.01" pos="0 0.025 0.01" rgba="0.9 0.2 0.2 1"/>
      <geom class="solid" size="0.072 0.008 0.01" pos="0 -0.025 0.01" rgba="0.9 0.2 0.2 1"/>
      <geom class="solid" size="0.008 0.017 0.01" pos="0.064 0 0.01" rgba="0.9 0.2 0.2 1"/>
      <geom class="solid" size="0.008 0.017 0.01" pos="-0.064 0 0.01" rgba="0.9 0.2 0.2 1"/>
    </body>
  </worldbody>
  <actuator>
    <velocity joint="x"/><velocity joint="y"/><velocity joint="z"/><velocity joint="yaw" kv="10"/>
    <position joint="left" kp="600" kv="10" ctrlrange="0 0.04" forcerange="-15 15"/>
    <position joint="right" kp="600" kv="10" ctrlrange="0 0.04" forcerange="-15 15"/>
  </actuator>
</mujoco>
"""


class BarGantry(Robot):
    """Axes, opening, bar and slot are seen; 25 decisions a second. The slot is 5 mm wider than the bar a side."""

    def __init__(self, render_mode: str | None = None) -> None:
        high = [0.25, 0.25, 0.25, 2.0, 1.0]
        super().__init__(MODEL, low=[-x for x in high], high=high, seconds=0.04, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """Bar and slot lie anywhere below the gantry, 20 cm or more apart, at any angle."""
        self.data.qpos[:4] = random.uniform([-0.25, -0.25, 0.15, -1.0], [0.25, 0.25, 0.25, 1.0])
        self.data.qpos[4:6] = 0.04
        bar = slot = np.zeros(2)
        while np.linalg.norm(bar - slot) < 0.2:
            bar, slot = random.uniform(-0.25, 0.25, (2, 2))
        angles = random.uniform(-np.pi / 2, np.pi / 2, 2)
        self.set_free("bar", [*bar, 0.025], angles[0])
        self.set_mocap("slot", [*slot, 0.0], angles[1])

    def move(self, action: Array) -> None:
        """Command the speeds of the four axes; 1 closes the fingers, -1 opens them."""
        self.data.ctrl[:4] = action[:4]
        self.data.ctrl[4:] = 0.02 - 0.02 * action[4]

    def observe(self) -> Array:
        """Return (13,): hand, yaw, opening, bar, its angle, slot, its angle."""
        own = [*self.site("hand"), self.data.qpos[3], self.data.qpos[4:6].sum()]
        return np.array(
            [*own, *self.body("bar"), self._angle("bar"), *self.body("slot"), self._angle("slot")]
        )

    def judge(self) -> tuple[float, Info]:
        """Return minus distances and angle; success is a bar at the bottom of the slot that is let go."""
        bar, slot = self.body("bar"), self.body("slot") + [0.0, 0.0, 0.025]
        to_bar = float(np.linalg.norm(self.site("hand") - bar))
        to_slot = float(np.linalg.norm(bar - slot))
        turn = abs(fold(self._angle("bar") - self._angle("slot")))
        inside = np.linalg.norm((bar - slot)[:2]) < 0.012 and abs(bar[2] - slot[2]) < 0.004 and turn < 0.15
        success = bool(inside and not self.touching("bar", "finger"))
        return -to_bar - 2.0 * to_slot - 0.1 * turn + 2.0 * success, {
            "to_bar": to_bar, "to_slot": to_slot, "turn": turn, "success": success,
        }  # fmt: skip

    def _angle(self, body: str) -> float:
        return fold(yaw_of(self.data.body(body).xmat))
