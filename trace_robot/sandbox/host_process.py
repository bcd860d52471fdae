"""The host's side of a controller's process: pipes, deadlines and its end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from trace_robot.errors import SandboxError
from trace_robot.fault import Fault
from trace_robot.sandbox.protocol import HEADER, READY, REPLY_MAGIC
from trace_robot.sandbox.spawn import START_SECONDS, SpawnedForkServer

BACKSTOP: Final = 10.0  # wall clock allowed for one second of CPU
_TRACE_SECONDS: Final = 1.0  # for the child's faulthandler to write where the controller is
# For a child that has closed its pipe to end by itself, so that its exit code is known.
_END_SECONDS: Final = 0.5
_SLEEP_CHECKS: Final = 5  # looks at a process, 10 ms apart, before it counts as asleep
_SLEEP_CHECK_MS: Final = 10
_LOCKS_BYTES: Final = 1 << 16
_READ_BYTES: Final = 1 << 16
_SHORT_BYTES: Final = 1 << 12  # what most replies fit in: asking for more makes Python reserve it first
_TRACE_LINE: Final = re.compile(rb'File "(<co[^"\n]{1,100}>)", line (\d{1,9}) ')

CodeLocation = tuple[str, int]  # file name and 1-based line, as a traceback has them
Reply = tuple[int, int, bytes]  # kind, count and payload


class ChildDiedError(Exception):
    """The controller's process is gone.

    fault: why. episode: the number of the one that was running in a lock-step call. location: where the controller
    was, as its process reported it; None if it did not.
    """

    def __init__(self, fault: Fault, episode: int, location: CodeLocation | None = None) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.episode = episode
        self.location = location


class ControllerProcess:
    """At most one child of a fork server at a time, and the pipes to it."""

    def __init__(self) -> None:
        self._fork_server: SpawnedForkServer | None = None
        self._pipes: list[int] = []  # requests, replies, traces
        self._poll = select.poll()
        self._clock = 0
        self._settled = 0.0  # CPU seconds of the child up to the last `settle`
        self.pid = 0

    @property
    def alive(self) -> bool:
        """Whether there is a child that has given no reason to doubt it."""
        return self.pid != 0

    def start(self, config: Mapping[str, Any], modules: Sequence[str]) -> dict[str, str]:
        """Start a child in place of the one there may be.

        Args:
            config: JSON data for `child.main.serve`.
            modules: to import before the fork, from the allow-list.

        Returns:
            Lock -> how it went, which the child reports before any controller's code runs there.

        Raises:
            ChildDiedError: the child ended, took too long or is not ready.
            SandboxError: there is no fork server.
        """
        self.stop()
        if self._fork_server is None or not self._fork_server.alive:
            self._fork_server = SpawnedForkServer()
        requests, replies, traces = os.pipe(), os.pipe(), os.pipe()
        self._pipes = [requests[1], replies[0], traces[0]]
        theirs = [requests[0], replies[1], traces[1]]
        try:
            message = {"op": "start", "config": dict(config), "modules": list(modules)}
            self.pid = int(self._fork_server.ask(message, theirs)["pid"])
        finally:
            for number in theirs:
                os.close(number)
        for number in self._pipes:
            os.set_blocking(number, False)
        # CPUCLOCK_SCHED of another process, as clock_getcpuclockid(3) makes it; Python has no call for it.
        self._clock = (~self.pid << 3) | 2
        self._poll = select.poll()
        self._poll.register(replies[0], select.POLLIN)
        self._settled = 0.0
        kind, _, locks = self._receive(
            0, START_SECONDS, f"it took more than {START_SECONDS:g} s", _LOCKS_BYTES
        )
        if kind != READY:
            raise self.refuse("it did not report that it was ready")
        return parse_locks(locks)

    def exchange(self, request: bytes, sequence: int, seconds: float, late: str, largest: int) -> Reply:
        """Send a frame and return the reply's kind, count and payload.

        The first half is a fast lane for what nearly every exchange is: a request that the pipe takes whole and a
        reply that one read brings whole. It does what `_send` and `_receive` do, in one system call each.

        Args:
            request: header and payload.
            sequence: the request's number, which the reply must have too.
            seconds: of the child's CPU time; the wall clock may take BACKSTOP times as long.
            late: the fault's message when they are over.
            largest: bytes that the payload of the reply may have.

        Raises:
            ChildDiedError: the child took too long, ended, or answered with something that is no frame.
        """
        try:
            sent = os.write(self._pipes[0], request)
        except BlockingIOError:
            sent = 0
        except BrokenPipeError:
            raise self._ended() from None
        if sent == len(request) and self._poll.poll(1 + seconds * 1000.0):
            if len(data := os.read(self._pipes[1], _SHORT_BYTES)) >= HEADER.size:
                magic, kind, count, number, size = HEADER.unpack_from(data)
                if magic == REPLY_MAGIC and number == sequence and len(data) - HEADER.size == size <= largest:
                    return kind, count, data[HEADER.size :]
            if not data:
                raise self._ended()
            return self._parse(data, time.monotonic(), sequence, seconds, late, largest)
        self._send(memoryview(request)[sent:], seconds, late)
        return self._receive(sequence, seconds, late, largest)

    def settle(self) -> float:
        """Return the child's CPU seconds since the last call of this, 0 if it is gone."""
        before = self._settled
        # Not by `_cpu`: this is on the way of every exchange.
        try:
            self._settled = now = time.clock_gettime(self._clock)
        except OSError:
            return 0.0
        return now - before

    def refuse(self, why: str) -> ChildDiedError:
        """Kill the child for a forged reply and return the error to raise."""
        return self._killed(Fault("protocol", why))

    def stop(self) -> None:
        """Kill the child, if there is one."""
        self._end(grace=0.0)
        self._close_pipes()

    def close(self) -> None:
        """End the child and the fork server."""
        self.stop()
        if self._fork_server is not None:
            self._fork_server.close()
            self._fork_server = None

    def _cpu(self) -> float:
        """Return the CPU seconds that the child has used."""
        try:
            return time.clock_gettime(self._clock)
        except OSError:
            return 0.0

    def _send(self, rest: memoryview, seconds: float, late: str) -> None:
        """Write what did not fit into the pipe, as room comes."""
        deadline = time.monotonic() + BACKSTOP * seconds
        while rest:
            if (left := deadline - time.monotonic()) <= 0:
                raise self._late(late)
            select.select([], [self._pipes[0]], [], min(left, 1.0))
            try:
                rest = rest[os.write(self._pipes[0], rest) :]
            except BlockingIOError:
                pass
            except BrokenPipeError:
                raise self._ended() from None

    def _receive(self, sequence: int, seconds: float, late: str, largest: int) -> Reply:
        started = time.monotonic()
        return self._parse(self._read(seconds, started, late), started, sequence, seconds, late, largest)

    def _parse(
        self, data: bytes, started: float, sequence: int, seconds: float, late: str, largest: int
    ) -> Reply:
        """Return the reply that begins with ``data``, reading what is missing."""
        while len(data) < HEADER.size:
            data += self._read_more(seconds, started, late)
        magic, kind, count, number, size = HEADER.unpack_from(data)
        if magic != REPLY_MAGIC or number != sequence or size > largest:
            raise self.refuse("the controller's process wrote something that is no reply")
        while len(data) < HEADER.size + size:
            data += self._read_more(seconds, started, late)
        if len(data) > HEADER.size + size:
            raise self.refuse("the controller's process wrote more than a reply")
        return kind, count, data[HEADER.size :]

    def _left(self, seconds: float, started: float) -> float:
        """Return the seconds that are left, of CPU time or of the wall clock."""
        return min(seconds - (self._cpu() - self._settled), BACKSTOP * seconds - (time.monotonic() - started))

    def _read_more(self, seconds: float, started: float, late: str) -> bytes:
        """Read on, unless time is up: a reply that trickles in is late too."""
        if self._left(seconds, started) <= 0:
            raise self._late(late)
        return self._read(seconds, started, late)

    def _read(self, seconds: float, started: float, late: str) -> bytes:
        wait = seconds
        while not self._poll.poll(1 + wait * 1000.0):
            wait = self._left(seconds, started)
            if wait <= 0 or self._sleeps():
                raise self._late(late)
        data = os.read(self._pipes[1], _READ_BYTES)
        if not data:
            raise self._ended()
        return data

    def _sleeps(self) -> bool:
        """Return whether the child sleeps, so that its CPU time would never run out.

        A process that waits for a processor on a busy machine is in state R and gets the time it needs.
        """
        for _ in range(_SLEEP_CHECKS):
            try:
                with open(f"/proc/{self.pid}/stat", "rb") as file:
                    state = file.read().rpartition(b")")[2].split()[0]
            except OSError:
                return False
            if state != b"S" or self._poll.poll(_SLEEP_CHECK_MS):
                return False
        return True

    def _late(self, late: str) -> ChildDiedError:
        return self._killed(Fault("timeout", late), self._interrupted_location())

    def _interrupted_location(self) -> CodeLocation | None:
        """Make the child's faulthandler write where the controller is, and return it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, signal.SIGUSR1)
        text, deadline = b"", time.monotonic() + _TRACE_SECONDS
        while (left := deadline - time.monotonic()) > 0 and select.select([self._pipes[2]], [], [], left)[0]:
            if not (part := os.read(self._pipes[2], _READ_BYTES)):
                break
            text += part  # faulthandler writes piece by piece
            if (location := _controller_location(text)) is not None:
                return location
        return None

    def _crash_location(self) -> CodeLocation | None:
        """Return where the controller was when faulthandler caught a fatal signal."""
        try:
            return _controller_location(os.read(self._pipes[2], _READ_BYTES))
        except BlockingIOError:
            return None

    def _ended(self) -> ChildDiedError:
        """Return the error for a closed reply pipe: the child has ended, or has closed it."""
        location = self._crash_location()
        # The pipes stay open meanwhile: a child that reads the end of its requests exits with 0, which would look like
        # a crash where it had only closed its replies.
        end = self._end(_END_SECONDS)
        self._close_pipes()
        return ChildDiedError(_fault_of_end(end), int(end["at"]), location)

    def _killed(self, fault: Fault, location: CodeLocation | None = None) -> ChildDiedError:
        end = self._end(grace=0.0)
        self._close_pipes()
        return ChildDiedError(fault, int(end["at"]), location)

    def _end(self, grace: float) -> dict[str, Any]:
        """Let the child end within ``grace`` seconds or be killed.

        Returns the zygote's report, as `Zygote` makes it.
        """
        if self.pid == 0 or self._fork_server is None:
            return {"own": True, "status": 0, "at": 0}
        self.pid = 0
        try:
            return self._fork_server.ask({"op": "end", "grace": grace})
        except SandboxError:  # the fork server was killed, and the child with it
            self._fork_server = None
            return {"own": True, "status": -signal.SIGKILL, "at": 0}

    def _close_pipes(self) -> None:
        pipes, self._pipes = self._pipes, []
        for number in pipes:
            os.close(number)


def parse_locks(payload: bytes) -> dict[str, str]:
    """Return the locks of a READY reply, written before the child gets any code."""
    locks: dict[str, str] = json.loads(payload)
    return locks


def _controller_location(text: bytes) -> CodeLocation | None:
    """Return the first line of a controller that a traceback names."""
    line = _TRACE_LINE.search(text)
    return (line.group(1).decode("ascii", "replace"), int(line.group(2))) if line else None


def _fault_of_end(end: Mapping[str, Any]) -> Fault:
    """Return the fault for a child that ended without being killed by the host."""
    status = int(end["status"])
    if not end["own"]:
        return Fault("protocol", "the controller closed the pipe to the sandbox")
    if status == -signal.SIGKILL:
        return Fault("memory", "the system killed the controller's process, most likely for its memory")
    if status < 0:
        name = signal.Signals(-status).name if -status in signal.valid_signals() else str(-status)
        why = " (a system call that is never allowed)" if -status == signal.SIGSYS else ""
        return Fault("crash", f"the controller's process was killed by {name}{why}")
    return Fault("crash", f"the controller ended its own process with exit code {status}")
