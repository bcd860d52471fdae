"""A sled with a knob, held in a notch by a bolt that is drawn by unloading it first and turning the knob then."""

from __future__ import annotations

import numpy as np

from .robot import Array, Info, Robot

TASSEL = """
<body pos="{x} -0.08 0.05">
  <joint name="p{n}" axis="0 1 0" damping="0.0004"/>
  <geom type="capsule" fromto="0 0 0 0 0 -{long}" size="0.004" mass="0.02"/>
</body>
"""
# Joints, bodies and sites are numbered: their names are shown to a reader who is to find out what they do.
MODEL = """
<mujoco model="stuck sled">
  <compiler angle="radian"/>
  <option timestep="0.005" integrator="implicitfast"/>
  <default><geom contype="0" conaffinity="0" rgba="0.5 0.5 0.6 1"/></default>
  <worldbody>
    <light pos="0 -1 2"/>
    <geom type="plane" size="1 1 0.1" rgba="0.9 0.9 0.9 1"/>
    <geom type="box" size="0.9 0.03 0.01" pos="0 0 0.2"/>
    <body name="sled" pos="0 0 0.25">
      <joint name="p0" type="slide" axis="1 0 0" range="-0.006 0.006" solreflimit="0.01 1" damping="1.5"/>
      <geom type="box" size="0.07 0.06 0.03" mass="1.2" rgba="0.2 0.6 0.3 1"/>
      <body pos="0 0 0.06">
        <joint name="p1" type="slide" axis="0 0 -1" range="-0.02 0.02" stiffness="400" damping="12"/>
        <geom type="cylinder" size="0.012 0.03" mass="0.1"/>
        <body pos="0 0 0.03">
          <joint name="p2" axis="0 0 1" range="-1.4 1.4" damping="0.03" armature="0.002"/>
          <geom type="box" size="0.04 0.01 0.01" mass="0.1" rgba="0.9 0.6 0.2 1"/>
          <body pos="0 0 0.02">
            <joint name="p3" axis="1 0 0" range="-0.8 0.8" stiffness="0.5" damping="0.03" armature="0.002"/>
            <geom type="capsule" fromto="0 0 0 0 0 0.06" size="0.008" mass="0.05"/>
            <site name="s0" pos="0 0 0.06"/>
          </body>
        </body>
      </body>
      <body pos="0.04 0.03 -0.03" gravcomp="1">
        <joint name="p4" type="slide" axis="0 0 1" range="-0.005 0.035" damping="2"/>
        <geom type="cylinder" size="0.006 0.025" mass="0.05" rgba="0.2 0.2 0.8 1"/>
        <site name="s1"/>
      </body>
      {tassels}
    </body>
    <body name="mark" mocap="true"><geom type="box" size="0.004 0.06 0.002" pos="0 0 0.22" rgba="0.9 0.2 0.2 1"/></body>
  </worldbody>
  <actuator>
    <motor joint="p3" gear="0.5"/><motor joint="p2" gear="0.6"/><motor joint="p1" gear="8"/>
    <motor joint="p0" gear="12"/><position joint="p4" kp="60" kv="1"/>
  </actuator>
</mujoco>
"""
TASSELS = [TASSEL.format(n=5 + k, x=-0.06 + 0.024 * k, long=0.04 + 0.006 * k) for k in range(6)]
MODEL = MODEL.replace("{tassels}", "".join(TASSELS))
RAIL, NOTCH = 0.8, 0.006  # m to either side: of the rail, of the play in the notch
DRAWN = 0.03  # m of the bolt
UP, DOWN = 0.05, 0.02  # part of the bolt's way for each decision: half of it takes 0.25 s
STRAIGHT, TURNED, OVER = 0.2, 0.5, 0.9  # rad of the knob: as at rest, draws the bolt, too far
NEAR, SLOW, HELD = 0.012, 0.05, 20  # m and m/s at the mark, and for how many decisions, 0.5 s


