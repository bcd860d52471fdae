"""Probing episodes: what an environment does with raw actions, before controllers use it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trace_robot.env.flatten import ActionLayout, ObservationLayout
from trace_robot.env.guard import reset_values, step_values, time_limit
from trace_robot.env.kinematics import ArmTracking
from trace_robot.env.simulation import physics_of
from trace_robot.env.tracking import ArmModel
from trace_robot.errors import EnvironmentFault, TraceRobotError, WorkspaceError
from trace_robot.fault import HANG_SECONDS
from trace_robot.spec import Array, Field, TaskSpec

MOST = 32  # action numbers that are pushed one by one
PUSH = 0.5  # of half the range of an action number
SETTLE = 24  # steps that are watched after a push
REST = 2  # steps before it


class Probe:
    """Episodes of an environment, from one seed where no other is given.

    Args:
        env: the gymnasium environment, which nothing else uses.
        raw: its description in control mode "raw".
        action: how vectors become its actions.
        observation: how its observations become vectors.
        simulated: whether its MuJoCo model and data are needed.

    Raises:
        WorkspaceError: it shows no MuJoCo model.
        EnvironmentFault: it raises.
    """

    def __init__(
        self,
        env: Any,
        raw: TaskSpec,
        action: ActionLayout,
        observation: ObservationLayout,
        *,
        simulated: bool = True,
    ) -> None:
        self._env, self._action, self._observation, self.spec = env, action, observation, raw
        self._simulated = simulated
        self.middle = (np.array(raw.low) + raw.high) / 2
        self.half = (np.array(raw.high) - raw.low) / 2
        self.reset()

    def reset(self, seed: int = 0) -> None:
        """Begin an episode again, and look model and data up."""
        with _blamed(self._env):
            observation, _ = reset_values(self._env.reset(seed=seed))
        self.over = False
        self._see(observation)
        if not self._simulated:
            return
        found = physics_of(self.inner)
        if found is None:
            raise WorkspaceError(
                f"hands: {type(self.inner).__name__} shows no MuJoCo model (its attributes model and data), which"
                " inverse kinematics needs; name the action part that moves the hand, motion=..., or use"
                " pose=JointTracking(...)"
            )
        self.model, self.data = found

    @property
    def inner(self) -> Any:
        """The environment, unwrapped."""
        return self._env.unwrapped

    def step(self, numbers: Array) -> None:
        """Apply a raw action, whether the episode is over or not."""
        within = np.clip(numbers, self.spec.low, self.spec.high)
        with _blamed(self._env):
            values = step_values(self._env.step(self._action.action(within.astype(np.float32))))
        self.over = bool(values[2] or values[3])
        self._see(values[0])

    def _see(self, observation: Any) -> None:
        self.vector = self._observation.flat(observation)
        self.seen = self.spec.named(self.vector)

    def play(self, actions: Sequence[Array]) -> list[tuple[Array, Array]]:
        """Return copies of ctrl and qpos after the reset and after each raw action."""
        self.reset()
        states = [(self.data.ctrl.copy(), self.data.qpos.copy())]
        for action in actions:
            self.step(action)
            states.append((self.data.ctrl.copy(), self.data.qpos.copy()))
        return states

    def watch(self, actions: Sequence[Array], seed: int = 0) -> Array:
        """Return the observations of an episode, as flat vectors.

        Args:
            actions: raw ones; what comes after the end of the episode is left out.
            seed: of the condition.

        Returns:
            (T + 1, observation_size), the first row of the reset.
        """
        self.reset(seed)
        rows = [self.vector]
        for action in actions:
            if self.over:
                break
            self.step(action)
            rows.append(self.vector)
        return np.array(rows)

    def tracking(self, arm: ArmModel) -> ArmTracking:
        """Begin the episode again, and return what moves its hands."""
        self.reset()
        tracking = ArmTracking(arm)
        tracking.begin(self.inner, self.seen)
        return tracking

    def name(self, kind: str, number: int) -> str:
        """Return the name of a thing of the model.

        Args:
            kind: "joint", "actuator", "site" or "body".
            number: its id.
        """
        return getattr(self.model, kind)(number).name or f"{kind} {number}"


@dataclass(frozen=True, slots=True)
class PushResponse:
    """What pushes of single action numbers changed, against an episode without them.

    Attributes:
        pulse: (n, T, observation_size) changes after a push of one step, for half the range of each number.
        hold: likewise where the push goes on.
    """

    pulse: Array
    hold: Array

    @classmethod
    def of(cls, probe: Probe) -> PushResponse:
        """Push each number both ways.

        Raises:
            WorkspaceError: there are too many numbers, or whole ones, or episodes are short or differ.
        """
        count = len(probe.middle)
        if count > MOST or any(part.whole for part in probe.spec.action):
            what = f"{count} numbers" if count > MOST else "whole numbers"
            raise WorkspaceError(
                f"hands: an action of {what} is not measured, only up to {MOST} real ones; name the action part that"
                " moves the hand, motion=..."
            )
        still = [probe.middle] * (REST + SETTLE)
        rest = probe.watch(still)
        again = probe.watch(still)
        if len(rest) <= REST + 4:
            raise WorkspaceError(
                f"hands: an episode ends after {len(rest) - 1} steps of the middle action, too early to measure what"
                " moves a hand; name the action part that does, motion=..."
            )
        if rest.shape != again.shape or not np.array_equal(rest, again):
            raise WorkspaceError(
                "hands: one seed with the same actions gives two different episodes, so what moves a hand cannot be"
                " measured; seed the environment's random numbers in reset()"
            )
        runs = [[_pushed(probe, rest, number, steps) for number in range(count)] for steps in (1, SETTLE)]
        length = min(len(run) for kind in runs for run in kind)
        return cls(*(np.array([run[:length] for run in kind]) for kind in runs))


def _pushed(probe: Probe, rest: Array, number: int, steps: int) -> Array:
    """Return changes for half the range of a number, the mean of both directions."""
    ways = []
    for way in (PUSH, -PUSH):
        action = probe.middle.copy()
        action[number] += way * probe.half[number]
        pushes = [probe.middle] * REST + [action] * steps + [probe.middle] * (SETTLE - steps)
        seen = probe.watch(pushes)
        length = min(len(seen), len(rest))
        ways.append((seen[:length] - rest[:length])[REST + 1 :] / way)
    length = min(map(len, ways))
    up, down = (way[:length] for way in ways)
    # A joint at its limit answers on one side only.
    large = max(np.abs(up).max(initial=0.0), np.abs(down).max(initial=0.0))
    for one, other in ((up, down), (down, up)):
        if np.abs(one).max(initial=0.0) < 0.1 * large:
            return np.asarray(other)
    return np.asarray((up + down) / 2)


def passed_on(
    spec: TaskSpec, used: Collection[int], fields: list[Field], low: list[float], high: list[float]
) -> Array:
    """Append the action numbers that no hand uses to the layout of an action.

    Args:
        spec: in mode "raw".
        used: raw numbers that hands use.
        fields: of the action in mode "pose"; appended to.
        low: its lower bounds, likewise.
        high: its upper bounds, likewise.

    Returns:
        (2, p) indices of the action and of the raw action.
    """
    passed = []
    for part in spec.action:
        rest = [i for i in range(part.start, part.stop) if i not in used]
        names = [part.name] if len(rest) == part.size else [f"{part.name}_{i - part.start}" for i in rest]
        size = len(rest) // max(1, len(names))
        for i, name in enumerate(names if rest else []):
            start = len(low) + i * size
            fields.append(replace(part, name=name, start=start, stop=start + size))
        passed += [(len(low) + i, number) for i, number in enumerate(rest)]
        low.extend(spec.low[i] for i in rest)
        high.extend(spec.high[i] for i in rest)
    return np.array(passed, int).reshape(-1, 2).T


@contextmanager
def _blamed(env: Any) -> Iterator[None]:
    """Turn what a step raises into EnvironmentFault."""
    try:
        with time_limit(HANG_SECONDS, "step()"):
            yield
    except TraceRobotError:
        raise
    except (Exception, SystemExit) as error:  # a user's or a package's environment may raise anything
        raise EnvironmentFault(
            f"{type(env.unwrapped).__name__} fails where its hands are looked for: {type(error).__name__}: {error}"
        ) from error
