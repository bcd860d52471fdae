"""Opening the store of a folder of runs: one SQLite file, checked, and brought up to date when it is written to."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trace_robot.errors import RunError

FILE = "runs.sqlite"
APPLICATION = 0x54726F62  # "Trob", in the file's header
BUSY_SECONDS = 10.0


def open_to_write(folder: Path) -> sqlite3.Connection:
    """Return a connection to the store of ``folder``, made if there is none; many processes may have one each.

    What a transaction wrote is on disk when it ends (write-ahead log, synchronous=FULL).
    """
    path = folder / FILE
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
    """Return a connection that cannot change anything; also where nothing may be written beside the file.

    A store of an earlier format is brought up to date first; one that was only just made is empty.
    """
    path = folder / FILE
    if not path.is_file():
        raise RunError(
            f"file not found: {str(path)!r}, the store that lies beside the folders of runs; give their folder"
        )
    with faults(path):
        for option in ("mode=ro", "immutable=1"):  # the second where no index of the log may be made
            connection = _connect(f"{_uri(path)}?{option}")
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


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """All of it or nothing, and on disk at the end."""
    with faults(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextmanager
def faults(path: Path) -> Iterator[None]:
    """Turn what SQLite complains about into one line that says what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise RunError(_words(error, path)) from error


def _words(error: sqlite3.DatabaseError, path: Path) -> str:
    text, name = str(error), f"the store {str(path)!r}"
    if "locked" in text or "busy" in text:
        return f"{name} has been held by another process for {BUSY_SECONDS:g} seconds; wait for it, or end it"
    if "full" in text:
        return f"{name} cannot grow, the disk is full; free some space"
    if _forbidden(error):
        return f"{name} cannot be opened or written ({text}); check its permissions and those of its folder"
    if "not a database" in text or "malformed" in text:
        return f"{name} is damaged ({text}); the runs' folders are untouched; move it away to start a new one"
    return f"{name}: {text}; check the disk"


def _forbidden(error: sqlite3.DatabaseError) -> bool:
    return "readonly" in str(error) or "unable to open" in str(error)


def _uri(path: Path) -> str:
    return path.absolute().as_uri()


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.row_factory = sqlite3.Row
    return connection


def _empty() -> sqlite3.Connection:
    connection = _connect("file::memory:")
    _migrate(connection)
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> int:
    """Return the format, 0 for none yet; raise RunError for a database of something else, or a later version's."""
    connection.execute("BEGIN")  # all from one moment: another process may be making it
    try:
        application, version = (_pragma(connection, name) for name in ("application_id", "user_version"))
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    finally:
        connection.execute("ROLLBACK")
    if application != APPLICATION and (application or version or tables):
        raise RunError(f"{str(path)!r} is a database of something else; move it away, or give another --out")
    if version > len(MIGRATIONS):
        raise RunError(
            f"the store {str(path)!r} was written by a later trace-robot (format {version}, this one knows"
            f" {len(MIGRATIONS)}); upgrade with: pip install --upgrade trace-robot"
        )
    return version


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the store up to date, in one transaction; another process may have been quicker."""
    if _pragma(connection, "user_version") == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
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
    """Yield one statement after another; ``executescript`` would end the transaction first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


FIRST = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,           -- of the run's folder, which lies beside this file
    task TEXT NOT NULL,
    policy TEXT NOT NULL,
    optimizer TEXT NOT NULL,
    feedback TEXT NOT NULL,
    control TEXT NOT NULL,
    seed NOT NULL,
    why TEXT NOT NULL,                   -- this optimizer, in words
    settings TEXT NOT NULL,              -- JSON
    choice TEXT,                         -- JSON: how to make the optimizer again; NULL if it was given by a program
    environment TEXT NOT NULL,           -- JSON: what the environment says about itself
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

CREATE TABLE journal (                   -- all that came from outside, in order: what a resumed run hears again
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('episodes', 'replies', 'no answer', 'time over')),
    request TEXT NOT NULL,               -- a hash of what was asked for
    seconds REAL NOT NULL,               -- spent when it came
    data BLOB NOT NULL,
    PRIMARY KEY (run, number)
);
"""

MIGRATIONS = (FIRST,)
