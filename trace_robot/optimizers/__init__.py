"""Optimizers of any traced program, by ask and tell."""

from trace_robot.optimizers.cma_es import CMAES
from trace_robot.optimizers.opro import OPRO
from trace_robot.optimizers.optoprime import OptoPrime
from trace_robot.optimizers.problem import Attempt, Candidate, Optimizer, Outcome, ParameterSpec, Problem
from trace_robot.optimizers.published import LLM, FunctionFeedback, node_to_function_feedback
from trace_robot.optimizers.strategies import BestFirst, Latest, Strategy, Trial
from trace_robot.optimizers.tuned import Tuned

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
