"""The process that renders, seen from the run: hand over jobs, go on working, collect what came of them."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Literal

from trace_robot.child_process import workspace_root
from trace_robot.errors import RunError
from trace_robot.render.job import RenderJob, VideoInfo, pack

JOB_SECONDS = 600.0
IN_FLIGHT = 64
RAYS_NOTE = "drawn by ray casting; a GL library draws finer pictures: apt install libosmesa6"


@dataclass(frozen=True, slots=True)
class RenderFailure:
    """A job that came to nothing, and why in one line."""

    path: Path
    reason: str


class RenderProcess:
    """Renders jobs in the order they were handed over, in one process of low priority; a context manager.

    ``submit`` returns at once, ``collect`` gives what is finished, ``finish`` waits for the rest. A job that
    fails or hangs, or during which the process dies twice, becomes a ``RenderFailure`` and the next one goes on.
    """

    def __init__(self, *, backend: str = "auto", job_seconds: float = JOB_SECONDS) -> None:
        self._wanted, self._job_seconds = backend, job_seconds
        self._backend: Backend | None = None
        self._worker: _Worker | None = None
        self._folder: Path | None = None
        self._pending: deque[tuple[RenderJob, Path]] = deque()
        self._sent = 0
        self._deaths = 0
        self._since = time.monotonic()

    @property
    def backend(self) -> Backend:
        """What draws; found out when first needed.

        Raises:
            RunError: the backend asked for does not draw here.
        """
        if self._backend is None:
            self._backend = checked(self._wanted)
        return self._backend

    def submit(self, job: RenderJob) -> None:
        """Hand over a job; the folder it writes to is made if it is not there.

        Raises:
            RunError: that folder or the job's data cannot be written, or the backend does not draw here.
        """
        _ = self.backend
        try:
            job.path.parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self._room()))
            pack(job, folder)
        except OSError as error:
            raise RunError(
                f"cannot write {str(job.path)!r}: {error.strerror}; choose another place"
            ) from error
        if not self._pending:
            self._since = time.monotonic()
        self._pending.append((job, folder))
        self._feed()

    def collect(self, *, wait_seconds: float = 0.0) -> list[VideoInfo | RenderFailure]:
        """Return what has finished since the last call, waiting at most so long for the first of it."""
        finished: list[VideoInfo | RenderFailure] = []
        deadline = time.monotonic() + wait_seconds
        while self._pending:
            wait = 0.0 if finished else min(deadline, self._since + self._job_seconds) - time.monotonic()
            result = self._next_result(max(0.0, wait))
            if result is not None:
                finished.append(result)
            elif finished or time.monotonic() >= deadline:
                break
        return finished

    def finish(self) -> list[VideoInfo | RenderFailure]:
        """Wait for everything handed over and return what has not been collected yet."""
        finished: list[VideoInfo | RenderFailure] = []
        while self._pending:
            finished += self.collect(wait_seconds=self._job_seconds + 1.0)
        return finished

    def close(self) -> None:
        """End the process and remove what was handed over; jobs not finished are given up."""
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

    def _room(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="trace_robot_render_"))
        return self._folder

    def _feed(self) -> None:
        """Tell the process of pending jobs, starting it if there is none."""
        if self._worker is None and self._pending:
            self._worker = _Worker(self.backend, self._room())
        while self._worker is not None and self._sent < min(len(self._pending), IN_FLIGHT):
            self._worker.tell(self._pending[self._sent][1])
            self._sent += 1

    def _next_result(self, wait: float) -> VideoInfo | RenderFailure | None:
        """Return the outcome of the oldest pending job, or None if there is none within ``wait`` seconds."""
        assert self._worker is not None
        try:
            line = self._worker.lines.get(timeout=wait) if wait else self._worker.lines.get_nowait()
        except queue.Empty:
            if time.monotonic() - self._since < self._job_seconds:
                return None
            return self._lost(f"no picture within {self._job_seconds:g} seconds")
        if line is None:
            return self._died(f"the rendering process ended: {self._worker.complaint()}")
        job, folder = self._pending.popleft()
        self._sent -= 1
        self._deaths = 0
        seconds, self._since = time.monotonic() - self._since, time.monotonic()
        shutil.rmtree(folder, ignore_errors=True)
        self._feed()
        return _result(job, line, self.backend, seconds)

    def _died(self, reason: str) -> RenderFailure | None:
        """Try the job once more, since somebody else may have ended the process."""
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
    """One rendering process; ``lines`` holds its answers, then None once it has ended."""

    def __init__(self, backend: Backend, folder: Path) -> None:
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
        self.lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._input = self._process.stdin
        arguments = (self._process.stdout, self.lines)
        self._reader = threading.Thread(target=_read_lines, args=arguments, daemon=True)
        self._reader.start()

    def tell(self, folder: Path) -> None:
        try:
            self._input.write(json.dumps(str(folder)).encode() + b"\n")
            self._input.flush()
        except BrokenPipeError:
            return  # it has ended; the reader says so

    def complaint(self) -> str:
        """Return the last line it wrote to standard error, or its exit status."""
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else f"exit status {status}"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        with contextlib.suppress(BrokenPipeError):  # what was left unsent went with the process
            self._input.close()
        self._errors.close()


def _read_lines(output: IO[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    with output:
        for line in output:
            lines.put(line)
    lines.put(None)


def _result(job: RenderJob, line: bytes, backend: Backend, seconds: float) -> VideoInfo | RenderFailure:
    answer = json.loads(line)
    if "error" in answer:
        return RenderFailure(job.path, answer["error"])
    width, height = answer["size"]
    notes = [*answer["notes"], *([RAYS_NOTE] if backend == "rays" else [])]
    size = job.path.stat().st_size
    return VideoInfo(
        job.path, (width, height), answer["frames"], job.fps, backend, size, seconds, tuple(notes)
    )


Backend = Literal["egl", "osmesa", "cgl", "wgl", "rays"]
BACKENDS: tuple[Backend, ...] = ("egl", "osmesa", "cgl", "wgl", "rays")
PROBE_SECONDS = 30.0


def candidates(platform: str = sys.platform) -> tuple[Backend, ...]:
    """Return the GL libraries worth trying on a platform, the best first."""
    return {"darwin": ("cgl",), "win32": ("wgl",)}.get(platform, ("egl", "osmesa"))  # type: ignore[return-value]


def choose_backend(tried: Sequence[Backend] | None = None) -> Backend:
    """Return the first of the backends that draws, else "rays"."""
    return next((backend for backend in tried or candidates() if not probe(backend)), "rays")


@functools.cache
def probe(backend: Backend) -> str:
    """Return why a backend does not draw here, or nothing; each is tried once in the life of this process."""
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
    complaint = done.stderr.decode(errors="replace").strip().splitlines()
    return f"{backend}: {complaint[-1] if complaint else f'exit status {done.returncode}'}"


def checked(backend: str) -> Backend:
    """Return the backend to use for that name, "auto" meaning the best there is.

    Raises:
        RunError: no such backend, or it does not draw here.
    """
    if backend == "auto":
        return choose_backend()
    if backend not in BACKENDS:
        raise RunError(f"no backend {backend!r} for pictures; choose auto, {', '.join(BACKENDS)}")
    reason = probe(backend)
    if reason:
        raise RunError(f"backend {backend!r} does not draw here ({reason}); choose auto or rays")
    return backend


def worker_command(backend: Backend, *options: str) -> list[str]:
    return [sys.executable, "-m", "trace_robot.render.worker", backend, *options]


def worker_environment(backend: Backend) -> dict[str, str]:
    """Return the environment of the process that renders: GL chosen there only, and no keys of models."""
    library = str(Path(__file__).resolve().parents[2])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    paths = [library, kept.get("PYTHONPATH", "")]
    gl = "disable" if backend == "rays" else backend
    return {
        **kept, "MUJOCO_GL": gl, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUTF8": "1",
        "TRACE_ROBOT_WORKSPACE": workspace_root(),
    }  # fmt: skip
