"""Staged programs: data, a fast interpreter and a writer of readable controllers."""

from trace_robot.program.data import Place, Program, Stage, check
from trace_robot.program.interpreter import Runner, start
from trace_robot.program.writer import code, write

__all__ = ["Place", "Program", "Runner", "Stage", "check", "code", "start", "write"]
