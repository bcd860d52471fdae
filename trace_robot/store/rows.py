"""Rows of the store: what each record of a run becomes in its table.

Column names, and the JSON and bytes in them, are a published format; see ``trace_robot.store.database``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trace_robot.errors import RunError
from trace_robot.optimizers.problem import Attempt
from trace_robot.rollout.episode import Episode
from trace_robot.rollout.evaluation import Evaluation
from trace_robot.settings import Settings, versions
from trace_robot.spec import TaskSpec
from trace_robot.store.codec import encode_json
from trace_robot.store.folder import plain_json
from trace_robot.store.records import CheckedRow

LARGEST = 2**63  # SQLite's integers have 64 bits with a sign


@dataclass(frozen=True, slots=True)
class RunHeader:
    """What a run begins with, which is all that it takes to begin it again.

    Attributes:
        source: the text of the policy's file; a later edit of the file does not matter.
        why: the reason for this optimizer.
        choice: how the optimizer was made, as plain data; None where a program handed it over.
        versions: of the packages it was begun with.
        own: whether this user began the run; see ``remember_run``.
        python: the environment's interpreter, where this user gave it to go on with the run; it is not stored here.
    """

    settings: Settings
    spec: TaskSpec
    source: str
    why: str = ""
    choice: Mapping[str, Any] | None = None
    versions: Mapping[str, str] = field(default_factory=versions)
    own: bool = True
    python: str | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run has cost so far, money where prices were given."""

    seconds: float = 0.0
    candidates: int = 0
    environment_steps: int = 0
    model_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: float | None = None


def insert(connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> int:
    """Insert a row, unless one with its key is there.

    Args:
        connection: one of ``open_to_write``, in a transaction.
        table: a table of the schema.
        row: {column: value}; the names are not escaped.

    Returns:
        The row's id, where the table has one.
    """
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    # OR IGNORE, since a replay enters every row of the run again.
    sql = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"
    return connection.execute(sql, [storable(value) for value in row.values()]).lastrowid or 0


def storable(value: Any) -> Any:
    """Return a value that SQLite can store.

    Half surrogate pairs, which a model's reply can hold, are escaped. Integers beyond 64 bits, as a seed can be, become
    text.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and not -LARGEST <= value < LARGEST:
        return str(value)
    return value


def run_row(name: str, header: RunHeader) -> dict[str, Any]:
    """Return the row of a run that begins now.

    Args:
        name: of the run's folder.
        header: what it begins with.
    """
    settings, now = header.settings, time.time()
    return {
        "name": name,
        "task": settings.task,
        "policy": settings.policy,
        "optimizer": settings.optimizer,
        "feedback": settings.feedback,
        "control": header.spec.control,
        "seed": settings.seed,
        "why": header.why,
        "settings": plain_json(settings.to_data()),
        "choice": None if header.choice is None else plain_json(header.choice),
        "environment": plain_json(header.spec.to_data()),
        "versions": plain_json(header.versions),
        "source": header.source,
        "status": "running",
        "started": now,
        "updated": now,
    }


def header_of(row: sqlite3.Row) -> RunHeader:
    """Return the header that ``run_row`` stored."""
    checked = CheckedRow(row)
    try:
        settings = Settings.from_data(checked.mapping("settings"))
        spec = TaskSpec.from_data(checked.mapping("environment"))
        choice = None if row["choice"] is None else checked.mapping("choice")
        source, why, packages = checked.text("source"), checked.text("why"), checked.mapping("versions")
    except (TypeError, ValueError, KeyError) as error:
        raise RunError(
            f"the run {row['name']!r} has settings that this version of trace-robot does not know: {error}"
        ) from error
    return RunHeader(settings, spec, source, why, choice, packages, is_own_run(row))


# Whether this user began a run is known by a list in the user's own folder, which no store can write: a line for each
# run, the hash of all that it starts from. Runs of another person, of another machine and of 0.1 are not on it.
BEGUN = "runs-begun.txt"
IDENTITY = ("started", "settings", "choice", "environment", "source")


def remember_run(row: Mapping[str, Any]) -> None:
    """Note that this user begins a run, given its row.

    Nothing is noted where there is no folder for it.
    """
    with suppress(OSError, RuntimeError):  # without the note, ``resume`` asks first
        folder = _state_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(folder / BEGUN, "a", encoding="ascii") as file:
            file.write(_identity(row) + "\n")


def is_own_run(row: Any) -> bool:
    """Return whether this user began the run of a row on this machine."""
    try:
        return _identity(row) in (_state_folder() / BEGUN).read_text(encoding="ascii").splitlines()
    except (OSError, RuntimeError, UnicodeError):
        return False


def _state_folder() -> Path:
    """Return where programs keep their state (XDG Base Directory Specification)."""
    given = os.environ.get("XDG_STATE_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".local" / "state") / "trace-robot"


def _identity(row: Any) -> str:
    values = [storable(row[name]) for name in IDENTITY]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def candidate_row(trial: Evaluation) -> dict[str, Any]:
    """Return a candidate's row: its text, or its data for a program or a law."""
    program = trial.candidate.program
    return {
        "id": trial.candidate.id,
        "parent": trial.candidate.parent,
        "origin": trial.candidate.origin,
        "note": trial.candidate.note,
        "success": trial.outcome.success,
        "score": trial.outcome.score,
        "controller": trial.text if program is None else None,
        "program": None if program is None else encode_json(program),
    }


def iteration_row(trial: Evaluation) -> dict[str, Any]:
    """Return the row of an iteration, without its number and its cost."""
    return {
        "candidate": trial.candidate.id,
        "candidate_parent": trial.candidate.parent,
        "origin": trial.candidate.origin,
        "note": trial.candidate.note,
        "success": trial.outcome.success,
        "score": trial.outcome.score,
        "reward": sum(episode.total_reward for episode in trial.episodes) / len(trial.episodes),
        "controller": trial.text,
        "feedback": trial.outcome.feedback,
    }


def episode_row(episode: Episode) -> tuple[Any, ...]:
    """Return the columns of an episode from ``seed`` on, in the order of the table."""
    fault = None if episode.fault is None else json.dumps(dataclasses.asdict(episode.fault))
    seed = storable(episode.seed)
    return seed, episode.ended, episode.steps, episode.decisions, episode.total_reward, fault


def attempt_row(attempt: Attempt) -> dict[str, Any]:
    """Return the row of a prompt and its reply."""
    # json.dumps writes ASCII, in which half surrogate pairs come back as they were; a column of text cannot hold them.
    reply = attempt.reply
    return {
        "kind": attempt.kind,
        "messages": json.dumps([dict(message) for message in attempt.messages]),
        "reply": reply.text,
        "finish_reason": reply.finish_reason,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "problems": json.dumps(list(attempt.problems)),
        "candidate": attempt.candidate,
        "reasoning": attempt.reasoning,
    }
