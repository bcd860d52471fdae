"""One of upstream's environments: given conditions, cached resets, snapshots."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import mujoco
import numpy as np

from trace_robot.errors import EnvironmentFault
from trace_robot.fault import UNSTABLE
from trace_robot.spec import Array

CACHED_RESETS = 256  # about 10 kB each
STATE = mujoco.mjtState.mjSTATE_INTEGRATION
QUIET = bytes(4 * int(mujoco.mjtWarning.mjNWARNING))
MOVED_BY_RESET = ("body_pos", "site_pos")
KEPT_TYPES = (bool, int, float, str, list, np.ndarray, np.generic, type(None))
CHANGES_IN_EPISODE = ("_prev_obs", "_last_stable_obs", "curr_path_length", "_target_to_obj_init")


class Stepper(Protocol):
    """What advances upstream's environment by one control step."""

    def step(self, action: Array) -> tuple[Array, float, Mapping[str, Any]]:
        """Return observation, (39,), reward and terms after an action, (4,)."""
        ...

    def load(self) -> None:
        """Take over what upstream remembers, after a reset or a restored snapshot."""
        ...

    def store(self) -> None:
        """Give upstream what it would remember, before a snapshot."""
        ...


class ReferenceStep:
    """Upstream's own stepping."""

    def __init__(self, upstream: Any, rewards: bool = True) -> None:
        self._upstream, self._rewards = upstream, rewards
        upstream.max_path_length = np.inf

    def step(self, action: Array) -> tuple[Array, float, Mapping[str, Any]]:
        """Advance one control step by upstream's own ``step``."""
        observation, reward, _, _, terms = self._upstream.step(action)
        if self._rewards:
            return observation, reward, terms
        return observation, 0.0, {"success": terms["success"]}

    def load(self) -> None:
        """Nothing to take over: upstream remembers for itself."""

    def store(self) -> None:
        """Nothing to give back: upstream remembers for itself."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the next steps depend on.

    Attributes:
        variation: the initial condition of the episode.
        physics: MuJoCo's integration state.
        attributes: what upstream keeps between steps.
        observation: the last one, (39,).
    """

    variation: Array
    physics: Array
    attributes: Mapping[str, Any]
    observation: Array


@dataclass(frozen=True, slots=True)
class _Start:
    observation: Array
    physics: Array
    attributes: Mapping[str, Any]
    model: Mapping[str, Array]


class Simulation:
    """Upstream's environment object, with its random choices set from outside."""

    def __init__(self, upstream: Any, stepper: Callable[[Any], Stepper] = ReferenceStep) -> None:
        """Take over an environment.

        Args:
            upstream: an instance of one of ``metaworld.ALL_V3_ENVIRONMENTS``.
            stepper: makes what advances it.
        """
        self.upstream = upstream
        self.model, self.data = upstream.model, upstream.data
        self.observation: Array = np.zeros(0)
        self.variation: Array = np.zeros(0)
        self._warnings = self.data.warning.number
        self._starts: OrderedDict[bytes, _Start] = OrderedDict()
        self._size = mujoco.mj_stateSize(self.model, STATE)
        # What upstream's train and test classes set from a pickled task: the goal is visible, and the random vector is
        # the one that ``reset`` below writes.
        upstream._set_task_called = True
        upstream._freeze_rand_vec = True
        upstream._partially_observable = False
        upstream.__dict__.pop("sawyer_observation_space", None)  # computed again, with the goal in it
        self._stepper = stepper(upstream)

    def reset(self, variation: Array) -> Array:
        """Go to an initial condition and return the observation, (39,).

        The second time it takes microseconds, and gives the same bytes.
        """
        if self._warnings.tobytes() != QUIET:
            mujoco.mj_resetData(self.model, self.data)
        key = variation.tobytes()
        start = self._starts.get(key)
        if start is None:
            start = self._starts[key] = self._first_reset(variation)
            if len(self._starts) > CACHED_RESETS:
                self._starts.popitem(last=False)
        else:
            self._starts.move_to_end(key)
            self._return_to(start)
        self._stepper.load()
        self.variation = variation
        self.observation = start.observation.copy()
        return self.observation

    def begin_here(self) -> Array:
        """Begin at the simulator's state, which was changed after a reset, and return its observation, (39,).

        What upstream's rewards measure progress from stays where the reset had it.
        """
        observation: Array = self.upstream._get_obs().astype(np.float64)
        self.upstream._prev_obs = observation[:18].copy()
        observation[18:36] = self.upstream._prev_obs  # as upstream's own reset
        self._stepper.load()
        self.observation = observation
        return observation

    def step(self, action: Array) -> tuple[Array, float, Mapping[str, Any]]:
        """Advance one control step, 1/80 s, by a float32 action, (4,), within [-1, 1]."""
        try:
            self.observation, reward, terms = self._stepper.step(action)
        except Exception as error:  # a diverged simulation makes upstream's code raise anything
            self.check()
            raise EnvironmentFault(f"the environment failed: {type(error).__name__}: {error}") from error
        if self._warnings.tobytes() != QUIET:
            self.check()
        return self.observation, float(reward), terms

    def check(self) -> None:
        """Raise EnvironmentFault if the simulator warned, as it does when it diverges."""
        if self._warnings.tobytes() != QUIET:
            counts = enumerate(self._warnings.tolist())
            warnings = ", ".join(mujoco.mju_warningText(index, 0) for index, count in counts if count)
            raise EnvironmentFault(f"{UNSTABLE}: {warnings}; start a new episode")

    def snapshot(self) -> Snapshot:
        """Return a value from which :meth:`restore` continues bit for bit."""
        self._stepper.store()
        kept = {name: value for name, value in vars(self.upstream).items() if name in CHANGES_IN_EPISODE}
        return Snapshot(self.variation.copy(), self._physics(), _copied(kept), self.observation.copy())

    def restore(self, snapshot: Snapshot) -> Array:
        """Continue from a snapshot, also one taken from another object of the same task."""
        self.reset(snapshot.variation)
        mujoco.mj_setState(self.model, self.data, snapshot.physics, STATE)
        vars(self.upstream).update(_copied(snapshot.attributes))
        self._stepper.load()
        self.observation = snapshot.observation.copy()
        return self.observation

    def _first_reset(self, variation: Array) -> _Start:
        self.upstream._last_rand_vec = variation.copy()
        observation, _ = self.upstream.reset()
        self.check()
        return _Start(observation.copy(), self._physics(), self._attributes(), self._moved())

    def _return_to(self, start: _Start) -> None:
        mujoco.mj_setState(self.model, self.data, start.physics, STATE)
        for name, array in start.model.items():
            getattr(self.model, name)[:] = array
        vars(self.upstream).update(start.attributes)

    def _physics(self) -> Array:
        state = np.empty(self._size)
        mujoco.mj_getState(self.model, self.data, state, STATE)
        return state

    def _moved(self) -> dict[str, Array]:
        return {name: getattr(self.model, name).copy() for name in MOVED_BY_RESET}

    def _attributes(self) -> dict[str, Any]:
        """Return copies of upstream's plain attributes, without views into the simulator."""
        plain = {name: value for name, value in vars(self.upstream).items() if isinstance(value, KEPT_TYPES)}
        return _copied({name: value for name, value in plain.items() if not _is_view(value)})


def _is_view(value: Any) -> bool:
    """Return whether an array's memory belongs to no array, and so to the simulator."""
    while isinstance(value, np.ndarray) and value.base is not None:
        value = value.base
    return not isinstance(value, KEPT_TYPES)


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in values.items()}
