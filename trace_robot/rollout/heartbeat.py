"""A worker's heartbeat in shared memory, from which the engine sees a call of an environment that hangs.

A thread of the worker could not report it: a simulator may hang in C without giving the interpreter back.
"""

from __future__ import annotations

import mmap
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trace_robot.errors import EnvironmentFault
from trace_robot.fault import HANG_SECONDS, MAKE_SECONDS

TICK_SECONDS = 1.0

MAKE, RESET, STEP = 1, 2, 3
CALLS = {MAKE: "make", RESET: "reset", STEP: "step"}
SIZE = 24  # bytes: three integers of 64 bits
SEED_MASK = 2**62 - 1


class Heartbeat:
    """A worker's notes of the call that its environment is in.

    They are a count, which is odd inside a call, which call it is, and the condition.

    Args:
        file: of SIZE bytes, which the engine reads; None to note for this process alone.

    Attributes:
        hung: a call hung and was interrupted, in this process.
    """

    def __init__(self, file: Path | None = None) -> None:
        memory = bytearray(SIZE) if file is None else _mapped(file)
        self.slots = memoryview(memory).cast("q")
        self.hung = False

    def enter(self, call: int, seed: int) -> None:
        """Note that a call begins.

        Args:
            call: MAKE, RESET or STEP.
            seed: of the condition.
        """
        slots = self.slots
        slots[1], slots[2] = call, seed & SEED_MASK
        slots[0] += 1

    def leave(self) -> None:
        """Note that the call has ended."""
        self.slots[0] += 1


@dataclass(frozen=True, slots=True)
class Hang:
    """A call that has lasted too long: MAKE, RESET or STEP, and its condition."""

    call: int
    seed: int
    seconds: float

    @property
    def text(self) -> str:
        """What happened, for a message."""
        where = "" if self.call == MAKE else f" (condition {self.seed})"
        return f"{CALLS.get(self.call, 'a call')}() hangs: it gave no answer for {self.seconds:.0f} s{where}"


class HeartbeatReader:
    """The engine's end of a heartbeat: how long the present call has lasted."""

    def __init__(self, slots: memoryview) -> None:
        self._slots = slots
        self._count, self._since, self._lasted = 0, time.monotonic(), 0.0
        self._longest = 0.0

    @classmethod
    def of(cls, file: Path) -> HeartbeatReader:
        """Return the reader of a new file, which a ``Heartbeat`` is then made for."""
        file.write_bytes(bytes(SIZE))
        return cls(memoryview(_mapped(file)).cast("q"))

    def hang(self) -> Hang | None:
        """Return the call that has lasted too long, None where there is none.

        To be asked about once a second, since it sees a call when it is asked."""
        now = time.monotonic()
        if (count := self._slots[0]) != self._count:
            self._longest = max(self._longest, self._lasted)
            self._count, self._since = count, now
        self._lasted = now - self._since if count % 2 else 0.0
        call = int(self._slots[1])
        limit = (MAKE_SECONDS if call == MAKE else HANG_SECONDS) + self._longest
        return Hang(call, int(self._slots[2]), self._lasted) if self._lasted > limit else None


@contextmanager
def interrupting(heartbeat: Heartbeat) -> Iterator[None]:
    """Raise EnvironmentFault in a call of this process that hangs.

    It is for an engine without workers. A call that hangs in C without giving the interpreter back goes on hanging;
    and only the main thread can be interrupted.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    reader = HeartbeatReader(heartbeat.slots)

    def tick(*_: object) -> None:
        hang = reader.hang()
        if hang is not None:
            heartbeat.hung = True
            raise EnvironmentFault(hang.text)

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _mapped(file: Path) -> mmap.mmap:
    with open(file, "r+b") as opened:
        return mmap.mmap(opened.fileno(), SIZE)
