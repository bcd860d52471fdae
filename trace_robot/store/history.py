"""What runs did, read from their store: for tables, reports and pages. Nothing here can change anything.

    with History(Path("rollouts/runs")) as history:
        run = history.run("demo")
        for iteration in history.iterations(run):
            print(iteration.number, iteration.success)

Several may be open at once, and beside processes that write. Texts came from anywhere: a model, a policy's file.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, get_args

from trace_robot.errors import RunError, UnknownNameError
from trace_robot.stats import wilson
from trace_robot.store.database import FILE, faults, open_to_read
from trace_robot.store.folder import held

if TYPE_CHECKING:
    from trace_robot.store.codec import Recording

Status = Literal["running", "stopped", "failed", "finished"]
STATUSES: tuple[Status, ...] = get_args(Status)
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Score:
    """A success rate, from 0 to 1, over so many episodes."""

    success: float
    episodes: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval."""
        return wilson(round(self.success * self.episodes), self.episodes)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One run.

    id: its number in the store. name: of its folder. status: "running" while a process has it; "stopped" where that
    was interrupted, whether or not it could say so; "failed" with an error, which ``ended`` tells; "finished".
    started, updated: seconds since 1970. seconds: spent on optimizing. iterations: written down, the start not
    counted; best_iteration: None before the first. money: None where no prices were given. start, training: success
    of the starting and of the best controller on their training conditions; held_out: None before the end.
    why: this optimizer, in words. environment: what it says about itself (``TaskSpec`` as plain data). result: what
    result.json holds, None before the end.
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
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class EpisodeInfo:
    """How an episode ended: "success", "time" or "error", with the fault's category, message and line.

    steps: of the simulator; decisions: of the controller. reward: total, not a number where it was none.
    """

    seed: int
    ended: str
    steps: int
    decisions: int
    reward: float
    fault: Mapping[str, Any] | None = None

    @property
    def success(self) -> bool:
        return self.ended == "success"


@dataclass(frozen=True, slots=True)
class IterationInfo:
    """A controller that was written down.

    parent: the iteration that was the best until then, to which it is compared; None for the start.
    candidate_parent: id of the candidate it was made from. better: whether it became the best. reward: mean total
    reward of an episode. seconds and all after it: spent when it was written. video: None where there is no file.
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
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class AttemptInfo:
    """One reply of a model and what became of it.

    iteration: the next one that was written down after it, None where there was none. kind: "proposal", "repair" or
    "no answer". messages: the prompt, each with "role" and "content". problems: why it could not be used.
    candidate: what it became, None for nothing.
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
    """One candidate that was tried, in the order of trying."""

    id: int
    parent: int | None
    origin: str
    note: str
    success: float
    score: float


