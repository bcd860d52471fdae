"""One seeded episode: the environment in this process, the controller behind whatever runs it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

import gymnasium
import numpy as np

from trace_robot.errors import ActionError, EnvironmentFault
from trace_robot.rollout.episode import Ended, Episode, Job
from trace_robot.sandbox.types import Fault
from trace_robot.spec import Array, EnvSpec


class Controller(Protocol):
    """What an episode asks for actions; a fault ends the episode, and so does None: it has given up."""

    def reset(self) -> Fault | None: ...

    def act(self, observation: Array) -> Array | Fault | None: ...


def run_episode(
    env: gymnasium.Env[Array, Array], about: EnvSpec, controller: Controller, job: Job
) -> Episode:
    """Run one episode; it ends at the first success, at the horizon or with a fault."""
    started = time.perf_counter()
    env.unwrapped.record_states = job.record  # type: ignore[attr-defined]
    observation, info = env.reset(seed=job.seed)
    seen, actions, rewards = [observation], [], []
    ended: Ended = "time"
    fault = controller.reset()
    while fault is None:
        action = controller.act(observation)
        if isinstance(action, Fault):
            fault = action
            break
        if action is None:
            break
        try:
            observation, reward, terminated, truncated, info = env.step(action)
        except (ActionError, EnvironmentFault) as error:
            fault = Fault("environment", str(error))
            break
        seen.append(observation)
        actions.append(np.clip(action, about.low, about.high).astype(np.float32))
        rewards.append(float(reward))
        if info.get("success"):
            ended = "success"
            break
        if terminated or truncated:
            break
    return Episode(
        seed=job.seed,
        ended="error" if fault is not None else ended,
        fault=fault,
        steps=int(info.get("steps", len(actions))),
        rewards=np.array(rewards),
        actions=np.array(actions, dtype=np.float32).reshape(-1, about.action_size),
        observations=np.array(seen),
        infos=_numbers(info),
        seconds=time.perf_counter() - started,
        **_recorded(env, job),
    )


def _numbers(info: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in info.items()
        if isinstance(value, bool | int | float | np.number)
    }


def _recorded(env: gymnasium.Env[Array, Array], job: Job) -> dict[str, Any]:
    if not job.record:
        return {}
    recorder: Any = env.unwrapped
    return {"scene": recorder.scene(), "states": recorder.recorded()}
