"""The rollout engine: jobs in, episodes out, over workers that live as long as the engine.

The same jobs give the same episodes in any order, with any number of workers and on every backend.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from types import TracebackType
from typing import Literal, get_args

from trace_robot.errors import EnvironmentFault, OrderError, UsageError
from trace_robot.fault import Fault
from trace_robot.rollout.backends.base import Backend, InProcessBackend, Worker, WorkerMessage
from trace_robot.rollout.batching import Batch, Batches
from trace_robot.rollout.episode import Episode, Job

OnEpisode = Callable[[int, Episode], None]
BackendName = Literal["local", "ray"]
GRACE_SECONDS = 60.0
START_SECONDS = 120.0
START_DEATHS = 3
KNOWN_ENVIRONMENTS = 8
WAIT_SECONDS = 1.0


class RolloutEngine:
    """Runs jobs in ``workers`` processes, or in this one if ``workers`` is 0 (for debugging).

    backend: "local" for processes of this machine; "ray" for a Ray cluster, the one at ``address`` or, without, one
    on this machine. workers: None for one a processor. lock_step: see ``EnvRunner``. silence: seconds without news
    after which a worker counts as hung; None for what the limits of its jobs allow, with much to spare.

    A worker that dies is replaced, and the jobs that it was at are run once more, one by one; one that ends the
    next worker too gives an episode with the fault "crash". Controllers run in a sandbox of their own either way.
    """

    def __init__(
        self, workers: int | None = None, *, backend: BackendName = "local", address: str | None = None,
        trusted: bool = False, lock_step: int | None = None, silence: float | None = None,
    ) -> None:  # fmt: skip
        _check(workers, backend, address, lock_step)
        self._wanted = workers
        self._backend, self._address = backend, address
        self._trusted, self._lock_step, self._silence = trusted, lock_step, silence
        self._crew: Backend | None = None
        self._members: list[_Member] = []
        self._start_deaths = 0
        self._streaming = False

    def run(self, jobs: Iterable[Job], *, on_episode: OnEpisode | None = None) -> list[Episode]:
        """Return the episodes in the order of ``jobs``; ``on_episode(index, episode)`` as each comes in."""
        episodes: dict[int, Episode] = {}
        with closing(self.stream(jobs)) as stream:
            for index, episode in stream:
                episodes[index] = episode
                if on_episode is not None:
                    on_episode(index, episode)
        return [episodes[index] for index in range(len(episodes))]

    def stream(self, jobs: Iterable[Job]) -> Generator[tuple[int, Episode], None, None]:
        """Yield (index of the job, episode) as episodes come in; jobs are read as workers need them.

        Closing the generator, or leaving a loop over it, cancels what is under way. One stream at a time.
        """
        if self._streaming:
            raise OrderError("the engine is running other jobs; finish or close that stream first")
        self._streaming = True
        crew = self._crew = self._crew or self._hire()
        queue = Batches(jobs, crew.size)
        died: set[int] = set()
        try:
            self._hand_out(crew, queue)
            while len(queue) or any(member.batches for member in self._members):
                episodes = self._listen(crew, queue, died)
                self._hand_out(crew, queue)
                yield from episodes
        finally:
            self._streaming = False
            for member in [each for each in self._members if each.batches]:
                self._bury(member)  # it would answer into the next stream

    @property
    def workers(self) -> int:
        """How many workers there are once there is enough to do; 0 for this process."""
        if self._wanted == 0:
            return 0
        self._crew = self._crew or self._hire()
        return self._crew.size

    @property
    def worker_pids(self) -> list[int]:
        """The process numbers of the local workers."""
        found = [getattr(member.worker, "process", None) for member in self._members]
        return [process.pid for process in found if process is not None]

    def close(self) -> None:
        """End the workers; a later ``run`` starts new ones."""
        for member in [each for each in self._members if each.batches or not each.ready]:
            self._bury(member)
        if self._crew is not None:
            self._crew.close([member.worker for member in self._members])
            self._crew = None
        self._members.clear()

    def __enter__(self) -> RolloutEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hire(self) -> Backend:
        if self._wanted == 0:
            return InProcessBackend(trusted=self._trusted, lock_step=self._lock_step)
        if self._backend == "ray":
            from trace_robot.rollout.backends.ray import RayBackend

            return RayBackend(self._wanted, self._address, trusted=self._trusted, lock_step=self._lock_step)
        from trace_robot.rollout.backends.processes import ProcessBackend

        size = default_workers() if self._wanted is None else self._wanted
        return ProcessBackend(size, trusted=self._trusted, lock_step=self._lock_step)

    def _hand_out(self, crew: Backend, queue: Batches) -> None:
        """Give every worker something to do, and start more while there is work for them.

        A worker gets its next batch ahead of time only while that leaves one for each of the others.
        """
        while len(queue):
            free = [member for member in self._members if member.ready and not member.batches]
            starting = sum(not member.ready for member in self._members)
            if len(self._members) < crew.size and len(queue) > len(free) + starting:
                self._members.append(_Member(crew.start()))
                continue
            if not free and len(queue) >= crew.size + starting:
                free = [
                    member for member in self._members if member.ready and len(member.batches) < crew.ahead
                ]
            if not free:
                return
            member = free[0]
            batch = queue.next(member.known)
            member.give(batch, queue.environment(batch[0][1]), self._silence)

    def _listen(self, crew: Backend, queue: Batches, died: set[int]) -> list[tuple[int, Episode]]:
        """Wait for news and return the episodes in it."""
        by_worker = {id(member.worker): member for member in self._members}
        episodes: list[tuple[int, Episode]] = []
        for worker, news in crew.wait([member.worker for member in self._members], WAIT_SECONDS):
            member = by_worker[id(worker)]
            if news.error is not None:
                self._bury(member)
                raise news.error
            if news.died:
                episodes += self._lost(member, queue, died, news.died)
                continue
            member.hear(news, self._silence)
            self._start_deaths = 0
            episodes += news.episodes
        for member in [each for each in self._members if each.overdue()]:
            episodes += self._lost(member, queue, died, "it gave no sign of life")
        return episodes

    def _lost(self, member: _Member, queue: Batches, died: set[int], why: str) -> list[tuple[int, Episode]]:
        """Bury a worker: the jobs of the batch it was at are suspects, those of the next merely run elsewhere."""
        self._bury(member)
        if not member.ready:
            self._start_deaths += 1
            if self._start_deaths >= START_DEATHS:
                raise EnvironmentFault(
                    f"rollout workers end before they are ready: {why}; what they wrote to standard error says more"
                )
        episodes: list[tuple[int, Episode]] = []
        for place, pending in enumerate(member.batches):
            if place > 0:
                queue.put_back(list(pending.items()))
                continue
            for index, job in pending.items():
                if index in died:
                    episodes.append((index, _crashed(job, why)))
                else:
                    died.add(index)
                    queue.put_back([(index, job)])
        member.batches.clear()
        return episodes

    def _bury(self, member: _Member) -> None:
        member.worker.kill()
        self._members.remove(member)


class _Member:
    """One worker and what it still owes.

    batches: jobs by index, in the order in which it does them. known: environments that it has made, latest first.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.ready = False
        self.batches: deque[dict[int, Job]] = deque()
        self.known: deque[str] = deque(maxlen=KNOWN_ENVIRONMENTS)
        self._deadline = time.monotonic() + START_SECONDS

    def give(self, batch: Batch, environment: str, silence: float | None) -> None:
        if environment in self.known:
            self.known.remove(environment)
        self.known.appendleft(environment)
        self.batches.append(dict(batch))
        if len(self.batches) == 1:
            self._extend(silence)
        self.worker.send(batch)

    def hear(self, news: WorkerMessage, silence: float | None) -> None:
        self.ready = True
        for index, _ in news.episodes:
            self.batches[0].pop(index, None)
        while self.batches and not self.batches[0]:
            self.batches.popleft()
        self._extend(silence)

    def overdue(self) -> bool:
        return (bool(self.batches) or not self.ready) and time.monotonic() > self._deadline

    def _extend(self, silence: float | None) -> None:
        """Give the batch at hand its time; the sandbox has the short deadlines, this is the backstop."""
        if not self.batches:
            return
        if silence is None:
            jobs = self.batches[0].values()
            silence = GRACE_SECONDS + sum(
                10 * (job.limits.episode_seconds + job.limits.load_seconds) for job in jobs
            )
        self._deadline = time.monotonic() + silence


def default_workers() -> int:
    """Return the number of processors this process may use."""
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
    from trace_robot.rollout.env_runner import failed

    return failed(job, None, Fault("crash", f"the rollout worker died twice running this episode: {why}"))
