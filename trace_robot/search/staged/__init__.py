"""Staged programs: data, a fast interpreter and a writer of readable controllers."""

from trace_robot.search.staged.controller import StagedController, StagedRunner, measure
from trace_robot.search.staged.program import Rest, Stage, StagedProgram, Waypoint, check
from trace_robot.search.staged.writer import code, write

__all__ = [
    "Rest",
    "Stage",
    "StagedController",
    "StagedProgram",
    "StagedRunner",
    "Waypoint",
    "check",
    "code",
    "measure",
    "write",
]
