"""Gaits: rhythm and memory as data, a fast interpreter and a writer of readable controllers."""

from trace_robot.search.gait.controller import GaitController, GaitRunner
from trace_robot.search.gait.gait import Balance, Gait, Joint, Truncation, check
from trace_robot.search.gait.writer import write

__all__ = ["Balance", "Gait", "GaitController", "GaitRunner", "Joint", "Truncation", "check", "write"]
