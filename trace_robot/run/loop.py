"""The optimization loop: ask, roll out, tell; and the events that a screen watches.

The loop is the same for every optimizer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trace_robot.errors import RunError
from trace_robot.optimizers.problem import Candidate, Optimizer
from trace_robot.rollout.evaluation import Evaluation, Evaluator, wilson
from trace_robot.rollout.seeds import SeedSplit
from trace_robot.run.acceptance import STEPS_BETWEEN_ITERATIONS, is_better, is_new
from trace_robot.search.controller import write_out
from trace_robot.settings import Result, Settings
from trace_robot.store.writer import Cost
from trace_robot.versions import versions

if TYPE_CHECKING:
    from trace_robot.policy import Policy
    from trace_robot.rollout.evaluation import Evaluation
    from trace_robot.run.run import Run
    from trace_robot.spec import TaskSpec


Stage = Literal["training", "held out"]


@dataclass(frozen=True, slots=True)
class Started:
    """The run is about to roll out its first candidate.

    why: the reason for this optimizer, as text. known: entries of the journal from before an interruption, which are
    batches of episodes and answers of a model.
    """

    settings: Settings
    spec: TaskSpec
    policy: Policy
    folder: Path
    why: str = ""
    known: int = 0


@dataclass(frozen=True, slots=True)
class Progressed:
    """A number of a batch's episodes are done.

    Attributes:
        stage: "training" or "held out".
        done, total: episodes of the batch.
        candidates: rolled out since the start of the run.
        best: the best evaluation so far.
        seconds: since the start of the run, over all processes that ran it.
    """

    stage: Stage
    done: int
    total: int
    candidates: int
    best: Evaluation | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Iterated:
    """An iteration is on disk. better: it is the best so far."""

    iteration: int
    trial: Evaluation
    best: Evaluation
    better: bool
    candidates: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over and everything is on disk."""

    result: Result
    folder: Path


@dataclass(frozen=True, slots=True)
class Noted:
    """A thing to know of the model's endpoint, such as a field that it refuses.

    Each text comes once.
    """

    text: str


Event = Started | Progressed | Iterated | Noted | Ended

OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Do nothing with an event: the default of ``on_event``."""


TUNING = ("tuning", "tuned")  # origins of CMA-ES on a model's proposal: not another iteration of the model


class OptimizationLoop:
    """One run from its first candidate to its result.

    iteration: number of the next one. proposals: iterations that count against ``Settings.iterations``.
    """

    def __init__(self, run: Run, optimizer: Optimizer, evaluator: Evaluator, on_event: OnEvent) -> None:
        self.run, self.optimizer, self.evaluator, self.on_event = run, optimizer, evaluator, on_event
        self.iteration = self.best_iteration = self.proposals = 0
        self.start: Evaluation | None = None
        self.best: Evaluation | None = None
        self._noted: list[str] = []
        self._written_at = 0  # simulator steps when the search's best was last made an iteration
        self._kept = -1  # id of the search's best program that is on disk

    def execute(self) -> Result:
        """Iterate until the optimizer or the budget ends, then score the best."""
        run = self.run
        known = run.journal.known
        self.on_event(
            Started(run.settings, run.task.spec, run.task.policy, run.folder, run.config.why, known)
        )
        return self._finish(self._iterate())

    def _iterate(self) -> str:
        """Return why the iterations ended."""
        while not (reason := self._over()):
            candidates = self.optimizer.ask()
            self._note()
            if not candidates:
                return self.optimizer.done or "the optimizer has nothing more to try"
            if self.start is None and candidates[0].origin != "start":
                start = Candidate(0, None, self.evaluator.task.policy.values)
                self._write(self.evaluator.evaluate([start])[0])
            graph = self.optimizer.uses_graph
            trials = self.evaluator.evaluate(candidates, graph=graph, on_progress=self._progress)
            self.optimizer.tell([trial.outcome for trial in trials])
            self.run.recorder.log(trials, self._spent())
            if candidates[0].program is None:
                self._write(max(trials, key=lambda trial: trial.outcome.score))
            elif self.evaluator.environment_steps - self._written_at > STEPS_BETWEEN_ITERATIONS:
                self._write_program()
            else:
                self._keep_program()
        return reason

    def _finish(self, ended: str) -> Result:
        """Score the best controller on held-out conditions and write the result."""
        self._write_program(last=True)
        if self.best is None or self.start is None:
            raise RunError(f"no controller was tried: {ended}; allow more time or iterations")
        self.run.recorder.keep(self.best.text)
        settings = self.run.settings
        spent = self._spent()
        seeds = SeedSplit.of(settings).held_out
        episodes = self.evaluator.score(
            self.best.text, seeds, lambda done, total: self._progress(done, total, stage="held out")
        )
        wins = sum(episode.success for episode in episodes)
        result = Result(
            task=settings.task,
            optimizer=settings.optimizer,
            feedback_level=settings.feedback,
            control=str(self.evaluator.task.options["control"]),
            seed=settings.seed,
            policy=settings.policy,
            start_success=self.start.outcome.success,
            training_success=self.best.outcome.success,
            training_episodes=len(self.best.episodes),
            held_out_success=wins / len(episodes),
            held_out_return=sum(episode.total_reward for episode in episodes) / len(episodes),
            held_out_episodes=len(episodes),
            held_out_interval=wilson(wins, len(episodes)),
            iterations=self.iteration - 1,
            best_iteration=self.best_iteration,
            candidates=self.evaluator.candidates,
            environment_steps=self.evaluator.environment_steps,
            model_calls=spent.model_calls,
            tokens=spent.prompt_tokens + spent.completion_tokens,
            seconds=round(spent.seconds, 2),
            ended=ended,
            versions=versions(),
            money=spent.money,
        )
        # The rows count the held-out episodes too; the seconds are those of the optimization.
        spent = replace(self._spent(), seconds=spent.seconds)
        self.run.recorder.finish(result, episodes, self.optimizer.log, spent)
        self.on_event(Ended(result, self.run.folder))
        return result

    def _over(self) -> str:
        """Return why the run is over, "" if it is not."""
        settings = self.run.settings
        limit, seconds, steps = settings.iterations, settings.seconds, settings.steps
        if self.optimizer.done:
            return self.optimizer.done
        if limit is not None and self.proposals > limit:
            return f"{limit} iterations done"
        if steps is not None and self.evaluator.environment_steps >= steps:
            return f"{steps} simulator steps spent"
        # The clock's verdict is journaled: a resumed run stops at the same candidate.
        if seconds is not None and self.run.journal.time_over(seconds):
            return f"{seconds:g} seconds spent"
        return ""

    def _note(self) -> None:
        """Report what is new to know of the model's endpoint."""
        for text in (*self.run.config.notes, *getattr(self.optimizer, "notes", ())):
            if text not in self._noted:
                self._noted.append(text)
                self.on_event(Noted(text))

    def _progress(self, done: int, total: int, *, stage: Stage = "training") -> None:
        seconds = self.run.journal.seconds
        self.on_event(Progressed(stage, done, total, self.evaluator.candidates, self.best, seconds))

    def _keep_program(self) -> None:
        """Put the search's best program on disk, unscored, in case the run is stopped."""
        champion = self.optimizer.best
        if champion is not None and champion.program is not None and champion.id != self._kept:
            self._kept = champion.id
            self.run.recorder.keep(self.evaluator.text(write_out(champion, self.evaluator.task.spec)))

    def _write_program(self, *, last: bool = False) -> None:
        """Score the search's best program as a controller's text, if it is new."""
        champion = self.optimizer.best
        if champion is None or champion.program is None:
            return
        if not is_new(champion, self.best):
            return
        # With seeds it is a provisional best, tried on these alone: good enough to end a run with, where it scores
        # better than the start, and not for an iteration before.
        provisional = champion.seeds is not None
        if provisional and not last:
            self._keep_program()
            return
        self._write(
            self.evaluator.evaluate([write_out(champion, self.evaluator.task.spec)])[0],
            search_ranks=not provisional,
        )
        self._written_at = self.evaluator.environment_steps

    def _write(self, trial: Evaluation, *, search_ranks: bool = False) -> None:
        """Put an iteration on disk, then report it."""
        parent, self.start = self.best, self.start or trial
        by_return = self.evaluator.task.spec.return_threshold is not None
        better = is_better(trial, parent, search_ranks=search_ranks, by_return=by_return)
        best = trial if better or parent is None else parent
        recorder = self.run.recorder
        recorder.iteration(self.iteration, trial, parent, self.optimizer.log, self._spent(), better=better)
        if better:
            self.best, self.best_iteration = trial, self.iteration
            recorder.keep(trial.text)
        seconds = self.run.journal.seconds
        self.on_event(Iterated(self.iteration, trial, best, better, self.evaluator.candidates, seconds))
        self.iteration += 1
        self.proposals += trial.candidate.origin not in TUNING

    def _spent(self) -> Cost:
        return self.run.cost(self.evaluator.candidates, self.evaluator.environment_steps)
