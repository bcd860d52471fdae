"""An episode's graph for the report: a picture of its last step where graphviz is installed, and the folded text."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from trace_robot.errors import TraceRobotError
from trace_robot.optimize.fold import render_graph
from trace_robot.run.report.text import data_address, visible

TOKENS = 2_000
MOST_DRAWN = 60
Records = Sequence[Mapping[str, Any]]


def show(records: Records) -> tuple[str, str]:
    """Return the picture as a data address, "" where there is none, and the text."""
    parts = render_graph(records, TOKENS)
    return _picture(records), "\n\n".join(f"{name}\n{text}" for name, text in parts.items())


def _picture(records: Records) -> str:
    from trace_robot.trace.drawing import draw_nodes
    from trace_robot.trace.records import from_records

    try:
        nodes = from_records(_last(records))
        svg = draw_nodes(nodes.values(), outputs=list(nodes.values())[-1:]).svg()
    except (TraceRobotError, subprocess.SubprocessError, OSError):
        return ""
    return data_address("image/svg+xml", visible(svg, len(svg)).encode())


def _last(records: Records) -> list[Mapping[str, Any]]:
    """Return what the last record was made from, the nearest ``MOST_DRAWN``."""
    by_id = {record["id"]: record for record in records}
    found: dict[int, None] = {}
    waiting = [records[-1]["id"]]
    while waiting and len(found) < MOST_DRAWN:
        each = waiting.pop(0)
        if each not in found:
            found[each] = None
            waiting += by_id[each]["inputs"].values()
    return [
        {**record, "inputs": {key: parent for key, parent in record["inputs"].items() if parent in found}}
        for record in records if record["id"] in found
    ]  # fmt: skip
