"""Writes a report: a folder with its videos beside it, or one file that holds everything."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.errors import MissingExtraError, RunError
from trace_robot.run.history import AttemptInfo, History, IterationInfo, RunInfo
from trace_robot.run.report.figures import AXES
from trace_robot.run.report.iterations import Source, body
from trace_robot.run.report.page import Page, page_of
from trace_robot.run.report.text import script_json, visible
from trace_robot.versions import versions

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
PLOTLY = "plotly.min.js"
INLINE = 40  # iterations up to which all is in the page's text, and found by the browser's search
MOST_FILMS = 40  # videos inside a single file
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data: blob:;"
    " media-src {media}; connect-src {connect}; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True, slots=True)
class Written:
    """Where a report is; size: bytes of all its files; videos: how many of them it has."""

    path: Path
    size: int
    videos: int


def write_report(history: History, run: RunInfo, out: Path | None = None, *, single: bool = False) -> Written:
    """Write the report of a run and return where it is.

    out: a folder, default ``report`` in the run's; with ``single`` a file, default ``report.html`` in the run's.
    """
    target = out or run.folder / ("report.html" if single else "report")
    try:
        return _single(history, run, target) if single else _folder(history, run, target)
    except OSError as error:
        raise RunError(
            f"cannot write {str(error.filename or target)!r}: {error.strerror}; free some space or give another --out"
        ) from error


def render(
    page: Page,
    *,
    bodies: dict[int, str],
    media: str,
    single: bool = False,
    live: str = "",
    plotly: str = PLOTLY,
) -> str:
    """Return a page as HTML. live: the version of what is shown, where a server can tell of a later one."""
    data = script_json(
        {"figures": page.figures, "paths": page.path_figures, "axes": AXES, "bodies": bodies, "live": live}
    )
    nonce = hashlib.sha256(data.encode()).hexdigest()[:32]  # texts in the page cannot contain their own hash
    policy = POLICY.format(nonce=nonce, media=media, connect="'self'" if live else "'none'")
    return environment().get_template("page.html").render(
        page=page, data=markup(data), nonce=nonce, policy=policy, style=_own("style.css"), glue=_own("page.js"),
        plotly=plotly, plotly_inline=markup(plotly_script()) if single else "", single=single, live=live,
        version=versions()["trace-robot"],
    )  # fmt: skip


def iteration_html(iteration: IterationInfo, attempts: Sequence[AttemptInfo], source: Source) -> str:
    return environment().get_template("iteration.html").render(body=body(iteration, attempts, source))


def packed(html: str) -> str:
    """Return text as the page's data carries it: compressed, base64."""
    return base64.b64encode(gzip.compress(html.encode(), mtime=0)).decode()


@cache
def environment() -> Environment:
    """Templates that escape whatever they are given, after what cannot be seen in it was spelled out."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    return Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, finalize=shown,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


def markup(text: str) -> str:
    """Mark text that was made safe here as what it is."""
    from markupsafe import Markup

    return Markup(text)


@cache
def plotly_path() -> Path:
    """Return plotly's own bundle of its JavaScript."""
    from importlib.util import find_spec

    found = find_spec("plotly")
    path = Path(found.origin).with_name("package_data") / PLOTLY if found and found.origin else None
    if path is None or not path.is_file():
        raise MissingExtraError("a report needs plotly: pip install plotly")
    return path


@cache
def plotly_script() -> str:
    return plotly_path().read_text(encoding="utf-8")


def _folder(history: History, run: RunInfo, out: Path) -> Written:
    if out.exists() and not (out / "index.html").is_file() and any(out.iterdir()):
        raise RunError(f"{str(out)!r} is not a report's folder and is left alone; give another --out")
    out.mkdir(parents=True, exist_ok=True)
    films: dict[Path, str] = {}

    def source(video: Path) -> str | None:
        name = films[video] = f"videos/{video.parent.name}.mp4"
        return name

    html = _html(history, run, source, media="'self' file:")
    if films:
        (out / "videos").mkdir(exist_ok=True)
    for video, name in films.items():
        shutil.copyfile(video, out / name)
    shutil.copyfile(plotly_path(), out / PLOTLY)
    _write(out / "index.html", html)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return Written(out / "index.html", size, len(films))


def _single(history: History, run: RunInfo, out: Path) -> Written:
    if out.is_dir():
        raise RunError(f"{str(out)!r} is a folder; with --single-file, --out names a file")
    films: dict[Path, str] = {}

    def source(video: Path) -> str | None:
        if video not in films and len(films) >= MOST_FILMS:
            return None
        if video not in films:
            films[video] = "data:video/mp4;base64," + base64.b64encode(video.read_bytes()).decode()
        return films[video]

    out.parent.mkdir(parents=True, exist_ok=True)
    _write(out, _html(history, run, source, media="data:", single=True))
    return Written(out, out.stat().st_size, len(films))


def _html(history: History, run: RunInfo, source: Source, *, media: str, single: bool = False) -> str:
    bodies: dict[int, str] = {}
    many = run.iterations >= INLINE

    def html(iteration: IterationInfo, attempts: Sequence[AttemptInfo]) -> str | None:
        text = iteration_html(iteration, attempts, source)
        if many:
            bodies[iteration.number] = packed(text)
            return None
        return markup(text)

    page = page_of(history, run, source=source, html=html)
    return render(page, bodies=bodies, media=media, single=single)


@cache
def _own(name: str) -> str:
    return markup((TEMPLATES / name).read_text(encoding="utf-8"))


def _write(path: Path, text: str) -> None:
    """Write all of a file or nothing."""
    temporary = path.with_name(f".{path.name}.part")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)
