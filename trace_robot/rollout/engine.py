"""The rollout engine: jobs in, episodes out, over worker processes that live as long as the engine.

The same jobs give the same episodes in any order and with any number of workers.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection, Pipe, wait
from types import TracebackType
from typing import Any

from trace_robot import errors
from trace_robot.errors import EnvironmentFault, TraceRobotError
from trace_robot.rollout.episode import Episode, Job
from trace_robot.sandbox.types import Fault

Numbered = tuple[int, Job]
OnEpisode = Callable[[int, Episode], None]
GRACE_SECONDS = 60.0
LARGEST_CHUNK = 16


class Engine:
    """Runs jobs in ``workers`` processes, or in this one if ``workers`` is 0 (for debugging).

    A worker that dies is replaced, and the job it died at is run once more; if that kills the next worker
    too, its episode ends with the fault "crash". Controllers run in a sandbox of their own either way.
    """

    def __init__(self, workers: int | None = None, *, trusted: bool = False) -> None:
        self.workers = default_workers() if workers is None else workers
        if self.workers < 0:
            raise TraceRobotError(f"workers must be 0 (this process) or more, got {self.workers}")
        self._trusted = trusted
        self._crew: list[_Worker] = []
        self._bench: Any = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def run(self, jobs: Iterable[Job], *, on_episode: OnEpisode | None = None) -> list[Episode]:
        """Return the episodes in the order of ``jobs``; ``on_episode(index, episode)`` as each comes in."""
        numbered = list(enumerate(jobs))
        episodes: dict[int, Episode] = {}

        def keep(index: int, episode: Episode) -> None:
            episodes[index] = episode
            if on_episode is not None:
                on_episode(index, episode)

        if self.workers == 0:
            self._run_here(numbered, keep)
        else:
            self._run_there(numbered, keep)
        return [episodes[index] for index, _ in numbered]

    @property
    def worker_pids(self) -> list[int]:
        return [worker.process.pid for worker in self._crew]

    def close(self) -> None:
        """End the workers; a later ``run`` starts new ones."""
        for worker in self._crew:
            worker.kill()
        self._crew.clear()
        if self._bench is not None:
            self._bench.close()
            self._bench = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run_here(self, jobs: Sequence[Numbered], keep: OnEpisode) -> None:
        from trace_robot.rollout.bench import Bench

        if self._bench is None:
            self._bench = Bench(trusted=self._trusted)
        for index, job in jobs:
            keep(index, self._bench.run(job))

    def _run_there(self, jobs: Sequence[Numbered], keep: OnEpisode) -> None:
        queue = deque(_chunks(jobs, self.workers))
        died: set[int] = set()
        try:
            while queue or any(worker.pending for worker in self._crew):
                self._hand_out(queue)
                busy = [worker for worker in self._crew if worker.pending]
                ready = wait([worker.connection for worker in busy], timeout=1.0)
                for worker in busy:
                    if worker.connection in ready:
                        self._receive(worker, queue, died, keep)
                    elif worker.overdue():
                        self._bury(worker, queue, died, keep)
        except BaseException:
            self.close()  # an unfinished worker would answer into the next run
            raise

    def _hand_out(self, queue: deque[list[Numbered]]) -> None:
        while queue:
            idle = next((worker for worker in self._crew if not worker.pending), None)
            if idle is None and len(self._crew) < self.workers:
                if self._folder is None:
                    self._folder = tempfile.TemporaryDirectory(prefix="trace-robot-")
                idle = _Worker(self._folder.name, trusted=self._trusted)
                self._crew.append(idle)
            if idle is None:
                return
            idle.send(queue.popleft())

    def _receive(
        self, worker: _Worker, queue: deque[list[Numbered]], died: set[int], keep: OnEpisode
    ) -> None:
        try:
            message = worker.connection.recv()
        except (EOFError, ConnectionError):
            self._bury(worker, queue, died, keep)
            return
        if message[0] == "episode":
            worker.pending.pop(message[1], None)
            worker.extend()
            keep(message[1], message[2])
        else:
            raise getattr(errors, message[3], EnvironmentFault)(message[2])

    def _bury(self, worker: _Worker, queue: deque[list[Numbered]], died: set[int], keep: OnEpisode) -> None:
        """Replace a dead worker: its first pending job is the suspect, the others are merely run again."""
        pending = list(worker.pending.items())
        worker.kill()
        self._crew.remove(worker)
        if not pending:
            return
        index, job = pending[0]
        if index in died:
            from trace_robot.rollout.bench import failed

            keep(
                index, failed(job, None, Fault("crash", "the rollout worker died twice running this episode"))
            )
        else:
            died.add(index)
            queue.appendleft([(index, job)])
        if pending[1:]:
            queue.append(pending[1:])


class _Worker:
    """One worker process and what it still owes."""

    def __init__(self, folder: str, *, trusted: bool) -> None:
        ours, theirs = Pipe()
        arguments = [sys.executable, "-m", "trace_robot.rollout.worker", str(theirs.fileno())]
        self.process = subprocess.Popen(
            [*arguments, *(["--trusted"] if trusted else [])],
            pass_fds=[theirs.fileno()],
            cwd=folder,
            env=worker_environment(),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self.connection: Connection[Any, Any] = ours
        self.pending: dict[int, Job] = {}
        self._deadline = 0.0

    def send(self, chunk: list[Numbered]) -> None:
        self.pending = dict(chunk)
        self.extend()
        self.connection.send(chunk)

    def extend(self) -> None:
        """Give the next pending episode its time; the sandbox has the short deadlines, this is the backstop."""
        limits = [job.limits.episode_seconds + job.limits.load_seconds for job in self.pending.values()]
        self._deadline = time.monotonic() + GRACE_SECONDS + 10 * max(limits, default=0.0)

    def overdue(self) -> bool:
        return time.monotonic() > self._deadline

    def kill(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.wait()


def default_workers() -> int:
    """Return the number of processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_environment() -> dict[str, str]:
    """Return this process's environment without keys, and with one thread for each numerical library."""
    secret = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")
    kept = {
        name: value for name, value in os.environ.items() if not any(word in name.upper() for word in secret)
    }
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    workspace = {"TRACE_ROBOT_WORKSPACE": os.environ.get("TRACE_ROBOT_WORKSPACE", os.getcwd())}
    return {**kept, **threads, **workspace}


def _chunks(jobs: Sequence[Numbered], workers: int) -> list[list[Numbered]]:
    """Cut jobs into chunks: programs are short and travel together, controllers one by one."""
    size = (
        max(1, min(LARGEST_CHUNK, len(jobs) // (4 * workers))) if all(job.program for _, job in jobs) else 1
    )
    ordered = sorted(jobs, key=lambda numbered: numbered[1].env)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]
