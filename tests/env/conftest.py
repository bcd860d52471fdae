"""Small environments of every kind of space, and a workspace to plug them in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from trace_robot import Environment
from trace_robot.env.declared import DeclaredPlugin


class Echo(gymnasium.Env[Any, Any]):
    """Shows what ``see`` returns, keeps the actions, terminates after ``ends`` steps."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        observation: Any = None,
        action: Any = None,
        see: Callable[[Any], Any] | None = None,
        info: Any = None,
        ends: int = 9,
    ) -> None:
        self.observation_space = observation or spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = action or spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.see, self.info, self.ends = see, info, ends
        self.actions: list[Any] = []

    def _seen(self) -> Any:
        return self.observation_space.sample() if self.see is None else self.see(self)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.actions.clear()
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.actions.append(action)
        info = self.info(self) if callable(self.info) else self.info or {}
        return self._seen(), float(len(self.actions)), len(self.actions) >= self.ends, False, info


def plug(*environments: Environment) -> DeclaredPlugin:
    return DeclaredPlugin("mine.py", environments)


def echo(**what: Any) -> Environment:
    """Return the declaration of an Echo.

    what: arguments of the Echo, and fields of the declaration.
    """
    own = {
        key: what.pop(key)
        for key in ("observation_space", "action_space", "see", "info", "ends")
        if key in what
    }
    renamed = {key.removesuffix("_space"): value for key, value in own.items()}
    return Environment("echo", "Say it again.", make=lambda **_: Echo(**renamed), **what)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own empty workspace, which is the working directory."""
    (tmp_path / "envs").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACE_ROBOT_WORKSPACE", raising=False)
    return tmp_path
