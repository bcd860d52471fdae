"""Standard output and standard error: the only module that writes to them.

Text that comes from files, models and environments is made harmless here, in one place: ``safe`` writes out
control characters, ``escape`` also disarms rich's markup. The parser imports this module for every command, so
rich and the library are imported inside the functions that need them: see ``main``.
"""

from __future__ import annotations

import io
import math
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from trace_robot.store.history import IterationInfo, RunInfo, Score

INTERRUPTED = 130  # exit code: 128 + SIGINT, as shells report it
PIPED_WIDTH = 200  # columns where there is no terminal to measure; tables are not squeezed in pipes and files

# Terminal control characters except tab and newline (C0, DEL, C1), and the Unicode marks that reverse the
# direction of writing, with which text can pretend to be other text ("Trojan source", CVE-2021-42574).
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


# Text made safe.


def safe(text: str) -> str:
    """Return the text with terminal control characters written out, such as \\x1b."""
    return CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


def escape(text: str) -> str:
    """Return the text safe, its square brackets shown rather than read as markup."""
    from rich.markup import escape as escape_markup

    return escape_markup(safe(text))


def line(text: str, length: int = 70) -> str:
    """Return the beginning of a text on one line, safe.

    Args:
        text: any text; runs of white space become one blank.
        length: characters to keep, the closing ellipsis included.
    """
    words = " ".join(safe(text).split())
    return words if len(words) <= length else f"{words[: length - 1]}…"


def duration(seconds: float) -> str:
    """Return a time in the largest fitting unit: "9 s", "12 min", "3 h 05 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


# The two streams.


def console(*, quiet: bool = False, json: bool = False) -> Console:
    """Return the rich console for text.

    Rich itself respects NO_COLOR.

    Args:
        quiet: print nothing.
        json: standard output is reserved for JSON, so text goes to standard error.
    """
    from rich.console import Console

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:
            """Go on silently when the reader of a pipe, such as head, has left."""
            self.quiet = True  # rich would exit with code 1, as if the command had failed
            discard_output()

    piped = not (sys.stderr if json else sys.stdout).isatty()
    return PipeConsole(
        stderr=json, quiet=quiet, highlight=False, soft_wrap=True, width=PIPED_WIDTH if piped else None
    )


def create_table(*columns: str, header: bool = True) -> Table:
    """Return an empty table without lines, two blanks between its columns.

    Args:
        columns: headings of left-aligned columns; others can be added with ``add_column``.
        header: show the headings.
    """
    from rich.table import Table

    return Table(*columns, box=None, padding=(0, 2, 0, 0), show_header=header, header_style="bold")


def write_json(data: Any) -> None:
    """Write data to standard output as indented JSON."""
    import json

    sys.stdout.write(json.dumps(data, indent=2) + "\n")


def write_error(text: str) -> None:
    """Write one line to standard error: ``trace-robot: TEXT``."""
    sys.stderr.write(f"trace-robot: {safe(text)}\n")


def confirm(title: str, plan: Sequence[str]) -> bool:
    """Return whether the user says yes at the terminal, False without a terminal.

    Args:
        title: why it is asked.
        plan: what is done after a yes, a line each.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    for text in (title, *plan):
        write_error(text)
    sys.stderr.write("go on? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline(100).strip().lower() in ("y", "yes")


def tolerate_encoding() -> None:
    """Write \\u escapes for letters that a stream's encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush_output() -> None:
    """Flush standard output, so that a full disk or a closed pipe raises now."""
    sys.stdout.flush()


def discard_output() -> None:
    """Point standard output at the null device.

    Python flushes it once more at exit, which would fail again and print a traceback.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def interruptible(message: str = "stopped at once") -> Iterator[None]:
    """Let the first Ctrl-C stop cleanly and the second end the process at once.

    The first raises KeyboardInterrupt in the block, which may take its time to clean up. The second writes
    ``message`` and exits with code 130.

    Args:
        message: the line on standard error at the second Ctrl-C.
    """

    def first(*_: Any) -> None:
        signal.signal(signal.SIGINT, second)
        raise KeyboardInterrupt

    def second(*_: Any) -> None:
        # A signal handler may interrupt a write of the buffered stream, so it writes to the descriptor.
        os.write(2, f"trace-robot: {message}\n".encode(errors="backslashreplace"))
        os._exit(INTERRUPTED)  # child processes end when they find their pipes closed

    if threading.current_thread() is not threading.main_thread():
        yield  # Python allows signal handlers in the main thread only
        return
    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# Runs as JSON.


def run_data(run: RunInfo) -> dict[str, Any]:
    """Return what ``--json`` prints of a run."""
    from dataclasses import asdict

    scores = {name: _score_data(getattr(run, name)) for name in ("start", "training", "held_out")}
    data: dict[str, Any] = plain({**asdict(run), **scores, "tokens": run.tokens})
    return data


def iteration_data(iteration: IterationInfo) -> dict[str, Any]:
    """Return what ``--json`` prints of an iteration."""
    from dataclasses import asdict

    fields = {**asdict(iteration), "tokens": iteration.tokens}
    del fields["parent_controller"]  # the parent's own entry holds it
    data: dict[str, Any] = plain(fields)
    return data


def plain(value: Any) -> Any:
    """Return what JSON can hold: a path as text, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if hasattr(value, "__fspath__") else value


def _score_data(score: Score | None) -> dict[str, Any] | None:
    from dataclasses import asdict

    return None if score is None else {**asdict(score), "interval": list(score.interval)}
