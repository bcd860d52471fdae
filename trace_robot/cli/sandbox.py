"""``sandbox``: show the boundary around controllers, or attack it."""

from __future__ import annotations

import argparse

from trace_robot.cli.arguments import Commands, add_command, add_json
from trace_robot.cli.console import console, safe, write_json
from trace_robot.errors import SandboxError


def add_sandbox(commands: Commands) -> None:
    """Add ``sandbox``."""
    command = add_command(
        commands,
        "sandbox",
        "show how controllers are locked in on this machine, or try a corpus of hostile ones",
    )
    command.set_defaults(execute=execute_sandbox)
    command.add_argument(
        "--corpus",
        metavar="FILE",
        help="run every controller of FILE and print what differs from its expected outcome",
    )
    command.add_argument(
        "--no-static-check", action="store_true", help="let the locks of the system stand alone"
    )
    add_json(command)


def execute_sandbox(options: argparse.Namespace) -> int:
    """Print which locks hold on this machine, returning 1 if there is no boundary."""
    from trace_robot.sandbox.selftest import report

    if options.corpus:
        return _execute_corpus(options)
    selftest = report()
    if options.json:
        write_json(selftest.to_data())
    else:
        console().print(str(selftest), markup=False)
    return 0 if selftest.boundary else 1


def _execute_corpus(options: argparse.Namespace) -> int:
    """Run a corpus of controllers, print what differs, return 1 if anything does."""
    from dataclasses import asdict

    from trace_robot.cli.progress import create_progress
    from trace_robot.sandbox.selftest import read_corpus, run_corpus

    try:
        corpus = read_corpus(options.corpus)
    except (OSError, ValueError) as error:
        raise SandboxError(
            f"cannot read the corpus {options.corpus!r}: {error}; give a JSON file with samples"
        ) from error
    out = console(json=options.json)
    with create_progress(out) as progress:
        outcomes = run_corpus(corpus, static_check=not options.no_static_check)
        # The corpus is run one sample at a time while the bar advances: hostile ones may use up their time limit.
        rows = list(progress.track(outcomes, total=len(corpus["samples"]), description="samples"))
    wrong = [row for row in rows if not row.ok]
    if options.json:
        write_json({"samples": len(rows), "wrong": len(wrong), "rows": [asdict(row) for row in rows]})
        return 1 if wrong else 0
    for row in wrong:
        difference = f"{row.id}: expected {' or '.join(row.expected)}, got {row.got}: {row.message}"
        out.print(safe(difference), markup=False)
    out.print(f"{len(rows) - len(wrong)} of {len(rows)} samples ended as they must")
    return 1 if wrong else 0
