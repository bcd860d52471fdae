"""A ball on a tilting plate that must follow a moving target, seen late, with noise, and without speeds."""

from __future__ import annotations

from typing import Any

import gymnasium
import mujoco
import numpy as np

from trace_robot import Environment, part

MODEL = """
<mujoco>
  <option timestep="0.005" integrator="implicitfast"/>
  <worldbody>
    <body name="plate" pos="0 0 0.5">
      <joint name="roll" axis="1 0 0" damping="0.2"/>
      <joint name="pitch" axis="0 1 0" damping="0.2"/>
      <geom type="box" size="0.3 0.3 0.005" mass="0.3" friction="1 0.005 0.0001"/>
    </body>
    <body name="ball" pos="0 0 0.525">
      <freejoint/>
      <geom type="sphere" size="0.02" mass="0.03" condim="4" friction="1 0.005 0.0001"/>
    </body>
  </worldbody>
  <actuator>
    <position joint="roll" kp="8" dampratio="1"/>
    <position joint="pitch" kp="8" dampratio="1"/>
  </actuator>
</mujoco>
"""
LATE = 2  # decisions by which the camera is late
NOISE = 0.001  # of the camera, meters
NEAR = 0.03  # meters from the target that count
HELD = 50  # decisions in a row
HORIZON = 300
SUBSTEPS = 4  # 50 decisions a second


class Plate(gymnasium.Env[Any, Any]):
    """Two servos tilt the plate; an action is the two angles wanted, radians."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float64)
    action_space = gymnasium.spaces.Box(-0.2, 0.2, (2,), np.float32)

    def __init__(self, **_: Any) -> None:
        self.model = mujoco.MjModel.from_xml_string(MODEL)
        self.data = mujoco.MjData(self.model)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[2:4] = self.np_random.uniform(-0.15, 0.15, 2)
        self.center, self.radius = self.np_random.uniform(-0.08, 0.08, 2), self.np_random.uniform(0.03, 0.1)
        self.phase, self.speed = self.np_random.uniform(0, 6.28), self.np_random.choice((-1, 1)) * 0.6
        self.held, self.seen = 0, list[Any]()
        mujoco.mj_forward(self.model, self.data)
        return self._look(), {"success": False}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.data.ctrl[:] = np.clip(action, -0.2, 0.2)
        mujoco.mj_step(self.model, self.data, SUBSTEPS)
        self.phase += self.speed * 0.02
        distance = float(np.hypot(*(self.data.qpos[2:4] - self._target())))
        self.held = self.held + 1 if distance < NEAR else 0
        fallen = bool(self.data.qpos[4] < 0.4)
        reward = -100.0 if fallen else -distance
        return self._look(), reward, fallen, False, {"success": self.held >= HELD}

    def _target(self) -> Any:
        return self.center + self.radius * np.array([np.cos(self.phase), np.sin(self.phase)])

    def _look(self) -> Any:
        self.seen.append(np.concatenate((self.data.qpos[2:4], self._target())))
        return self.seen[max(0, len(self.seen) - 1 - LATE)] + NOISE * self.np_random.standard_normal(4)


ENVIRONMENTS = [
    Environment(
        "plate",
        "Bring the ball to the moving target and keep it there by tilting the plate.",
        make=Plate,
        observation=[part("ball_position", 2, "m"), part("target_position", 2, "m")],
        action=[part("angles", 2, "rad", "wanted of roll and pitch")],
        success="success",
        success_when="the ball is within 3 cm of the target for 1 s",
        horizon=HORIZON,
    )
]
