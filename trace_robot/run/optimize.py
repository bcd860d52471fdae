"""A whole run: from settings to a result, and on from where it was interrupted.

What is found is written down before the next step depends on it, and whoever watches is told through
``observe``; nothing here prints.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from trace_robot.env.registry import require_expert
from trace_robot.errors import RunError, TraceRobotError
from trace_robot.llm.metering import Usage
from trace_robot.optimizers.optoprime import OptoPrime
from trace_robot.optimizers.problem import Optimizer
from trace_robot.policy import Policy, load_policy
from trace_robot.policy.problem import problem_of
from trace_robot.rollout.engine import RolloutEngine
from trace_robot.rollout.evaluation import Evaluator, JobRunner
from trace_robot.rollout.feedback import EXPERT, require_level
from trace_robot.rollout.seeds import held_out_seeds, training_seeds
from trace_robot.rollout.task import resolve
from trace_robot.run.events import Observe, Started
from trace_robot.run.journaled import JournaledEngine
from trace_robot.run.loop import OptimizationLoop
from trace_robot.run.optimizers import Chosen, Make, choose, choose_again
from trace_robot.run.recorder import RunRecorder
from trace_robot.settings import EPISODES, Result, Settings
from trace_robot.spec import TaskSpec
from trace_robot.store.database import FILE
from trace_robot.store.folder import RunFolder, RunLock
from trace_robot.store.history import Status
from trace_robot.store.writer import RunHeader, RunWriter, Store

__all__ = ["Result", "Settings", "first_prompt", "optimize", "resume"]


def optimize(
    settings: Settings,
    out: Path,
    *,
    chosen: Chosen | None = None,
    make_optimizer: Make | None = None,
    usage: Callable[[], Usage] = Usage,
    engine: RolloutEngine | None = None,
    overwrite: bool = False,
    observe: Observe = lambda event: None,
) -> Result:
    """Optimize a policy for a task, write the run to the folder ``out``, and return what it came to.

    Everything asked, answered and measured is in the store beside ``out`` before the next step depends on it.
    chosen: what ``choose`` made of the settings. make_optimizer, usage: an optimizer of one's own, and what its
    model has cost so far. With neither, ``settings.optimizer`` decides. engine: one to use and leave open, instead
    of ``settings.workers``.
    """
    if make_optimizer is not None:
        chosen = Chosen(settings, "an optimizer of its own", make_optimizer, usage)
    chosen = chosen or choose(settings)
    settings = replace(chosen.settings, episodes=chosen.settings.episodes or EPISODES)
    source = load_policy(settings.policy)
    prepared = _prepare(settings, source)
    optimizer = chosen.make(problem_of(prepared.policy, prepared.spec), prepared.spec, settings)
    _require_conditions(settings)
    RunFolder.require_room(out, overwrite=overwrite)  # all that can be refused is, before anything is made
    place = out.resolve()
    with Store(place.parent) as store:
        store.require_room(place.name, overwrite=overwrite)
        folder = RunFolder.create(out, overwrite=overwrite)
        with RunLock(folder.path):
            beginning = RunHeader(settings, prepared.spec, source.text, chosen.why, chosen.data)
            ledger = store.begin(place.name, beginning)
            return _conduct(prepared, chosen, optimizer, folder, ledger, engine, observe)


def resume(
    out: Path,
    *,
    base_url: str | None = None,
    chosen: Chosen | None = None,
    make_optimizer: Make | None = None,
    usage: Callable[[], Usage] = Usage,
    engine: RolloutEngine | None = None,
    observe: Observe = lambda event: None,
) -> Result:
    """Go on with a run that was interrupted, to where it would have come by itself; see ``optimize``.

    base_url: of a model's endpoint that has moved. chosen, make_optimizer: what the run was begun with, made again;
    left out, the store knows how.
    """
    place = out.resolve()
    if not (place.parent / FILE).is_file():
        raise RunError(
            f"there is no {FILE} beside {str(out)!r}, which is what a run goes on from; if the run was moved, move it"
            " back, or move that file too"
        )
    with Store(place.parent) as store:
        store.require_open(place.name)
        with RunLock(place):
            ledger, beginning = store.reopen(place.name)
            settings = beginning.settings
            if make_optimizer is not None:
                chosen = Chosen(settings, beginning.why, make_optimizer, usage)
            chosen = chosen or _choose_again(place.name, beginning, base_url)
            prepared = _prepare(settings, Policy.from_text(beginning.source, settings.policy))
            optimizer = chosen.make(problem_of(prepared.policy, prepared.spec), prepared.spec, settings)
            ledger.enter("running")
            return _conduct(prepared, chosen, optimizer, RunFolder.reopen(out), ledger, engine, observe)


def _choose_again(name: str, beginning: RunHeader, base_url: str | None) -> Chosen:
    if beginning.choice is None:
        raise RunError(
            f"the run {name!r} has an optimizer that a program made; go on with trace_robot.resume and that optimizer"
        )
    return choose_again(beginning.settings, beginning.why, beginning.choice, base_url=base_url)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is known before anything runs."""

    settings: Settings
    policy: Policy
    spec: TaskSpec
    options: dict[str, Any]


