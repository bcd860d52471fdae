"""Spawning a warden, and asking it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trace_robot.errors import SandboxError
from trace_robot.sandbox.warden import receive, send

START_SECONDS = 120.0  # importing numpy, and all of scipy, on a busy machine
_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[2])\nfrom trace_robot.sandbox.warden import main\n"
)
_BOOT += "main(int(sys.argv[1]))"
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
     "NUMEXPR_NUM_THREADS"), "1",
)  # fmt: skip


def _paths() -> list[str]:
    """Return absolute import paths, this package's own first."""
    own = str(Path(__file__).resolve().parents[2])
    return [own, *(str(Path(path).resolve()) for path in sys.path if path and path != own)]


class SpawnedWarden:
    """A spawned warden and the channel to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-s", "-S", "-c", _BOOT, str(theirs.fileno()), json.dumps(_paths())]
        with theirs:
            self.process = subprocess.Popen(
                command, env={"PYTHONHASHSEED": "0", **_ONE_THREAD}, cwd="/", pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        ours.settimeout(START_SECONDS)
        self._channel = ours
        self.close = weakref.finalize(self, _end_warden, self.process, ours, os.getpid())
        reason = self.ask()["failed"]
        if reason:
            self.close()
            raise SandboxError(f"the sandbox's process cannot start: {reason}")

    def ask(
        self, message: Mapping[str, Any] | None = None, descriptors: Sequence[int] = ()
    ) -> dict[str, Any]:
        """Send ``message`` and return the answer; without one, wait for the greeting."""
        try:
            if message is not None:
                send(self._channel, message, descriptors)
            answer: dict[str, Any] = receive(self._channel)[0]
        except (EOFError, OSError) as error:
            self.close()
            raise SandboxError("the sandbox's process ended; is the machine out of memory?") from error
        return answer

    @property
    def alive(self) -> bool:
        return self.close.alive and self.process.poll() is None


def _end_warden(process: subprocess.Popen[bytes], channel: socket.socket, owner: int) -> None:
    channel.close()
    if os.getpid() != owner:
        process.returncode = 0
        return
    try:
        process.wait(2.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
