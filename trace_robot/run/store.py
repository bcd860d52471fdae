"""A run's folder: everything asked, answered and measured, as files a person can read.

    RUN/
      settings.json             what was asked for
      log.jsonl                 one line a candidate: id, parent, origin, success, score, seconds
      iterations/000/           controller.py, difference.diff, feedback.txt, scores.json,
                                prompt.md and reply.md where a model was asked, episode.mp4
      best.py                   the best controller so far
      result.json               written last

Every file is written under a temporary name, synced and renamed, so that a run that is killed leaves whole
files only.
"""

from __future__ import annotations

import difflib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trace_robot.errors import RunError

MARK = "settings.json"


class RunFolder:
    """Writes one run; every method raises RunError where the disk says no."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, *, overwrite: bool = False) -> RunFolder:
        """Make an empty folder; one that holds an older run is replaced only with ``overwrite``."""
        try:
            path = path.resolve() if path.is_symlink() else path
            if path.exists() and not path.is_dir():
                raise RunError(f"{str(path)!r} is a file, not a folder; give another --out")
            if path.exists() and any(path.iterdir()):
                if not overwrite and not _is_unused(path):
                    raise RunError(
                        f"{str(path)!r} exists and is not empty; give another --out, or --overwrite"
                    )
                if not (path / MARK).is_file():
                    raise RunError(
                        f"{str(path)!r} is not a run's folder and is left alone; give another --out"
                    )
                shutil.rmtree(path)
            (path / "iterations").mkdir(parents=True)
        except OSError as error:
            raise RunError(
                f"cannot make the run's folder {str(path)!r}: {error.strerror or error}; give another --out"
            ) from error
        return cls(path)

    def iteration(self, number: int) -> Path:
        """Return the folder of an iteration, made if it is not there."""
        folder = self.path / "iterations" / f"{number:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write(self, name: str, text: str) -> Path:
        """Write ``text`` to a file of this folder, all of it or nothing."""
        path = self.path / name
        temporary = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            raise RunError(
                f"cannot write {str(path)!r}: {error.strerror}; free some space or give another --out"
            ) from error
        return path

    def write_json(self, name: str, data: Mapping[str, Any]) -> Path:
        return self.write(name, plain_json(data, indent=2) + "\n")

    def log(self, lines: list[Mapping[str, Any]]) -> None:
        """Append one line of JSON a candidate."""
        try:
            with open(self.path / "log.jsonl", "a", encoding="utf-8") as file:
                file.writelines(plain_json(line) + "\n" for line in lines)
        except OSError as error:
            raise RunError(
                f"cannot write {str(self.path / 'log.jsonl')!r}: {error.strerror}; free some space"
            ) from error


def _is_unused(path: Path) -> bool:
    """Return whether a run's folder holds nothing but the settings of a run that never began."""
    names = {inside.name for inside in path.iterdir()}
    return names <= {MARK, "iterations"} and MARK in names and not any((path / "iterations").iterdir())


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
