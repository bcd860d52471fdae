"""The loop: ask, roll out, tell; the same for every optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trace_robot.errors import RunError
from trace_robot.optimizers.optoprime import Attempt
from trace_robot.optimizers.problem import Candidate, Optimizer
from trace_robot.rollout.evaluation import Evaluation, Evaluator, wilson
from trace_robot.rollout.seeds import held_out_seeds
from trace_robot.run.events import Ended, Iterated, Observe, Progressed, Stage
from trace_robot.run.optimizers import Chosen
from trace_robot.run.recorder import RunRecorder
from trace_robot.search.controller import write_out
from trace_robot.settings import Result, Settings
from trace_robot.spec import TaskSpec
from trace_robot.store.writer import Cost
from trace_robot.versions import versions

SHOWN_EVERY = 50_000  # simulator steps between two improvements of a search that are written down
TUNING = ("tuning", "tuned")  # what CMA-ES makes of a model's proposal is not another iteration of the model


class OptimizationLoop:
    """One run: what the loop knows between two iterations."""

    def __init__(
        self,
        settings: Settings,
        spec: TaskSpec,
        optimizer: Optimizer,
        trials: Evaluator,
        recorder: RunRecorder,
        chosen: Chosen,
        observe: Observe,
    ) -> None:
        self.settings, self.spec, self.optimizer, self.trials = settings, spec, optimizer, trials
        self.recorder, self.chosen, self.observe = recorder, chosen, observe
        self.journal = recorder.ledger.journal
        self.shown = 0
        self.iteration = self.best_iteration = self.attempts = self.rewrites = 0
        self.kept = -1
        self.start: Evaluation | None = None
        self.best: Evaluation | None = None

    def iterate(self) -> str:
        """Go on until the optimizer is done or the budget is spent; return why."""
        while not (reason := self._over()):
            candidates = self.optimizer.ask()
            if not candidates:
                return self.optimizer.done or "the optimizer has nothing more to try"
            if self.start is None and candidates[0].origin != "start":
                self._write(self.trials.run([Candidate(0, None, self.trials.policy.values)])[0])
            graph = self.optimizer.uses_graph
            trials = self.trials.run(candidates, graph=graph, on_progress=self._progress)
            self.optimizer.tell([trial.outcome for trial in trials])
            self.recorder.log(trials, self.spent())
            if candidates[0].program is None:
                self._write(max(trials, key=lambda trial: trial.outcome.score))
            elif self.trials.environment_steps - self.shown > SHOWN_EVERY:
                self._write_program()
            else:
                self._keep_program()
        return reason

    def finish(self, ended: str) -> Result:
        """Score the best controller on held-out conditions and write the result."""
        self._write_program()
        if self.best is None or self.start is None:
            raise RunError(f"no controller was tried: {ended}; allow more time or iterations")
        self.recorder.keep(self.best.text)
        settings = self.settings
        spent = self.spent()
        seeds = held_out_seeds(settings.seed, settings.held_out)
        episodes = self.trials.score(
            self.best.text, seeds, lambda done, total: self._progress(done, total, held_out=True)
        )
        wins = sum(episode.success for episode in episodes)
        result = Result(
            task=settings.task, optimizer=settings.optimizer, feedback_level=settings.feedback,
            control=str(self.trials.options["control"]), seed=settings.seed, policy=settings.policy,
            start_success=self.start.outcome.success, training_success=self.best.outcome.success,
            training_episodes=len(self.best.episodes), held_out_success=wins / len(episodes),
            held_out_return=sum(episode.total_reward for episode in episodes) / len(episodes),
            held_out_episodes=len(episodes), held_out_interval=wilson(wins, len(episodes)),
            iterations=self.iteration - 1, best_iteration=self.best_iteration, candidates=self.trials.candidates,
            environment_steps=self.trials.environment_steps, model_calls=spent.model_calls,
            tokens=spent.prompt_tokens + spent.completion_tokens, seconds=round(spent.seconds, 2), ended=ended,
            versions=versions(), money=spent.money,
        )  # fmt: skip
        spent = replace(self.spent(), seconds=spent.seconds)
        self.recorder.finish(result, episodes, self._new_attempts(), spent)
        self.observe(Ended(result, self.recorder.folder.path))
        return result

    def spent(self) -> Cost:
        usage = self.chosen.usage()
        return Cost(
            self.journal.seconds, self.trials.candidates, self.trials.environment_steps, usage.calls,
            usage.prompt_tokens, usage.completion_tokens, usage.money if self.chosen.priced else None,
        )  # fmt: skip

    def _over(self) -> str:
        limit, seconds, steps = self.settings.iterations, self.settings.seconds, self.settings.steps
        if self.optimizer.done:
            return self.optimizer.done
        if limit is not None and self.rewrites > limit:
            return f"{limit} iterations done"
        if steps is not None and self.trials.environment_steps >= steps:
            return f"{steps} simulator steps spent"
        if seconds is not None and self.journal.time_over(seconds):
            return f"{seconds:g} seconds spent"
        return ""

    def _progress(self, done: int, total: int, *, held_out: bool = False) -> None:
        seconds = self.journal.seconds
        stage: Stage = "held out" if held_out else "training"
        self.observe(Progressed(stage, done, total, self.trials.candidates, self.best, seconds))

    def _keep_program(self) -> None:
        """Put the search's best program on disk, not scored as text yet, so that a run that is stopped has it."""
        champion = self.optimizer.best
        if champion is not None and champion.program is not None and champion.id != self.kept:
            self.kept = champion.id
            self.recorder.keep(self.trials.text(write_out(champion, self.spec)))

    def _write_program(self) -> None:
        """Write the search's best program out as a controller, if it is a new one, and score that text."""
        champion = self.optimizer.best
        if champion is None or champion.program is None:
            return
        if self.best is not None and champion.id == self.best.candidate.id:
            return
        self._write(self.trials.run([write_out(champion, self.spec)])[0], tie=True)
        self.shown = self.trials.environment_steps

    def _write(self, trial: Evaluation, *, tie: bool = False) -> None:
        """Put an iteration on disk, then tell of it; with ``tie`` it also replaces a best that scored the same.

        A search prefers among equals, by how much noise their constants bear, and is taken at its word; so it is
        where the return decides, which it compares on more conditions than these.
        """
        parent, self.start = self.best, self.start or trial
        ahead = 0.0 if parent is None else trial.outcome.score - parent.outcome.score
        better = (
            parent is None or ahead > 0 or (tie and (ahead == 0 or self.spec.return_threshold is not None))
        )
        best = trial if better or parent is None else parent
        attempts = self._new_attempts()
        self.recorder.iteration(self.iteration, trial, parent, attempts, self.spent(), better=better)
        if better:
            self.best, self.best_iteration = trial, self.iteration
            self.recorder.keep(trial.text)
        seconds = self.journal.seconds
        self.observe(Iterated(self.iteration, trial, best, better, self.trials.candidates, seconds))
        self.iteration += 1
        self.rewrites += trial.candidate.origin not in TUNING

    def _new_attempts(self) -> Sequence[Attempt]:
        """Return what was asked of a model and answered since the last call."""
        attempts: Sequence[Attempt] = getattr(self.optimizer, "log", ())
        new, self.attempts = attempts[self.attempts :], len(attempts)
        return new
