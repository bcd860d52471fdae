"""``trace-robot envs``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from rich.markup import escape
from rich.table import Table

from trace_robot.cli.screen import console, write_json
from trace_robot.env.gymnasium_ids import gymnasium_ids
from trace_robot.env.registry import CatalogEntry, catalogue
from trace_robot.errors import unknown

OTHERS = "Any other id that gymnasium knows works too: trace-robot optimize --env Ant-v5 --task 'Run to the right.'"


def run(options: argparse.Namespace) -> int:
    entries = catalogue()
    if options.word:
        entries = _with_word(options.word, entries)
    if options.json:
        write_json([asdict(entry) for entry in entries])
        return 0
    table = Table("environment", "task", box=None, padding=(0, 2, 0, 0))
    for entry in entries:
        table.add_row(escape(entry.name), escape(entry.instruction))
    out = console()
    out.print(table)
    if not options.word:
        out.print(f"\n{escape(OTHERS)}")
    return 0


def _with_word(word: str, entries: list[CatalogEntry]) -> list[CatalogEntry]:
    """Return the environments that have the word in their name or task, also those that only gymnasium knows."""
    low = word.lower()
    found = [each for each in entries if low in f"{each.name} {each.instruction}".lower()]
    names = {each.name for each in entries}
    ids = [name for name in _newest(gymnasium_ids()) if name not in names]
    found += [
        CatalogEntry(name, "give it a task: --task 'in words'", "", "gymnasium")
        for name in ids
        if low in name.lower()
    ]
    if not found:
        raise unknown("environment", word, [*names, *ids])
    return found


def _newest(ids: list[str]) -> list[str]:
    """Return the ids without those of which there is a newer version."""
    newest: dict[str, tuple[int, str]] = {}
    for name in ids:
        family, _, version = name.rpartition("-v")
        number = int(version) if family and version.isdigit() else -1
        newest[family or name] = max(newest.get(family or name, (number, name)), (number, name))
    return [name for _, name in newest.values()]
