"""A mass on a line that must come to rest at 0, where nothing is called a position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from trace_robot.spec import Field, TaskSpec

HORIZON = 40


def names() -> Sequence[str]:
    return ["mass"]


def describe(name: str, *, control: str = "raw", **_: Any) -> TaskSpec:
    return TaskSpec(
        name=name,
        instruction="Come to rest at 0.",
        observation=(Field("place", 0, 1, "m", "where it is"), Field("speed", 1, 2, "m/s")),
        action=(Field("force", 0, 1, "N"),),
        observation_size=2,
        low=(-1.0,),
        high=(1.0,),
        horizon=HORIZON,
        success="the return is at least -11",
        control=control,
        return_threshold=-11.0,
    )


class Mass(gymnasium.Env[Any, Any]):
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    record_states = False

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-1.0, 1.0, 2)
        self.steps = 0
        return self.state.copy(), {"steps": 0}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        speed = self.state[1] + 0.1 * float(np.clip(action[0], -1, 1))
        self.state = np.array([self.state[0] + 0.1 * speed, speed])
        over = self.steps >= HORIZON
        return self.state.copy(), -float(self.state @ self.state), False, over, {"steps": self.steps}

    def scene(self) -> None:
        return None

    def recorded(self) -> None:
        return None


def make(name: str, **_: Any) -> gymnasium.Env[Any, Any]:
    return Mass()
