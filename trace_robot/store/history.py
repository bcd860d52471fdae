"""Read-only access to the store of runs, for tables, reports and pages.

    with History(Path("rollouts/runs")) as history:
        run = history.run("demo")
        for iteration in history.iterations(run):
            print(iteration.number, iteration.success)

Several may be open at once, beside processes that write.
"""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from trace_robot import safe_files
from trace_robot.errors import RunError, UnknownNameError
from trace_robot.stats import Measure, Returns, Score, measure_of
from trace_robot.store.database import FILE, fetch, open_to_read
from trace_robot.store.folder import is_locked
from trace_robot.store.records import (
    BEFORE,
    LATEST,
    STATUSES,
    AttemptInfo,
    CandidateInfo,
    CheckedRow,
    EpisodeInfo,
    IterationInfo,
    Record,
    RunInfo,
    Status,
    decoding,
    is_run_name,
)

if TYPE_CHECKING:
    from trace_robot.store.codec import Recording

__all__ = [
    "STATUSES",
    "AttemptInfo",
    "CandidateInfo",
    "EpisodeInfo",
    "History",
    "IterationInfo",
    "RunInfo",
    "Score",
    "Status",
]

# Every run with its scores, so that a table of runs is one query rather than five for each run. Of a score's episodes
# their number, then number, sum and sum of squares of the finite returns (NULL for NaN).
_SUMS = """(SELECT printf('%d %d %!.17g %!.17g', count(*), count(reward), total(reward), total(reward * reward))
    FROM episodes WHERE run = runs.id AND"""
_RUNS = f"""
SELECT runs.*,
    (SELECT count(*) FROM iterations WHERE run = runs.id) AS iterations,
    first.success AS start_success, best.number AS best, best.success AS best_success,
    {_SUMS} owner = 'iteration' AND number = 0) AS start_sums,
    {_SUMS} owner = 'iteration' AND number = best.number) AS best_sums,
    {_SUMS} owner = 'held out') AS held_out_sums
FROM runs
LEFT JOIN iterations AS first ON first.run = runs.id AND first.number = 0
LEFT JOIN iterations AS best ON best.run = runs.id
    AND best.number = (SELECT max(number) FROM iterations WHERE run = runs.id AND better)
"""

LONGEST_TEXT = 1_000_000  # characters of a text of a graph; 0.1 bounded documentation by no less


