"""The optimization loop: ask, roll out, tell, with events for a screen.

The loop is the same for every optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trace_robot.errors import BudgetExceededError, EnvironmentFault, RunError, TraceRobotError
from trace_robot.optimizers.problem import Candidate, Optimizer
from trace_robot.rollout.evaluation import Evaluation, Evaluator
from trace_robot.rollout.growth import overfit_at_end
from trace_robot.run.acceptance import (
    STEPS_BETWEEN_ITERATIONS,
    RunBudget,
    final_scores,
    is_better,
    is_new,
    notes_at_end,
    order,
    successes,
)
from trace_robot.run.person import AskPerson, JournaledPerson
from trace_robot.search.base import GeneratorSearch
from trace_robot.settings import Result, SeedSplit, Settings
from trace_robot.store.command_line import budget_spent
from trace_robot.store.writer import Cost

if TYPE_CHECKING:
    from trace_robot.policy import Policy
    from trace_robot.run.run import Run
    from trace_robot.spec import TaskSpec

Stage = Literal["training", "held out", "drawing videos"]


@dataclass(frozen=True, slots=True)
class Started:
    """The run is about to roll out its first candidate.

    why: the reason for this optimizer, as text. control: that for the control mode. known: entries of the journal from
    before an interruption, which are batches of episodes and answers of a model. model: its name and endpoint.
    """

    settings: Settings
    spec: TaskSpec
    policy: Policy
    folder: Path
    why: str = ""
    known: int = 0
    control: str = ""
    model: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Progressed:
    """A number of a batch's episodes, or of the videos, are done.

    Attributes:
        stage: "training", "held out" or, last, "drawing videos".
        done, total: episodes of the batch, or videos.
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
    """A thing to know: a field that the model's endpoint refuses, or more conditions.

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

    def __init__(
        self,
        run: Run,
        optimizer: Optimizer,
        evaluator: Evaluator,
        on_event: OnEvent,
        ask_person: AskPerson | None = None,
    ) -> None:
        self.pictures = run.pictures(optimizer)
        self.person = JournaledPerson(ask_person, run.journal, optimizer)
        self.run, self.optimizer, self.evaluator, self.on_event = run, optimizer, evaluator, on_event
        self.iteration = self.best_iteration = self.proposals = 0
        self.start: Evaluation | None = None
        self.best: Evaluation | None = None
        spec = evaluator.task.spec
        self.budget = RunBudget(
            run.settings, lambda: run.journal.seconds, spec.simulator_steps or spec.horizon
        )
        self._noted: list[str] = []
        self._written_at = 0  # simulator steps when the search's best was last made an iteration
        self._kept: tuple[int, str] = (-1, "")  # id and note of the search's best program that is on disk
        self._leftover: Candidate | None = None  # the best program of a batch that the budget cut

    def execute(self) -> Result:
        """Iterate until the optimizer or the budget ends, then score the best."""
        run = self.run
        task, why, known = run.task, run.config.why, run.journal.known
        control, model = task.control_reason(run.settings), run.config.stored
        self.on_event(Started(run.settings, task.spec, task.policy, run.folder, why, known, control, model))
        return self._finish(self._iterate())

    def _iterate(self) -> str:
        """Return why the iterations ended."""
        while not (reason := self._over()):
            candidates = self._ask()
            if isinstance(candidates, str):
                return candidates
            self._note()
            if not candidates:
                return self.optimizer.done or "the optimizer has nothing more to try"
            if self.start is None and candidates[0].origin != "start":
                self._score_start()
            self.budget.keeps = candidates[0].program is not None
            trials = self._evaluate(candidates, graph=self.optimizer.uses_graph)
            if len(trials) < len(candidates) or not all(trial.complete for trial in trials):
                self._take_cut(trials)
                return self.budget.cut_by(self.evaluator.environment_steps)
            self.optimizer.tell([trial.outcome for trial in trials])
            self.run.recorder.log(trials, self._spent())
            if candidates[0].program is None:
                self._write(shown := max(trials, key=order))
                if shown.candidate.origin != "tuning" and not self.optimizer.done:  # else no model reads it
                    number, success = self.iteration - 1, shown.outcome.success
                    self.person.watch(
                        shown.candidate.id, partial(self.run.recorder.question, number, success)
                    )
            elif self.evaluator.environment_steps - self._written_at > STEPS_BETWEEN_ITERATIONS:
                self._write_program()
            else:
                self._keep_program()
        if self.start is None and self.run.settings.cut and not self.optimizer.done:
            self._score_start()
        return reason

    def _ask(self) -> list[Candidate] | str:
        """Return the next candidates, or the reason why a model answers no more."""
        try:
            return self.optimizer.ask()
        except BudgetExceededError as error:
            # The built-in ones meet the end of a model's budget themselves, and what they raise is another fault.
            if self.run.config.factory is None or self.best is None:
                raise
            return str(error)

    def _score_start(self) -> None:
        before = self.run.journal.seconds
        start = Candidate(0, None, self.evaluator.task.policy.values)
        self._write(self._evaluate([start])[0])
        self.budget.start_seconds = self.run.journal.seconds - before

    def _evaluate(
        self, candidates: Sequence[Candidate], *, graph: bool = False, least: int = 0, last: bool = False
    ) -> list[Evaluation]:
        """Evaluate within the budget, and keep the best where an exception ends it."""
        least = least or int(self.start is None)
        limiter = self.budget.limiter(last=last, least=least)
        before = len(self.evaluator.seeds)
        try:
            trials = self.evaluator.evaluate(
                candidates, graph=graph, on_progress=self._progress, limiter=limiter
            )
        except BaseException as error:  # Ctrl-C too: this batch may have a better one than what is on disk
            if self.best is None and isinstance(error, EnvironmentFault):
                raise  # none of its episodes says anything of a controller
            with suppress(TraceRobotError):
                self._keep_rescued(self.evaluator.rescue())
            raise
        for trial in trials if self.pictures is not None else ():
            self.pictures.remember(trial.candidate.id, trial.episodes)  # type: ignore[union-attr]
        if (now := len(self.evaluator.seeds)) > before:
            self.on_event(Noted(f"all {before} training conditions are solved: from here on there are {now}"))
        return trials

    def _keep_rescued(self, trials: Sequence[Evaluation]) -> None:
        """Put the best of an unfinished batch on disk, where it is better."""
        if any(trial.candidate.program is not None for trial in trials):
            if isinstance(self.optimizer, GeneratorSearch):
                self.optimizer.consider([trial.outcome for trial in trials])
                self._keep_program()
            return
        for trial in sorted(trials, key=successes):  # the best last, so that it stays
            if self._is_better(trial):
                count = len(trial.episodes)
                note = f"best so far, on {count} condition{'s' if count > 1 else ''} alone"
                self.run.recorder.keep(f"# {note}\n{trial.text}")

    def _take_cut(self, trials: Sequence[Evaluation]) -> None:
        """Take what was seen of a batch that the budget cut, which no optimizer is sent."""
        self.run.recorder.log(trials, self._spent())
        programs = [trial for trial in trials if trial.candidate.program is not None]
        if programs and isinstance(self.optimizer, GeneratorSearch):
            self.optimizer.consider([trial.outcome for trial in programs])
        elif programs:
            best = max(programs, key=successes)
            seeds = tuple(episode.seed for episode in best.episodes)
            self._leftover = replace(best.candidate, seeds=seeds)
        texts = [trial for trial in trials if trial.candidate.program is None]
        if whole := [trial for trial in texts if trial.complete]:
            self._write(max(whole, key=order))
        for trial in texts:
            if not trial.complete and (self.start is None or self._is_better(trial)):
                self._write(trial)

    def _finish(self, ended: str) -> Result:
        """Score the best on held-out conditions, outside the budget, and write the result."""
        self._write_last()
        if self.best is None or self.start is None:
            raise RunError(f"no controller was tried: {ended}; allow more time or iterations")
        self.run.recorder.keep(self.best.text)
        settings, spent = self.run.settings, self._spent()
        seeds = SeedSplit.of(settings).held_out
        episodes = self.evaluator.score(self.best.text, seeds, partial(self._progress, stage="held out"))
        if self.evaluator.failed:
            count = f"{self.evaluator.failed} episode{'s' * (self.evaluator.failed > 1)}"
            what = f"the environment failed in {count}: {self.evaluator.failure}"
            ended = f"{ended}; {what}"
        spec = self.evaluator.task.spec
        overfits = overfit_at_end(self.best.outcome.details, [episode.success for episode in episodes])
        ended = "; ".join(filter(None, [ended, overfits]))
        result = Result(
            task=settings.task,
            optimizer=settings.optimizer,
            feedback_level=settings.feedback,
            control=str(self.evaluator.task.options["control"]),
            seed=settings.seed,
            policy=settings.policy,
            iterations=self.iteration - 1,
            best_iteration=self.best_iteration,
            candidates=self.evaluator.candidates,
            environment_steps=(spent if settings.cut else self._spent()).environment_steps,
            model_calls=spent.model_calls,
            tokens=spent.prompt_tokens + spent.completion_tokens,
            seconds=round(spent.seconds, 2),
            ended=ended,
            versions=self.run.versions,
            money=spent.money,
            notes=notes_at_end(self.start, self.best, episodes, self.evaluator.task, settings, spent),
            **final_scores(self.start, self.best, episodes, spec),
        )
        # The rows count the held-out episodes too; the seconds are those of the optimization.
        spent = replace(self._spent(), seconds=spent.seconds)
        self.run.recorder.compare(self.start, self.best, self.evaluator)
        drawing = partial(self._progress, stage="drawing videos")
        self.run.recorder.finish(result, episodes, self.optimizer.log, spent, drawing)
        self.on_event(Ended(result, self.run.folder))
        return result

    def _over(self) -> str:
        """Return why the run is over, "" if it is not."""
        settings = self.run.settings
        limit, seconds, steps = settings.iterations, self.budget.seconds, self.budget.steps
        if self.optimizer.done:
            return self.optimizer.done
        if limit is not None and self.proposals > limit:
            return budget_spent("iterations", limit)
        if steps is not None and self.evaluator.environment_steps >= steps:
            return budget_spent("steps", settings.steps or 0)
        # The clock's verdict is journaled: a resumed run stops at the same candidate.
        if seconds is not None and self.run.journal.time_over(seconds):
            return budget_spent("seconds", settings.seconds or 0.0)
        return ""

    def _note(self) -> None:
        """Report what is new to know of the model's endpoint."""
        foreign = self.evaluator.task.foreign_names
        for text in (foreign, *self.run.config.notes, *getattr(self.optimizer, "notes", ())):
            if text and text not in self._noted:
                self._noted.append(text)
                self.on_event(Noted(text))

    def _progress(self, done: int, total: int, *, stage: Stage = "training") -> None:
        seconds = self.run.journal.seconds
        self.on_event(Progressed(stage, done, total, self.evaluator.candidates, self.best, seconds))

    def _keep_program(self) -> None:
        """Put the search's best program on disk, unscored, in case the run is stopped."""
        finalists = self._finalists()
        champion = finalists[0] if finalists else None
        if champion is None or champion.program is None or (champion.id, champion.note) == self._kept:
            return
        self._kept = champion.id, champion.note
        text = self.evaluator.text(self.evaluator.task.write_out(champion))
        mark = "" if champion.seeds is None else f"# {' '.join(champion.note.split())}\n"
        self.run.recorder.keep(mark + text)

    def _finalists(self) -> list[Candidate]:
        """Return what to score where the run ends now, the most promising first."""
        if isinstance(self.optimizer, GeneratorSearch) and self.run.settings.cut:
            return self.optimizer.finalists_to_score
        return [candidate for candidate in (self.optimizer.best, self._leftover) if candidate is not None]

    def _write_last(self) -> None:
        """Score what the search ended with, by what was kept of the budget."""
        settings = self.run.settings
        for candidate in self._finalists():
            full = settings.cut and settings.iterations is not None and self.proposals > settings.iterations
            if candidate.program is not None and is_new(candidate, self.best) and not full:
                self._write_as_text(candidate, last=True)

    def _write_program(self) -> None:
        """Score the search's best program as a controller's text, if it is new."""
        champion = self.optimizer.best
        if champion is None or champion.program is None or not is_new(champion, self.best):
            return
        # With seeds it is a provisional best, tried on these alone: good enough to end a run with, where it scores
        # better than the start, and not for an iteration before.
        if champion.seeds is not None:
            self._keep_program()
            return
        self._write_as_text(champion)

    def _write_as_text(self, candidate: Candidate, *, last: bool = False) -> None:
        least = self.budget.least if last and self.best is self.start else 0
        trials = self._evaluate([self.evaluator.task.write_out(candidate)], last=True, least=least)
        for trial in trials:
            self._write(trial, search_ranks=candidate.seeds is None)
        self._written_at = self.evaluator.environment_steps

    def _is_better(self, trial: Evaluation, *, search_ranks: bool = False) -> bool:
        spec = self.evaluator.task.spec
        compared = spec.return_threshold is not None or "world" in spec.options
        compared = compared or getattr(self.optimizer, "compares", False)
        return is_better(trial, self.best, search_ranks=search_ranks, compared=compared)

    def _write(self, trial: Evaluation, *, search_ranks: bool = False) -> None:
        """Put an iteration on disk, then report it."""
        parent, self.start = self.best, self.start or trial
        better = self._is_better(trial, search_ranks=search_ranks)
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
