"""An arm of six joints that are moved a little at a time, with two fingers, a cube and a disk."""

from __future__ import annotations

import numpy as np

from .robot import Array, Info, Link, Robot, serial_arm

ARM = serial_arm(
    0.1,
    [
        Link("waist", "z", (-2.8, 2.8), 0.1, 0.05),
        Link("shoulder", "y", (-1, 2), 0.28),
        Link("elbow", "y", (0, 2.6), 0.13),
        Link("forearm", "z", (-2.8, 2.8), 0.13, 0.025),
        Link("wrist", "y", (-2.4, 2.4), 0.03, 0.02),
        Link("roll", "z", (-3, 3)),
    ],
    """
    <geom type="box" size="0.02 0.05 0.01" pos="0 0 0.02"/>
    <site name="hand" pos="0 0 0.09"/>
    <body pos="0 0.006 0.06" gravcomp="1">
      <joint name="left" class="finger"/>
      <geom name="finger_left" class="solid" type="box" size="0.01 0.006 0.04"/>
    </body>
    <body pos="0 -0.006 0.06" gravcomp="1">
      <joint name="right" class="finger" axis="0 -1 0"/>
      <geom name="finger_right" class="solid" type="box" size="0.01 0.006 0.04"/>
    </body>
    """,
)
MODEL = """
<mujoco model="cube arm">
  <compiler angle="radian"/>
  <option timestep="0.004" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <default>
    <geom type="capsule" size="0.03" density="400" contype="0" conaffinity="0" rgba="0.8 0.5 0.2 1"/>
    <joint armature="0.05" damping="2"/>
    <position kp="400" kv="30"/>
    <default class="solid"><geom contype="1" conaffinity="1" friction="1 0.01 0.001" condim="4"/></default>
    <default class="finger"><joint type="slide" axis="0 1 0" range="0 0.04" damping="5" armature="0.02"/></default>
  </default>
  <worldbody>
    <light pos="0 0 2"/>
    <geom name="floor" class="solid" type="plane" size="1 1 0.1" rgba="0.9 0.9 0.9 1"/>
    {arm}
    <body name="cube">
      <freejoint name="cube"/>
      <geom name="cube" class="solid" type="box" size="0.02 0.02 0.02" mass="0.05" rgba="0.2 0.6 0.3 1"/>
    </body>
    <body name="disk" mocap="true">
      <geom name="disk" class="solid" type="cylinder" size="0.05 0.015" rgba="0.9 0.2 0.2 1"/>
    </body>
  </worldbody>
  <actuator>
    <position joint="waist" ctrlrange="-2.8 2.8"/><position joint="shoulder" ctrlrange="-1 2"/>
    <position joint="elbow" ctrlrange="0 2.6"/><position joint="forearm" ctrlrange="-2.8 2.8"/>
    <position joint="wrist" ctrlrange="-2.4 2.4"/><position joint="roll" ctrlrange="-3 3"/>
    <position joint="left" kp="600" kv="10" ctrlrange="0 0.04" forcerange="-15 15"/>
    <position joint="right" kp="600" kv="10" ctrlrange="0 0.04" forcerange="-15 15"/>
  </actuator>
</mujoco>
""".replace("{arm}", ARM)
START = np.array([0.0, 0.32, 1.63, 0.0, 1.19, 0.0])  # the hand 25 cm above the floor, its fingers down
STEP = 0.06  # rad, the largest increment of a joint


class CubeArm(Robot):
    """Joints, fingers, hand, cube and disk are seen; 25 decisions a second."""

    def __init__(self, render_mode: str | None = None) -> None:
        low, high = [-STEP] * 6 + [-1.0], [STEP] * 6 + [1.0]
        super().__init__(MODEL, low=low, high=high, seconds=0.04, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """Cube and disk lie in front of the arm, 14 cm or more apart."""
        self.data.qpos[:6] = self.data.ctrl[:6] = START + random.uniform(-0.1, 0.1, 6)
        self.data.qpos[6:8] = self.data.ctrl[6:8] = 0.04
        cube = disk = np.zeros(2)
        while np.linalg.norm(cube - disk) < 0.14:
            cube, disk = random.uniform([0.25, -0.25], [0.42, 0.25], (2, 2))
        self.set_free("cube", [*cube, 0.02], random.uniform(-np.pi / 4, np.pi / 4))
        self.set_mocap("disk", [*disk, 0.015])

    def move(self, action: Array) -> None:
        """Add increments to what the joints' servos aim at; 1 closes the fingers, -1 opens them."""
        limits = self.model.actuator_ctrlrange
        self.data.ctrl[:6] = np.clip(self.data.ctrl[:6] + action[:6], limits[:6, 0], limits[:6, 1])
        self.data.ctrl[6:] = 0.02 - 0.02 * action[6]

    def observe(self) -> Array:
        """Return (20,): joint angles, opening, hand, cube, the cube's quaternion, disk."""
        opening = self.data.qpos[6:8].sum()
        cube = self.data.joint("cube").qpos
        return np.concatenate([self.data.qpos[:6], [opening], self.site("hand"), cube, self._top()])

    def judge(self) -> tuple[float, Info]:
        """Return minus the distances hand to cube and cube to disk; success is a cube left to itself."""
        cube, top = self.body("cube"), self._top() + [0.0, 0.0, 0.02]
        to_cube = float(np.linalg.norm(self.site("hand") - cube))
        to_disk = float(np.linalg.norm(cube - top))
        lies = np.linalg.norm((cube - top)[:2]) < 0.035 and abs(cube[2] - top[2]) < 0.005
        left_alone = not self.touching("cube", "finger") and self.speed("cube") < 0.05
        success = bool(lies and left_alone)
        return -to_cube - 2.0 * to_disk + 2.0 * success, {
            "to_cube": to_cube, "to_disk": to_disk, "success": success,
        }  # fmt: skip

    def _top(self) -> Array:
        return self.body("disk") + [0.0, 0.0, 0.015]
