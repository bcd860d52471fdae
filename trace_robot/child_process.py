"""Child processes of the library, started in one way.

Their environment variables, their standard output, and JSON lines from them.

Rollout workers, the environment checker and the renderer are started with what is defined here. The sandbox is not:
it shares no variable with this process and has its own protocol (``trace_robot.sandbox.host_process``).
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import queue
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import IO, Any

# A name that holds one of these words may hold a key. OPENAI_ is here whole: its base URL can carry one too.
SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "OPENAI_")
# A worker has one processor; a numerical library that starts a thread for each would only wait for the others.
ONE_THREAD: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
)

FIRST_LINES, LAST_LINES, LINE_LENGTH = 200, 100, 500  # of what foreign code prints; the rest is counted


def is_secret(name: str) -> bool:
    """Return whether an environment variable of this name may hold a key."""
    return any(word in name.upper() for word in SECRET_WORDS)


def workspace_root() -> str:
    """Return the folder of the user's workspace.

    It is TRACE_ROBOT_WORKSPACE, else the current folder.
    """
    # Absolute, since children of ours start in other folders.
    return os.path.abspath(os.environ.get("TRACE_ROBOT_WORKSPACE") or os.getcwd())


def clean_environment(extra: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Return the environment variables for a child process, without secrets.

    A child runs environments that users wrote, or draws them, and needs no key for either. It may have another
    current folder, so it is given this process's workspace by name.

    Args:
        extra: variables to set besides; they win over inherited ones.

    Returns:
        {name: value}; no name for which ``is_secret`` holds, unless it is in ``extra``.
    """
    inherited = {name: value for name, value in os.environ.items() if not is_secret(name)}
    return {**inherited, "TRACE_ROBOT_WORKSPACE": workspace_root(), **extra}


def python_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this library with this Python.

    Args:
        module: the dotted name, as for ``python -m``.
        arguments: what follows it on the command line.
    """
    return [sys.executable, "-m", module, *arguments]


def private_stdout() -> Callable[[Mapping[str, Any]], None]:
    """Keep standard output for messages.

    Return the function that writes one, as a JSON line.

    From now on what anything in this process prints, C libraries included, goes to standard error: a print in a
    user's environment would otherwise stand between two messages. To be called once, at the start of a child.
    """
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(message: Mapping[str, Any]) -> None:
        messages.write(json.dumps(message) + "\n")
        messages.flush()

    return send


class OutputLog:
    """What foreign code printed: the first lines and the last ones, so that it stays small.

    Environments print, and so do the libraries below them. None of it may get into a command's own output, or between
    the parts of a live screen.

    Args:
        total: another log that gets every line too.
    """

    def __init__(self, total: OutputLog | None = None) -> None:
        self._total = total
        self._lock = threading.Lock()
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self.lines = 0

    def add(self, line: bytes) -> None:
        """Keep a line, shortened, unless there are too many."""
        text = line.decode(errors="replace").rstrip()[:LINE_LENGTH]
        if not text:
            return
        if self._total is not None:
            self._total.add(line)
        with self._lock:
            self.lines += 1
            if len(self._first) < FIRST_LINES:
                self._first.append(text)
            else:
                self._last.append(text)

    @property
    def last(self) -> str:
        """The last line, "" without any."""
        with self._lock:
            return (self._last or self._first or [""])[-1]

    @property
    def text(self) -> str:
        """All that was kept, with a mark where lines are left out."""
        with self._lock:
            left_out = self.lines - len(self._first) - len(self._last)
            mark = [f"... {left_out} more lines"] if left_out else []
            return "".join(f"{line}\n" for line in [*self._first, *mark, *self._last])

    def read(self, stream: IO[bytes]) -> None:
        """Keep the lines of a stream until it ends."""
        with stream:
            for line in iter(lambda: stream.readline(2**16), b""):
                self.add(line)


@contextmanager
def captured_output(log: OutputLog | None = None) -> Iterator[None]:
    """Keep standard output and error of this process for foreign code, C libraries included, while it runs.

    Args:
        log: gets the lines; None drops them.
    """
    with tempfile.TemporaryFile() as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", line_buffering=True)
        streams = sys.stdout, sys.stderr
        kept = [_duplicate(descriptor) for descriptor in (1, 2)]
        _flush(*streams)
        for descriptor, copy in zip((1, 2), kept, strict=True):
            if copy is not None:
                os.dup2(file.fileno(), descriptor)
        sys.stdout = sys.stderr = text
        try:
            yield
        finally:
            _flush(text)
            sys.stdout, sys.stderr = streams
            for descriptor, copy in zip((1, 2), kept, strict=True):
                if copy is not None:
                    os.dup2(copy, descriptor)
                    os.close(copy)
            text.detach()
            if log is not None:
                file.seek(0)
                for line in file:
                    log.add(line)


def _duplicate(descriptor: int) -> int | None:
    try:
        return os.dup(descriptor)
    except OSError:  # it is closed, as in a service
        return None


def _flush(*streams: Any) -> None:
    """Flush Python's streams and those of C, whose lines would come out after a redirection."""
    for stream in streams:
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)


class JsonLines:
    """The messages of a child process, one JSON object a line, each with a deadline.

    A thread reads the pipe, since a buffered pipe cannot be read with a timeout on every platform. It ends, and
    closes the pipe, when the child closes its end.
    """

    def __init__(self, output: IO[bytes]) -> None:
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, args=(output,), daemon=True)
        self._thread.start()

    def next(self, seconds: float) -> dict[str, Any]:
        """Return the next message.

        Args:
            seconds: how long to wait for it; 0 or less takes what has arrived.

        Raises:
            TimeoutError: no message in that time.
            EOFError: the child closed its standard output, usually by ending; there will be none.
        """
        try:
            line = self._lines.get(timeout=max(0.0, seconds))
        except queue.Empty:
            raise TimeoutError(f"no message within {seconds:g} seconds") from None
        if not line:
            self._lines.put(line)  # the next call raises it too
            raise EOFError("the child process closed its standard output")
        message: dict[str, Any] = json.loads(line)
        return message

    def join(self, seconds: float | None = None) -> None:
        """Wait until the child has closed its end, at most ``seconds``.

        None waits without a limit.
        """
        self._thread.join(seconds)

    def _read(self, output: IO[bytes]) -> None:
        with output:
            for line in output:
                self._lines.put(line)
        self._lines.put(b"")
