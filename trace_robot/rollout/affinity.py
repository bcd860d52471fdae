"""Keeping a worker and its controller's process on one processor.

One of the two always waits for the other, so they lose nothing by sharing. On two processors every message wakes an
idle one, which on a virtual machine takes longer than most controllers do; on one it is a switch of processes.
"""

from __future__ import annotations

import contextlib
import os
import time

LOOK_EVERY = 0.5  # seconds between two looks at how long this process was kept waiting
CROWDED = (
    0.2  # share of the time spent waiting for others than its neighbour from which it gives the processor up
)
AWAY = 1.0  # seconds


class SharedCpu:
    """A processor for this process and one other, given up for a while when somebody else wants it too.

    Does nothing where the system does not tell how long a process waited for its processor.
    """

    def __init__(self) -> None:
        self._allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        self._useful = len(self._allowed) > 1 and _waited() is not None
        self._seated = False
        self._other = 0
        self._looked = self._back = 0.0
        self._waited = 0.0

    def take(self, other: int) -> None:
        """Share a processor with the process ``other``; call it again whenever there is time, and for a new one."""
        if not self._useful:
            return
        now = time.monotonic()
        if self._seated and now - self._looked > LOOK_EVERY:
            waited, before, since = self._kept_waiting(), self._waited, self._looked
            self._looked, self._waited = now, waited
            if waited - before > CROWDED * (now - since):
                self.leave()
                self._back = now + AWAY
        if now >= self._back and not self._seated:
            self._sit({_processor()} & self._allowed or self._allowed, other)
            self._looked, self._waited = now, self._kept_waiting()
        elif other != self._other:
            self._move(other, os.sched_getaffinity(0))
            self._other = other
            self._looked, self._waited = now, self._kept_waiting()

    def leave(self) -> None:
        """Go wherever the system likes again."""
        if self._seated:
            self._sit(self._allowed, self._other)

    def _sit(self, processors: set[int], other: int) -> None:
        self._move(0, processors)
        self._move(other, processors)
        self._other = other
        self._seated = processors != self._allowed

    def _kept_waiting(self) -> float:
        """Return the seconds for which somebody else had the processor that this process could have used."""
        try:  # the clock of another process, as clock_getcpuclockid(3) makes it
            return (_waited() or 0.0) - time.clock_gettime((~self._other << 3) | 2)
        except OSError:
            return 0.0

    def _move(self, process: int, processors: set[int]) -> None:
        with contextlib.suppress(OSError):  # it has ended, or this system does not let us
            os.sched_setaffinity(process, processors)


def _waited() -> float | None:
    """Return the seconds that this thread has waited while it could have run; None if nobody counts them."""
    try:
        with open("/proc/thread-self/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1]) * 1e-9
    except (OSError, ValueError, IndexError):
        return None


def _processor() -> int:
    """Return the number of the processor that this thread is on."""
    with open("/proc/thread-self/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[36])
