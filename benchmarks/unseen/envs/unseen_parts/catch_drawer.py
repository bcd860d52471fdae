"""A drawer with a push latch that a slow release opens, and a catch that a fast pull engages."""

from __future__ import annotations

import mujoco
import numpy as np

from .robot import Array, Info, Robot

MODEL = """
<mujoco model="catch drawer">
  <compiler angle="radian"/>
  <option timestep="0.002" integrator="implicitfast"/>
  <default><geom contype="0" conaffinity="0" rgba="0.5 0.5 0.6 1"/></default>
  <worldbody>
    <light pos="0 0 2"/>
    <geom type="plane" size="0.6 0.6 0.1" rgba="0.9 0.9 0.9 1"/>
    <body name="drawer" pos="0 0 0.1">
      <joint name="drawer" type="slide" axis="1 0 0" damping="25" frictionloss="1" limited="true" range="-0.02 0.4"
        solreflimit="0.006 1"/>
      <geom type="box" size="0.15 0.1 0.05" mass="1.5" rgba="0.2 0.6 0.3 1"/>
    </body>
    <body name="hook" pos="0.2 0 0.1">
      <joint name="hook" type="slide" axis="1 0 0" range="-0.05 0.5" damping="15"/>
      <geom type="capsule" fromto="0 -0.05 0 0 0.05 0" size="0.01" mass="0.5" rgba="0.9 0.6 0.2 1"/>
    </body>
  </worldbody>
  <tendon>
    <fixed name="play" limited="true" range="-0.004 0.004" solreflimit="0.006 1">
      <joint joint="hook" coef="1"/><joint joint="drawer" coef="-1"/>
    </fixed>
  </tendon>
  <actuator><motor joint="hook" ctrlrange="-40 40"/></actuator>
</mujoco>
"""
STIFF, SOFT = 3000.0, 2000.0  # N/m of the latch's spring before and after it has clicked
SHUT = 0.0003  # m; nearer to 0 the latch is back at its stop
BEYOND = 7.0  # N above the click that break the latch
GENTLE = 0.02  # m/s of return, above which the latch catches again
BACK = 0.012  # m of push that free the drawer from a catch
LATE = 3  # decisions that the gauge is late, 120 ms
NEAR, HELD = 0.008, 10  # m, and decisions at rest, 0.4 s


class CatchDrawer(Robot):
    """Hook, a gauge that is late and off, drawer and wanted position are seen; 25 decisions a second."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(MODEL, low=[-40.0], high=[40.0], seconds=0.04, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """The drawer is latched; where the latch clicks, the speed that catches, friction and the gauge differ."""
        self.click, self.fast = random.uniform(9.0, 20.0), random.uniform(0.05, 0.08)
        self.model.joint("drawer").frictionloss[0] = random.uniform(0.5, 2.0)
        self.offset, self.wanted = random.uniform(-5.0, 5.0), random.uniform(0.2, 0.32)
        self.data.joint("hook").qpos[0] = random.uniform(-0.003, 0.003)
        self.state, self.before, self.held = "latched", 0.0, 0
        self.caught = 0.0
        self.read = [self.offset] * (LATE + 1)
        self._set_latch(0.0)

    def observe(self) -> Array:
        """Return (4,): hook, gauge, drawer to a tenth of a millimeter, wanted position."""
        drawer = np.round(self.data.joint("drawer").qpos[0], 4)
        return np.array([self.data.joint("hook").qpos[0], self.read[0], drawer, self.wanted])

    def advance(self) -> None:
        """Move the latch and the catch on, and count the decisions at rest where it is wanted."""
        drawer = float(self.data.joint("drawer").qpos[0])
        speed, self.before = (drawer - self.before) / self.dt, drawer
        self.read = [*self.read[1:], self._force() + self.offset]
        spring = -drawer * (STIFF if self.state == "latched" else SOFT)
        self.broken = self.state in ("latched", "clicked") and spring > self.click + BEYOND
        if self.state == "latched" and spring > self.click:
            self.state = "clicked"
        elif self.state == "clicked" and drawer > -SHUT:
            self.state = "open" if speed < GENTLE else "latched"
        elif self.state == "open" and speed > self.fast:
            self.state, self.caught = "caught", drawer
        elif self.state == "caught" and drawer < self.caught - BACK:
            self.state = "open"
        self._set_latch(self.caught)
        near = abs(drawer - self.wanted) < NEAR and abs(speed) < 0.01
        self.held = self.held + 1 if near else 0

    def judge(self) -> tuple[float, Info]:
        """Return minus how far the drawer is from where it is wanted, and much less where the latch breaks."""
        beside = abs(float(self.data.joint("drawer").qpos[0]) - self.wanted)
        info = {"beside": beside, "success": self.held >= HELD, "failed": self.broken}
        return -10.0 * beside + 0.1 * self.held - 1000.0 * self.broken, info

    def _set_latch(self, caught: float) -> None:
        """Bound the drawer and set the spring behind it."""
        joint = self.model.joint("drawer")
        ends = {"latched": 0.0, "clicked": 0.0, "open": 0.4, "caught": caught}
        joint.range[1] = ends[self.state]
        joint.stiffness[0] = {"latched": STIFF, "clicked": SOFT}.get(self.state, 0.0)

    def _force(self) -> float:
        """Return the force of the hook on the drawer, N."""
        for row in range(self.data.nefc):
            if self.data.efc_type[row] == mujoco.mjtConstraint.mjCNSTR_LIMIT_TENDON:
                side = float(self.data.joint("hook").qpos[0] - self.data.joint("drawer").qpos[0])
                return float(np.sign(side) * self.data.efc_force[row])
        return 0.0
