"""The write-ahead journal, from which a run resumes by deterministic replay.

All that comes to a run from outside is written here before it is used: episodes, replies of a model, the moment at
which the time was over. Everything else follows from these and from the run's settings. So a run resumes as in event
sourcing: it starts again from its settings, takes what it asks for from the journal, in the same order, and goes on
with real rollouts and calls where the journal ends. Requests are hashed: a run that asks for something else than it
did is not the same run, and is refused.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trace_robot.errors import ChangedRunError, RunError
from trace_robot.store.database import faults, transaction

Kind = Literal["episodes", "replies", "no answer", "time over"]


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One event from outside.

    Attributes:
        request: the hash of what it answers; for "time over" that of the batch that was cut, "" between batches.
        seconds: what the run had spent by then.
        data: the answer, in the bytes of ``trace_robot.store.codec``.
    """

    kind: Kind
    request: str
    seconds: float
    data: bytes


class Journal:
    """Replays a run's journal in its order, then appends to it.

    Args:
        connection: one of ``trace_robot.store.database.open_to_write``.
        path: the store's file, for messages.
        run: the id of the run.
        clock: seconds; its zero does not matter.

    Attributes:
        known: the number of entries.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        run: int,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection, self._path, self._run, self._clock = connection, path, run, clock
        # Before the entries are counted, so that the calls that failed count as not made.
        self._drop_unanswered()
        with faults(path):
            sql = "SELECT count(*) FROM journal WHERE run = ?"
            self.known = int(connection.execute(sql, (run,)).fetchone()[0])
        self._next = 0
        # Seconds up to the last entry that was replayed, and the clock's time at that moment.
        self._spent = 0.0
        self._since = clock()

    @property
    def replaying(self) -> bool:
        """Whether entries are left to replay."""
        return self._next < self.known

    @property
    def seconds(self) -> float:
        """Seconds spent over all processes, during a replay by the last entry."""
        return self._spent if self.replaying else self._spent + self._clock() - self._since

    def begin(self) -> None:
        """Count time from now on, rather than from when the journal was opened."""
        self._since = self._clock()

    def take(self, kinds: tuple[Kind, ...], request: str) -> JournalEntry | None:
        """Return the next entry to replay.

        Args:
            kinds: what may answer the request.
            request: its hash.

        Returns:
            The entry; None where the journal has ended and the request must be answered now.

        Raises:
            ChangedRunError: the next entry answers another request: the run would not be the same.
        """
        if not self.replaying:
            return None
        entry = self._peek()
        if entry.kind not in kinds or entry.request != request:
            raise ChangedRunError(
                f"the run cannot go on as it began: at entry {self._next + 1} of {self.known} of its journal it asked"
                f" for {entry.kind} that are not asked for now; the program, its libraries, the environment or an"
                " option has changed since: use what it was started with, or start a new run"
            )
        self._advance(entry)
        return entry

    def first(self) -> JournalEntry | None:
        """Return the first entry to replay, None without one."""
        return self._peek() if self.known and not self._next else None

    def put(self, kind: Kind, request: str, data: bytes) -> None:
        """Append an entry, which is on disk when this returns.

        Args:
            kind: what came.
            request: the hash of what it answers, "" for the clock.
            data: the answer.
        """
        # When the answer came, without the time that it takes to write it.
        seconds = self.seconds
        with transaction(self._connection, self._path) as connection:
            connection.execute(
                "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?)",
                (self._run, self._next, kind, request, seconds, data),
            )
        self._next += 1
        # What this process writes itself is not left to replay.
        self.known = self._next

    def time_over(self, limit: float) -> bool:
        """Return whether more than ``limit`` seconds are spent.

        The moment they were is journaled and replayed. The clock is an input like any other: without an entry a
        resumed run would stop elsewhere than it did.
        """
        if self.replaying:
            entry = self._peek()
            if entry.kind == "time over" and not entry.request:
                self._advance(entry)
                return True
            return False
        over = self.seconds > limit
        if over:
            self.put("time over", "", b"")
        return over

    def take_cut(self, request: str) -> JournalEntry | None:
        """Return the next entry if it says where the clock cut a batch.

        Args:
            request: the hash of the batch that is asked for.
        """
        return self.take_next("time over", request)

    def leave_out(self, seconds: float) -> None:
        """Do not count some time, such as what a person took to answer."""
        self._since += seconds

    def take_next(self, kind: Kind, request: str) -> JournalEntry | None:
        """Return the next entry to replay if it is this one, None if it is another.

        Args:
            kind: of the entry.
            request: the hash of what it answers.
        """
        if not self.replaying:
            return None
        entry = self._peek()
        if entry.kind != kind or entry.request != request:
            return None
        self._advance(entry)
        return entry

    def _peek(self) -> JournalEntry:
        sql = "SELECT kind, request, seconds, data FROM journal WHERE run = ? AND number = ?"
        with faults(self._path):
            row = self._connection.execute(sql, (self._run, self._next)).fetchone()
        if row is None:
            raise RunError(f"the journal of the run lacks entry {self._next + 1}; the store is damaged")
        return JournalEntry(row["kind"], row["request"], row["seconds"], row["data"])

    def _advance(self, entry: JournalEntry) -> None:
        self._next += 1
        self._spent = entry.seconds
        self._since = self._clock()

    def _drop_unanswered(self) -> None:
        """Delete the failed calls that end the journal.

        The run stopped at them, and makes them again. Failed calls that other entries follow are kept: the run went
        on from them.
        """
        with transaction(self._connection, self._path) as connection:
            connection.execute(
                "DELETE FROM journal WHERE run = :run AND kind = 'no answer' AND number > coalesce("
                "(SELECT max(number) FROM journal WHERE run = :run AND kind <> 'no answer'), -1)",
                {"run": self._run},
            )


def hash_of(request: Any) -> str:
    """Return the SHA-256 of plain data as JSON with sorted keys.

    What JSON has no type for counts as its text.
    """
    text = json.dumps(request, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