class History:
    """The runs of one folder; a context manager. Raises RunError where the store is missing or cannot be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.parent if folder.name == FILE else folder
        self.path = self.folder / FILE
        self._connection = open_to_read(self.folder)

    def runs(
        self, *, task: str | None = None, optimizer: str | None = None, status: str | None = None
    ) -> list[RunInfo]:
        """Return the runs, the latest first; a task also by the beginning of its name."""
        if status is not None and status not in STATUSES:
            raise UnknownNameError(f"no status {status!r}; known: {', '.join(STATUSES)}")
        found = [self._run(row) for row in self._rows(f"{RUNS} ORDER BY runs.started DESC, runs.id DESC")]
        return [
            run for run in found
            if (task is None or run.task.startswith(task))
            and optimizer in (None, run.optimizer) and status in (None, run.status)
        ]  # fmt: skip

    def run(self, name: str | int) -> RunInfo:
        """Return a run by its name, by its id, or by the beginning of its name where only one begins so."""
        if isinstance(name, int):
            rows = self._rows(f"{RUNS} WHERE runs.id = ?", name)
        else:
            rows = self._rows(f"{RUNS} WHERE runs.name = ?", self._full(name))
        for row in rows:
            return self._run(row)
        raise UnknownNameError(f"no run {name!r} in {str(self.path)!r}")

    def iterations(self, run: RunInfo) -> list[IterationInfo]:
        """Return the iterations in their order, the starting controller first."""
        episodes = self._episodes(run, "iteration")
        found: list[IterationInfo] = []
        best: IterationInfo | None = None
        for row in self._rows("SELECT * FROM iterations WHERE run = ? ORDER BY number", run.id):
            iteration = _iteration(row, run.folder, episodes.get(row["number"], ()), best)
            found.append(iteration)
            best = iteration if iteration.better else best
        return found

    def candidates(self, run: RunInfo) -> list[CandidateInfo]:
        sql = "SELECT * FROM candidates WHERE run = ? ORDER BY position"
        return [
            CandidateInfo(
                row["id"], row["parent"], row["origin"], row["note"], _number(row["success"]), _number(row["score"])
            )
            for row in self._rows(sql, run.id)
        ]  # fmt: skip

    def attempts(self, run: RunInfo, iteration: int | None = None) -> list[AttemptInfo]:
        """Return what a model was asked and what it answered, of the whole run or on the way to one iteration."""
        sql, values = "SELECT * FROM attempts WHERE run = ?", [run.id]
        if iteration is not None:
            sql, values = f"{sql} AND iteration = ?", [run.id, iteration]
        return [_attempt(row) for row in self._rows(f"{sql} ORDER BY position", *values)]

    def held_out(self, run: RunInfo) -> tuple[EpisodeInfo, ...]:
        """Return the episodes of the final score; none before the end."""
        return self._episodes(run, "held out").get(0, ())

    def recording(self, run: RunInfo, iteration: int) -> Recording | None:
        """Return how the most telling episode of an iteration looked, with the paths of its named positions."""
        from trace_robot.store.codec import decode_recording

        sql = "SELECT data FROM recordings WHERE run = ? AND iteration = ?"
        for row in self._rows(sql, run.id, iteration):
            return decode_recording(row["data"])
        return None

    def graph(self, run: RunInfo, iteration: int) -> tuple[Record, ...]:
        """Return the graph of an iteration's most telling episode as records; none where it was not traced."""
        from trace_robot.store.codec import decode_json

        sql = "SELECT data FROM graphs WHERE run = ? AND iteration = ?"
        for row in self._rows(sql, run.id, iteration):
            return tuple(decode_json(row["data"]))
        return ()

    def changes(self) -> int:
        """Return a number that differs from what it was when another process has written to the store since."""
        return int(next(self._rows("PRAGMA data_version"))[0])

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> History:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rows(self, sql: str, *values: Any) -> Iterator[sqlite3.Row]:
        with faults(self.path):
            yield from self._connection.execute(sql, values)

    def _full(self, name: str) -> str:
        """Return the name that ``name`` stands for."""
        names = [str(row["name"]) for row in self._rows("SELECT name FROM runs ORDER BY started DESC")]
        if name in names:
            return name
        beginning = [each for each in names if name and each.startswith(name)]
        if len(beginning) == 1:
            return beginning[0]
        if beginning:
            raise UnknownNameError(
                f"{len(beginning)} runs begin with {name!r}: {_listed(beginning)}; write more of the name"
            )
        import difflib

        near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
        guess = f"did you mean {near[0]!r}? " if near else ""
        known = f"{guess}known: {_listed(names)}" if names else "there are none yet"
        raise UnknownNameError(f"no run {name!r} in {str(self.path)!r}; {known}")

    def _run(self, row: sqlite3.Row) -> RunInfo:
        folder = self.folder / row["name"]
        result = json.loads(row["result"]) if row["result"] else {}
        return RunInfo(
            id=row["id"], name=row["name"], folder=folder, task=row["task"], policy=row["policy"],
            optimizer=row["optimizer"], feedback=row["feedback"], control=row["control"], seed=int(row["seed"]),
            why=row["why"], status=_status(row["status"], folder), ended=row["ended"], started=row["started"],
            updated=row["updated"], seconds=row["seconds"], iterations=max(0, row["iterations"] - 1),
            best_iteration=row["best"], candidates=row["candidates"], environment_steps=row["environment_steps"],
            model_calls=row["model_calls"], prompt_tokens=row["prompt_tokens"],
            completion_tokens=row["completion_tokens"], money=row["money"],
            start=_score(row["start_success"], row["start_episodes"]),
            training=_score(row["best_success"], row["best_episodes"]),
            held_out=_score(result.get("held_out_success"), result.get("held_out_episodes", 0)),
            settings=json.loads(row["settings"]), environment=json.loads(row["environment"]),
            versions=json.loads(row["versions"]), result=result or None,
        )  # fmt: skip

    def _episodes(self, run: RunInfo, owner: str) -> dict[int, tuple[EpisodeInfo, ...]]:
        sql = "SELECT * FROM episodes WHERE run = ? AND owner = ? ORDER BY number, position"
        found: dict[int, list[EpisodeInfo]] = {}
        for row in self._rows(sql, run.id, owner):
            found.setdefault(row["number"], []).append(_episode(row))
        return {number: tuple(episodes) for number, episodes in found.items()}


