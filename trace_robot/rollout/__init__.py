"""Rollouts: seeded episodes in worker processes, with scores and feedback.

Names are imported when they are first used (PEP 562): a worker is a module of this package, and must not load what
starts workers, optimizers and the client of a model with it, which took half of its start.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trace_robot.rollout.engine import RolloutEngine
    from trace_robot.rollout.episode import Episode, Job
    from trace_robot.rollout.evaluate import EvaluationReport, Rollout, Rollouts, evaluate
    from trace_robot.rollout.evaluation import Evaluation, Evaluator
    from trace_robot.rollout.feedback import feedback
    from trace_robot.rollout.task import Task
    from trace_robot.settings import held_out_seeds, training_seeds

_HOMES = {
    "rollout.engine": ("RolloutEngine",),
    "rollout.episode": ("Episode", "Job"),
    "rollout.evaluate": ("EvaluationReport", "Rollout", "Rollouts", "evaluate"),
    "rollout.evaluation": ("Evaluation", "Evaluator"),
    "rollout.feedback": ("feedback",),
    "rollout.task": ("Task",),
    "settings": ("held_out_seeds", "training_seeds"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

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


class _Package(ModuleType):
    """Keeps a function where the import of a module of its name would hide it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and name in _HOME_OF:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


if not TYPE_CHECKING:  # a type checker that saw it would take any name for one of the package

    def __getattr__(name: str) -> Any:
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"trace_robot.{_HOME_OF[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
