"""A jar whose lid turns on its thread while it is pressed down, and a hand with three fingers on a wrist."""

from __future__ import annotations

import mujoco
import numpy as np

from .robot import Array, Info, Robot

FINGER = """
<body euler="0 0 {angle}">
  <body pos="0.046 0 0" gravcomp="1">
    <joint name="finger{n}" type="slide" axis="1 0 0" range="-0.004 0.03" damping="5" armature="0.02"/>
    <geom type="capsule" fromto="0.004 0 0.03 0.004 0 -0.005" size="0.006" mass="0.03"/>
    <geom name="finger{n}" class="solid" type="sphere" size="0.01" pos="0 0 -0.01" mass="0.02"
      friction="0.8 0.01 0.001"/>
  </body>
</body>
"""
MODEL = """
<mujoco model="lid wrist">
  <compiler angle="radian"/>
  <option timestep="0.004" integrator="implicitfast" cone="elliptic" impratio="5"/>
  <default>
    <geom contype="0" conaffinity="0" rgba="0.5 0.5 0.6 1"/>
    <default class="solid"><geom contype="1" conaffinity="2" priority="1" condim="4"/></default>
  </default>
  <worldbody>
    <light pos="0 0 2"/>
    <geom type="plane" size="0.4 0.4 0.1" rgba="0.9 0.9 0.9 1"/>
    <geom type="cylinder" size="0.032 0.06" pos="0 0 0.06" rgba="0.6 0.8 0.9 0.5"/>
    <body name="lid" pos="0 0 0.13">
      <joint name="lid_rise" type="slide" axis="0 0 1" range="0 0.3" solreflimit="0.008 1" damping="0.5"/>
      <joint name="lid_turn" axis="0 0 1" damping="0.01" armature="0.0005" frictionloss="3"/>
      <geom name="lid" type="cylinder" size="0.035 0.01" mass="0.05" contype="2" conaffinity="1" rgba="0.2 0.6 0.3 1"/>
      <geom type="box" size="0.012 0.002 0.0005" pos="0.02 0 0.01" mass="0.001" rgba="0.9 0.9 0.9 1"/>
      <site name="lid" pos="0 0 0.01"/>
    </body>
    <body name="hand" pos="0 0 0.2" gravcomp="1">
      <joint name="rise" type="slide" axis="0 0 1" range="-0.1 0.12" damping="5" armature="0.5"/>
      <geom type="cylinder" size="0.025 0.04" pos="0 0 0.09" mass="0.5"/>
      <body gravcomp="1">
        <joint name="wrist" axis="0 0 1" range="-0.6 0.6" damping="0.05" armature="0.01"/>
        <geom type="cylinder" size="0.06 0.008" pos="0 0 0.04" mass="0.4"/>
        <geom name="pad" class="solid" type="sphere" size="0.015" pos="0 0 0.015" mass="0.1"
          friction="0.2 0.02 0.0001" rgba="0.9 0.6 0.2 1"/>
        <site name="pad"/>
        {fingers}
      </body>
    </body>
  </worldbody>
  <equality>
    <joint name="thread" joint1="lid_rise" joint2="lid_turn" polycoef="0 0.003 0 0 0" solref="0.008 1"/>
  </equality>
  <actuator>
    <velocity joint="rise" kv="400" forcerange="-40 40"/><velocity joint="wrist" kv="2" forcerange="-2 2"/>
    <motor joint="finger0" gear="-1"/><motor joint="finger1" gear="-1"/><motor joint="finger2" gear="-1"/>
  </actuator>
</mujoco>
""".replace("{fingers}", "".join(FINGER.format(n=n, angle=2.0943951 * n) for n in range(3)))
LOCKED, LOOSE, FREE = 3.0, 0.15, 0.01  # N m of friction: not pressed, pressed, off the thread
BREAKS = 18.0  # N on the jar
HELD = 10  # decisions above the jar that are a success, 0.4 s


class LidWrist(Robot):
    """Hand, wrist, fingers, what the pad feels and the lid are seen; 25 decisions a second."""

    def __init__(self, render_mode: str | None = None) -> None:
        low, high = [-0.1, -3.0, -5.0], [0.1, 3.0, 12.0]
        super().__init__(MODEL, low=low, high=high, seconds=0.04, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """The hand is above the lid; thread, lock and drive differ."""
        self.data.joint("rise").qpos[0] = random.uniform(-0.02, 0.08)
        self.data.joint("wrist").qpos[0] = random.uniform(-0.4, 0.4)
        for n in range(3):
            self.data.joint(f"finger{n}").qpos[0] = 0.015
        self.thread, self.lock = random.uniform(2.0, 4.5), random.uniform(8.0, 12.0)
        gain = random.uniform(250.0, 550.0)  # N for each m/s that the drive is behind
        self.model.actuator_gainprm[0, 0], self.model.actuator_biasprm[0, 2] = gain, -gain
        self.pressed, self.held = 0.0, 0
        self._set_friction()

    def move(self, action: Array) -> None:
        """Command the speeds of hand and wrist, and the force of each finger."""
        self.data.ctrl[:] = [*action[:2], *[action[2]] * 3]
        self._set_friction()

    def observe(self) -> Array:
        """Return (6,): hand, wrist, opening, press, the lid's height and angle."""
        opening = np.mean([self.data.joint(f"finger{n}").qpos[0] for n in range(3)])
        wrist, turn = self.data.joint("wrist").qpos[0], self.data.joint("lid_turn").qpos[0]
        return np.array([self.site("pad")[2], wrist, opening, self.pressed, self.site("lid")[2], turn])

    def advance(self) -> None:
        """Feel the pad, end the thread, and count the decisions during which the lid is up."""
        self.pressed = self._press()
        if self.data.joint("lid_turn").qpos[0] > self.thread:
            self.data.eq_active[0] = 0
        self.held = self.held + 1 if self.site("lid")[2] > 0.19 else 0

    def judge(self) -> tuple[float, Info]:
        """Return the part of the thread that is turned, then how high the lid is, less where the jar breaks."""
        off = not self.data.eq_active[0]
        turned = 1.0 if off else min(1.0, float(self.data.joint("lid_turn").qpos[0]) / self.thread)
        up = float(self.site("lid")[2]) - 0.14
        far = abs(float(self.site("pad")[2] - self.site("lid")[2]))
        broken = self.pressed > BREAKS
        reward = turned - 1.0 + 10.0 * min(up, 0.05) * off - far - 50.0 * broken
        return reward, {"turned": turned, "up": up, "success": self.held >= HELD, "failed": broken}

    def _set_friction(self) -> None:
        """Lock the lid, or loosen it while it is pressed."""
        friction = FREE if not self.data.eq_active[0] else LOOSE if self.pressed > self.lock else LOCKED
        self.model.joint("lid_turn").frictionloss[0] = friction

    def _press(self) -> float:
        """Return how hard the pad presses on the lid, N."""
        pad, felt, force = self.model.geom("pad").id, np.zeros(6), 0.0
        for index in range(self.data.ncon):
            if pad in self.data.contact[index].geom:
                mujoco.mj_contactForce(self.model, self.data, index, felt)
                force += float(felt[0])
        return force
