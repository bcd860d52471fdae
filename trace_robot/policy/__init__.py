"""Policies: controllers as text, their trainable parameters, the OPTO problem."""

from trace_robot.policy.parameters import ParameterSite
from trace_robot.policy.policy import Policy, load_policy

__all__ = ["ParameterSite", "Policy", "load_policy"]
