"""The names of ``runs`` that ``optimize`` and ``resume`` still use."""

from trace_robot.cli.runs import RUNS as RUNS
from trace_robot.cli.runs import find_run as find
from trace_robot.cli.runs import name_of as name_of
from trace_robot.cli.runs import runs_folder as runs_folder

__all__ = ["RUNS", "find", "name_of", "runs_folder"]
