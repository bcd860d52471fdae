"""Records of the store as frozen data: runs, iterations, episodes, attempts.

``trace_robot.store.history.History`` reads them. Texts in them come from a model or from a policy's file: escape them
before they reach a page or a terminal. What tables and values may be is checked here too.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from trace_robot.errors import RunError, TraceRobotError
from trace_robot.safe_files import load_json
from trace_robot.stats import Score as Score  # of a run here
from trace_robot.stats import steps_text

Status = Literal["running", "stopped", "failed", "finished"]
STATUSES: tuple[Status, ...] = get_args(Status)
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One run: its settings, its status, its scores and what it cost.

    Attributes:
        id: its number in the store.
        name: the name of its folder.
        seed: the seed of the run, from which those of its episodes follow.
        why: the reason for this optimizer.
        status: "running" while a process holds the run's lock; "stopped" where that process was interrupted or
            killed; "failed" with an error; "finished".
        ended: why it ended, "" while it has not.
        started, updated: seconds since 1970, UTC.
        seconds: wall-clock time spent on optimizing, over all its processes.
        iterations: the number that were recorded, the start not counted.
        best_iteration: the number of the best one; None before the first.
        money: in the unit of the prices; None where none were given.
        start, training: scores of the starting and of the best controller on their training seeds.
        held_out: score of the best controller on held-out seeds; None before the end.
        settings: the fields of ``Settings``.
        environment: the fields of ``TaskSpec``.
        result: what result.json holds; None before the end.
    """

    id: int
    name: str
    folder: Path
    task: str
    policy: str
    optimizer: str
    feedback: str
    control: str
    seed: int
    why: str
    status: Status
    ended: str
    started: float
    updated: float
    seconds: float
    iterations: int
    best_iteration: int | None
    candidates: int
    environment_steps: int
    model_calls: int
    prompt_tokens: int
    completion_tokens: int
    money: float | None
    start: Score | None
    training: Score | None
    held_out: Score | None
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]
    versions: Mapping[str, str]
    result: Mapping[str, Any] | None = None

    @property
    def tokens(self) -> int:
        """Tokens of all prompts and replies."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def simulator_steps(self) -> str:
        """Simulator steps as text, which says whether held-out episodes are counted."""
        steps = (self.result or {}).get("environment_steps")
        if isinstance(steps, int) and 0 <= steps < self.environment_steps:
            return steps_text(steps, among="without")
        return steps_text(
            self.environment_steps, among="with" if self.result else ""
        )  # "with" in runs of 0.1.0


@dataclass(frozen=True, slots=True)
class EpisodeInfo:
    """How one episode ended.

    Attributes:
        ended: "success", "terminated", "time" or "error".
        steps: control steps of the simulator.
        decisions: calls of the controller.
        reward: the total; nan where the environment gave no finite one.
        fault: category, message and line, of an error.
    """

    seed: int
    ended: str
    steps: int
    decisions: int
    reward: float
    fault: Mapping[str, Any] | None = None

    @property
    def success(self) -> bool:
        """Whether the episode reached its goal."""
        return self.ended == "success"


@dataclass(frozen=True, slots=True)
class IterationInfo:
    """A controller that was recorded, its scores and the run's cost by then.

    Attributes:
        number: 0 for the starting controller.
        parent: the iteration that was the best until then, with which this one is compared; None for the start.
        candidate: the id of the candidate.
        candidate_parent: the id of the candidate it was made from.
        origin: who proposed it: "start", "model", "search", ...
        note: the proposer's summary of the change.
        reward: the mean total reward of an episode.
        better: whether it became the best so far.
        parent_controller: the text of ``parent``, "" for the start.
        video: None where there is no file.
        seconds, candidates, environment_steps, model_calls, prompt_tokens, completion_tokens, money: the run's cost
            so far.
    """

    number: int
    parent: int | None
    candidate: int
    candidate_parent: int | None
    origin: str
    note: str
    success: float
    score: float
    reward: float
    better: bool
    controller: str
    parent_controller: str
    feedback: str
    episodes: tuple[EpisodeInfo, ...]
    video: Path | None
    seconds: float
    candidates: int
    environment_steps: int
    model_calls: int
    prompt_tokens: int
    completion_tokens: int
    money: float | None

    @property
    def digest(self) -> str:
        """The SHA-256 of the controller's text."""
        # backslashreplace: a model's text may hold lone surrogates, which UTF-8 refuses.
        return hashlib.sha256(self.controller.encode("utf-8", "backslashreplace")).hexdigest()

    @property
    def tokens(self) -> int:
        """Tokens of all prompts and replies so far."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class AttemptInfo:
    """One prompt to a model, its reply, and whether that became a candidate.

    Attributes:
        iteration: the next one that was recorded after it; None where there was none.
        kind: "proposal", "repair" or "no answer".
        messages: the prompt, each message with "role" and "content".
        problems: why the reply could not be used.
        candidate: the id of the candidate it became; None where it became none.
    """

    iteration: int | None
    kind: str
    messages: tuple[Mapping[str, str], ...]
    reply: str
    reasoning: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    problems: tuple[str, ...]
    candidate: int | None


@dataclass(frozen=True, slots=True)
class CandidateInfo:
    """A candidate that was evaluated, and the id of the one it was made from."""

    id: int
    parent: int | None
    origin: str
    note: str
    success: float
    score: float


LARGEST_COUNT = 2**53  # beyond it a float no longer counts
BEFORE = -1  # in the place of an iteration: the start on the condition that the best one shows
LATEST = 32_503_680_000.0  # the year 3000, in seconds since 1970
LONGEST_NAME, LONGEST_SEED = 255, 100  # bytes of a file's name; digits


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Turn any error of reading a row in the block into a RunError of one line."""
    try:
        yield
    except TraceRobotError:
        raise
    except Exception as error:  # bytes from a stranger: numpy, zipfile and json raise what they like
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise RunError(
            f"{what} cannot be read, trace-robot has not written it like this ({reason})"
        ) from error


