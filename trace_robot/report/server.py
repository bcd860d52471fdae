"""Serves the pages of ``trace_robot.report.server`` to this machine's own browser, and to nobody else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from trace_robot.errors import RunError, TraceRobotError, UnknownNameError
from trace_robot.report.escape import inside
from trace_robot.report.html import PLOTLY, iteration_html, plotly_path, render, render_runs, run_rows
from trace_robot.report.page import page_of
from trace_robot.store.database import FILE
from trace_robot.store.history import History, RunInfo

ADDRESS = "127.0.0.1"
BLOCK = 64 * 1024
IDLE_SECONDS = 30  # after which a connection that says nothing is closed
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Watch(ThreadingHTTPServer):
    """A server on the loopback address that reads the store of ``folder``; ``serve_forever`` runs it."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int) -> None:
        self.site = Site(folder)
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise RunError(f"cannot serve on port {port}: {error.strerror}; give another --port") from error

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that left in the middle."""


class _Handler(BaseHTTPRequestHandler):
    server: Watch
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    server_version, sys_version = "trace-robot", ""

    def do_GET(self) -> None:
        self._respond(body=True)

    def do_HEAD(self) -> None:
        self._respond(body=False)

    def _respond(self, *, body: bool) -> None:
        if not self._is_ours():
            answer = Answer(
                b"this server answers to its own address only", "text/plain", HTTPStatus.MISDIRECTED_REQUEST
            )
        else:
            answer = self.server.site.answer(urlsplit(self.path).path)
        if answer.path is not None:
            self._send_file(answer, answer.path, body=body)
            return
        self._begin(answer, answer.status, len(answer.content))
        self.end_headers()
        if body:
            self.wfile.write(answer.content)

    def _is_ours(self) -> bool:
        """Return whether the browser was told this address: a name that leads here is somebody's trick."""
        names, port = (ADDRESS, "localhost"), self.server.server_port
        hosts = {f"{name}:{port}" for name in names} | (set(names) if port == 80 else set())
        return self.headers.get("Host", "").lower() in hosts

    def _send_file(self, answer: Answer, path: Path, *, body: bool) -> None:
        """Send a file, or the one range of bytes that was asked for, as players of videos do."""
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            first, last = self._range(size)
            part = (first, last) != (0, size - 1)
            status = HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK
            self._begin(answer, status, last - first + 1)
            self.send_header("Accept-Ranges", "bytes")
            if part:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.end_headers()
            if body:
                self._copy(file, first, last)

    def _copy(self, file: BinaryIO, first: int, last: int) -> None:
        file.seek(first)
        left = last - first + 1
        while left > 0 and (block := file.read(min(BLOCK, left))):
            self.wfile.write(block)
            left -= len(block)

    def _range(self, size: int) -> tuple[int, int]:
        """Return the first and last byte to send: all of them for any range that is not plain."""
        found = re.fullmatch(r"bytes=(\d{1,12})-(\d{0,12})", self.headers.get("Range", ""))
        if found is None:
            return 0, size - 1
        first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
        return (first, last) if first <= last else (0, size - 1)

    def _begin(self, answer: Answer, status: HTTPStatus, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", f"private, max-age={answer.keep}" if answer.keep else "no-store")
        for name, value in HEADERS.items():
            self.send_header(name, value)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Only the command line prints."""


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
