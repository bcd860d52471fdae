"""What goes into a rollout and what comes out, as plain data that crosses processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from trace_robot.fault import Fault, Limits
from trace_robot.spec import Array, Scene, States

Ended = Literal["success", "terminated", "time", "error"]


@dataclass(frozen=True, slots=True)
class Job:
    """One episode to run.

    env: the name that ``load_env`` takes, options its keyword arguments (``control``, ``horizon``, ...).
    seed: the initial condition. controller: policy text, run in the sandbox; program: a staged program as
    plain data, run in the worker (exactly one of the two).
    trace: bring the graph back; record: bring states for rendering back; observe: bring observations back;
    rewards: compute the reward. measure: numbers that the program search takes from the episode, in the worker.
    level: the feedback level, which decides what ``series`` the episode brings back.
    """

    env: str
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    controller: str | None = None
    program: Mapping[str, Any] | None = None
    trace: bool = False
    record: bool = False
    observe: bool = False
    rewards: bool = True
    measure: bool = False
    level: str = "outcome"
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Episode:
    """What one rollout left behind; T is the number of decisions taken.

    observations: (T + 1, obs_dim), the last row seen after the last action; empty unless asked for.
    actions: (T, act_dim), as the environment applied them. rewards: (T,), unscaled.
    ended: "success", "terminated" (by the environment, without success), "time" or "error"; for "error",
    ``fault`` says which and where. return_threshold: the total reward that counts as success, where one does.
    steps: simulator control steps. infos: named numbers of the last step; measures: what the job asked for.
    series: what the feedback level asks for, by name (see ``trace_robot.rollout.feedback``).
    graph: the traced episode as records (see ``trace_robot.trace.serialization``), empty unless traced.
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
    def success(self) -> bool:
        return self.ended == "success"

    @property
    def total_reward(self) -> float:
        return float(self.rewards.sum())
