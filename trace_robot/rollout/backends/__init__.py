"""The protocol between engine and workers, local processes, and heartbeats in shared memory.

From a heartbeat the engine sees a call of an environment that hangs. A thread of the worker could not report it: a
simulator may hang in C without giving the interpreter back.
"""

from __future__ import annotations

import contextlib
import mmap
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from typing import IO, Any, Protocol

from trace_robot.child_process import (
    ONE_THREAD,
    OutputLog,
    clean_environment,
    python_command,
)
from trace_robot.errors import TraceRobotError, error_of
from trace_robot.fault import HANG_SECONDS, MAKE_SECONDS
from trace_robot.rollout.batching import Batch
from trace_robot.rollout.episode import Episode

END_SECONDS = 5.0

MAKE, RESET, STEP = 1, 2, 3
CALLS = {MAKE: "make", RESET: "reset", STEP: "step"}
SIZE = 24  # bytes: three integers of 64 bits
SEED_MASK = 2**62 - 1


class Heartbeat:
    """A worker's notes of the call that its environment is in.

    They are a count, which is odd inside a call, which call it is, and the condition.

    Args:
        descriptor: of a file of SIZE bytes, which the engine reads; None to note for this process alone.

    Attributes:
        hung: a call hung and was interrupted, in this process.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        memory = bytearray(SIZE) if descriptor is None else mmap.mmap(descriptor, SIZE)
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
    def of(cls, file: IO[bytes]) -> HeartbeatReader:
        """Return the reader of a new file, which a ``Heartbeat`` is then made for."""
        file.truncate(SIZE)
        return cls(memoryview(mmap.mmap(file.fileno(), SIZE)).cast("q"))

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


class ProcessBackend:
    """Local worker processes, in an empty folder and without keys."""

    ahead = 2  # the next batch is in the worker's inbox while the answer to the last one travels

    def __init__(self, size: int, *, trusted: bool, lock_step: int | None) -> None:
        self.size = size
        self._arguments = ["--trusted"] if trusted else []
        self._arguments += [] if lock_step is None else ["--lock-step", str(lock_step)]
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.output = OutputLog()

    def start(self) -> Worker:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="trace-robot-")
        return ProcessWorker(self._folder.name, self._arguments, self.output)

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[tuple[Worker, WorkerMessage]]:
        by_connection = {worker.connection: worker for worker in workers if isinstance(worker, ProcessWorker)}
        ready = [by_connection[connection] for connection in wait(list(by_connection), timeout=seconds)]  # type: ignore[index]
        return [(worker, worker.receive()) for worker in ready]

    def close(self, idle: Sequence[Worker]) -> None:
        processes = [worker for worker in idle if isinstance(worker, ProcessWorker)]
        for worker in processes:  # all first, so that they end side by side
            worker.connection.close()
        for worker in processes:
            worker.join()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


class ProcessWorker:
    """One worker process and the connection to it."""

    def __init__(self, folder: str, arguments: Sequence[str], output: OutputLog) -> None:
        self._output = OutputLog(output)
        ours, theirs = Pipe()
        with theirs, tempfile.TemporaryFile() as beats:
            self._heartbeat = HeartbeatReader.of(beats)
            inherited = theirs.fileno(), beats.fileno()
            self.process = subprocess.Popen(
                python_command("trace_robot.rollout.worker", *map(str, inherited), *arguments),
                pass_fds=inherited,
                cwd=folder,
                env=clean_environment(ONE_THREAD),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C at the terminal reaches the parent only, which decides
            )
        self.connection: Connection[Any, Any] = ours
        self._reader = threading.Thread(target=self._output.read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def send(self, batch: Batch) -> None:
        with contextlib.suppress(ConnectionError):  # it died: ``receive`` reports that
            self.connection.send(batch)

    def receive(self) -> WorkerMessage:
        try:
            message = self.connection.recv()
        except (EOFError, ConnectionError):
            return WorkerMessage(died=f"its process ended{self._last_words()}")
        if message[0] == "error":
            return WorkerMessage(error=error_of(message[2], message[1]))
        return WorkerMessage(message[1])

    def hang(self) -> Hang | None:
        return self._heartbeat.hang()

    def _last_words(self) -> str:
        """Return the exit code or signal of the process, and its last line of output."""
        try:
            code = self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            return ""
        self._reader.join(1.0)
        how = f" by signal {signal.Signals(-code).name}" if code < 0 else f" with exit code {code}"
        return f"{how}; it wrote: {self._output.last}" if self._output.last else how

    def kill(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.wait()

    def join(self) -> None:
        """Wait until the process has exited, or kill it after END_SECONDS."""
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


@dataclass(frozen=True, slots=True)
class WorkerMessage:
    """Episodes or an error from a worker.

    The first message, even if empty, means that the worker is ready. episodes: (index of the job, episode). error: why
    nothing can be run at all. died: why the worker is gone, "" if it lives.
    """

    episodes: Sequence[tuple[int, Episode]] = ()
    error: TraceRobotError | None = None
    died: str = ""


class Worker(Protocol):
    """Runs batches in the order in which they are sent."""

    def send(self, batch: Batch) -> None: ...

    def hang(self) -> Hang | None:
        """Return the call that hangs, None where none does or the backend cannot tell."""
        ...

    def kill(self) -> None:
        """Terminate the worker at once and drop its outstanding batches."""
        ...


class Backend(Protocol):
    """Starts workers and receives their messages.

    size: number of workers. ahead: batches that one worker may hold, more than one to hide the latency of sending.
    output: what environments printed.
    """

    size: int
    ahead: int
    output: OutputLog

    def start(self) -> Worker: ...

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[tuple[Worker, WorkerMessage]]:
        """Return the messages that have arrived, after waiting for a first one.

        Args:
            workers: to wait for.
            seconds: to wait at most.
        """
        ...

    def close(self, idle: Sequence[Worker]) -> None:
        """Shut down.

        Workers in ``idle`` have no outstanding batches and may exit by themselves.
        """
        ...
