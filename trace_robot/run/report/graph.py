"""An episode's graph for the report: folded, as a picture where graphviz is installed, and as text."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from trace_robot.errors import TraceRobotError
from trace_robot.optimize.fold import render_graph
from trace_robot.run.report.text import data_address, visible

TOKENS = 3_000
Records = Sequence[Mapping[str, Any]]


def show(records: Records) -> tuple[str, str]:
    """Return the picture as a data address, "" where there is none, and the text."""
    parts = render_graph(records, TOKENS)
    return _picture(records), "\n\n".join(f"{name}\n{text}" for name, text in parts.items())


def _picture(records: Records) -> str:
    from trace_robot.optimize.picture import draw_folded

    try:
        svg = draw_folded(records).svg()
    except (TraceRobotError, subprocess.SubprocessError, OSError):
        return ""  # no graphviz, or nothing that it can draw: the text says the same
    return data_address("image/svg+xml", visible(svg, len(svg)).encode())
