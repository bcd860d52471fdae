"""Search over staged programs; needs no language model."""

from trace_robot.search.staged.measures import measure
from trace_robot.search.staged.search import StagedSearch

__all__ = ["StagedSearch", "measure"]
