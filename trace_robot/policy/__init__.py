"""Policies: a controller as text, its trainable parameters, and the OPTO problem they pose."""

from trace_robot.policy.parameters import Place
from trace_robot.policy.policy import Policy, load_policy

__all__ = ["Place", "Policy", "load_policy"]
