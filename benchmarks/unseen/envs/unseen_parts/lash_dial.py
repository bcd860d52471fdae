"""A motor, a gear with play that turns the other way round, and a dial of which a late reader sees two marks."""

from __future__ import annotations

import numpy as np

from .robot import Array, Info, Robot

MODEL = """
<mujoco model="lash dial">
  <compiler angle="radian"/>
  <option timestep="0.004" integrator="implicitfast"/>
  <default><geom contype="0" conaffinity="0" rgba="0.5 0.5 0.6 1"/></default>
  <worldbody>
    <light pos="0 0 2"/>
    <geom type="plane" size="0.4 0.4 0.1" rgba="0.9 0.9 0.9 1"/>
    <body pos="0.12 0 0.1">
      <joint name="motor" axis="0 0 1" damping="0.002" armature="0.001"/>
      <geom type="cylinder" size="0.02 0.02" mass="0.1"/>
    </body>
    <body name="dial" pos="0 0 0.1">
      <joint name="dial" axis="0 0 1" damping="0.05" frictionloss="0.1" armature="0.002"/>
      <geom type="cylinder" size="0.08 0.01" mass="0.3" rgba="0.2 0.6 0.3 1"/>
      <geom type="box" size="0.01 0.003 0.001" pos="0.07 0 0.011" mass="0" rgba="0.9 0.9 0.9 1"/>
    </body>
  </worldbody>
  <tendon>
    <fixed name="gear" limited="true" range="-0.1 0.1" solreflimit="0.01 1">
      <joint joint="motor" coef="0.3"/><joint joint="dial" coef="1"/>
    </fixed>
  </tendon>
  <actuator><velocity joint="motor" kv="0.6" forcerange="-1 1"/></actuator>
</mujoco>
"""
SECOND = (
    -2.2
)  # rad at the dial where the second mark, 2.2 rad counterclockwise of the index, is at the reader
HALF = 0.08  # rad on each side within which the reader sees a mark
LATE = 2  # decisions, 100 ms
NEAR, HELD = 0.04, 8  # rad, and decisions at rest, 0.4 s


class LashDial(Robot):
    """Motor, its torque, a mark at the reader and the wanted angle are seen; 20 decisions a second."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(MODEL, low=[-12.0], high=[12.0], seconds=0.05, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """The dial stands anywhere; ratio and play of the gear differ, and the wanted angles."""
        ratio, self.play = random.uniform(0.24, 0.4), random.uniform(0.08, 0.25)
        self.model.wrap_prm[0] = ratio
        angle = random.uniform(-np.pi, np.pi)
        self.middle = angle + random.uniform(-0.9, 0.9) * self.play
        self.data.joint("dial").qpos[0] = angle
        self.model.tendon_range[0] = [self.middle - self.play, self.middle + self.play]
        first = random.uniform(0.4, 2.8) * random.choice([-1.0, 1.0])
        self.wanted = [first, -np.sign(first) * random.uniform(0.4, 2.8)]
        self.rested, self.held, self.before = 0, 0, angle
        self.read = [_mark(angle)] * (LATE + 1)

    def observe(self) -> Array:
        """Return (5,): motor, its torque, the mark as it was read, the wanted angle, how many are done."""
        wanted = self.wanted[min(self.rested, 1)]
        torque = self.data.actuator_force[0]
        return np.array([self.data.joint("motor").qpos[0], torque, self.read[0], wanted, float(self.rested)])

    def advance(self) -> None:
        """Read a mark, and count the decisions during which the dial rests at the wanted angle."""
        dial = float(self.data.joint("dial").qpos[0])
        self.read = [*self.read[1:], _mark(dial)]
        still, self.before = abs(dial - self.before) < 0.002, dial
        if self.rested < 2:
            self.held = self.held + 1 if still and self._beside() < NEAR else 0
            if self.held >= HELD:
                self.rested, self.held = self.rested + 1, 0

    def judge(self) -> tuple[float, Info]:
        """Return minus the angle that is left, and more for each wanted angle that is done."""
        beside = self._beside() if self.rested < 2 else 0.0
        reward = -beside + 4.0 * (self.rested - 2) + 0.1 * self.held
        return reward, {"beside": beside, "success": self.rested >= 2}

    def _beside(self) -> float:
        return abs(_wrapped(float(self.data.joint("dial").qpos[0]) - self.wanted[min(self.rested, 1)]))


def _mark(dial: float) -> float:
    return 1.0 if abs(_wrapped(dial)) < HALF else 2.0 if abs(_wrapped(dial - SECOND)) < HALF else 0.0


def _wrapped(angle: float) -> float:
    return (angle + np.pi) % (2.0 * np.pi) - np.pi
