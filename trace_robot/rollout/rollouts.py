"""Rollouts for a loop of one's own: parameters in; output node, feedback and success out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from trace_robot.optimize.problem import Candidate
from trace_robot.policy import Policy
from trace_robot.rollout.conditions import training_seeds
from trace_robot.rollout.engine import Engine
from trace_robot.rollout.episode import Episode
from trace_robot.rollout.evaluate import resolve
from trace_robot.rollout.feedback import most_telling
from trace_robot.rollout.levels import require_level
from trace_robot.rollout.trial import Trials, output_of
from trace_robot.sandbox.types import Limits

if TYPE_CHECKING:
    from trace_robot.trace import Node, ParameterNode


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
        self.engine = Engine(workers, trusted=trusted)
        seeds = training_seeds(seed, episodes)
        level = require_level(feedback)
        self._trials = Trials(self.engine, self.policy, task, options, seeds, limits or Limits(), level)

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
