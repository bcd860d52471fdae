"""From a page's data to HTML: templates that escape, a policy that runs nothing but the report's own script."""

from __future__ import annotations

import base64
import gzip
import secrets
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.errors import MissingExtraError
from trace_robot.report.escape import markup, script_json, visible
from trace_robot.report.iterations import Source, body
from trace_robot.report.page import Page
from trace_robot.report.plots import AXES
from trace_robot.store.history import AttemptInfo, IterationInfo
from trace_robot.versions import versions

if TYPE_CHECKING:
    from jinja2 import Environment
import datetime
from dataclasses import dataclass
from urllib.parse import quote

from trace_robot.report.page import duration
from trace_robot.store.history import RunInfo, Score

TEMPLATES = Path(__file__).with_name("templates")
PLOTLY = "plotly.min.js"
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data: blob:;"
    " media-src {media}; connect-src {connect}; base-uri 'none'; form-action 'none'"
)


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
    data = {"figures": page.figures, "paths": page.path_figures, "axes": AXES, "bodies": bodies, "live": live}
    return _fill("page.html", data, media=media, single=single, page=page, plotly=plotly)


def render_runs(rows: Sequence[RunRow], folder: Path, *, live: str) -> str:
    """Return the list of runs as HTML, for a server."""
    return _fill("runs.html", {"live": live}, media="'none'", rows=rows, folder=str(folder), plotly="")


def _fill(template: str, data: Mapping[str, Any], *, media: str, single: bool = False, **shown: Any) -> str:
    text, live = script_json(data), str(data["live"])
    nonce = secrets.token_urlsafe(16)  # what no text in the page could know
    policy = POLICY.format(nonce=nonce, media=media, connect="'self'" if live else "'none'")
    return environment().get_template(template).render(
        **shown, data=markup(text), nonce=nonce, policy=policy, style=_own("style.css"), glue=_own("page.js"),
        plotly_inline=markup(plotly_script()) if single else "", single=single, live=live,
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


@cache
def plotly_path() -> Path:
    """Return plotly's own bundle of its JavaScript."""
    found = find_spec("plotly")
    path = Path(found.origin).with_name("package_data") / PLOTLY if found and found.origin else None
    if path is None or not path.is_file():
        raise MissingExtraError("a report needs plotly: pip install plotly")
    return path


@cache
def plotly_script() -> str:
    return plotly_path().read_text(encoding="utf-8")


@cache
def _own(name: str) -> str:
    return markup((TEMPLATES / name).read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class RunRow:
    """numbers: success at the start, of the best, held out; candidates, time, money."""

    name: str
    address: str
    task: str
    optimizer: str
    state: str
    numbers: tuple[str, ...]
    started: str


def run_rows(runs: Sequence[RunInfo]) -> tuple[RunRow, ...]:
    return tuple(map(_row, runs))


def _row(run: RunInfo) -> RunRow:
    money = "" if run.money is None else f"${run.money:.2f}"
    numbers = (
        *map(_success, (run.start, run.training, run.held_out)),
        f"{run.candidates:,}",
        duration(run.seconds),
        money,
    )
    started = f"{datetime.datetime.fromtimestamp(run.started).astimezone():%Y-%m-%d %H:%M}"
    address = f"/run/{quote(run.name, safe='')}/"
    return RunRow(run.name, address, run.task, run.optimizer, run.status, numbers, started)


def _success(score: Score | None) -> str:
    return "" if score is None else f"{score.success:.2f}"
