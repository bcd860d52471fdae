"""Cutting a stream of jobs into batches that a worker does in one go."""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from trace_robot.rollout.episode import Job

Numbered = tuple[int, Job]
Batch = list[Numbered]
LARGEST_GROUP = 8  # episodes of one controller, run in lock step
LARGEST_CHUNK = 16  # episodes of programs, each a few milliseconds
READ_AHEAD = 8  # largest groups a worker that are looked at together


class Batches:
    """Batches of a stream of jobs, which is read as they are needed.

    Jobs of one controller in one environment come together; programs of one environment too. A batch is small
    enough that every worker gets one.
    """

    def __init__(self, jobs: Iterable[Job], workers: int) -> None:
        self._jobs = enumerate(jobs)
        self._workers = max(1, workers)
        self._waiting: dict[str, deque[Batch]] = {}
        self._again: deque[Batch] = deque()
        self._count = 0
        self._read_all = False
        self._options: dict[int, tuple[Mapping[str, Any], str]] = {}

    def __len__(self) -> int:
        """Return how many batches can be had now; 0 only if there are no more jobs."""
        if not self._count and not self._again:
            self._read()
        return self._count + len(self._again)

    def next(self, known: Collection[str] = ()) -> Batch:
        """Return a batch, of an environment in ``known`` if possible: a worker knows those that it has made.

        Raises IndexError if there is none.
        """
        if not len(self):
            raise IndexError("there are no more jobs")
        if self._again:
            return self._again.popleft()
        name = next((name for name in known if name in self._waiting), None)
        name = name or max(self._waiting, key=lambda each: len(self._waiting[each]))
        batch = self._waiting[name].popleft()
        self._count -= 1
        if not self._waiting[name]:
            del self._waiting[name]
        return batch

    def put_back(self, batch: Batch) -> None:
        """Take back a batch that nobody has begun, or that must be run again."""
        self._again.append(batch)

    def environment(self, job: Job) -> str:
        """Return a name for the environment with its options: jobs that share it share simulators."""
        kept = self._options.get(id(job.options))
        if kept is None or kept[0] is not job.options:
            if len(self._options) > 1000:
                self._options.clear()
            kept = job.options, json.dumps(dict(job.options), sort_keys=True, default=str)
            self._options[id(job.options)] = kept
        return f"{job.env} {kept[1]}"

    def _read(self) -> None:
        """Read the next jobs of the stream and cut them."""
        room = self._workers * LARGEST_GROUP * READ_AHEAD
        window: list[Numbered] = []
        while len(window) < room and not self._read_all:
            numbered = next(self._jobs, None)
            if numbered is None:
                self._read_all = True
            else:
                window.append(numbered)
        alike: dict[tuple[Any, ...], Batch] = {}
        for numbered in window:
            alike.setdefault(self._kind(numbered[1]), []).append(numbered)
        for kind, batch in alike.items():
            cut = cut_evenly(batch, self._size(batch[0][1], len(window)), self._workers)
            self._waiting.setdefault(kind[0], deque()).extend(cut)
            self._count += len(cut)

    def _kind(self, job: Job) -> tuple[Any, ...]:
        flags = (job.trace, job.record, job.observe, job.rewards, job.measure, job.limits)
        return self.environment(job), job.program is None, job.controller, *flags

    def _size(self, job: Job, jobs: int) -> int:
        if job.program is not None:
            return max(1, min(LARGEST_CHUNK, jobs // (4 * self._workers)))
        return max(1, min(LARGEST_GROUP, -(-jobs // self._workers)))


def cut_evenly(batch: Batch, size: int, workers: int) -> list[Batch]:
    """Cut into parts of nearly the same length, at most ``size``; as many for each worker where there are enough."""
    parts = -(-len(batch) // size)
    if parts > 1:
        parts = min(len(batch), -(-parts // workers) * workers)
    ends = [len(batch) * part // parts for part in range(parts + 1)]
    cut = [batch[start:end] for start, end in itertools.pairwise(ends)]
    return sorted(cut, key=len, reverse=True)
