"""``trace-robot sandbox``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from rich.progress import Progress

from trace_robot.cli.screen import console, write_json
from trace_robot.errors import SandboxError


def run(options: argparse.Namespace) -> int:
    if options.corpus:
        return _corpus(options)
    from trace_robot.sandbox.selftest import report

    found = report()
    if options.json:
        write_json(found.to_data())
    else:
        console().print(str(found), markup=False)
    return 0 if found.boundary else 1


def _corpus(options: argparse.Namespace) -> int:
    """Run a corpus, print what differs, and return 1 if anything does."""
    from trace_robot.sandbox.selftest import read_corpus, run_corpus

    try:
        corpus = read_corpus(options.corpus)
    except (OSError, ValueError) as error:
        raise SandboxError(
            f"cannot read the corpus {options.corpus!r}: {error}; give a JSON file with samples"
        ) from error
    out = console(json=options.json)
    with Progress(console=out, transient=True, disable=not out.is_terminal) as progress:
        rows = run_corpus(corpus, static_check=not options.no_static_check)
        done = list(progress.track(rows, total=len(corpus["samples"]), description="samples"))
    wrong = [row for row in done if not row.ok]
    if options.json:
        write_json({"samples": len(done), "wrong": len(wrong), "rows": [asdict(row) for row in done]})
        return 1 if wrong else 0
    for row in wrong:
        out.print(
            f"{row.id}: expected {' or '.join(row.expected)}, got {row.got}: {row.message}", markup=False
        )
    out.print(f"{len(done) - len(wrong)} of {len(done)} samples ended as they must")
    return 1 if wrong else 0
