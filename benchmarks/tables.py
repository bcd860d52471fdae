"""Put measured results into docs/benchmarks.md, so that no figure there was typed by hand.

    python benchmarks/tables.py                                       tables and plots again, from benchmarks/results
    python benchmarks/tables.py rollouts/runs/bench-paper-search      first take the results of these folders over

A folder's results are kept as benchmarks/results/PROTOCOL-OPTIMIZER.jsonl, with the level of feedback where it is
not "outcome"; the document says where each belongs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from trace_robot.bench.report import named, pasted, svg
from trace_robot.bench.results import ROWS, ResultRow, read_rows
from trace_robot.errors import TraceRobotError

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "benchmarks" / "results"
PICTURES = ROOT / "docs" / "images"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="of trace-robot bench")
    try:
        for folder in parser.parse_args().folders:
            print(f"{folder}: {take(folder)}")
        document = DOCUMENT.read_text(encoding="utf-8")
        for name in named(document):
            if name.endswith(".json"):
                continue
            rows = read_rows(RESULTS / name)
            print(f"{name}: {len(rows)} rows")
            if rows:
                (PICTURES / picture(name)).write_text(svg(rows), encoding="utf-8")
    except TraceRobotError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    new = pasted(document, lambda name: RESULTS / name, lambda name: f"images/{picture(name)}")
    DOCUMENT.write_text(new, encoding="utf-8")
    return 0


def take(folder: Path) -> str:
    """Copy a folder's results to benchmarks/results and return the name they have there."""
    rows = read_rows(folder / ROWS)
    if not rows:
        raise TraceRobotError(f"{str(folder)!r} has no results; give a folder that trace-robot bench wrote")
    name = kept_as(rows[0])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text((folder / ROWS).read_text(encoding="utf-8"), encoding="utf-8")
    return name


def kept_as(row: ResultRow) -> str:
    level = "" if row.feedback == "outcome" else f"-{row.feedback}"
    return f"{row.protocol}-{row.optimizer}{level}.jsonl"


def picture(name: str) -> str:
    return f"{Path(name).stem}.svg"


if __name__ == "__main__":
    sys.exit(main())
