"""Five fingers of four joints that hang around a knob."""

from __future__ import annotations

import mujoco
import numpy as np

from .robot import Array, Info, Robot

FINGER = """
<body pos="0 0 0.2" euler="0 0 {angle}">
  <body pos="0.055 0 0" gravcomp="1">
    <joint name="f{n}0" axis="1 0 0" range="-0.45 0.45"/>
    <geom fromto="0 0 0 0 0 -0.012" size="0.011"/>
    <body pos="0 0 -0.012" gravcomp="1">
      <joint name="f{n}1" axis="0 1 0" range="-0.3 0.9"/>
      <geom fromto="0 0 0 0 0 -0.045" size="0.01"/>
      <body pos="0 0 -0.045" gravcomp="1">
        <joint name="f{n}2" axis="0 1 0" range="-0.2 1.2"/>
        <geom fromto="0 0 0 0 0 -0.032" size="0.009"/>
        <body pos="0 0 -0.032" gravcomp="1">
          <joint name="f{n}3" axis="0 1 0" range="-0.2 1.2"/>
          <geom fromto="0 0 0 0 0 -0.02" size="0.008"/>
          <geom name="tip{n}" class="pad" pos="0 0 -0.024"/>
          <site name="tip{n}" pos="0 0 -0.024"/>
        </body>
      </body>
    </body>
  </body>
</body>
"""
MODEL = """
<mujoco model="knob hand">
  <compiler angle="radian"/>
  <option timestep="0.005" integrator="implicitfast" cone="elliptic" impratio="5"/>
  <default>
    <geom type="capsule" density="900" contype="0" conaffinity="0" rgba="0.5 0.5 0.6 1"/>
    <joint armature="0.0005" damping="0.01"/>
    <position kp="1.5" kv="0.05" forcerange="-0.6 0.6"/>
    <default class="pad">
      <geom type="sphere" size="0.009" contype="1" conaffinity="2" friction="0.9 0.01 0.001" rgba="0.9 0.6 0.2 1"/>
    </default>
  </default>
  <worldbody>
    <light pos="0 0 2"/>
    <geom type="plane" size="0.4 0.4 0.1" rgba="0.9 0.9 0.9 1"/>
    <geom type="cylinder" size="0.075 0.008" pos="0 0 0.212"/>
    {fingers}
    <geom type="cylinder" size="0.015 0.03" pos="0 0 0.03"/>
    <body name="knob" pos="0 0 0.085">
      <joint name="knob" axis="0 0 1" armature="0.0002" damping="0.004" frictionloss="0.03"/>
      <geom name="knob" type="cylinder" size="0.032 0.025" mass="0.08" contype="2" conaffinity="1"
        friction="0.9 0.01 0.001" rgba="0.2 0.6 0.3 1"/>
      <geom type="box" size="0.014 0.002 0.001" pos="0.016 0 0.025" mass="0.001" rgba="0.9 0.9 0.9 1"/>
    </body>
    <body name="wanted" mocap="true">
      <geom type="box" size="0.01 0.002 0.001" pos="0.045 0 0" rgba="0.9 0.2 0.2 1"/>
    </body>
  </worldbody>
  <actuator>{servos}</actuator>
</mujoco>
"""
MODEL = MODEL.replace("{fingers}", "".join(FINGER.format(n=n, angle=1.25663706 * n) for n in range(5)))
RANGES = ["-0.45 0.45", "-0.3 0.9", "-0.2 1.2", "-0.2 1.2"]
SERVOS = [f'<position joint="f{n}{k}" ctrlrange="{RANGES[k]}"/>' for n in range(5) for k in range(4)]
MODEL = MODEL.replace("{servos}", "".join(SERVOS))
HELD = 10  # decisions near the wanted angle that are a success, 0.2 s


class KnobHand(Robot):
    """Joints, their speeds, tips, what each tip feels, knob and wanted angle are seen; 50 decisions a second."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(MODEL, low=[-1.0] * 20, high=[1.0] * 20, seconds=0.02, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """The fingers are spread; the knob must be turned by 1.5 to 4.5 rad either way, and its friction differs."""
        self.data.qpos[:20] = np.tile([0.0, -0.1, 0.1, 0.1], 5) + random.uniform(-0.05, 0.05, 20)
        self.data.ctrl[:] = self.data.qpos[:20]
        self.data.qpos[20] = random.uniform(-np.pi, np.pi)
        self.wanted = self.data.qpos[20] + random.choice([-1.0, 1.0]) * random.uniform(1.5, 4.5)
        self.model.joint("knob").frictionloss[0] = random.uniform(0.02, 0.05)
        self.set_mocap("wanted", [0.0, 0.0, 0.11], self.wanted)
        self.held = 0

    def move(self, action: Array) -> None:
        """Turn the servos to a part of their range, -1 to 1."""
        low, high = self.model.actuator_ctrlrange.T
        self.data.ctrl[:] = low + 0.5 * (action + 1.0) * (high - low)

    def observe(self) -> Array:
        """Return (63,): joints, their speeds, tips, what they feel, the knob's angle and speed, the wanted angle."""
        joints = [self.data.qpos[:20], self.data.qvel[:20]]
        tips = [self.site(f"tip{n}") for n in range(5)]
        return np.concatenate(
            [*joints, *tips, self._felt(), [self.data.qpos[20], self.data.qvel[20], self.wanted]]
        )

    def advance(self) -> None:
        """Count the decisions during which the knob is near the wanted angle."""
        self.held = self.held + 1 if self._beside() < 0.05 and abs(self.data.qvel[20]) < 0.2 else 0

    def judge(self) -> tuple[float, Info]:
        """Return minus the angle that is left to turn, and more while the knob is where it is wanted."""
        beside = self._beside()
        return -beside + 0.1 * min(self.held, HELD), {"beside": beside, "success": self.held >= HELD}

    def _beside(self) -> float:
        return abs(float(self.data.qpos[20] - self.wanted))

    def _felt(self) -> Array:
        """Return how hard each tip presses on the knob, (5,) N."""
        forces, felt = np.zeros(5), np.zeros(6)
        tips = {f"tip{n}": n for n in range(5)}
        for index in range(self.data.ncon):
            mujoco.mj_contactForce(self.model, self.data, index, felt)
            for geom in self.data.contact[index].geom:
                if (name := self.model.geom(int(geom)).name) in tips:
                    forces[tips[name]] += felt[0]
        return forces
