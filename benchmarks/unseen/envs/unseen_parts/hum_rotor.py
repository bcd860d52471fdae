"""A rotor out of balance, on a bench that swings on a spring, and a clamp that stiffens the spring."""

from __future__ import annotations

import numpy as np

from .robot import Array, Info, Robot

MODEL = """
<mujoco model="hum rotor">
  <compiler angle="radian"/>
  <option timestep="0.002" integrator="implicitfast"/>
  <default><geom contype="0" conaffinity="0" rgba="0.5 0.5 0.6 1"/></default>
  <worldbody>
    <light pos="0 0 2"/>
    <geom type="plane" size="0.6 0.6 0.1" rgba="0.9 0.9 0.9 1"/>
    <body name="bench" pos="0 0 0.2">
      <joint name="bench" type="slide" axis="1 0 0" stiffness="4000" damping="5"/>
      <geom type="box" size="0.15 0.1 0.02" mass="4"/>
      <body pos="0 0 0.05">
        <joint name="rotor" axis="0 0 1" damping="0.0008"/>
        <geom type="cylinder" size="0.06 0.015" mass="0.9" rgba="0.2 0.6 0.3 1"/>
        <geom name="weight" type="sphere" size="0.012" pos="0.05 0 0.015" mass="0.2" rgba="0.9 0.6 0.2 1"/>
      </body>
    </body>
  </worldbody>
  <actuator><motor joint="rotor"/></actuator>
</mujoco>
"""
TORQUE = 0.065  # N m, the most
SHAKEN = 0.012  # m from its middle at which the bench hits its frame
CALM, NEAR, HELD = 0.006, 1.5, 30  # m, rad/s, and decisions in a row that are a success, 0.75 s
FULL = 5.1  # kg that swing


class HumRotor(Robot):
    """Seven numbers are seen, one with an offset; 40 decisions a second. Both springs differ."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(MODEL, low=[-1.0] * 2, high=[1.0] * 2, seconds=0.025, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """The rotor stands; both resonances lie below the wanted speed, which is 64 to 73 rad/s."""
        self.soft, self.hard = (
            FULL * random.uniform(*range_) ** 2 for range_ in ((24.0, 30.0), (50.0, 58.0))
        )
        self.data.joint("rotor").qpos[0] = random.uniform(-np.pi, np.pi)
        self.wanted, self.offset = random.uniform(64.0, 73.0), random.uniform(-0.01, 0.01)
        self.grip, self.held = 0.5, 0
        self._set_spring()

    def move(self, action: Array) -> None:
        """Drive the rotor, and set the clamp: -1 closed to 1 open."""
        self.data.ctrl[0] = TORQUE * action[0]
        self.grip = 0.5 - 0.5 * float(action[1])
        self._set_spring()

    def observe(self) -> Array:
        """Return (7,): clamp, bench and its speed, sine and cosine of the rotor, its speed and the wanted one."""
        bench, rotor = self.data.joint("bench"), self.data.joint("rotor")
        angle, rate = float(rotor.qpos[0]), float(rotor.qvel[0])
        seen = [float(bench.qpos[0]) + self.offset, float(bench.qvel[0])]
        return np.array([self.grip, *seen, np.sin(angle), np.cos(angle), rate / 100.0, self.wanted / 100.0])

    def advance(self) -> None:
        """Count the decisions at the wanted speed on a calm bench."""
        self.shaken = abs(float(self.data.joint("bench").qpos[0]))
        near = abs(float(self.data.joint("rotor").qvel[0]) - self.wanted) < NEAR
        self.held = self.held + 1 if near and self.shaken < CALM else 0

    def judge(self) -> tuple[float, Info]:
        """Return minus the speed that lacks, as a part of the wanted one, and less where the bench hits its frame."""
        lacks = abs(float(self.data.joint("rotor").qvel[0]) - self.wanted) / self.wanted
        failed = self.shaken > SHAKEN
        info = {"lacks": lacks, "success": self.held >= HELD, "failed": failed}
        return -lacks + 0.02 * self.held - 200.0 * failed * lacks, info

    def _set_spring(self) -> None:
        self.model.joint("bench").stiffness[0] = self.soft + self.grip * (self.hard - self.soft)
