"""A whole run in one call, and the record of a program's own loop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.errors import OrderError, ValueMismatchError
from trace_robot.optimizers.optoprime import OptoPrime
from trace_robot.optimizers.problem import Candidate, Optimizer, Outcome
from trace_robot.policy import Policy, load_policy
from trace_robot.rollout.engine import RolloutEngine
from trace_robot.rollout.evaluation import Evaluation, Evaluator
from trace_robot.rollout.task import Task
from trace_robot.run.loop import OnEvent, OptimizationLoop, ignore
from trace_robot.run.optimizers import (
    LOOP,
    WITHOUT_MODEL,
    AnyModel,
    OptimizerConfig,
    OptimizerFactory,
    asked_problem,
    create_optimizer,
    prompt_options,
)
from trace_robot.run.person import AskPerson
from trace_robot.run.run import Run
from trace_robot.settings import Result, Settings
from trace_robot.workspace import RUNS

if TYPE_CHECKING:
    from trace_robot.rollout.evaluate import Rollout, Rollouts

__all__ = ["first_prompt", "new_folder", "optimize", "resume"]


def optimize(
    env: str,
    *,
    policy: str | Path | Policy = "do_nothing",
    optimizer: str | OptimizerFactory = "auto",
    model: AnyModel = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    engine: RolloutEngine | None = None,
    on_event: OnEvent = ignore,
    ask_person: AskPerson | None = None,
    **settings: Any,
) -> Result:
    """Optimize a controller for an environment and score it on held-out conditions.

    Every prompt, answer and episode is in the store beside ``out`` before the next step depends on it, so that
    ``resume`` can go on with a run that was interrupted at any moment. Nothing is printed.

    Args:
        env: a name, a file in envs/, or a gymnasium id.
        policy: where to start: a name, a file, or what ``load_policy`` returned.
        optimizer: "optoprime", "opro", "search" or "cma"; "auto" for OptoPrime where a model is configured and the
            built-in search elsewhere; or one's own, a class or function that is called with the ``Problem`` and the
            keyword ``seed``.
        model: an object with ``chat``, a ``ModelConfig``, or a model's name; None for what OPENAI_API_KEY,
            OPENAI_BASE_URL and OPENAI_MODEL say.
        out: the run's folder; None for rollouts/runs/NAME-TIME.
        overwrite: replace an older run in ``out``.
        engine: one to use and leave open, instead of the settings ``workers``, ``backend`` and ``address``.
        on_event: called with each ``Started``, ``Progressed``, ``Iterated`` and ``Ended``.
        ask_person: called after each iteration with a ``Question``; the sentences that it returns are in the next
            prompts, marked as a person's.
        settings: other fields of ``Settings``, such as ``steps=2000`` or ``held_out=5``; and ``python``, the path of
            another interpreter that the environment runs in, relative to the working directory. None counts as left
            out.

    Returns:
        The result, as in result.json.

    Raises:
        UnknownNameError: there is no such environment, policy, optimizer or setting.
        PolicyError: the policy has nothing trainable, or nothing for this optimizer.
        ModelError: the model cannot be reached, or gives no usable reply.
        RunError: ``out`` holds another run, or cannot be written.
    """
    source = policy if isinstance(policy, Policy) else load_policy(policy)
    config = OptimizerConfig.select(optimizer, model, source)
    folder = new_folder(env) if out is None else Path(out)
    resolved, task = _resolve(env, config.name, source, settings)
    config.require(resolved, task)
    if ask_person is not None and config.name in WITHOUT_MODEL:
        raise ValueMismatchError(
            f"a person's words are for a model, and the optimizer {config.name} asks none; leave --ask and --ask-file"
            " out"
        )
    config.probe()
    with Run.create(folder, resolved, task, config, overwrite=overwrite) as run:
        return _execute(run, engine, on_event, ask_person)


def resume(
    folder: str | Path,
    *,
    optimizer: OptimizerFactory | None = None,
    model: AnyModel = None,
    base_url: str | None = None,
    changes: Mapping[str, Any] | None = None,
    engine: RolloutEngine | None = None,
    on_event: OnEvent = ignore,
    yes: bool = False,
    python: str | None = None,
    ask_person: AskPerson | None = None,
) -> Result:
    """Go on with a run that was interrupted, to the end it would have had.

    Args:
        folder: the run's; the store must lie beside it.
        optimizer: the factory, if the run has an optimizer of one's own.
        model: in place of the one in the store, a name in place of its name; needed if the run was given an object.
        base_url: of a model's endpoint that has moved.
        changes: other attributes of the stored ``ModelConfig``, such as {"model": "a-name", "token_budget": 3000}.
        engine: one to use and leave open.
        on_event: see ``optimize``.
        yes: go on with a run that this user did not begin. Of such a run nothing is believed about which files to
            load or to write, about where to send prompts, nor about trust.
        python: the interpreter of the environment, where the run has one: if it has moved, or if this user did not
            begin the run.
        ask_person: see ``optimize``; what a person wrote before is in the journal.

    Returns:
        The result, as in result.json.

    Raises:
        RunError: there is no such run, it is finished, another process is at work on it, or this user did not begin
            it.
        ChangedRunError: what the run asks for differs from what its journal holds.
    """
    with Run.open(
        Path(folder),
        optimizer=optimizer,
        model=model,
        base_url=base_url,
        changes=changes,
        yes=yes,
        python=python,
    ) as run:
        return _execute(run, engine, on_event, ask_person)


def _execute(
    run: Run, engine: RolloutEngine | None, on_event: OnEvent, ask_person: AskPerson | None
) -> Result:
    with run.rollouts(engine) as rollouts:
        optimizer = create_optimizer(run.config, run.settings, run.task, run.model)
        evaluator = Evaluator.of(rollouts, run.task, run.settings, journaled=True)
        return OptimizationLoop(run, optimizer, evaluator, on_event, ask_person).execute()


def first_prompt(
    env: str,
    *,
    policy: str | Path | Policy = "do_nothing",
    token_budget: int | None = None,
    **settings: Any,
) -> str:
    """Roll the starting controller out and return OptoPrime's first prompt.

    No model is asked.

    Args:
        env: the environment.
        policy: where to start.
        token_budget: most tokens of it; None for the default.
        settings: other fields of ``Settings``.
    """
    source = policy if isinstance(policy, Policy) else load_policy(policy)
    resolved, task = _resolve(env, "optoprime", source, settings)
    problem = asked_problem(resolved, task)
    options = prompt_options(resolved)
    if token_budget is not None:
        options["token_budget"] = token_budget
    optimizer = OptoPrime(problem, by_worth=task.prompt > 1, **options)
    with RolloutEngine(
        resolved.workers, backend=resolved.backend, address=resolved.address, trusted=resolved.trusted
    ) as engine:
        evaluator = Evaluator.of(engine, task, resolved)
        trials = evaluator.evaluate(optimizer.ask(), graph=optimizer.uses_graph)
        optimizer.tell([trial.outcome for trial in trials])
    return optimizer.prompt()


def _resolve(env: str, optimizer: str, source: Policy, settings: Mapping[str, Any]) -> tuple[Settings, Task]:
    """Return complete settings and the task, or refuse them."""
    resolved = Settings.resolve(env, optimizer, policy=source.name, **settings)
    task = Task.to_optimize(resolved, source)
    possible = {name: task.options[name] for name in resolved.options}  # a set of worlds may have less
    return replace(resolved, options=possible), task


def new_folder(name: str) -> Path:
    """Return the folder rollouts/runs/NAME-TIME, numbered where that is taken."""
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
    first = folder = RUNS / f"{safe}-{time.strftime('%Y%m%d-%H%M%S')}"
    number = 1
    while folder.exists():
        number += 1
        folder = first.with_name(f"{first.name}-{number}")
    return folder


class _LoopOptimizer(Optimizer):
    """Null object in the place of an optimizer, as the loop proposes."""

    best = None
    done = "the program's loop ended"

    def ask(self) -> list[Candidate]:
        return []

    def tell(self, outcomes: Any) -> None:
        raise OrderError(f"a program's own loop asks for no candidates, got {len(outcomes)} outcomes")


class RecordedLoop(OptimizationLoop):
    """A program's own loop as ``Run.record`` keeps it.

    It has iterations, the best controller and a held-out score.
    """

    def record(self, rollout: Rollout, change: str) -> bool:
        """Put a rollout on disk as an iteration.

        Args:
            rollout: of ``Rollouts``.
            change: what was changed, in one line.

        Returns:
            Whether it is the best so far.
        """
        if rollout.evaluation is None:
            raise OrderError("record needs what rollouts(parameters) returned")
        number = self.iteration
        origin = "start" if number == 0 else "given"
        parent = None if self.best is None else self.best.candidate.id
        values = rollout.evaluation.candidate.values
        candidate = Candidate(number, parent, values, " ".join(change.split()), origin)
        outcome: Outcome = replace(rollout.evaluation.outcome, candidate=number)
        trial: Evaluation = replace(rollout.evaluation, candidate=candidate, outcome=outcome)
        self.run.recorder.log([trial], self._spent())
        before = self.best
        self._write(trial)
        return self.best is not before

    def finish(self) -> Result:
        """Score the best on held-out conditions and write the result."""
        return self._finish(self.optimizer.done)


@contextmanager
def recorded(path: Path, rollouts: Rollouts, *, overwrite: bool, held_out: int) -> Iterator[Run]:
    """Begin the run of a program's own loop, and finish it at the block's end.

    An exception leaves it unfinished.

    Args:
        path: the run's folder.
        rollouts: of the loop.
        overwrite: replace an older run of that folder.
        held_out: conditions of the final score; 0 for none, and the run counts as stopped.

    Raises:
        RunError: as of ``Run.create``; or the block ended without an iteration.
    """
    task, evaluator = rollouts.task, rollouts.evaluator
    settings = Settings.resolve(
        task.env,
        LOOP,
        policy=task.policy.name,
        episodes=len(evaluator.seeds),
        confirm=0,
        seed=rollouts.seed,
        control=str(task.options["control"]),
        options={name: value for name, value in task.options.items() if name != "control"},
        feedback=evaluator.level,
        limits=evaluator.limits,
        held_out=max(held_out, 1),
        cut=False,
    )
    config = OptimizerConfig(LOOP, "a program's own loop rolls out and records")
    with Run.create(path, settings, task, config, overwrite=overwrite) as run, run.rollouts(rollouts.engine):
        run.loop = RecordedLoop(run, _LoopOptimizer(), evaluator, ignore)
        try:
            yield run
            if held_out:
                run.loop.finish()
            else:
                run.stop("by the program")
        finally:
            run.loop = None
