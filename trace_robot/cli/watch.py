"""``trace-robot watch``."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.markup import escape

from trace_robot.cli.screen import console
from trace_robot.report.server import Watch


def run(options: argparse.Namespace) -> int:
    with Watch(Path(options.runs), options.port) as server, _ended_by_interrupt(server):
        console().print(f"{escape(options.runs)}: {server.url}  (Ctrl-C ends it)")
        if options.open:
            import webbrowser

            webbrowser.open(server.url)
        server.serve_forever()
    return 0


@contextmanager
def _ended_by_interrupt(server: Watch) -> Iterator[None]:
    """Let Ctrl-C end the server between two requests; also where this process was started with it ignored."""

    def end(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=server.shutdown, daemon=True).start()  # it waits for this thread

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
