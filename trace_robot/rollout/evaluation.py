"""Evaluate candidates: episodes on equal conditions, scores, feedback, a graph."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from trace_robot.errors import EnvironmentFault
from trace_robot.fault import Limits
from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.rollout.batching import BatchLimit, OnEpisode
from trace_robot.rollout.episode import Episode, Job
from trace_robot.rollout.evidence import evidence_of
from trace_robot.rollout.feedback import feedback, representative
from trace_robot.rollout.growth import further, with_notes
from trace_robot.settings import SeedSplit
from trace_robot.stats import wilson as wilson

if TYPE_CHECKING:
    from trace_robot.rollout.task import Task
    from trace_robot.settings import Settings

OnProgress = Callable[[int, int], None]
Limiter = Callable[[int], BatchLimit]  # what further jobs may cost, by the simulator steps so far


class JobRunner(Protocol):
    """Runs jobs: an engine, or a journal before an engine."""

    def run(self, jobs: Iterable[Job], *, on_episode: OnEpisode | None = None) -> list[Episode]: ...

    def run_within(
        self, jobs: Sequence[Job], limit: BatchLimit, *, on_episode: OnEpisode | None = None
    ) -> dict[int, Episode]: ...


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A candidate with the controller text that ran, its episodes and its outcome.

    complete: every condition that it was to be tried on was; False where a budget ended before.
    """

    candidate: Candidate
    text: str
    episodes: tuple[Episode, ...]
    outcome: Outcome
    complete: bool = True


