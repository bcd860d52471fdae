"""A cart with two wheels and two bumpers, a box whose weight is off its middle, and a wall."""

from __future__ import annotations

import numpy as np

from .robot import Array, Info, Robot, yaw_of

MODEL = """
<mujoco model="corner cart">
  <compiler angle="radian"/>
  <option timestep="0.01" integrator="implicitfast" cone="elliptic"/>
  <default>
    <geom contype="0" conaffinity="0" rgba="0.5 0.5 0.6 1"/>
    <default class="solid"><geom type="box" contype="1" conaffinity="3" friction="0.3 0.005 0.0001"/></default>
    <default class="rolls"><geom type="sphere" contype="2" conaffinity="1" priority="1"/></default>
  </default>
  <worldbody>
    <light pos="0 0 3"/>
    <geom name="floor" class="solid" type="plane" size="3 3 0.1" rgba="0.9 0.9 0.9 1"/>
    <body name="cart">
      <freejoint name="cart"/>
      <geom name="cart_hull" class="solid" size="0.1 0.07 0.03" pos="0.01 0 0.07" mass="2.5" rgba="0.4 0.3 0.7 1"/>
      <geom name="cart_left" class="solid" type="capsule" size="0.012" mass="0.1"
        fromto="0.128 0.05 0.04 0.128 0.05 0.1"/>
      <geom name="cart_right" class="solid" type="capsule" size="0.012" mass="0.1"
        fromto="0.128 -0.05 0.04 0.128 -0.05 0.1"/>
      <geom class="rolls" size="0.02" pos="0.08 0 0.02" mass="0.05" friction="0.01 0.001 0.0001"/>
      <geom class="rolls" size="0.02" pos="-0.08 0 0.02" mass="0.05" friction="0.01 0.001 0.0001"/>
      <body pos="0 0.1 0.05">
        <joint name="left" axis="0 1 0" armature="0.002" damping="0.002"/>
        <geom class="rolls" size="0.05" mass="0.2" friction="1.2 0.005 0.0001" rgba="0.2 0.2 0.2 1"/>
      </body>
      <body pos="0 -0.1 0.05">
        <joint name="right" axis="0 1 0" armature="0.002" damping="0.002"/>
        <geom class="rolls" size="0.05" mass="0.2" friction="1.2 0.005 0.0001" rgba="0.2 0.2 0.2 1"/>
      </body>
    </body>
    <body name="box">
      <freejoint name="box"/>
      <geom name="box" class="solid" size="0.1 0.1 0.06" mass="0.6" rgba="0.2 0.6 0.3 1"/>
      <geom name="weight" type="sphere" size="0.03" mass="0.8"/>
    </body>
    <body name="wall" mocap="true"><geom name="wall" class="solid" size="0.6 0.6 0.08" rgba="0.7 0.6 0.5 1"/></body>
    <body name="fence" mocap="true"><geom name="fence" class="solid" size="1.2 0.05 0.08" rgba="0.7 0.6 0.5 1"/></body>
    <body name="mark" mocap="true"><geom type="box" size="0.1 0.1 0.001" rgba="0.9 0.2 0.2 0.5"/></body>
  </worldbody>
  <actuator>
    <velocity joint="left" kv="0.4" forcerange="-2 2"/><velocity joint="right" kv="0.4" forcerange="-2 2"/>
  </actuator>
</mujoco>
"""
FENCE = 0.55  # m from the line y = 0 to the wall on the other side
HELD = 10  # decisions at rest on the mark that are a success, 0.5 s


class CornerCart(Robot):
    """Cart, box, corner and mark are seen, no speeds; 20 decisions a second. The weight's place differs."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(MODEL, low=[-12.0] * 2, high=[12.0] * 2, seconds=0.05, render_mode=render_mode)

    def place(self, random: np.random.Generator) -> None:
        """Cart and box stand in front of the wall; the mark is beside it, to the left or to the right."""
        side = random.choice([-1.0, 1.0])
        self.corner = np.array([random.uniform(-0.1, 0.1), side * random.uniform(0.22, 0.28)])
        mark = self.corner + [random.uniform(0.25, 0.4), side * random.uniform(0.35, 0.6)]
        self.set_mocap("wall", [self.corner[0] - 0.6, self.corner[1] + side * 0.6, 0.08])
        self.set_mocap("fence", [-0.2, -side * (FENCE + 0.05), 0.08])
        self.set_mocap("mark", [*mark, 0.0])
        box = [random.uniform(-0.65, -0.5), random.uniform(-0.04, 0.04)]
        self.set_free("box", [*box, 0.06], random.uniform(-0.3, 0.3))
        self.set_free(
            "cart", [random.uniform(-1.2, -1.0), random.uniform(-0.1, 0.1), 0.0], random.uniform(-0.4, 0.4)
        )
        self.model.geom("weight").pos[:] = [*random.uniform(-0.06, 0.06, 2), -0.03]
        self.held = 0

    def observe(self) -> Array:
        """Return (10,): cart and its yaw, box and its yaw, corner, mark."""
        yaw = (yaw_of(self.data.body("box").xmat) + np.pi / 4) % (np.pi / 2) - np.pi / 4
        cart = [*self.body("cart")[:2], yaw_of(self.data.body("cart").xmat)]
        return np.array([*cart, *self.body("box")[:2], yaw, *self.corner, *self.body("mark")[:2]])

    def advance(self) -> None:
        """Count the decisions during which the box stands on the mark, at rest and not touched."""
        near = self._to_mark() < 0.03 and self.speed("box") < 0.02
        self.held = self.held + 1 if near and not self.touching("box", "cart") else 0

    def judge(self) -> tuple[float, Info]:
        """Return minus the way of the box around the corner to the mark, and of the cart to the box."""
        box, mark = self.body("box")[:2], self.body("mark")[:2]
        turn = np.array([mark[0], 0.0])  # where the way turns
        behind = box[0] < self.corner[0] + 0.12
        way = float(np.linalg.norm(turn - box) + np.linalg.norm(mark - turn)) if behind else self._to_mark()
        to_box = float(np.linalg.norm(self.body("cart")[:2] - box))
        reward = -way - 0.2 * to_box + 0.1 * min(self.held, HELD)
        return reward, {"way": way, "to_box": to_box, "success": self.held >= HELD}

    def _to_mark(self) -> float:
        return float(np.linalg.norm((self.body("box") - self.body("mark"))[:2]))
