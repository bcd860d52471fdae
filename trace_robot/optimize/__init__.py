"""Optimizers of any traced program: ask for candidates, evaluate them, tell the outcomes."""

from trace_robot.optimize.cma_es import CMAES
from trace_robot.optimize.opro import OPRO
from trace_robot.optimize.optoprime import Attempt, OptoPrime
from trace_robot.optimize.problem import Candidate, Optimizer, Outcome, ParameterSpec, Problem
from trace_robot.optimize.trial import BestFirst, Latest, Strategy, Trial
from trace_robot.optimize.tuned import Tuned

__all__ = [
    "CMAES",
    "OPRO",
    "Attempt",
    "BestFirst",
    "Candidate",
    "Latest",
    "Optimizer",
    "OptoPrime",
    "Outcome",
    "ParameterSpec",
    "Problem",
    "Strategy",
    "Trial",
    "Tuned",
]
