"""Scoring one controller on held-out conditions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

from trace_robot.policy import Policy
from trace_robot.rollout.conditions import held_out_seeds
from trace_robot.rollout.engine import Backend, Engine
from trace_robot.rollout.episode import Episode
from trace_robot.rollout.outcome import wilson
from trace_robot.rollout.trial import Trials
from trace_robot.sandbox.types import Fault
from trace_robot.spec import EnvSpec
from trace_robot.versions import versions

DEFAULT_CONTROL = "pose"


@dataclass(frozen=True, slots=True)
class Report:
    """A controller's episodes on held-out conditions. interval: 95 % Wilson interval of the success rate."""

    task: str
    policy: str
    control: str
    seed: int
    episodes: tuple[Episode, ...]

    @property
    def successes(self) -> int:
        return sum(episode.success for episode in self.episodes)

    @property
    def success(self) -> float:
        return self.successes / len(self.episodes)

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.successes, len(self.episodes))

    @property
    def faults(self) -> list[tuple[Fault, int]]:
        """The different faults, most frequent first, with how many episodes each ended."""
        return Counter(e.fault for e in self.episodes if e.fault is not None).most_common()

    def to_data(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "policy": self.policy,
            "control": self.control,
            "seed": self.seed,
            "success": self.success,
            "episodes": len(self.episodes),
            "interval": list(self.interval),
            "mean_reward": sum(e.total_reward for e in self.episodes) / len(self.episodes),
            "mean_steps": sum(e.steps for e in self.episodes) / len(self.episodes),
            "ended": dict(Counter(episode.ended for episode in self.episodes)),
            "faults": [{**asdict(fault), "episodes": count} for fault, count in self.faults],
            "conditions": [
                {"seed": e.seed, "ended": e.ended, "steps": e.steps, "reward": e.total_reward}
                for e in self.episodes
            ],
            "versions": versions(),
        }


def resolve(
    task: str,
    policy: Policy,
    control: str | None = None,
    usual: str = DEFAULT_CONTROL,
    options: Mapping[str, Any] | None = None,
) -> tuple[Policy, EnvSpec, dict[str, Any]]:
    """Return the policy fixed to a control mode, the environment's description and its options.

    control: None for what the policy says, else ``usual`` where the environment has that, else its only one. options:
    others of the environment. An environment that is merely declared is made once, to see its spaces.
    """
    from trace_robot.workspace import controls, describe

    policy.require_act()
    modes = controls(task)
    chosen = {
        "control": control or policy.control or (usual if usual in modes else modes[-1]),
        **(options or {}),
    }
    about = describe(task, **chosen)
    policy = policy.with_control(chosen["control"]).with_names().with_action_size(about.action_size)
    return policy, about, chosen


def evaluate(
    task: str,
    policy: Policy,
    *,
    episodes: int = 50,
    seed: int = 0,
    control: str | None = None,
    workers: int | None = None,
    backend: Backend = "local",
    address: str | None = None,
    trusted: bool = False,
    record: bool = False,
    options: Mapping[str, Any] | None = None,
    engine: Engine | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Roll a controller out on ``episodes`` held-out conditions of ``seed``; record: keep states for videos.

    options: of the environment, besides control. engine: one to use and leave open, instead of ``workers``.
    """
    policy, spec, options = resolve(task, policy, control, options=options)
    seeds = held_out_seeds(seed, episodes)
    own = Engine(workers, backend=backend, address=address, trusted=trusted)
    with nullcontext(engine) if engine is not None else own as running:
        trials = Trials(running, policy, task, options, seeds)
        scored = trials.score(policy.text, seeds, on_progress, record=record)
    return Report(task, policy.name, spec.control, seed, tuple(scored))
