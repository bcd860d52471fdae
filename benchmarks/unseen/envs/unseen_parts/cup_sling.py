"""An upright arm of two links that holds a ball in a cup, and a bin further away than it reaches."""

from __future__ import annotations

import numpy as np

from .robot import Array, Info, Robot

MODEL = """
<mujoco model="cup sling">
  <compiler angle="radian"/>
  <option timestep="0.002" integrator="implicitfast" cone="elliptic"/>
  <default>
    <geom contype="0" conaffinity="0" rgba="0.5 0.5 0.6 1"/>
    <joint axis="0 1 0" damping="0.05" armature="0.005"/>
    <default class="solid"><geom contype="1" conaffinity="1" friction="0.6 0.005 0.0001"/></default>
    <default class="wall">
      <geom contype="1" conaffinity="1" friction="0.6 0.005 0.0001" solref="0.004 1" priority="1" rgba="0.9 0.2 0.2 1"/>
    </default>
  </default>
  <worldbody>
    <light pos="0 0 2"/>
    <geom class="solid" name="ground" type="plane" size="4 1 0.1" rgba="0.9 0.9 0.9 1"/>
    <geom type="box" size="0.04 0.04 0.25" pos="0 0.09 0.25"/>
    <body pos="0 0 0.5">
      <joint name="shoulder" range="-2.4 1.6"/>
      <geom type="capsule" fromto="0 0 0 0 0 0.34" size="0.018" mass="0.45"/>
      <body pos="0 0 0.34">
        <joint name="elbow" range="-1.8 1.8"/>
        <geom type="capsule" fromto="0 0 0 0 0 0.24" size="0.014" mass="0.2"/>
        <body pos="0 0 0.27">
          <geom class="solid" type="box" size="0.004 0.04 0.034" pos="-0.004 0 0" mass="0.02" rgba="0.9 0.6 0.2 1"/>
          <geom class="solid" type="box" size="0.016 0.04 0.004" pos="0.012 0 0.034" mass="0.01" rgba="0.9 0.6 0.2 1"/>
          <geom class="solid" type="box" size="0.016 0.04 0.004" pos="0.012 0 -0.034" mass="0.01" rgba="0.9 0.6 0.2 1"/>
          <site name="cup" pos="0.02 0 0"/>
        </body>
      </body>
    </body>
    <body name="ball">
      <joint name="ball_x" type="slide" axis="1 0 0" damping="0" armature="0"/>
      <joint name="ball_z" type="slide" axis="0 0 1" damping="0" armature="0"/>
      <joint name="ball_turn" damping="0.0001" armature="0"/>
      <geom class="solid" name="ball" type="sphere" size="0.02" mass="0.05" rgba="0.2 0.6 0.3 1"/>
    </body>
    <body name="bin" mocap="true">
      <geom class="wall" type="box" size="0.12 0.1 0.025" pos="0 0 -0.025"/>
      <geom class="wall" type="box" size="0.03 0.1 0.045" pos="0.13 0 0.045"/>
      <geom class="wall" type="box" size="0.03 0.1 0.045" pos="-0.13 0 0.045"/>
      <geom class="wall" type="capsule" size="0.03" fromto="0.13 -0.1 0.09 0.13 0.1 0.09"/>
      <geom class="wall" type="capsule" size="0.03" fromto="-0.13 -0.1 0.09 -0.13 0.1 0.09"/>
    </body>
  </worldbody>
  <actuator>
    <motor joint="shoulder" ctrlrange="-12 12"/><motor joint="elbow" ctrlrange="-5 5"/>
  </actuator>
</mujoco>
"""
HELD = 20  # decisions in the bin that are a success, 0.2 s


class CupSling(Robot):
    """Joints, their speeds, ball and bin are seen; 100 decisions a second."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(MODEL, low=[-12.0, -5.0], high=[12.0, 5.0], seconds=0.01, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """The arm begins leaning back with the cup level and the ball in it; the bin's place and height differ."""
        lean = random.uniform(-1.9, -1.4)
        self.data.qpos[:2] = [lean, -np.pi / 2 - lean]
        reach = 0.34 * np.array([np.sin(lean), np.cos(lean)]) + [-0.27, 0.02]
        self.data.qpos[2:4] = np.array([0.0, 0.5]) + reach
        self.bin = np.array([random.uniform(1.0, 2.0), random.uniform(0.06, 0.5)])
        self.set_mocap("bin", [self.bin[0], 0.0, self.bin[1]])
        self.held = 0

    def observe(self) -> Array:
        """Return (8,): joint angles, their speeds, ball, bin."""
        return np.concatenate([self.data.qpos[:2], self.data.qvel[:2], self.data.qpos[2:4], self.bin])

    def advance(self) -> None:
        """Count the decisions during which the ball is in the bin."""
        across, above = self.data.qpos[2:4] - self.bin
        self.held = self.held + 1 if abs(across) < 0.1 and 0.0 < above < 0.1 else 0

    def judge(self) -> tuple[float, Info]:
        """Return minus how far beside the bin the ball is or would fly now, and more while it is in the bin."""
        beside = abs(float(self._landing() - self.bin[0]))
        fallen = bool(self.data.qpos[3] < 0.03 and self.held == 0)
        reward = -0.02 * min(beside, 3.0) + 0.1 * (self.held > 0) - 3.0 * fallen * (1.0 + beside)
        return reward, {"beside": beside, "success": self.held >= HELD, "failed": fallen}

    def _landing(self) -> float:
        """Return the x at which the ball, let go now, would fall through the height of the bin's rim, m."""
        (x, z), (along, up) = self.data.qpos[2:4], self.data.qvel[2:4]
        fall = up**2 + 2.0 * 9.81 * (z - self.bin[1] - 0.12)
        return float(x + along * (up + np.sqrt(fall)) / 9.81) if fall > 0.0 else float(x)
