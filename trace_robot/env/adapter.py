"""Adapter of a gymnasium environment: flat vectors, success, snapshots, states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import le
from typing import TYPE_CHECKING, Any, Literal

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import OrderEnforcing

from trace_robot.env import simulation
from trace_robot.env.declaration import (
    SUCCESS_FLAGS,
    SUCCESS_MISSING,
    Environment,
    Transition,
)
from trace_robot.env.guard import (
    NUMBERS,
    StabilityMonitor,
    StateObserver,
    finite,
    judged,
    require_finite,
    reset_values,
    step_values,
    truth,
)
from trace_robot.env.kinematics import ArmTracking
from trace_robot.env.motion_model import MotionModel, MotionTracking
from trace_robot.env.recording import StateRecorder
from trace_robot.env.remote import RemoteEnv, RemoteSnapshot
from trace_robot.env.spaces import FEW, all_finite, clip
from trace_robot.errors import ActionError, OrderError
from trace_robot.spec import Array, Scene, States

if TYPE_CHECKING:
    from trace_robot.env.description import EnvDescription
    from trace_robot.env.equipment import Equipment, EquippedEpisode
    from trace_robot.env.flatten import ActionLayout, ObservationLayout
    from trace_robot.env.tracking import ArmModel, Tracking

NOT_TERMS = (*SUCCESS_FLAGS, "steps")  # entries of info that are no reward terms


@dataclass(frozen=True, slots=True)
class EnvSnapshot:
    """Everything that the rest of an episode depends on."""

    inner: simulation.StateSnapshot | RemoteSnapshot
    observation: Array
    steps: int
    decisions: int
    equipped: Mapping[str, Any] | None = None
    arm: tuple[Any, ...] | None = None


class EnvAdapter(gymnasium.Env[Array, Array]):
    """One environment behind flat vectors.

    Its ``trace_robot.Environment`` defines success. Observations are float64 of shape (observation_size,), actions
    float32 of shape (act_dim,), clipped to the bounds. ``info`` has "success", "steps" (simulator steps so far) and
    numbers of the environment's own ``info``. ``terminated``: success, failure, or the environment's own end;
    ``truncated``: the horizon. In control mode "pose" one step of this class, a decision, is several of the
    environment.
    """

    metadata = {"render_modes": []}  # noqa: RUF012
    checks_itself = True  # every value of a step

    def __init__(self, env: Any, description: EnvDescription) -> None:
        """Wrap an environment.

        Args:
            env: the gymnasium environment.
            description: what ``describe_env`` found of it; its spec's control mode decides whether it is tracked.
        """
        declaration, spec = description.declaration, description.spec
        self.task_spec = spec
        self.record_states: bool | Literal["decisions"] = False
        self.drawn_as = ""  # what another process finds it by where that is not its name
        size = description.observation.size
        self.observation_space = Box(-np.inf, np.inf, (size,), np.float64)
        self.action_space = Box(np.array(spec.low, np.float32), np.array(spec.high, np.float32))
        self.inner = env
        # Whose step is called: this class has its own ``OrderError``, and gymnasium's costs 0.5 µs a step.
        self._stepped = env.env if type(env) is OrderEnforcing else env
        self._declaration = declaration
        self._observation_layout, self._action_layout = description.observation, description.action
        self._arm = None if description.arm is None else _tracking(description.arm)
        self._tracking = self._arm or (declaration.pose if spec.control == "pose" else None)
        # The horizon of decisions ends an episode too, but tracked decisions take several simulator steps each.
        self._horizon = spec.simulator_steps or spec.horizon
        # Where nothing defines success, any of the usual entries does: some environments have one in the last step
        # only (Stable-Baselines3's convention), so that describing them did not show it.
        undefined = declaration.success is None and declaration.return_threshold is None
        named = (declaration.success,) if isinstance(declaration.success, str) else ()
        self._flags: tuple[str, ...] = SUCCESS_FLAGS if undefined else named
        self._flag = named[0] if named else ""
        self._flag_seen = not named
        self._unnumbered = frozenset((*NOT_TERMS, self._flag))
        # Whether the user's functions must see each step as a ``Transition``. Most environments have no such
        # function, and then no step copies its observation into a dict.
        self._judges = (
            declaration.reward is not None or callable(declaration.success) or callable(declaration.failure)
        )
        # Most actions of MuJoCo's environments are the controller's, bit for bit: 5 µs of clips and casts less a step.
        self._is_identity = self._tracking is None and self._action_layout.is_identity
        self._raw_low = np.array(self._action_layout.low)
        self._raw_high = np.array(self._action_layout.high)
        self._low, self._high = self.action_space.low, self.action_space.high
        self._bounds = self._low.tolist(), self._high.tolist()
        self._recorder = StateRecorder(env, declaration.camera, declaration.marks)
        self._monitor = StabilityMonitor(env)
        self._observation: Array = np.zeros(size)
        self._equipped: EquippedEpisode | None = None
        self._steps, self._decisions, self._in_episode = -1, 0, False

    @property
    def layouts(self) -> tuple[ObservationLayout, ActionLayout]:
        """How the environment's own observations and actions are vectors here."""
        return self._observation_layout, self._action_layout

    @property
    def tracking(self) -> Tracking | None:
        """What follows a target in control mode "pose"."""
        return self._tracking

    @property
    def facts(self) -> Sequence[str] | None:
        """The declared lines about the body, none to withhold all, or None."""
        return self._declaration.facts

    def equip(self, equipment: Equipment) -> None:
        """Give its episodes a world, a success that must last, or measures of quality.

        Raises:
            ValueMismatchError: it cannot have them; the message says why.
            UnknownNameError: a world names a field that there is not.
        """
        inner, bounds = self.inner.unwrapped, (self._raw_low, self._raw_high)
        self._equipped = equipment.episode(
            self.task_spec,
            bounds,
            simulation.step_seconds(inner),
            simulation.simulation(inner),
            StateObserver.of(self.inner, self._observation_layout.flat),
        )
        self.task_spec = replace(self.task_spec, options={**self.task_spec.options, **equipment.to_options()})

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode from the condition that the environment makes of ``seed``.

        Args:
            seed: of the condition; None for the next of the environment's own generator.
            options: handed to the environment.

        Returns:
            The observation, (observation_size,), and the info.
        """
        super().reset(seed=seed)
        if self._equipped is not None:
            self._equipped.before_reset()
        seed = None if seed is None else int(seed)  # gymnasium refuses numpy's integers
        self._monitor.clear()
        observation, info = reset_values(
            self.inner.reset(seed=seed, options=dict(options) if options else None)
        )
        self._monitor.follow()
        self._monitor.check()
        self._observation = self._observation_layout.flat(observation)
        if self._equipped is not None:
            condition = int(self.np_random.integers(2**31)) if seed is None else seed
            physics = simulation.simulation(self.inner.unwrapped)
            self._observation = self._equipped.start(condition, self._observation, physics)
        if self._arm is not None:
            self._arm.begin(self.inner.unwrapped, self.task_spec.named(self._observation))
        self._steps, self._decisions, self._in_episode = 0, 0, True
        self._flag_seen = not self._flag
        self._recorder.start(seed, self.record_states, self.task_spec.action_size + 1)
        return self._observation.copy(), {**self._numbers(info), "success": False, "steps": 0}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Apply one action, (act_dim,), and return gymnasium's five values.

        Raises:
            ActionError: an action of the wrong shape or with a number that is not finite.
            EnvironmentFault: an observation, a reward or a number of info that is not finite or not of its space, or
                a simulation that has become unstable.
            OrderError: a step outside an episode.
        """
        vector = self._checked(action)
        if self._tracking is None:
            reward, terminated, truncated, success, info = self._advance(vector)
        else:
            reward, terminated, truncated, success, info = self._track(vector, self._tracking)
        self._decisions += 1
        if self.record_states:
            self._recorder.record_decision(self._steps, np.append(vector, reward))
        # Success and failure win over the time limit, so that an episode has one reason for its end.
        over = self._steps >= self._horizon or self._decisions >= self.task_spec.horizon
        if self._equipped is not None and (over or truncated or terminated):
            success = success or self._equipped.at_end(terminated)
        truncated = (truncated or over) and not (terminated or success)
        self._in_episode = not (terminated or truncated or success)
        numbers: dict[str, Any] = self._numbers(info)
        numbers["success"], numbers["steps"] = success, self._steps
        if self._equipped is not None:
            over = not self._in_episode
            numbers.update(self._equipped.numbers() if over else self._equipped.success_numbers())
        if not (self._in_episode or self._flag_seen):
            # With which of the usual entries info has instead, as none of them is among its numbers here.
            usual = (place for place, flag in enumerate(SUCCESS_FLAGS, 1) if flag in info)
            numbers[SUCCESS_MISSING] = 1.0 + next(usual, 0)
        return self._observation.copy(), reward, terminated or success, truncated, numbers

    def snapshot(self) -> EnvSnapshot:
        """Return a value from which :meth:`restore` of this object continues.

        Whether it continues exactly depends on the environment, and check-env tries it.
        """
        return EnvSnapshot(
            self.inner.snapshot() if isinstance(self.inner, RemoteEnv) else simulation.snapshot(self.inner),
            self._observation.copy(),
            self._steps,
            self._decisions,
            None if self._equipped is None else self._equipped.saved(),
            None if self._arm is None else self._arm.saved(),
        )

    def restore(self, snapshot: EnvSnapshot) -> Array:
        """Continue from a snapshot and return its observation, (observation_size,)."""
        if self._equipped is not None:
            self._equipped.before_reset()
        if isinstance(snapshot.inner, RemoteSnapshot):
            self.inner.restore(snapshot.inner)
        else:
            simulation.restore(self.inner, snapshot.inner)
        self._monitor.clear()
        self._observation, self._in_episode = snapshot.observation.copy(), True
        self._steps, self._decisions = snapshot.steps, snapshot.decisions
        if self._equipped is not None and snapshot.equipped is not None:
            self._equipped.return_to(snapshot.equipped)
        if self._arm is not None and snapshot.arm is not None:
            self._arm.return_to(self.inner.unwrapped, snapshot.arm)
        return self._observation.copy()

    @property
    def hands(self) -> tuple[str, ...]:
        """What moves each hand by a model or a measured Jacobian, as text."""
        return () if self._arm is None else tuple(map(str, self._arm.arm.hands))

    @property
    def declaration(self) -> Environment:
        """What the plug-in declares, with its success filled in."""
        return self._declaration

    def scene(self) -> Scene | None:
        """Return what another process needs to draw this episode, None if nothing can."""
        options = {key: value for key, value in self.task_spec.options.items() if key != "decision_steps"}
        return self._recorder.scene({"env": self.drawn_as or self.task_spec.name, "options": options})

    def recorded(self) -> States | None:
        """Return the states since the reset, None without ``record_states`` or a picture."""
        return self._recorder.states(max(self._steps, 0))

    def picture(self) -> Any:
        """Return the environment's own picture, uint8 of shape (height, width, 3).

        It must have been made with ``render_mode="rgb_array"``.
        """
        return self.inner.render()

    def close(self) -> None:
        """Close the environment."""
        self.inner.close()

    def _checked(self, action: Array) -> Array:
        """Return the action as float32, clipped to the bounds."""
        if not self._in_episode:
            raise OrderError(
                "step before the first reset; call reset() first"
                if self._steps < 0
                else "the episode is over; call reset() first"
            )
        size = self.task_spec.action_size
        try:
            vector = np.array(action, dtype=np.float32)  # a copy: the environment may change it
        except (TypeError, ValueError) as error:
            raise ActionError(f"action must be {size} numbers, got {action!r}") from error
        if vector.shape != (size,):
            raise ActionError(f"action must have shape ({size},), got {vector.shape}")
        # As Python's floats, in a third of the time, what is within the bounds and so finite needs no clip.
        numbers, (lows, highs) = vector.tolist(), self._bounds
        if size <= FEW and all(map(le, lows, numbers)) and all(map(le, numbers, highs)):
            return vector
        if not all_finite(vector):
            raise ActionError(f"action must be finite, got {vector.tolist()}")
        return clip(vector, self._low, self._high)

    def _advance(self, raw: Array) -> tuple[float, bool, bool, bool, Mapping[str, Any]]:
        """Take one simulator step: reward, terminated, truncated, success, info."""
        if self._is_identity and self._equipped is None:
            action = raw.copy() if self.record_states else raw  # the environment may change it
        else:
            # Clipped again: a tracking controller's raw action may be out of bounds.
            raw = clip(raw, self._raw_low, self._raw_high)
            action = self._action_layout.action(raw if self._equipped is None else self._equipped.act(raw))
        observation, reward, terminated, truncated, info = step_values(self._stepped.step(action))
        self._monitor.check()  # before the success of a simulation that was reset is looked at
        true = self._observation = self._observation_layout.flat(observation)
        self._steps += 1
        if self.record_states:
            self._recorder.record_step(self._steps)
        declared = self._declaration
        if not self._judges:
            number, success = reward, self._flagged(info)
            failure = bool(declared.failure) and truth(
                f"info[{declared.failure!r}]", info.get(declared.failure)
            )
        else:
            named = self.task_spec.named(true)
            step = Transition(named, float(reward), bool(terminated), info, observation, self.inner.unwrapped)
            number = reward if declared.reward is None else judged("reward", declared.reward, step)
            own = callable(declared.success)
            success = _holds("success", declared.success, step) if own else self._flagged(info)
            failure = _holds("failure", declared.failure, step)
        number = finite("the reward", number)
        if self._equipped is not None:
            self._observation, success = self._equipped.after(true, success)
        return number, bool(terminated) or failure, bool(truncated), success, info

    def _flagged(self, info: Mapping[str, Any]) -> bool:
        """Return whether an entry of info says that the task succeeded."""
        for name in self._flags:
            if name in info:
                self._flag_seen = True
                if truth(f"info[{name!r}]", info[name]):
                    return True
        return False

    def _track(self, action: Array, tracking: Tracking) -> tuple[float, bool, bool, bool, Mapping[str, Any]]:
        """Track a target for one decision and sum the rewards of its simulator steps."""
        observation = self.task_spec.named(self._observation)
        target = tracking.target(observation, action)
        total = 0.0
        for steps in range(1, min(tracking.steps, self._horizon - self._steps) + 1):
            raw = tracking.raw(observation, target, action)
            reward, terminated, truncated, success, info = self._advance(raw)
            total += reward
            before, observation = observation, self.task_spec.named(self._observation)
            if terminated or truncated or success:
                break
            if steps >= tracking.least and tracking.there(before, observation, target):
                break
        return total, terminated, truncated, success, info

    def _numbers(self, info: Mapping[str, Any]) -> dict[str, float]:
        """Return the reward terms in the environment's info, without what is no number."""
        terms = self._declaration.terms
        values = {name: info.get(name) for name in terms} if terms else info
        without = () if terms else self._unnumbered
        numbers = {
            name: float(value)
            for name, value in values.items()
            if isinstance(value, NUMBERS) and name not in without
        }
        require_finite(numbers)
        return numbers


def _tracking(arm: ArmModel | MotionModel) -> ArmTracking | MotionTracking:
    return MotionTracking(arm) if isinstance(arm, MotionModel) else ArmTracking(arm)


def _holds(what: str, condition: Any, step: Transition) -> bool:
    """Return whether an entry of info or a function of the step is true."""
    if isinstance(condition, str):
        return truth(f"info[{condition!r}]", step.info.get(condition))
    return condition is not None and truth(f"{what} of the plug-in", judged(what, condition, step))
