"""A run's folder: prompts, replies, controllers and scores as readable files.

    RUN/
      settings.json             what was asked for
      log.jsonl                 one line a candidate: id, parent, origin, success, score, seconds
      iterations/000/           controller.py, difference.diff, feedback.txt, scores.json,
                                prompt.md and reply.md where a model was asked, episode.mp4
      best.py                   the best controller so far
      before.mp4                the start on the condition that the best one's video shows, where that is another
      result.json               written last
      tags.txt                  the user's labels, one a line; only where there are some
      .lock                     locked by the process that executes the run

Every file is written atomically: under a temporary name, synced, renamed. So a run that is killed leaves whole files
only. No link in the folder is followed (``trace_robot.safe_files``), as it may come from another person. A resumed run
writes the same files again while it replays its journal; its log goes to a file beside the old one, which it replaces
once the replay is over.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from trace_robot import safe_files
from trace_robot.errors import RunError
from trace_robot.line_diff import unified_diff

LOCK, MARK, LOG, REPLAYED_LOG = ".lock", "settings.json", "log.jsonl", ".log.jsonl.part"
TAGS, MOST_TAGS = "tags.txt", 100  # a tag a line
BEFORE_VIDEO = "before.mp4"
UNUSED = {MARK, LOCK, "iterations"}  # all that is in the folder of a run that has not begun


class RunFolder:
    """Writes one run's files.

    Raises:
        RunError: from every method, a file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log = LOG
        self._replaying = False

    @classmethod
    def create(cls, path: Path, *, overwrite: bool = False) -> RunFolder:
        """Create a run's folder, empty.

        Args:
            path: the folder; a link to one is followed.
            overwrite: whether to remove an older run from it.

        Raises:
            RunError: there is something else, or an older run that is not to be overwritten.
        """
        # A link is followed here: rmtree refuses one, and what it leads to is what the user means.
        path = path.resolve() if path.is_symlink() else path
        cls.require_room(path, overwrite=overwrite)
        with _creating(path):
            if path.exists():
                shutil.rmtree(path)
            (path / "iterations").mkdir(parents=True)
        return cls(path)

    @staticmethod
    def require_room(path: Path, *, overwrite: bool = False) -> None:
        """Check that ``create`` with these arguments would succeed.

        Args:
            path: the folder.
            overwrite: whether to remove an older run from it.

        Raises:
            RunError: it would not.
        """
        with _creating(path):
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
        """Open a run's folder to resume the run.

        The folder is created if it is gone, and files that were half written are removed.
        """
        with _writing(path):
            (path / "iterations").mkdir(parents=True, exist_ok=True)
            for draft in path.rglob(".*.part"):
                draft.unlink(missing_ok=True)
        folder = cls(path)
        folder._log, folder._replaying = REPLAYED_LOG, True
        return folder

    def caught_up(self) -> None:
        """End the replay: the log that it wrote replaces the old one."""
        if self._replaying:
            with _writing(self.path / LOG):
                self._sync_log()
                safe_files.replace(self.path, REPLAYED_LOG, LOG, sync=True)
        self._log, self._replaying = LOG, False

    def iteration(self, number: int) -> Path:
        """Return the folder of an iteration, which ``write`` creates."""
        return self.path / "iterations" / f"{number:03d}"

    def write(self, name: str, text: str) -> Path:
        """Write a file of this folder atomically, on disk when this returns.

        Args:
            name: its path in this folder.
            text: may hold half surrogate pairs, as a model's reply can; they are written as backslash escapes.
        """
        path = self.path / name
        data = text.encode("utf-8", "backslashreplace")
        # A replay writes every file of the run again; to read an unchanged one is cheaper than an fsync.
        if self._replaying:
            with suppress(OSError):
                if safe_files.read_bytes(self.path, name, len(data)) == data:
                    return path
        with _writing(path):
            safe_files.write(self.path, name, data, sync=True)
        return path

    def write_json(self, name: str, data: Mapping[str, Any]) -> Path:
        """Write a file of JSON atomically.

        Args:
            name: its path in this folder.
            data: what ``plain_json`` takes.
        """
        return self.write(name, plain_json(data, indent=2) + "\n")

    def log(self, lines: list[Mapping[str, Any]]) -> None:
        """Append a line of JSON for each candidate.

        It is synced by ``finish`` alone, since the store has the same.
        """
        with _writing(self.path / LOG), safe_files.open_append(self.path, self._log) as file:
            file.writelines(plain_json(line).encode() + b"\n" for line in lines)

    def finish(self) -> None:
        """Sync the log."""
        self.caught_up()
        with _writing(self.path / LOG):
            if safe_files.is_file(self.path, LOG):
                self._sync_log()

    def _sync_log(self) -> None:
        with safe_files.open_append(self.path, self._log) as file:
            os.fsync(file.fileno())


