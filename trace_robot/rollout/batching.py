"""Batching: groups of jobs that one worker runs together, and their budget."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from trace_robot.rollout.episode import Episode, Job

Numbered = tuple[int, Job]
Batch = list[Numbered]
OnEpisode = Callable[[int, Episode], None]
LARGEST_GROUP = 8  # episodes of one controller, run in lock step
LARGEST_CHUNK = 16  # episodes of programs, each a few milliseconds: together, so that messages stay few
READ_AHEAD = (
    8  # largest groups a worker that are read at once, so that jobs of one controller are found and joined
)


class Stream(Protocol):
    """The method ``stream`` of an engine."""

    def __call__(
        self, jobs: Iterable[Job], *, deadline: float | None = None
    ) -> Generator[tuple[int, Episode], None, None]: ...


@dataclass(frozen=True, slots=True)
class BatchLimit:
    """What the episodes of several jobs may cost together.

    Attributes:
        steps: simulator steps, counted in the order of the jobs; the episode that reaches them is the last that counts.
            None for no limit.
        seconds: of wall clock; None for no limit.
        episode_steps: simulator steps that one episode takes at most.
        least: jobs that are run in any case, the first ones.
    """

    steps: int | None = None
    seconds: float | None = None
    episode_steps: int = 1
    least: int = 0

    def certain(self, spent: int, workers: int) -> int:
        """Return how many further jobs may run at once.

        All but ``workers`` - 1 of them are certain to count.

        Args:
            spent: simulator steps of the jobs before.
            workers: processes that would idle otherwise.
        """
        if self.steps is None:
            return sys.maxsize
        return max(1, workers, -(-(self.steps - spent) // max(1, self.episode_steps)))


def run_within(
    stream: Stream, workers: int, jobs: Sequence[Job], limit: BatchLimit, on_episode: OnEpisode | None = None
) -> dict[int, Episode]:
    """Run jobs until a limit is reached, as ``RolloutEngine.run_within`` says.

    Args:
        stream: of an engine.
        workers: its number of processes.
        jobs: in the order in which they count.
        limit: of them all.
        on_episode: called with (index of the job, episode) as each episode ends.

    Returns:
        Episodes by the index of their job.
    """
    deadline = None if limit.seconds is None else time.monotonic() + limit.seconds
    done: dict[int, Episode] = {}

    def run(chosen: Sequence[int], deadline: float | None) -> dict[int, Episode]:
        found: dict[int, Episode] = {}
        with closing(stream((jobs[index] for index in chosen), deadline=deadline)) as episodes:
            for place, episode in episodes:
                found[chosen[place]] = episode
                if on_episode is not None:
                    on_episode(chosen[place], episode)
        return found

    first = spent = 0
    while first < len(jobs) and (limit.steps is None or spent < limit.steps):
        if deadline is not None and time.monotonic() >= deadline:
            break
        last = min(len(jobs), first + limit.certain(spent, workers))
        found = run(range(first, last), deadline)
        for index in sorted(found):
            if limit.steps is not None and spent >= limit.steps:
                break
            done[index] = found[index]
            spent += found[index].charged_steps
        first = last
    missing = [index for index in range(min(limit.least, len(jobs))) if index not in done]
    return done | run(missing, None) if missing else done


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
