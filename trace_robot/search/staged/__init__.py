"""Staged programs: data, a fast interpreter and a writer of readable controllers."""

from trace_robot.search.staged.controller import StagedController, StagedRunner, measure, run
from trace_robot.search.staged.program import (
    Condition,
    Move,
    Rest,
    Stage,
    StagedProgram,
    Turn,
    Waypoint,
    check,
)
from trace_robot.search.staged.writer import code, write

__all__ = [
    "Condition",
    "Move",
    "Rest",
    "Stage",
    "StagedController",
    "StagedProgram",
    "StagedRunner",
    "Turn",
    "Waypoint",
    "check",
    "code",
    "measure",
    "run",
    "write",
]
