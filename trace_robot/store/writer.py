"""Writing runs into the store: headers, candidates, iterations, results."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from trace_robot.errors import RunError
from trace_robot.rollout.feedback import representative
from trace_robot.settings import Result
from trace_robot.spec import TaskSpec
from trace_robot.store.codec import Recording, encode_json, encode_recording
from trace_robot.store.database import FILE, faults, open_to_write, transaction
from trace_robot.store.folder import is_locked, plain_json
from trace_robot.store.journal import Journal
from trace_robot.store.records import BEFORE, Status, is_run_name
from trace_robot.store.rows import (
    Cost,
    RunHeader,
    attempt_row,
    candidate_row,
    episode_row,
    header_of,
    insert,
    iteration_row,
    remember_run,
    run_row,
    storable,
)

if TYPE_CHECKING:
    from trace_robot.optimizers.problem import Attempt
    from trace_robot.rollout.episode import Episode
    from trace_robot.rollout.evaluation import Evaluation

__all__ = ["Cost", "RunHeader", "RunWriter", "Store"]


class Store:
    """The store of a folder of runs, open for writing, as a context manager.

    Args:
        folder: the folder that holds the runs' folders; created if need be.

    Raises:
        RunError: the folder or the store cannot be created or written; also from the methods.
    """

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
        """Check that a new run would not replace one that is still wanted.

        That is one that another process executes, and one whose folder is gone, so that nothing else is left of it.

        Args:
            name: of the new run's folder.
            overwrite: whether an older run of that name may be replaced.

        Raises:
            RunError: it would.
        """
        folder = self.folder / name
        if is_locked(folder):
            raise RunError(f"another process is at work on the run {str(folder)!r}; give another --out")
        if overwrite or folder.exists():
            return  # ``RunFolder.create`` decides about what is in a folder
        sql = "SELECT EXISTS (SELECT 1 FROM iterations WHERE run = runs.id) FROM runs WHERE name = ?"
        row = self._first(sql, name)
        if row is not None and row[0]:
            raise RunError(
                f"{str(self.path)!r} still holds the run {name!r}, whose folder is gone; look at it with trace-robot"
                " show, give another --out, or --overwrite"
            )

    def begin(self, name: str, header: RunHeader) -> RunWriter:
        """Enter a new run in place of an older one of that name.

        Args:
            name: of the run's folder.
            header: what it begins with.
        """
        row = run_row(name, header)
        with transaction(self._connection, self.path) as connection:
            # Foreign keys take its rows out of every other table.
            connection.execute("DELETE FROM runs WHERE name = ?", (name,))
            run = insert(connection, "runs", row)
        remember_run(row)
        return RunWriter(self._connection, self.path, run, header)

    def reopen(self, name: str) -> tuple[RunWriter, RunHeader]:
        """Return the writer of a run to resume, and what the run began with.

        The caller holds the run's ``RunLock``.

        Raises:
            RunError: there is no such run, it is finished, or this version does not know its settings.
        """
        header = self.header(name)
        run = self._first("SELECT id FROM runs WHERE name = ?", name)[0]
        return RunWriter(self._connection, self.path, run, header), header

    def header(self, name: str) -> RunHeader:
        """Return what a run to resume began with, without changing anything.

        Raises:
            RunError: as of ``reopen``.
        """
        self.require_open(name)
        return header_of(self._first("SELECT * FROM runs WHERE name = ?", name))

    def require_open(self, name: str) -> None:
        """Check that a run was begun and is not finished.

        Raises:
            RunError: it was not, or is.
        """
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
        """Delete a run and its journal from the store, not its folder."""
        with transaction(self._connection, self.path) as connection:
            connection.execute("DELETE FROM runs WHERE name = ?", (name,))

    def rename(self, name: str, new: str) -> None:
        """Rename a run and its folder, both or neither.

        The caller holds the run's ``RunLock``, which stays with the folder.

        Args:
            name: of the run.
            new: free in the store and in the folder of runs.

        Raises:
            RunError: it is no name of a folder, it is taken, or the folder cannot be renamed.
        """
        if not is_run_name(new) or new.startswith(".") or not new.isprintable() or new != new.strip():
            raise RunError(f"a run's name must be that of a folder, such as reach-2, got {new!r}")
        if os.path.lexists(self.folder / new) or self._first("SELECT 1 FROM runs WHERE name = ?", new):
            raise RunError(f"there is a {new!r} in {str(self.folder)!r} already; give another name")
        with transaction(self._connection, self.path) as connection:
            connection.execute("UPDATE runs SET name = ? WHERE name = ?", (new, name))
            try:
                os.rename(self.folder / name, self.folder / new)
            except OSError as error:  # undoes the line above
                raise RunError(f"cannot rename {str(self.folder / name)!r}: {error.strerror}") from error

    def remove(self, name: str) -> None:
        """Delete a run: its folder, then its rows.

        In this order a removal that was interrupted can be done again. The caller holds the run's ``RunLock``, if there
        is a folder.

        Raises:
            RunError: the folder is a link, or cannot be deleted.
        """
        folder = self.folder / name
        if folder.is_symlink():
            raise RunError(f"{str(folder)!r} is a link, and is left alone; remove it yourself")
        try:
            if folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            raise RunError(f"cannot remove {str(error.filename or folder)!r}: {error.strerror}") from error
        self.forget(name)

    def close(self) -> None:
        """Close the connection."""
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
    """Writes one run's rows.

    What a method got is on disk when it returns. Every method may be called again with the same, as a replay does: a
    row that is there is left as it is.

    Attributes:
        journal: the run's journal.
        versions: of the packages the run was begun with.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, run: int, header: RunHeader) -> None:
        self._connection, self._path, self._run, self._spec = connection, path, run, header.spec
        self.versions = header.versions
        self.journal = Journal(connection, path, run)
        # Rows entered so far. They begin at 0 in every process: a replay gives each row its old position.
        self._candidates = self._attempts = 0

    def log(self, trials: Sequence[Evaluation], spent: Cost) -> None:
        """Enter candidates that were evaluated.

        Args:
            trials: in the order of evaluation.
            spent: the run's cost so far.
        """
        with self._writing(spent) as connection:
            for position, trial in enumerate(trials, self._candidates):
                row = {"run": self._run, "position": position, **candidate_row(trial)}
                insert(connection, "candidates", row)
                self._insert_episodes("candidate", position, trial.episodes)
        # After the commit: what failed is entered again at the same positions.
        self._candidates += len(trials)

    def iteration(
        self, number: int, trial: Evaluation, attempts: Sequence[Attempt], spent: Cost, *, better: bool
    ) -> None:
        """Enter an iteration, with its representative episode's recording and graph.

        Args:
            number: 0 for the starting controller.
            trial: the controller and its episodes.
            attempts: the prompts to a model since the last iteration, with their replies.
            spent: the run's cost so far.
            better: whether the controller became the best so far.
        """
        shown = trial.episodes[representative(trial.episodes)]
        with self._writing(spent) as connection:
            row = {"run": self._run, "number": number, "better": better, **iteration_row(trial)}
            insert(connection, "iterations", row | dataclasses.asdict(spent))
            self._insert_episodes("iteration", number, trial.episodes)
            self._insert_attempts(attempts, number)
            self._insert_recording(number, shown)
            if trial.outcome.graph:
                graph = [dict(record) for record in trial.outcome.graph]
                self._insert_blob("graphs", number, encode_json(graph))
        self._attempts += len(attempts)

    def compared(self, episode: Episode) -> None:
        """Enter the start's episode on the condition of the best one's recording.

        Args:
            episode: with states, for a picture of before beside that of after.
        """
        with transaction(self._connection, self._path):
            self._insert_episodes("iteration", BEFORE, [episode])
            self._insert_recording(BEFORE, episode)

    def finish(
        self, result: Result, held_out: Sequence[Episode], attempts: Sequence[Attempt], spent: Cost
    ) -> None:
        """Enter the result and delete the journal: nothing is left to resume.

        Args:
            result: what result.json gets.
            held_out: the episodes of the final score.
            attempts: the prompts to a model since the last iteration.
            spent: the run's whole cost.
        """
        with self._writing(spent) as connection:
            self._insert_episodes("held out", 0, held_out)
            self._insert_attempts(attempts, None)
            connection.execute("DELETE FROM journal WHERE run = ?", (self._run,))
            self._set(status="finished", ended=result.ended, result=plain_json(dataclasses.asdict(result)))

    def enter(self, status: Status, ended: str = "") -> None:
        """Set the run's status.

        Args:
            status: "running" for a run that is resumed, "stopped" or "failed".
            ended: why.
        """
        with transaction(self._connection, self._path):
            self._set(status=status, ended=ended, updated=time.time())

    @contextmanager
    def _writing(self, spent: Cost) -> Iterator[sqlite3.Connection]:
        """Run the block in a transaction that also updates the run's totals.

        During a replay the totals stay: they are those of the run when it was interrupted, which is further on.
        """
        with transaction(self._connection, self._path) as connection:
            yield connection
            if not self.journal.replaying:
                self._set(updated=time.time(), **dataclasses.asdict(spent))

    def _set(self, **values: Any) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        row = [storable(value) for value in values.values()]
        self._connection.execute(f"UPDATE runs SET {names} WHERE id = ?", [*row, self._run])

    def _insert_episodes(self, owner: str, number: int, episodes: Iterable[Episode]) -> None:
        # One executemany: a built-in search enters hundreds of episodes at a time.
        rows = [
            (self._run, owner, number, position, *episode_row(episode))
            for position, episode in enumerate(episodes)
        ]
        sql = "INSERT OR IGNORE INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        self._connection.executemany(sql, rows)

    def _insert_attempts(self, attempts: Sequence[Attempt], iteration: int | None) -> None:
        for position, attempt in enumerate(attempts, self._attempts):
            row = {"run": self._run, "position": position, "iteration": iteration, **attempt_row(attempt)}
            insert(self._connection, "attempts", row)

    def _insert_recording(self, number: int, shown: Episode) -> None:
        positions = _positions(shown, self._spec)
        if positions or shown.states is not None:
            recording = Recording(shown.seed, positions, shown.scene, shown.states)
            self._insert_blob("recordings", number, encode_recording(recording))

    def _insert_blob(self, table: str, iteration: int, data: bytes) -> None:
        insert(self._connection, table, {"run": self._run, "iteration": iteration, "data": data})


def _positions(episode: Episode, spec: TaskSpec) -> dict[str, Any]:
    """Return {field: its path, (T + 1, 3) metres}, if observations were kept."""
    if not episode.observations.size:
        return {}
    starts = {part.name: part.start for part in spec.observation}
    return {name: episode.observations[:, starts[name] : starts[name] + 3] for name in spec.positions}
