"""Writes runs into the store: what ``trace_robot.store.history`` reads, and the journal a run can go on from."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from trace_robot.errors import RunError
from trace_robot.rollout.feedback import representative
from trace_robot.settings import Result, Settings
from trace_robot.spec import TaskSpec
from trace_robot.store.codec import Recording, encode_json, encode_recording
from trace_robot.store.database import FILE, faults, open_to_write, transaction
from trace_robot.store.folder import held, plain_json
from trace_robot.store.journal import Journal
from trace_robot.versions import versions

if TYPE_CHECKING:
    from trace_robot.optimizers.optoprime import Attempt
    from trace_robot.rollout.episode import Episode
    from trace_robot.rollout.evaluation import Evaluation
    from trace_robot.store.history import Status

__all__ = ["Cost", "RunHeader", "RunWriter", "Store"]


class Store:
    """The store beside ``folder``'s runs, open for writing; a context manager."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"cannot make the folder {str(folder)!r}: {error.strerror}; give another --out"
            ) from error
        self.folder, self.path = folder, folder / FILE
        self._connection = open_to_write(folder)

    def require_room(self, name: str, *, overwrite: bool = False) -> None:
        """Raise RunError if a new run would take the place of one that goes on, or of one whose folder is gone."""
        folder = self.folder / name
        if held(folder):
            raise RunError(f"another process is at work on the run {str(folder)!r}; give another --out")
        if overwrite or folder.exists():
            return  # what is in a folder is looked at by whoever makes it
        sql = "SELECT EXISTS (SELECT 1 FROM iterations WHERE run = runs.id) FROM runs WHERE name = ?"
        row = self._first(sql, name)
        if row is not None and row[0]:
            raise RunError(
                f"{str(self.path)!r} still holds the run {name!r}, whose folder is gone; look at it with trace-robot"
                " show, give another --out, or --overwrite"
            )

    def begin(self, name: str, beginning: RunHeader) -> RunWriter:
        """Enter a run, in place of an older one of that name."""
        with transaction(self._connection, self.path) as connection:
            connection.execute("DELETE FROM runs WHERE name = ?", (name,))
            run = insert(connection, "runs", run_row(name, beginning))
        return RunWriter(self._connection, self.path, run, beginning)

    def reopen(self, name: str) -> tuple[RunWriter, RunHeader]:
        """Take a run up again; whoever does holds its ``RunLock``."""
        self.require_open(name)
        row = self._first("SELECT * FROM runs WHERE name = ?", name)
        beginning = beginning_of(row)
        return RunWriter(self._connection, self.path, row["id"], beginning), beginning

    def require_open(self, name: str) -> None:
        """Raise RunError unless the run was begun and is not finished."""
        row = self._first("SELECT status, ended FROM runs WHERE name = ?", name)
        if row is None:
            raise RunError(f"{str(self.path)!r} has no run {name!r}; see: trace-robot runs")
        if row["status"] == "finished":
            raise RunError(f"the run {name!r} is finished: {row['ended']}; nothing is left to do")

    def can_go_on(self, name: str) -> bool:
        """Return whether a run was begun and is not finished."""
        row = self._first("SELECT status FROM runs WHERE name = ?", name)
        return row is not None and row["status"] != "finished"

    def forget(self, name: str) -> None:
        """Take a run out of the store."""
        with transaction(self._connection, self.path) as connection:
            connection.execute("DELETE FROM runs WHERE name = ?", (name,))

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _first(self, sql: str, *values: Any) -> Any:
        with faults(self.path):
            return self._connection.execute(sql, values).fetchone()


class RunWriter:
    """One run's rows. What a method was given is on disk when it returns; given again, it is left as it was."""

    def __init__(self, connection: sqlite3.Connection, path: Path, run: int, beginning: RunHeader) -> None:
        self._connection, self._path, self._run, self._spec = connection, path, run, beginning.spec
        self.versions = beginning.versions
        self.journal = Journal(connection, path, run)
        self._candidates = self._attempts = 0

    def log(self, trials: Sequence[Evaluation], spent: Cost) -> None:
        """Enter what was tried."""
        with self._writing(spent) as connection:
            for position, trial in enumerate(trials, self._candidates):
                insert(
                    connection, "candidates", {"run": self._run, "position": position, **candidate_row(trial)}
                )
                self._enter_episodes("candidate", position, trial.episodes)
        self._candidates += len(trials)

    def iteration(
        self, number: int, trial: Evaluation, attempts: Sequence[Attempt], spent: Cost, *, better: bool
    ) -> None:
        """Enter an iteration; ``attempts``: what a model was asked on the way."""
        telling = trial.episodes[representative(trial.episodes)]
        with self._writing(spent) as connection:
            row = {"run": self._run, "number": number, "better": better, **iteration_row(trial)}
            insert(connection, "iterations", row | dataclasses.asdict(spent))
            self._enter_episodes("iteration", number, trial.episodes)
            self._enter_attempts(attempts, number)
            recording = Recording(telling.seed, paths(telling, self._spec), telling.scene, telling.states)
            if recording.positions or recording.states is not None:
                data = encode_recording(recording)
                insert(connection, "recordings", {"run": self._run, "iteration": number, "data": data})
            if trial.outcome.graph:
                data = encode_json([dict(record) for record in trial.outcome.graph])
                insert(connection, "graphs", {"run": self._run, "iteration": number, "data": data})
        self._attempts += len(attempts)

    def finish(
        self, result: Result, held_out: Sequence[Episode], attempts: Sequence[Attempt], spent: Cost
    ) -> None:
        """Enter the end; the journal, of which everything is in its place by now, is done with."""
        with self._writing(spent) as connection:
            self._enter_episodes("held out", 0, held_out)
            self._enter_attempts(attempts, None)
            connection.execute("DELETE FROM journal WHERE run = ?", (self._run,))
            self._set(status="finished", ended=result.ended, result=plain_json(dataclasses.asdict(result)))

    def enter(self, status: Status, ended: str = "") -> None:
        """Enter that the run goes on, or that it did not come to its end: "stopped" or "failed", and why."""
        with transaction(self._connection, self._path):
            self._set(status=status, ended=ended, updated=time.time())

    @contextmanager
    def _writing(self, spent: Cost) -> Iterator[sqlite3.Connection]:
        """A transaction; it also brings the run's totals up to date, unless they are still being heard again."""
        with transaction(self._connection, self._path) as connection:
            yield connection
            if not self.journal.replaying:
                self._set(updated=time.time(), **dataclasses.asdict(spent))

    def _set(self, **values: Any) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        row = [storable(value) for value in values.values()]
        self._connection.execute(f"UPDATE runs SET {names} WHERE id = ?", [*row, self._run])

    def _enter_episodes(self, owner: str, number: int, episodes: Iterable[Episode]) -> None:
        rows = [
            (self._run, owner, number, position, storable(e.seed), e.ended, e.steps, e.decisions, e.total_reward,
             None if e.fault is None else json.dumps(dataclasses.asdict(e.fault)))
            for position, e in enumerate(episodes)
        ]  # fmt: skip
        self._connection.executemany(
            "INSERT OR IGNORE INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
        )

    def _enter_attempts(self, attempts: Sequence[Attempt], iteration: int | None) -> None:
        for position, attempt in enumerate(attempts, self._attempts):
            row = {"run": self._run, "position": position, "iteration": iteration, **attempt_row(attempt)}
            insert(self._connection, "attempts", row)


