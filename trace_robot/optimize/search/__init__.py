"""Search over staged programs; needs no language model."""

from trace_robot.optimize.search.measure import measure
from trace_robot.optimize.search.search import ProgramSearch

__all__ = ["ProgramSearch", "measure"]
