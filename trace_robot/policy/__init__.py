"""Policies: a controller as text, its trainable parameters, and the OPTO problem they pose."""

from trace_robot.policy.parameters import ParameterSite
from trace_robot.policy.policy import Policy, load_policy

__all__ = ["ParameterSite", "Policy", "load_policy"]
