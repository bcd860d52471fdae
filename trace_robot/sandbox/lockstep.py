"""Episodes in lock step, and their replay when one of them ends the process.

All episodes of a reset share one process, since one message for all of them is cheaper than one for each. When an
episode kills the process (a timeout, a crash), the others are replayed: a new process gets every input since the reset
again, and controllers are deterministic (`child.determinism`), so that they are where they were.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np

from trace_robot.fault import Fault
from trace_robot.sandbox.client import ControllerClient, ControllerText
from trace_robot.sandbox.host_process import BACKSTOP, ChildDiedError
from trace_robot.sandbox.protocol import ACTIONS, CALL, CALL_BYTES, RECORDED, Sizes, WireRecord, all_finite
from trace_robot.spec import Array

MAX_RECORD_BYTES: Final = 1 << 23  # of the records of one episode
_LEAST_SECONDS: Final = 0.001  # for a call when the budget of its episode is used up
_FIRST: Final = struct.pack("<H", 0)  # the number of the only episode
_FLOAT32: Final = np.dtype("<f4")  # made once: numpy reads the text each time


class LockstepEpisodes:
    """The episodes since a reset: what each printed and recorded, and how each ended.

    faults: number -> why the episode ended, for those that did. printed: by number.

    Args:
        client: of the process in which the controller is loaded.
        text: the controller, to load it again.
        count: how many episodes.
    """

    def __init__(self, client: ControllerClient, text: ControllerText, count: int) -> None:
        limits = client.limits
        self.count = count
        self.faults: dict[int, Fault] = {}
        self.printed = [""] * count
        self._client = client
        self._text = text
        self._records: list[list[bytes]] = [[] for _ in range(count)]
        self._record_bytes = [0] * count
        self._history: list[tuple[tuple[int, ...], Array]] = []
        self._action_bytes = 4 * client.interface.output_size
        self._sizes = Sizes(limits.printed_chars, CALL_BYTES if text.trace else 0)
        # What `call_only` needs at every call and would else make again.
        self._largest = self._sizes.of_reply(1, self._action_bytes)
        self._unpack = struct.Struct(f"<{client.interface.output_size}f").unpack_from
        self._late_call = f"one call took more than {limits.call_seconds:g} s"
        self._late_episode = f"the episode took more than {limits.episode_seconds:g} s"
        self._wall_seconds = BACKSTOP * limits.episode_seconds
        self._late_wall = f"the episode took more than {self._wall_seconds:g} s of the wall clock"

    def records(self, episode: int) -> tuple[bytes, ...]:
        """Return what an episode recorded, as `protocol.read_records` reads it."""
        return tuple(self._records[episode])

    def reset(self) -> Fault | None:
        """Start the episodes in the process and return the first fault."""
        try:
            entries = self._client.reset(self.count)
        except ChildDiedError as died:
            return self._text.fault_of(died)
        # Not sooner: what executing the module takes has a limit for itself, and the first episode's was at loading.
        self._client.spent = self._client.waited = 0.0
        return self._note(range(self.count), entries)

    def call_only(self, row: Array) -> Array | Fault:
        """Call the only episode there is, which is alive, in a process that is there.

        A fast lane beside `call` for what nearly every call of a rollout is. It does the same in fewer steps: no
        history, because there is no other episode to replay, and a reply that is an action and perhaps records needs
        no entries. The child's is `EpisodeRunner.call_only`, the process's `ControllerProcess.exchange`.

        Args:
            row: (1, input_size) float64.
        """
        client, size = self._client, self._action_bytes
        limits = client.limits
        left = limits.episode_seconds - client.spent
        seconds, late = limits.call_seconds, self._late_call
        if left <= seconds:
            seconds, late = max(left, _LEAST_SECONDS), self._late_episode
        left = self._wall_seconds - client.waited
        if left <= seconds:
            seconds, late = max(left, _LEAST_SECONDS), self._late_wall
        try:
            payload = row.tobytes() + _FIRST
            kind, count, body = client.exchange(CALL, 1, payload, seconds, late, self._largest)
            if kind == RECORDED and self._text.trace and size < len(body) <= size + CALL_BYTES:
                self._keep_records(0, body[size:])
            elif kind != ACTIONS or count != 1 or len(body) != size:
                entries, body = client.decode((kind, count, body), 1, size, self._sizes)
                self._note((0,), entries)
            if not all_finite(self._unpack(body)):
                raise client.process.refuse("the controller's process wrote an action that is not finite")
        except ChildDiedError as died:
            self.faults[0] = fault = self._text.fault_of(died)
            return fault
        action: Array = np.frombuffer(bytearray(body), _FLOAT32, size // 4)
        return self.faults.get(0, action) if self.faults else action

    def call(self, numbers: Sequence[int], rows: Array) -> list[Array | Fault]:
        """Call episodes, and replay the others if one kills the process.

        Args:
            numbers: of the episodes.
            rows: (len(numbers), input_size) float64.

        Returns:
            For each an action, float32 of shape (output_size,), or the fault that ended it, now or before.
        """
        row_of = dict(zip(numbers, rows, strict=True))
        answers: dict[int, Array | Fault] = {}
        while alive := [number for number in numbers if number not in self.faults]:
            inputs = rows if len(alive) == len(numbers) else np.stack([row_of[number] for number in alive])
            try:
                if (fault := self._replay()) is not None:
                    self.faults |= dict.fromkeys(alive, fault)
                    break
                answers = dict(zip(alive, self._call_once(alive, inputs), strict=True))
            except ChildDiedError as died:
                culprit = died.episode if died.episode in alive else alive[0]
                self.faults[culprit] = self._text.fault_of(died)
                continue
            self._history.append((tuple(alive), inputs.copy()))
            break
        return [answers[number] if number in answers else self.faults[number] for number in numbers]

    def _call_once(self, numbers: Sequence[int], rows: Array) -> list[Array | Fault]:
        """Call episodes that are all alive.

        Raises:
            ChildDiedError: the process ended; all episodes are gone.
        """
        client, count, size = self._client, len(numbers), self._action_bytes
        # For all together, whatever the child says: it keeps the account of each episode.
        left = self.count * client.limits.episode_seconds - client.spent
        wall = self.count * self._wall_seconds - client.waited
        seconds = min(count * client.limits.call_seconds, left, wall)
        late = {left: self._late_episode, wall: self._late_wall}.get(seconds, self._late_call)
        payload = rows.tobytes() + struct.pack(f"<{count}H", *numbers)
        largest = self._sizes.of_reply(count, size)
        reply = client.exchange(CALL, count, payload, max(seconds, _LEAST_SECONDS), late, largest)
        entries: list[WireRecord] = []
        kind, answered, body = reply
        if kind != ACTIONS or answered != count or len(body) != count * size:
            entries, body = client.decode(reply, count, size, self._sizes)
        if not all_finite(memoryview(body).cast("f")):
            raise client.process.refuse("the controller's process wrote an action that is not finite")
        actions: list[Array] = list(np.frombuffer(bytearray(body), _FLOAT32).reshape(count, -1))
        if not entries:
            return [*actions]
        self._note(numbers, entries)
        return [self.faults.get(number, action) for number, action in zip(numbers, actions, strict=True)]

    def _replay(self) -> Fault | None:
        """If the process is gone, start one and repeat the history of live episodes.

        Returns the fault of all of them if the text, which had loaded before, does not load again.
        """
        if self._client.process.alive:
            return None
        # What they print and record a second time is in the copy, which is dropped.
        copy = LockstepEpisodes(self._client, self._text, self.count)
        if (fault := self._client.start(self._text) or copy.reset()) is not None:
            return fault
        for numbers, rows in self._history:
            kept = [index for index, number in enumerate(numbers) if number not in self.faults]
            if kept:
                copy._call_once([numbers[index] for index in kept], rows[kept])
        return None

    def _note(self, numbers: Sequence[int], entries: Sequence[WireRecord]) -> Fault | None:
        """Keep what entries report, and return the first fault."""
        first = None
        limit = self._client.limits.printed_chars
        for number, entry in zip(numbers, entries, strict=True):
            self.printed[number] = (self.printed[number] + entry.printed)[:limit]
            if entry.records:
                self._keep_records(number, entry.records)
            if entry.fault is not None:
                self.faults[number] = fault = self._text.checked(entry.fault)
                self._client.tainted = self._client.tainted or fault.category == "memory"
                first = first or fault
        return first

    def _keep_records(self, number: int, records: bytes) -> None:
        if self._record_bytes[number] < MAX_RECORD_BYTES:
            self._records[number].append(records)
            self._record_bytes[number] += len(records)
