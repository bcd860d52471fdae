"""The SQLite database of runs: opening, transactions, migrations, schema.

Every column is a published format: to change one is to add a script to ``MIGRATIONS``. A store may come from another
person, so that only tables of this schema are read, within bounds of size and time.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trace_robot.errors import RunError
from trace_robot.safe_files import require_regular
from trace_robot.store.records import require_tables
from trace_robot.workspace import STORE

FILE = STORE
APPLICATION = 0x54726F62  # "Trob", SQLite's application_id in the file's header
BUSY_SECONDS = 10.0  # a writer's transaction takes milliseconds; who holds the store for longer is stuck
# Of reading a store that may be a stranger's. The largest query seen, of 20,000 candidates, took 0.1 s.
QUERY_SECONDS = 10.0
MOST_ROWS = 3_000_000
MOST_VALUE = 64 * 2**20  # bytes of one row


def open_to_write(folder: Path) -> sqlite3.Connection:
    """Open the store of ``folder`` for writing, created or migrated if need be.

    Many processes may write, each with a connection of theirs. SQLite's write-ahead log with synchronous=FULL has
    a transaction on disk when it ends, and lets readers read meanwhile.

    Raises:
        RunError: the file cannot be written, is damaged, or is no store of this version.
    """
    path = folder / FILE
    _require_files(path)
    with faults(path):
        connection = _connect(f"{_uri(path)}?mode=rwc")
        try:
            _check(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            _migrate(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def open_to_read(folder: Path) -> sqlite3.Connection:
    """Open the store of ``folder`` read-only, even in a folder that is read-only.

    A store of an earlier format is migrated first. One that another process is creating this moment reads as empty.

    Raises:
        RunError: the file is not there, cannot be read, is damaged, or is no store of this version.
    """
    path = folder / FILE
    _require_files(path)
    if not path.is_file():
        raise RunError(
            f"file not found: {str(path)!r}, the store that lies beside the folders of runs; give their folder"
        )
    with faults(path):
        # Even a reader of a write-ahead log makes its index (runs.sqlite-shm) beside the file; where it may not,
        # "immutable" reads the file without the log.
        for option in ("mode=ro", "immutable=1"):
            connection = _connect(f"{_uri(path)}?{option}")
            connection.text_factory = _text
            if hasattr(connection, "setlimit"):  # from Python 3.11 on
                connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_VALUE)
            try:
                version = _check(connection, path)
                if version == len(MIGRATIONS):
                    return connection
                connection.close()
                if version:
                    open_to_write(folder).close()
                    return open_to_read(folder)
                return _empty()
            except sqlite3.OperationalError as error:
                connection.close()
                if option != "mode=ro" or not _forbidden(error):
                    raise
            except BaseException:
                connection.close()
                raise
    raise AssertionError("unreachable")


def fetch(connection: sqlite3.Connection, path: Path, sql: str, values: Sequence[Any]) -> list[sqlite3.Row]:
    """Return the rows of a query, within bounds of time and number.

    Args:
        connection: one of ``open_to_read``.
        path: the store's file, for messages.
        sql: the query.
        values: of its parameters.

    Raises:
        RunError: the store is damaged, or its rows take too long or are too many to be those of runs.
    """
    end = time.monotonic() + QUERY_SECONDS
    # Asked every 100,000 steps of SQLite's virtual machine, about a millisecond; true interrupts the query.
    connection.set_progress_handler(lambda: time.monotonic() > end, 100_000)
    with faults(path):
        rows = connection.execute(sql, values).fetchmany(MOST_ROWS + 1)
    if len(rows) > MOST_ROWS:
        raise RunError(f"the store {str(path)!r} has more than {MOST_ROWS:,} rows for one run; it is damaged")
    return rows


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """Run the block as one transaction: all of it or nothing, and on disk at the end.

    Args:
        connection: one of ``open_to_write``.
        path: the store's file, for messages.

    Raises:
        RunError: the store is locked, full, damaged or not writable.
    """
    with faults(path):
        # Waits for another writer here, rather than fails at the first write.
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite itself rolls back where the disk is full
                connection.execute("ROLLBACK")
            raise


@contextmanager
def faults(path: Path) -> Iterator[None]:
    """Turn an error of SQLite in the block into a RunError that says what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise RunError(_advice(error, path)) from error


