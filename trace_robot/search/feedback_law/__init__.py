"""Feedback laws: data, a fast interpreter and a writer of readable controllers."""

from trace_robot.search.feedback_law.interpreter import Runner, start
from trace_robot.search.feedback_law.law import Feedback, Law, Quantity, Sum, check, is_law
from trace_robot.search.feedback_law.writer import write

__all__ = ["Feedback", "Law", "Quantity", "Runner", "Sum", "check", "is_law", "start", "write"]
