"""Batching: cuts a stream of jobs into groups that one worker runs together."""

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
LARGEST_CHUNK = 16  # episodes of programs, each a few milliseconds: together, so that messages stay few
READ_AHEAD = (
    8  # largest groups a worker that are read at once, so that jobs of one controller are found and joined
)


class Batches:
    """Batches of a lazily read stream of jobs.

    Jobs of one controller in one environment are joined; programs of one environment too. A batch is small enough that
    every worker gets one.
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
        """Return the number of batches that are ready, 0 only if there are no more jobs."""
        if not self._count and not self._again:
            self._read()
        return self._count + len(self._again)

    def next(self, known: Collection[str] = ()) -> Batch:
        """Return a batch, preferably of an environment that the worker has made already.

        ``known`` names those environments, the preferred first, as making one is slow. Raises IndexError if
        there is no batch.
        """
        if not len(self):
            raise IndexError("there are no more jobs")
        if self._again:
            return self._again.popleft()
        name = next((name for name in known if name in self._waiting), None)
        name = name or max(self._waiting, key=lambda name: len(self._waiting[name]))
        batch = self._waiting[name].popleft()
        self._count -= 1
        if not self._waiting[name]:
            del self._waiting[name]
        return batch

    def put_back(self, batch: Batch) -> None:
        """Take back a batch that was not begun, or that must be run again."""
        self._again.append(batch)

    def environment(self, job: Job) -> str:
        """Return a name for an environment with its options.

        Jobs of one name share simulators.
        """
        # The jobs of a batch share one dict of options, so it is serialized once; the dict is kept, as the id of a
        # freed one may be reused.
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
    """Cut a batch into parts of nearly equal length, the longer ones first.

    Args:
        batch: to cut.
        size: jobs in a part at most.
        workers: where there is more than one part, their number is rounded up to a multiple of this, so that no worker
            is left with an extra part at the end.
    """
    parts = -(-len(batch) // size)
    if parts > 1:
        parts = min(len(batch), -(-parts // workers) * workers)
    ends = [len(batch) * part // parts for part in range(parts + 1)]
    cut = [batch[start:end] for start, end in itertools.pairwise(ends)]
    return sorted(cut, key=len, reverse=True)
