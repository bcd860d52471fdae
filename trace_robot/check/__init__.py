"""Checking an environment from outside: in a process of its own, with a deadline, each finding with its remedy."""

from trace_robot.check.findings import Finding, Verdict
from trace_robot.check.inspector import Examined, examine

__all__ = ["Examined", "Finding", "Verdict", "examine"]
