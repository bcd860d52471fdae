"""Workers as Ray actors. The only module that imports Ray, when it is used."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import sys
import tempfile
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trace_robot.child_process import OutputLog, is_inherited, workspace_root
from trace_robot.errors import BackendError, MissingExtraError, UsageError, WorkspaceError, error_of
from trace_robot.rollout.backends import Hang, ProcessBackend, Worker, WorkerMessage
from trace_robot.rollout.batching import Batch
from trace_robot.rollout.episode import Episode

LARGEST_PLUGIN_MB = 100
END_SECONDS = 5.0
REACH_SECONDS = 10.0
TICK_SECONDS = 1.0  # between two looks at the heartbeat
MOST_LINES = 1000  # printed between two answers


class RayBackend:
    """Ray actors, one a processor, on an existing or a new cluster.

    A cluster that is started here ends with the backend. The plug-ins of the user's workspace (its folder envs/) are
    sent to every node; trace_robot must be installed there.
    """

    ahead = 2

    def __init__(
        self, size: int | None, address: str | None, *, trusted: bool, lock_step: int | None
    ) -> None:
        self._ray = _ray()
        self._own = not self._ray.is_initialized()
        if self._own:
            _connect(self._ray, size, address)
            self._undo = _redirect_prints()
        elif address is not None:
            raise UsageError(
                f"this process is connected to a Ray cluster already; leave the address {address!r} out"
            )
        self.output = OutputLog()
        self.size = size or max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self._plugins = self._ray.put(_plugins(Path(workspace_root())))
        self._options = {"trusted": trusted, "lock_step": lock_step}
        self._actor = self._ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Actor)

    def start(self) -> Worker:
        actor = self._actor.options(scheduling_strategy="SPREAD").remote(self._plugins, **self._options)
        return _RayWorker(self._ray, actor, self.output)

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[tuple[Worker, WorkerMessage]]:
        outstanding = {
            ref: worker for worker in workers if isinstance(worker, _RayWorker) for ref in worker.outstanding
        }
        if not outstanding:
            return []
        refs = list(outstanding)
        # First block for one answer, then collect every other one that is there: one call with num_returns=1 would
        # return one answer a round, and num_returns=len(refs) would wait for the slowest worker.
        self._ray.wait(refs, num_returns=1, timeout=seconds, fetch_local=False)
        ready, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)
        arrived = set(ready)
        messages: list[tuple[Worker, WorkerMessage]] = []
        for worker in dict.fromkeys(outstanding[ref] for ref in ready):
            while worker.outstanding and worker.outstanding[0] in arrived:
                messages.append((worker, worker.receive()))
                if messages[-1][1].died:
                    break
        return messages

    def close(self, idle: Sequence[Worker]) -> None:
        actors = [worker for worker in idle if isinstance(worker, _RayWorker)]
        with contextlib.suppress(self._ray.exceptions.RayError):
            leaving = [worker.actor.leave.remote() for worker in actors]
            if leaving:
                self._ray.wait(leaving, num_returns=len(leaving), timeout=END_SECONDS)
        for worker in actors:
            worker.kill()
        if self._own:
            self._ray.shutdown()
            self._undo()


class _RayWorker:
    """One actor and references to its outstanding answers.

    The first of them says that it is ready.
    """

    def __init__(self, ray: Any, actor: Any, output: OutputLog) -> None:
        self._ray, self.actor, self._output = ray, actor, output
        self._hang: Hang | None = None
        self.outstanding: deque[Any] = deque([actor.ready.remote()])

    def send(self, batch: Batch) -> None:
        self.outstanding.append(self.actor.run.remote(batch))

    def receive(self) -> WorkerMessage:
        """Return the oldest answer, which has come in."""
        try:
            answer: ActorMessage = self._ray.get(self.outstanding.popleft())
        except self._ray.exceptions.RayError as lost:
            return WorkerMessage(died=str(lost).strip().partition("\n")[0] or type(lost).__name__)
        for line in answer.printed:
            self._output.add(line)
        self._hang = answer.hang
        error = None if answer.error is None else error_of(answer.error[1], answer.error[0])
        return WorkerMessage(answer.episodes, error, answer.died)

    def hang(self) -> Hang | None:
        return self._hang

    def kill(self) -> None:
        self.outstanding.clear()
        self._ray.kill(self.actor)


@dataclass(frozen=True, slots=True)
class ActorMessage:
    """Outcome of a batch, as an actor returns it.

    Attributes:
        episodes: (index of the job, episode) of those that ended.
        error: text and class of an exception, None without one.
        died: why the worker process is gone, "" if it lives.
        hang: a call of an environment that hung, whose process was ended.
        printed: lines that environments printed since the last answer.
    """

    episodes: Sequence[tuple[int, Episode]] = ()
    error: tuple[str, str] | None = None
    died: str = ""
    hang: Hang | None = None
    printed: Sequence[bytes] = ()


class Actor:
    """A local worker process on a node, in a new folder and without keys.

    Environments run in that process and not in the actor, so that one that hangs, prints or ends its process is
    noticed as it is on the machine of the run.
    """

    def __init__(self, plugins: Mapping[str, bytes], *, trusted: bool, lock_step: int | None) -> None:
        for name, value in list(os.environ.items()):
            if not _for_ray(name, value):
                del os.environ[name]
        self._folder = tempfile.mkdtemp(prefix="trace-robot-")
        for name, content in plugins.items():
            path = Path(self._folder, "workspace", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        os.environ["TRACE_ROBOT_WORKSPACE"] = str(Path(self._folder, "workspace"))
        os.chdir(self._folder)
        self._backend = ProcessBackend(1, trusted=trusted, lock_step=lock_step)
        self._backend.output = self._printed = PrintedLines()
        self._worker = self._backend.start()

    def ready(self) -> ActorMessage:
        return self._answer(0)

    def run(self, batch: Batch) -> ActorMessage:
        self._worker.send(batch)
        return self._answer(len(batch))

    def leave(self) -> None:
        self._backend.close([self._worker])
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answer(self, count: int) -> ActorMessage:
        """Wait for episodes, or where none are wanted for the first message."""
        episodes: list[tuple[int, Episode]] = []
        while True:
            for _, message in self._backend.wait([self._worker], TICK_SECONDS):
                episodes += message.episodes
                if message.error is not None:
                    error = f"{message.error}", type(message.error).__name__
                    return ActorMessage(error=error, printed=self._printed.take())
                if message.died:  # its jobs are run again, one by one
                    return ActorMessage(died=message.died, printed=self._printed.take())
                if len(episodes) >= count:
                    return ActorMessage(episodes, printed=self._printed.take())
            if (hang := self._worker.hang()) is not None:
                self._worker.kill()
                return ActorMessage(episodes, hang=hang, printed=self._printed.take())


class PrintedLines(OutputLog):
    """Lines that wait to be sent, the first MOST_LINES of them."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[bytes] = deque()

    def add(self, line: bytes) -> None:
        if len(self._waiting) < MOST_LINES:
            self._waiting.append(line)

    def take(self) -> list[bytes]:
        """Return the lines and forget them."""
        return [self._waiting.popleft() for _ in range(len(self._waiting))]


