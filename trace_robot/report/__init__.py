"""Reports: the page of a run as files or served, from what the store holds."""

from trace_robot.report.server import Watch
from trace_robot.report.write import Written, write_report

__all__ = ["Watch", "Written", "write_report"]
