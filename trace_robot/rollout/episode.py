"""Job and Episode: a rollout's input and output, as data that crosses processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from trace_robot.fault import Fault, Limits
from trace_robot.spec import Array, Scene, States, TaskSpec
from trace_robot.stats import Returns, Score, measure_of

Ended = Literal["success", "terminated", "time", "error"]
Record = bool | Literal["decisions"]


@dataclass(frozen=True, slots=True)
class Job:
    """One episode to run. The fields are hashed into journals of runs, in this order.

    Attributes:
        env: the name that ``load_env`` takes.
        seed: the initial condition.
        options: keyword arguments of ``load_env`` (``control``, ``horizon``, ...).
        controller: a policy's text, run in the sandbox.
        program: in place of it, a controller as data, run in the worker.
        trace: return the graph.
        record: return simulator states, for rendering: about 30 a simulated second, or "decisions": one at the
            beginning and one after each decision, as a data set with pictures needs them.
        observe: return observations.
        rewards: compute the reward.
        measure: compute the measures of the built-in search, in the worker.
        level: of the feedback, which decides the ``series`` of the episode.
        limits: time and memory of the controller.
    """

    env: str
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    controller: str | None = None
    program: Mapping[str, Any] | None = None
    trace: bool = False
    record: Record = False
    observe: bool = False
    rewards: bool = True
    measure: bool = False
    level: str = "outcome"
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Episode:
    """One rollout's trajectory and how it ended. T is the number of decisions taken.

    Attributes:
        seed: the initial condition.
        ended: "success", "terminated" (by the environment, without success), "time" or "error".
        steps: simulator control steps; with pose control several a decision.
        rewards: (T,), unscaled.
        actions: (T, act_dim), as the environment applied them.
        observations: (T + 1, obs_dim), the last row seen after the last action; empty unless asked for.
        fault: which error, and on which line; None unless ended is "error".
        infos: named numbers of the last step.
        measures: what the built-in search asked for.
        series: what the feedback level asks for, by name (see ``trace_robot.rollout.feedback``).
        graph: the traced episode as records (see ``trace_robot.trace.serialization``), empty unless traced.
        scene, states: for rendering, None unless recorded.
        printed: what the controller printed.
        seconds: wall clock.
        return_threshold: the total reward that counts as success, None where the environment reports success.
    """

    seed: int
    ended: Ended
    steps: int
    rewards: Array
    actions: Array
    observations: Array
    fault: Fault | None = None
    infos: Mapping[str, float] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, Array] = field(default_factory=dict)
    graph: Sequence[Mapping[str, Any]] = ()
    scene: Scene | None = None
    states: States | None = None
    printed: str = ""
    seconds: float = 0.0
    return_threshold: float | None = None

    @property
    def decisions(self) -> int:
        return int(self.rewards.shape[0])

    @property
    def charged_steps(self) -> int:
        """Simulator steps charged to a budget, one at least where the environment failed.

        A step that raised or exploded is a step too, or a budget of steps would never be spent on these.
        """
        failed = self.fault is not None and (
            self.fault.category == "environment" or self.fault.of_environment
        )
        return max(self.steps, int(failed))

    @property
    def success(self) -> bool:
        return self.ended == "success"

    @property
    def total_reward(self) -> float:
        return float(self.rewards.sum())


def score_of(episodes: Sequence[Episode], spec: TaskSpec | None = None) -> Score:
    """Return success and return of episodes, at least one.

    Args:
        episodes: of one controller.
        spec: of their environment, which decides what is shown.
    """
    rate = sum(episode.success for episode in episodes) / len(episodes)
    measure = "success" if spec is None else measure_of(spec.success, spec.return_threshold)
    return Score(rate, len(episodes), Returns.of(e.total_reward for e in episodes), measure)