class History:
    """The runs of one folder, as a context manager.

    Args:
        folder: that holds the runs' folders, or the store's file in it.

    Attributes:
        unreadable: a line for each run that the last ``runs`` left out, as its row is not like this library writes it.

    Raises:
        RunError: the store is missing, damaged or cannot be read; also from the methods, of which each names the run.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).parent if Path(folder).name == FILE else Path(folder)
        self.path = self.folder / FILE
        self.unreadable: list[str] = []
        self._connection = open_to_read(self.folder)

    def runs(
        self, *, task: str | None = None, optimizer: str | None = None, status: str | None = None
    ) -> list[RunInfo]:
        """Return the runs that match, the latest first.

        Args:
            task: the beginning of a task's name.
            optimizer: the name of an optimizer.
            status: one of ``STATUSES``.

        Raises:
            UnknownNameError: there is no such status.
        """
        if status is not None and status not in STATUSES:
            raise UnknownNameError(f"no status {status!r}; known: {', '.join(STATUSES)}")
        runs: list[RunInfo] = []
        self.unreadable = []
        for row in self._rows(f"{_RUNS} ORDER BY runs.started DESC, runs.id DESC"):
            try:
                runs.append(self._run(row))
            except RunError as error:
                self.unreadable.append(str(error))
        return [
            run
            for run in runs
            if (task is None or run.task.startswith(task))
            and optimizer in (None, run.optimizer)
            and status in (None, run.status)  # of a run that was killed the database does not know it
        ]

    def run(self, name: str | int) -> RunInfo:
        """Return a run by its name, its id, or the beginning of its name.

        Raises:
            UnknownNameError: no run has that name or id, or several begin with it.
        """
        column, value = ("id", name) if isinstance(name, int) else ("name", self._full_name(name))
        for row in self._rows(f"{_RUNS} WHERE runs.{column} = ?", value):
            return self._run(row)
        raise UnknownNameError(f"no run {name!r} in {str(self.path)!r}")

    def iterations(self, run: RunInfo) -> list[IterationInfo]:
        """Return the iterations in their order, the starting controller first."""
        episodes = self._episodes(run, "iteration")
        iterations: list[IterationInfo] = []
        best: IterationInfo | None = None
        with decoding(f"an iteration of the run {run.name!r}"):
            for row in self._rows("SELECT * FROM iterations WHERE run = ? ORDER BY number", run.id):
                if row["number"] != len(iterations):
                    raise ValueError(f"iterations must be numbered from 0, got {row['number']!r}")
                iteration = self._iteration(row, run, episodes.get(len(iterations), ()), best)
                iterations.append(iteration)
                best = iteration if iteration.better else best
        return iterations

    def row(self, run: RunInfo) -> sqlite3.Row:
        """Return a run's row as it is stored, unchecked."""
        with decoding(f"the run {run.name!r}"):
            return next(self._rows("SELECT * FROM runs WHERE id = ?", run.id))

    def candidates(self, run: RunInfo) -> list[CandidateInfo]:
        """Return the candidates in the order in which they were evaluated."""
        sql = "SELECT * FROM candidates WHERE run = ? ORDER BY position"
        with decoding(f"a candidate of the run {run.name!r}"):
            return [_candidate(row) for row in self._rows(sql, run.id)]

    def attempts(self, run: RunInfo, iteration: int | None = None) -> list[AttemptInfo]:
        """Return the prompts to a model and its replies, in their order.

        Args:
            run: the run.
            iteration: the number of the iteration that they led to; None for those of the whole run.
        """
        sql, values = "SELECT * FROM attempts WHERE run = ?", [run.id]
        if iteration is not None:
            sql, values = f"{sql} AND iteration = ?", [run.id, iteration]
        with decoding(f"an attempt of the run {run.name!r}"):
            return [_attempt(row) for row in self._rows(f"{sql} ORDER BY position", *values)]

    def held_out(self, run: RunInfo) -> tuple[EpisodeInfo, ...]:
        """Return the episodes of the final score, none before."""
        return self._episodes(run, "held out").get(0, ())

    def before(self, run: RunInfo) -> tuple[EpisodeInfo, ...]:
        """Return the start's episode on the condition of the best one's recording."""
        return self._episodes(run, "iteration").get(BEFORE, ())

    def recording(self, run: RunInfo, iteration: int) -> Recording | None:
        """Return the recording of an iteration's representative episode.

        Args:
            run: the run.
            iteration: its number; ``BEFORE`` for that of ``before``.

        Returns:
            The paths of its named positions, and what is needed to draw it; None where the environment names no
            position and gives no states.
        """
        from trace_robot.store.codec import decode_recording  # numpy, which a table of runs need not wait for

        sql = "SELECT data FROM recordings WHERE run = ? AND iteration = ?"
        with decoding(f"the recording of iteration {iteration} of the run {run.name!r}"):
            for row in self._rows(sql, run.id, iteration):
                return decode_recording(row["data"])
        return None

    def graph(self, run: RunInfo, iteration: int) -> tuple[Record, ...]:
        """Return the graph of an iteration's representative episode.

        Args:
            run: the run.
            iteration: its number.

        Returns:
            Records as of ``trace_robot.trace.serialization``; none where the episode was not traced.
        """
        from trace_robot.store.codec import decode_json
        from trace_robot.trace.serialization import from_records

        sql = "SELECT data FROM graphs WHERE run = ? AND iteration = ?"
        with decoding(f"the graph of iteration {iteration} of the run {run.name!r}"):
            for row in self._rows(sql, run.id, iteration):
                records = tuple(decode_json(row["data"]))
                # Its checks are those of a graph of a sandbox.
                from_records(records, max_chars=LONGEST_TEXT)
                return records
        return ()

    def changes(self) -> int:
        """Return SQLite's data_version, which changes when another process writes."""
        return int(next(self._rows("PRAGMA data_version"))[0])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> History:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rows(self, sql: str, *values: Any) -> Iterator[sqlite3.Row]:
        return iter(fetch(self._connection, self.path, sql, values))

    def _full_name(self, text: str) -> str:
        """Return the name of the run that ``text`` is the name or the beginning of."""
        found = self._rows("SELECT name FROM runs ORDER BY started DESC")
        names: list[str] = [row["name"] for row in found if is_run_name(row["name"])]
        if text in names:
            return text
        candidates = [name for name in names if text and name.startswith(text)]
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise UnknownNameError(
                f"{len(candidates)} runs begin with {text!r}: {_listed(candidates)}; write more of the name"
            )
        near = difflib.get_close_matches(text[:100], names[:1000], n=1, cutoff=0.6)
        guess = f"did you mean {near[0]!r}? " if near else ""
        known = f"{guess}known: {_listed(names)}" if names else "there are none yet"
        raise UnknownNameError(f"no run {text!r} in {str(self.path)!r}; {known}")

    def _run(self, row: sqlite3.Row) -> RunInfo:
        name, checked = row["name"], CheckedRow(row)
        with decoding(f"the run {name!r:.300}"):
            if not is_run_name(name):
                raise ValueError("its name must be that of a folder beside the store")
            result = checked.mapping("result") if row["result"] else {}
            environment = checked.mapping("environment")
            measure = measure_of(environment.get("success"), environment.get("return_threshold"))
            rate = result.get("held_out_success")
            return RunInfo(
                id=row["id"],
                name=name,
                folder=self.folder / name,
                task=checked.text("task"),
                policy=checked.text("policy"),
                optimizer=checked.text("optimizer"),
                feedback=checked.text("feedback"),
                control=checked.text("control"),
                seed=checked.seed("seed"),
                why=checked.text("why"),
                status=_status(row["status"], self.folder / name),
                ended=checked.text("ended"),
                started=checked.amount("started", LATEST),
                updated=checked.amount("updated", LATEST),
                iterations=max(0, row["iterations"] - 1),
                best_iteration=checked.integer("best", optional=True),
                start=_score(row["start_success"], None, row["start_sums"], measure),
                training=_score(row["best_success"], None, row["best_sums"], measure),
                held_out=_score(rate, result.get("held_out_episodes"), row["held_out_sums"], measure),
                settings=checked.mapping("settings"),
                environment=environment,
                versions=checked.mapping("versions"),
                result=result or None,
                **_cost(row),
            )

    def _iteration(
        self, row: sqlite3.Row, run: RunInfo, episodes: tuple[EpisodeInfo, ...], best: IterationInfo | None
    ) -> IterationInfo:
        checked = CheckedRow(row)
        video = f"{run.name}/iterations/{row['number']:03d}/episode.mp4"
        return IterationInfo(
            number=row["number"],
            parent=None if best is None else best.number,
            candidate=checked.integer("candidate"),
            candidate_parent=checked.integer("candidate_parent", optional=True),
            origin=checked.text("origin"),
            note=checked.text("note"),
            success=checked.rate("success"),
            score=checked.number("score"),
            reward=checked.number("reward"),
            better=bool(row["better"]),
            controller=checked.text("controller"),
            parent_controller="" if best is None else best.controller,
            feedback=checked.text("feedback"),
            episodes=episodes,
            video=self.folder / video if safe_files.is_file(self.folder, video) else None,
            **_cost(row),
        )

    def _episodes(self, run: RunInfo, owner: str) -> dict[int, tuple[EpisodeInfo, ...]]:
        """Return {number of the owner: its episodes}."""
        sql = "SELECT * FROM episodes WHERE run = ? AND owner = ? ORDER BY number, position"
        episodes: dict[int, list[EpisodeInfo]] = {}
        with decoding(f"an episode of the run {run.name!r}"):
            for row in self._rows(sql, run.id, owner):
                episodes.setdefault(row["number"], []).append(_episode(row))
        return {number: tuple(group) for number, group in episodes.items()}


