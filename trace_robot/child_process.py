"""Child processes of the library, started in one way.

Their environment variables, their standard output, and JSON lines from them.

Rollout workers, the environment checker and the renderer are started with what is defined here. The sandbox is not:
it shares no variable with this process and has its own protocol (``trace_robot.sandbox.host_process``).

A worker and its controller's process share one processor where that is free (``SharedCpu``). One of the two always
waits for the other, so they lose nothing by sharing. On two processors every message wakes an idle one, which on a
virtual machine takes longer than most controllers do; on one it is a context switch.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import queue
import re
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import MappingProxyType
from typing import IO, Any

LOOK_EVERY = 0.5  # seconds between two reads of the scheduler's counters
# The part of the time that this process waits for a third one, from which it releases the processor.
CONTENDED = 0.2
AWAY = 1.0  # seconds until it is pinned again


class SharedCpu:
    """Pins two processes to one CPU, and releases them while it is contended.

    Does nothing where the system does not report how long a process waited for a CPU, or where there is one CPU only.
    """

    def __init__(self) -> None:
        self._allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        # Linux counts run-queue time in schedstat only if it was built with it; macOS and Windows never do.
        self._useful = len(self._allowed) > 1 and _waited() is not None
        self._pinned = False
        self._other = 0
        self._looked = self._back = 0.0
        self._waited = 0.0

    def pin(self, other: int) -> None:
        """Share a processor with the process ``other``.

        Call it often: it is cheap, follows a new process, and measures the contention.
        """
        if not self._useful:
            return
        now = time.monotonic()
        if self._pinned and now - self._looked > LOOK_EVERY:
            waited, before, since = self._kept_waiting(), self._waited, self._looked
            self._looked, self._waited = now, waited
            if waited - before > CONTENDED * (now - since):
                self.release()
                self._back = now + AWAY
        if now >= self._back and not self._pinned:
            self._assign({_processor()} & self._allowed or self._allowed, other)
            self._looked, self._waited = now, self._kept_waiting()
        elif other != self._other:
            self._move(other, os.sched_getaffinity(0))
            self._other = other
            self._looked, self._waited = now, self._kept_waiting()

    def release(self) -> None:
        """Let the scheduler place both processes again."""
        if self._pinned:
            self._assign(self._allowed, self._other)

    def _assign(self, processors: set[int], other: int) -> None:
        self._move(0, processors)
        self._move(other, processors)
        self._other = other
        self._pinned = processors != self._allowed

    def _kept_waiting(self) -> float:
        """Return the seconds for which a third process had the CPU.

        It is the time in the run queue without the time for which the other process of the pair ran.
        """
        try:  # the CPU clock of another process, by the number that clock_getcpuclockid(3) computes
            return (_waited() or 0.0) - time.clock_gettime((~self._other << 3) | 2)
        except OSError:
            return 0.0

    def _move(self, process: int, processors: set[int]) -> None:
        with contextlib.suppress(OSError):  # it has ended, or changing its affinity is not permitted
            os.sched_setaffinity(process, processors)


def _waited() -> float | None:
    """Return the seconds this thread spent in the run queue, None if uncounted."""
    try:
        with open("/proc/thread-self/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1]) * 1e-9
    except (OSError, ValueError, IndexError):
        return None


def _processor() -> int:
    """Return the number of the processor that this thread is on."""
    with open("/proc/thread-self/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[36])


# What a child may inherit: how to find programs, libraries and folders, how to draw, how many threads, and languages.
# A list of what keys are called would miss the next (GITHUB_PAT, DATABASE_URL), so this is a list of what is needed.
_NAMES = """
    PATH HOME USER LOGNAME SHELL TERM LANG LANGUAGE TZ TMPDIR TEMP TMP PWD DISPLAY WAYLAND_DISPLAY XAUTHORITY
    VIRTUAL_ENV CONDA_PREFIX LD_LIBRARY_PATH LD_PRELOAD DYLD_LIBRARY_PATH DYLD_FALLBACK_LIBRARY_PATH CI
    SYSTEMROOT SYSTEMDRIVE WINDIR COMSPEC PATHEXT APPDATA LOCALAPPDATA PROGRAMDATA PROGRAMFILES USERPROFILE
    HOMEDRIVE HOMEPATH NUMBER_OF_PROCESSORS
"""
_PREFIXES = """
    PYTHON LC_ XDG_ TRACE_ROBOT_ MUJOCO_ PYOPENGL_ EGL_ __EGL_ __GLX_ GLX_ MESA_ LIBGL_ GALLIUM_ LP_ VK_ NVIDIA_
    CUDA_ OMP_ OPENBLAS_ MKL_ NUMEXPR_ BLIS_ VECLIB_ SDL_ PYGAME_ COVERAGE_ COV_CORE_ PROCESSOR_ IMAGEIO_
