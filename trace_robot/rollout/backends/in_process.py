"""Rollouts in this very process, one batch after the other: for debugging, and where processes cannot be started."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from trace_robot.errors import TraceRobotError
from trace_robot.rollout.backends.base import Worker, WorkerMessage
from trace_robot.rollout.batching import Batch
from trace_robot.rollout.env_runner import EnvRunner


class InProcessBackend:
    """One worker in the engine's process, for debugging."""

    size = 1
    ahead = 1

    def __init__(self, *, trusted: bool, lock_step: int | None) -> None:
        self._trusted, self._lock_step = trusted, lock_step

    def start(self) -> Worker:
        return _InProcessWorker(trusted=self._trusted, lock_step=self._lock_step)

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[tuple[Worker, WorkerMessage]]:
        return [(worker, worker.execute()) for worker in workers if isinstance(worker, _InProcessWorker)]

    def close(self, idle: Sequence[Worker]) -> None:
        for worker in idle:
            worker.kill()


class _InProcessWorker:
    def __init__(self, *, trusted: bool, lock_step: int | None) -> None:
        self._runner = EnvRunner(trusted=trusted, lock_step=lock_step)
        self._batches: deque[Batch] = deque()

    def send(self, batch: Batch) -> None:
        self._batches.append(batch)

    def execute(self) -> WorkerMessage:
        """Run the oldest batch. The message is empty where there is none."""
        if not self._batches:
            return WorkerMessage()
        batch = self._batches.popleft()
        jobs = [job for _, job in batch]
        try:
            episodes = [(batch[position][0], episode) for position, episode in self._runner.run(jobs)]
        except TraceRobotError as error:
            return WorkerMessage(error=error)
        return WorkerMessage(episodes)

    def kill(self) -> None:
        self._runner.close()
