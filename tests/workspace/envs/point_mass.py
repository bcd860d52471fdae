"""A point that is pushed about in a box: the smallest environment that a staged controller can solve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from trace_robot.spec import Field, TaskSpec

FIELDS = (
    Field("hand_position", 0, 3, "metres", "where the point is"),
    Field("goal_position", 3, 6, "metres", "where it must go"),
)
ACTION = (
    Field("motion", 0, 3, "a tenth of a metre", "displacement of the point"),
    Field("gripper", 3, 4, "", "does nothing"),
)


def names() -> Sequence[str]:
    faults = ("dies", "raises", "breaks", "hangs")
    return ["point-mass", *(f"point-mass-that-{fault}" for fault in faults)]


def describe(name: str, *, control: str = "raw", **_: Any) -> TaskSpec:
    return TaskSpec(
        name=name,
        instruction="Bring the point to the goal.",
        observation=FIELDS,
        action=ACTION,
        observation_size=6,
        low=(-1.0,) * 4,
        high=(1.0,) * 4,
        horizon=40,
        success="the point is within 5 cm of the goal",
        control=control,
        positions=("hand_position", "goal_position"),
    )


class PointMass(gymnasium.Env[Any, Any]):
    """Conditions with odd seeds have their goal on the other side."""

    observation_space = gymnasium.spaces.Box(-2.0, 2.0, (6,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
    record_states = False

    def __init__(self, name: str) -> None:
        self.name = name

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.hand = np.zeros(3)
        self.goal = self.np_random.uniform(0.2, 0.8, 3) * (-1.0 if (seed or 0) % 2 else 1.0)
        self.steps = 0
        return self._observation(), {"success": False, "steps": 0}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if self.name.endswith("dies") and self.steps == 3:
            import os

            os.write(1, b"the cable is off\n")
            os._exit(3)
        if self.name.endswith("raises") and self.steps == 3:
            from trace_robot.errors import EnvironmentFault

            raise EnvironmentFault("the simulation diverged")
        if self.name.endswith("breaks") and self.steps == 3:
            raise ZeroDivisionError("a bug of the plug-in")
        if self.name.endswith("hangs") and self.steps == 3:
            import time

            time.sleep(600)
        self.hand = self.hand + 0.1 * np.clip(np.asarray(action, float)[:3], -1, 1)
        distance = float(np.linalg.norm(self.hand - self.goal))
        info = {"success": distance < 0.05, "steps": self.steps, "distance": distance}
        return self._observation(), -distance, False, self.steps >= 40, info

    def scene(self) -> None:
        return None

    def recorded(self) -> None:
        return None

    def _observation(self) -> Any:
        return np.concatenate([self.hand, self.goal])


def make(name: str, **_: Any) -> gymnasium.Env[Any, Any]:
    return PointMass(name)
