"""``trace-robot watch``."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.markup import escape

from trace_robot.cli.screen import console
from trace_robot.run.watch import Watch


def run(options: argparse.Namespace) -> int:
    with Watch(Path(options.runs), options.port) as server:
        console().print(f"{escape(options.runs)}: {server.url}  (Ctrl-C ends it)")
        if options.open:
            import webbrowser

            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0
