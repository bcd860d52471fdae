"""A resumable benchmark: tasks and seeds under one protocol, as table and plot."""

from trace_robot.bench.plan import PAPER, PROTOCOLS, Plan, Protocol, select
from trace_robot.bench.results import ResultRow, Results, read_rows
from trace_robot.bench.run import Finished, Running, bench

__all__ = [
    "PAPER",
    "PROTOCOLS",
    "Finished",
    "Plan",
    "Protocol",
    "ResultRow",
    "Results",
    "Running",
    "bench",
    "read_rows",
    "select",
]
