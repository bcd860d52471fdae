"""Writes one run into the store: what ``trace_robot.run.history`` reads, and the journal it can go on from."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trace_robot.errors import RunError
from trace_robot.optimize.optoprime import Attempt
from trace_robot.rollout.episode import Episode
from trace_robot.rollout.feedback import most_telling
from trace_robot.rollout.trial import Trial
from trace_robot.run.codec import Recording, encode_json, encode_recording
from trace_robot.run.database import FILE, faults, open_to_write, transaction
from trace_robot.run.journal import Journal
from trace_robot.run.lock import held
from trace_robot.run.store import plain_json
from trace_robot.settings import Result, Settings
from trace_robot.spec import EnvSpec
from trace_robot.versions import versions

LARGEST = 2**63


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a run begins with, enough to begin it again.

    source: the text of the policy's file. why: this optimizer, in words. choice: how it was made, None where a
    program handed it over.
    """

    settings: Settings
    spec: EnvSpec
    source: str
    why: str = ""
    choice: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has cost so far. money: None where no prices were given."""

    seconds: float = 0.0
    candidates: int = 0
    environment_steps: int = 0
    model_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: float | None = None


class Ledger:
    """One run's rows. What a method was given is on disk when it returns; given again, it is left as it was."""

    def __init__(self, connection: sqlite3.Connection, path: Path, run: int, spec: EnvSpec) -> None:
        self._connection, self._path, self._run, self._spec = connection, path, run, spec
        self.journal = Journal(connection, path, run)
        self._candidates = self._attempts = 0

    @classmethod
    def begin(cls, folder: Path, beginning: Beginning, *, overwrite: bool = False) -> Ledger:
        """Enter the run whose folder is ``folder``, in place of what ``require_room`` let through."""
        connection, path = open_to_write(folder.parent), folder.parent / FILE
        try:
            require_room(connection, path, folder, overwrite=overwrite)
            with transaction(connection, path):
                connection.execute("DELETE FROM runs WHERE name = ?", (folder.name,))
                run = _insert(connection, "runs", _run_row(folder.name, beginning))
            return cls(connection, path, run, beginning.spec)
        except BaseException:
            connection.close()
            raise

    def log(self, trials: Sequence[Trial], spent: Spent) -> None:
        """Enter what was tried."""
        with self._writing(spent) as connection:
            for position, trial in enumerate(trials, self._candidates):
                _insert(
                    connection, "candidates", {"run": self._run, "position": position, **_candidate(trial)}
                )
                self._enter_episodes("candidate", position, trial.episodes)
        self._candidates += len(trials)

    def iteration(
        self, number: int, trial: Trial, attempts: Sequence[Attempt], spent: Spent, *, better: bool
    ) -> None:
        """Enter an iteration; ``attempts``: what a model was asked on the way."""
        telling = trial.episodes[most_telling(trial.episodes)]
        with self._writing(spent) as connection:
            row = {"run": self._run, "number": number, "better": better, **_iteration(trial)}
            _insert(connection, "iterations", row | dataclasses.asdict(spent))
            self._enter_episodes("iteration", number, trial.episodes)
            self._enter_attempts(attempts, number)
            recording = Recording(telling.seed, paths(telling, self._spec), telling.scene, telling.states)
            if recording.positions or recording.states is not None:
                data = encode_recording(recording)
                _insert(connection, "recordings", {"run": self._run, "iteration": number, "data": data})
            if trial.outcome.graph:
                data = encode_json(list(trial.outcome.graph))
                _insert(connection, "graphs", {"run": self._run, "iteration": number, "data": data})
        self._attempts += len(attempts)

    def finish(
        self, result: Result, held_out: Sequence[Episode], attempts: Sequence[Attempt], spent: Spent
    ) -> None:
        """Enter the end; the journal, of which everything is in its place by now, is done with."""
        with self._writing(spent) as connection:
            self._enter_episodes("held out", 0, held_out)
            self._enter_attempts(attempts, None)
            connection.execute("DELETE FROM journal WHERE run = ?", (self._run,))
            self._set(status="finished", ended=result.ended, result=plain_json(dataclasses.asdict(result)))

    def end(self, status: str, ended: str, spent: Spent) -> None:
        """Enter that the run did not come to its end: "stopped" or "failed", and why."""
        with self._writing(spent):
            self._set(status=status, ended=ended)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _writing(self, spent: Spent) -> Iterator[sqlite3.Connection]:
        """A transaction; it also brings the run's totals up to date, unless they are still being heard again."""
        with transaction(self._connection, self._path) as connection:
            yield connection
            if not self.journal.replaying:
                self._set(updated=time.time(), **dataclasses.asdict(spent))

    def _set(self, **values: Any) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        row = [_storable(value) for value in values.values()]
        self._connection.execute(f"UPDATE runs SET {names} WHERE id = ?", [*row, self._run])

    def _enter_episodes(self, owner: str, number: int, episodes: Iterable[Episode]) -> None:
        rows = [
            (self._run, owner, number, position, _storable(e.seed), e.ended, e.steps, e.decisions, e.total_reward,
             None if e.fault is None else json.dumps(dataclasses.asdict(e.fault)))
            for position, e in enumerate(episodes)
        ]  # fmt: skip
        self._connection.executemany(
            "INSERT OR IGNORE INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
        )

    def _enter_attempts(self, attempts: Sequence[Attempt], iteration: int | None) -> None:
        for position, attempt in enumerate(attempts, self._attempts):
            row = {"run": self._run, "position": position, "iteration": iteration, **_attempt(attempt)}
            _insert(self._connection, "attempts", row)


