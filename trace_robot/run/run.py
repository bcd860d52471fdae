"""A run on disk, open for writing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.child_process import OutputLog
from trace_robot.errors import OrderError, RunError, TraceRobotError
from trace_robot.llm.model import ChatModel
from trace_robot.llm.recording import ReplayModel
from trace_robot.optimizers.optoprime import OptoPrime
from trace_robot.policy import Policy
from trace_robot.rollout.engine import RolloutEngine
from trace_robot.rollout.task import Task
from trace_robot.run.journaled import JournaledEngine, JournaledModel, began_unbounded
from trace_robot.run.optimizers import AnyModel, OptimizerConfig, OptimizerFactory
from trace_robot.run.person import plan_of, usable_header, with_python
from trace_robot.run.recorder import JournaledPictures, RunRecorder
from trace_robot.settings import ASKING_NONE, Settings, UnboundedSeed, versions
from trace_robot.store.database import FILE
from trace_robot.store.folder import RunFolder, RunLock
from trace_robot.store.writer import Cost, RunHeader, RunWriter, Store

if TYPE_CHECKING:
    from trace_robot.optimizers.problem import Optimizer
    from trace_robot.rollout.evaluate import Rollout, Rollouts
    from trace_robot.rollout.evaluation import JobRunner
    from trace_robot.run.optimize import RecordedLoop
    from trace_robot.store.history import Status


class Run:
    """A run that this process holds: its folder, lock, rows and journal.

    ``create`` and ``open`` are context managers that release it. folder: absolute or relative, as it was given.
    """

    def __init__(
        self, folder: RunFolder, writer: RunWriter, settings: Settings, task: Task, config: OptimizerConfig
    ) -> None:
        self.settings, self.task, self.config = settings, task, config
        annotate = config.name == "search" and settings.cut  # runs of 0.1 keep their files as they are
        self.recorder = RunRecorder(folder, writer, task, video=settings.video, annotate=annotate)
        self.journal = writer.journal
        self.loop: RecordedLoop | None = None  # of a program that rolls out itself
        self._files, self._writer = folder, writer

    @classmethod
    @contextmanager
    def create(
        cls,
        path: str | Path,
        settings: Settings | Rollouts,
        task: Task | None = None,
        config: OptimizerConfig | None = None,
        *,
        overwrite: bool = False,
        held_out: int = 50,
    ) -> Iterator[Run]:
        """Begin a run.

        With ``Rollouts`` it is that of a program's own loop: ``record`` keeps an iteration, and at the end of the block
        the best controller is scored on held-out conditions.

        Args:
            path: its folder; the store lies beside it.
            settings: complete ones, with a task and an optimizer; or the ``Rollouts`` of a loop, without these.
            task: what is optimized.
            config: the optimizer.
            overwrite: replace an older run of that folder.
            held_out: conditions of the final score of a loop, 0 for no score and an unfinished run.

        Raises:
            RunError: the folder is in use, or cannot be written.
        """
        path = Path(path)
        if not isinstance(settings, Settings):
            if not hasattr(settings, "evaluator"):
                raise RunError(f"a run needs Rollouts or Settings, got {settings!r:.80}")
            from trace_robot.run.optimize import recorded

            with recorded(path, settings, overwrite=overwrite, held_out=held_out) as run:
                yield run
            return
        if task is None or config is None:
            raise RunError("a run by settings needs a task and an optimizer; trace_robot.optimize makes both")
        RunFolder.require_room(
            path, overwrite=overwrite
        )  # all that can be refused is, before anything is made
        place = path.resolve()
        with Store(place.parent) as store:
            store.require_room(place.name, overwrite=overwrite)
            folder = RunFolder.create(path, overwrite=overwrite)
            with RunLock(folder.path):
                header = RunHeader(
                    settings,
                    task.spec,
                    task.source,
                    config.why,
                    config.stored,
                    _versions(settings, task),
                )
                yield cls(folder, store.begin(place.name, header), settings, task, config)

    @classmethod
    @contextmanager
    def open(
        cls,
        path: str | Path,
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
        path = Path(path)
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
    def versions(self) -> Mapping[str, str]:
        """Those of the packages it is executed with, also of a resumed run."""
        return _versions(self.settings, self.task)

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

    def record(self, rollout: Rollout, change: str = "") -> bool:
        """Keep a rollout of one's own loop as an iteration, the first one as the start.

        Args:
            rollout: what ``rollouts(parameters)`` returned.
            change: what was changed and why, in one line.

        Returns:
            Whether it is the best so far.

        Raises:
            OrderError: the run is not that of a loop, or its block has ended.
        """
        if self.loop is None:
            raise OrderError("record needs a run of your own loop: with Run.create(folder, rollouts) as run")
        return self.loop.record(rollout, change)

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

    def stop(self, why: str) -> None:
        """Note that the run ends without a result."""
        self._note("stopped", why)

    def _note(self, status: Status, why: str) -> None:
        with suppress(RunError):  # a full disk fails here too, and its first error is the one to report
            self._writer.enter(status, why)


def _versions(settings: Settings, task: Task) -> dict[str, str]:
    return versions(task.versions, model=settings.optimizer not in ASKING_NONE)