def is_run_name(name: Any) -> bool:
    """Return whether this can name a run's folder: one part of a path."""
    return (
        isinstance(name, str)
        and name not in ("", ".", "..")
        and not {"/", "\0", os.sep} & set(name)
        and len(name.encode("utf-8", "replace")) <= LONGEST_NAME
    )


def require_tables(schema: Sequence[sqlite3.Row], scripts: tuple[str, ...]) -> None:
    """Refuse a database with views or triggers, or with tables of another form.

    A view may run for ever. Further tables do no harm: programs that copy databases make some.

    Args:
        schema: the rows of sqlite_master.
        scripts: the SQL that makes the tables that are used.

    Raises:
        ValueError: it has them.
    """
    tables = _tables(scripts)
    if len(schema) > 500:
        raise ValueError("has more than 500 tables")
    for row in schema:
        table = row["type"] == "table" and not str(row["sql"]).upper().startswith("CREATE VIRTUAL")
        index = row["type"] == "index" and (row["sql"] is None or row["tbl_name"] not in tables)
        if not (table or index):
            raise ValueError(f"has a {row['type']} {row['name']!r:.80}, which trace-robot does not make")
    found = {
        row["name"]: _plain_sql(str(row["sql"]))  # where a page is damaged, it may be of any type
        for row in schema
        if row["type"] == "table" and row["name"] in tables
    }
    if found != tables:
        raise ValueError("has tables of another form than trace-robot makes")


@cache
def _tables(scripts: tuple[str, ...]) -> dict[str, str]:
    """Return the statement of every table that scripts make, by the table's name."""
    connection = sqlite3.connect(":memory:")
    try:
        for script in scripts:
            connection.executescript(script)
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
        return {name: _plain_sql(sql) for name, sql in rows}
    finally:
        connection.close()


def _plain_sql(sql: str) -> str:
    """Return a statement without comments, which differ in the first stores."""
    return " ".join(re.sub(r"--[^\n]*", "", sql).split())


class CheckedRow:
    """Typed access to a row of the store: SQLite's columns take values of any type.

    Every method raises ValueError for a value that trace-robot does not write.
    """

    def __init__(self, row: Any) -> None:
        self._row = row

    def text(self, name: str) -> str:
        """Return a text."""
        value = self._row[name]
        if not isinstance(value, str):
            raise ValueError(f"{name} must be text, got {type(value).__name__}")
        return value

    def integer(self, name: str, *, optional: bool = False) -> Any:
        """Return a count from 0.

        Args:
            name: of the column.
            optional: None for NULL.
        """
        value = self._row[name]
        if value is None and optional:
            return None
        if type(value) is not int or not 0 <= value <= LARGEST_COUNT:
            raise ValueError(f"{name} must be a count, got {value!r:.80}")
        return value

    def seed(self, name: str) -> int:
        """Return a seed, which beyond 64 bits is stored as text."""
        value = self._row[name]
        if isinstance(value, str) and value.isdecimal() and len(value) <= LONGEST_SEED:
            return int(value)
        if type(value) is not int:
            raise ValueError(f"{name} must be a whole number, got {value!r:.80}")
        return value

    def number(self, name: str) -> float:
        """Return a number, nan for NULL, which is how SQLite stores it."""
        value = self._row[name]
        if value is None:
            return math.nan
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} must be a number, got {type(value).__name__}")
        return float(value)

    def rate(self, name: str) -> float:
        """Return a success rate from 0 to 1, nan for NULL."""
        value = self.number(name)
        if not (math.isnan(value) or 0 <= value <= 1):
            raise ValueError(f"{name} must be from 0 to 1, got {value!r}")
        return value

    def amount(self, name: str, most: float = LARGEST_COUNT) -> float:
        """Return a finite number from 0 on, such as seconds.

        Args:
            name: of the column.
            most: the largest.
        """
        value = self.number(name)
        if not 0 <= value <= most:
            raise ValueError(f"{name} must be from 0 to {most:g}, got {value!r}")
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        """Return a JSON object."""
        value = load_json(self.text(name))
        if not isinstance(value, dict):
            raise ValueError(f"{name} must be a JSON object, got {type(value).__name__}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a JSON list of texts."""
        value = load_json(self.text(name))
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise ValueError(f"{name} must be a JSON list of texts")
        return tuple(value)

    def messages(self, name: str) -> tuple[Mapping[str, str], ...]:
        """Return the messages of a prompt."""
        value = load_json(self.text(name))
        if not isinstance(value, list) or not all(
            isinstance(each, dict)
            and isinstance(each.get("role"), str)
            and isinstance(each.get("content"), str)
            for each in value
        ):
            raise ValueError(f"{name} must be a JSON list of messages with role and content")
        return tuple(value)

    def fault(self, name: str) -> Mapping[str, Any] | None:
        """Return an episode's fault, None without one."""
        if not self._row[name]:
            return None
        value = self.mapping(name)
        line = value.get("line")
        if not isinstance(value.get("category"), str) or not isinstance(value.get("message"), str):
            raise ValueError(f"{name} must have category and message as texts")
        if line is not None and type(line) is not int:
            raise ValueError(f"line of {name} must be a number, got {type(line).__name__}")
        return value
