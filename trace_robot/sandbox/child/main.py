"""The child after the fork: lock down, then answer requests until the pipe ends."""

from __future__ import annotations

import faulthandler
import gc
import json
import mmap
import os
import signal
import sys
import warnings
from collections.abc import Mapping
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec
from typing import Any, NoReturn

from trace_robot.sandbox import protocol
from trace_robot.sandbox.child.determinism import replace_clocks, replace_unseeded
from trace_robot.sandbox.child.episode import BlockedImport
from trace_robot.sandbox.child.lockdown import REPLY, REQUEST, TRACE, LockdownError, lock_down
from trace_robot.sandbox.child.runner import EpisodeRunner
from trace_robot.sandbox.protocol import HEADER, REPLY_MAGIC, REQUEST_MAGIC, WireRecord

_READ_BYTES = 1 << 16
_SHORT_BYTES = 1 << 12  # what most requests fit in: asking for more makes Python reserve it first


class RefusingFinder:
    """Import finder that refuses what was not imported before the lockdown.

    missing: modules that cannot be imported on this machine, so that a controller that tries to gets the error it
    would get outside.
    """

    def __init__(self, missing: frozenset[str]) -> None:
        self._missing = missing

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Refuse every module, as `importlib.abc.MetaPathFinder.find_spec` may.

        Args:
            name: the dotted name.
            path: not used.
            target: not used.

        Raises:
            ModuleNotFoundError: it is not installed.
            BlockedImport: it was not imported before the lockdown.
        """
        if name in self._missing or name.partition(".")[0] in self._missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        raise BlockedImport(f"import of {name!r} is not possible in the sandbox", name=name)


def serve(config: Mapping[str, Any], progress: mmap.mmap, zygote: int) -> NoReturn:
    """Lock this process down and answer requests until the pipe ends.

    Args:
        config: memory_bytes, without, missing (modules that cannot be imported) and what `EpisodeRunner` takes.
        progress: shared with the zygote: the episode of a lock-step call that is running.
        zygote: its process number.
    """
    os.environ.clear()  # no sooner: libraries that the zygote imports read the thread variables
    sys.argv[:] = sys.orig_argv[:] = []
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    sys.meta_path[:] = [BuiltinImporter, FrozenImporter, RefusingFinder(frozenset(config["missing"]))]
    sys.path.clear()
    sys.stdin = None
    replace_unseeded()
    faulthandler.enable(TRACE, all_threads=False)
    faulthandler.register(signal.SIGUSR1, TRACE, all_threads=False)
    seconds = (config["call_seconds"], config["episode_seconds"], config["episode_wall_seconds"])
    runner = EpisodeRunner(
        config["interface"], config["printed_chars"], seconds, progress, restart_clocks=replace_clocks()
    )
    gc.collect()
    locks = _locks(config, zygote)
    _write_reply(protocol.READY, 0, 0, json.dumps(locks).encode())
    while True:
        kind, count, sequence, payload = _read_request()
        reply_kind, body = _answer(runner, kind, count, payload)
        _write_reply(reply_kind, 1 if kind == protocol.LOAD else count, sequence, body)


def _locks(config: Mapping[str, Any], zygote: int) -> dict[str, str]:
    """Lock this process down.

    A failure is reported and not raised: the host decides whether to go on.
    """
    try:
        return lock_down(config["memory_bytes"], zygote, without=config["without"])
    except LockdownError as error:
        return {"failed": str(error)}


def _answer(runner: EpisodeRunner, kind: int, count: int, payload: bytes) -> tuple[int, bytes]:
    """Return the kind and the payload of the reply to a request."""
    if kind == protocol.CALL:
        if runner.alone:
            return runner.call_only(payload)
        actions, entries = runner.call(count, payload)
        if entries is None:
            return protocol.ACTIONS, actions
        return protocol.ENTRIES, protocol.encode_entries(entries, actions)
    if kind == protocol.LOAD:
        fault = runner.load(payload.decode("utf-8", "surrogatepass"), trace=bool(count))
        return protocol.ENTRIES, protocol.encode_entries([WireRecord(fault)])
    return protocol.ENTRIES, protocol.encode_entries(runner.reset(count))


def _read_request() -> tuple[int, int, int, bytes]:
    """Return a request's kind, count, sequence number and payload."""
    data = os.read(REQUEST, _SHORT_BYTES)
    if not data:
        os._exit(0)
    if len(data) < HEADER.size:
        data += _read(HEADER.size - len(data))
    magic, kind, count, sequence, size = HEADER.unpack_from(data)
    if magic != REQUEST_MAGIC:
        os._exit(2)
    payload = data[HEADER.size :]
    return kind, count, sequence, payload if len(payload) == size else payload + _read(size - len(payload))


def _read(size: int) -> bytes:
    parts = []
    while size > 0:
        part = os.read(REQUEST, min(size, _READ_BYTES))
        if not part:
            os._exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _write_reply(kind: int, count: int, sequence: int, payload: bytes) -> None:
    reply = HEADER.pack(REPLY_MAGIC, kind, count, sequence, len(payload)) + payload
    if (sent := os.write(REPLY, reply)) < len(reply):
        view = memoryview(reply)[sent:]
        while view:
            view = view[os.write(REPLY, view) :]
