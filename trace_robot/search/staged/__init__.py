"""Staged programs: data, a fast interpreter and a writer of readable controllers."""

from trace_robot.search.staged.interpreter import Runner, start
from trace_robot.search.staged.program import Place, Program, Stage, check
from trace_robot.search.staged.writer import code, write

__all__ = ["Place", "Program", "Runner", "Stage", "check", "code", "start", "write"]
