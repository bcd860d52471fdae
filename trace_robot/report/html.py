"""Rendering of the report's pages: autoescaped Jinja templates under a strict CSP.

Two defenses against stored XSS, each enough alone: every text is escaped when the page is made, and the page's
Content Security Policy runs no script without this page's nonce and loads nothing from a network.
"""

from __future__ import annotations

import base64
import datetime
import gzip
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from trace_robot.errors import MissingExtraError
from trace_robot.report.escape import markup, script_json, visible
from trace_robot.report.iterations import Source, body
from trace_robot.report.page import Page, duration
from trace_robot.report.plots import AXES
from trace_robot.settings import versions
from trace_robot.stats import three_digits
from trace_robot.store.folder import read_tags
from trace_robot.store.history import AttemptInfo, IterationInfo, RunInfo, Score

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
PLOTLY = "plotly.min.js"
# Plotly and the page set styles on elements, hence 'unsafe-inline' for styles alone; blob: is plotly's download of
# a plot as a picture. base-uri and form-action are not covered by default-src.
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
    words: Sequence[str] | None = None,
    token: str = "",
) -> str:
    """Return the page of a run as HTML.

    Args:
        page: what is shown.
        bodies: the compressed HTML of iterations that is unpacked when a row is opened, by number (``packed``).
        media: CSP sources of videos, e.g. "'self'".
        single: whether plotly's script is written into the page.
        live: version of the run's data, polled for a later one; "" for a page that no server keeps current.
        plotly: address of plotly's script, where it is not in the page.
        words: what was typed on it so far, for a form that takes more; None for no form.
        token: which the form's requests carry.
    """
    data = {"figures": page.figures, "paths": page.path_figures, "axes": AXES, "bodies": bodies, "live": live}
    if words is not None:
        data["token"] = token
    return _fill("page.html", data, media=media, single=single, page=page, plotly=plotly, typed=words)


def render_runs(rows: Sequence[RunRow], folder: Path, *, live: str) -> str:
    """Return the list of runs as HTML, for a server.

    Args:
        rows: of ``run_rows``.
        folder: the folder of the runs, shown as the title's path.
        live: version of the list, polled for a later one.
    """
    data = {"figures": {}, "paths": {}, "axes": AXES, "bodies": {}, "live": live}
    return _fill(
        "runs.html",
        data,
        media="'none'",
        scripts=("page.js", "runs.js"),
        rows=rows,
        folder=str(folder),
        axes=tuple(AXES.items()),
        money=any(each.order["money"] for each in rows),
        plotly="",
        plotly_later=f"/{PLOTLY}",
    )


def _fill(
    template: str,
    data: Mapping[str, Any],
    *,
    media: str,
    single: bool = False,
    scripts: Sequence[str] = ("page.js",),
    **shown: Any,
) -> str:
    text, live = script_json(data), str(data["live"])
    nonce = secrets.token_urlsafe(16)  # new for each page, so that no stored text can name it
    policy = POLICY.format(nonce=nonce, media=media, connect="'self'" if live else "'none'")
    # Whatever is not escaped is named here: the data (script_json), our own style and script, and plotly's.
    return (
        environment()
        .get_template(template)
        .render(
            **shown,
            data=markup(text),
            nonce=nonce,
            policy=policy,
            style=_own("style.css"),
            glue=[_own(name) for name in scripts],
            plotly_inline=markup(plotly_bytes().decode()) if single else "",
            single=single,
            live=live,
            version=versions()["trace-robot"],
        )
    )


def iteration_html(iteration: IterationInfo, attempts: Sequence[AttemptInfo], source: Source) -> str:
    """Return what the row of an iteration opens, as HTML.

    Args:
        iteration: the one of the row.
        attempts: the calls of a model that led to it, failed ones included.
        source: maps the path of a video to its address in the page, None to leave it out.
    """
    return environment().get_template("iteration.html").render(body=body(iteration, attempts, source))


