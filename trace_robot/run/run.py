"""A run on disk, open for writing."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.child_process import OutputLog
from trace_robot.errors import RunError, TraceRobotError
from trace_robot.fault import Limits
from trace_robot.llm.model import ChatModel
from trace_robot.llm.recording import ReplayModel
from trace_robot.optimizers.optoprime import OptoPrime
from trace_robot.policy import Policy
from trace_robot.rollout.engine import RolloutEngine
from trace_robot.rollout.task import Task
from trace_robot.run.journaled import JournaledEngine, JournaledModel, began_unbounded
from trace_robot.run.optimizers import WITH_MODEL, WITHOUT_MODEL, AnyModel, OptimizerConfig, OptimizerFactory
from trace_robot.run.recorder import JournaledPictures, RunRecorder
from trace_robot.settings import LEVELS, PROMPT, RULES, UnboundedSeed
from trace_robot.store.database import FILE
from trace_robot.store.folder import RunFolder, RunLock
from trace_robot.store.records import decoding
from trace_robot.store.rows import header_of
from trace_robot.store.writer import Cost, RunHeader, RunWriter, Store
from trace_robot.workspace import require_named, require_plain_options

if TYPE_CHECKING:
    from trace_robot.optimizers.problem import Optimizer
    from trace_robot.rollout.evaluation import JobRunner
    from trace_robot.settings import Settings
    from trace_robot.store.history import History, RunInfo, Status


class Run:
    """A run that this process holds: its folder, lock, rows and journal.

    ``create`` and ``open`` are context managers that release it. folder: absolute or relative, as it was given.
    """

    def __init__(
        self, folder: RunFolder, writer: RunWriter, settings: Settings, task: Task, config: OptimizerConfig
    ) -> None:
        self.settings, self.task, self.config = settings, task, config
        self.recorder = RunRecorder(folder, writer, task, video=settings.video)
        self.journal = writer.journal
        self._files, self._writer = folder, writer

    @classmethod
    @contextmanager
    def create(
        cls, path: Path, settings: Settings, task: Task, config: OptimizerConfig, *, overwrite: bool = False
    ) -> Iterator[Run]:
        """Begin a run.

        Args:
            path: its folder; the store lies beside it.
            settings: complete ones.
            task: what is optimized.
            config: the optimizer.
            overwrite: replace an older run of that folder.

        Raises:
            RunError: the folder is in use, or cannot be written.
        """
        RunFolder.require_room(
            path, overwrite=overwrite
        )  # all that can be refused is, before anything is made
        place = path.resolve()
        with Store(place.parent) as store:
            store.require_room(place.name, overwrite=overwrite)
            folder = RunFolder.create(path, overwrite=overwrite)
            with RunLock(folder.path):
                header = RunHeader(settings, task.spec, task.source, config.why, config.stored)
                yield cls(folder, store.begin(place.name, header), settings, task, config)

    @classmethod
    @contextmanager
    def open(
        cls,
        path: Path,
        *,
        optimizer: OptimizerFactory | None = None,
        model: AnyModel = None,
        base_url: str | None = None,
        changes: Mapping[str, Any] | None = None,
        yes: bool = False,
        python: str | None = None,
    ) -> Iterator[Run]:
        """Take an interrupted run up again.

        Args:
            path: its folder, with the store beside it.
            optimizer: the factory, if the run has an optimizer of one's own.
            model: in place of the stored one.
            base_url: of the stored model's endpoint, if it has moved.
            changes: other attributes of the stored ``ModelConfig``.
            yes: go on with a run that this user did not begin, within ``strangers_header``.
            python: the environment's interpreter, in place of the stored one.

        Raises:
            RunError: there is no such run, it is finished, another process holds it, or its optimizer is missing; or
                this user did not begin it.
        """
        place = path.resolve()
        if not (place.parent / FILE).is_file():
            raise RunError(
                f"there is no {FILE} beside {str(path)!r}, which is what a run goes on from; if the run was moved, move"
                " it back, or move that file too"
            )
        with Store(place.parent) as store:
            header = store.header(place.name)
            if not header.own and not yes:
                proposer = (changes or {}).get("proposer")
                plan = "; ".join(plan_of(header, model, base_url, python, proposer))
                raise RunError(
                    f"this user did not begin the run {place.name!r}; {plan}; if that is wanted, say --yes"
                )
            with RunLock(place):
                writer, header = store.reopen(place.name)
                header = usable_header(with_python(header, python))
                config = OptimizerConfig.restore(header, optimizer, model, base_url, changes)
                settings = header.settings
                if began_unbounded(writer.journal):
                    settings = replace(settings, seed=UnboundedSeed(settings.seed))
                task = Task.to_optimize(settings, Policy.from_text(header.source, settings.policy))
                yield cls(RunFolder.reopen(path), writer, settings, task, config)

    @property
    def folder(self) -> Path:
        return self._files.path

    @property
    def model(self) -> ChatModel | None:
        """The model behind the journal, None where none is asked.

        A replayed record is read again instead, as it costs nothing.
        """
        connected = self.config.model
        if connected is None or isinstance(connected.meter.model, ReplayModel):
            return connected
        return JournaledModel(
            connected.model,
            connected.usage,
            self.journal,
            endpoint=connected.endpoint,
            token_budget=self.config.changed_budget,
            seconds=self.settings.seconds if self.settings.cut else None,
        )

    def pictures(self, optimizer: Optimizer) -> JournaledPictures | None:
        """Let an optimizer show its model key frames if settings ask, return their source."""
        asking = getattr(optimizer, "inner", optimizer)
        if not self.settings.images or not isinstance(asking, OptoPrime):
            return None
        endpoint = None if self.config.model is None else self.config.model.endpoint
        source = JournaledPictures(self.journal, self.task.spec, endpoint, asking.notes.append)
        asking.pictures = source
        return source

    @contextmanager
    def rollouts(self, engine: RolloutEngine | None) -> Iterator[JobRunner]:
        """Start workers and clock for the block inside.

        An exception inside is noted in the store as the reason why the run ended.

        Args:
            engine: one to use and leave open, None for a new one by the settings.
        """
        settings = self.settings
        self._writer.enter("running")
        data = settings.to_data() | {"versions": self._writer.versions, "control": self.task.spec.control}
        self._files.write_json("settings.json", data)
        own = RolloutEngine(
            settings.workers, backend=settings.backend, address=settings.address, trusted=settings.trusted
        )
        try:
            with own if engine is None else nullcontext(engine) as running:
                self.journal.begin()
                try:
                    yield JournaledEngine(running, self.journal)
                finally:
                    self._keep_output(running.output)
        except KeyboardInterrupt:
            self._note("stopped", "by Ctrl-C")
            raise
        except Exception as error:  # of any kind: the store is to say why the run ended
            known = isinstance(error, TraceRobotError)
            self._note("failed", str(error) if known else f"{type(error).__name__}: {error}")
            raise
        finally:
            self.recorder.close()

    def cost(self, candidates: int, environment_steps: int) -> Cost:
        """Return the run's cost: rollouts, time and the model's usage.

        Args:
            candidates: rolled out so far.
            environment_steps: simulator steps so far.
        """
        usage = self.config.usage
        return Cost(
            self.journal.seconds,
            candidates,
            environment_steps,
            usage.calls,
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.money if self.config.priced else None,
        )

    def _keep_output(self, output: OutputLog) -> None:
        """Write what the environment printed beside the run, where it printed anything."""
        if output.lines:
            with suppress(RunError):  # as in _note
                self._files.write("environment.log", output.text)

    def _note(self, status: Status, why: str) -> None:
        with suppress(RunError):  # a full disk fails here too, and its first error is the one to report
            self._writer.enter(status, why)


MOST_WORKERS = 16  # that a stranger's run may start; one a processor where it asks for more
LARGEST_SETTING = 10**9  # of counts and seconds in a stranger's settings
WORDS = {
    "control": (None, "pose", "raw"),
    "usual_control": ("pose", "raw"),
    "feedback": LEVELS,
    "optimizer": (*WITH_MODEL, *WITHOUT_MODEL),
    "tune": (True, False),
    "images": (True, False),
    "rules": tuple(range(1, RULES + 1)),
    "prompt": (1, PROMPT),
    "video": (True, False),
}


def stored_header(history: History, run: RunInfo) -> RunHeader:
    """Return what is used of a run that is only looked at, ``usable_header``.

    Args:
        history: the open store.
        run: one of its runs, finished or not.

    Raises:
        RunError: a setting is not as this library writes it.
        WorkspaceError: as of ``strangers_header``.
    """
    with decoding(f"the run {run.name!r}"):
        return usable_header(header_of(history.row(run)))


def with_python(header: RunHeader, python: str | None) -> RunHeader:
    """Return a header with another interpreter for the environment, the same for None.

    Args:
        header: what the run began with.
        python: the interpreter's path, which the user gives.

    Raises:
        RunError: the run has none.
    """
    if python is None:
        return header
    options = header.settings.options
    if not isinstance(options, Mapping) or "python" not in options:
        raise RunError("the run's environment was not in an interpreter given by --python; leave it out")
    settings = replace(header.settings, options={**options, "python": python})
    return replace(header, settings=settings, python=python)


def chosen_python(history: History, run: RunInfo) -> str | None:
    """Return the interpreter that this user chose for a run's environment.

    None for none, and for a run that this user did not begin.

    Args:
        history: the open store.
        run: one of its runs.
    """
    with decoding(f"the run {run.name!r}"):
        header = header_of(history.row(run))
    return header.settings.options.get("python") if header.own else None


def usable_header(header: RunHeader) -> RunHeader:
    """Return all of a header that this user began, else ``strangers_header``."""
    return header if header.own else strangers_header(header)


def strangers_header(header: RunHeader) -> RunHeader:
    """Return what is used of a run that another person began, or refuse it.

    The environment is one by name, with plain options. Workers, backend, address and trust are this user's to decide,
    limits no wider than the default; files, endpoint and key of the model too (``ModelConfig.from_data``).

    Raises:
        RunError: a setting is not as this library writes it.
        WorkspaceError: the environment is a file, or its options may name one.
    """
    settings = header.settings
    require_named(settings.task)
    require_plain_options(settings.options, header.python)
    for name, known in WORDS.items():
        if getattr(settings, name) not in known:
            raise RunError(
                f"the run's setting {name} must be one of {known}, got {getattr(settings, name)!r:.80}"
            )
    for name in ("iterations", "episodes", "confirm", "seed", "held_out", "seconds", "steps", "grow"):
        value = getattr(settings, name)
        kinds = (int, float) if name == "seconds" else (int,)
        if value is not None and (type(value) not in kinds or not 0 <= value <= LARGEST_SETTING):
            raise RunError(f"the run's setting {name} must be a number from 0 on, got {value!r:.80}")
    narrow = {
        name: min(getattr(settings.limits, name), widest)
        if _is_number(getattr(settings.limits, name))
        else widest
        for name, widest in dataclasses.asdict(Limits()).items()
        if _is_number(widest)
    }
    workers = settings.workers
    if type(workers) is not int or not 1 <= workers <= MOST_WORKERS:
        workers = None
    mine = dataclasses.replace(
        settings, trusted=False, backend="local", address=None, workers=workers, limits=Limits(**narrow)
    )
    return dataclasses.replace(header, settings=mine)


def plan_to_resume(
    path: Path,
    model: AnyModel = None,
    base_url: str | None = None,
    python: str | None = None,
    proposer: str | None = None,
) -> list[str]:
    """Return ``plan_of`` a run, [] for one that this user began.

    Args:
        path: the run's folder, with the store beside it.
        model: as of ``plan_of``.
        base_url: as of ``plan_of``.
        python: as of ``plan_of``.
        proposer: as of ``plan_of``.
    """
    place = path.resolve()
    with Store(place.parent) as store:
        header = store.header(place.name)
    return [] if header.own else plan_of(header, model, base_url, python, proposer)


def plan_of(
    header: RunHeader,
    model: AnyModel = None,
    base_url: str | None = None,
    python: str | None = None,
    proposer: str | None = None,
) -> list[str]:
    """Return what resuming a stranger's run would do, a phrase a line.

    Args:
        header: what the run began with.
        model: in place of the stored one.
        base_url: of the endpoint that the user gives.
        python: the environment's interpreter that the user gives.
        proposer: the command that the user gives; that of the store is never run.

    Raises:
        RunError, WorkspaceError: as of ``strangers_header``.
    """
    settings = strangers_header(with_python(header, python)).settings
    steps = "no limit" if settings.steps is None else f"{settings.steps:,}"
    seconds = "no limit" if settings.seconds is None else f"{settings.seconds:g}"
    lines = [
        f"it would roll out controllers of {settings.optimizer} for {settings.task}, locked in"
        f" (iterations {settings.iterations or 'no limit'}, steps {steps}, seconds {seconds})"
    ]
    if python is not None:
        stored = header.settings.options["python"]
        lines.append(f"it would run the environment in {python} (the run names {stored!r:.200})")
    stored = (header.choice or {}).get("proposer")
    if proposer is not None:
        lines.append(f"it would run the command {proposer!r:.200} (the run names {stored!r:.200})")
    elif stored is not None:
        lines.append(f"it would need --proposer: the run's own command, {stored!r:.200}, is not run")
    elif settings.optimizer in WITH_MODEL:
        name = model if isinstance(model, str) else (header.choice or {}).get("model")
        where = base_url or os.environ.get("OPENAI_BASE_URL") or "OpenAI, with OPENAI_API_KEY"
        lines.append(f"it would ask the model {name!r:.100} at {where}")
    return lines


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
