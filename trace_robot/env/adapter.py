"""A gymnasium environment as the rest of the program knows one: flat vectors, a success flag, recordings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from trace_robot.env import recording
from trace_robot.env.declaration import Environment, Transition
from trace_robot.env.flatten import ActionLayout, ObservationLayout, all_finite, cut
from trace_robot.env.recording import StateRecorder
from trace_robot.env.tracking import Tracking
from trace_robot.errors import ActionError, EnvironmentFault, OrderError
from trace_robot.spec import Array, Scene, States, TaskSpec

UNTOLD = ("success", "is_success", "steps")


@dataclass(frozen=True, slots=True)
class EnvSnapshot:
    """Everything that the rest of an episode depends on."""

    inner: recording.StateSnapshot
    observation: Array
    steps: int
    decisions: int


class EnvAdapter(gymnasium.Env[Array, Array]):
    """One environment behind flat vectors; see ``trace_robot.Environment`` for what decides.

    ``info["success"]``, ``info["steps"]`` (simulator steps so far) and numbers of the environment's own ``info``.
    ``terminated``: success, failure, or the environment's own end. Raises ActionError for an action of the wrong
    shape or with a number that is not finite, EnvironmentFault for an observation or reward that is not finite,
    OrderError for a step outside an episode.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        env: Any,
        said: Environment,
        spec: TaskSpec,
        observed: ObservationLayout,
        acted: ActionLayout,
        tracking: Tracking | None,
    ) -> None:
        self.task_spec = spec
        self.record_states = False
        self.observation_space = Box(-np.inf, np.inf, (observed.size,), np.float64)
        self.action_space = Box(np.array(spec.low, np.float32), np.array(spec.high, np.float32))
        self.inner = env
        self._said, self._observed, self._acted, self._tracking = said, observed, acted, tracking
        self._horizon = spec.simulator_steps or spec.horizon
        self._flag = said.success if isinstance(said.success, str) else ""
        self._raw_low, self._raw_high = np.array(acted.low), np.array(acted.high)
        self._low, self._high = self.action_space.low, self.action_space.high
        self._recorder = StateRecorder(env, said.camera, said.marks)
        self._observation: Array = np.zeros(observed.size)
        self._steps, self._decisions, self._going = -1, 0, False

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode from the condition that the environment makes of ``seed``."""
        super().reset(seed=seed)
        given = None if seed is None else int(seed)
        begun = self.inner.reset(seed=given, options=dict(options) if options else None)
        if not isinstance(begun, tuple) or len(begun) != 2 or not isinstance(begun[1], Mapping):
            raise EnvironmentFault(f"reset must return (observation, info), got {_kind(begun)}")
        observation, info = begun
        self._observation = self._observed.flat(observation)
        self._steps, self._decisions, self._going = 0, 0, True
        self._recorder.start(given, self.record_states, self.task_spec.action_size + 1)
        return self._observation.copy(), {**self._numbers(info), "success": False, "steps": 0}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        wanted = self._checked(action)
        if self._tracking is None:
            reward, terminated, truncated, success, info = self._advance(wanted)
        else:
            reward, terminated, truncated, success, info = self._track(wanted, self._tracking)
        self._decisions += 1
        if self.record_states:
            self._recorder.decided(self._steps, np.append(wanted, reward))
        over = self._steps >= self._horizon or self._decisions >= self.task_spec.horizon
        truncated = (truncated or over) and not (terminated or success)
        self._going = not (terminated or truncated or success)
        told = {**self._numbers(info), "success": success, "steps": self._steps}
        return self._observation.copy(), reward, terminated or success, truncated, told

    def snapshot(self) -> EnvSnapshot:
        """Return a value from which :meth:`restore` of this object continues; check-env tries whether exactly."""
        return EnvSnapshot(
            recording.snapshot(self.inner), self._observation.copy(), self._steps, self._decisions
        )

    def restore(self, snapshot: EnvSnapshot) -> Array:
        """Continue from a snapshot; return the observation at that moment."""
        recording.restore(self.inner, snapshot.inner)
        self._observation, self._going = snapshot.observation.copy(), True
        self._steps, self._decisions = snapshot.steps, snapshot.decisions
        return self._observation.copy()

    def scene(self) -> Scene | None:
        """Return what another process needs to draw this episode; None where nothing can draw it."""
        options = {key: value for key, value in self.task_spec.options.items() if key != "decision_steps"}
        return self._recorder.scene({"env": self.task_spec.name, "options": options})

    def recorded(self) -> States | None:
        return self._recorder.states(max(self._steps, 0))

    def picture(self) -> Any:
        """Return what the environment draws of itself, (height, width, 3), made with ``render_mode="rgb_array"``."""
        return self.inner.render()

    def close(self) -> None:
        self.inner.close()

    def _checked(self, action: Array) -> Array:
        if not self._going:
            raise OrderError(
                "step before the first reset; call reset() first"
                if self._steps < 0
                else "the episode is over; call reset() first"
            )
        size = self.task_spec.action_size
        try:
            wanted = np.asarray(action, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ActionError(f"action must be {size} numbers, got {action!r}") from error
        if wanted.shape != (size,):
            raise ActionError(f"action must have shape ({size},), got {wanted.shape}")
        if not all_finite(wanted):
            raise ActionError(f"action must be finite, got {wanted.tolist()}")
        return cut(wanted, self._low, self._high)

    def _advance(self, raw: Array) -> tuple[float, bool, bool, bool, Mapping[str, Any]]:
        """Take one simulator step: reward, terminated, truncated, success, info."""
        result = self.inner.step(self._acted.action(cut(raw, self._raw_low, self._raw_high)))
        if not isinstance(result, tuple) or len(result) != 5:
            raise EnvironmentFault(
                f"step must return (observation, reward, terminated, truncated, info), got {_kind(result)}"
            )
        observation, reward, terminated, truncated, info = result
        if not isinstance(info, Mapping) or not isinstance(reward, float | int | np.number):
            raise EnvironmentFault(
                f"step must give a number as the reward and a dict as info, got {reward!r} and {_kind(info)}"
            )
        self._observation = self._observed.flat(observation)
        self._steps += 1
        if self.record_states:
            self._recorder.stepped(self._steps)
        said = self._said
        if said.reward is None and not callable(said.success) and not callable(said.failure):
            number, success = float(reward), bool(self._flag and info.get(self._flag))
            failure = bool(said.failure and info.get(said.failure))
        else:
            seen = self.task_spec.named(self._observation)
            step = Transition(seen, float(reward), bool(terminated), info, observation, self.inner.unwrapped)
            number = float(reward if said.reward is None else said.reward(step))
            success = bool(
                said.success(step) if callable(said.success) else self._flag and info.get(self._flag)
            )
            failure = bool(_holds(said.failure, step))
        if not math.isfinite(number):
            raise EnvironmentFault(f"the reward is not finite: {number}")
        return number, bool(terminated) or failure, bool(truncated), success, info

    def _track(self, wanted: Array, tracking: Tracking) -> tuple[float, bool, bool, bool, Mapping[str, Any]]:
        """Bring the robot towards a target for one decision; rewards are summed over simulator steps."""
        seen = self.task_spec.named(self._observation)
        target = tracking.target(seen, wanted)
        total = 0.0
        for done in range(1, min(tracking.steps, self._horizon - self._steps) + 1):
            reward, terminated, truncated, success, info = self._advance(tracking.raw(seen, target, wanted))
            total += reward
            before, seen = seen, self.task_spec.named(self._observation)
            if terminated or truncated or success:
                break
            if done >= tracking.least and tracking.there(before, seen, target):
                break
        return total, terminated, truncated, success, info

    def _numbers(self, info: Mapping[str, Any]) -> dict[str, float]:
        names = self._said.terms or [name for name in info if name not in UNTOLD and name != self._flag]
        found = {name: info.get(name) for name in names}
        return {
            name: float(value)
            for name, value in found.items()
            if isinstance(value, bool | int | float | np.number | np.bool_)
        }


def _holds(said: Any, step: Transition) -> bool:
    return bool(step.info.get(said)) if isinstance(said, str) else bool(said is not None and said(step))


def _kind(result: Any) -> str:
    return f"{len(result)} values" if isinstance(result, tuple) else type(result).__name__
