"""Two joints that crawl where they circle, one a quarter of a stride behind the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from trace_robot.spec import Field, TaskSpec

HORIZON, DECISIONS, SECONDS = 500, 60, 0.1  # declared; those that it takes; of each


def names() -> Sequence[str]:
    return ["crawler"]


def describe(name: str, *, control: str = "raw", **_: Any) -> TaskSpec:
    return TaskSpec(
        name=name,
        instruction="Crawl forward.",
        observation=(Field("angles", 0, 2, "rad"), Field("rates", 2, 4, "rad/s")),
        action=(Field("front", 0, 1, "N m"), Field("hind", 1, 2, "N m")),
        observation_size=4,
        low=(-1.0, -1.0),
        high=(1.0, 1.0),
        horizon=HORIZON,
        control=control,
    )


class Crawler(gymnasium.Env[Any, Any]):
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    record_states = False

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.angles, self.rates = self.np_random.uniform(-0.1, 0.1, (2, 2))
        self.steps = 0
        return self._seen(), {"steps": 0}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        pushed = np.clip(np.asarray(action, float), -1.0, 1.0)
        self.rates = self.rates + SECONDS * (3.0 * pushed - 2.0 * self.angles - self.rates)
        self.angles = self.angles + SECONDS * self.rates
        circled = self.angles[0] * self.rates[1] - self.angles[1] * self.rates[0]
        info = {"steps": self.steps, "reward_survive": 0.5}
        return self._seen(), float(circled) + 0.5, False, self.steps >= DECISIONS, info

    def _seen(self) -> Any:
        return np.concatenate((self.angles, self.rates))

    def scene(self) -> None:
        return None

    def recorded(self) -> None:
        return None


def make(name: str, **_: Any) -> gymnasium.Env[Any, Any]:
    return Crawler()
