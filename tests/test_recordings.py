"""Recordings, the zoo and the store of 0.1.0 are, byte for byte, what tests/recordings.sha256 says.

They were made by models and searches that are not run again, and prompts must match recordings exactly. Where a change
is meant, write the list again with the command in its first line, and say in the commit why.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIST = ROOT / "tests" / "recordings.sha256"
FOLDERS = ("rollouts/recordings", "policies/zoo", "policies/robust", "tests/fixtures/store_0_1")
LINES = [line for line in LIST.read_text().splitlines() if not line.startswith("#")]
KNOWN = {name: known for known, name in (line.split("  ", 1) for line in LINES)}


def files(folder: str) -> set[str]:
    """Return the files of a folder that belong to it, relative to the project."""
    every = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    return {
        path.relative_to(ROOT).as_posix()
        for path in every
        if "__pycache__" not in path.parts and path.name != "README.md"
    }


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_was_changed(folder: str) -> None:
    listed = {name: known for name, known in KNOWN.items() if name.startswith(f"{folder}/")}
    assert listed
    now = {
        name: hashlib.sha256((ROOT / name).read_bytes()).hexdigest()
        for name in listed
        if (ROOT / name).is_file()
    }
    assert [name for name in listed if now.get(name) != listed[name]] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_was_added_without_being_listed(folder: str) -> None:
    assert sorted(files(folder) - set(KNOWN)) == []


def test_the_list_names_nothing_else_and_nothing_twice() -> None:
    assert len(KNOWN) == len(LINES)
    assert [name for name in KNOWN if not name.startswith(FOLDERS)] == []
