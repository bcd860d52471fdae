"""Staged programs: data, a fast interpreter and a writer of readable controllers."""

from trace_robot.search.staged.interpreter import StagedRunner, start
from trace_robot.search.staged.program import Stage, StagedProgram, Waypoint, check
from trace_robot.search.staged.writer import code, write

__all__ = ["Stage", "StagedProgram", "StagedRunner", "Waypoint", "check", "code", "start", "write"]
