"""A model and an engine that a run remembers: what they gave is on disk before it is used, and is given again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from trace_robot.errors import (
    BudgetExceededError,
    ModelAuthError,
    ModelError,
    ReplayMismatchError,
    UnknownModelError,
)
from trace_robot.fault import Limits
from trace_robot.llm.metering import Usage
from trace_robot.llm.model import ChatModel, Message, Reply
from trace_robot.llm.recording import RecordingModel
from trace_robot.rollout.episode import Episode, Job
from trace_robot.rollout.evaluation import JobRunner
from trace_robot.rollout.feedback import most_telling
from trace_robot.store.codec import decode_episodes, decode_json, encode_episodes, encode_json
from trace_robot.store.journal import Journal, hash_of

if TYPE_CHECKING:
    from trace_robot.rollout.engine import OnEpisode

NOT_KEPT = (
    BudgetExceededError,
    ModelAuthError,
    UnknownModelError,
    ReplayMismatchError,
)  # they end the asking


class JournaledModel:
    """Answers from the journal while it has answers, then asks the model and writes its replies down.

    usage: the model's. An answer from the journal counts in it what it cost when it came.
    """

    def __init__(self, model: ChatModel, usage: Usage, journal: Journal) -> None:
        self.model, self.usage, self.journal = model, usage, journal

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        request = request_hash(messages, n)
        entry = self.journal.take(("replies", "no answer"), request)
        if entry is not None:
            if isinstance(self.model, RecordingModel):
                self.model.skip(messages, n)
            return self._again(decode_json(entry.data))
        before = self.usage.to_data()
        try:
            replies = self.model.chat(messages, n)
        except NOT_KEPT:
            raise
        except ModelError as error:
            self.journal.put("no answer", request, self._data(before, error=str(error)))
            raise
        data = self._data(before, replies=[reply.to_data() for reply in replies])
        self.journal.put("replies", request, data)
        return replies

    def _data(self, before: dict[str, Any], **what: Any) -> bytes:
        """Return what came with what it cost; the clock is the journal's."""
        after = self.usage.to_data()
        cost = {name: after[name] - before[name] for name in after if name != "seconds"}
        return encode_json({**what, "cost": cost})

    def _again(self, data: dict[str, Any]) -> list[Reply]:
        for name, amount in data["cost"].items():
            setattr(self.usage, name, getattr(self.usage, name) + amount)
        if "error" in data:
            raise ModelError(data["error"])
        return [Reply(**reply) for reply in data["replies"]]


class JournaledEngine:
    """Episodes from the journal while it has some, then from ``engine``, a batch on disk before it is used.

    Of the episodes of one controller that were recorded only the most telling keeps its states and observations.
    What is returned is always what was written down, so that it is the same when it is heard again.
    """

    def __init__(self, engine: JobRunner, journal: Journal) -> None:
        self.engine, self.journal = engine, journal

    def run(self, jobs: Iterable[Job], *, on_episode: OnEpisode | None = None) -> list[Episode]:
        jobs = list(jobs)
        request = jobs_hash(jobs)
        entry = self.journal.take(("episodes",), request)
        if entry is None:
            data = encode_episodes(_trimmed(jobs, self.engine.run(jobs, on_episode=on_episode)))
            self.journal.put("episodes", request, data)
            return decode_episodes(data)
        episodes = decode_episodes(entry.data)
        for index, episode in enumerate(episodes):
            if on_episode is not None:
                on_episode(index, episode)
        return episodes


def request_hash(messages: Sequence[Message], n: int) -> str:
    return hash_of([[[message["role"], message["content"]] for message in messages], n])


def jobs_hash(jobs: Sequence[Job]) -> str:
    """Return a hash of the jobs; what many of them share is hashed once."""
    known: dict[int, str] = {}

    def short(part: Any) -> str:
        if id(part) not in known:
            known[id(part)] = hash_of(dataclasses.asdict(part) if isinstance(part, Limits) else part)
        return known[id(part)]

    rows = [
        [job.env, job.seed, short(job.options), short(job.controller), short(job.program), job.trace, job.record,
         job.observe, job.rewards, job.measure, job.level, short(job.limits)]
        for job in jobs
    ]  # fmt: skip
    return hash_of(rows)


def _trimmed(jobs: Sequence[Job], episodes: Sequence[Episode]) -> list[Episode]:
    """Drop states and observations of all but the most telling of the recorded episodes of each controller."""
    kept = list(episodes)
    for group in _by_controller(jobs):
        telling = group[most_telling([episodes[index] for index in group])]
        for index in group:
            if index != telling or not jobs[index].record:
                nothing = episodes[index].observations[:0]
                kept[index] = dataclasses.replace(
                    episodes[index], states=None, scene=None, observations=nothing
                )
    return kept


def _by_controller(jobs: Sequence[Job]) -> list[list[int]]:
    """Return the indices of the jobs of each candidate's controller: one text, each condition once."""
    groups: list[list[int]] = []
    text, seeds = "", set[int]()
    for index, job in enumerate(jobs):
        if job.controller is None:
            continue
        if job.controller != text or job.seed in seeds or not groups:
            groups.append([])
            text, seeds = job.controller, set()
        groups[-1].append(index)
        seeds.add(job.seed)
    return groups
