"""Rollouts: seeded episodes in worker processes, with scores and feedback.

Names are imported when they are first used (PEP 562): a worker is a module of this package, and must not load what
starts workers, optimizers and the client of a model with it, which took half of its start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trace_robot.lazy_names import lazy_names

if TYPE_CHECKING:
    from trace_robot.rollout.engine import RolloutEngine
    from trace_robot.rollout.episode import Episode, Job
    from trace_robot.rollout.evaluate import EvaluationReport, Rollout, Rollouts
    from trace_robot.rollout.evaluation import Evaluation, Evaluator
    from trace_robot.rollout.task import Task
    from trace_robot.settings import held_out_seeds, training_seeds

_HOMES = {
    "rollout.engine": ("RolloutEngine",),
    "rollout.episode": ("Episode", "Job"),
    "rollout.evaluate": ("EvaluationReport", "Rollout", "Rollouts"),
    "rollout.evaluation": ("Evaluation", "Evaluator"),
    "rollout.task": ("Task",),
    "settings": ("held_out_seeds", "training_seeds"),
}

__all__ = [
    "Episode",
    "Evaluation",
    "EvaluationReport",
    "Evaluator",
    "Job",
    "Rollout",
    "RolloutEngine",
    "Rollouts",
    "Task",
    "held_out_seeds",
    "training_seeds",
]


if not TYPE_CHECKING:  # a type checker that saw it would take any name for one of the package
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
