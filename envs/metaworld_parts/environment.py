"""The gymnasium environment: checks, horizon, control modes, recording, snapshots."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils import seeding

from trace_robot import HandTracking
from trace_robot.env.equipment import Equipment, EquippedEpisode
from trace_robot.env.guard import StateObserver
from trace_robot.errors import ActionError, OrderError
from trace_robot.spec import Array, Scene, States, TaskSpec

from .simulation import Simulation, Snapshot
from .task import OBSERVATION_SIZE, Task

CONTROL_RATE = 80  # steps a simulated second
RECORD_EVERY = 3  # 80 / 3 = 26.7 frames a simulated second
KEPT_CONDITIONS = 4096


@dataclass(frozen=True)
class Tracking:
    """Proportional control of the hand: how a target becomes simulator steps.

    A decision ends early once the hand is near its target and the gripper is still.

    Attributes:
        relative: whether a target is a displacement of the hand or a position.
        gain: action per meter of error.
        steps: simulator steps of a decision at most.
        near: meters from the target, on each axis, at which a decision may end.
        still: change of the gripper's opening in a step below which it is still.
        least: simulator steps of a decision at least, so that a gripper has begun to move.
    """

    relative: bool = True
    gain: float = 10.0
    steps: int = 20
    near: float = 0.005
    still: float = 0.002
    least: int = 4


@dataclass(frozen=True)
class EnvironmentSnapshot:
    """Everything that the rest of an episode depends on."""

    simulation: Snapshot
    steps: int
    decisions: int
    seen: Array
    equipped: Mapping[str, Any] | None = None


class MetaWorldEnv(gymnasium.Env[Array, Array]):
    """One Meta-World task.

    ``step`` takes float32 actions, (4,), and returns the 39 numbers of upstream's observation.
    ``info["success"]``: whether the task succeeded in this step, which also ends the episode.
    ``info["steps"]``: simulator steps so far. The reward terms are upstream's, as floats.
    """

    metadata = {"render_modes": []}  # noqa: RUF012
    checks_itself = True  # the simulator's warnings, in every step
    dt = 1 / CONTROL_RATE

    def __init__(
        self, task: Task, simulation: Simulation, spec: TaskSpec, tracking: Tracking | None, horizon: int
    ) -> None:
        self.task_spec = spec
        self.record_states: bool | Literal["decisions"] = False
        self.observation_space = Box(-np.inf, np.inf, (OBSERVATION_SIZE,), np.float64)
        self.action_space = Box(np.array(spec.low, np.float32), np.array(spec.high, np.float32))
        self.simulation = simulation
        self._task, self._tracking, self._horizon = task, tracking, horizon
        self._low, self._high = self.action_space.low, self.action_space.high
        self._inside = float(min(-self._low.max(), self._high.min()))  # no clipping is needed within +- this
        self._conditions: dict[int, Array] = {}
        self._last_seed: int | None = None
        self._steps, self._going = -1, False
        self._decisions, self._limit = 0, spec.horizon
        self._frames: list[tuple[Array, Array, Array, float]] = []
        self._equipped: EquippedEpisode | None = None
        self._seen: Array = np.zeros(OBSERVATION_SIZE)

    @property
    def tracking(self) -> HandTracking | None:
        """The tracking controller of displacements, for other programs to do the same."""
        own = self._tracking
        if own is None or not own.relative:
            return None
        return HandTracking(
            "hand_position",
            gain=own.gain,
            steps=own.steps,
            least=own.least,
            near=own.near,
            still="gripper_opening",
            change=own.still,
        )

    def equip(self, equipment: Equipment) -> None:
        """Give its episodes a world, a success that must last, or measures of quality."""
        bounds, simulation = np.ones(4), (self.simulation.model, self.simulation.data)
        low, high = self.simulation.upstream.mocap_low, self.simulation.upstream.mocap_high
        observer = StateObserver(self.simulation.begin_here, known=True, mocap_low=low, mocap_high=high)
        self._equipped = equipment.episode(
            self.task_spec, (-bounds, bounds), 1 / CONTROL_RATE, simulation, observer
        )
        self.task_spec = replace(self.task_spec, options={**self.task_spec.options, **equipment.to_options()})

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: number of the initial condition; the same in every process and for every control mode. None
                goes on to another one.
            options: ``{"variation": vector}`` gives the condition itself.
        """
        if options and "variation" in options:
            variation, number = self._task.checked(options["variation"]), int(seed or 0)
        else:
            number = self._another() if seed is None else int(seed)
            variation = self._condition(number)
            self._last_seed = None if seed is None else number
        if self._equipped is not None:
            self._equipped.before_reset()
        observation = self.simulation.reset(variation)
        if self._equipped is not None:
            observation = self._equipped.start(number, observation)
        self._seen = observation
        self._steps, self._decisions, self._going, self._frames = 0, 0, True, []
        self._record()
        return observation.copy(), {"success": False, "steps": 0}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Apply one action, (4,), and return gymnasium's five values.

        Raises:
            ActionError: an action of the wrong shape or with a number that is not finite.
            EnvironmentFault: the simulation diverges.
            OrderError: a step before the first reset or after the horizon.
        """
        wanted = self._checked(action)
        if self._tracking is None:
            observation, reward, terms = self._advance(wanted)
        else:
            observation, reward, terms = self._track(wanted, self._tracking)
        self._decisions += 1
        if self.record_states == "decisions":
            self._record()
        success = bool(terms["success"])
        self._going = self._steps < self._horizon and self._decisions < self._limit
        if self._equipped is not None and not self._going:
            success = success or self._equipped.at_end(terminated=False)
        info: dict[str, Any] = {"success": success, "steps": self._steps}
        if len(terms) > 1:
            info = {**{name: float(value) for name, value in terms.items()}, **info}
        if self._equipped is not None:
            over = success or not self._going
            info.update(self._equipped.numbers() if over else self._equipped.success_numbers())
        return observation.copy(), reward, success, not (self._going or success), info

    def snapshot(self) -> EnvironmentSnapshot:
        """Return a value from which :meth:`restore` continues bit for bit.

        Any object of this task can restore it.
        """
        equipped = None if self._equipped is None else self._equipped.saved()
        return EnvironmentSnapshot(
            self.simulation.snapshot(), self._steps, self._decisions, self._seen.copy(), equipped
        )

    def restore(self, snapshot: EnvironmentSnapshot) -> Array:
        """Continue from a snapshot and return its observation, (39,).

        What was recorded is dropped.
        """
        if self._equipped is not None:
            self._equipped.before_reset()
        self.simulation.restore(snapshot.simulation)
        if self._equipped is not None and snapshot.equipped is not None:
            self._equipped.return_to(snapshot.equipped)
        self._seen = observation = snapshot.seen.copy()
        self._steps, self._decisions, self._frames = snapshot.steps, snapshot.decisions, []
        self._going = self._steps < self._horizon and self._decisions < self._limit
        self._record()
        return observation.copy()

    def scene(self) -> Scene:
        """Return what another process needs to draw this episode's states."""
        model = self.simulation.model
        moved = {name: getattr(model, name).copy() for name in ("body_pos", "site_pos")}
        return Scene(str(Path(self.simulation.upstream.fullpath).resolve()), moved)

    def state_frame(self) -> tuple[Array, Array, Array, float]:
        """Return copies of qpos, mocap positions and quaternions, and simulated seconds."""
        data = self.simulation.data
        seconds = max(self._steps, 0) / CONTROL_RATE
        return data.qpos.copy(), data.mocap_pos.copy(), data.mocap_quat.copy(), seconds

    def recorded(self) -> States:
        """Return the frames since the last reset, about 27 a simulated second.

        There are none unless ``record_states`` is set; "decisions" gives one after each decision.
        """
        frames = list(self._frames)
        if frames and frames[-1][3] < self._steps / CONTROL_RATE:
            frames.append(self.state_frame())
        empty = self.state_frame()
        columns = [np.array([frame[i] for frame in frames]) for i in range(4)]
        shaped = [column.reshape(-1, *np.shape(empty[i])) for i, column in enumerate(columns)]
        return States(*shaped)

    def close(self) -> None:
        self.simulation.upstream.close()

    def _condition(self, seed: int) -> Array:
        known = self._conditions.get(seed)
        if known is None:
            known = self._task.variation(seed)
            if len(self._conditions) < KEPT_CONDITIONS:
                self._conditions[int(seed)] = known
        return known

    def _another(self) -> int:
        """Draw the seed of a reset without one, from a stream that the last seed began."""
        if self._last_seed is not None:
            self._np_random, self._np_random_seed = seeding.np_random(self._last_seed)
        return int(self.np_random.integers(2**31))

    def _checked(self, action: Array) -> Array:
        if not self._going:
            started = "step before the first reset" if self._steps < 0 else "the episode's time was up"
            raise OrderError(f"{started}; call reset() first")
        try:
            wanted = np.asarray(action, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ActionError(f"action must be 4 numbers, got {action!r}") from error
        if wanted.shape != (4,):
            raise ActionError(f"action must have shape (4,), got {wanted.shape}")
        numbers = wanted.tolist()  # four Python floats are checked faster than an array
        if not math.isfinite(sum(numbers)):
            raise ActionError(f"action must be finite, got {numbers}")
        # Most actions are within the bounds, and two comparisons of floats cost less than clipping an array.
        if max(numbers) <= self._inside and min(numbers) >= -self._inside:
            return wanted
        wanted = np.maximum(wanted, self._low)
        return np.minimum(wanted, self._high, out=wanted)

    def _advance(self, action: Array) -> tuple[Array, float, Mapping[str, Any]]:
        """Take one simulator step."""
        if self._equipped is not None:
            action = self._equipped.act(action)
        observation, reward, terms = self.simulation.step(action)
        self._steps += 1
        if self._steps % RECORD_EVERY == 0 and self.record_states != "decisions":
            self._record()
        if self._equipped is not None:
            observation, success = self._equipped.after(observation, bool(terms["success"]))
            terms = {**terms, "success": success}
        self._seen = observation
        return observation, reward, terms

    def _track(self, wanted: Array, tracking: Tracking) -> tuple[Array, float, Mapping[str, Any]]:
        """Track a target for one decision and sum the rewards of its simulator steps."""
        hand = self._seen[:3]
        target = hand + wanted[:3] if tracking.relative else wanted[:3].astype(np.float64)
        opening = float(self._seen[3])
        action = np.array((0, 0, 0, wanted[3]), np.float32)
        total = 0.0
        for done in range(1, min(tracking.steps, self._horizon - self._steps) + 1):
            action[:3] = np.clip(tracking.gain * (target - self._seen[:3]), -1, 1)
            observation, reward, terms = self._advance(action)
            total += reward
            before, opening = opening, float(observation[3])
            if terms["success"]:
                break
            if (
                done >= tracking.least
                and abs(opening - before) < tracking.still
                and float(np.abs(target - observation[:3]).max()) < tracking.near
            ):
                break
        return observation, total, terms

    def _record(self) -> None:
        if self.record_states:
            self._frames.append(self.state_frame())
