"""Running the episodes of one controller, each in a freshly executed module."""

from __future__ import annotations

import linecache
import mmap
import re
import struct
import sys
from collections.abc import Callable, Mapping
from time import monotonic, thread_time  # bound at import: those of the module become the episode's own
from types import CodeType
from typing import TYPE_CHECKING, Any

import numpy as np

from trace_robot.fault import Fault
from trace_robot.sandbox.child.episode import (
    OUT_OF_MEMORY,
    CapturedOutput,
    ChildEpisode,
    Converter,
    docstring,
    fault_of,
    is_bundle,
    line_of_return,
    passes_memory_on,
)
from trace_robot.sandbox.protocol import (
    ACTIONS,
    ENTRIES,
    PACKAGE,
    RECORDED,
    TRACE,
    WireRecord,
    encode_entries,
)
from trace_robot.sandbox.source import SOURCE_NAME

if TYPE_CHECKING:
    from trace_robot.sandbox.child.tracing import GraphRecorder
    from trace_robot.spec import Array

_INDEX = struct.Struct("<H")
_FLOAT64 = np.dtype("<f8")  # made once: numpy reads the text each time
_NOTHING = WireRecord()
_DRAWS = re.compile("random|scipy|statistics")
_RESERVE_BYTES = 1 << 20  # freed when memory runs out, so that the fault can be reported