@dataclass(slots=True)
class Evaluator:
    """Rolls candidates of a task out, all on the same conditions, and scores them.

    Attributes:
        engine: runs the jobs.
        task: environment and policy.
        seeds: the training conditions.
        limits: time and memory of a controller.
        level: of the feedback.
        confirm: further conditions, on which a controller that solved all of ``seeds`` is rolled out before it counts
            as having solved anything; its outcome is then over both.
        reserve: conditions by which ``seeds`` grow while all are solved.
        counted: outcomes say on how many conditions they are, by which ``Outcome.rank`` compares.
        keep_observations: bring back what controllers observed.
        journaled: the engine is a journal, which refuses a broken environment itself, before it keeps the episodes.
        environment_steps, candidates: counts so far.
        failed: episodes so far that the environment's own failure ended.
        failure: the last one as text.
    """

    engine: JobRunner
    task: Task
    seeds: tuple[int, ...]
    limits: Limits = field(default_factory=Limits)
    level: str = "outcome"
    confirm: tuple[int, ...] = ()
    reserve: tuple[int, ...] = ()
    counted: bool = False
    keep_observations: bool = False
    journaled: bool = False
    environment_steps: int = field(default=0, init=False)
    candidates: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)
    failure: str = field(default="", init=False)
    _unfinished: tuple[Sequence[Candidate], Sequence[str], dict[int, Episode]] = field(
        default=((), (), {}), init=False, repr=False
    )

    @classmethod
    def of(cls, engine: JobRunner, task: Task, settings: Settings, *, journaled: bool = False) -> Evaluator:
        """Return the evaluator of a run, which keeps observations for the store.

        Args:
            engine: runs the jobs.
            task: environment and policy.
            settings: name the conditions, the limits and the feedback level.
            journaled: the engine is a journal.
        """
        split = SeedSplit.of(settings)
        return cls(
            engine,
            task,
            split.training,
            settings.limits,
            settings.feedback,
            confirm=split.confirmation,
            reserve=split.reserve,
            counted=settings.rules > 1,
            keep_observations=True,
            journaled=journaled,
        )

    def evaluate(
        self,
        candidates: Sequence[Candidate],
        *,
        graph: bool = False,
        on_progress: OnProgress | None = None,
        limiter: Limiter | None = None,
    ) -> list[Evaluation]:
        """Roll every candidate out on its conditions.

        Args:
            candidates: to evaluate, all jobs in one batch.
            graph: trace one representative episode of each once more, and put its graph into the outcome.
            on_progress: called with the number of episodes done and of all.
            limiter: of the budget; None for none. Its ``least`` is of the first batch, not of what follows from it.

        Returns:
            One evaluation a candidate, in their order, but for those that the budget left without an episode.
        """
        texts = [self.text(candidate) for candidate in candidates]
        jobs = [
            self._job(candidate, text, seed)
            for candidate, text in zip(candidates, texts, strict=True)
            for seed in self._seeds(candidate)
        ]
        self._unfinished = candidates, texts, {}
        done = self._run(jobs, on_progress, limiter, self._unfinished[2])
        self._require_environment(list(done.values()))
        rest = None if limiter is None else _without_least(limiter)
        groups = self._grouped(candidates, texts, done)
        self.candidates += len(groups)
        evaluations = []
        for candidate, text, mine in groups:
            complete = len(mine) == len(self._seeds(candidate))
            # Sequential testing: most candidates fail on the first conditions, and only the rest costs more.
            while candidate.program is None and complete and all(episode.success for episode in mine):
                seeds = further(len(mine), self.seeds, self.reserve, self.confirm)
                if not seeds:
                    break
                more = self._run([self.job(text, seed) for seed in seeds], on_progress, rest)
                mine += tuple(more[index] for index in sorted(more))
                complete = len(more) == len(seeds)
            traced = self._traced(text, mine, rest) if graph and not candidate.program and complete else None
            outcome = outcome_of(candidate, mine, text, traced.graph if traced else (), level=self.level)
            if self.task.prompt > 1 and candidate.program is None:
                every = (*self.seeds, *self.reserve, *self.confirm)
                shown = evidence_of(mine, self.task.spec, every, outcome, text, self.level)
                shown = replace(shown, contacts=traced.contacts if traced else ())
                outcome = replace(outcome, evidence=shown)
            if self.counted and candidate.program is None:
                outcome = with_notes(outcome, mine, len(self.seeds))
            evaluations.append(Evaluation(candidate, text, mine, outcome, complete))
        self._unfinished = (), (), {}
        self._grow(evaluations)
        return evaluations

    def _grow(self, evaluations: Sequence[Evaluation]) -> None:
        """Let later candidates be tried on what one was tried on that solved all before."""
        if self.reserve:
            every = self.seeds + self.reserve
            most = max((len(e.episodes) for e in evaluations if e.complete), default=0)
            count = max(most, len(self.seeds))
            self.seeds, self.reserve = every[:count], every[count:]

    def rescue(self) -> list[Evaluation]:
        """Return what is known of the candidates whose evaluation an exception ended.

        Without confirming conditions, and as incomplete. Empty where ``evaluate`` came to its end.
        """
        candidates, texts, seen = self._unfinished
        return [
            Evaluation(candidate, text, mine, outcome_of(candidate, mine, text), complete=False)
            for candidate, text, mine in self._grouped(candidates, texts, seen)
        ]

    def _grouped(
        self, candidates: Sequence[Candidate], texts: Sequence[str], done: Mapping[int, Episode]
    ) -> list[tuple[Candidate, str, tuple[Episode, ...]]]:
        """Return candidates and texts with their episodes, those without any left out."""
        groups, first = [], 0
        for candidate, text in zip(candidates, texts, strict=True):
            places = range(first, first + len(self._seeds(candidate)))
            first = places.stop
            mine = tuple(done[place] for place in places if place in done)
            if mine:
                groups.append((candidate, text, mine))
        return groups

    def _seeds(self, candidate: Candidate) -> tuple[int, ...]:
        return candidate.seeds or self.seeds

    def text(self, candidate: Candidate) -> str:
        """Return the controller's text of a candidate, "" where its program runs as data."""
        if candidate.program is not None:
            return ""
        return candidate.text or self.task.policy.render(candidate.values)

    def score(
        self,
        text: str,
        seeds: Sequence[int],
        on_progress: OnProgress | None = None,
        *,
        keep_states: bool = False,
    ) -> list[Episode]:
        """Roll a controller's text out on conditions of any split.

        Args:
            text: the controller.
            seeds: the conditions.
            on_progress: called with the number of episodes done and of all.
            keep_states: bring simulator states back, for videos.

        Returns:
            One episode a seed, in their order.
        """
        observe = keep_states and self.keep_observations
        jobs = [
            replace(self.job(text, seed), record=keep_states, observe=observe, level="outcome")
            for seed in seeds
        ]
        done = self._run(jobs, on_progress)
        episodes = [done[index] for index in range(len(jobs))]
        self._require_environment(episodes)
        return episodes

    def _require_environment(self, episodes: Sequence[Episode]) -> None:
        if not self.journaled:
            require_environment(episodes, start=not self.candidates)

    def job(self, text: str, seed: int) -> Job:
        """Return the job that rolls a controller out on a training condition.

        Args:
            text: the controller.
            seed: the condition.
        """
        return Job(
            self.task.env,
            seed,
            self.task.options,
            controller=text,
            record=True,
            observe=self.keep_observations,
            level=self.level,
            limits=self.limits,
        )

    def _job(self, candidate: Candidate, text: str, seed: int) -> Job:
        if candidate.program is None:
            return self.job(text, seed)
        return Job(self.task.env, seed, self.task.options, program=candidate.program, measure=True)

    def _run(
        self,
        jobs: Sequence[Job],
        on_progress: OnProgress | None,
        limiter: Limiter | None = None,
        seen: dict[int, Episode] | None = None,
    ) -> Mapping[int, Episode]:
        """Run jobs and return the episodes that count. ``seen`` gets each one as it ends."""
        done = 0

        def count(index: int, episode: Episode) -> None:
            nonlocal done
            done += 1
            if seen is not None:
                seen[index] = episode
            if on_progress is not None:
                on_progress(done, len(jobs))

        if limiter is None:
            episodes = dict(enumerate(self.engine.run(jobs, on_episode=count)))
        else:
            limit = limiter(self.environment_steps)
            episodes = self.engine.run_within(jobs, limit, on_episode=count)
        for episode in episodes.values():
            self.environment_steps += episode.charged_steps
            if episode.fault is not None and episode.fault.of_environment:
                self.failed, self.failure = self.failed + 1, episode.fault.message
        return episodes

    def _traced(self, text: str, episodes: Sequence[Episode], limiter: Limiter | None) -> Episode | None:
        """Run the representative episode again, traced."""
        episode = episodes[representative(episodes)]
        job = replace(self.job(text, episode.seed), trace=True, record=False, observe=False)
        return self._run([job], None, limiter).get(0)


