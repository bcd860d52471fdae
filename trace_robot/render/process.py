"""The rendering process, seen from a run: submit jobs, go on, collect the results.

Rendering is a process of its kind for three reasons: GL may abort the process it runs in, MuJoCo chooses its GL library
for the whole life of a process, and a run must not wait for its videos.

Which GL library is used (EGL, OSMesa, CGL or WGL if it works, else ray casting) is found by trying. MuJoCo reads the
variable MUJOCO_GL when it is imported, and a broken library can abort the process, so each is tried in a process of its
kind, and this process never imports one.
"""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from trace_robot.child_process import JsonLines, clean_environment, python_command
from trace_robot.errors import RenderError
from trace_robot.render.job import RenderJob, VideoInfo

RenderBackend = Literal["egl", "osmesa", "cgl", "wgl", "rays"]
BACKENDS: tuple[RenderBackend, ...] = ("egl", "osmesa", "cgl", "wgl", "rays")
PROBE_SECONDS = 30.0  # for the import of MuJoCo and one picture of 16 by 16 pixels, on a machine that is busy


def candidates(platform: str = sys.platform) -> tuple[RenderBackend, ...]:
    """Return the GL libraries to try on a platform, the best first."""
    return {"darwin": ("cgl",), "win32": ("wgl",)}.get(platform, ("egl", "osmesa"))  # type: ignore[return-value]


def choose_backend(backends: Sequence[RenderBackend] | None = None) -> RenderBackend:
    """Return the first backend that draws, else "rays", of the platform's by default."""
    return next((backend for backend in backends or candidates() if not probe(backend)), "rays")


@functools.cache
def probe(backend: RenderBackend) -> str:
    """Return why a backend does not draw here, "" if it does.

    Each is tried once in the life of this process: a try starts a process that imports MuJoCo.
    """
    if backend == "rays":
        return ""
    try:
        done = subprocess.run(
            worker_command(backend, "--probe"),
            env=worker_environment(backend),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{backend}: {error}"
    if done.returncode == 0 and b"drawn_by" in done.stdout:
        return ""
    errors = done.stderr.decode(errors="replace").strip().splitlines()
    return f"{backend}: {errors[-1] if errors else f'exit status {done.returncode}'}"


def require_backend(name: str) -> RenderBackend:
    """Return the backend of a name, for "auto" the best that draws here.

    Raises:
        RenderError: there is no such backend, or it does not draw here.
    """
    if name == "auto":
        return choose_backend()
    if name not in BACKENDS:
        raise RenderError(f"no backend {name!r} for pictures; choose auto, {', '.join(BACKENDS)}")
    reason = probe(name)
    if reason:
        raise RenderError(f"backend {name!r} does not draw here ({reason}); choose auto or rays")
    return name


def worker_command(backend: RenderBackend, *options: str) -> list[str]:
    """Return the command that starts a rendering process.

    Args:
        backend: what draws in it.
        options: the rest of its command line; see ``trace_robot.render.worker``.
    """
    return python_command("trace_robot.render.worker", backend, *options)


def worker_environment(backend: RenderBackend) -> dict[str, str]:
    """Return the environment variables of a rendering process, without secrets.

    The folder of this library is in the command (``python_command``).
    """
    return clean_environment({"MUJOCO_GL": "disable" if backend == "rays" else backend, "PYTHONUTF8": "1"})


JOB_SECONDS = 600.0
# Jobs named to the process ahead of their turn: it never waits for the next, and the pipe, of 64 KB, never fills up.
IN_FLIGHT = 64
# A video takes up to minutes where no GL library draws; a screen that waits for it shows that time goes on.
HEARTBEAT = 1.0  # seconds
RAYS_NOTE = "drawn by ray casting; a GL library draws finer pictures: apt install libosmesa6"


@dataclass(frozen=True, slots=True)
class RenderFailure:
    """A job that wrote nothing, and why in one line."""

    path: Path
    reason: str


class RenderProcess:
    """Renders jobs in their order, in one process of low priority.

    ``submit`` returns at once, ``collect`` gives what is finished, ``finish`` waits for the rest. A job that fails
    or hangs, or during which the process dies twice, becomes a ``RenderFailure``, and the next one goes on.

    Args:
        backend: "auto", or one of ``trace_robot.render.process.BACKENDS``.
        job_seconds: wall-clock time after which a job counts as hung.
    """

    def __init__(self, *, backend: str = "auto", job_seconds: float = JOB_SECONDS) -> None:
        self._backend_name, self._job_seconds = backend, job_seconds
        self._backend: RenderBackend | None = None
        self._worker: _Worker | None = None
        self._folder: Path | None = None
        self._pending: deque[tuple[RenderJob, Path]] = deque()
        # How many of the pending jobs the process knows of, and how often one has died at the oldest of them.
        self._sent = 0
        self._deaths = 0
        # When the oldest job was begun, by the answer to the one before it.
        self._since = time.monotonic()

    @property
    def backend(self) -> RenderBackend:
        """What draws, which is probed when it is first needed.

        Raises:
            RenderError: the backend asked for does not draw here.
        """
        if self._backend is None:
            self._backend = require_backend(self._backend_name)
        return self._backend

    def submit(self, job: RenderJob) -> None:
        """Queue a job, and the folder that it writes to is created if need be.

        Raises:
            RenderError: that folder or the job's data cannot be written, or the backend does not draw here.
        """
        # First, so that a backend that does not draw is one error here rather than a failure of every job.
        _ = self.backend
        try:
            job.path.parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self._jobs_folder()))
            job.save(folder)
        except OSError as error:
            raise RenderError(
                f"cannot write {str(job.path)!r}: {error.strerror}; choose another place"
            ) from error
        if not self._pending:
            self._since = time.monotonic()
        self._pending.append((job, folder))
        self._feed()

    def collect(self, *, wait_seconds: float = 0.0) -> list[VideoInfo | RenderFailure]:
        """Return what has finished since the last call.

        Args:
            wait_seconds: how long to wait for the first result; 0 does not wait.
        """
        finished: list[VideoInfo | RenderFailure] = []
        deadline = time.monotonic() + wait_seconds
        while self._pending:
            # Only the first result is waited for; after it, whatever else has arrived is taken.
            wait = 0.0 if finished else min(deadline, self._since + self._job_seconds) - time.monotonic()
            result = self._next_result(max(0.0, wait))
            if result is not None:
                finished.append(result)
            elif finished or time.monotonic() >= deadline:
                break
        return finished

    def finish(
        self, on_progress: Callable[[int, int], None] | None = None
    ) -> list[VideoInfo | RenderFailure]:
        """Wait for every job, and return the results that have not been collected yet.

        Args:
            on_progress: called with how many of the jobs that were left are done, and their number: at first, and at
                least every ``HEARTBEAT`` seconds; not at all where none were left.
        """
        finished: list[VideoInfo | RenderFailure] = []
        total = len(self._pending)
        while self._pending:
            if on_progress is not None:
                on_progress(len(finished), total)
            finished += self.collect(wait_seconds=HEARTBEAT)
        if on_progress is not None and total:
            on_progress(total, total)
        return finished

    def close(self) -> None:
        """End the process, give up unfinished jobs and remove their folders."""
        self._stop()
        self._pending.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> RenderProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _jobs_folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="trace_robot_render_"))
        return self._folder

    def _feed(self) -> None:
        """Name pending jobs to the process, starting it if there is none."""
        if self._worker is None and self._pending:
            self._worker = _Worker(self.backend, self._jobs_folder())
        while self._worker is not None and self._sent < min(len(self._pending), IN_FLIGHT):
            self._worker.send(self._pending[self._sent][1])
            self._sent += 1

    def _next_result(self, wait: float) -> VideoInfo | RenderFailure | None:
        """Return the oldest pending job's result, None if none comes in ``wait`` seconds."""
        assert self._worker is not None
        try:
            answer = self._worker.answers.next(wait)
        except TimeoutError:
            if time.monotonic() - self._since < self._job_seconds:
                return None
            return self._lost(f"no picture within {self._job_seconds:g} seconds")
        except EOFError:
            return self._died(f"the rendering process ended: {self._worker.last_error()}")
        job, folder = self._pending.popleft()
        self._sent -= 1
        self._deaths = 0
        seconds, self._since = time.monotonic() - self._since, time.monotonic()
        shutil.rmtree(folder, ignore_errors=True)
        self._feed()
        return _result(job, answer, seconds)

    def _died(self, reason: str) -> RenderFailure | None:
        """Try the job once more: something else may have killed the process."""
        self._deaths += 1
        if self._deaths > 1:
            return self._lost(reason)
        self._stop()
        self._feed()
        return None

    def _lost(self, reason: str) -> RenderFailure:
        self._stop()
        self._deaths = 0
        job, _ = self._pending.popleft()
        self._since = time.monotonic()
        self._feed()
        return RenderFailure(job.path, reason)

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.close()
        self._worker, self._sent = None, 0


