"""Optimizers of any traced program, by ask and tell.

Names are imported when they are first used (PEP 562): a rollout worker imports ``trace_robot.optimizers.problem`` and
must not load CMA-ES and the client of a model with it, which took a third of its start.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trace_robot.optimizers.cma_es import CMAES
    from trace_robot.optimizers.opro import OPRO
    from trace_robot.optimizers.optoprime import OptoPrime
    from trace_robot.optimizers.problem import Attempt, Candidate, Optimizer, Outcome, ParameterSpec, Problem
    from trace_robot.optimizers.published import LLM, FunctionFeedback, node_to_function_feedback
    from trace_robot.optimizers.strategies import BestFirst, Latest, Strategy, Trial
    from trace_robot.optimizers.tuned import Tuned

_HOMES = {
    "cma_es": ("CMAES",),
    "opro": ("OPRO",),
    "optoprime": ("OptoPrime",),
    "problem": ("Attempt", "Candidate", "Optimizer", "Outcome", "ParameterSpec", "Problem"),
    "published": ("LLM", "FunctionFeedback", "node_to_function_feedback"),
    "strategies": ("BestFirst", "Latest", "Strategy", "Trial"),
    "tuned": ("Tuned",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

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

    def __getattr__(name: str) -> Any:
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
