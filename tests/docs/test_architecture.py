"""The map of the house names what exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
LINK = re.compile(r"\[[^\]]+\]\(\.\./([\w./-]+)\)")


def test_every_file_of_the_map_exists() -> None:
    files = LINK.findall(PAGE)
    assert len(files) > 30
    assert [name for name in files if not (ROOT / name).is_file()] == []


def test_every_step_of_a_run_names_a_thing_of_its_file() -> None:
    steps = PAGE.split("## What happens")[1].split("```text")[0]
    named = re.findall(r"\(\.\./([\w./-]+)\),\s+`([\w.]+)`", steps)
    assert len(named) >= 9
    for file, name in named:
        text = (ROOT / file).read_text(encoding="utf-8")
        for part in name.split("."):
            assert re.search(rf"\b(def|class) {part}\b", text), f"{file} has no {name}"


def test_every_room_is_on_the_map() -> None:
    rooms = {path.name for path in (ROOT / "trace_robot").iterdir() if (path / "__init__.py").is_file()}
    assert {room for room in rooms if f"`{room}`" not in PAGE} == set()