def _advice(error: sqlite3.DatabaseError, path: Path) -> str:
    text, name = str(error), f"the store {str(path)!r}"
    if "locked" in text or "busy" in text:
        return f"{name} has been held by another process for {BUSY_SECONDS:g} seconds; wait for it, or end it"
    if "interrupted" in text:
        return f"{name} took more than {QUERY_SECONDS:g} seconds to answer; it is damaged, or on a disk that is busy"
    if "full" in text:
        return f"{name} cannot grow, the disk is full; free some space"
    if _forbidden(error):
        return f"{name} cannot be opened or written ({text}); check its permissions and those of its folder"
    if "not a database" in text or "malformed" in text:
        return f"{name} is damaged ({text}); the runs' folders are untouched; move it away to start a new one"
    if "too big" in text:
        return f"{name} has a row of more than {MOST_VALUE:,} bytes, which trace-robot does not write"
    return f"{name}: {text}; check the disk"


def _forbidden(error: sqlite3.DatabaseError) -> bool:
    return "readonly" in str(error) or "unable to open" in str(error)


def _uri(path: Path) -> str:
    return path.absolute().as_uri()


def _require_files(path: Path) -> None:
    """Refuse a store that is a link, a pipe or a device, and such a log of one."""
    for end in ("", "-wal", "-shm", "-journal"):
        try:
            require_regular(path.with_name(f"{FILE}{end}"))
        except OSError as error:
            raise RunError(
                f"cannot open {error.filename!r}: {error.strerror}; give the folder with the store"
            ) from error


