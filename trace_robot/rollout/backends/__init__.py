"""The protocol between engine and workers; local processes, and none at all."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, Protocol

from trace_robot import errors
from trace_robot.child_process import ONE_THREAD, clean_environment, python_command
from trace_robot.errors import EnvironmentFault, TraceRobotError
from trace_robot.rollout.batching import Batch
from trace_robot.rollout.episode import Episode

END_SECONDS = 5.0


class ProcessBackend:
    """Local worker processes, in an empty folder and without keys."""

    ahead = 2  # the next batch is in the worker's inbox while the answer to the last one travels

    def __init__(self, size: int, *, trusted: bool, lock_step: int | None) -> None:
        self.size = size
        self._arguments = ["--trusted"] if trusted else []
        self._arguments += [] if lock_step is None else ["--lock-step", str(lock_step)]
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def start(self) -> Worker:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="trace-robot-")
        return ProcessWorker(self._folder.name, self._arguments)

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

    def __init__(self, folder: str, arguments: Sequence[str]) -> None:
        ours, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(
                python_command("trace_robot.rollout.worker", str(theirs.fileno()), *arguments),
                pass_fds=[theirs.fileno()],
                cwd=folder,
                env=clean_environment(ONE_THREAD),
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C at the terminal reaches the parent only, which decides
            )
        self.connection: Connection[Any, Any] = ours

    def send(self, batch: Batch) -> None:
        with contextlib.suppress(ConnectionError):  # it died: ``receive`` reports that
            self.connection.send(batch)

    def receive(self) -> WorkerMessage:
        try:
            message = self.connection.recv()
        except (EOFError, ConnectionError):
            return WorkerMessage(died="its process ended")
        if message[0] == "error":
            return WorkerMessage(error=error_of(message[2], message[1]))
        return WorkerMessage(message[1])

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

    def kill(self) -> None:
        """Terminate the worker at once and drop its outstanding batches."""
        ...


class Backend(Protocol):
    """Starts workers and receives their messages.

    size: number of workers. ahead: batches that one worker may hold, more than one to hide the latency of sending.
    """

    size: int
    ahead: int

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


def error_of(name: str, text: str) -> TraceRobotError:
    """Rebuild an exception that a worker sent as its class's name and its text.

    Args:
        name: of a class in ``trace_robot.errors``; EnvironmentFault stands for any other.
        text: the message.
    """
    kind = getattr(errors, name, EnvironmentFault)
    error: TraceRobotError = kind(text)
    return error
