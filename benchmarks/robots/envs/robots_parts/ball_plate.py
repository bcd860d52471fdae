"""A ball on a plate that two servos tilt, seen late and with noise, and a target that moves."""

from __future__ import annotations

import mujoco
import numpy as np

from .robot import Array, Info, Robot

MODEL = """
<mujoco model="ball plate">
  <compiler angle="radian"/>
  <option timestep="0.004" integrator="implicitfast"/>
  <default><position kp="60" kv="4" ctrlrange="-0.2 0.2"/></default>
  <worldbody>
    <light pos="0 0 2"/>
    <geom type="capsule" fromto="0 0 0 0 0 0.27" size="0.02" contype="0" conaffinity="0"/>
    <body name="plate" pos="0 0 0.3" gravcomp="1">
      <joint name="about_x" axis="1 0 0" range="-0.3 0.3" armature="0.05"/>
      <joint name="about_y" axis="0 1 0" range="-0.3 0.3" armature="0.05"/>
      <geom type="box" size="0.15 0.15 0.005" pos="0 0 -0.005" mass="0.4" rgba="0.5 0.5 0.6 1"/>
    </body>
    <body name="ball">
      <freejoint name="ball"/>
      <geom type="sphere" size="0.015" mass="0.03" friction="1 0.001 0.00005" rgba="0.2 0.6 0.3 1"/>
    </body>
    <body name="target" mocap="true">
      <geom type="sphere" size="0.008" contype="0" conaffinity="0" rgba="0.9 0.2 0.2 0.6"/>
    </body>
  </worldbody>
  <actuator><position joint="about_x"/><position joint="about_y"/></actuator>
</mujoco>
"""
LATE = 2  # decisions, 40 ms
NOISE = 0.0015  # m, standard deviation of where the ball is seen
HELD = 100  # decisions near the target that are a success, 2 s


class BallPlate(Robot):
    """The ball, the tilt and the target are seen, no speeds; 50 decisions a second."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(MODEL, low=[-0.2] * 2, high=[0.2] * 2, seconds=0.02, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """The ball lies anywhere near the middle; the target goes round a circle, one way or the other."""
        self.middle = random.uniform(-0.03, 0.03, 2)
        self.radius, self.phase = random.uniform(0.04, 0.07), random.uniform(0.0, 2.0 * np.pi)
        # It must not be possible to wait: the slowest leaves the 4 cm around a ball at rest in less than the 2 s.
        self.rate = random.uniform(0.6, 1.0) * random.choice([-1.0, 1.0])  # rad/s
        self.set_free("ball", [*random.uniform(-0.08, 0.08, 2), 0.315])
        self.held = 0
        self._move_target()
        mujoco.mj_kinematics(self.model, self.data)
        self.seen = [self._ball() + random.normal(0.0, NOISE, 2) for _ in range(LATE + 1)]

    def observe(self) -> Array:
        """Return (6,): the ball on the plate as it was 40 ms ago, the plate's angles, the target on the plate."""
        return np.concatenate([self.seen[0], self.data.qpos[:2], self._target()])

    def advance(self) -> None:
        """Move the target, look at the ball, and count the decisions during which it is near."""
        self._move_target()
        self.seen = [*self.seen[1:], self._ball() + self.np_random.normal(0.0, NOISE, 2)]
        self.held = self.held + 1 if np.linalg.norm(self._ball() - self._target()) < 0.02 else 0

    def judge(self) -> tuple[float, Info]:
        """Return minus the distance; success is 2 s within 2 cm of the target."""
        distance = float(np.linalg.norm(self._ball() - self._target()))
        off = bool(np.abs(self._ball()).max() > 0.15 or self.body("ball")[2] < 0.2)
        return -distance - 2.0 * off, {"distance": distance, "success": self.held >= HELD, "failed": off}

    def _ball(self) -> Array:
        """Return where the ball is on the plate, (2,) meters from its middle."""
        turn = self.data.body("plate").xmat.reshape(3, 3)
        return np.array((turn.T @ (self.data.joint("ball").qpos[:3] - self.body("plate")))[:2])

    def _target(self) -> Array:
        angle = self.phase + self.rate * self.data.time
        return self.middle + self.radius * np.array([np.cos(angle), np.sin(angle)])

    def _move_target(self) -> None:
        self.set_mocap("target", [*self._target(), 0.31])
