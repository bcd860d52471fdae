"""Child processes of the library, started in one way.

Their environment variables, their standard output, and JSON lines from them.

Rollout workers, the environment checker and the renderer are started with what is defined here. The sandbox is not:
it shares no variable with this process and has its own protocol (``trace_robot.sandbox.host_process``).
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import IO, Any

# A name that holds one of these words may hold a key. OPENAI_ is here whole: its base URL can carry one too.
SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "OPENAI_")
# A worker has one processor; a numerical library that starts a thread for each would only wait for the others.
ONE_THREAD: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
)


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
