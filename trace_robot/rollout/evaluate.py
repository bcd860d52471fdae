"""Score a controller on held-out conditions, or roll it out in a custom loop."""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from trace_robot.fault import Fault, Limits
from trace_robot.optimizers.problem import Candidate
from trace_robot.policy import Policy, load_policy
from trace_robot.rollout.engine import BackendName, RolloutEngine
from trace_robot.rollout.episode import Episode, score_of, summed
from trace_robot.rollout.evaluation import Evaluation, Evaluator, wilson
from trace_robot.rollout.evidence import success_missing
from trace_robot.rollout.feedback import representative, standing_still
from trace_robot.rollout.task import Task
from trace_robot.sandbox.protocol import identifier
from trace_robot.settings import held_out_seeds, require_level, training_seeds, versions, with_interpreter
from trace_robot.stats import Measure, Score, measure_of

if TYPE_CHECKING:
    from trace_robot.trace import Node, ParameterNode


class EpisodeScore:
    """The success rate of a report that has ``episodes``, with its interval."""

    __slots__ = ()
    episodes: tuple[Episode, ...]

    @property
    def successes(self) -> int:
        return sum(episode.success for episode in self.episodes)

    @property
    def success(self) -> float:
        """Fraction of successes, 0 to 1."""
        return self.successes / len(self.episodes)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the success rate."""
        return wilson(self.successes, len(self.episodes))


@dataclass(frozen=True, slots=True)
class EvaluationReport(EpisodeScore):
    """A controller's episodes on held-out conditions, and its success rate.

    output: what the environment printed. measure: what is shown of the score, see ``trace_robot.stats``. elsewhere:
    versions in the environment's interpreter, where that is another one. foreign: names that the controller reads and
    the environment does not show, as a line.
    """

    task: str
    policy: str
    control: str
    seed: int
    episodes: tuple[Episode, ...] = dataclasses.field(repr=False)
    output: str = dataclasses.field(default="", repr=False)
    measure: Measure = "success"
    elsewhere: Mapping[str, str] = dataclasses.field(default_factory=dict)
    foreign: str = ""

    def __str__(self) -> str:
        low, high = self.interval
        count = f"{len(self.episodes)} held-out episode{'s' * (len(self.episodes) != 1)}"
        return f"{self.policy} in {self.task}: success {self.success:.2f} of {count} (95 % {low:.2f} to {high:.2f})"

    @property
    def score(self) -> Score:
        """Success and return."""
        return dataclasses.replace(score_of(self.episodes), measure=self.measure)

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of it: that the controller is another's, or stands still."""
        return tuple(filter(None, [self.foreign, standing_still(self.episodes)]))

    @property
    def success_missing(self) -> bool:
        """Whether no episode had the entry of info that is declared as success."""
        return success_missing(self.episodes)

    @property
    def faults(self) -> list[tuple[Fault, int]]:
        """The different faults with the number of their episodes, most frequent first."""
        return Counter(e.fault for e in self.episodes if e.fault is not None).most_common()

    def to_data(self) -> dict[str, Any]:
        returns = self.score.returns
        return {
            "task": self.task,
            "policy": self.policy,
            "control": self.control,
            "seed": self.seed,
            "success": self.success,
            "episodes": len(self.episodes),
            "interval": list(self.interval),
            "mean_reward": sum(e.total_reward for e in self.episodes) / len(self.episodes),
            "return_interval": None if returns is None else list(returns.interval),
            "measure": self.measure,
            "notes": list(self.notes),
            "mean_steps": sum(e.steps for e in self.episodes) / len(self.episodes),
            "ended": dict(Counter(episode.ended for episode in self.episodes)),
            "faults": [{**asdict(fault), "episodes": count} for fault, count in self.faults],
            "conditions": [
                {"seed": e.seed, "ended": e.ended, "steps": e.steps, "reward": e.total_reward}
                for e in self.episodes
            ],
            "versions": versions(self.elsewhere, model=False),
        } | ({"envelope": log} if (log := summed([e.infos for e in self.episodes])) else {})


