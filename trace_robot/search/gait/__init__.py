"""Gaits: rhythm and memory as data, a fast interpreter and a writer of readable controllers."""

from trace_robot.search.gait.controller import GaitController, write
from trace_robot.search.gait.gait import Balance, Gait, GaitRunner, Joint, Truncation, check

__all__ = ["Balance", "Gait", "GaitController", "GaitRunner", "Joint", "Truncation", "check", "write"]
