"""What the engine asks of those who do the work, and the crew of one that works in this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from trace_robot import errors
from trace_robot.errors import EnvironmentFault, TraceRobotError
from trace_robot.rollout.batching import Batch
from trace_robot.rollout.episode import Episode


@dataclass(frozen=True, slots=True)
class WorkerMessage:
    """What comes from a worker; its first news, if only empty, says that it is ready for work.

    episodes: (index of the job, episode). error: nothing can be run, and why. died: why it is gone.
    """

    episodes: Sequence[tuple[int, Episode]] = ()
    error: TraceRobotError | None = None
    died: str = ""


class Worker(Protocol):
    """Does batches in the order in which they are sent."""

    def send(self, batch: Batch) -> None: ...

    def kill(self) -> None:
        """End it whatever it does; it owes nothing any more."""
        ...


class Backend(Protocol):
    """Starts workers and listens to them. size: how many there should be; ahead: batches a worker may hold."""

    size: int
    ahead: int

    def start(self) -> Worker: ...

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[tuple[Worker, WorkerMessage]]:
        """Return what came in; wait for it at most ``seconds``."""
        ...

    def close(self, idle: Sequence[Worker]) -> None:
        """End everything; ``idle`` workers owe nothing and may end in good order."""
        ...


class InProcessBackend:
    """A crew of one, in this process."""

    size = 1
    ahead = 1

    def __init__(self, *, trusted: bool, lock_step: int | None) -> None:
        self._trusted, self._lock_step = trusted, lock_step

    def start(self) -> Worker:
        return _Self(trusted=self._trusted, lock_step=self._lock_step)

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[tuple[Worker, WorkerMessage]]:
        return [(worker, worker.work()) for worker in workers if isinstance(worker, _Self)]

    def close(self, idle: Sequence[Worker]) -> None:
        for worker in idle:
            worker.kill()


class _Self:
    def __init__(self, *, trusted: bool, lock_step: int | None) -> None:
        from trace_robot.rollout.env_runner import EnvRunner

        self._rig = EnvRunner(trusted=trusted, lock_step=lock_step)
        self._batches: deque[Batch] = deque()

    def send(self, batch: Batch) -> None:
        self._batches.append(batch)

    def work(self) -> WorkerMessage:
        if not self._batches:
            return WorkerMessage()
        batch = self._batches.popleft()
        try:
            done = [
                (batch[position][0], episode)
                for position, episode in self._rig.run([job for _, job in batch])
            ]
        except TraceRobotError as error:
            return WorkerMessage(error=error)
        return WorkerMessage(done)

    def kill(self) -> None:
        self._rig.close()


def error_of(name: str, text: str) -> TraceRobotError:
    """Return an error that another process raised, by the name of its class."""
    kind = getattr(errors, name, EnvironmentFault)
    error: TraceRobotError = kind(text)
    return error
