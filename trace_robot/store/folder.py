"""A run's folder: everything asked, answered and measured, as files a person can read.

    RUN/
      settings.json             what was asked for
      log.jsonl                 one line a candidate: id, parent, origin, success, score, seconds
      iterations/000/           controller.py, difference.diff, feedback.txt, scores.json,
                                prompt.md and reply.md where a model was asked, episode.mp4
      best.py                   the best controller so far
      result.json               written last
      .lock                     held by the process that has the run

Every file is written under a temporary name, synced and renamed, so that a run that is killed leaves whole
files only. A run that goes on writes the same again, and the log beside the old one until it has caught up.
"""

from __future__ import annotations

import difflib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from trace_robot.errors import RunError

NAME = ".lock"
MARK, LOG, AGAIN = "settings.json", "log.jsonl", ".log.jsonl.part"
USUAL = {MARK, NAME, "iterations"}  # in the folder of a run that has not begun


class RunFolder:
    """Writes one run; every method raises RunError where the disk says no."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log = LOG
        self._again = False

    @classmethod
    def create(cls, path: Path, *, overwrite: bool = False) -> RunFolder:
        """Make an empty folder; one that holds an older run is replaced only with ``overwrite``."""
        path = path.resolve() if path.is_symlink() else path
        cls.require_room(path, overwrite=overwrite)
        with _making(path):
            if path.exists():
                shutil.rmtree(path)
            (path / "iterations").mkdir(parents=True)
        return cls(path)

    @staticmethod
    def require_room(path: Path, *, overwrite: bool = False) -> None:
        """Raise RunError if ``create`` would."""
        with _making(path):
            if path.exists() and not path.is_dir():
                raise RunError(f"{str(path)!r} is a file, not a folder; give another --out")
            if not path.exists() or not any(path.iterdir()) or _is_unused(path):
                return
            if not overwrite:
                raise RunError(f"{str(path)!r} exists and is not empty; give another --out, or --overwrite")
            if not (path / MARK).is_file():
                raise RunError(f"{str(path)!r} is not a run's folder and is left alone; give another --out")

    @classmethod
    def reopen(cls, path: Path) -> RunFolder:
        """Take a run's folder up again, made anew if it is gone; half-written files are cleared away."""
        with _telling(path):
            (path / "iterations").mkdir(parents=True, exist_ok=True)
            for draft in path.rglob(".*.part"):
                draft.unlink(missing_ok=True)
        folder = cls(path)
        folder._log, folder._again = AGAIN, True
        return folder

    def caught_up(self) -> None:
        """Put the log that was written again in its place; from now on what is written is new."""
        if self._again:
            with _telling(self.path / LOG):
                (self.path / AGAIN).touch()
                _sync(self.path / AGAIN)
                os.replace(self.path / AGAIN, self.path / LOG)
        self._log, self._again = LOG, False

    def iteration(self, number: int) -> Path:
        """Return the folder of an iteration, made if it is not there."""
        folder = self.path / "iterations" / f"{number:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write(self, name: str, text: str) -> Path:
        """Write ``text`` to a file of this folder, all of it or nothing."""
        path = self.path / name
        temporary = path.with_name(f".{path.name}.part")
        data = text.encode("utf-8", "backslashreplace")
        with _telling(path):
            if self._again and path.is_file() and path.read_bytes() == data:
                return path
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync(path.parent)
        return path

    def write_json(self, name: str, data: Mapping[str, Any]) -> Path:
        return self.write(name, plain_json(data, indent=2) + "\n")

    def log(self, lines: list[Mapping[str, Any]]) -> None:
        """Append one line of JSON a candidate."""
        with _telling(self.path / LOG), open(self.path / self._log, "a", encoding="utf-8") as file:
            file.writelines(plain_json(line) + "\n" for line in lines)

    def finish(self) -> None:
        """Have all that was logged on disk."""
        self.caught_up()
        with _telling(self.path / LOG):
            if (self.path / LOG).exists():
                _sync(self.path / LOG)


def _is_unused(path: Path) -> bool:
    """Return whether a run's folder holds nothing but the settings of a run that never began."""
    names = {inside.name for inside in path.iterdir()}
    begun = "iterations" in names and any((path / "iterations").iterdir())
    return names <= USUAL and not names.isdisjoint({MARK, NAME}) and not begun


@contextmanager
def _making(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot make the run's folder {str(path)!r}: {error.strerror or error}; give another --out"
        ) from error


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turn what the disk says into one line."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write {str(path)!r}: {error.strerror}; free some space or give another --out"
        ) from error


def _sync(path: Path) -> None:
    """Have a file, or the names in a folder, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def difference(before: str, after: str, names: tuple[str, str] = ("before", "after")) -> str:
    """Return the unified difference of two texts, empty if they are the same."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm="")
    return "\n".join(lines) + "\n" if before != after else ""


def read_result(path: Path) -> dict[str, Any]:
    """Return a run's result.json; raise RunError where it is missing or not what it must be."""
    try:
        data = json.loads((path / "result.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(
            f"{str(path)!r} has no result.json: the run did not finish, or this is no run's folder"
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{str(path / 'result.json')!r} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise RunError(f"{str(path / 'result.json')!r} must hold an object, got {type(data).__name__}")
    return data


def plain_json(data: Any, *, indent: int | None = None) -> str:
    """Return data as JSON: arrays as lists, anything else as its text."""
    return json.dumps(data, indent=indent, default=_plain)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    return str(value)


try:
    import fcntl
except ImportError:  # Windows, where controllers cannot be locked in either
    fcntl = None  # type: ignore[assignment]

TRIES, PAUSE = 5, 0.05


class RunLock:
    """Holds a run's folder; raises RunError if another process does."""

    def __init__(self, folder: Path) -> None:
        path = folder / NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise RunError(
                f"cannot write {str(path)!r}: {error.strerror}; check its permissions, or give another --out"
            ) from error
        if not _take_soon(self._descriptor):
            os.close(self._descriptor)
            raise RunError(f"another process is at work on the run {str(folder)!r}; wait for it, or end it")

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def held(folder: Path) -> bool:
    """Return whether a process has the run in ``folder``; also this one."""
    try:
        descriptor = os.open(folder / NAME, os.O_RDONLY)
    except OSError:
        return False
    try:
        return fcntl is not None and not _take(descriptor, shared=True)
    finally:
        os.close(descriptor)


def _take_soon(descriptor: int) -> bool:
    """Take the lock, past somebody who only looks whether it is held."""
    for _ in range(TRIES):
        if _take(descriptor):
            return True
        time.sleep(PAUSE)
    return False


def _take(descriptor: int, *, shared: bool = False) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