def _status(stored: str, folder: Path) -> Status:
    """Return the status, "stopped" for a run whose process was killed."""
    if stored == "running" and not is_locked(folder):
        return "stopped"
    for status in STATUSES:
        if status == stored:
            return status
    raise RunError(f"the run {folder.name!r} has status {stored!r:.80}, which this version does not know")


def _score(success: Any, episodes: Any, sums: Any, measure: Measure) -> Score | None:
    """Return a score, None without a rate. sums: a column of ``_RUNS``."""
    count, returns, total, squares = sums.split()
    checked = CheckedRow({"success": success, "episodes": int(count) if episodes is None else episodes})
    if (rate := checked.rate("success")) != rate:  # NaN, of NULL
        return None
    known = Returns.from_sums(int(returns), float(total), float(squares))
    return Score(rate, checked.integer("episodes"), known, measure)


def _cost(row: sqlite3.Row) -> dict[str, Any]:
    """Return the columns of ``Cost``, which a run and an iteration share."""
    checked = CheckedRow(row)
    names = ("candidates", "environment_steps", "model_calls", "prompt_tokens", "completion_tokens")
    counts = {name: checked.integer(name) for name in names}
    money = None if row["money"] is None else checked.amount("money")
    return {"seconds": checked.amount("seconds"), **counts, "money": money}


def _candidate(row: sqlite3.Row) -> CandidateInfo:
    checked = CheckedRow(row)
    return CandidateInfo(
        id=checked.integer("id"),
        parent=checked.integer("parent", optional=True),
        origin=checked.text("origin"),
        note=checked.text("note"),
        success=checked.rate("success"),
        score=checked.number("score"),
    )


def _attempt(row: sqlite3.Row) -> AttemptInfo:
    checked = CheckedRow(row)
    return AttemptInfo(
        iteration=checked.integer("iteration", optional=True),
        kind=checked.text("kind"),
        messages=checked.messages("messages"),
        reply=checked.text("reply"),
        reasoning=checked.text("reasoning"),
        finish_reason=checked.text("finish_reason"),
        prompt_tokens=checked.integer("prompt_tokens"),
        completion_tokens=checked.integer("completion_tokens"),
        problems=checked.texts("problems"),
        candidate=checked.integer("candidate", optional=True),
    )


def _episode(row: sqlite3.Row) -> EpisodeInfo:
    checked = CheckedRow(row)
    return EpisodeInfo(
        checked.seed("seed"),
        checked.text("ended"),
        checked.integer("steps"),
        checked.integer("decisions"),
        checked.number("reward"),
        checked.fault("fault"),
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
