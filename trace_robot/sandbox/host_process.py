"""The sandbox's side of its processes: spawning a warden, starting and ending jails, one exchange in time."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from trace_robot.errors import SandboxError
from trace_robot.fault import Fault
from trace_robot.sandbox.child.forkserver import receive, send
from trace_robot.sandbox.protocol import HEADER, READY, REPLY_MAGIC

BACKSTOP: Final = 10.0  # wall clock allowed for one second of CPU
_TRACE_SECONDS = 1.0
_LOOKS = 5
_READ_BYTES = 1 << 16
_SHORT_BYTES = 1 << 12  # what most replies fit in: asking for more makes Python reserve it first
_TRACE_LINE = re.compile(rb'File "(<co[^"\n]{1,100}>)", line (\d{1,9}) ')


Place = tuple[str, int]


class Died(Exception):
    """The jail is gone; ``fault`` says why, ``episode`` which one of a lock-step call was running.

    place: the file name and line where the controller was, as it said itself.
    """

    def __init__(self, fault: Fault, episode: int, place: Place | None = None) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.episode = episode
        self.place = place


class Process:
    """At most one jail at a time, and the pipes to it."""

    def __init__(self) -> None:
        self._warden: SpawnedForkServer | None = None
        self._pipes: list[int] = []
        self._poll = select.poll()
        self._clock = 0
        self._spent = 0.0
        self.pid = 0

    @property
    def alive(self) -> bool:
        """Whether a jail is there and has given no reason to doubt it."""
        return self.pid != 0

    def start(self, config: Mapping[str, Any], modules: Sequence[str]) -> dict[str, str]:
        """Start a jail and return its locks, as it tells them before any controller's code runs there."""
        self.stop()
        if self._warden is None or not self._warden.alive:
            self._warden = SpawnedForkServer()
        requests, replies, traces = os.pipe(), os.pipe(), os.pipe()
        self._pipes = [requests[1], replies[0], traces[0]]
        theirs = [requests[0], replies[1], traces[1]]
        try:
            message = {"op": "start", "config": dict(config), "modules": list(modules)}
            self.pid = int(self._warden.ask(message, theirs)["pid"])
        finally:
            for number in theirs:
                os.close(number)
        for number in self._pipes:
            os.set_blocking(number, False)
        self._clock = (
            ~self.pid << 3
        ) | 2  # CPUCLOCK_SCHED of another process, as clock_getcpuclockid(3) makes it
        self._poll = select.poll()
        self._poll.register(replies[0], select.POLLIN)
        self._spent = 0.0
        kind, _, locks = self._receive(0, START_SECONDS, "the sandbox's process did not start", 1 << 16)
        if kind != READY:
            raise self.refuse("a jail did not say that it was ready")
        return told_locks(locks)

    def exchange(
        self, request: bytes, sequence: int, seconds: float, late: str, largest: int
    ) -> tuple[int, int, bytes]:
        """Send a frame and return the reply's kind, count and payload.

        seconds: of the jail's CPU time; the wall clock may take BACKSTOP times as long. late: the message then.

        Raises:
            Died: the jail took too long, ended, or answered with something that is no frame.
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
                    return kind, count, data[HEADER.size :]  # whole, as most are
            if not data:
                raise self._ended()
            return self._parse(data, time.monotonic(), sequence, seconds, late, largest)
        self._send(memoryview(request)[sent:], seconds, late)
        return self._receive(sequence, seconds, late, largest)

    def cpu(self) -> float:
        """Return the CPU seconds that the jail has used."""
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

    def _receive(self, sequence: int, seconds: float, late: str, largest: int) -> tuple[int, int, bytes]:
        started = time.monotonic()
        return self._parse(self._read(seconds, started, late), started, sequence, seconds, late, largest)

    def _parse(
        self, data: bytes, started: float, sequence: int, seconds: float, late: str, largest: int
    ) -> tuple[int, int, bytes]:
        """Return the kind, count and payload of the reply that begins with ``data``, reading what is missing."""
        while len(data) < HEADER.size:
            data += self._more(seconds, started, late)
        magic, kind, count, number, size = HEADER.unpack_from(data)
        if magic != REPLY_MAGIC or number != sequence or size > largest:
            raise self.refuse("the controller's process wrote something that is no reply")
        while len(data) < HEADER.size + size:
            data += self._more(seconds, started, late)
        if len(data) > HEADER.size + size:
            raise self.refuse("the controller's process wrote more than a reply")
        return kind, count, data[HEADER.size :]

    def _left(self, seconds: float, started: float) -> float:
        """Return how long the jail may still take, of CPU time or of the wall clock, whichever ends first."""
        return min(seconds - (self.cpu() - self._spent), BACKSTOP * seconds - (time.monotonic() - started))

    def _more(self, seconds: float, started: float, late: str) -> bytes:
        """Read on, unless time is up: a reply that trickles is late too."""
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
        """Return whether the jail waits of its own will, neither running nor kept from it by others."""
        for _ in range(_LOOKS):
            try:
                with open(f"/proc/{self.pid}/stat", "rb") as file:
                    state = file.read().rpartition(b")")[2].split()[0]
            except OSError:
                return False
            if state != b"S" or self._poll.poll(10):
                return False
        return True

    def settle(self) -> float:
        """Return the CPU time since the last call of this, and count from now on."""
        before = self._spent
        try:
            self._spent = now = time.clock_gettime(self._clock)
        except OSError:
            self._spent = now = 0.0
        return now - before

    def refuse(self, why: str) -> Died:
        """Kill the jail for a reply that no jail writes."""
        return self._died(Fault("protocol", why))

    def _late(self, late: str) -> Died:
        place = self._place()
        return self._died(Fault("timeout", late), place)

    def _place(self) -> Place | None:
        """Make the jail's faulthandler write where it is, and return what it says of the controller."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, signal.SIGUSR1)
        text, deadline = b"", time.monotonic() + _TRACE_SECONDS
        while (left := deadline - time.monotonic()) > 0 and select.select([self._pipes[2]], [], [], left)[0]:
            if not (part := os.read(self._pipes[2], _READ_BYTES)):
                break
            text += part  # it is written piece by piece
            if (place := _place_in(text)) is not None:
                return place
        return None

    def _traced(self) -> Place | None:
        try:
            return _place_in(os.read(self._pipes[2], _READ_BYTES))
        except BlockingIOError:
            return None

    def _ended(self) -> Died:
        """The reply pipe is closed: the process ended by itself, or closed it."""
        place = self._traced()
        pipes, self._pipes = self._pipes, []
        end = self._end(grace=0.5)
        self._pipes = pipes
        self._release()
        return Died(_obituary(end), int(end["at"]), place)

    def _died(self, fault: Fault, place: Place | None = None) -> Died:
        end = self._end(grace=0.0)
        self._release()
        return Died(fault, int(end["at"]), place)

    def _end(self, grace: float) -> dict[str, Any]:
        if self.pid == 0 or self._warden is None:
            return {"own": True, "status": 0, "at": 0}
        self.pid = 0
        try:
            return self._warden.ask({"op": "end", "grace": grace})
        except SandboxError:  # the warden was killed, and the jail with it
            self._warden = None
            return {"own": True, "status": -signal.SIGKILL, "at": 0}

    def _release(self) -> None:
        pipes, self._pipes = self._pipes, []
        for number in pipes:
            os.close(number)

    def stop(self) -> None:
        """Kill the jail, if there is one."""
        self._end(grace=0.0)
        self._release()

    def close(self) -> None:
        """End everything; the object can be started again."""
        try:
            self.stop()
        except SandboxError:
            self._release()
        if self._warden is not None:
            self._warden.close()
            self._warden = None


