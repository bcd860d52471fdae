"""An arm of seven joints that are given torques, and a puck to push to a goal."""

from __future__ import annotations

import numpy as np

from .robot import Array, Info, Link, Robot, serial_arm

ARM = serial_arm(
    0.12,
    [
        Link("j0", "z", (-2.6, 2.6), 0.13, 0.05),
        Link("j1", "y", (-1.7, 2), 0.15),
        Link("j2", "z", (-2.6, 2.6), 0.15),
        Link("j3", "y", (0.1, 2.7), 0.14),
        Link("j4", "z", (-2.6, 2.6), 0.14, 0.025),
        Link("j5", "y", (-1, 2.6), 0.04, 0.025),
        Link("j6", "z", (-2.6, 2.6), 0.08, 0.012),
    ],
    """
    <geom name="hand" class="solid" type="sphere" size="0.02" pos="0 0 0.08"/>
    <site name="hand" pos="0 0 0.08"/>
    """,
)
MODEL = """
<mujoco model="puck arm">
  <compiler angle="radian"/>
  <option timestep="0.004" integrator="implicitfast" cone="elliptic"/>
  <default>
    <geom type="capsule" size="0.03" density="500" contype="0" conaffinity="0" rgba="0.4 0.3 0.7 1"/>
    <joint armature="0.05" damping="1"/>
    <default class="solid"><geom contype="1" conaffinity="1" friction="0.4 0.005 0.0001"/></default>
  </default>
  <worldbody>
    <light pos="0 0 2"/>
    <geom name="floor" class="solid" type="plane" size="1 1 0.1" rgba="0.9 0.9 0.9 1"/>
    {arm}
    <body name="puck">
      <freejoint name="puck"/>
      <geom name="puck" class="solid" type="cylinder" size="0.04 0.02" mass="0.15" rgba="0.2 0.6 0.3 1"/>
    </body>
    <body name="goal" mocap="true"><geom type="cylinder" size="0.04 0.001" rgba="0.9 0.2 0.2 0.5"/></body>
  </worldbody>
  <actuator>
    <motor joint="j0" ctrlrange="-30 30"/><motor joint="j1" ctrlrange="-30 30"/>
    <motor joint="j2" ctrlrange="-20 20"/><motor joint="j3" ctrlrange="-20 20"/>
    <motor joint="j4" ctrlrange="-8 8"/><motor joint="j5" ctrlrange="-8 8"/><motor joint="j6" ctrlrange="-4 4"/>
  </actuator>
</mujoco>
""".replace("{arm}", ARM)
START = np.array([0.0, 0.1, 0.0, 1.9, 0.0, 1.1, 0.0])  # the hand in front, above the floor and pointing down


class PuckArm(Robot):
    """Joints, their speeds, hand, puck and goal are seen; 50 decisions a second."""

    def __init__(self, render_mode: str | None = None) -> None:
        high = [30.0, 30.0, 20.0, 20.0, 8.0, 8.0, 4.0]
        super().__init__(MODEL, low=[-x for x in high], high=high, seconds=0.02, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """The puck lies in front of the arm, the goal 12 to 25 cm from it."""
        self.data.qpos[:7] = START + random.uniform(-0.1, 0.1, 7)
        puck = goal = np.zeros(2)
        while not 0.12 < np.linalg.norm(puck - goal) < 0.25:
            puck = random.uniform([0.34, -0.2], [0.48, 0.2])
            goal = random.uniform([0.3, -0.25], [0.5, 0.25])
        self.set_free("puck", [*puck, 0.02])
        self.set_mocap("goal", [*goal, 0.001])

    def observe(self) -> Array:
        """Return (23,): joint angles and speeds, hand, puck, goal."""
        places = [self.site("hand"), self.body("puck"), self.body("goal")]
        return np.concatenate([self.data.qpos[:7], self.data.qvel[:7], *places])

    def judge(self) -> tuple[float, Info]:
        """Return minus the distances hand to puck and puck to goal; success is a puck at rest at the goal."""
        puck, goal = self.body("puck"), self.body("goal")
        to_puck = float(np.linalg.norm(self.site("hand") - puck))
        to_goal = float(np.linalg.norm((puck - goal)[:2]))
        success = to_goal < 0.025 and self.speed("puck") < 0.03
        return -0.5 * to_puck - 2.0 * to_goal, {"to_puck": to_puck, "to_goal": to_goal, "success": success}
