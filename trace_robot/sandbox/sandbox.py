"""`Sandbox`: runs a controller's text in a process of its own and answers with actions or reasons."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np

from trace_robot.errors import OrderError, SandboxError
from trace_robot.fault import Fault, Limits
from trace_robot.sandbox import protocol
from trace_robot.sandbox.child.faults import line_in_source
from trace_robot.sandbox.graph_records import CALL_BYTES, MAX_BYTES, read_records
from trace_robot.sandbox.host_process import Died, Process
from trace_robot.sandbox.protocol import HEADER, REQUEST_MAGIC, FrameError, Sizes, WireRecord, all_finite
from trace_robot.sandbox.static_check.check import check, modules_of
from trace_robot.sandbox.types import Interface
from trace_robot.spec import Array

MAX_SOURCE_CHARS = 1_000_000
_FIRST = struct.pack("<H", 0)
_FLOAT64, _FLOAT32 = np.dtype("<f8"), np.dtype("<f4")


class Sandbox:
    """A controller's process, or several processes one after the other, behind four verbs.

    A source that was not loaded last always gets a fresh process; the same source again keeps its process and
    gets freshly executed modules. Inputs of lock-step calls are kept until the next reset, so that an episode
    that kills the process leaves the others where they were: they are played again from the start in a new one.

    static_check: refuse text that `check` refuses. preload: modules to import before the locks close, besides
    those that the text names. trusted: run the controller even where this machine gives no boundary.
    without: locks left open on purpose, for trials ("landlock", "root", "rlimits", "seccomp").

    Raises (any method):
        SandboxError: no boundary on this machine, or no process can be started.
    """

    def __init__(
        self,
        interface: Interface,
        limits: Limits | None = None,
        *,
        static_check: bool = True,
        preload: Sequence[str] = (),
        trusted: bool = False,
        without: Sequence[str] = (),
    ) -> None:
        self._interface = interface
        self._limits = limits = limits or Limits()
        self._action_bytes = 4 * interface.output_size
        self._input_size = interface.input_size
        self._unpack = struct.Struct(f"<{interface.output_size}f").unpack_from
        self._sizes = Sizes(limits.printed_chars, 0)
        self._traced_sizes = Sizes(limits.printed_chars, CALL_BYTES)
        self._largest = [each.of_reply(1, self._action_bytes) for each in (self._sizes, self._traced_sizes)]
        self._late_call = f"one call took more than {limits.call_seconds:g} s"
        self._late_episode = f"the episode took more than {limits.episode_seconds:g} s"
        self._static_check = static_check
        self._preload = tuple(preload)
        self._trusted = trusted
        self._without = tuple(without)
        self._process = Process()
        self._sequence = 0
        self._source: tuple[str, bool] | None = None
        self._failed: tuple[tuple[str, bool], Fault] | None = None  # not tried again: it would fail again
        self._modules: tuple[str, ...] = ()
        self._tainted = False
        self._dead: dict[int, Fault] = {}
        self._printed: list[str] = []
        self._history: list[tuple[tuple[int, ...], Array]] = []
        self._spent = 0.0
        self._lines = 0
        self._source_text: str | None = None
        self._records: list[list[bytes]] = []
        self._recorded: list[int] = []  # bytes
        self.locks: dict[str, str] = {}

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process number of the controller's process, 0 while there is none."""
        return self._process.pid

    def close(self) -> None:
        """End the processes."""
        self._source = None
        self._process.close()

    def load(self, source: str, *, trace: bool = False) -> Fault | None:
        """Check, compile and execute a controller's text; a fault means that there is nothing to reset."""
        if self._source == (source, trace) and self._process.alive and not self._tainted:
            return None
        if self._failed is not None and self._failed[0] == (source, trace):
            return self._failed[1]
        self._source, self._printed, self._records = None, [], []
        if len(source) > MAX_SOURCE_CHARS:
            why = f"the source has {len(source)} characters, more than {MAX_SOURCE_CHARS}"
            return Fault("blocked", why, None, static=True)
        if self._static_check and (refusals := check(source)):
            return refusals[0]
        self._source_text = source
        self._lines = source.count("\n") + source.count("\r") + 1
        self._modules = (*modules_of(source, trace=trace), *self._preload)
        fault = self._start(source, trace)
        if fault is None:
            self._source = source, trace
        else:
            self._failed = (source, trace), fault
        return fault

    def reset(self, episodes: int = 1) -> Fault | None:
        """Start ``episodes`` fresh episodes of the loaded controller."""
        if self._source is None:
            raise OrderError(
                "reset needs a controller: load one first, and look at the fault that load returns"
            )
        if not 1 <= episodes <= protocol.MAX_EPISODES:
            raise ValueError(f"episodes must be between 1 and {protocol.MAX_EPISODES}, got {episodes}")
        self._dead, self._history, self._spent = {}, [], 0.0
        self._printed = [""] * episodes
        self._records = [[] for _ in range(episodes)]
        self._recorded = [0] * episodes
        if self._tainted or not self._process.alive:
            fault = self._start(*self._source)
            if fault is not None:
                return fault
        return self._reset(episodes)

    def call(self, inputs: Array, episodes: Sequence[int] | None = None) -> list[Array | Fault]:
        """Return for each row an action, float32 of shape (output_size,), or the fault that ended its episode.

        inputs: (n, input_size), one row an episode, or only the rows of ``episodes``. An episode that had a fault
        keeps answering with it.
        """
        count = len(self._printed)
        if count == 1 and not self._dead and self._process.pid and inputs.shape == (1, self._input_size):
            return [self._call_only(np.asarray(inputs, _FLOAT64))]
        rows = np.ascontiguousarray(inputs, _FLOAT64)
        numbers = tuple(range(count)) if episodes is None else tuple(episodes)
        if not count:
            raise OrderError("call needs episodes: reset first")
        if rows.shape != (len(numbers), self._interface.input_size):
            raise ValueError(
                f"inputs must have shape {(len(numbers), self._interface.input_size)}, got {rows.shape}"
            )
        return self._call(numbers, rows)

    def printed(self, episode: int = 0) -> str:
        """Return what the controller has printed in this episode, cut at ``Limits.printed_chars``."""
        return self._printed[episode] if episode < len(self._printed) else ""

    def graph(self, episode: int = 0) -> tuple[dict[str, Any], ...]:
        """Return the trace records of an episode so far, () if it was not traced; see `graph.read_records`."""
        return read_records(self.written(episode))

    def written(self, episode: int = 0) -> tuple[bytes, ...]:
        """Return what `graph.read_records` reads: cheaper to keep where few graphs are looked at."""
        return tuple(self._records[episode]) if episode < len(self._records) else ()

    def _start(self, source: str, trace: bool) -> Fault | None:
        config = {
            "memory_bytes": self._limits.memory_mb * 2**20, "without": self._without,
            "printed_chars": self._limits.printed_chars, "call_seconds": self._limits.call_seconds,
            "interface": {
                "input_size": self._interface.input_size, "output_size": self._interface.output_size,
                "fields": None if self._interface.fields is None else dict(self._interface.fields),
            },
        }  # fmt: skip
        self.locks = self._process.start(config, self._modules)
        self._tainted = False
        if "failed" in self.locks and not self._trusted:
            self.close()
            raise SandboxError(
                f"this machine gives no boundary for untrusted code: {self.locks['failed']}; "
                "pass trusted=True (on the command line: --trust) to run it all the same"
            )
        return self._first(protocol.LOAD, int(trace), source.encode("utf-8", "surrogatepass"), "loading", 1)

    def _reset(self, episodes: int) -> Fault | None:
        return self._first(protocol.RESET, episodes, b"", "starting the episodes", episodes)

    def _first(self, kind: int, count: int, payload: bytes, doing: str, episodes: int) -> Fault | None:
        """Load or reset; return the first fault."""
        seconds = self._limits.load_seconds * episodes
        late = f"{doing} took more than {seconds:g} s"
        try:
            entries, _ = self._ask(kind, count, payload, seconds, late, episodes)
        except Died as died:
            return self._reason(died)
        return self._note(range(episodes), entries)

    def _note(self, numbers: Sequence[int], entries: Sequence[WireRecord]) -> Fault | None:
        """Keep what was printed, and faults as the end of their episodes; return the first fault."""
        first = None
        for number, entry in zip(numbers, entries, strict=True):
            if number < len(self._printed):
                self._printed[number] = (self._printed[number] + entry.printed)[: self._limits.printed_chars]
                if entry.records:
                    self._keep(number, entry.records)
            if entry.fault is not None:
                self._dead[number] = fault = self._checked(entry.fault)
                self._tainted = self._tainted or fault.category == "memory"
                first = first or fault
        return first

    def _reason(self, died: Died) -> Fault:
        if died.place is None or self._source_text is None:
            return died.fault
        return self._checked(replace(died.fault, line=line_in_source(*died.place, self._source_text)))

    def _checked(self, fault: Fault) -> Fault:
        """Return ``fault`` without a line that the source does not have."""
        inside = fault.line is not None and 1 <= fault.line <= self._lines
        return fault if inside or fault.line is None else replace(fault, line=None)

    def _ask(
        self, kind: int, count: int, payload: bytes, seconds: float, late: str, episodes: int
    ) -> tuple[list[WireRecord], bytes]:
        """Send a request and return the entries (none if there is nothing to say) and actions of its reply.

        Raises:
            Died: there is no process any more.
        """
        traced = self._source is not None and self._source[1] and kind == protocol.CALL
        sizes = self._traced_sizes if traced else self._sizes
        action_bytes = self._action_bytes if kind == protocol.CALL else 0
        largest = sizes.of_reply(episodes, action_bytes)
        answer, number, body = self._exchange(kind, count, payload, seconds, late, largest)
        if (
            kind == protocol.CALL
            and answer == protocol.ACTIONS
            and number == count
            and len(body) == count * action_bytes
        ):
            return [], body
        return self._decoded(answer, number, body, episodes, action_bytes, sizes)

    def _exchange(
        self, kind: int, count: int, payload: bytes, seconds: float, late: str, largest: int
    ) -> tuple[int, int, bytes]:
        self._sequence = sequence = (self._sequence + 1) & 0xFFFFFFFF
        request = HEADER.pack(REQUEST_MAGIC, kind, count, sequence, len(payload)) + payload
        try:
            reply = self._process.exchange(request, sequence, seconds, late, largest)
        except Died:
            raise
        except BaseException:  # interrupted in between: what was asked and what comes would no longer match
            self._printed = []
            self._process.stop()
            raise
        self._spent += self._process.settle()
        return reply

    def _decoded(
        self, answer: int, number: int, body: bytes, episodes: int, action_bytes: int, sizes: Sizes
    ) -> tuple[list[WireRecord], bytes]:
        if answer != protocol.ENTRIES or number != episodes:
            raise self._process.refuse("the controller's process answered something else than it was asked")
        try:
            return protocol.decode_entries(body, episodes, action_bytes, sizes)
        except FrameError as error:
            raise self._process.refuse(str(error)) from error

    def _call_only(self, row: Array) -> Array | Fault:
        """Call the only episode there is: what `_call` does, in the fewest steps for what nearly every call is."""
        limits, size = self._limits, self._action_bytes
        left = limits.episode_seconds - self._spent
        seconds, late = limits.call_seconds, self._late_call
        if left <= seconds:
            seconds, late = max(left, 0.001), self._late_episode
        traced = self._source is not None and self._source[1]
        sizes = self._traced_sizes if traced else self._sizes
        try:
            answer, number, body = self._exchange(
                protocol.CALL, 1, row.tobytes() + _FIRST, seconds, late, self._largest[traced]
            )
            if answer == protocol.RECORDED and traced and size < len(body) <= size + CALL_BYTES:
                self._keep(0, body[size:])
            elif answer != protocol.ACTIONS or number != 1 or len(body) != size:
                entries, body = self._decoded(answer, number, body, 1, size, sizes)
                self._note((0,), entries)
            if not all_finite(self._unpack(body)):
                raise self._process.refuse("the controller's process wrote an action that is not finite")
        except Died as died:
            self._dead[0] = fault = self._reason(died)
            return fault
        action: Array = np.frombuffer(bytearray(body), _FLOAT32, self._interface.output_size)
        return self._dead.get(0, action) if self._dead else action

    def _keep(self, number: int, records: bytes) -> None:
        if self._recorded[number] < MAX_BYTES:
            self._records[number].append(records)
            self._recorded[number] += len(records)

    def _call_once(self, numbers: Sequence[int], rows: Array) -> list[Array | Fault]:
        """Call episodes that are all alive.

        Raises:
            Died: the process ended; all episodes are gone.
        """
        limits, count = self._limits, len(numbers)
        left = len(self._printed) * limits.episode_seconds - self._spent
        seconds = min(count * limits.call_seconds, left)
        late = self._late_episode if seconds == left else self._late_call
        payload = rows.tobytes() + struct.pack(f"<{count}H", *numbers)
        entries, body = self._ask(protocol.CALL, count, payload, max(seconds, 0.001), late, count)
        if not all_finite(memoryview(body).cast("f")):
            raise self._process.refuse("the controller's process wrote an action that is not finite")
        actions: list[Array] = list(np.frombuffer(bytearray(body), _FLOAT32).reshape(count, -1))
        if not entries:
            return [*actions]
        self._note(numbers, entries)
        return [self._dead.get(number, action) for number, action in zip(numbers, actions, strict=True)]

    def _call(self, numbers: Sequence[int], rows: Array) -> list[Array | Fault]:
        """Call episodes; one that kills the process leaves the others where they were."""
        row_of = dict(zip(numbers, rows, strict=True))
        answers: dict[int, Array | Fault] = {}
        while alive := [number for number in numbers if number not in self._dead]:
            given = rows if len(alive) == len(numbers) else np.stack([row_of[number] for number in alive])
            try:
                self._replay()
                answers = dict(zip(alive, self._call_once(alive, given), strict=True))
            except Died as died:
                self._dead[died.episode if died.episode in alive else alive[0]] = self._reason(died)
                continue
            self._history.append((tuple(alive), given.copy()))
            break
        return [answers[number] if number in answers else self._dead[number] for number in numbers]

    def _replay(self) -> None:
        """If the process is gone, start one and bring the episodes that are still alive to where they were."""
        if self._process.alive or self._source is None:
            return
        printed, self._printed = self._printed, [""] * len(self._printed)
        records, self._records = (self._records, self._recorded), [[] for _ in self._printed]
        self._recorded = [0] * len(printed)
        dead = dict(self._dead)
        try:
            fault = self._start(*self._source) or self._reset(len(printed))
            for numbers, rows in self._history:
                kept = [index for index, number in enumerate(numbers) if number not in dead]
                if kept and fault is None:
                    self._call_once([numbers[index] for index in kept], rows[kept])
        finally:
            self._printed, self._dead = printed, dead
            self._records, self._recorded = records