def _place_in(text: bytes) -> Place | None:
    """Return the first place in a controller that a traceback names."""
    found = _TRACE_LINE.search(text)
    return (found.group(1).decode("ascii", "replace"), int(found.group(2))) if found else None


def _obituary(end: Mapping[str, Any]) -> Fault:
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


def told_locks(payload: bytes) -> dict[str, str]:
    """Return what a jail said of its locks before it was given any code."""
    told: dict[str, str] = json.loads(payload)
    return told


START_SECONDS = 120.0  # importing numpy, and all of scipy, on a busy machine
_BOOT = "import sys, json; sys.path[:] = json.loads(sys.argv[2])\n"
_BOOT += "from trace_robot.sandbox.child.forkserver import main\nmain(int(sys.argv[1]))"
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
     "NUMEXPR_NUM_THREADS"), "1",
)  # fmt: skip


def _paths() -> list[str]:
    """Return absolute import paths, this package's own first."""
    own = str(Path(__file__).resolve().parents[2])
    return [own, *(str(Path(path).resolve()) for path in sys.path if path and path != own)]


class SpawnedForkServer:
    """A spawned warden and the channel to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-s", "-S", "-c", _BOOT, str(theirs.fileno()), json.dumps(_paths())]
        with theirs:
            self.process = subprocess.Popen(
                command, env={"PYTHONHASHSEED": "0", **_ONE_THREAD}, cwd="/", pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        ours.settimeout(START_SECONDS)
        self._channel = ours
        self.close = weakref.finalize(self, _end_warden, self.process, ours, os.getpid())
        reason = self.ask()["failed"]
        if reason:
            self.close()
            raise SandboxError(f"the sandbox's process cannot start: {reason}")

    def ask(
        self, message: Mapping[str, Any] | None = None, descriptors: Sequence[int] = ()
    ) -> dict[str, Any]:
        """Send ``message`` and return the answer; without one, wait for the greeting."""
        try:
            if message is not None:
                send(self._channel, message, descriptors)
            answer: dict[str, Any] = receive(self._channel)[0]
        except (EOFError, OSError) as error:
            self.close()
            raise SandboxError("the sandbox's process ended; is the machine out of memory?") from error
        return answer

    @property
    def alive(self) -> bool:
        return self.close.alive and self.process.poll() is None


def _end_warden(process: subprocess.Popen[bytes], channel: socket.socket, owner: int) -> None:
    channel.close()
    if os.getpid() != owner:
        process.returncode = 0
        return
    try:
        process.wait(2.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
