"""Scoring one controller on held-out conditions."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from trace_robot.fault import Fault, Limits
from trace_robot.optimizers.problem import Candidate
from trace_robot.policy import Policy
from trace_robot.rollout.engine import BackendName, RolloutEngine
from trace_robot.rollout.episode import Episode
from trace_robot.rollout.evaluation import Evaluator, output_of, wilson
from trace_robot.rollout.feedback import most_telling, require_level
from trace_robot.rollout.seeds import held_out_seeds, training_seeds
from trace_robot.rollout.task import resolve
from trace_robot.versions import versions

if TYPE_CHECKING:
    from trace_robot.trace import Node, ParameterNode


@dataclass(frozen=True, slots=True)
class EvaluationReport:
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


def evaluate(
    task: str,
    policy: Policy,
    *,
    episodes: int = 50,
    seed: int = 0,
    control: str | None = None,
    workers: int | None = None,
    backend: BackendName = "local",
    address: str | None = None,
    trusted: bool = False,
    record: bool = False,
    options: Mapping[str, Any] | None = None,
    engine: RolloutEngine | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> EvaluationReport:
    """Roll a controller out on ``episodes`` held-out conditions of ``seed``; record: keep states for videos.

    options: of the environment, besides control. engine: one to use and leave open, instead of ``workers``.
    """
    policy, spec, options = resolve(task, policy, control, options=options)
    seeds = held_out_seeds(seed, episodes)
    own = RolloutEngine(workers, backend=backend, address=address, trusted=trusted)
    with nullcontext(engine) if engine is not None else own as running:
        trials = Evaluator(running, policy, task, options, seeds)
        scored = trials.score(policy.text, seeds, on_progress, record=record)
    return EvaluationReport(task, policy.name, spec.control, seed, tuple(scored))


@dataclass(frozen=True, slots=True)
class Rollout:
    """What a policy did on its conditions.

    output: the outcome of the most telling episode, a node whose graph leads back to the parameters; None
    where the controller could not even be loaded. feedback: all episodes in words. score: see ``episode_score``.
    """

    output: Node | None
    feedback: str
    success: float
    score: float
    episodes: tuple[Episode, ...]


class Rollouts:
    """Rolls a policy out in worker processes, its controller behind the sandbox; a context manager.

    ``rollouts(parameters)`` runs the policy with the present data of the parameters that ``policy.parameters()`` gave.
    """

    def __init__(
        self, task: str, policy: Policy, *, episodes: int = 5, seed: int = 0, control: str | None = None,
        feedback: str = "outcome", workers: int | None = None, limits: Limits | None = None, trusted: bool = False,
    ) -> None:  # fmt: skip
        self.policy, self.spec, options = resolve(task, policy.require_trainable(), control)
        self.engine = RolloutEngine(workers, trusted=trusted)
        seeds = training_seeds(seed, episodes)
        level = require_level(feedback)
        self._trials = Evaluator(self.engine, self.policy, task, options, seeds, limits or Limits(), level)

    def __call__(self, parameters: Sequence[ParameterNode]) -> Rollout:
        values: dict[str, Any] = {parameter.key: parameter.data for parameter in parameters}
        (trial,) = self._trials.run([Candidate(0, None, values)])
        telling = trial.episodes[most_telling(trial.episodes)]
        job = dataclasses.replace(self._trials.job(trial.text, telling.seed), trace=True)
        (traced,) = self.engine.run([job])
        output = output_of(traced, parameters) if traced.graph else None
        outcome = trial.outcome
        return Rollout(output, outcome.feedback, outcome.success, outcome.score, trial.episodes)

    def close(self) -> None:
        self.engine.close()

    def __enter__(self) -> Rollouts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