class _Worker:
    """One rendering process: folders of jobs go in, an answer to each comes out."""

    def __init__(self, backend: RenderBackend, folder: Path) -> None:
        # A file, since a GL library may write more than a pipe holds, and nothing reads until the process has ended.
        self._errors = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed with the process
        self._process = subprocess.Popen(
            worker_command(backend, str(folder)),
            env=worker_environment(backend),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input = self._process.stdin
        self.answers = JsonLines(self._process.stdout)

    def send(self, folder: Path) -> None:
        """Name the folder of a job to the process."""
        try:
            self._input.write(json.dumps(str(folder)).encode() + b"\n")
            self._input.flush()
        except BrokenPipeError:
            return  # it has ended, which ``answers`` will raise

    def last_error(self) -> str:
        """Return the last line it wrote to standard error, or its exit status."""
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else f"exit status {status}"

    def close(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait()
        self.answers.join()
        with contextlib.suppress(
            BrokenPipeError
        ):  # closing flushes what was unsent, to a process that is gone
            self._input.close()
        self._errors.close()


def _result(job: RenderJob, answer: dict[str, Any], seconds: float) -> VideoInfo | RenderFailure:
    if "error" in answer:
        return RenderFailure(job.path, answer["error"])
    width, height = answer["size"]
    backend = answer["drawn_by"]  # not the one that was chosen: an environment may have drawn itself
    notes = [*answer["notes"], *([RAYS_NOTE] if "rays" in backend.split() else [])]
    size = job.path.stat().st_size
    return VideoInfo(
        job.path, (width, height), answer["frames"], job.fps, backend, size, seconds, tuple(notes)
    )
