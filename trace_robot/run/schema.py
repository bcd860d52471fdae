"""What the store of runs holds, in SQL: one script a format, each bringing the one before up to date.

Rows are written once and not changed, but for those of ``runs``. JSON is plain data as text; ``data`` of recordings
is what ``trace_robot.run.codec`` writes, ``data`` of graphs and journal entries compressed JSON or the same.
"""

from __future__ import annotations

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
