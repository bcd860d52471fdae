"""The rollout engine: runs jobs as episodes in a pool of long-lived workers.

The same jobs give the same episodes in any order, with any number of workers and on every backend.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from types import TracebackType
from typing import Literal, get_args

from trace_robot.child_process import OutputLog
from trace_robot.errors import EnvironmentFault, OrderError, UsageError
from trace_robot.fault import WORKER_DIED, Fault
from trace_robot.rollout.backends import (
    MAKE,
    SEED_MASK,
    Backend,
    Hang,
    ProcessBackend,
    Worker,
    WorkerMessage,
)
from trace_robot.rollout.batching import Batch, Batches, BatchLimit, OnEpisode, run_within
from trace_robot.rollout.episode import Episode, Job

BackendName = Literal["local", "ray"]
GRACE_SECONDS = 60.0  # beyond what the limits of a batch allow, for a machine that is busy with other work
START_SECONDS = 120.0  # to import MuJoCo and an environment, on a cold disk and a busy machine
HANGS = 3  # in a row that end a run
START_DEATHS = 3  # in a row: then it is the installation, not chance, and every further worker would die too
KNOWN_ENVIRONMENTS = 8  # as many as ``EnvRunner`` keeps
WAIT_SECONDS = 1.0  # between two looks at the deadlines, where no message arrives
LATE_SECONDS = (
    2.0  # beyond the deadline of a stream, for batches that are nearly done: a new worker takes a second
)


class RolloutEngine:
    """Runs jobs in worker processes, or in this process for debugging.

    A worker that dies is replaced, and the jobs of its batch are run once more, one by one. A job that ends the next
    worker too gives an episode with the fault "crash". Controllers run in a sandboxed process either way.

    Args:
        workers: number of processes; None for one a processor, 0 for this process.
        backend: "local" for processes of this machine, "ray" for a Ray cluster.
        address: of the cluster; None for a new one on this machine.
        trusted: run controllers even where this machine has no sandbox.
        lock_step: see ``EnvRunner``.
        timeout: seconds without a message after which a worker counts as hung; None for what the limits of its jobs
            allow, and more.

    Raises:
        TraceRobotError: an argument is out of range, or the cluster cannot be reached.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        backend: BackendName = "local",
        address: str | None = None,
        trusted: bool = False,
        lock_step: int | None = None,
        timeout: float | None = None,
    ) -> None:
        _check(workers, backend, address, lock_step)
        self._size = workers
        self._name, self._address = backend, address
        self._trusted, self._lock_step, self._timeout = trusted, lock_step, timeout
        self._backend: Backend | None = (
            None  # created by the first job, so that an unused engine costs nothing
        )
        self._pool: list[_PooledWorker] = []
        self._start_deaths = 0
        self._hangs = 0  # in a row
        self._alive: set[str] = set()  # environments of which an episode has ended
        self._streaming = False
        self._closed_output = OutputLog()

    def run(self, jobs: Iterable[Job], *, on_episode: OnEpisode | None = None) -> list[Episode]:
        """Run jobs and return their episodes.

        Args:
            jobs: an iterable, which is read as workers need jobs.
            on_episode: called with (index of the job, episode) as each episode ends, in any order.

        Returns:
            One episode a job, in the order of the jobs.

        Raises:
            EnvironmentFault: an environment cannot be made, or workers end before they are ready.
            OrderError: a ``stream`` of this engine is open.
        """
        episodes: dict[int, Episode] = {}
        with closing(self.stream(jobs)) as stream:
            for index, episode in stream:
                episodes[index] = episode
                if on_episode is not None:
                    on_episode(index, episode)
        return [episodes[index] for index in range(len(episodes))]

    def run_within(
        self, jobs: Sequence[Job], limit: BatchLimit, *, on_episode: OnEpisode | None = None
    ) -> dict[int, Episode]:
        """Run jobs until a limit is reached, and return the episodes that count.

        With a limit of steps alone these are the same whatever the number of workers: jobs are cut in their order, and
        what other workers had begun beyond the cut is dropped. That is less than an episode a worker, since only jobs
        that are certain to count are handed out ahead.

        Args:
            jobs: in the order in which they count.
            limit: of them all.
            on_episode: called with (index of the job, episode) as each episode ends, in any order.

        Returns:
            Episodes by the index of their job.
        """
        return run_within(self.stream, self.workers, jobs, limit, on_episode)

    def stream(
        self, jobs: Iterable[Job], *, deadline: float | None = None
    ) -> Generator[tuple[int, Episode], None, None]:
        """Yield (index of the job, episode) as episodes end, in any order.

        Jobs are read as workers need them. Closing the generator, or leaving a loop over it, cancels the jobs that are
        running. One stream at a time: a second one raises OrderError.

        Args:
            jobs: what to run.
            deadline: by ``time.monotonic``; from then on no job is begun, and those that are running are cancelled
                after LATE_SECONDS more. None for no deadline.
        """
        if self._streaming:
            raise OrderError("the engine is running other jobs; finish or close that stream first")
        self._streaming = True
        backend = self._backend = self._backend or self._create_backend()
        queue = Batches(jobs, backend.size)
        suspects: set[int] = set()
        try:
            self._dispatch(backend, queue)
            while len(queue) or any(worker.batches for worker in self._pool):
                left = math.inf if deadline is None else deadline - time.monotonic()
                if left <= -LATE_SECONDS or (left <= 0 and not any(worker.batches for worker in self._pool)):
                    break
                wait = left if left > 0 else left + LATE_SECONDS
                episodes = self._receive(backend, queue, suspects, min(WAIT_SECONDS, wait))
                if deadline is None or time.monotonic() < deadline:
                    self._dispatch(backend, queue)  # before the caller does anything with the episodes
                yield from episodes
        finally:
            self._streaming = False
            for worker in [worker for worker in self._pool if worker.batches]:
                self._discard(worker)  # its answers would arrive in the next stream

    @property
    def workers(self) -> int:
        """Number of workers once there are enough jobs, 0 for this process."""
        if self._size == 0:
            return 0
        self._backend = self._backend or self._create_backend()
        return self._backend.size

    @property
    def apart(self) -> bool:
        """Whether environments run in other processes."""
        return self._size != 0

    @property
    def output(self) -> OutputLog:
        """What environments printed, bounded."""
        return self._closed_output if self._backend is None else self._backend.output

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the local workers."""
        processes = [
            getattr(pooled.worker, "process", None) for pooled in self._pool
        ]  # a Ray actor has none here
        return [process.pid for process in processes if process is not None]

    def close(self) -> None:
        """End the workers. A later ``run`` starts new ones."""
        for worker in [worker for worker in self._pool if worker.batches or not worker.ready]:
            self._discard(worker)
        if self._backend is not None:
            self._backend.close([pooled.worker for pooled in self._pool])
            self._closed_output = self._backend.output
            self._backend = None
        self._pool.clear()

    def __enter__(self) -> RolloutEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _create_backend(self) -> Backend:
        if self._size == 0:
            # Simulators and the sandbox are imported by the process that runs them, not by every user of the engine.
            from trace_robot.rollout.worker import InProcessBackend

            return InProcessBackend(trusted=self._trusted, lock_step=self._lock_step)
        if self._name == "ray":
            from trace_robot.rollout.backends.ray import RayBackend

            return RayBackend(self._size, self._address, trusted=self._trusted, lock_step=self._lock_step)
        size = default_workers() if self._size is None else self._size
        return ProcessBackend(size, trusted=self._trusted, lock_step=self._lock_step)

    def _dispatch(self, backend: Backend, queue: Batches) -> None:
        """Send batches to idle workers, and start workers while batches are left.

        A worker gets its next batch ahead of time only while that leaves one for each of the others.
        """
        while len(queue):
            idle = [worker for worker in self._pool if worker.ready and not worker.batches]
            starting = sum(not worker.ready for worker in self._pool)
            if len(self._pool) < backend.size and len(queue) > len(idle) + starting:
                self._pool.append(_PooledWorker(backend.start()))
                continue
            if not idle and len(queue) >= backend.size + starting:
                idle = [
                    worker for worker in self._pool if worker.ready and len(worker.batches) < backend.ahead
                ]
            if not idle:
                return
            worker = idle[0]
            batch = queue.next(worker.known)
            worker.send(batch, queue.environment(batch[0][1]), self._timeout)

    def _receive(
        self, backend: Backend, queue: Batches, suspects: set[int], seconds: float
    ) -> list[tuple[int, Episode]]:
        """Wait for messages and return their episodes.

        Workers that died or hang lose their batches.
        """
        pooled_of = {id(pooled.worker): pooled for pooled in self._pool}
        episodes: list[tuple[int, Episode]] = []
        for worker, message in backend.wait([pooled.worker for pooled in self._pool], seconds):
            pooled = pooled_of[id(worker)]
            if message.error is not None:
                self._discard(pooled)
                raise message.error
            if message.died:
                episodes += self._recover(pooled, queue, suspects, message.died)
                continue
            if message.episodes and pooled.batches:
                self._alive.add(queue.environment(next(iter(pooled.batches[0].values()))))
            pooled.receive(message, self._timeout)
            self._start_deaths = 0
            # Not by the empty message of a worker that is ready: it may be in the place of one that hung.
            self._hangs = 0 if message.episodes else self._hangs
            episodes += message.episodes
        for pooled, hang in [(pooled, pooled.worker.hang()) for pooled in self._pool if pooled.batches]:
            if hang is not None:
                episodes.append(self._hung(pooled, queue, hang))
        for pooled in [pooled for pooled in self._pool if pooled.overdue()]:
            episodes += self._recover(pooled, queue, suspects, "it gave no sign of life")
        return episodes

    def _recover(
        self, worker: _PooledWorker, queue: Batches, suspects: set[int], why: str
    ) -> list[tuple[int, Episode]]:
        """Discard a dead worker, requeue its jobs and return those that failed twice.

        A job of the batch that it was running is a suspect, and runs in a batch alone, so that the job that kills
        workers is found. Jobs of its next batch had not begun.
        """
        self._discard(worker)
        if not worker.ready:
            self._start_deaths += 1
            if self._start_deaths >= START_DEATHS:
                raise EnvironmentFault(f"rollout workers end before they are ready: {why}")
        episodes: list[tuple[int, Episode]] = []
        for position, batch in enumerate(worker.batches):
            if position > 0:
                queue.put_back(list(batch.items()))
                continue
            for index, job in batch.items():
                if index in suspects:
                    episodes.append((index, _crashed(job, why)))
                else:
                    suspects.add(index)
                    queue.put_back([(index, job)])
        worker.batches.clear()
        return episodes

    def _hung(self, worker: _PooledWorker, queue: Batches, hang: Hang) -> tuple[int, Episode]:
        """Discard a worker whose environment hangs, and return the episode at fault.

        Its other jobs are requeued. Raises EnvironmentFault where no episode of the environment has ended so far, or
        none since several hung, as every further one would take as long.
        """
        jobs = worker.batches[0]
        index = next((i for i, job in jobs.items() if job.seed & SEED_MASK == hang.seed), next(iter(jobs)))
        job = jobs.pop(index)
        self._discard(worker)
        self._hangs += 1
        text = f"{hang.text}, and its worker was ended"
        if queue.environment(job) not in self._alive or hang.call == MAKE or self._hangs >= HANGS:
            raise EnvironmentFault(f"environment {job.env!r}: {text}; see: trace-robot check-env {job.env}")
        for batch in worker.batches:
            if batch:
                queue.put_back(list(batch.items()))
        worker.batches.clear()
        return index, _failed(job, Fault("environment", text))

    def _discard(self, worker: _PooledWorker) -> None:
        worker.worker.kill()
        self._pool.remove(worker)


class _PooledWorker:
    """One worker, its outstanding batches and its deadline.

    batches: jobs by index, in the order in which it runs them. known: environments that it has made, latest first.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.ready = False
        self.batches: deque[dict[int, Job]] = deque()
        self.known: deque[str] = deque(maxlen=KNOWN_ENVIRONMENTS)
        self._deadline = time.monotonic() + START_SECONDS

    def send(self, batch: Batch, environment: str, timeout: float | None) -> None:
        if environment in self.known:
            self.known.remove(environment)
        self.known.appendleft(environment)
        self.batches.append(dict(batch))
        if len(self.batches) == 1:
            self._extend(timeout)
        self.worker.send(batch)

    def receive(self, message: WorkerMessage, timeout: float | None) -> None:
        self.ready = True
        for index, _ in message.episodes:
            self.batches[0].pop(index, None)
        while self.batches and not self.batches[0]:
            self.batches.popleft()
        self._extend(timeout)

    def overdue(self) -> bool:
        return (bool(self.batches) or not self.ready) and time.monotonic() > self._deadline

    def _extend(self, timeout: float | None) -> None:
        """Set the deadline of the batch that runs now.

        The sandbox has the short deadlines, of controllers; this one is for a simulator or a worker that hangs.
        """
        if not self.batches:
            return
        if timeout is None:
            jobs = self.batches[0].values()
            timeout = GRACE_SECONDS + sum(
                10 * (job.limits.episode_seconds + job.limits.load_seconds) for job in jobs
            )
        self._deadline = time.monotonic() + timeout


def default_workers() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check(workers: int | None, backend: str, address: str | None, lock_step: int | None) -> None:
    if workers is not None and workers < 0:
        raise UsageError(f"workers must be 0 (this process) or more, got {workers}")
    if backend not in get_args(BackendName):
        raise UsageError(f"backend must be one of {', '.join(get_args(BackendName))}, got {backend!r}")
    if address is not None and backend != "ray":
        raise UsageError(f"an address is for backend 'ray' only, got {address!r} for {backend!r}")
    if lock_step is not None and not 1 <= lock_step <= 64:
        raise UsageError(f"lock_step must be from 1 to 64, got {lock_step}")


def _crashed(job: Job, why: str) -> Episode:
    return _failed(job, Fault("crash", f"{WORKER_DIED} twice running this episode: {why}"))


def _failed(job: Job, fault: Fault) -> Episode:
    # Imported here, because it imports the simulators, which the parent does not need otherwise.
    from trace_robot.rollout.env_runner import failed_episode

    return failed_episode(job, None, fault)
