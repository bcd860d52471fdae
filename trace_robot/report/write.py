"""Write a report as a folder with videos, or as one self-contained file.

Both open from disk (file:) without a server. Pages are replaced atomically, and nothing but a report is overwritten.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trace_robot.errors import RunError
from trace_robot.report.escape import data_address, inside, markup
from trace_robot.report.html import PLOTLY, iteration_html, packed, plotly_path, render
from trace_robot.report.iterations import Source
from trace_robot.report.page import page_of
from trace_robot.store.history import AttemptInfo, History, IterationInfo, RunInfo

# Iterations up to which all is in the page's text, where the browser's search finds it. Beyond, bodies are compressed
# and unpacked on demand: a model's run of 1,000 with prompts of 20 kB is 9.5 MB so, 4.8 of them plotly's script.
INLINE = 40
MOST_FILMS = 40  # videos inside a single file; base64 makes each a third larger


@dataclass(frozen=True, slots=True)
class Written:
    """A report on disk.

    Attributes:
        path: of its page.
        size: of all its files, in bytes.
        videos: how many it contains.
    """

    path: Path
    size: int
    videos: int


def write_report(history: History, run: RunInfo, out: Path | None = None, *, single: bool = False) -> Written:
    """Write the report of a run.

    Args:
        history: the open store.
        run: one of its runs; it may still be going on.
        out: a folder, default ``report`` in the run's; with ``single`` a file, default ``report.html`` there.
        single: whether to write one self-contained file.

    Returns:
        Where it is, with size and number of videos.

    Raises:
        RunError: ``out`` is not a report's, or cannot be written.
        MissingExtraError: plotly is not installed.
    """
    target = out or run.folder / ("report.html" if single else "report")
    try:
        return _single(history, run, target) if single else _folder(history, run, target)
    except OSError as error:
        raise RunError(
            f"cannot write {str(error.filename or target)!r}: {error.strerror}; free some space or give another --out"
        ) from error


def _folder(history: History, run: RunInfo, out: Path) -> Written:
    # Against a wrong --out: a folder of something else is never written into.
    if out.exists() and not (out / "index.html").is_file() and any(out.iterdir()):
        raise RunError(f"{str(out)!r} is not a report's folder and is left alone; give another --out")
    out.mkdir(parents=True, exist_ok=True)
    films: dict[Path, str] = {}

    def _address(video: Path) -> str | None:
        if not inside(video, run.folder):
            return None
        name = films[video] = f"videos/{video.parent.name}.mp4"
        return name

    # file: as well, since a page opened from disk has an opaque origin, which 'self' need not match.
    html = _html(history, run, _address, media="'self' file:")
    if films:
        (out / "videos").mkdir(exist_ok=True)
    for video, name in films.items():
        shutil.copyfile(video, out / name)
    # The page last, when all that it loads is there.
    shutil.copyfile(plotly_path(), out / PLOTLY)
    _write(out / "index.html", html)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return Written(out / "index.html", size, len(films))


def _single(history: History, run: RunInfo, out: Path) -> Written:
    if out.is_dir():
        raise RunError(f"{str(out)!r} is a folder; with --single-file, --out names a file")
    films: dict[Path, str] = {}

    def _address(video: Path) -> str | None:
        # Asked for twice where a video is shown both above and in its row; it counts and is read once.
        if (video not in films and len(films) >= MOST_FILMS) or not inside(video, run.folder):
            return None
        if video not in films:
            films[video] = data_address("video/mp4", video.read_bytes())
        return films[video]

    out.parent.mkdir(parents=True, exist_ok=True)
    _write(out, _html(history, run, _address, media="data:", single=True))
    return Written(out, out.stat().st_size, len(films))


def _html(history: History, run: RunInfo, source: Source, *, media: str, single: bool = False) -> str:
    bodies: dict[int, str] = {}
    many = run.iterations >= INLINE

    def _body(iteration: IterationInfo, attempts: Sequence[AttemptInfo]) -> str | None:
        text = iteration_html(iteration, attempts, source)
        if many:
            bodies[iteration.number] = packed(text)
            return None
        return markup(text)

    page = page_of(history, run, source=source, html=_body)
    return render(page, bodies=bodies, media=media, single=single)


def _write(path: Path, text: str) -> None:
    """Write a file atomically: a temporary one beside it, then a rename."""
    temporary = path.with_name(f".{path.name}.part")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)
