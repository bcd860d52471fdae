"""An arm of five joints that are given velocities, and a point to touch."""

from __future__ import annotations

import mujoco
import numpy as np

from .robot import Array, Info, Link, Robot, serial_arm

ARM = serial_arm(
    0.05,
    [
        Link("waist", "z", (-2.8, 2.8), 0.1, 0.04),
        Link("shoulder", "y", (-1.9, 1.9), 0.24),
        Link("elbow", "y", (-2.4, 2.4), 0.2),
        Link("wrist", "y", (-1.9, 1.9), 0.06, 0.02),
        Link("roll", "z", (-3, 3)),
    ],
    """
    <geom fromto="0 0 0 0.03 0 0.09" size="0.01"/>
    <site name="tip" pos="0.03 0 0.09"/>
    """,
)
MODEL = """
<mujoco model="touch arm">
  <compiler angle="radian"/>
  <option timestep="0.005" integrator="implicitfast"/>
  <default>
    <geom type="capsule" size="0.025" density="500" contype="0" conaffinity="0" rgba="0.3 0.5 0.8 1"/>
    <joint armature="0.02" damping="0.5"/>
    <velocity kv="20" ctrlrange="-1.5 1.5"/>
  </default>
  <worldbody>
    <light pos="0 0 2"/>
    <geom type="plane" size="1 1 0.1" rgba="0.9 0.9 0.9 1"/>
    {arm}
    <body name="target" mocap="true"><geom type="sphere" size="0.012" rgba="0.9 0.2 0.2 1"/></body>
  </worldbody>
  <actuator>
    <velocity joint="waist"/><velocity joint="shoulder"/><velocity joint="elbow"/>
    <velocity joint="wrist"/><velocity joint="roll"/>
  </actuator>
</mujoco>
""".replace("{arm}", ARM)


class TouchArm(Robot):
    """Angles, tip and target are seen; 25 decisions a second."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(MODEL, low=[-1.5] * 5, high=[1.5] * 5, seconds=0.04, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """The target is where the tip is at other angles, above the floor and 15 cm or more away."""
        start = random.uniform(-0.8, 0.8, 5)
        tip = self._tip(start)
        target = tip
        while target[2] < 0.06 or np.linalg.norm(target - tip) < 0.15:
            target = self._tip(random.uniform(-0.8, 0.8, 5) * self.model.jnt_range[:, 1])
        self.data.qpos[:] = start
        self.set_mocap("target", target)

    def observe(self) -> Array:
        """Return (11,): joint angles, tip, target."""
        return np.concatenate([self.data.qpos, self.site("tip"), self.body("target")])

    def judge(self) -> tuple[float, Info]:
        """Return minus the distance, and success within 1 cm."""
        distance = float(np.linalg.norm(self.site("tip") - self.body("target")))
        return -distance, {"distance": distance, "success": distance < 0.01}

    def _tip(self, angles: Array) -> Array:
        self.data.qpos[:] = angles
        mujoco.mj_kinematics(self.model, self.data)
        return self.site("tip")
