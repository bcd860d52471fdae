"""The controller's process after the fork: lock, then answer requests until the pipe ends."""

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
from trace_robot.sandbox.child.determinism import replace_unseeded
from trace_robot.sandbox.child.faults import BlockedImport
from trace_robot.sandbox.child.lockdown import REPLY, REQUEST, TRACE, LockError, lock
from trace_robot.sandbox.child.runner import EpisodeRunner
from trace_robot.sandbox.protocol import HEADER, REPLY_MAGIC, REQUEST_MAGIC, WireRecord

_READ_BYTES = 1 << 16
_SHORT_BYTES = 1 << 12  # what most requests fit in: asking for more makes Python reserve it first


class RefusingFinder:
    """The last finder of imports: everything a controller may import is there before the locks close."""

    def __init__(self, missing: frozenset[str]) -> None:
        self._missing = missing

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name in self._missing or name.partition(".")[0] in self._missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        raise BlockedImport(f"import of {name!r} is not possible in the sandbox", name=name)


def _read(size: int) -> bytes:
    parts = []
    while size > 0:
        part = os.read(REQUEST, min(size, _READ_BYTES))
        if not part:
            os._exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _request() -> tuple[int, int, int, bytes]:
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


def _reply(kind: int, count: int, sequence: int, payload: bytes) -> None:
    reply = HEADER.pack(REPLY_MAGIC, kind, count, sequence, len(payload)) + payload
    if (sent := os.write(REPLY, reply)) < len(reply):
        view = memoryview(reply)[sent:]
        while view:
            view = view[os.write(REPLY, view) :]


def _answer(player: EpisodeRunner, kind: int, count: int, payload: bytes) -> tuple[int, bytes]:
    if kind == protocol.CALL:
        if player.alone:
            return player.call_only(payload)
        actions, entries = player.call(count, payload)
        if entries is None:
            return protocol.ACTIONS, actions
        return protocol.ENTRIES, protocol.encode_entries(entries, actions)
    if kind == protocol.LOAD:
        fault = player.load(payload.decode("utf-8", "surrogatepass"), trace=bool(count))
        return protocol.ENTRIES, protocol.encode_entries([WireRecord(fault)])
    return protocol.ENTRIES, protocol.encode_entries(player.reset(count))


def _close_locks(config: Mapping[str, Any], warden: int) -> dict[str, str]:
    try:
        return lock(config["memory_bytes"], warden, without=config["without"])
    except LockError as error:
        return {"failed": str(error)}


def serve(config: Mapping[str, Any], progress: mmap.mmap, warden: int) -> NoReturn:
    """Lock this process and answer requests for ever; REQUEST, REPLY and TRACE are its only descriptors.

    config: memory_bytes, without, missing (modules that are not installed) and what `EpisodeRunner` takes.
    progress: shared with the warden; the episode of a lock-step call that is running.
    """
    os.environ.clear()  # only now: libraries that the warden imports read the thread variables
    sys.argv[:] = sys.orig_argv[:] = []
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    sys.meta_path[:] = [BuiltinImporter, FrozenImporter, RefusingFinder(frozenset(config["missing"]))]
    sys.path.clear()
    sys.stdin = None
    replace_unseeded()
    faulthandler.enable(TRACE, all_threads=False)
    faulthandler.register(signal.SIGUSR1, TRACE, all_threads=False)
    player = EpisodeRunner(config["interface"], config["printed_chars"], config["call_seconds"], progress)
    gc.collect()
    told = _close_locks(config, warden)
    _reply(protocol.READY, 0, 0, json.dumps(told).encode())
    while True:
        kind, count, sequence, payload = _request()
        answer, body = _answer(player, kind, count, payload)
        _reply(answer, 1 if kind == protocol.LOAD else count, sequence, body)
