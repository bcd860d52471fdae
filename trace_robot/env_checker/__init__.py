"""Checking an environment from outside: in a process of its own, with a deadline, each finding with its remedy."""

from trace_robot.env_checker.checker import Examined, Finding, Verdict, examine

__all__ = ["Examined", "Finding", "Verdict", "examine"]
