"""What a run is asked for, what it tells on the way and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from trace_robot.fault import Limits

if TYPE_CHECKING:
    pass

EPISODES = 5


@dataclass(frozen=True, slots=True)
class Settings:
    """What to optimize and how.

    policy: a name or a path. optimizer: "auto", "optoprime", "opro", "search" or "cma". iterations: None for the
    optimizer's own default. episodes: training conditions of a candidate, 0 for the optimizer's own default;
    confirm: further ones for a candidate that solves these. held_out: conditions of the final score.
    control: "pose" or "raw", None for what the policy says; usual_control where it says nothing.
    workers, backend, address: where rollouts run, see ``trace_robot.rollout.RolloutEngine``.
    options: of the environment, besides control. feedback: its level, see ``trace_robot.rollout.feedback``.
    seconds: wall-clock budget of the optimization; steps: budget of simulator steps, which unlike the clock stops
    every repetition at the same candidate. tune: CMA-ES on numbers between two proposals of a model.
    """

    task: str
    policy: str = "do_nothing"
    optimizer: str = "auto"
    iterations: int | None = None
    episodes: int = 0
    confirm: int = 10
    seed: int = 0
    workers: int | None = None
    backend: Literal["local", "ray"] = "local"
    address: str | None = None
    control: str | None = None
    usual_control: str = "pose"
    held_out: int = 50
    options: Mapping[str, Any] = field(default_factory=dict)
    feedback: str = "outcome"
    seconds: float | None = None
    steps: int | None = None
    tune: bool = True
    video: bool = True
    trusted: bool = False
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Settings:
        """Return what ``dataclasses.asdict`` made plain; raise TypeError for a field that is not known."""
        return cls(**{**data, "limits": Limits(**data["limits"])})


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to; the fields of result.json.

    held_out_interval: 95 % Wilson interval of the success; held_out_return: mean total reward. candidates: how many
    were tried. seconds: of the optimization, without the held-out episodes. ended: why it stopped. money: None where
    no prices were given.
    """

    task: str
    optimizer: str
    feedback_level: str
    control: str
    seed: int
    policy: str
    start_success: float
    training_success: float
    training_episodes: int
    held_out_success: float
    held_out_return: float
    held_out_episodes: int
    held_out_interval: tuple[float, float]
    iterations: int
    best_iteration: int
    candidates: int
    environment_steps: int
    model_calls: int
    tokens: int
    seconds: float
    ended: str
    versions: Mapping[str, str]
    money: float | None = None