class StuckSled(Robot):
    """All joints, their speeds, forces, two points and the mark are seen, 34 numbers; 40 decisions a second.

    The bolt rises to a half while the sled is pulled away from the mark by a force in a hidden window of 2 N, the
    knob straight; and from there while the knob is turned besides, to a hidden side and not too far. A push to the
    mark, a pull that is too strong, a turn to the other side and a pressed knob let it fall.
    """

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(MODEL, low=[-1.0] * 4, high=[1.0] * 4, seconds=0.025, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """The sled is in its notch; mark, forces, side of the turn, knob's spring, friction and load differ."""
        self.side = float(random.choice([-1.0, 1.0]))
        self.mark = self.side * random.uniform(0.25, 0.65)
        self.least = random.uniform(2.5, 6.0)  # N of the pull; it may be 2 N more
        self.turn = float(random.choice([-1.0, 1.0]))
        self.model.joint("p2").stiffness[0] = random.uniform(0.25, 0.5)
        self.friction = random.uniform(0.5, 1.5)
        self.load = self.side * random.uniform(0.3, 1.5)  # N, to the mark
        self.data.qpos[5:] = random.uniform(-0.3, 0.3, 6)
        self.set_mocap("mark", [self.mark, 0.0, 0.0])
        self.level, self.free, self.held = 0.0, False, 0
        self._lock()

    def move(self, action: Array) -> None:
        """Push lean, turn, press and sled; the bolt follows the mechanism."""
        self.data.ctrl[:] = [*action, DRAWN * self.level]
        self.data.qfrc_applied[0] = self.load
        self._lock()

    def observe(self) -> Array:
        """Return (34,): joints, their speeds, forces, two points, the mark."""
        forces, points = self.data.actuator_force, [self.site("s0"), self.site("s1")]
        return np.concatenate([self.data.qvel, self.data.qpos, forces, *points, [self.mark]])

    def advance(self) -> None:
        """Move the bolt, and count the decisions at the mark."""
        place, turned = float(self.data.qpos[0]), float(self.data.qpos[2])
        if not self.free:
            self.level = self._next_level(-self.side * 12.0 * float(self.data.ctrl[3]), self.turn * turned)
            self.free = self.level >= 1.0
        elif abs(place) < NOTCH and abs(turned) < STRAIGHT:
            self.level, self.free = 0.0, False
        near = abs(place - self.mark) < NEAR and abs(float(self.data.qvel[0])) < SLOW
        self.held = self.held + 1 if near else 0

    def judge(self) -> tuple[float, Info]:
        """Return minus the distance to the mark, and more for a bolt that is up."""
        beside = abs(float(self.data.qpos[0]) - self.mark)
        reward = -beside + 0.2 * self.level + 0.01 * min(self.held, HELD)
        return reward, {"beside": beside, "success": self.held >= HELD}

    def _next_level(self, pull: float, turned: float) -> float:
        """Return how far the bolt is up a decision later, 0 to 1.

        Args:
            pull: away from the mark, N.
            turned: of the knob, rad; positive to the side that draws the bolt.
        """
        pressed = abs(float(self.data.qpos[1])) > 0.008
        if pressed or pull > self.least + 2.0 or pull < -1.0 or abs(turned) > OVER:
            return 0.0
        if pull < self.least:
            return max(0.0, self.level - DOWN)
        if self.level < 0.5:
            straight = abs(turned) < STRAIGHT
            return min(0.5, self.level + UP) if straight else max(0.0, self.level - DOWN)
        if turned < -STRAIGHT:
            return 0.0
        return min(1.0, self.level + UP) if turned > TURNED else self.level

    def _lock(self) -> None:
        """Let the sled move on the rail or in its notch; a pressed knob brakes it."""
        self.model.joint("p0").range[:] = (-RAIL, RAIL) if self.free else (-NOTCH, NOTCH)
        self.model.joint("p0").frictionloss[0] = self.friction + 500.0 * abs(float(self.data.qpos[1]))
