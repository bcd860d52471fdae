"""``trace-robot report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.markup import escape

from trace_robot.cli.find import find, runs_folder
from trace_robot.cli.screen import console, write_json
from trace_robot.report.write import write_report


def run(options: argparse.Namespace) -> int:
    history, found = find(options.run, runs_folder(options))
    with history:
        out = Path(options.out) if options.out else None
        written = write_report(history, found, out, single=options.single_file)
    if options.json:
        write_json({"report": str(written.path), "bytes": written.size, "videos": written.videos})
    elif options.quiet:
        console().print(str(written.path), markup=False)
    else:
        size = f"{written.size / 1e6:.1f} MB, {written.videos} video{'' if written.videos == 1 else 's'}"
        console().print(f"{escape(str(written.path))}: {size}; open it in a browser")
    return 0
