"""Search over feedback laws; needs no language model and no named positions."""

from trace_robot.optimize.laws.finalists import POOL
from trace_robot.optimize.laws.search import LawSearch

__all__ = ["POOL", "LawSearch"]