"""
INHERITED = frozenset(_NAMES.split())
INHERITED_PREFIXES = tuple(_PREFIXES.split())
PASS = "TRACE_ROBOT_PASS"  # names, separated by commas, of further variables for children
# Never inherited by a prefix: the name may hold a key all the same (MUJOCO_LICENSE_KEY).
SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL")
# Python 3.10 has no option -P. With -c the first entry of sys.path is "", the current folder; nothing but the built-in
# module sys is imported before it is gone. The library may lie where Python does not look, so its folder comes last.
_BOOT = """\
import sys
sys.path[:] = [entry for entry in sys.path if entry not in ("", ".")]
library, module = sys.argv[1:3]
if library not in sys.path:
    sys.path.append(library)
del sys.argv[1:3]
import runpy
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
_URL_WITH_PASSWORD = re.compile(r"://[^/\s@]{0,1000}@")
# A worker has one processor; a numerical library that starts a thread for each would only wait for the others. A
# controller's process may have one thread only, and these libraries start theirs on their first use.
_THREADS = """
    OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS BLIS_NUM_THREADS VECLIB_MAXIMUM_THREADS NUMEXPR_NUM_THREADS
"""
ONE_THREAD: Mapping[str, str] = MappingProxyType(dict.fromkeys(_THREADS.split(), "1"))

MOST_BYTES = 2**26  # of a message; what is longer comes in pieces, which are no JSON
FIRST_LINES, LAST_LINES, LINE_LENGTH = 200, 100, 500  # of what foreign code prints; the rest is counted


def is_inherited(name: str, value: str = "", *, prefixes: tuple[str, ...] = ()) -> bool:
    """Return whether children get an environment variable.

    Args:
        name: of the variable. It must be on the list, or in ``TRACE_ROBOT_PASS``.
        value: of the variable. A URL with a user or password in it is kept back.
        prefixes: beginnings of further names, for a kind of child that needs them.
    """
    if name in map(str.strip, os.environ.get(PASS, "").split(",")):
        return True
    upper = name.upper()  # Windows knows no case in names; http_proxy and the like are on no list in either
    listed = upper in INHERITED or (
        upper.startswith(INHERITED_PREFIXES + prefixes) and not any(word in upper for word in SECRET_WORDS)
    )
    return listed and not _URL_WITH_PASSWORD.search(value)


def workspace_root() -> str:
    """Return the folder of the user's workspace.

    It is TRACE_ROBOT_WORKSPACE, else the current folder.
    """
    # Absolute, since children of ours start in other folders.
    return os.path.abspath(os.environ.get("TRACE_ROBOT_WORKSPACE") or os.getcwd())


def clean_environment(extra: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Return the environment variables for a child process: an allow-list.

    A child runs environments that users wrote, or draws them, and needs no key for either. An environment that reads a
    variable of the user's gets it if TRACE_ROBOT_PASS names it. The child may have another current folder, so it is
    given this process's workspace by name.

    Args:
        extra: variables to set besides; they win over inherited ones.

    Returns:
        {name: value} of those for which ``is_inherited`` holds, and ``extra``.
    """
    inherited = {name: value for name, value in os.environ.items() if is_inherited(name, value)}
    return {**inherited, "TRACE_ROBOT_WORKSPACE": workspace_root(), **extra}


def python_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this library with this Python.

    The folder in which it starts is not searched for modules, as it is with ``python -m``: a json.py of the user's
    there would be imported in place of Python's.

    Args:
        module: the dotted name, as for ``python -m``.
        arguments: what follows it on the command line.
    """
    library = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return [sys.executable, "-c", _BOOT, library, module, *arguments]


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
    """A bounded log of what foreign code printed: the first lines and the last ones.

    Environments print, and so do the libraries below them. No line may get into a command's own output, or between
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


# Whether what foreign code prints stays on standard error, which another process reads and bounds.
_PASSED: ContextVar[bool] = ContextVar("passed", default=False)


@contextmanager
def passed_output() -> Iterator[None]:
    """Leave output in the block to the parent process, which bounds it.

    It shows the last line where this one dies.
    """
    token = _PASSED.set(True)
    try:
        yield
    finally:
        _PASSED.reset(token)


@contextmanager
def captured_output(log: OutputLog | None = None) -> Iterator[None]:
    """Redirect standard output and error while foreign code runs, of C libraries too.

    Args:
        log: gets the lines; None drops them.
    """
    if _PASSED.get() and log is None:
        yield
        return
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
                log.read(file)


def _duplicate(descriptor: int) -> int | None:
    try:
        return os.dup(descriptor)
    except OSError:  # it is closed, as in a service
        return None


def _flush(*streams: Any) -> None:
    """Flush Python's streams and those of C, which write late."""
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
            for line in iter(lambda: output.readline(MOST_BYTES), b""):
                self._lines.put(line)
        self._lines.put(b"")
