"""Environments: what a file in envs/ declares, and the adapters made of it.

from trace_robot import Environment, part

ENVIRONMENTS = [Environment("Pusher-v5", "Push the cylinder to the goal.")]
"""

from trace_robot.env.declaration import Environment, Hand, Part, Transition, part, skip
from trace_robot.env.tracking import HandTracking, JointTracking

__all__ = ["Environment", "Hand", "HandTracking", "JointTracking", "Part", "Transition", "part", "skip"]