def _text(data: bytes) -> Any:
    """Return a text, or bytes that are none: the row is refused then, not the table."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _connect(uri: str) -> sqlite3.Connection:
    # isolation_level=None leaves BEGIN and COMMIT to this module: sqlite3 itself would begin no transaction before a
    # CREATE TABLE, and a migration would not be undone as a whole.
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    # No functions with side effects in what a stranger defined, and damaged pages are found before they are read.
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    # Off by default, and a setting of the connection rather than of the file.
    connection.execute("PRAGMA foreign_keys = ON")
    connection.row_factory = sqlite3.Row
    return connection


def _empty() -> sqlite3.Connection:
    connection = _connect("file::memory:")
    _migrate(connection)
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> int:
    """Return the format's version, 0 for a file without tables.

    Raises:
        RunError: the database is of another program, or of a later version of this one.
    """
    connection.execute("BEGIN")  # three reads of one moment: another process may be creating the tables
    try:
        application, version = (_pragma(connection, name) for name in ("application_id", "user_version"))
        schema = connection.execute("SELECT * FROM sqlite_master").fetchmany(1000)
    finally:
        connection.execute("ROLLBACK")
    if application != APPLICATION and (application or version or schema):
        raise RunError(f"{str(path)!r} is a database of something else; move it away, or give another --out")
    if version > len(MIGRATIONS):
        raise RunError(
            f"the store {str(path)!r} was written by a later trace-robot (format {version}, this one knows"
            f" {len(MIGRATIONS)}); upgrade with: pip install --upgrade trace-robot"
        )
    if version:
        try:
            require_tables(schema, MIGRATIONS[:version])
        except ValueError as error:
            raise RunError(f"the store {str(path)!r} {error}; it is damaged, or of something else") from error
    return version


def _migrate(connection: sqlite3.Connection) -> None:
    """Run the migrations that are missing, in one transaction."""
    if _pragma(connection, "user_version") == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # The version is read again inside of the transaction: another process may have migrated meanwhile.
        for script in MIGRATIONS[_pragma(connection, "user_version") :]:
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """Yield a script's statements.

    sqlite3's own ``executescript`` would commit the open transaction first.
    """
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


VERSION_1 = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,           -- of the run's folder, which lies beside this file
    task TEXT NOT NULL,
    policy TEXT NOT NULL,
    optimizer TEXT NOT NULL,
    feedback TEXT NOT NULL,
    control TEXT NOT NULL,
    seed NOT NULL,
    why TEXT NOT NULL,                   -- the reason for this optimizer
    settings TEXT NOT NULL,              -- JSON
    choice TEXT,                         -- JSON: how to make the optimizer again; NULL if a program handed it over
    environment TEXT NOT NULL,           -- JSON: the TaskSpec
    versions TEXT NOT NULL,              -- JSON
    source TEXT NOT NULL,                -- the starting controller's file as it was read
    status TEXT NOT NULL CHECK (status IN ('running', 'stopped', 'failed', 'finished')),
    ended TEXT NOT NULL DEFAULT '',      -- why
    started REAL NOT NULL,               -- seconds since 1970
    updated REAL NOT NULL,
    seconds REAL NOT NULL DEFAULT 0,     -- spent on optimizing, over all its processes
    candidates INTEGER NOT NULL DEFAULT 0,
    environment_steps INTEGER NOT NULL DEFAULT 0,
    model_calls INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    money REAL,                          -- NULL where no prices were given
    result TEXT                          -- JSON: what result.json holds
);

CREATE TABLE candidates (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    position INTEGER NOT NULL,           -- in the order in which they were tried
    id INTEGER NOT NULL,
    parent INTEGER,
    origin TEXT NOT NULL,
    note TEXT NOT NULL,
    success REAL,
    score REAL,
    controller TEXT,                     -- the text that ran, or NULL where
    program BLOB,                        -- a staged program ran: compressed JSON
    PRIMARY KEY (run, position)
) WITHOUT ROWID;

CREATE TABLE iterations (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    number INTEGER NOT NULL,
    candidate INTEGER NOT NULL,
    candidate_parent INTEGER,
    origin TEXT NOT NULL,
    note TEXT NOT NULL,
    success REAL,
    score REAL,
    reward REAL,                         -- mean total reward of an episode
    better INTEGER NOT NULL,             -- whether it became the best so far
    controller TEXT NOT NULL,
    feedback TEXT NOT NULL,
    seconds REAL NOT NULL,               -- this and the following: spent so far
    candidates INTEGER NOT NULL,
    environment_steps INTEGER NOT NULL,
    model_calls INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    money REAL,
    PRIMARY KEY (run, number)
);

CREATE TABLE episodes (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    owner TEXT NOT NULL CHECK (owner IN ('candidate', 'iteration', 'held out')),
    number INTEGER NOT NULL,             -- of the owner: position, number, 0
    position INTEGER NOT NULL,
    seed NOT NULL,
    ended TEXT NOT NULL,
    steps INTEGER NOT NULL,
    decisions INTEGER NOT NULL,
    reward REAL,
    fault TEXT,                          -- JSON
    PRIMARY KEY (run, owner, number, position)
) WITHOUT ROWID;

CREATE TABLE attempts (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    position INTEGER NOT NULL,           -- in the order in which a model was asked
    iteration INTEGER,                   -- the next one that was written down; NULL where there was none
    kind TEXT NOT NULL,
    messages TEXT NOT NULL,              -- JSON
    reply TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    problems TEXT NOT NULL,              -- JSON
    candidate INTEGER,
    reasoning TEXT NOT NULL,
    PRIMARY KEY (run, position)
);

CREATE TABLE recordings (                -- the most telling episode of an iteration
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    iteration INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (run, iteration)
);

CREATE TABLE graphs (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    iteration INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (run, iteration)
);

CREATE TABLE journal (                   -- all that came from outside, in order, for deterministic replay
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('episodes', 'replies', 'no answer', 'time over')),
    request TEXT NOT NULL,               -- a hash of what was asked for
    seconds REAL NOT NULL,               -- spent when it came
    data BLOB NOT NULL,
    PRIMARY KEY (run, number)
);
"""

MIGRATIONS = (VERSION_1,)  # the version of a store, its user_version, is how many of these it has run