RUNS = """
SELECT runs.*,
    (SELECT count(*) FROM iterations WHERE run = runs.id) AS iterations,
    first.success AS start_success, best.number AS best, best.success AS best_success,
    (SELECT count(*) FROM episodes WHERE run = runs.id AND owner = 'iteration' AND number = 0) AS start_episodes,
    (SELECT count(*) FROM episodes WHERE run = runs.id AND owner = 'iteration' AND number = best.number)
        AS best_episodes
FROM runs
LEFT JOIN iterations AS first ON first.run = runs.id AND first.number = 0
LEFT JOIN iterations AS best ON best.run = runs.id
    AND best.number = (SELECT max(number) FROM iterations WHERE run = runs.id AND better)
"""


def _status(written: str, folder: Path) -> Status:
    """Return the status; a run that says it goes on while nobody has it was killed."""
    if written == "running" and not held(folder):
        return "stopped"
    for status in STATUSES:
        if status == written:
            return status
    raise RunError(f"the run {folder.name!r} has status {written!r}, which this version does not know")


def _score(success: float | None, episodes: int) -> Score | None:
    return None if success is None else Score(float(success), episodes)


def _iteration(
    row: sqlite3.Row, folder: Path, episodes: tuple[EpisodeInfo, ...], best: IterationInfo | None
) -> IterationInfo:
    video = folder / "iterations" / f"{row['number']:03d}" / "episode.mp4"
    return IterationInfo(
        number=row["number"], parent=None if best is None else best.number, candidate=row["candidate"],
        candidate_parent=row["candidate_parent"], origin=row["origin"], note=row["note"],
        success=_number(row["success"]), score=_number(row["score"]), reward=_number(row["reward"]),
        better=bool(row["better"]), controller=row["controller"],
        parent_controller="" if best is None else best.controller, feedback=row["feedback"], episodes=episodes,
        video=video if video.is_file() else None, seconds=row["seconds"], candidates=row["candidates"],
        environment_steps=row["environment_steps"], model_calls=row["model_calls"],
        prompt_tokens=row["prompt_tokens"], completion_tokens=row["completion_tokens"], money=row["money"],
    )  # fmt: skip


def _attempt(row: sqlite3.Row) -> AttemptInfo:
    return AttemptInfo(
        iteration=row["iteration"], kind=row["kind"], messages=tuple(json.loads(row["messages"])), reply=row["reply"],
        reasoning=row["reasoning"], finish_reason=row["finish_reason"], prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"], problems=tuple(json.loads(row["problems"])),
        candidate=row["candidate"],
    )  # fmt: skip


def _episode(row: sqlite3.Row) -> EpisodeInfo:
    fault = json.loads(row["fault"]) if row["fault"] else None
    reward = _number(row["reward"])
    return EpisodeInfo(int(row["seed"]), row["ended"], row["steps"], row["decisions"], reward, fault)


def _number(value: float | None) -> float:
    """Read a number; SQLite keeps what is not one as NULL."""
    return math.nan if value is None else float(value)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:10])
    return shown + (f" and {len(names) - 10} more" if len(names) > 10 else "")
