"""The loop: ask, roll out, tell; the same for every optimizer.

What is found is written down before the next step depends on it, and whoever watches is told through
``observe``; nothing here prints.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from trace_robot.errors import RunError
from trace_robot.optimize.optoprime import Attempt, OptoPrime
from trace_robot.optimize.problem import Candidate, Optimizer, ParameterSpec, Problem
from trace_robot.policy import Policy, load_policy
from trace_robot.program import Program, code
from trace_robot.program.words import names
from trace_robot.rollout.conditions import held_out_seeds, training_seeds
from trace_robot.rollout.context import context_of, objective_of
from trace_robot.rollout.engine import Engine
from trace_robot.rollout.evaluate import resolve
from trace_robot.rollout.levels import EXPERT, require_level
from trace_robot.rollout.outcome import wilson
from trace_robot.rollout.trial import Trial, Trials
from trace_robot.run.record import Recorder
from trace_robot.run.store import RunFolder
from trace_robot.settings import (
    EPISODES,
    Ended,
    Iterated,
    Observe,
    Progressed,
    Result,
    Settings,
    Stage,
    Started,
)
from trace_robot.spec import EnvSpec
from trace_robot.versions import versions
from trace_robot.workspace import require_expert

__all__ = ["Result", "Settings", "first_prompt", "optimize"]

SHOWN_EVERY = 50_000  # simulator steps between two improvements of a search that are written down
TUNING = ("tuning", "tuned")  # what CMA-ES makes of a model's proposal is not another iteration of the model
Make = Callable[[Problem, EnvSpec, Settings], Optimizer]
Usage = Callable[[], tuple[int, int]]


def optimize(
    settings: Settings,
    out: Path,
    *,
    make_optimizer: Make | None = None,
    usage: Usage | None = None,
    engine: Engine | None = None,
    overwrite: bool = False,
    observe: Observe = lambda event: None,
) -> Result:
    """Optimize a policy for a task, write the run to the folder ``out``, and return what it came to.

    make_optimizer, usage: an optimizer of one's own, and the calls and tokens it has cost so far; left out,
    ``settings.optimizer`` decides. engine: one to use and leave open, instead of ``settings.workers``.
    """
    if make_optimizer is None:
        from trace_robot.choice import choose

        chosen = choose(settings)
        settings, make_optimizer, usage = chosen.settings, chosen.make, chosen.usage
    settings = replace(settings, episodes=settings.episodes or EPISODES)
    policy, spec, options = _prepare(settings)
    optimizer = make_optimizer(problem_of(policy, spec), spec, settings)
    training_seeds(settings.seed, settings.episodes + settings.confirm)
    held_out_seeds(settings.seed, settings.held_out)  # both refuse what cannot be, before anything is made
    folder = RunFolder.create(out, overwrite=overwrite)
    folder.write_json("settings.json", asdict(settings) | {"versions": versions(), "control": spec.control})
    observe(Started(settings, spec, policy, out))
    recorder = Recorder(folder, policy, settings.task, video=settings.video)
    try:
        with _engine(settings, engine) as running:
            trials = _trials(settings, policy, options, running)
            run = _Run(settings, spec, optimizer, trials, recorder, observe)
            return run.finish(run.iterate(), usage or (lambda: (0, 0)))
    finally:
        recorder.close()


def problem_of(policy: Policy, spec: EnvSpec) -> Problem:
    """Return the OPTO problem: the policy's places, the environment in words."""
    parameters = tuple(
        ParameterSpec(
            place.name,
            place.kind,
            place.value,
            place.description,
            place.constraint,
            place.name.rpartition(".")[2] if place.kind == "code" else "",
        )
        for place in policy.places
    )
    return Problem(parameters, context=context_of(spec), objective=objective_of(spec))


def first_prompt(settings: Settings) -> str:
    """Roll the starting controller out and return what OptoPrime would ask a model next; nobody is asked."""
    settings = replace(settings, episodes=settings.episodes or EPISODES)
    policy, spec, options = _prepare(settings)
    optimizer = OptoPrime(problem_of(policy, spec))
    with _engine(settings, None) as engine:
        trials = _trials(settings, policy, options, engine)
        optimizer.tell([trial.outcome for trial in trials.run(optimizer.ask(), graph=True)])
    return optimizer.prompt()


def _prepare(settings: Settings) -> tuple[Policy, EnvSpec, dict[str, Any]]:
    policy = load_policy(settings.policy).require_trainable()
    if require_level(settings.feedback) == EXPERT:
        require_expert(settings.task)
    return resolve(settings.task, policy, settings.control, settings.usual_control, settings.options)


def _engine(settings: Settings, engine: Engine | None) -> AbstractContextManager[Engine]:
    if engine is not None:
        return nullcontext(engine)
    return Engine(
        settings.workers, backend=settings.backend, address=settings.address, trusted=settings.trusted
    )


def _trials(settings: Settings, policy: Policy, options: dict[str, Any], engine: Engine) -> Trials:
    seeds = training_seeds(settings.seed, settings.episodes + settings.confirm)
    first, more = seeds[: settings.episodes], seeds[settings.episodes :]
    return Trials(
        engine, policy, settings.task, options, first, settings.limits, settings.feedback, confirm=more
    )


