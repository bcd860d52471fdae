"""The published ``GRAPH``: here it holds no nodes, and can only restart their names."""

from __future__ import annotations

from trace_robot.trace.naming import restart
from trace_robot.trace.state import is_tracing


class Graph:
    """``clear()`` lets names count from 0 again; graphs live as long as somebody holds their outputs."""

    @property
    def TRACE(self) -> bool:  # noqa: N802 - the published name
        return is_tracing()

    def clear(self) -> None:
        restart()


GRAPH = Graph()