def packed(html: str) -> str:
    """Return HTML gzipped and base64-encoded, as the page's data carries it."""
    # mtime=0: the same run gives the same bytes.
    return base64.b64encode(gzip.compress(html.encode(), mtime=0)).decode()


@cache
def environment() -> Environment:
    """Return the Jinja environment, which escapes every value it prints."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    # As the finalizer, so that no template can forget it: invisible characters are spelled out before escaping.
    def _finalize(value: Any) -> Any:
        return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    jinja = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters["parts"] = name_parts
    return jinja


def name_parts(name: str) -> list[str]:
    """Return the parts of a setting's name that may stand in lines of their own.

    They end with a point or an underscore, as in limits.memory_mb.
    """
    return re.split(r"(?<=[._])", name)


@cache
def plotly_bytes() -> bytes:
    """Return plotly's JavaScript bundle: this package's, else an installed plotly's.

    Raises:
        MissingExtraError: neither is there.
    """
    # A wheel has a copy, and so has a checkout once it was installed; see hatch_build.py. The package is found without
    # being imported: the report needs nothing else of it.
    own, spec = TEMPLATES / f"{PLOTLY}.gz", find_spec("plotly")
    if own.is_file():
        return gzip.decompress(own.read_bytes())
    installed = Path(spec.origin).with_name("package_data") / PLOTLY if spec and spec.origin else None
    if installed is None or not installed.is_file():
        raise MissingExtraError("a report needs plotly: pip install plotly")
    return installed.read_bytes()


@cache
def _own(name: str) -> str:
    return markup((TEMPLATES / name).read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run in the list of runs.

    Attributes:
        name: the run's.
        address: path of its page on the server, quoted.
        task: environment.
        optimizer: its name.
        state: "running", "finished", "stopped" or "failed".
        numbers: scores at the start, of the best, held out, then candidates, time; "" for unknown. With each what
            stands below it: the success of a score that shows the return first, the money.
        started: local time.
        order: numbers by which rows are sorted, by column, "" for unknown; and what "measure" they are of.
        tags: the user's labels.
        why: the reason for which it ended.
        begun: whether it has a curve.
    """

    name: str
    address: str
    task: str
    optimizer: str
    state: str
    numbers: tuple[tuple[str, str], ...]
    started: str
    order: Mapping[str, float | str]
    tags: str
    why: str
    begun: bool


def run_rows(runs: Sequence[RunInfo]) -> tuple[RunRow, ...]:
    """Return the rows of the list of runs, in the order of ``runs``."""
    return tuple(map(_row, runs))


def _row(run: RunInfo) -> RunRow:
    money = "" if run.money is None else f"${run.money:.2f}"
    scores = (run.start, run.training, run.held_out)
    numbers = (*map(_cell, scores), (f"{run.candidates:,}", ""), (duration(run.seconds), money))
    order: dict[str, float | str] = dict(zip(("start", "best", "held"), map(_rank, scores), strict=True))
    order |= {"tried": run.candidates, "time": run.seconds, "started": run.started}
    order["money"] = "" if run.money is None else run.money
    order["measure"] = "return" if run.start is not None and run.start.shows_return else "success"
    started = f"{datetime.datetime.fromtimestamp(run.started).astimezone():%Y-%m-%d %H:%M}"
    address = f"/run/{quote(run.name, safe='')}/"
    return RunRow(
        name=run.name,
        address=address,
        task=run.task,
        optimizer=run.optimizer,
        state=run.status,
        numbers=numbers,
        started=started,
        order=order,
        tags=", ".join(read_tags(run.folder)),
        why=run.ended,
        begun=run.start is not None,
    )


def _cell(score: Score | None) -> tuple[str, str]:
    if score is None:
        return "", ""
    if score.returns is None or not score.shows_return:
        return f"{score.success:.2f}", ""
    return f"return {three_digits(score.returns.mean)}", f"success {score.success:.2f}" * score.shows_success


def _rank(score: Score | None) -> float | str:
    if score is None:
        return ""
    return score.returns.mean if score.returns is not None and score.shows_return else score.success
