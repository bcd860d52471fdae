"""Writes the table and the plot of a benchmark's folder, and pastes them into documents."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trace_robot.bench.plot import svg
from trace_robot.bench.results import ROWS, read_rows
from trace_robot.bench.table import markdown, zoo_markdown
from trace_robot.errors import RunError
from trace_robot.run.store import RunFolder

TABLE, PLOT = "table.md", "plot.svg"
SLOT = re.compile(r"(<!-- results: (?P<name>[\w./-]+) -->\n).*?(<!-- end of results -->)", re.DOTALL)


def write_report(out: Path) -> tuple[Path, Path]:
    """Write table.md and plot.svg of all rows in ``out``; return their paths."""
    rows = read_rows(out / ROWS)
    folder = RunFolder(out)
    return folder.write(TABLE, markdown(rows)), folder.write(PLOT, svg(rows))


def pasted(document: str, find: Callable[[str], Path], picture: Callable[[str], str]) -> str:
    """Return a Markdown document with the table and plot of each results file put where it is named.

    A place is a pair of comments, ``<!-- results: NAME -->`` and ``<!-- end of results -->``; what was between
    them is replaced, by "No results yet." where there is no such file. A name that ends with .json is that of what
    ``trace-robot evaluate zoo --json`` printed. find: gives the results file of a name; picture: the address of its
    plot.
    """

    def slot(match: re.Match[str]) -> str:
        name = match["name"]
        if name.endswith(".json"):
            return f"{match[1]}\n{zoo_markdown(_json(find(name)))}\n{match[3]}"
        rows = read_rows(find(name))
        plot = f"\n![Success by task]({picture(name)})\n" if rows else ""
        return f"{match[1]}\n{markdown(rows)}{plot}\n{match[3]}"

    return SLOT.sub(slot, document)


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{str(path)!r} is not what evaluate zoo --json prints: {error}") from error


def named(document: str) -> list[str]:
    """Return the names of the results files that a document has a place for."""
    return [match["name"] for match in SLOT.finditer(document)]
