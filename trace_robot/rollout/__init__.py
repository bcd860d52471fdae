"""Rollouts: seeded episodes in worker processes, outcomes and feedback in words."""

from trace_robot.rollout.engine import RolloutEngine
from trace_robot.rollout.episode import Episode, Job
from trace_robot.rollout.evaluate import EvaluationReport, Rollout, Rollouts, evaluate
from trace_robot.rollout.feedback import feedback
from trace_robot.rollout.seeds import held_out_seeds, training_seeds

__all__ = [
    "Episode",
    "EvaluationReport",
    "Job",
    "Rollout",
    "RolloutEngine",
    "Rollouts",
    "evaluate",
    "feedback",
    "held_out_seeds",
    "training_seeds",
]
