"""The changelog's tables of import paths lead to what exists."""

from __future__ import annotations

import importlib
import re
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TEXT = (Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")
PART = TEXT.split("### Import paths")[1].split("\n## ")[0]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\| `.*$", PART, re.M)]


def quoted(cell: str) -> list[str]:
    """Return the names in backquotes of a cell, those in braces one by one."""
    names = []
    for name in re.findall("`([^`]+)`", cell):
        before, _, braced = name.partition("{")
        names += [before + part.strip() for part in braced.rstrip("}").split(",")]
    return names


def found(path: str) -> Any:
    """Return the module of a dotted path, or the part of one."""
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(["trace_robot", *parts[:count]]))
        except ModuleNotFoundError:
            continue
        return reduce(getattr, parts[count:], module)
    raise AssertionError(f"there is no trace_robot.{path}")


@pytest.mark.parametrize("row", [row for row in ROWS if len(row) == 2], ids=lambda row: row[0])
def test_the_new_home_of_every_module_exists(row: list[str]) -> None:
    homes = quoted(row[1])
    if "the same names" in row[1]:
        homes = [f"{homes[0]}.{old.rpartition('.')[2]}" for old in quoted(row[0])]
    assert [home for home in homes if not isinstance(found(home), ModuleType)] == []


@pytest.mark.parametrize("row", [row for row in ROWS if len(row) == 3], ids=lambda row: f"{row[0]} {row[1]}")
def test_every_name_is_in_its_new_home(row: list[str]) -> None:
    for home in quoted(row[2]):
        place = found(home)
        if isinstance(place, ModuleType):
            assert [name for name in quoted(row[1]) if not hasattr(place, name)] == []


def test_the_tables_are_read() -> None:
    assert len(ROWS) > 120
    assert quoted("`a.{b, c}`, the same names") == ["a.b", "a.c"]
    with pytest.raises((AssertionError, AttributeError)):
        found("no_such_module.name")
