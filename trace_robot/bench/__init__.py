"""A resumable benchmark: tasks and seeds under one protocol, as table and plot."""

from trace_robot.bench.report import PAPER
from trace_robot.bench.results import PROTOCOLS, Plan, Protocol, ResultRow, Results, read_rows, select
from trace_robot.bench.run import Finished, Running, bench, pack_answers

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
    "pack_answers",
    "read_rows",
    "select",
]
