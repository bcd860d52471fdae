"""Policies: controllers as text, their trainable parameters, their OPTO problem."""

from trace_robot.policy.parameters import ParameterSite
from trace_robot.policy.policy import Policy, load_policy
from trace_robot.policy.running import GymnasiumPolicy, PolicyRunner, as_gymnasium_policy

__all__ = ["GymnasiumPolicy", "ParameterSite", "Policy", "PolicyRunner", "as_gymnasium_policy", "load_policy"]
