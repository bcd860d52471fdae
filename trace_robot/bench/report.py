"""Writes the table and the plot of a benchmark's folder, and pastes them into documents."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from trace_robot.bench.plot import svg
from trace_robot.bench.results import ROWS, read_rows
from trace_robot.bench.table import markdown
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
    them is replaced, by "No results yet." where there is no such file. find: gives the results file of a name;
    picture: the address of its plot.
    """

    def slot(match: re.Match[str]) -> str:
        name = match["name"]
        rows = read_rows(find(name))
        plot = f"\n![Success by task]({picture(name)})\n" if rows else ""
        return f"{match[1]}\n{markdown(rows)}{plot}\n{match[3]}"

    return SLOT.sub(slot, document)


def named(document: str) -> list[str]:
    """Return the names of the results files that a document has a place for."""
    return [match["name"] for match in SLOT.finditer(document)]