def _conduct(
    prepared: _Prepared, chosen: Chosen, optimizer: Optimizer, folder: RunFolder, ledger: RunWriter,
    engine: RolloutEngine | None, observe: Observe,
) -> Result:  # fmt: skip
    """Run the loop, from the start or on from what is in the ledger's journal."""
    settings, policy, spec = prepared.settings, prepared.policy, prepared.spec
    if chosen.model is not None:
        chosen.model.journal = ledger.journal
    about = asdict(settings) | {"versions": ledger.versions, "control": spec.control}
    folder.write_json("settings.json", about)
    observe(Started(settings, spec, policy, folder.path, ledger.journal.known))
    recorder = RunRecorder(folder, ledger, policy, settings.task, video=settings.video)
    try:
        with _engine(settings, engine) as running:
            trials = _trials(prepared, JournaledEngine(running, ledger.journal))
            ledger.journal.begin()
            rounds = OptimizationLoop(settings, spec, optimizer, trials, recorder, chosen, observe)
            return rounds.finish(rounds.iterate())
    except KeyboardInterrupt:
        _note(ledger, "stopped", "by Ctrl-C")
        raise
    except Exception as error:
        known = isinstance(error, TraceRobotError)
        _note(ledger, "failed", str(error) if known else f"{type(error).__name__}: {error}")
        raise
    finally:
        recorder.close()


def _note(ledger: RunWriter, status: Status, why: str) -> None:
    with suppress(RunError):  # what the disk or the store said first is what is told
        ledger.enter(status, why)


def first_prompt(settings: Settings) -> str:
    """Roll the starting controller out and return what OptoPrime would ask a model next; nobody is asked."""
    settings = replace(settings, episodes=settings.episodes or EPISODES)
    prepared = _prepare(settings, load_policy(settings.policy))
    optimizer = OptoPrime(problem_of(prepared.policy, prepared.spec))
    with _engine(settings, None) as engine:
        trials = _trials(prepared, engine)
        optimizer.tell([trial.outcome for trial in trials.run(optimizer.ask(), graph=True)])
    return optimizer.prompt()


def _prepare(settings: Settings, policy: Policy) -> _Prepared:
    policy.require_trainable()
    if require_level(settings.feedback) == EXPERT:
        require_expert(settings.task)
    resolved = resolve(settings.task, policy, settings.control, settings.usual_control, settings.options)
    return _Prepared(settings, *resolved)


def _require_conditions(settings: Settings) -> None:
    training_seeds(settings.seed, settings.episodes + settings.confirm)
    held_out_seeds(settings.seed, settings.held_out)  # both refuse what cannot be


def _engine(settings: Settings, engine: RolloutEngine | None) -> AbstractContextManager[RolloutEngine]:
    if engine is not None:
        return nullcontext(engine)
    return RolloutEngine(
        settings.workers, backend=settings.backend, address=settings.address, trusted=settings.trusted
    )


def _trials(prepared: _Prepared, engine: JobRunner) -> Evaluator:
    settings = prepared.settings
    seeds = training_seeds(settings.seed, settings.episodes + settings.confirm)
    first, more = seeds[: settings.episodes], seeds[settings.episodes :]
    return Evaluator(
        engine, prepared.policy, settings.task, prepared.options, first, settings.limits, settings.feedback,
        confirm=more, observe=True,
    )  # fmt: skip
