"""CPU affinity: a worker and its controller's process on one processor.

One of the two always waits for the other, so they lose nothing by sharing. On two processors every message wakes an
idle one, which on a virtual machine takes longer than most controllers do; on one it is a context switch.
"""

from __future__ import annotations

import contextlib
import os
import time

LOOK_EVERY = 0.5  # seconds between two reads of the scheduler's counters
CONTENDED = (
    0.2  # part of the time that this process waits for a third one, from which it releases the processor
)
AWAY = 1.0  # seconds until it is pinned again


class SharedCpu:
    """Pins two processes to one CPU, and releases them while it is contended.

    Does nothing where the system does not report how long a process waited for a CPU, or where there is one CPU only.
    """

    def __init__(self) -> None:
        self._allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        # Linux counts run-queue time in schedstat only if it was built with it; macOS and Windows never do.
        self._useful = len(self._allowed) > 1 and _waited() is not None
        self._pinned = False
        self._other = 0
        self._looked = self._back = 0.0
        self._waited = 0.0

    def pin(self, other: int) -> None:
        """Share a processor with the process ``other``.

        Call it often: it is cheap, follows a new process, and measures the contention.
        """
        if not self._useful:
            return
        now = time.monotonic()
        if self._pinned and now - self._looked > LOOK_EVERY:
            waited, before, since = self._kept_waiting(), self._waited, self._looked
            self._looked, self._waited = now, waited
            if waited - before > CONTENDED * (now - since):
                self.release()
                self._back = now + AWAY
        if now >= self._back and not self._pinned:
            self._assign({_processor()} & self._allowed or self._allowed, other)
            self._looked, self._waited = now, self._kept_waiting()
        elif other != self._other:
            self._move(other, os.sched_getaffinity(0))
            self._other = other
            self._looked, self._waited = now, self._kept_waiting()

    def release(self) -> None:
        """Let the scheduler place both processes again."""
        if self._pinned:
            self._assign(self._allowed, self._other)

    def _assign(self, processors: set[int], other: int) -> None:
        self._move(0, processors)
        self._move(other, processors)
        self._other = other
        self._pinned = processors != self._allowed

    def _kept_waiting(self) -> float:
        """Return the seconds for which a third process had the CPU.

        It is the time in the run queue without the time for which the other process of the pair ran.
        """
        try:  # the CPU clock of another process, by the number that clock_getcpuclockid(3) computes
            return (_waited() or 0.0) - time.clock_gettime((~self._other << 3) | 2)
        except OSError:
            return 0.0

    def _move(self, process: int, processors: set[int]) -> None:
        with contextlib.suppress(OSError):  # it has ended, or changing its affinity is not permitted
            os.sched_setaffinity(process, processors)


def _waited() -> float | None:
    """Return the seconds this thread spent in the run queue, None if uncounted."""
    try:
        with open("/proc/thread-self/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1]) * 1e-9
    except (OSError, ValueError, IndexError):
        return None


def _processor() -> int:
    """Return the number of the processor that this thread is on."""
    with open("/proc/thread-self/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[36])
