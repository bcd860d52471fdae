"""The results file of a benchmark: one line of JSON for each finished run."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from trace_robot.bench.plan import Key
from trace_robot.errors import RunError

ROWS = "results.jsonl"


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One run: an optimizer on a task with a seed.

    success: of the best controller on the held-out conditions; crashes: held-out episodes that ended with an
    error, which count as failures. interval: 95 % Wilson interval. seconds: of the optimization; wall_seconds: of
    everything. model: what answered, empty where none was asked. controller: path in the benchmark's folder.
    """

    task: str
    optimizer: str
    protocol: str
    seed: int
    feedback: str
    control: str
    success: float
    episodes: int
    interval: tuple[float, float]
    crashes: int
    training_success: float
    training_episodes: int
    candidates: int
    iterations: int
    environment_steps: int
    model_calls: int
    tokens: int
    seconds: float
    wall_seconds: float
    workers: int
    ended: str
    model: str
    controller: str
    fixed: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def key(self) -> Key:
        """Task and seed, which occur once in a results file."""
        return self.task, self.seed

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> ResultRow:
        """Return the row of a line of JSON, raising KeyError for a field that is missing."""
        values = {name: data[name] for name in (part.name for part in fields(cls))}
        return cls(**{**values, "interval": tuple(data["interval"])})


def read_rows(path: Path) -> list[ResultRow]:
    """Return the rows of a results file, in its order, none if there is no file.

    A last line without its end is left out: its process was killed while it wrote.

    Raises:
        RunError: the file cannot be read, or a line of it is no row.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{str(path)!r} cannot be read: {error}") from error
    rows = []
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            rows.append(ResultRow.from_data(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"{str(path)!r}, line {number} is no result: {type(error).__name__}: {error}; delete the line"
            ) from error
    return rows


class Results:
    """The results file of a folder, locked for one process, a context manager."""

    def __init__(self, folder: Path, fixed: Mapping[str, Any]) -> None:
        """Open and lock the file, which is made if it is not there.

        Args:
            folder: of the benchmark.
            fixed: what every row must agree with, see ``Plan.fixed``.

        Raises:
            RunError: another process holds the file, it cannot be written, or its rows have other settings.
        """
        self.path = folder / ROWS
        self.fixed = fixed
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise RunError(
                f"cannot write {str(self.path)!r}: {error.strerror}; give another --out"
            ) from error
        try:  # from here on the file must be closed if the object is not made
            self._lock()
            self._drop_torn_line()
            self.rows = {row.key: row for row in read_rows(self.path)}
            self._check()
        except BaseException:
            self._file.close()
            raise

    def add(self, row: ResultRow) -> None:
        """Append a row and wait until it is on disk."""
        try:
            self._file.write(json.dumps(asdict(row)) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())  # a run takes minutes: a power cut must not lose it
        except OSError as error:
            raise RunError(f"cannot write {str(self.path)!r}: {error.strerror}; free some space") from error
        self.rows[row.key] = row

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _lock(self) -> None:
        try:
            # The lock goes with the process, however it ends; a lock file would outlive a kill.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(
                f"another benchmark is writing to {str(self.path)!r}; wait for it, or give another --out"
            ) from error

    def _drop_torn_line(self) -> None:
        # Without this the next row would be appended to half a line, and both would be lost.
        text = self.path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            os.truncate(self.path, whole)

    def _check(self) -> None:
        for row in self.rows.values():
            for name, value in self.fixed.items():
                if row.fixed.get(name) != value:
                    raise RunError(
                        f"{str(self.path)!r} was made with {name} {row.fixed.get(name)!r}, not {value!r};"
                        " give another --out"
                    )