def _without_least(limiter: Limiter) -> Limiter:
    """Return a limiter by which no episode is run in any case."""
    return lambda spent: replace(limiter(spent), least=0)


def require_environment(episodes: Sequence[Episode], *, start: bool = False) -> None:
    """Raise EnvironmentFault where the environment fails whatever a controller does.

    Args:
        episodes: of one batch.
        start: whether they are the first of a run; then it is enough that all failed. Later ones, which a
            controller may have provoked, must have failed in their reset.
    """
    faults = [
        episode.fault for episode in episodes if episode.fault is not None and episode.fault.of_environment
    ]
    if not episodes or len(faults) < len(episodes):
        return
    # An episode that was reset has an info, with the number of its steps.
    if start or (len(episodes) > 1 and not any(episode.infos or episode.decisions for episode in episodes)):
        fault, count = Counter(faults).most_common(1)[0]
        some = "" if count == len(episodes) else f" (in {count} of them)"
        raise EnvironmentFault(
            f"the environment failed in every one of {len(episodes)} episodes: {fault.message}{some}"
        )


def episode_score(episode: Episode) -> float:
    """Return 1 for a success, below 0.5 for a failure, below 0.25 for an error.

    A failure is ranked by its mean reward a simulator step, squashed to (0, 0.5), so that no amount of reward
    is worth a success. Where a total reward counts as success, it is ranked by its distance from that.
    """
    if episode.success:
        return 1.0
    threshold = episode.return_threshold
    if threshold is None:
        mean = episode.total_reward / max(1, episode.steps)
        squashed = 0.25 + math.atan(mean) / (2 * math.pi)
    else:
        squashed = 0.5 / (1.0 + max(0.0, threshold - episode.total_reward) / max(1.0, abs(threshold)))
    return squashed / 2 if episode.ended == "error" else squashed


def outcome_of(
    candidate: Candidate,
    episodes: Sequence[Episode],
    controller: str,
    graph: Sequence[Mapping[str, Any]] = (),
    *,
    level: str = "outcome",
) -> Outcome:
    """Return the outcome of a candidate over its episodes.

    Args:
        candidate: that was rolled out.
        episodes: at least one.
        controller: the text that ran, to mark failing lines in.
        graph: of one representative episode, as records.
        level: of the feedback.
    """
    scores = tuple(episode_score(episode) for episode in episodes)
    return Outcome(
        candidate=candidate.id,
        score=sum(scores) / len(scores),
        feedback=feedback(episodes, controller, level) if candidate.program is None else "",
        success=sum(episode.success for episode in episodes) / len(episodes),
        scores=scores,
        graph=tuple(graph),
        faults=tuple(episode.fault for episode in episodes if episode.fault is not None),
        details=_details(episodes),
    )


def _details(episodes: Sequence[Episode]) -> Mapping[str, Any]:
    details: dict[str, Any] = {
        "success": [episode.success for episode in episodes],
        "reward": [episode.total_reward for episode in episodes],
        "steps": [episode.decisions for episode in episodes],
        "simulator_steps": [episode.steps for episode in episodes],
    }
    for name in episodes[0].measures:
        details[name] = [episode.measures.get(name, math.nan) for episode in episodes]
    return details
