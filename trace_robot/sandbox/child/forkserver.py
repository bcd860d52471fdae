"""The one process that a sandbox spawns: it imports what controllers may need, then forks jails on request.

It is trusted, runs no controller, has an empty environment and one thread, and is why a fresh jail takes
milliseconds instead of the time that importing numpy takes. A jail that ends stays a zombie until the sandbox
says `end`, so that its process number cannot name anything else.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import mmap
import os
import signal
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

from trace_robot.sandbox.static_check.allowlist import ALONG, COMMON

_SIZE = struct.Struct("<I")
DESCRIPTORS = 3
_READ_BYTES = 1 << 16


def send(channel: socket.socket, message: Any, descriptors: Sequence[int] = ()) -> None:
    """Send one message, JSON with its size before it, and descriptors along with it."""
    body = json.dumps(message).encode()
    data = _SIZE.pack(len(body)) + body
    sent = socket.send_fds(channel, [data], descriptors) if descriptors else channel.send(data)
    channel.sendall(data[sent:])


def receive(channel: socket.socket) -> tuple[Any, list[int]]:
    """Return one message and its descriptors.

    Raises:
        EOFError: the other side has closed.
    """
    data, descriptors, _, _ = socket.recv_fds(channel, _READ_BYTES, DESCRIPTORS)
    part = data
    while part and (len(data) < _SIZE.size or len(data) < _SIZE.size + _SIZE.unpack_from(data)[0]):
        part = channel.recv(_READ_BYTES)
        data += part
    if not part:
        raise EOFError
    return json.loads(data[_SIZE.size :]), list(descriptors)


def warm_up() -> None:
    """Import the common modules and run what imports more on its first use."""
    for name in sorted(COMMON):
        importlib.import_module(name)
    import numpy as np

    np.linalg.svd(np.eye(3) @ np.eye(3))
    np.array_str(np.linspace(0.0, 1.0, 3))
    np.random.default_rng(0).normal()
    np.fft.rfft(np.ones(4))
    importlib.import_module("trace_robot.sandbox.child.main")


def import_all(names: Sequence[str]) -> list[str]:
    """Import each module; return those that are not installed."""
    missing = []
    for name in [*names, *(late for each in names for late in ALONG.get(each, ()))]:
        try:
            importlib.import_module(name)
        except (
            Exception
        ):  # a broken installation must not end the warden; the controller is told by its import
            missing.append(name)
    return missing


class ForkServer:
    """Serves one sandbox over ``channel``; has at most one jail."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._jail = 0
        self._progress = mmap.mmap(-1, mmap.PAGESIZE)

    def serve(self) -> None:
        """Answer until the sandbox's end of the channel closes, then kill the jail."""
        try:
            while True:
                message, descriptors = receive(self._channel)
                answer = self._start(message, descriptors) if message["op"] == "start" else self._end(message)
                send(self._channel, answer)
        except (EOFError, OSError):
            self._end({"grace": 0.0})

    def _start(self, message: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        config = message["config"]
        config["missing"] = import_all(message["modules"])
        gc.freeze()
        self._progress[:2] = bytes(2)
        warden = os.getpid()
        self._jail = os.fork()
        if self._jail == 0:
            self._become_jail(config, descriptors, warden)
        for number in descriptors:
            os.close(number)
        return {"pid": self._jail, "missing": config["missing"]}

    def _become_jail(self, config: dict[str, Any], descriptors: list[int], warden: int) -> None:
        try:
            from trace_robot.sandbox.child import lockdown, main

            self._channel.detach()
            lockdown.keep_descriptors(*descriptors)
            main.serve(config, self._progress, warden)
        finally:
            os._exit(3)

    def _end(self, message: dict[str, Any]) -> dict[str, Any]:
        """Wait ``grace`` seconds for the jail to end by itself, then kill it; return how it ended."""
        pid, self._jail = self._jail, 0
        if pid == 0:
            return {"own": True, "status": 0, "at": 0}
        own, status = _wait(pid, message["grace"])
        if not own:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
        at = int.from_bytes(self._progress[:2], "little")
        return {"own": own, "status": os.waitstatus_to_exitcode(status), "at": at}


def _wait(pid: int, grace: float) -> tuple[bool, int]:
    deadline = time.monotonic() + grace
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended or time.monotonic() >= deadline:
            return bool(ended), status
        time.sleep(0.001)


def main(descriptor: int) -> None:
    """Run a warden on an inherited socket; the first message says whether it could start."""
    channel = socket.socket(fileno=descriptor)
    try:
        warm_up()
    except Exception as error:
        send(channel, {"failed": f"{type(error).__name__}: {error}"})
        return
    send(channel, {"failed": ""})
    ForkServer(channel).serve()
