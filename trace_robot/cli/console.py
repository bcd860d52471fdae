"""Standard output and standard error: the only module that writes to them.

Text that comes from files, models and environments is made harmless here, in one place: ``safe`` writes out
control characters, ``escape`` also disarms rich's markup. The parser imports this module for every command, so
rich and the library are imported inside the functions that need them: see ``main``.
"""

from __future__ import annotations

import difflib
import io
import logging
import math
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from trace_robot.errors import spelled

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from trace_robot.rollout.episode import Episode


_progress = SimpleNamespace(quiet=False, json=False)
WRONG = 2  # exit code of a wrong command line, that of argparse
INTERRUPTED = 130  # exit code: 128 + SIGINT, as shells report it
PIPED_WIDTH = 200  # columns where there is no terminal to measure; tables are not squeezed in pipes and files

LONGEST_TEXT = 200_000  # characters; a terminal takes minutes for the 3 million lines that a store can hold


# Text made safe.


def safe(text: str) -> str:
    """Return the text with terminal control characters written out, such as \\x1b.

    It keeps its lines and tabs; what is longer than ``LONGEST_TEXT`` is cut, with a note.
    """
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}\n[{len(text) - LONGEST_TEXT:,} more characters are not shown]"
    return spelled(text)


def safe_line(text: str) -> str:
    """Return the text safe, its line breaks and tabs written out too.

    So it forges no other line."""
    return safe(text).replace("\n", "\\n").replace("\t", "\\t")