def _ray() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray's own, about its dependencies
            import ray
            import ray.exceptions
    except ImportError as error:
        raise MissingExtraError(
            "backend 'ray' needs Ray, which is not installed: pip install 'trace-robot[ray]'"
        ) from error
    return ray


def _connect(ray: Any, size: int | None, address: str | None) -> None:
    """Join the cluster at ``address``, or start one here without the user's keys."""
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    start = {} if address else {"num_cpus": size, "include_dashboard": False}
    with warnings.catch_warnings(), _without_keys():
        warnings.simplefilter("ignore")  # Ray's own, about settings it will change
        try:
            _reach(address)
            ray.init(address=address or "local", **quiet, **start)
        except (OSError, ValueError, RuntimeError) as error:
            where = f"the Ray cluster at {address!r}" if address else "a Ray cluster on this machine"
            raise BackendError(f"{where} cannot be reached: {error}".partition("\n")[0]) from error


def _reach(address: str | None) -> None:
    """Raise OSError if nothing listens at ``address``.

    Ray itself would try for minutes.
    """
    host, _, port = (address or "").rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=REACH_SECONDS).close()


def _redirect_prints() -> Callable[[], None]:
    """Redirect Ray's prints about dead workers to the log, and return the undo.

    Ray offers no setting for this, and standard output may be the JSON of ``--json``.
    """
    module = sys.modules.get("ray._private.worker")
    original = getattr(module, "print_to_stdstream", None)
    if module is None or original is None:  # a version of Ray without this private function
        return lambda: None

    def log(data: Mapping[str, Any], *_: Any, **__: Any) -> None:
        logging.getLogger("trace_robot.ray").info("%s", " ".join(map(str, data.get("lines", ()))))

    def undo() -> None:
        module.print_to_stdstream = original  # type: ignore[attr-defined]

    module.print_to_stdstream = log  # type: ignore[attr-defined]
    return undo


def _for_ray(name: str, value: str) -> bool:
    """Return whether Ray's processes get a variable: any child's, or Ray's own."""
    return is_inherited(name, value, prefixes=("RAY_",))


@contextlib.contextmanager
def _without_keys() -> Iterator[None]:
    """Hide keys from the processes that Ray starts, and switch its reports off."""
    hidden = {name: value for name, value in os.environ.items() if not _for_ray(name, value)}
    for name in hidden:
        del os.environ[name]
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        yield
    finally:
        os.environ.update(hidden)


def _plugins(root: Path) -> dict[str, bytes]:
    """Return the files of the workspace's folder envs/ by their path in the workspace."""
    paths = [path for path in sorted((root / "envs").rglob("*")) if path.is_file()]
    kept = [path for path in paths if "__pycache__" not in path.parts]
    if sum(path.stat().st_size for path in kept) > LARGEST_PLUGIN_MB * 2**20:
        raise WorkspaceError(
            f"{root / 'envs'} has more than {LARGEST_PLUGIN_MB} MB, too much to send to every node;"
            " keep large files elsewhere, on a file system that all nodes see"
        )
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in kept}
