"""Runs that are killed: an ``on_event`` that raises what no handler catches."""

from __future__ import annotations

from collections.abc import Callable

from trace_robot.run.loop import Event


class Killed(BaseException):
    """As abrupt as a test in one process can be: no handler catches it."""


def killing(wanted: type[Event], count: int, error: type[BaseException] = Killed) -> Callable[[Event], None]:
    """Return an ``on_event`` that raises an error at one event.

    Args:
        wanted: the kind of event.
        count: which one of that kind, from 1.
        error: that is raised.
    """
    seen = 0

    def observe(event: Event) -> None:
        nonlocal seen
        seen += isinstance(event, wanted)
        if seen == count:
            raise error

    return observe
