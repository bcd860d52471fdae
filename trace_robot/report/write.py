"""Write a report as a folder with videos, or as one self-contained file.

Both open from disk (file:) without a server. Pages are replaced atomically, and nothing but a report is overwritten. A
run's folder may come from another person: no link in it is followed, neither to what is read nor to where is written.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trace_robot import safe_files
from trace_robot.errors import RunError
from trace_robot.report.escape import data_address, inside, markup, open_video
from trace_robot.report.html import PLOTLY, iteration_html, packed, plotly_bytes, render
from trace_robot.report.iterations import STRESS, Source
from trace_robot.report.page import page_of
from trace_robot.store.history import AttemptInfo, History, IterationInfo, RunInfo

# Iterations up to which all is in the page's text, where the browser's search finds it. Beyond, bodies are compressed
# and unpacked on demand: a model's run of 1,000 with prompts of 20 kB is 9.5 MB so, 4.8 of them plotly's script.
INLINE = 40
MOST_FILMS = 40  # videos inside a single file; base64 makes each a third larger
MOST_COPIED_BYTES = 1_000_000_000  # of all videos beside a page; a file without content may be of any size
MOST_FILM_BYTES = 16_000_000  # of one of them; a whole episode in high quality has about 2 MB


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
    name = "report.html" if single else "report"
    # What the user names may be a link; what lies in a run's folder may not, nor that folder itself.
    place = Place.of(run.folder.parent, run.folder / name if out is None else out)
    target = place.path
    try:
        return _single(history, run, place) if single else _folder(history, run, place)
    except OSError as error:
        raise RunError(
            f"cannot write {str(error.filename or target)!r}: {error.strerror}; free some space or give another --out"
        ) from error


@dataclass(frozen=True, slots=True)
class Place:
    """Where a report goes: a trusted folder, and a path below it without links."""

    root: Path
    name: str = ""

    @classmethod
    def of(cls, runs: Path, path: Path) -> Place:
        """Return the place of a path, trusted down to the folder of runs at most.

        Args:
            runs: the folder of runs.
            path: below it, or elsewhere, where all of it is the user's.
        """
        try:
            return cls(runs, Path(os.path.abspath(path)).relative_to(os.path.abspath(runs)).as_posix())
        except ValueError:
            return cls(path)

    @property
    def path(self) -> Path:
        """The whole path."""
        return self.root / self.name

    def write(self, name: str, content: bytes | BinaryIO) -> int:
        """Write a file below the place, and return its bytes.

        Args:
            name: the path of the file; "" for the place itself.
            content: its bytes, or an open file.
        """
        return safe_files.write(self.root, "/".join(filter(None, (self.name, name))), content)


def _folder(history: History, run: RunInfo, place: Place) -> Written:
    out = place.path
    # Against a wrong --out: a folder of something else is never written into.
    if out.exists() and not (out / "index.html").is_file() and any(out.iterdir()):
        raise RunError(f"{str(out)!r} is not a report's folder and is left alone; give another --out")
    films: dict[Path, str] = {}
    room = MOST_COPIED_BYTES

    def _address(video: Path) -> str | None:
        nonlocal room
        if not inside(video, run.folder):
            return None
        if video not in films:
            with open_video(video, run.folder) as film:
                size = os.fstat(film.fileno()).st_size
            if size > room:
                return None
            room -= size
        of = f"{STRESS}-{video.stem}" if video.parent.name == STRESS else video.parent.name
        of = video.stem if video.parent == run.folder else of
        name = films[video] = f"videos/{of}.mp4"
        return name

    # file: as well, since a page opened from disk has an opaque origin, which 'self' need not match.
    html = _html(history, run, _address, media="'self' file:")
    size = 0
    for video, name in films.items():
        with open_video(video, run.folder) as film:
            size += place.write(name, film)
    # The page last, when all that it loads is there.
    size += place.write(PLOTLY, plotly_bytes())
    size += place.write("index.html", html.encode("utf-8"))
    return Written(out / "index.html", size, len(films))


def _single(history: History, run: RunInfo, place: Place) -> Written:
    out = place.path
    if out.is_dir():
        raise RunError(f"{str(out)!r} is a folder; with --single-file, --out names a file")
    films: dict[Path, str] = {}

    def _address(video: Path) -> str | None:
        # Asked for twice where a video is shown both above and in its row; it counts and is read once.
        if (video not in films and len(films) >= MOST_FILMS) or not inside(video, run.folder):
            return None
        if video not in films:
            with open_video(video, run.folder) as film:
                content = film.read(MOST_FILM_BYTES + 1)
            if len(content) > MOST_FILM_BYTES:
                return None
            films[video] = data_address("video/mp4", content)
        return films[video]

    if not place.name:
        place = Place(out.parent, out.name)
    html = _html(history, run, _address, media="data:", single=True)
    return Written(out, place.write("", html.encode("utf-8")), len(films))


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
