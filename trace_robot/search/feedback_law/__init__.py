"""Feedback laws: data, a fast interpreter and a writer of readable controllers."""

from trace_robot.search.feedback_law.controller import LawController, LawRunner
from trace_robot.search.feedback_law.law import Feedback, FeedbackLaw, Quantity, Sum, check
from trace_robot.search.feedback_law.writer import write

__all__ = [
    "Feedback",
    "FeedbackLaw",
    "LawController",
    "LawRunner",
    "Quantity",
    "Sum",
    "check",
    "write",
]
