"""Workers as local processes, one socket pair each."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

from trace_robot.child_process import ONE_THREAD, OutputLog, clean_environment, python_command
from trace_robot.rollout.backends.base import Worker, WorkerMessage, error_of
from trace_robot.rollout.batching import Batch
from trace_robot.rollout.heartbeat import Hang, HeartbeatReader

END_SECONDS = 5.0


class ProcessBackend:
    """Local worker processes, in an empty folder and without keys."""

    ahead = 2  # the next batch is in the worker's inbox while the answer to the last one travels

    def __init__(self, size: int, *, trusted: bool, lock_step: int | None) -> None:
        self.size = size
        self._arguments = ["--trusted"] if trusted else []
        self._arguments += [] if lock_step is None else ["--lock-step", str(lock_step)]
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._beats: tempfile.TemporaryDirectory[str] | None = None
        self._started = 0
        self.output = OutputLog()

    def start(self) -> Worker:
        if self._folder is None or self._beats is None:
            self._folder = tempfile.TemporaryDirectory(prefix="trace-robot-")
            self._beats = tempfile.TemporaryDirectory(
                prefix="trace-robot-"
            )  # apart, as the other is the current one
        self._started += 1
        beats = Path(self._beats.name, str(self._started))
        return ProcessWorker(self._folder.name, self._arguments, beats, self.output)

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[tuple[Worker, WorkerMessage]]:
        by_connection = {worker.connection: worker for worker in workers if isinstance(worker, ProcessWorker)}
        ready = [by_connection[connection] for connection in wait(list(by_connection), timeout=seconds)]  # type: ignore[index]
        return [(worker, worker.receive()) for worker in ready]

    def close(self, idle: Sequence[Worker]) -> None:
        processes = [worker for worker in idle if isinstance(worker, ProcessWorker)]
        for worker in processes:  # all first, so that they end side by side
            worker.connection.close()
        for worker in processes:
            worker.join()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        if self._beats is not None:
            self._beats.cleanup()
            self._beats = None


class ProcessWorker:
    """One worker process and the connection to it."""

    def __init__(self, folder: str, arguments: Sequence[str], beats: Path, output: OutputLog) -> None:
        self._heartbeat = HeartbeatReader.of(beats)
        self._output = OutputLog(output)
        arguments = ["--heartbeat", str(beats), *arguments]
        ours, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(
                python_command(
                    "trace_robot.rollout.worker", str(theirs.fileno()), "--heartbeat", str(beats), *arguments
                ),
                pass_fds=[theirs.fileno()],
                cwd=folder,
                env=clean_environment(ONE_THREAD),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C at the terminal reaches the parent only, which decides
            )
        self.connection: Connection[Any, Any] = ours
        self._reader = threading.Thread(target=self._output.read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def send(self, batch: Batch) -> None:
        with contextlib.suppress(ConnectionError):  # it died: ``receive`` reports that
            self.connection.send(batch)

    def receive(self) -> WorkerMessage:
        try:
            message = self.connection.recv()
        except (EOFError, ConnectionError):
            return WorkerMessage(died=f"its process ended{self._last_words()}")
        if message[0] == "error":
            return WorkerMessage(error=error_of(message[2], message[1]))
        return WorkerMessage(message[1])

    def hang(self) -> Hang | None:
        return self._heartbeat.hang()

    def _last_words(self) -> str:
        """Return by which signal or exit code the process ended, and the last line of output there is."""
        try:
            code = self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            return ""
        self._reader.join(1.0)
        how = f" by signal {signal.Signals(-code).name}" if code < 0 else f" with exit code {code}"
        return f"{how}; it wrote: {self._output.last}" if self._output.last else how

    def kill(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.wait()

    def join(self) -> None:
        """Wait until the process has exited, or kill it after END_SECONDS."""
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
