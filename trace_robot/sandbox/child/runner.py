"""Playing the episodes of one controller inside the jail: several in lock step, each with its own fresh module."""

from __future__ import annotations

import linecache
import mmap
import struct
import sys
import time
from collections.abc import Mapping
from types import CodeType
from typing import Any

import numpy as np

from trace_robot.fault import Fault
from trace_robot.sandbox.child import episode as parts
from trace_robot.sandbox.child.episode import ChildEpisode, Converter, Printed
from trace_robot.sandbox.child.faults import OUT_OF_MEMORY, SOURCE_NAME, blame
from trace_robot.sandbox.protocol import ACTIONS, ENTRIES, RECORDED, WireRecord, encode_entries
from trace_robot.spec import Array

_INDEX = struct.Struct("<H")
_FLOAT64 = np.dtype("<f8")  # made once: numpy reads the text each time
_NOTHING = WireRecord()
_RESERVE_BYTES = 1 << 20  # let go when memory runs out, so that the fault can be told


class EpisodeRunner:
    """Plays the episodes of one controller.

    interface: input_size, output_size, fields (name -> (start, stop), or None) as plain data.
    progress: two bytes that say which episode of a lock-step call is running.
    """

    def __init__(
        self, interface: Mapping[str, Any], printed_chars: int, call_seconds: float, progress: mmap.mmap
    ) -> None:
        self._input_size: int = interface["input_size"]
        fields = interface["fields"]
        self._fields = (
            None
            if fields is None
            else [
                (name, slice(start, stop), start if stop - start == 1 else -1)
                for name, (start, stop) in fields.items()
            ]
        )
        self._convert = Converter(interface["output_size"])
        self._printed_chars = printed_chars
        self._call_seconds = call_seconds
        self._progress = progress
        self._source = ""
        self._code: CodeType | None = None
        self._traced = False
        self._spare: ChildEpisode | None = None
        self.alone = False
        self._episodes: list[ChildEpisode] = []
        self._reserve: bytearray | None = bytearray(_RESERVE_BYTES)
        self._no_action = bytes(4 * interface["output_size"])

    def load(self, source: str, *, trace: bool) -> Fault | None:
        """Compile the text and execute it once; that episode is the first one that `reset` gives."""
        self._source = source
        self._traced = trace
        linecache.cache[SOURCE_NAME] = (len(source), None, source.splitlines(True), SOURCE_NAME)
        self._prepare_tracer()
        try:
            self._code = compile(source, SOURCE_NAME, "exec", dont_inherit=True)
            self._spare = self._fresh()
        except BaseException as error:
            return self._blame(error)
        return None

    def _prepare_tracer(self) -> None:
        """If the tracer is there, turn it off unless it is wanted, and unwrap what it returns."""
        if (tracer := sys.modules.get("trace_robot.trace")) is None:
            return
        self._convert.unwrap = sys.modules["trace_robot.trace.wrapping"].plain
        if not self._traced:
            tracer.stop_tracing().__enter__()

    def reset(self, count: int) -> list[WireRecord]:
        """Drop all episodes and start ``count`` fresh ones."""
        self._episodes = []
        self.alone = count == 1
        entries = []
        for index in range(count):
            self._progress[:2] = index.to_bytes(2, "little")
            try:
                episode, self._spare = self._spare or self._fresh(), None
                self._episodes.append(episode)
                entries.append(WireRecord(None, episode.printed.take()))
            except BaseException as error:
                entries.append(WireRecord(self._blame(error)))
        return entries

    def _fresh(self) -> ChildEpisode:
        if self._code is None:
            raise RuntimeError("no controller was loaded")
        episode = ChildEpisode(Printed(self._printed_chars))
        episode.start(self._code)
        if "random" in self._source:
            episode.keep_random()
        if self._traced:
            aware = "trace_robot" in self._source
            episode.recorder = sys.modules["trace_robot.sandbox.child.tracing"].GraphRecorder(
                aware=aware, doc=parts.docstring(self._source),
                memory_as_node=parts.is_bundle(self._source) or parts.hands_memory_on(self._source),
            )  # fmt: skip
        return episode

    def call(self, count: int, payload: bytes) -> tuple[bytes, list[WireRecord] | None]:
        """Return the actions, and entries where an episode has more to say.

        payload: (count, input_size) float64, then ``count`` uint16 episode numbers.
        """
        width = 8 * self._input_size
        rows = np.frombuffer(payload, _FLOAT64, count * self._input_size).reshape(count, self._input_size)
        numbers = _INDEX.iter_unpack(memoryview(payload)[count * width :])
        actions: list[bytes] = []
        entries: list[WireRecord] = []
        quiet = True
        for (number,), row in zip(numbers, rows, strict=True):
            episode = self._episodes[number]
            answer = self._one(episode, number, row.copy())
            fault = answer if isinstance(answer, Fault) else None
            actions.append(self._no_action if isinstance(answer, Fault) else answer)
            if fault is None and episode.recorder is None and not episode.printed.parts:
                entries.append(_NOTHING)
            else:
                entries.append(WireRecord(fault, episode.printed.take(), episode.take_records()))
                quiet = False
        return b"".join(actions), None if quiet else entries

    def call_only(self, payload: bytes) -> tuple[int, bytes]:
        """Return the reply's kind and payload of a call of the only episode there is.

        There is nothing to tell apart, and its deadline is the caller's.
        """
        episode = self._episodes[0]
        try:
            answer = self._act(episode, np.frombuffer(bytearray(payload), _FLOAT64, self._input_size))
        except BaseException as error:
            answer = self._blame(error)
        records = b"" if episode.recorder is None else episode.recorder.take()
        if type(answer) is bytes and not episode.printed.parts:
            return (RECORDED, answer + records) if records else (ACTIONS, answer)
        fault, action = (answer, self._no_action) if isinstance(answer, Fault) else (None, answer)
        return ENTRIES, encode_entries([WireRecord(fault, episode.printed.take(), records)], action)

    def _one(self, episode: ChildEpisode, number: int, row: Array) -> bytes | Fault:
        try:
            self._progress[:2] = number.to_bytes(2, "little")
            started = time.thread_time()
            episode.restore_random()
            answer = self._act(episode, row)
            if episode.random_state is not None:
                episode.keep_random()
        except BaseException as error:
            return self._blame(error)
        if time.thread_time() - started > self._call_seconds:
            return Fault("timeout", f"one call took more than {self._call_seconds:g} s")
        return answer

    def _act(self, episode: ChildEpisode, row: Array) -> bytes | Fault:
        observation: Any = row
        if self._fields is not None:
            observation = {
                name: row[part] if number < 0 else row.item(number) for name, part, number in self._fields
            }
        value = episode.call(observation)
        action = self._convert(value)
        if isinstance(action, bytes):
            return action
        return Fault(action[0], action[1], parts.line_of_return(self._source, episode.act))

    def _blame(self, error: BaseException) -> Fault:
        self._reserve = None
        try:
            fault = blame(error)
            del error
            self._reserve = bytearray(_RESERVE_BYTES)
        except MemoryError:
            return OUT_OF_MEMORY
        return fault