def evaluate(
    env: str,
    policy: str | Path | Policy,
    *,
    episodes: int = 50,
    seed: int = 0,
    control: str | None = None,
    workers: int | None = None,
    backend: BackendName = "local",
    address: str | None = None,
    trusted: bool = False,
    keep_states: bool = False,
    options: Mapping[str, Any] | None = None,
    python: str | Path | None = None,
    engine: RolloutEngine | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> EvaluationReport:
    """Score a controller on held-out conditions.

    Args:
        env: the environment: a name, a file in envs/, or a gymnasium id.
        policy: the controller: a name, a file, or what ``load_policy`` returned.
        episodes: number of conditions, 1 to 25,000.
        seed: which conditions; they are disjoint from the training conditions of every seed.
        control: the control mode, "pose" or "raw"; None for what the policy says.
        workers, backend, address, trusted: see ``RolloutEngine``.
        keep_states: bring simulator states back, for videos.
        options: of the environment, besides control.
        python: the path of another interpreter that the environment runs in, relative to the working directory.
        engine: one to use and leave open, instead of ``workers``.
        on_progress: called with the number of episodes done and of all.

    Raises:
        PolicyError: the policy has no act, or does not fit.
        UnknownNameError: there is no such environment, policy or option.
    """
    policy = policy if isinstance(policy, Policy) else load_policy(policy)
    apart = workers != 0 if engine is None else engine.apart
    options = with_interpreter(options, python)
    task = Task.load(env, policy, control=control, options=options, apart=apart)
    seeds = held_out_seeds(seed, episodes)
    own = RolloutEngine(workers, backend=backend, address=address, trusted=trusted)
    with nullcontext(engine) if engine is not None else own as running:
        evaluator = Evaluator(running, task, seeds)
        scored = evaluator.score(task.policy.text, seeds, on_progress, keep_states=keep_states)
    scored = [_in_source(episode, task.policy.text, policy.text) for episode in scored]
    measure = measure_of(task.spec.success, task.spec.return_threshold)
    return EvaluationReport(
        env,
        policy.name,
        task.spec.control,
        seed,
        tuple(scored),
        running.output.text,
        measure,
        task.versions,
        task.foreign_names,
    )


def _in_source(episode: Episode, ran: str, source: str) -> Episode:
    """Return an episode with the line of its fault in the user's file.

    What ran may have further lines, such as the control mode.
    """
    fault = episode.fault
    if fault is None or fault.line is None or ran == source:
        return episode
    matcher = difflib.SequenceMatcher(None, ran.split("\n"), source.split("\n"), autojunk=False)
    line = next(
        (
            block.b + fault.line - block.a
            for block in matcher.get_matching_blocks()
            if block.a < fault.line <= block.a + block.size
        ),
        None,
    )
    if line is None:  # a line that was rewritten: equally far from the one before it
        before = [block for block in matcher.get_matching_blocks() if block.size and block.a < fault.line]
        line = fault.line + (before[-1].b - before[-1].a if before else 0)
    return dataclasses.replace(episode, fault=dataclasses.replace(fault, line=line))


@dataclass(frozen=True, slots=True)
class Rollout:
    """A policy's episodes on its training conditions.

    output: the outcome of one representative episode, a node whose graph leads back to the parameters; None where the
    controller could not be loaded. feedback: on all episodes, as text. success: fraction of the episodes.
    score: the mean of ``episode_score``. evaluation: all of it, as a run keeps it.
    """

    output: Node | None
    feedback: str
    success: float
    score: float
    episodes: tuple[Episode, ...]
    evaluation: Evaluation | None = field(default=None, repr=False, compare=False)


class Rollouts:
    """Rolls a policy out in worker processes for a custom optimization loop.

    A context manager. ``rollouts(parameters)`` runs the policy with the present data of the nodes.

    Args:
        env: the environment: a name, a file in envs/, or a gymnasium id.
        policy: a name, a file, or what ``load_policy`` returned; it must have something trainable.
        episodes: number of training conditions.
        seed: which conditions.
        control: the control mode, "pose" or "raw"; None for what the policy says.
        feedback: the level, see ``trace_robot.rollout.feedback``.
        workers: processes, see ``RolloutEngine``.
        limits: time and memory of the controller.
        trusted: run controllers even where this machine has no sandbox.

    Raises:
        PolicyError: the policy has no act, or nothing trainable.
        UnknownNameError: there is no such environment, policy or level.
    """

    def __init__(
        self,
        env: str,
        policy: str | Path | Policy,
        *,
        episodes: int = 5,
        seed: int = 0,
        control: str | None = None,
        feedback: str = "outcome",
        workers: int | None = None,
        limits: Limits | None = None,
        trusted: bool = False,
    ) -> None:
        level = require_level(feedback)
        policy = policy if isinstance(policy, Policy) else load_policy(policy)
        policy.require_trainable()
        task = Task.load(env, policy, control=control, feedback=level, apart=workers != 0)
        self.policy, self.spec, self.task, self.seed = task.policy, task.spec, task, seed
        self.engine = RolloutEngine(workers, trusted=trusted)
        seeds = training_seeds(seed, episodes)
        # With observations, which the pages of a run that is kept show.
        self.evaluator = Evaluator(
            self.engine, task, seeds, limits or Limits(), level, keep_observations=True
        )

    @cached_property
    def parameters(self) -> list[ParameterNode]:
        """The policy's parameters as nodes, which an optimizer changes in place."""
        return self.policy.parameters()

    def __call__(self, parameters: Sequence[ParameterNode]) -> Rollout:
        values: dict[str, Any] = {parameter.key: parameter.data for parameter in parameters}
        (evaluation,) = self.evaluator.evaluate([Candidate(0, None, values)])
        episode = evaluation.episodes[representative(evaluation.episodes)]
        # Tracing slows an episode down, so the one to learn from is known first and run a second time.
        job = dataclasses.replace(self.evaluator.job(evaluation.text, episode.seed), trace=True)
        (traced,) = self.engine.run([job])
        output = _output_of(traced, parameters) if traced.graph else None
        outcome = evaluation.outcome
        return Rollout(
            output, outcome.feedback, outcome.success, outcome.score, evaluation.episodes, evaluation
        )

    def close(self) -> None:
        self.engine.close()

    def __enter__(self) -> Rollouts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _output_of(episode: Episode, parameters: Sequence[ParameterNode]) -> Node:
    """Return the outcome of a traced episode as a node of this process.

    Args:
        episode: with its graph.
        parameters: the nodes in which the graph ends, matched by name.
    """
    from trace_robot.trace.serialization import from_records

    by_name = {identifier(parameter.key): parameter for parameter in parameters}  # as records have it
    return from_records(episode.graph, by_name)[episode.graph[-1]["id"]]
