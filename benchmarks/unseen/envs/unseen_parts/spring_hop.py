"""A mass on a rail above a leg whose length a servo changes, and a foot on a spring."""

from __future__ import annotations

import mujoco
import numpy as np

from .robot import Array, Info, Robot

MODEL = """
<mujoco model="spring hop">
  <compiler angle="radian"/>
  <option timestep="0.002" integrator="implicitfast"/>
  <default><geom contype="0" conaffinity="0" rgba="0.5 0.5 0.6 1"/></default>
  <worldbody>
    <light pos="0 0 3"/>
    <geom name="ground" type="plane" size="1 1 0.1" contype="1" conaffinity="1" solref="0.006 1" rgba="0.9 0.9 0.9 1"/>
    <geom type="cylinder" fromto="0 0.1 0 0 0.1 2" size="0.01"/>
    <body name="mass" pos="0 0 0.4">
      <joint name="rail" type="slide" axis="0 0 1" damping="0.1"/>
      <geom name="mass" type="cylinder" size="0.08 0.05" mass="2" rgba="0.2 0.6 0.3 1"/>
      <body pos="0 0 -0.1">
        <joint name="leg" type="slide" axis="0 0 -1" range="-0.05 0.05" damping="4"/>
        <geom type="capsule" fromto="0 0 0.05 0 0 -0.12" size="0.02" mass="0.1"/>
        <body pos="0 0 -0.12">
          <joint name="spring" type="slide" axis="0 0 1" range="0 0.14" stiffness="900" damping="2.5"/>
          <geom type="capsule" fromto="0 0 0 0 0 -0.14" size="0.012" mass="0.05"/>
          <geom type="sphere" size="0.02" pos="0 0 -0.16" mass="0.02" contype="1" conaffinity="1" solref="0.006 1"/>
        </body>
      </body>
    </body>
    <body name="wanted" mocap="true">
      <geom type="box" size="0.15 0.002 0.002" pos="0 0.1 0" rgba="0.9 0.2 0.2 1"/>
    </body>
  </worldbody>
  <actuator>
    <position joint="leg" kp="4000" kv="40" ctrlrange="-0.05 0.05" forcerange="-150 150"/>
  </actuator>
</mujoco>
"""
NEAR, TOPS = 0.02, 3  # m around the wanted height, and how many tops in a row are within it


class SpringHop(Robot):
    """The mass, leg and spring are seen with their speeds, and the wanted height; 50 decisions a second."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(MODEL, low=[-1.0], high=[1.0], seconds=0.02, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """The mass falls from a little height; wanted height, mass and losses of the spring differ."""
        self.model.body("mass").mass[0] = random.uniform(
            1.7, 2.4
        )  # it cannot turn: its inertia does not matter
        self.model.joint("spring").damping[0] = random.uniform(2.0, 3.0)
        mujoco.mj_setConst(self.model, self.data)
        self.data.qpos[0] = random.uniform(0.02, 0.06)
        self.wanted = random.uniform(0.5, 0.75)
        self.set_mocap("wanted", [0.0, 0.0, self.wanted])
        self.tops, self.rate, self.top = 0, 0.0, 0.4

    def move(self, action: Array) -> None:
        """Set the length of the leg, -1 shortest to 1 longest."""
        self.data.ctrl[0] = 0.05 * action[0]

    def observe(self) -> Array:
        """Return (7,): heights of mass, leg and spring, their speeds, the wanted height."""
        return np.array([self._height(), *self.data.qpos[1:], *self.data.qvel, self.wanted])

    def advance(self) -> None:
        """Count the tops in a row that are near; at a top the mass begins to fall, its foot in the air."""
        rate = float(self.data.qvel[0])
        if self.rate > 0.0 >= rate and self.data.ncon == 0:
            # The top lies between two decisions: a free flight from here back.
            self.top = self._height() + rate**2 / (2.0 * 9.81)
            self.tops = self.tops + 1 if abs(self.top - self.wanted) < NEAR else 0
        self.rate = rate

    def judge(self) -> tuple[float, Info]:
        """Return minus the distance of the last top from the wanted height, and more for each that was near."""
        beside = abs(self.top - self.wanted)
        info = {"beside": beside, "tops": self.tops, "success": self.tops >= TOPS}
        return -beside + 0.1 * self.tops, info

    def _height(self) -> float:
        return float(self.data.qpos[0] + 0.4)