class SafeStream:
    """A text stream that writes out control characters, around another one.

    So what argparse, logging, warnings and tracebacks print is safe as well. Rich, whose colors are control characters,
    writes to ``raw``, and is safe by ``SafeConsole``.
    """

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def write(self, text: str) -> int:
        """Write the text safe, and return the number of its characters."""
        self.raw.write(spelled(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts one after the other."""
        for each in lines:
            self.write(each)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


@contextmanager
def safe_output() -> Iterator[None]:
    """Let all that is printed in the block go through ``SafeStream``."""
    before, show = (sys.stdout, sys.stderr), warnings.showwarning
    handler, heard = _LogLines(logging.WARNING), _Warnings()
    if not sys.warnoptions:  # with python -W or PYTHONWARNINGS, the user wants to see where they come from
        warnings.showwarning = heard.add
    sys.stdout, sys.stderr = (SafeStream(_raw(stream)) for stream in before)
    logging.getLogger("trace_robot").addHandler(handler)
    try:
        yield
    finally:
        warnings.showwarning = show
        heard.report()
        logging.getLogger("trace_robot").removeHandler(handler)
        sys.stdout, sys.stderr = before


class _LogLines(logging.Handler):
    """Prints the library's warnings, each as one line."""

    def emit(self, record: logging.LogRecord) -> None:
        write_error(" ".join(record.getMessage().split()))


class _Warnings:
    """Counts the warnings of libraries and reports them at the end.

    One in the middle would break the screen. Those of rollout processes are in a run's environment.log.
    """

    def __init__(self) -> None:
        self.count, self.first = 0, ""

    def add(self, message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        """Take the place of ``warnings.showwarning``.

        Args:
            message: the warning.
            category: its class.
        """
        self.count += 1
        self.first = self.first or f"{category.__name__}: {message}"

    def report(self) -> None:
        """Write one line, if there was any."""
        if self.count:
            first = line(re.sub(r"\x1b\[[0-9;]*m", "", self.first), 160)  # gymnasium colors them
            write_error(
                f"note: {counted(self.count, 'warning')} of libraries, the first: {first}; see all: python -W default"
            )


def _raw(stream: Any) -> Any:
    return stream.raw if isinstance(stream, SafeStream) else stream


def escape(text: str) -> str:
    """Return the text safe, on one line, its square brackets not read as markup."""
    from rich.markup import escape as escape_markup

    return escape_markup(safe_line(text))


def line(text: str, length: int = 70) -> str:
    """Return the beginning of a text on one line, safe.

    Args:
        text: any text; runs of white space become one blank.
        length: characters to keep, the closing ellipsis included.
    """
    words = " ".join(safe(text).split())
    if len(words) <= length:
        return words
    # Cut between words, unless a long one would take most of the line with it.
    shown, rest = words[: length - 1], words[length - 1]
    whole = shown if rest == " " else shown.rpartition(" ")[0]
    return f"{whole if len(whole) > length / 2 else shown}…"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 episode", "1,200 episodes".

    Args:
        number: how many.
        noun: in the singular, with its plural in s.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a time in fitting units: "9 s", "1 min 40 s", "12 min", "3 h 05 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 599.5:
        return f"{round(seconds) // 60} min {round(seconds) % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def setting_text(value: Any) -> str:
    """Return a setting's value as short text, "-" for None."""
    return "-" if value is None else line(str(value), 60)


# The two streams.


def console(*, quiet: bool = False, json: bool = False) -> Console:
    """Return the rich console for text.

    Rich itself respects NO_COLOR.

    Args:
        quiet: print nothing.
        json: standard output is reserved for JSON, so text goes to standard error.
    """
    from rich.console import Console
    from rich.segment import Segment

    class SafeConsole(Console):
        def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
            """Render, with control characters written out.

            Args:
                renderable: of rich.
                options: of rich.
            """
            for segment in super().render(renderable, options):
                text, style, control = segment
                yield segment if control else Segment(spelled(text), style)

        def on_broken_pipe(self) -> None:
            """Go on silently when the reader of a pipe, such as head, has left."""
            self.quiet = True  # rich would exit with code 1, as if the command had failed
            discard_output()

    stream = _raw(sys.stderr if json else sys.stdout)
    terminal = stream.isatty()
    # A terminal would break a long line in the middle of a word; a pipe gets the line whole.
    width = None if terminal else PIPED_WIDTH
    return SafeConsole(file=stream, quiet=quiet, highlight=False, soft_wrap=not terminal, width=width)


def progress_console() -> Console:
    """Return the console for progress, as ``show_progress`` has set it."""
    return console(quiet=_progress.quiet, json=_progress.json)


def show_progress(*, quiet: bool, json: bool) -> None:
    """Set what ``progress_console`` prints, from this command on.

    Args:
        quiet: nothing.
        json: standard output is reserved for JSON, so text goes to standard error.
    """
    _progress.quiet, _progress.json = quiet, json


def create_table(*columns: str, header: bool = True) -> Table:
    """Return an empty table without lines and without blanks at the end of a row.

    Args:
        columns: headings of left-aligned columns; others can be added with ``add_column``.
        header: show the headings.
    """
    from rich.segment import Segment
    from rich.table import Table

    class TrimmedTable(Table):
        def __rich_console__(self, console: Console, options: Any) -> Iterator[Segment]:
            for row in Segment.split_lines(super().__rich_console__(console, options)):  # type: ignore[arg-type]
                while row and not row[-1].text.strip(" "):
                    row.pop()
                if row:
                    row[-1] = Segment(row[-1].text.rstrip(" "), row[-1].style)
                yield from (*row, Segment.line())

    return TrimmedTable(*columns, box=None, padding=(0, 2, 0, 0), show_header=header, header_style="bold")


def write_json(data: Any) -> None:
    """Write data to standard output as indented JSON."""
    import json

    sys.stdout.write(json.dumps(plain(data), indent=2, allow_nan=False) + "\n")


def write_text(text: str) -> None:
    """Write text to standard output as it is, but for control characters."""
    sys.stdout.write(text)


def write_error(text: str) -> None:
    """Write one line to standard error: ``trace-robot: TEXT``, fitted to a terminal."""
    sys.stderr.write(f"{fitted(f'trace-robot: {safe_line(text)}')}\n")


def write_at_once(text: str) -> None:
    """Write a line to standard error past its buffer, as a signal handler must."""
    os.write(2, f"{safe_line(text)}\n".encode(errors="backslashreplace"))


def fitted(text: str) -> str:
    """Return a line for standard error, broken at blanks where a terminal needs it."""
    if not sys.stderr.isatty():
        return text
    import shutil
    import textwrap

    # A terminal that has no size, as in some containers, is as wide as COLUMNS says, else 80.
    columns = os.get_terminal_size(sys.stderr.fileno()).columns or shutil.get_terminal_size().columns
    columns = max(20, columns)
    rows = textwrap.wrap(
        text, columns, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(rows)


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


class MissingSuccess:
    """Watches whether any episode's info has the entry that means success.

    text: the line on it once episodes have ended without, "" before that and once one had it.
    """

    def __init__(self, env: str) -> None:
        """Watch an environment, by its name."""
        self.text, self._env, self._seen = "", env, False

    def see(self, episodes: Sequence[Episode]) -> str:
        """Return the line where these episodes are the first to show it, else "".

        Args:
            episodes: of a controller.
        """
        from trace_robot.rollout.evidence import success_missing

        missing, known = success_missing(episodes), self.text
        self._seen = self._seen or (not missing and any(episode.fault is None for episode in episodes))
        self.text = "" if self._seen else known or (self._line(episodes) if missing else "")
        return "" if known else self.text

    def _line(self, episodes: Sequence[Episode]) -> str:
        from trace_robot.env.declaration import SUCCESS_FLAGS, SUCCESS_MISSING
        from trace_robot.env.registry import declared_success
        from trace_robot.env.world_episode import DRAWN

        infos = [episode.infos for episode in episodes]
        names = {name for info in infos for name in info} - {"success", "steps", SUCCESS_MISSING}
        names = {name for name in names if not name.startswith((DRAWN, "quality_"))}
        # The usual entries are not kept as numbers: the mark says which of them there is.
        marks = {info.get(SUCCESS_MISSING) for info in infos}
        names |= {flag for place, flag in enumerate(SUCCESS_FLAGS, 1) if 1 + place in marks}
        declared = declared_success(self._env)
        near = difflib.get_close_matches(declared, names, n=1)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        return (
            f"note: no episode's info had the entry {declared!r} that the plug-in declares as success{meant};"
            f" what info had: {', '.join(sorted(names)) or 'none'}; if the name is right, the"
            f" environment sets it at a success alone; see: trace-robot check-env {self._env}"
        )


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


# JSON.


def plain(value: Any) -> Any:
    """Return what JSON can hold: a path as text, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if hasattr(value, "__fspath__") else value