def _is_unused(path: Path) -> bool:
    """Return whether a folder holds at most the settings of a run that never began."""
    names = {entry.name for entry in path.iterdir()}
    begun = "iterations" in names and any((path / "iterations").iterdir())
    return names <= UNUSED and not names.isdisjoint({MARK, LOCK}) and not begun


@contextmanager
def _creating(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot make the run's folder {str(path)!r}: {error.strerror or error}; give another --out"
        ) from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn an OSError in the block into a RunError that says what to do."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write {str(path)!r}: {error.strerror}; free some space or give another --out"
        ) from error


def difference(before: str, after: str, names: tuple[str, str] = ("before", "after")) -> str:
    """Return the unified diff of two texts.

    Args:
        before: the older text.
        after: the newer text.
        names: what to call them in the diff's header.

    Returns:
        The diff, with three lines of context around each change; "" if the texts are the same.
    """
    lines = unified_diff(before.splitlines(), after.splitlines(), *names)
    return "\n".join(lines) + "\n" if before != after else ""


def read_result(path: Path) -> dict[str, Any]:
    """Return what a run's result.json holds.

    Args:
        path: the run's folder.

    Raises:
        RunError: the file is missing, cannot be read, or holds no JSON object.
    """
    try:
        data = safe_files.load_json(safe_files.read_bytes(path, "result.json"))
    except FileNotFoundError as error:
        raise RunError(
            f"file not found: {str(path / 'result.json')!r}; the run did not finish, or this is no run's folder"
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{str(path / 'result.json')!r} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise RunError(f"{str(path / 'result.json')!r} must hold an object, got {type(data).__name__}")
    return data


def plain_json(data: Any, *, indent: int | None = None) -> str:
    """Return data as strict JSON, arrays as lists, and anything unknown as its text.

    For the store and the run's files. It must never fail, since what it is given was paid for: an ``info`` entry of
    an environment may be any object. NaN and infinity are null, as JSON has no numbers for them.

    Args:
        data: mappings, sequences, arrays, numbers and texts.
        indent: spaces for each level; None writes one line.
    """
    try:
        return json.dumps(data, indent=indent, default=_plain, allow_nan=False)
    except ValueError:  # NaN or infinity, which JSON has not and many readers refuse
        readable = json.loads(json.dumps(data, default=_plain), parse_constant=lambda _: None)
        return json.dumps(readable, indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy arrays and numbers, without importing numpy
        return value.tolist()
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    return str(value)


def read_tags(path: Path) -> tuple[str, ...]:
    """Return the tags of a run's folder, none where they cannot be read.

    Tags are a file of the folder and not of the store: its format stays, and they go where the folder goes.
    """
    try:
        text = safe_files.read_bytes(path.parent, f"{path.name}/{TAGS}", 100_000).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ()
    return tuple(dict.fromkeys(line for line in text.split("\n") if is_tag(line)))[:MOST_TAGS]


def write_tags(path: Path, tags: Iterable[str]) -> None:
    """Replace the tags of a run's folder.

    Args:
        path: the folder.
        tags: all of them; what ``is_tag`` refuses is left out.

    Raises:
        RunError: the file cannot be written.
    """
    text = "".join(f"{tag}\n" for tag in dict.fromkeys(tags) if is_tag(tag))
    with _writing(path / TAGS):
        safe_files.write(path.parent, f"{path.name}/{TAGS}", text.encode(), sync=True)


def is_tag(text: str) -> bool:
    """Return whether this can be a tag: up to 40 letters, digits and ``_.:+-``."""
    return re.fullmatch(r"[\w.:+-]{1,40}", text) is not None


class RunLock:
    """An exclusive lock (flock) on a run's folder, as a context manager.

    The kernel releases it when the process ends, however it ends.

    Raises:
        RunError: another process holds it, or the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / LOCK
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = safe_files.open_locked(folder, LOCK)
        except OSError as error:
            raise RunError(
                f"cannot write {str(path)!r}: {error.strerror}; check its permissions, or give another --out"
            ) from error
        if descriptor is None:
            raise RunError(f"another process is at work on the run {str(folder)!r}; wait for it, or end it")
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            # A second release must not close a file that was given the same number since.
            self._descriptor = -1

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def is_locked(folder: Path) -> bool:
    """Return whether a process, this one included, executes the run in ``folder``."""
    # Below the folder of all runs, so that a link in the place of the run's folder is not followed either.
    return safe_files.is_locked(folder.parent, f"{folder.name}/{LOCK}")
