"""Two Cartesian hands and a tray that must be lifted level."""

from __future__ import annotations

import numpy as np

from .robot import Array, Info, Robot

HAND = """
    <body gravcomp="1">
      <joint name="{n}x" class="axis" axis="1 0 0"/>
      <geom size="0.02 0.5 0.01" pos="0 0 0.5"/>
      <body gravcomp="1">
        <joint name="{n}y" class="axis" axis="0 1 0"/>
        <geom size="0.02 0.02 0.02" pos="0 0 0.5"/>
        <body gravcomp="1">
          <joint name="{n}z" class="axis" axis="0 0 1"/>
          <geom size="0.015 0.055 0.01" pos="0 0 0.06"/>
          <geom size="0.008 0.008 0.15" pos="0 0 0.22"/>
          <site name="{n}hand"/>
          <body pos="0 0.006 0.02" gravcomp="1">
            <joint name="{n}0" class="finger"/>
            <geom name="finger_{n}0" class="solid" size="0.015 0.006 0.03"/>
          </body>
          <body pos="0 -0.006 0.02" gravcomp="1">
            <joint name="{n}1" class="finger" axis="0 -1 0"/>
            <geom name="finger_{n}1" class="solid" size="0.015 0.006 0.03"/>
          </body>
        </body>
      </body>
    </body>"""
DRIVES = """
    <velocity joint="{n}x"/><velocity joint="{n}y"/><velocity joint="{n}z"/>
    <position joint="{n}0" kp="800" kv="10" ctrlrange="0 0.04" forcerange="-25 25"/>
    <position joint="{n}1" kp="800" kv="10" ctrlrange="0 0.04" forcerange="-25 25"/>"""
MODEL = f"""
<mujoco model="tray hands">
  <compiler angle="radian"/>
  <option timestep="0.004" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <default>
    <geom type="box" density="400" contype="0" conaffinity="0" rgba="0.5 0.5 0.6 1"/>
    <joint armature="0.5" damping="2"/>
    <velocity kv="100"/>
    <default class="solid"><geom contype="1" conaffinity="1" friction="1 0.02 0.001" condim="4"/></default>
    <default class="axis"><joint type="slide" range="-0.5 0.5"/></default>
    <default class="finger"><joint type="slide" axis="0 1 0" range="0 0.04" damping="5" armature="0.02"/></default>
  </default>
  <worldbody>
    <light pos="0 0 2"/>
    <geom name="floor" class="solid" type="plane" size="1 1 0.1" rgba="0.9 0.9 0.9 1"/>
    {HAND.format(n="l")}
    {HAND.format(n="r")}
    <body name="tray">
      <freejoint name="tray"/>
      <geom name="tray" class="solid" size="0.2 0.1 0.006" mass="0.15" rgba="0.2 0.6 0.3 1"/>
      <geom name="tray_l" class="solid" type="cylinder" size="0.01 0.03" pos="-0.16 0 0.036" mass="0.02"/>
      <geom name="tray_r" class="solid" type="cylinder" size="0.01 0.03" pos="0.16 0 0.036" mass="0.02"/>
      <site name="left_handle" pos="-0.16 0 0.05"/><site name="right_handle" pos="0.16 0 0.05"/>
    </body>
    <body name="goal" mocap="true"><geom size="0.2 0.1 0.001" rgba="0.9 0.2 0.2 0.3"/></body>
  </worldbody>
  <actuator>{DRIVES.format(n="l")}{DRIVES.format(n="r")}
  </actuator>
</mujoco>
"""
AXES, FINGERS = [0, 1, 2, 5, 6, 7], [3, 4, 8, 9]


class TrayHands(Robot):
    """Hands, their openings, handles, tilt and the wanted height are seen; 25 decisions a second."""

    def __init__(self, render_mode: str | None = None) -> None:
        high = [0.25, 0.25, 0.25, 1.0] * 2
        super().__init__(MODEL, low=[-x for x in high], high=high, seconds=0.04, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """The tray lies between the hands, turned a little; how high it must go differs."""
        self.data.qpos[:3] = random.uniform([-0.3, -0.15, 0.15], [-0.15, 0.15, 0.25])
        self.data.qpos[5:8] = random.uniform([0.15, -0.15, 0.15], [0.3, 0.15, 0.25])
        self.data.qpos[[3, 4, 8, 9]] = 0.04
        tray = random.uniform(-0.05, 0.05, 2)
        self.set_free("tray", [*tray, 0.006], random.uniform(-0.4, 0.4))
        self.set_mocap("goal", [*tray, random.uniform(0.12, 0.3)])
        self.held = 0

    def move(self, action: Array) -> None:
        """Command the speeds of the hands; 1 closes a hand's fingers, -1 opens them."""
        self.data.ctrl[AXES] = action[[0, 1, 2, 4, 5, 6]]
        self.data.ctrl[FINGERS] = 0.02 - 0.02 * action[[3, 3, 7, 7]]

    def observe(self) -> Array:
        """Return (17,): for each hand where it is and its opening, the two handles, roll and pitch, height."""
        left = [*self.site("lhand"), self.data.qpos[3:5].sum()]
        right = [*self.site("rhand"), self.data.qpos[8:10].sum()]
        handles = [*self.site("left_handle"), *self.site("right_handle")]
        return np.array([*left, *right, *handles, *self._tilt(), self.body("goal")[2]])

    def advance(self) -> None:
        """Count the decisions during which the tray is where it should be."""
        there = abs(self.body("tray")[2] - self.body("goal")[2]) < 0.02 and np.abs(self._tilt()).max() < 0.09
        self.held = self.held + 1 if there else 0

    def judge(self) -> tuple[float, Info]:
        """Return minus distances and tilt; success is half a second at the height, level to 5 degrees."""
        left = float(np.linalg.norm(self.site("lhand") - self.site("left_handle")))
        right = float(np.linalg.norm(self.site("rhand") - self.site("right_handle")))
        below = abs(float(self.body("goal")[2] - self.body("tray")[2]))
        tilt = float(np.abs(self._tilt()).max())
        return -left - right - 3.0 * below - tilt, {
            "left": left, "right": right, "below": below, "tilt": tilt,
            "success": self.held >= 12, "failed": tilt > 0.5,
        }  # fmt: skip

    def _tilt(self) -> Array:
        """Return roll and pitch of the tray, rad."""
        rows = self.data.body("tray").xmat.reshape(3, 3)
        return np.array([np.arctan2(rows[2, 1], rows[2, 2]), -np.arcsin(np.clip(rows[2, 0], -1.0, 1.0))])