class EpisodeRunner:
    """Runs the episodes of one controller: one alone, or several in lock step.

    Args:
        interface: input_size, output_size, fields (name -> (start, stop), or None) as plain data.
        printed_chars: what an episode prints is kept up to here.
        seconds: of an episode of a lock step: CPU time of one call and of all, and of the wall clock for all.
        progress: two bytes for the number of the episode that is running, which the zygote reads after a crash.
        restart_clocks: sets the controller's clocks to 0.
    """

    def __init__(
        self,
        interface: Mapping[str, Any],
        printed_chars: int,
        seconds: tuple[float, float, float],
        progress: mmap.mmap,
        *,
        restart_clocks: Callable[[], None],
    ) -> None:
        self._input_size: int = interface["input_size"]
        self._fields = _field_slices(interface["fields"])
        self._convert = Converter(interface["output_size"])
        self._printed_chars = printed_chars
        self._call_seconds, self._episode_seconds, self._wall_seconds = seconds
        self._progress = progress
        self._restarts = [restart_clocks]
        self._source = ""
        self._code: CodeType | None = None
        self._new_recorder: Callable[[], GraphRecorder] | None = None
        self._spare: ChildEpisode | None = None
        self.alone = False
        self._waited = 0.0  # seconds of the wall clock that the calls of a lock step took
        self._episodes: list[ChildEpisode] = []
        self._reserve: bytearray | None = bytearray(_RESERVE_BYTES)
        self._no_action = bytes(4 * interface["output_size"])

    def load(self, source: str, *, trace: bool) -> Fault | None:
        """Compile the text and execute it once.

        `reset` uses this first episode, so that loading a text for one episode executes it once.

        Args:
            source: the controller's text.
            trace: whether to record its graphs; the host then had `child.tracing` imported before the fork.
        """
        self._source = source
        linecache.cache[SOURCE_NAME] = (len(source), None, source.splitlines(True), SOURCE_NAME)
        try:
            self._prepare_tracer(trace)
            self._code = compile(source, SOURCE_NAME, "exec", dont_inherit=True)
            self._spare = self._fresh()
        except BaseException as error:  # the controller's code may raise anything, SystemExit too
            return self._fault(error)
        return None

    def _prepare_tracer(self, trace: bool) -> None:
        """Turn the tracer on or off, if it was imported, and unwrap actions."""
        if TRACE not in sys.modules and not trace:
            return
        # Not at the top: most controllers need no tracer, and it must not take the time and memory of a fresh child.
        from trace_robot.trace import stop_tracing
        from trace_robot.trace.operation import restart
        from trace_robot.trace.wrapping import plain

        self._convert.unwrap = plain
        self._restarts.append(restart)  # or a node's number would count the episodes before
        if not trace:
            stop_tracing().__enter__()  # for good: this process never traces
            return
        from trace_robot.sandbox.child.tracing import GraphRecorder

        source = self._source
        self._new_recorder = lambda: GraphRecorder(
            aware=PACKAGE in source,
            doc=docstring(source),
            memory_as_node=is_bundle(source) or passes_memory_on(source),
        )

    def reset(self, count: int) -> list[WireRecord]:
        """Drop all episodes and start ``count`` fresh ones."""
        self._episodes = []
        self._waited = 0.0
        self.alone = count == 1
        entries = []
        for index in range(count):
            self._progress[:2] = index.to_bytes(2, "little")
            try:
                episode, self._spare = self._spare or self._fresh(), None
                self._episodes.append(episode)
                entries.append(WireRecord(None, episode.printed.take()))
            except BaseException as error:  # as in `load`
                entries.append(WireRecord(self._fault(error)))
        return entries

    def _fresh(self) -> ChildEpisode:
        """Return an episode whose module was just executed."""
        if self._code is None:
            raise RuntimeError("no controller was loaded")
        episode = ChildEpisode(CapturedOutput(self._printed_chars))
        for begin in self._restarts:
            begin()
        episode.start(self._code)
        # The two states are kilobytes to copy at every call of a lock step, so only for a text that may draw numbers:
        # scipy and statistics do it without the name of a generator in the text.
        if _DRAWS.search(self._source):
            episode.keep_random()
        if self._new_recorder is not None:
            episode.recorder = self._new_recorder()
        return episode

    def call(self, count: int, payload: bytes) -> tuple[bytes, list[WireRecord] | None]:
        """Call several episodes in lock step.

        Args:
            count: how many.
            payload: (count, input_size) float64, then ``count`` uint16 episode numbers.

        Returns:
            Their actions, zeros where there was a fault, and their entries; None if every entry is empty.
        """
        width = 8 * self._input_size
        rows = np.frombuffer(payload, _FLOAT64, count * self._input_size).reshape(count, self._input_size)
        numbers = _INDEX.iter_unpack(memoryview(payload)[count * width :])
        actions: list[bytes] = []
        entries: list[WireRecord] = []
        quiet = True
        # Sleeping is counted for all episodes as if each had done all of it: this only errs on the side of a fault, and
        # an episode that was late beside others is run again alone.
        late = self._waited > self._wall_seconds
        began, spent = monotonic(), thread_time()
        for (number,), row in zip(numbers, rows, strict=True):
            episode = self._episodes[number]
            self._progress[:2] = number.to_bytes(2, "little")
            answer: bytes | Fault
            # Not in a method: a controller that recurses to the limit gets as deep as in `call_only`.
            try:
                episode.restore_random()
                answer = self._act(episode, row.copy())
                if episode.random_state is not None:
                    episode.keep_random()
            except BaseException as error:  # as in `load`
                answer = self._fault(error)
            # The end of one call is the beginning of the next: that halves the system calls.
            now = thread_time()
            episode.spent += now - spent
            if now - spent > self._call_seconds or episode.spent > self._episode_seconds or late:
                answer = self._late_fault(now - spent, episode.spent)
            spent = now
            fault = answer if isinstance(answer, Fault) else None
            actions.append(self._no_action if isinstance(answer, Fault) else answer)
            if fault is None and episode.recorder is None and not episode.printed.parts:
                entries.append(_NOTHING)
            else:
                entries.append(WireRecord(fault, episode.printed.take(), episode.take_records()))
                quiet = False
        self._waited += monotonic() - began
        return b"".join(actions), None if quiet else entries

    def call_only(self, payload: bytes) -> tuple[int, bytes]:
        """Call the only episode there is and return the reply's kind and payload.

        A fast lane beside `call`: no progress to note, no random state to exchange with other episodes', and no
        clock to read, since the deadline of one call is the host's.
        """
        episode = self._episodes[0]
        try:
            answer = self._act(episode, np.frombuffer(bytearray(payload), _FLOAT64, self._input_size))
        except BaseException as error:  # as in `load`
            answer = self._fault(error)
        records = b"" if episode.recorder is None else episode.recorder.take()
        if type(answer) is bytes and not episode.printed.parts:
            return (RECORDED, answer + records) if records else (ACTIONS, answer)
        fault, action = (answer, self._no_action) if isinstance(answer, Fault) else (None, answer)
        return ENTRIES, encode_entries([WireRecord(fault, episode.printed.take(), records)], action)

    def _late_fault(self, call: float, episode: float) -> Fault:
        """Return the fault of an episode of a lock step that has used up its time.

        The host's deadline is that of all episodes together, so that each one's own is checked here.

        Args:
            call: CPU seconds of its last call.
            episode: CPU seconds of all its calls.
        """
        if call > self._call_seconds:
            return Fault("timeout", f"one call took more than {self._call_seconds:g} s")
        if episode > self._episode_seconds:
            return Fault("timeout", f"the episode took more than {self._episode_seconds:g} s")
        return Fault("timeout", f"the episode took more than {self._wall_seconds:g} s of the wall clock")

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
        return Fault(action[0], action[1], line_of_return(self._source, episode.act))

    def _fault(self, error: BaseException) -> Fault:
        """Return the fault for an exception, with the reserve of memory freed meanwhile."""
        self._reserve = None
        try:
            fault = fault_of(error)
            del error
            self._reserve = bytearray(_RESERVE_BYTES)
        except MemoryError:
            return OUT_OF_MEMORY
        return fault


def _field_slices(fields: Mapping[str, tuple[int, int]] | None) -> list[tuple[str, slice, int]] | None:
    """Return name, slice and index of each field, so that no call works them out.

    The index is that of a field of one number, -1 for others.
    """
    if fields is None:
        return None
    return [
        (name, slice(start, stop), start if stop - start == 1 else -1)
        for name, (start, stop) in fields.items()
    ]
