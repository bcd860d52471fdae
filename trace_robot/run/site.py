"""What the server of ``trace-robot watch`` answers: the list of runs, a run's page, its iterations and videos.

    /                          the runs
    /run/NAME/                 the page of one
    /run/NAME/iteration/3      what a row of it opens
    /run/NAME/video/3.mp4      its video
    /state, /run/NAME/state    {"version": ...}: differs when the page does
    /plotly.min.js

Names are looked up in the store, never put together to paths of the disk.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote

from trace_robot.errors import TraceRobotError, UnknownNameError
from trace_robot.run.database import FILE
from trace_robot.run.history import History, RunInfo
from trace_robot.run.report.page import page_of
from trace_robot.run.report.render import PLOTLY, iteration_html, plotly_path, render, render_runs
from trace_robot.run.report.runs import run_rows
from trace_robot.run.report.video import inside

HTML, JSON = "text/html; charset=utf-8", "application/json"
_RUN = re.compile(
    r"/run/(?P<name>[^/]+)/(?P<rest>state|iteration/(?P<row>\d{1,9})|video/(?P<film>\d{1,9})\.mp4|)"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """kind: the content's type; path: a file to send in place of ``content``; keep: seconds it may be kept."""

    content: bytes = b""
    kind: str = HTML
    status: HTTPStatus = HTTPStatus.OK
    path: Path | None = None
    keep: int = 0


class Site:
    """Answers to the paths of addresses, from the store of a folder as it is at that moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def answer(self, path: str) -> Answer:
        try:
            return self._answer(path)
        except UnknownNameError as error:
            return _words(HTTPStatus.NOT_FOUND, str(error))
        except TraceRobotError as error:
            return _words(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    def _answer(self, path: str) -> Answer:
        if path == f"/{PLOTLY}":
            return Answer(kind="text/javascript", path=plotly_path(), keep=3600)
        if path in ("/", "/state"):
            runs = self._runs()
            version = _version(runs)
            if path == "/state":
                return _state(version)
            return _html(render_runs(run_rows(runs), self.folder, live=version))
        found = _RUN.fullmatch(path)
        if found is None:
            return _words(HTTPStatus.NOT_FOUND, "there is no such page")
        with History(self.folder) as history:
            run = _named(history, unquote(found["name"]))
            if found["rest"] == "state":
                return _state(_version([run]))
            if found["film"]:
                return _film(history, run, int(found["film"]))
            if found["row"]:
                return _iteration(history, run, int(found["row"]))
            return _page(history, run)

    def _runs(self) -> list[RunInfo]:
        if not (self.folder / FILE).is_file():
            return []
        with History(self.folder) as history:
            return history.runs()


def _page(history: History, run: RunInfo) -> Answer:
    version = _version([run])
    page = page_of(history, run, source=_address, html=lambda iteration, attempts: None)
    return _html(render(page, bodies={}, media="'self'", live=version, plotly=f"/{PLOTLY}"))


def _iteration(history: History, run: RunInfo, number: int) -> Answer:
    for iteration in history.iterations(run):
        if iteration.number == number:
            return _html(iteration_html(iteration, history.attempts(run, number), _address))
    raise UnknownNameError(f"the run {run.name!r} has no iteration {number}")


def _film(history: History, run: RunInfo, number: int) -> Answer:
    for iteration in history.iterations(run):
        if iteration.number == number and iteration.video is not None and inside(iteration.video, run.folder):
            return Answer(kind="video/mp4", path=iteration.video)
    raise UnknownNameError(f"the run {run.name!r} has no video of iteration {number}")


def _address(video: Path) -> str:
    return f"video/{int(video.parent.name)}.mp4"


def _named(history: History, name: str) -> RunInfo:
    run = history.run(name)
    if run.name != name:  # the beginning of a name is enough for a person, not for an address
        raise UnknownNameError(f"there is no run {name!r}")
    return run


def _version(runs: Sequence[RunInfo]) -> str:
    """Return a text that differs when anything shown of these runs does, videos included."""
    told = [
        (run.name, run.status, run.updated, run.iterations, run.candidates,
         sum(1 for _ in run.folder.glob("iterations/*/episode.mp4")))
        for run in runs
    ]  # fmt: skip
    return hashlib.sha256(repr(told).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _state(version: str) -> Answer:
    return Answer(json.dumps({"version": version}).encode(), JSON)


def _html(text: str) -> Answer:
    return Answer(text.encode())


def _words(status: HTTPStatus, text: str) -> Answer:
    return Answer(text.encode("utf-8", "backslashreplace"), "text/plain; charset=utf-8", status)