LARGEST = 2**63


@dataclass(frozen=True, slots=True)
class RunHeader:
    """What a run begins with, enough to begin it again.

    source: the text of the policy's file. why: this optimizer, in words. choice: how it was made, None where a
    program handed it over. versions: of what it was begun with.
    """

    settings: Settings
    spec: TaskSpec
    source: str
    why: str = ""
    choice: Mapping[str, Any] | None = None
    versions: Mapping[str, str] = field(default_factory=versions)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run has cost so far. money: None where no prices were given."""

    seconds: float = 0.0
    candidates: int = 0
    environment_steps: int = 0
    model_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: float | None = None


def paths(episode: Episode, spec: TaskSpec) -> dict[str, Any]:
    """Return the path of every named position, (T + 1, 3), from an episode that brought its observations."""
    if not episode.observations.size:
        return {}
    starts = {part.name: part.start for part in spec.observation}
    return {name: episode.observations[:, starts[name] : starts[name] + 3] for name in spec.positions}


def insert(connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> int:
    """Insert a row, unless it is there; return its id."""
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    sql = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"
    return connection.execute(sql, [storable(value) for value in row.values()]).lastrowid or 0


def storable(value: Any) -> Any:
    """Return what SQLite can keep: no half characters, no integer of more than 64 bits."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and not -LARGEST <= value < LARGEST:
        return str(value)
    return value


def run_row(name: str, beginning: RunHeader) -> dict[str, Any]:
    settings, now = beginning.settings, time.time()
    return {
        "name": name, "task": settings.task, "policy": settings.policy, "optimizer": settings.optimizer,
        "feedback": settings.feedback, "control": beginning.spec.control, "seed": settings.seed,
        "why": beginning.why, "settings": plain_json(dataclasses.asdict(settings)),
        "choice": None if beginning.choice is None else plain_json(beginning.choice),
        "environment": plain_json(dataclasses.asdict(beginning.spec)), "versions": plain_json(beginning.versions),
        "source": beginning.source, "status": "running", "started": now, "updated": now,
    }  # fmt: skip


def beginning_of(row: sqlite3.Row) -> RunHeader:
    """Read back what ``run_row`` wrote."""
    try:
        settings = Settings.from_data(json.loads(row["settings"]))
        spec = TaskSpec.from_data(json.loads(row["environment"]))
    except (TypeError, ValueError, KeyError) as error:
        raise RunError(
            f"the run {row['name']!r} has settings that this version of trace-robot does not know: {error}"
        ) from error
    choice = None if row["choice"] is None else json.loads(row["choice"])
    return RunHeader(settings, spec, row["source"], row["why"], choice, json.loads(row["versions"]))


def candidate_row(trial: Evaluation) -> dict[str, Any]:
    program = trial.candidate.program
    return {
        "id": trial.candidate.id, "parent": trial.candidate.parent, "origin": trial.candidate.origin,
        "note": trial.candidate.note, "success": trial.outcome.success, "score": trial.outcome.score,
        "controller": trial.text if program is None else None,
        "program": None if program is None else encode_json(program),
    }  # fmt: skip


def iteration_row(trial: Evaluation) -> dict[str, Any]:
    return {
        "candidate": trial.candidate.id, "candidate_parent": trial.candidate.parent,
        "origin": trial.candidate.origin, "note": trial.candidate.note, "success": trial.outcome.success,
        "score": trial.outcome.score,
        "reward": sum(episode.total_reward for episode in trial.episodes) / len(trial.episodes),
        "controller": trial.text, "feedback": trial.outcome.feedback,
    }  # fmt: skip


def attempt_row(attempt: Attempt) -> dict[str, Any]:
    reply = attempt.reply
    return {
        "kind": attempt.kind, "messages": json.dumps([dict(message) for message in attempt.messages]),
        "reply": reply.text, "finish_reason": reply.finish_reason, "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens, "problems": json.dumps(list(attempt.problems)),
        "candidate": attempt.candidate, "reasoning": attempt.reasoning,
    }  # fmt: skip