def written(candidate: Candidate, spec: EnvSpec) -> Candidate:
    """Return the candidate of a program search with its program written out as code, to run like any other."""
    program = Program.from_data(candidate.program or {})
    stages = ", ".join(title.replace("_", " ") for title in names(program))
    note = f"{candidate.note}: {stages}" if candidate.note else stages
    return replace(candidate, values={"act": code(program, spec)}, program=None, seeds=None, note=note)


class _Run:
    """One run: what the loop knows between two iterations."""

    def __init__(
        self,
        settings: Settings,
        spec: EnvSpec,
        optimizer: Optimizer,
        trials: Trials,
        recorder: Recorder,
        observe: Observe,
    ) -> None:
        self.settings, self.spec, self.optimizer, self.trials = settings, spec, optimizer, trials
        self.recorder, self.observe = recorder, observe
        self.started = time.monotonic()
        self.shown = 0
        self.iteration = self.best_iteration = self.attempts = self.rewrites = 0
        self.kept = -1
        self.start: Trial | None = None
        self.best: Trial | None = None

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
            self.recorder.log(trials)
            if candidates[0].program is None:
                self._write(max(trials, key=lambda trial: trial.outcome.score))
            elif self.trials.environment_steps - self.shown > SHOWN_EVERY:
                self._write_program()
            else:
                self._keep_program()
        return reason

    def finish(self, ended: str, usage: Usage) -> Result:
        """Score the best controller on held-out conditions and write the result."""
        self._write_program()
        if self.best is None or self.start is None:
            raise RunError(f"no controller was tried: {ended}; allow more time or iterations")
        self.recorder.keep(self.best.text)
        settings = self.settings
        seconds = time.monotonic() - self.started
        seeds = held_out_seeds(settings.seed, settings.held_out)
        episodes = self.trials.score(
            self.best.text, seeds, lambda done, total: self._progress(done, total, held_out=True)
        )
        wins = sum(episode.success for episode in episodes)
        calls, tokens = usage()
        result = Result(
            task=settings.task, optimizer=settings.optimizer, feedback_level=settings.feedback,
            control=str(self.trials.options["control"]), seed=settings.seed, policy=settings.policy,
            start_success=self.start.outcome.success, training_success=self.best.outcome.success,
            training_episodes=len(self.best.episodes), held_out_success=wins / len(episodes),
            held_out_episodes=len(episodes), held_out_interval=wilson(wins, len(episodes)),
            iterations=self.iteration - 1, best_iteration=self.best_iteration, candidates=self.trials.candidates,
            environment_steps=self.trials.environment_steps, model_calls=calls, tokens=tokens,
            seconds=round(seconds, 2), ended=ended, versions=versions(),
        )  # fmt: skip
        self.recorder.finish(result, episodes, self._new_attempts())
        self.observe(Ended(result, self.recorder.folder.path))
        return result

    def _over(self) -> str:
        limit, seconds, steps = self.settings.iterations, self.settings.seconds, self.settings.steps
        if self.optimizer.done:
            return self.optimizer.done
        if limit is not None and self.rewrites > limit:
            return f"{limit} iterations done"
        if steps is not None and self.trials.environment_steps >= steps:
            return f"{steps} simulator steps spent"
        if seconds is not None and time.monotonic() - self.started > seconds:
            return f"{seconds:g} seconds spent"
        return ""

    def _progress(self, done: int, total: int, *, held_out: bool = False) -> None:
        seconds = time.monotonic() - self.started
        stage: Stage = "held out" if held_out else "training"
        self.observe(Progressed(stage, done, total, self.trials.candidates, self.best, seconds))

    def _keep_program(self) -> None:
        """Put the search's best program on disk, not scored as text yet, so that a run that is stopped has it."""
        champion = self.optimizer.best
        if champion is not None and champion.program is not None and champion.id != self.kept:
            self.kept = champion.id
            self.recorder.keep(self.trials.policy.render(written(champion, self.spec).values))

    def _write_program(self) -> None:
        """Write the search's best program out as a controller, if it is a new one, and score that text."""
        champion = self.optimizer.best
        if champion is None or champion.program is None:
            return
        if self.best is not None and champion.id == self.best.candidate.id:
            return
        self._write(self.trials.run([written(champion, self.spec)])[0], tie=True)
        self.shown = self.trials.environment_steps

    def _write(self, trial: Trial, *, tie: bool = False) -> None:
        """Put an iteration on disk, then tell of it; with ``tie`` it also replaces a best that scored the same.

        A search prefers among equals, by how much noise their constants bear, and is taken at its word.
        """
        parent, self.start = self.best, self.start or trial
        ahead = 0.0 if parent is None else trial.outcome.score - parent.outcome.score
        better = parent is None or ahead > 0 or (tie and ahead == 0)
        best = trial if better or parent is None else parent
        self.recorder.iteration(self.iteration, trial, parent, self._new_attempts())
        if better:
            self.best, self.best_iteration = trial, self.iteration
            self.recorder.keep(trial.text)
        seconds = time.monotonic() - self.started
        self.observe(Iterated(self.iteration, trial, best, better, self.trials.candidates, seconds))
        self.iteration += 1
        self.rewrites += trial.candidate.origin not in TUNING

    def _new_attempts(self) -> Sequence[Attempt]:
        """Return what was asked of a model and answered since the last call."""
        attempts: Sequence[Attempt] = getattr(self.optimizer, "log", ())
        new, self.attempts = attempts[self.attempts :], len(attempts)
        return new
