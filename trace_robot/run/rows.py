"""Rows of the store, made of what the loop has, and read back."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trace_robot.errors import RunError
from trace_robot.optimize.optoprime import Attempt
from trace_robot.rollout.episode import Episode
from trace_robot.rollout.trial import Trial
from trace_robot.run.codec import encode_json
from trace_robot.run.store import plain_json
from trace_robot.settings import Settings
from trace_robot.spec import EnvSpec
from trace_robot.versions import versions

LARGEST = 2**63


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a run begins with, enough to begin it again.

    source: the text of the policy's file. why: this optimizer, in words. choice: how it was made, None where a
    program handed it over. versions: of what it was begun with.
    """

    settings: Settings
    spec: EnvSpec
    source: str
    why: str = ""
    choice: Mapping[str, Any] | None = None
    versions: Mapping[str, str] = field(default_factory=versions)


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


def paths(episode: Episode, spec: EnvSpec) -> dict[str, Any]:
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


def run_row(name: str, beginning: Beginning) -> dict[str, Any]:
    settings, now = beginning.settings, time.time()
    return {
        "name": name, "task": settings.task, "policy": settings.policy, "optimizer": settings.optimizer,
        "feedback": settings.feedback, "control": beginning.spec.control, "seed": settings.seed,
        "why": beginning.why, "settings": plain_json(dataclasses.asdict(settings)),
        "choice": None if beginning.choice is None else plain_json(beginning.choice),
        "environment": plain_json(dataclasses.asdict(beginning.spec)), "versions": plain_json(beginning.versions),
        "source": beginning.source, "status": "running", "started": now, "updated": now,
    }  # fmt: skip


def beginning_of(row: sqlite3.Row) -> Beginning:
    """Read back what ``run_row`` wrote."""
    try:
        settings = Settings.from_data(json.loads(row["settings"]))
        spec = EnvSpec.from_data(json.loads(row["environment"]))
    except (TypeError, ValueError, KeyError) as error:
        raise RunError(
            f"the run {row['name']!r} has settings that this version of trace-robot does not know: {error}"
        ) from error
    choice = None if row["choice"] is None else json.loads(row["choice"])
    return Beginning(settings, spec, row["source"], row["why"], choice, json.loads(row["versions"]))


def candidate_row(trial: Trial) -> dict[str, Any]:
    program = trial.candidate.program
    return {
        "id": trial.candidate.id, "parent": trial.candidate.parent, "origin": trial.candidate.origin,
        "note": trial.candidate.note, "success": trial.outcome.success, "score": trial.outcome.score,
        "controller": trial.text if program is None else None,
        "program": None if program is None else encode_json(program),
    }  # fmt: skip


def iteration_row(trial: Trial) -> dict[str, Any]:
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