def require_room(
    connection: sqlite3.Connection, path: Path, folder: Path, *, overwrite: bool = False
) -> None:
    """Raise RunError if the run would take the place of one that goes on, or of one whose folder is gone."""
    if held(folder):
        raise RunError(f"another process is at work on the run {str(folder)!r}; give another --out")
    if overwrite or folder.exists():
        return  # what is in a folder is looked at by whoever makes it
    with faults(path):
        sql = "SELECT EXISTS (SELECT 1 FROM iterations WHERE run = runs.id) FROM runs WHERE name = ?"
        row = connection.execute(sql, (folder.name,)).fetchone()
    if row is not None and row[0]:
        raise RunError(
            f"{str(path)!r} still holds the run {folder.name!r}, whose folder is gone; look at it with trace-robot"
            " show, give another --out, or --overwrite"
        )


def paths(episode: Episode, spec: EnvSpec) -> dict[str, Any]:
    """Return the path of every named position, (T + 1, 3), from an episode that brought its observations."""
    if not episode.observations.size:
        return {}
    starts = {part.name: part.start for part in spec.observation}
    return {name: episode.observations[:, starts[name] : starts[name] + 3] for name in spec.positions}


def _insert(connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> int:
    """Insert a row, unless it is there; return its id."""
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    sql = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"
    return connection.execute(sql, [_storable(value) for value in row.values()]).lastrowid or 0


def _storable(value: Any) -> Any:
    """Return what SQLite can keep: no half characters, no integer of more than 64 bits."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and not -LARGEST <= value < LARGEST:
        return str(value)
    return value


def _run_row(name: str, beginning: Beginning) -> dict[str, Any]:
    settings, now = beginning.settings, time.time()
    return {
        "name": name, "task": settings.task, "policy": settings.policy, "optimizer": settings.optimizer,
        "feedback": settings.feedback, "control": beginning.spec.control, "seed": settings.seed,
        "why": beginning.why, "settings": plain_json(dataclasses.asdict(settings)),
        "choice": None if beginning.choice is None else plain_json(beginning.choice),
        "environment": plain_json(dataclasses.asdict(beginning.spec)), "versions": plain_json(versions()),
        "source": beginning.source, "status": "running", "started": now, "updated": now,
    }  # fmt: skip


def _candidate(trial: Trial) -> dict[str, Any]:
    program = trial.candidate.program
    return {
        "id": trial.candidate.id, "parent": trial.candidate.parent, "origin": trial.candidate.origin,
        "note": trial.candidate.note, "success": trial.outcome.success, "score": trial.outcome.score,
        "controller": trial.text if program is None else None,
        "program": None if program is None else encode_json(program),
    }  # fmt: skip


def _iteration(trial: Trial) -> dict[str, Any]:
    return {
        "candidate": trial.candidate.id, "candidate_parent": trial.candidate.parent,
        "origin": trial.candidate.origin, "note": trial.candidate.note, "success": trial.outcome.success,
        "score": trial.outcome.score,
        "reward": sum(episode.total_reward for episode in trial.episodes) / len(trial.episodes),
        "controller": trial.text, "feedback": trial.outcome.feedback,
    }  # fmt: skip


def _attempt(attempt: Attempt) -> dict[str, Any]:
    reply = attempt.reply
    return {
        "kind": attempt.kind, "messages": json.dumps([dict(message) for message in attempt.messages]),
        "reply": reply.text, "finish_reason": reply.finish_reason, "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens, "problems": json.dumps(list(attempt.problems)),
        "candidate": attempt.candidate, "reasoning": attempt.reasoning,
    }  # fmt: skip
