"""The results of a benchmark: one line of JSON a finished run, on disk before the next run begins."""

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
        return self.task, self.seed

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> ResultRow:
        values = {name: data[name] for name in (part.name for part in fields(cls))}
        return cls(**{**values, "interval": tuple(data["interval"])})


def read_rows(path: Path) -> list[ResultRow]:
    """Read a results file, in its order; a last line that was being written when its process died is left out."""
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
    """The results file of a folder, held by one process at a time; a context manager."""

    def __init__(self, folder: Path, fixed: Mapping[str, Any]) -> None:
        self.path = folder / ROWS
        self.fixed = fixed
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise RunError(
                f"cannot write {str(self.path)!r}: {error.strerror}; give another --out"
            ) from error
        try:
            self._lock()
            self._drop_torn_line()
            self.rows = {row.key: row for row in read_rows(self.path)}
            self._check()
        except BaseException:
            self._file.close()
            raise

    def add(self, row: ResultRow) -> None:
        """Append a row; when this returns it is on disk."""
        try:
            self._file.write(json.dumps(asdict(row)) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
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
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(
                f"another benchmark is writing to {str(self.path)!r}; wait for it, or give another --out"
            ) from error

    def _drop_torn_line(self) -> None:
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
