"""Rollouts: seeded episodes in worker processes, with scores and feedback."""

from trace_robot.rollout.engine import RolloutEngine
from trace_robot.rollout.episode import Episode, Job
from trace_robot.rollout.evaluate import EvaluationReport, Rollout, Rollouts, evaluate
from trace_robot.rollout.evaluation import Evaluation, Evaluator
from trace_robot.rollout.feedback import feedback
from trace_robot.rollout.task import Task
from trace_robot.settings import held_out_seeds, training_seeds

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
    "evaluate",
    "feedback",
    "held_out_seeds",
    "training_seeds",
]
