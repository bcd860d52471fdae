"""Write-ahead journaling of a model and an engine, for deterministic replay.

An answer is on disk before it is used. A run that is resumed asks for the same again and gets it from the journal.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trace_robot.errors import (
    BudgetExceededError,
    ContextLengthError,
    ModelAuthError,
    ModelError,
    ReplayMismatchError,
    RunError,
    TraceRobotError,
    UnknownModelError,
)
from trace_robot.fault import Limits
from trace_robot.llm.model import IMAGES, ChatModel, Message, Reply
from trace_robot.llm.recording import RecordingModel
from trace_robot.llm.refusal import from_data
from trace_robot.render.job import require_own_scene
from trace_robot.rollout.evaluation import require_environment
from trace_robot.rollout.feedback import representative
from trace_robot.settings import BLOCKS, STRIDE
from trace_robot.store.codec import decode_episodes, decode_json, encode_episodes, encode_json
from trace_robot.store.command_line import budget_spent
from trace_robot.store.journal import Journal, hash_of
from trace_robot.store.records import decoding

if TYPE_CHECKING:
    from trace_robot.llm.metering import Usage
    from trace_robot.llm.openai_model import OpenAIModel
    from trace_robot.rollout.batching import BatchLimit, OnEpisode
    from trace_robot.rollout.episode import Episode, Job
    from trace_robot.rollout.evaluation import JobRunner

log = logging.getLogger("trace_robot.run")
# Errors that end a run and that the user can mend: a resumed run asks again. Any other error of a model is an answer:
# the optimizer goes on from it, and so must the replay.
NOT_JOURNALED = (BudgetExceededError, ModelAuthError, UnknownModelError, ReplayMismatchError)


class JournaledModel:
    """Answers from the journal while it has entries, then from the model.

    usage: the model's. An answer from the journal counts in it what it cost when it was given. endpoint: learns from
    the journal what it has refused before. token_budget: of prompts, where a resumed run was given another one: it
    holds from the first prompt that the journal does not have, and is journaled as the answer to that prompt once the
    optimizer asks again: one that the optimizer refuses leaves the journal as it was. seconds: of the run, after which
    the model is asked no more; None for no limit.
    """

    def __init__(
        self,
        model: ChatModel,
        usage: Usage,
        journal: Journal,
        *,
        endpoint: OpenAIModel | None = None,
        token_budget: int | None = None,
        seconds: float | None = None,
    ) -> None:
        self.model, self.usage, self.journal, self.seconds = model, usage, journal, seconds
        self.endpoint, self.token_budget = endpoint, token_budget
        self._accepted: tuple[str, bytes] | None = None

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        if self._accepted is not None:
            self.journal.put("no answer", *self._accepted)
            self._accepted = None
        if self.seconds is not None and self.journal.time_over(self.seconds):
            raise BudgetExceededError(budget_spent("seconds", self.seconds))
        request = request_hash(messages, n)
        entry = self.journal.take(("replies", "no answer"), request)
        if entry is not None:
            if isinstance(
                self.model, RecordingModel
            ):  # its file has the exchange too, and would answer with it next
                self.model.skip(messages, n)
            with decoding("the run's journal"):
                return self._replay(decode_json(entry.data))
        before = self.usage.to_data()
        if self.token_budget is not None:
            wanted, self.token_budget = self.token_budget, None
            asked = ContextLengthError(f"a token budget of {wanted} was asked for", prompt=wanted)
            context: dict[str, Any] = {"limit": None, "prompt": wanted, "strict": True}
            self._accepted = request, self._data(before, error=str(asked), context=context)
            raise asked
        try:
            replies = self.model.chat(messages, n)
        except NOT_JOURNALED:
            raise
        except ContextLengthError as error:
            context = {"limit": error.limit, "prompt": error.prompt}
            self.journal.put("no answer", request, self._data(before, error=str(error), context=context))
            raise
        except ModelError as error:
            self.journal.put("no answer", request, self._data(before, error=str(error)))
            raise
        refused = [] if self.endpoint is None else [a.to_data() for a in self.endpoint.adjustments]
        added = {"refused": refused} if refused else {}
        data = self._data(before, replies=[reply.to_data() for reply in replies], **added)
        self.journal.put("replies", request, data)
        return replies

    def _data(self, before: dict[str, Any], **answer: Any) -> bytes:
        """Return replies or an error together with their cost.

        Seconds are left out, as the journal has a clock.
        """
        after = self.usage.to_data()
        cost = {name: after[name] - before[name] for name in after if name != "seconds"}
        return encode_json({**answer, "cost": cost})

    def _replay(self, data: dict[str, Any]) -> list[Reply]:
        for name in self.usage.to_data().keys() & data["cost"].keys():
            setattr(self.usage, name, getattr(self.usage, name) + data["cost"][name])
        if self.endpoint is not None:
            self.endpoint.learn(from_data(data.get("refused")))
        if "context" in data:  # the optimizer goes on with a shorter prompt, as it did
            limit, prompt = (data["context"].get(name) for name in ("limit", "prompt"))
            raise ContextLengthError(
                str(data["error"]),
                limit if isinstance(limit, int) and limit > 0 else None,
                prompt if isinstance(prompt, int) and prompt > 0 else None,
                strict=bool(data["context"].get("strict")),
            )
        if "error" in data:
            raise ModelError(str(data["error"]))
        counts = ("prompt_tokens", "completion_tokens")
        return [
            Reply(str(reply["text"]), str(reply["finish_reason"]), *(int(reply[name]) for name in counts))
            for reply in data["replies"]
        ]


class JournaledEngine:
    """Episodes from the journal while it has entries, then from the engine.

    What ``run`` returns has always been encoded and decoded, so that a replay returns the same to the last bit. Of a
    controller's recorded episodes only the representative one keeps its states and observations.
    """

    def __init__(self, engine: JobRunner, journal: Journal) -> None:
        self.engine, self.journal = engine, journal
        self._accepted = False  # whether a batch of the run has been, now or before an interruption

    def run(self, jobs: Iterable[Job], *, on_episode: OnEpisode | None = None) -> list[Episode]:
        jobs = list(jobs)
        request = jobs_hash(jobs)
        entry = self.journal.take(("episodes",), request)
        if entry is None:
            done = self.engine.run(jobs, on_episode=on_episode)
            self._accept(done)
            data = encode_episodes(_trimmed(jobs, done))
            self.journal.put("episodes", request, data)
            return decode_episodes(data)
        episodes = self._replayed(entry.data, jobs)
        self._reported(dict(enumerate(episodes)), on_episode)
        return episodes

    def run_within(
        self, jobs: Sequence[Job], limit: BatchLimit, *, on_episode: OnEpisode | None = None
    ) -> dict[int, Episode]:
        """Return the episodes of those jobs that fit into a limit.

        Where the limit cut the jobs is journaled, so that a replay is cut at the same place on a machine of any speed.

        Args:
            jobs: in the order in which they count.
            limit: of them all.
            on_episode: called with (index of the job, episode) as each episode ends.

        Returns:
            Episodes by the index of their job.
        """
        if not jobs or (limit.steps is not None and limit.steps <= 0 and not limit.least):
            return {}  # without an entry, as the next run of this batch knows it too
        request = jobs_hash(jobs)
        cut = self.journal.take_cut(request)
        if cut is not None:  # the clock left gaps: the entry names the jobs that were done
            chosen = _journaled_cut(cut.data, len(jobs))
            done = self.run([jobs[index] for index in chosen])
            return self._reported(dict(zip(chosen, done, strict=True)), on_episode)
        entry = self.journal.take(("episodes",), request)
        if entry is not None:
            return self._reported(dict(enumerate(self._replayed(entry.data, jobs, cut=True))), on_episode)
        found = self.engine.run_within(jobs, limit, on_episode=on_episode)
        self._accept(list(found.values()))
        chosen = sorted(found)
        counted = [jobs[index] for index in chosen]
        data = encode_episodes(_trimmed(counted, [found[index] for index in chosen]))
        if chosen != list(range(len(chosen))):
            self.journal.put("time over", request, encode_json(chosen))
            request = jobs_hash(counted)
        self.journal.put("episodes", request, data)
        return dict(zip(chosen, decode_episodes(data), strict=True))

    def _accept(self, episodes: Sequence[Episode]) -> None:
        """Raise EnvironmentFault for episodes that are not to be journaled.

        A resumed run rolls these out again, after the environment has been mended.
        """
        require_environment(episodes, start=not self._accepted)
        self._accepted = self._accepted or bool(episodes)

    def _replayed(self, data: bytes, jobs: Sequence[Job], *, cut: bool = False) -> list[Episode]:
        episodes = _journaled_episodes(data, jobs[0].options.get("python") if jobs else None)
        seeds = [episode.seed for episode in episodes]
        if seeds != [job.seed for job in jobs[: len(seeds) if cut else None]]:
            raise RunError(
                f"the run's journal must have the episodes of {len(jobs)} jobs, got conditions {seeds!r:.200};"
                " the store is damaged"
            )
        self._accepted = self._accepted or bool(episodes)
        return episodes

    @staticmethod
    def _reported(episodes: dict[int, Episode], on_episode: OnEpisode | None) -> dict[int, Episode]:
        for index, episode in episodes.items():
            if on_episode is not None:
                on_episode(index, episode)
        return episodes


def began_unbounded(journal: Journal) -> bool:
    """Return whether a run began beyond the whole blocks, as one of 0.1 could."""
    entry = journal.first()
    if entry is None or entry.kind != "episodes":
        return False
    return any(episode.seed >= BLOCKS * STRIDE for episode in _journaled_episodes(entry.data))


def _journaled_episodes(data: bytes, python: str | None = None) -> list[Episode]:
    """Return the episodes of an entry, which may be a stranger's.

    Args:
        data: of the entry.
        python: the interpreter that the run's jobs name, None for none.
    """
    with decoding("the run's journal"):
        return [_drawable(episode, python) for episode in decode_episodes(data)]


def _journaled_cut(data: bytes, count: int) -> list[int]:
    """Return which of ``count`` jobs were done when the clock cut a batch."""
    with decoding("the run's journal"):
        chosen = [int(index) for index in decode_json(data)]
    if not all(0 <= index < count for index in chosen) or chosen != sorted(set(chosen)):
        raise RunError(
            f"the run's journal must cut a batch at ascending indices below {count}, got {chosen!r:.200}; the store is"
            " damaged"
        )
    return chosen


def _drawable(episode: Episode, python: str | None) -> Episode:
    """Return an episode of a journal, not drawn by what a stranger chose."""
    if episode.scene is None:
        return episode
    try:
        require_own_scene(episode.scene, python)
    except TraceRobotError as error:
        log.warning("no picture of an episode of the journal: %s", error)
        return dataclasses.replace(episode, scene=None, states=None)
    return episode


def request_hash(messages: Sequence[Message], n: int) -> str:
    """Return a hash of a request to a model.

    Args:
        messages: the prompt.
        n: replies that it asks for.
    """
    rows = [
        [message["role"], message["content"], *([message[IMAGES]] if IMAGES in message else [])]
        for message in messages
    ]
    return hash_of([rows, n])


def jobs_hash(jobs: Sequence[Job]) -> str:
    """Return a hash of a batch of jobs.

    The rows below are what journals of older runs were hashed from: their order and their content stay.
    """
    hashes: dict[int, str] = {}

    # Texts and options are shared by many jobs of a batch. By identity, each is hashed once.
    def short(part: Any) -> str:
        if id(part) not in hashes:
            hashes[id(part)] = hash_of(dataclasses.asdict(part) if isinstance(part, Limits) else part)
        return hashes[id(part)]

    # Where an interpreter lies is no part of what is asked for: it may have moved when the run is resumed.
    def options_hash(options: Mapping[str, Any]) -> str:
        return hash_of({**options, "python": ""}) if "python" in options else short(options)

    rows = [
        [
            job.env,
            job.seed,
            options_hash(job.options),
            short(job.controller),
            short(job.program),
            job.trace,
            job.record,
            job.observe,
            job.rewards,
            job.measure,
            job.level,
            short(job.limits),
        ]
        for job in jobs
    ]
    return hash_of(rows)


def _trimmed(jobs: Sequence[Job], episodes: Sequence[Episode]) -> list[Episode]:
    """Keep states and observations of one episode a controller, the representative.

    They are most of an episode's bytes, and only that one is shown.
    """
    kept = list(episodes)
    for group in _by_controller(jobs):
        shown = group[representative([episodes[index] for index in group])]
        for index in group:
            if index != shown or not jobs[index].record:
                episode = episodes[index]
                kept[index] = dataclasses.replace(
                    episode, states=None, scene=None, observations=episode.observations[:0]
                )
    return kept


def _by_controller(jobs: Sequence[Job]) -> list[list[int]]:
    """Return the indices of each candidate's jobs.

    They have one controller text, and each condition once.
    """
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
