"""All that came to a run from outside, in order, on disk before it is used: episodes, replies, the clock's verdict.

A run is the same computation whenever it hears the same. So going on with one that was interrupted is to begin it
again, hear the journal to its end, and live on from there.
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
    """What came. request: a hash of what was asked for; seconds: spent when it came."""

    kind: Kind
    request: str
    seconds: float
    data: bytes


class Journal:
    """Hears the entries that are there, then writes further ones."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        run: int,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection, self._path, self._run, self._clock = connection, path, run, clock
        self._drop_unanswered()
        with faults(path):
            sql = "SELECT count(*) FROM journal WHERE run = ?"
            self.known = int(connection.execute(sql, (run,)).fetchone()[0])
        self._next = 0
        self._spent = 0.0
        self._since = clock()

    @property
    def replaying(self) -> bool:
        """Whether there is still something to hear."""
        return self._next < self.known

    @property
    def seconds(self) -> float:
        """Seconds spent, over all processes; while hearing, those at which the last entry came."""
        return self._spent if self.replaying else self._spent + self._clock() - self._since

    def begin(self) -> None:
        """Let the clock run from now, rather than from when the journal was opened."""
        self._since = self._clock()

    def take(self, kinds: tuple[Kind, ...], request: str) -> JournalEntry | None:
        """Return what came for the request, None where it must be got now.

        Raises ChangedRunError where something else was asked for at this point.
        """
        if not self.replaying:
            return None
        entry = self._peek()
        if entry.kind not in kinds or entry.request != request:
            raise ChangedRunError(
                f"the run cannot go on as it began: at entry {self._next + 1} of {self.known} of its journal it asked"
                f" for {entry.kind} that are not asked for now; the program, its libraries, the environment or an"
                " option has changed since: use what it was started with, or start it anew"
            )
        self._heard(entry)
        return entry

    def put(self, kind: Kind, request: str, data: bytes) -> None:
        """Write down what came; it is on disk when this returns."""
        seconds = self.seconds
        with transaction(self._connection, self._path) as connection:
            connection.execute(
                "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?)",
                (self._run, self._next, kind, request, seconds, data),
            )
        self._next += 1
        self.known = self._next

    def time_over(self, limit: float) -> bool:
        """Return whether more than ``limit`` seconds are spent; what it answered once it will answer again."""
        if self.replaying:
            entry = self._peek()
            if entry.kind == "time over":
                self._heard(entry)
                return True
            return False
        over = self.seconds > limit
        if over:
            self.put("time over", "", b"")
        return over

    def _peek(self) -> JournalEntry:
        sql = "SELECT kind, request, seconds, data FROM journal WHERE run = ? AND number = ?"
        with faults(self._path):
            row = self._connection.execute(sql, (self._run, self._next)).fetchone()
        if row is None:
            raise RunError(f"the journal of the run lacks entry {self._next + 1}; the store is damaged")
        return JournalEntry(row["kind"], row["request"], row["seconds"], row["data"])

    def _heard(self, entry: JournalEntry) -> None:
        self._next += 1
        self._spent = entry.seconds
        self._since = self._clock()

    def _drop_unanswered(self) -> None:
        """Forget calls without an answer that nothing came after: going on, they are made again."""
        with transaction(self._connection, self._path) as connection:
            connection.execute(
                "DELETE FROM journal WHERE run = :run AND kind = 'no answer' AND number > coalesce("
                "(SELECT max(number) FROM journal WHERE run = :run AND kind <> 'no answer'), -1)",
                {"run": self._run},
            )


def hash_of(request: Any) -> str:
    """Return a hash of plain data; what is not plain counts as its text."""
    text = json.dumps(request, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
