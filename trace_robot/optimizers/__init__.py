"""Optimizers of any traced program, by ask and tell.

Names are imported when they are first used (PEP 562): a rollout worker imports ``trace_robot.optimizers.problem`` and
must not load CMA-ES and the client of a model with it, which took a third of its start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trace_robot.lazy_names import lazy_names

if TYPE_CHECKING:
    from trace_robot.optimizers.cma_es import CMAES
    from trace_robot.optimizers.opro import OPRO
    from trace_robot.optimizers.optoprime import OptoPrime
    from trace_robot.optimizers.problem import Attempt, Candidate, Optimizer, Outcome, ParameterSpec, Problem
    from trace_robot.optimizers.published import LLM, FunctionFeedback, node_to_function_feedback
    from trace_robot.optimizers.strategies import BestFirst, Latest, Strategy, Trial
    from trace_robot.optimizers.tuned import Tuned

_HOMES = {
    "optimizers.cma_es": ("CMAES",),
    "optimizers.opro": ("OPRO",),
    "optimizers.optoprime": ("OptoPrime",),
    "optimizers.problem": ("Attempt", "Candidate", "Optimizer", "Outcome", "ParameterSpec", "Problem"),
    "optimizers.published": ("LLM", "FunctionFeedback", "node_to_function_feedback"),
    "optimizers.strategies": ("BestFirst", "Latest", "Strategy", "Trial"),
    "optimizers.tuned": ("Tuned",),
}

__all__ = [
    "CMAES",
    "LLM",
    "OPRO",
    "Attempt",
    "BestFirst",
    "Candidate",
    "FunctionFeedback",
    "Latest",
    "Optimizer",
    "OptoPrime",
    "Outcome",
    "ParameterSpec",
    "Problem",
    "Strategy",
    "Trial",
    "Tuned",
    "node_to_function_feedback",
]


if not TYPE_CHECKING:  # a type checker that saw it would take any name for one of the package
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
