"""Spawning the fork server, and the host's end of the socket to it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from trace_robot.child_process import ONE_THREAD
from trace_robot.errors import SandboxError
from trace_robot.sandbox.protocol import FORK_SERVER, receive_message, send_message

START_SECONDS: Final = 120.0  # importing numpy, and all of scipy, on a busy machine
_CLOSE_SECONDS: Final = 2.0  # for the fork server to see its socket close and to end by itself
# -S leaves site-packages' .pth files out, which may run code, so that the paths must be passed on.
_BOOT: Final = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[2])\n"
    f"from {FORK_SERVER} import main\n"
    "main(int(sys.argv[1]))"
)


class SpawnedForkServer:
    """A fork server that was spawned, and the channel to it.

    Raises:
        SandboxError: it cannot start; the message has its reason.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-s", "-S", "-c", _BOOT, str(theirs.fileno()), json.dumps(_import_paths())]
        with theirs:
            self.process = subprocess.Popen(
                command,
                # Nothing of this process's environment: it may hold keys. The hash seed makes sets repeatable.
                env={"PYTHONHASHSEED": "0", **ONE_THREAD},
                cwd="/",
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in the terminal is the host's to handle
            )
        ours.settimeout(START_SECONDS)
        self._channel = ours
        # A sandbox that is dropped without `close` must not leave processes behind.
        self.close = weakref.finalize(self, _end_fork_server, self.process, ours, os.getpid())
        reason = self.ask()["failed"]
        if reason:
            self.close()
            raise SandboxError(f"the sandbox's process cannot start: {reason}")

    def ask(
        self, message: Mapping[str, Any] | None = None, descriptors: Sequence[int] = ()
    ) -> dict[str, Any]:
        """Send a message and return the answer.

        Args:
            message: JSON data; None waits for the greeting, which comes unasked.
            descriptors: open files that the fork server gets copies of.

        Raises:
            SandboxError: the fork server has ended.
        """
        try:
            if message is not None:
                send_message(self._channel, message, descriptors)
            answer: dict[str, Any] = receive_message(self._channel)[0]
        except (EOFError, OSError) as error:
            self.close()
            raise SandboxError("the sandbox's process ended; is the machine out of memory?") from error
        return answer

    @property
    def alive(self) -> bool:
        """Whether the fork server was not closed here and has not ended."""
        return self.close.alive and self.process.poll() is None


def _import_paths() -> list[str]:
    """Return absolute import paths, this package's own first."""
    own = str(Path(__file__).resolve().parents[2])
    return [own, *(str(Path(path).resolve()) for path in sys.path if path and path != own)]


def _end_fork_server(process: subprocess.Popen[bytes], channel: socket.socket, owner: int) -> None:
    channel.close()
    if os.getpid() != owner:  # a fork of the host has a copy of this object, but the process is not its child
        process.returncode = 0
        return
    try:
        process.wait(_CLOSE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
