"""Eight rods that eight drives lift through rollers that slip, in an order and with senses that differ."""

from __future__ import annotations

import numpy as np

from .robot import Array, Info, Robot

ROD = """
<body name="rod{n}" pos="{x} {y} 0.1" gravcomp="1">
  <joint name="rod{n}" type="slide" axis="0 0 1" range="0 0.24" damping="4"/>
  <geom type="capsule" fromto="0 0 -0.05 0 0 0.05" size="0.008" mass="0.1" rgba="{color} 1"/>
</body>
"""
COLORS = ["0.2 0.6 0.3", "0.9 0.6 0.2"]
RODS = "".join(
    ROD.format(n=n, x=0.05 * (n % 4) - 0.075, y=0.06 * (n // 4) - 0.03, color=COLORS[n // 4])
    for n in range(8)
)
MODEL = f"""
<mujoco model="comb lift">
  <compiler angle="radian"/>
  <option timestep="0.005" integrator="implicitfast"/>
  <default><geom contype="0" conaffinity="0" rgba="0.5 0.5 0.6 1"/></default>
  <worldbody>
    <light pos="0 0 2"/>
    <geom type="plane" size="0.4 0.4 0.1" rgba="0.9 0.9 0.9 1"/>
    {RODS}
  </worldbody>
  <actuator>{"".join(f'<velocity joint="rod{n}" kv="60" forcerange="-20 20"/>' for n in range(8))}</actuator>
</mujoco>
"""
SPEED = 0.12  # m/s of a rod at a full action, were there no slip
SLIPS = 0.1  # part of the speed that a slipping roller passes on
SIDE = 0.3  # part of a drive's speed that the rod of the next drive takes, the other way
LATE = 2  # decisions that heights are late, 80 ms
NEAR, HELD = 0.006, 10  # m, and decisions in a row, 0.4 s


class CombLift(Robot):
    """Loads, heights, drives and wanted heights are seen, 32 numbers; 25 decisions a second."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(MODEL, low=[-1.0] * 8, high=[1.0] * 8, seconds=0.04, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """Which drive lifts which rod, in which sense, and from which action on it slips differ, and all heights."""
        self.order, self.sense = random.permutation(8), random.choice([-1.0, 1.0], 8)
        self.grip = random.uniform(0.35, 0.6, 8)
        self.data.qpos[:] = random.uniform(0.08, 0.16, 8)
        self.wanted = self.data.qpos + random.choice([-1.0, 1.0], 8) * random.uniform(0.03, 0.07, 8)
        self.turned, self.rows, self.held = np.zeros(8), 0, 0
        self.seen = [np.array(self.data.qpos)] * (LATE + 1)

    def move(self, action: Array) -> None:
        """Turn the drives; beyond its grip a roller slips."""
        passed = np.where(np.abs(action) > self.grip, SLIPS * action, action) * self.sense
        self.turned = self.turned + action * self.dt
        self.data.ctrl[self.order] = SPEED * (passed - SIDE * np.roll(passed, 1))

    def observe(self) -> Array:
        """Return (32,): loads, wanted heights, drives, heights as they were; the back row first, 0 to 1."""
        known = np.arange(8) < (4 if self.rows == 0 else 8)
        wanted = np.where(known, self.wanted, 0.0) / 0.24
        order = np.r_[4:8, 0:4]  # the back row comes first
        loads = self.data.actuator_force / 20.0
        return np.concatenate([loads[order], wanted[order], self.turned, self.seen[0][order] / 0.24])

    def advance(self) -> None:
        """Look, and count the decisions during which a row, then both, are at their heights."""
        self.seen = [*self.seen[1:], np.array(self.data.qpos)]
        self.held = self.held + 1 if self._beside() < NEAR else 0
        if self.rows == 0 and self.held >= HELD:
            self.rows, self.held = 1, 0

    def judge(self) -> tuple[float, Info]:
        """Return minus how far the worst rod that counts is off, and more once the front row is done."""
        beside = self._beside()
        info = {"beside": beside, "success": self.rows == 1 and self.held >= HELD}
        return -10.0 * beside + 2.0 * (self.rows - 1) + 0.05 * self.held, info

    def _beside(self) -> float:
        off = np.abs(self.data.qpos - self.wanted)
        return float(off.max() if self.rows else off[:4].max())
