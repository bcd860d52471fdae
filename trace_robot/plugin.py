"""The names of 0.1.0 for plug-in files, which stay valid; new files import from ``trace_robot``."""

from trace_robot.env import Environment, HandTracking, JointTracking, Part, Transition, part, skip

__all__ = ["Environment", "HandTracking", "JointTracking", "Part", "Transition", "part", "skip"]
