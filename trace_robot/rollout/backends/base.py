"""The protocol between engine and workers, and a backend without processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from trace_robot import errors
from trace_robot.child_process import OutputLog, captured_output
from trace_robot.errors import EnvironmentFault, TraceRobotError
from trace_robot.rollout.batching import Batch
from trace_robot.rollout.episode import Episode
from trace_robot.rollout.heartbeat import Hang, Heartbeat, interrupting


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
        """Return the call of an environment that hangs, None where none does, or the backend cannot know."""
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


def error_of(name: str, text: str) -> TraceRobotError:
    """Rebuild an exception that a worker sent as its class's name and its text.

    Args:
        name: of a class in ``trace_robot.errors``; EnvironmentFault stands for any other.
        text: the message.
    """
    kind = getattr(errors, name, EnvironmentFault)
    error: TraceRobotError = kind(text)
    return error


class InProcessBackend:
    """One worker in the engine's process, for debugging."""

    size = 1
    ahead = 1

    def __init__(self, *, trusted: bool, lock_step: int | None) -> None:
        self._trusted, self._lock_step = trusted, lock_step
        self.output = OutputLog()

    def start(self) -> Worker:
        return InProcessWorker(self.output, trusted=self._trusted, lock_step=self._lock_step)

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[tuple[Worker, WorkerMessage]]:
        return [(worker, worker.execute()) for worker in workers if isinstance(worker, InProcessWorker)]

    def close(self, idle: Sequence[Worker]) -> None:
        for worker in idle:
            worker.kill()


class InProcessWorker:
    """Runs its batches when it is waited for."""

    def __init__(self, output: OutputLog, *, trusted: bool, lock_step: int | None) -> None:
        # Simulators and the sandbox are imported by the process that runs them, not by every user of the engine.
        from trace_robot.rollout.env_runner import EnvRunner

        self._heartbeat = Heartbeat()
        self._runner = EnvRunner(trusted=trusted, lock_step=lock_step, heartbeat=self._heartbeat)
        self._batches: deque[Batch] = deque()
        self._output = output

    def send(self, batch: Batch) -> None:
        self._batches.append(batch)

    def execute(self) -> WorkerMessage:
        """Run the oldest batch. The message is empty where there is none."""
        if not self._batches:
            return WorkerMessage()
        batch = self._batches.popleft()
        jobs = [job for _, job in batch]
        try:
            with captured_output(self._output), interrupting(self._heartbeat):
                episodes = [(batch[position][0], episode) for position, episode in self._runner.run(jobs)]
        except TraceRobotError as error:
            return WorkerMessage(error=error)
        return WorkerMessage(episodes)

    def hang(self) -> Hang | None:
        """Return None: such a call is interrupted where it is."""
        return None

    def kill(self) -> None:
        with captured_output(self._output):
            self._runner.close()
