"""HTTP server of reports on loopback, safe from DNS rebinding and CSRF.

It knows runs, iterations and videos by number, never paths, so that there is none to traverse. It has no state: every
answer reads the store, and an open page polls ``/state`` once a second for another version. All that it takes is a
sentence for a running run that reads them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from trace_robot.errors import TraceRobotError, UnknownNameError
from trace_robot.loopback import BLOCK, LoopbackHandler, LoopbackServer
from trace_robot.report.escape import open_video, script_json
from trace_robot.report.html import PLOTLY, iteration_html, plotly_bytes, render, render_runs, run_rows
from trace_robot.report.iterations import STRESS
from trace_robot.report.page import page_of
from trace_robot.report.run_plots import overlay
from trace_robot.safe_files import is_file, load_json, open_read
from trace_robot.store import words
from trace_robot.store.database import FILE
from trace_robot.store.folder import BEFORE_VIDEO
from trace_robot.store.history import History, RunInfo

BEFORE = Path(BEFORE_VIDEO).stem
# Of a request's body: JSON may write each of 400 characters as twelve bytes (a pair of surrogates).
MOST_BYTES = 8_000
MOST_UNREAD = 2**20  # bytes of a refused body that are read all the same
IDLE_SECONDS = 30  # after which a silent connection is closed, as each keeps a thread
# Against other sites in the same browser: content sniffing, framing (clickjacking), leaking addresses, embedding.
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Watch(LoopbackServer):
    """Threading server on the loopback address, run by ``serve_forever``.

    Args:
        folder: the folder of the runs, with or without a store yet.
        port: TCP port, 0 for any that is free.

    Raises:
        RunError: the port is taken or not allowed.
    """

    def __init__(self, folder: Path, port: int) -> None:
        # Drawn for this server, and known to its pages alone: another program on this machine may read no page without
        # the same-origin checks, and a page of another site can read none of ours.
        self.token = secrets.token_urlsafe(24)
        self.site = Site(folder, self.token)
        super().__init__(port, _Handler)

    @property
    def url(self) -> str:
        """Address of the list of runs."""
        return f"{super().url}/"


class _Handler(LoopbackHandler):
    """Handler of GET, HEAD and POST."""

    server: Watch
    timeout = IDLE_SECONDS

    def do_GET(self) -> None:
        self._respond(body=True)

    def do_HEAD(self) -> None:
        self._respond(body=False)

    def do_POST(self) -> None:
        self.close_connection = True  # what a refused request has left unread is no next request
        self._respond(body=True, posted=True)

    def _respond(self, *, body: bool, posted: bool = False) -> None:
        if not self.is_own_host:
            answer = _text(HTTPStatus.MISDIRECTED_REQUEST, "this server answers to its own address only")
        elif posted:
            answer = self._refused() or self._take()
        else:
            answer = self.server.site.answer(urlsplit(self.path).path)
        if answer.file is not None:
            with answer.file as file:
                self._send_file(answer, file, body=body)
            return
        self._begin(answer, answer.status, len(answer.content))
        self.end_headers()
        if body:
            self.wfile.write(answer.content)
        if posted and answer.status != HTTPStatus.OK:
            self.drain(MOST_UNREAD)

    def _refused(self) -> Answer | None:
        """Return the refusal of a request that does not come from a page of this server."""
        own = {f"http://{name}" for name in self.own_hosts}
        site = self.headers.get("Sec-Fetch-Site", "same-origin")
        if self.headers.get("Origin", "").lower() not in own or site != "same-origin":
            return _text(HTTPStatus.FORBIDDEN, "only pages of this server may write")
        token = self.headers.get("X-Token", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(token, self.server.token.encode()):
            return _text(HTTPStatus.FORBIDDEN, "this page is of an earlier server; load it again")
        return None

    def _take(self) -> Answer:
        """Read a body, its size bounded before it is read, and take its words."""
        length, kind = self.headers.get("Content-Length", ""), self.headers.get("Content-Type", "")
        if not re.fullmatch(r"[0-9]{1,6}", length) or self.headers.get("Transfer-Encoding") is not None:
            return _text(HTTPStatus.LENGTH_REQUIRED, "send a body with its Content-Length")
        if int(length) > MOST_BYTES:
            return _text(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {MOST_BYTES:,} bytes")
        if kind.partition(";")[0].strip().lower() != "application/json":
            return _text(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send Content-Type: application/json")
        try:
            data = load_json(self.rfile.read(int(length)), MOST_BYTES)
        except (OSError, ValueError) as error:
            return _text(HTTPStatus.BAD_REQUEST, f"the body must be a JSON object: {error}")
        text = data.get("words") if isinstance(data, dict) else None
        if not isinstance(text, str):
            return _text(HTTPStatus.BAD_REQUEST, "the body must have words, a text")
        return self.server.site.take(urlsplit(self.path).path, text)

    def _send_file(self, answer: Answer, file: BinaryIO, *, body: bool) -> None:
        """Send a file, or one byte range of it (RFC 9110), as video players request."""
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
        """Return the first and last byte to send, all for ranges not of one part."""
        # A server may ignore Range (RFC 9110, 14.2); twelve digits bound what int() has to read.
        match = re.fullmatch(r"bytes=(\d{1,12})-(\d{0,12})", self.headers.get("Range", ""))
        if match is None:
            return 0, size - 1
        first, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
        return (first, last) if first <= last else (0, size - 1)

    def _begin(self, answer: Answer, status: HTTPStatus, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", f"private, max-age={answer.keep}" if answer.keep else "no-store")
        for name, value in HEADERS.items():
            self.send_header(name, value)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing: standard error belongs to the command line."""


HTML, JSON = "text/html; charset=utf-8", "application/json"
# The whole address space of a run. Digits are bounded, since int() of a long number takes quadratic time.
_RUN = re.compile(
    r"/run/(?P<name>[^/]+)/"
    r"(?P<rest>state|iteration/(?P<row>\d{1,9})|video/(?P<film>before|\d{1,9})\.mp4|stress/(?P<world>\d{1,3})\.mp4|curves|)"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Response to one request.

    Attributes:
        content: the body.
        kind: media type.
        status: HTTP status.
        file: an open file to send in place of ``content``.
        keep: seconds that the browser may cache it.
    """

    content: bytes = b""
    kind: str = HTML
    status: HTTPStatus = HTTPStatus.OK
    file: BinaryIO | None = None
    keep: int = 0


_WORDS = re.compile(r"/run/(?P<name>[^/]+)/words")


class Site:
    """Router from URL paths to answers, read from the store at that moment."""

    def __init__(self, folder: Path, token: str = "") -> None:
        self.folder, self.token = folder, token

    def answer(self, path: str) -> Answer:
        """Return the response to a URL path, an error page as text for expected faults."""
        try:
            return self._answer(path)
        except UnknownNameError as error:
            return _text(HTTPStatus.NOT_FOUND, str(error))
        except TraceRobotError as error:
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        except Exception as error:  # a browser that gets no answer at all shows an empty page
            reason = f"{type(error).__name__}: {error}"
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, f"this page cannot be made: {reason}")

    def take(self, path: str, text: str) -> Answer:
        """Take a sentence for a running run.

        Args:
            path: of the request, which names the run.
            text: as it was typed.
        """
        match = _WORDS.fullmatch(path)
        if match is None:
            return _text(HTTPStatus.NOT_FOUND, "there is no such page")
        try:
            with History(self.folder) as history:
                run = _named(history, unquote(match["name"]))
        except UnknownNameError as error:
            return _text(HTTPStatus.NOT_FOUND, str(error))
        if not _reads_words(run):
            return _text(HTTPStatus.CONFLICT, "this run takes no words; begin one with --ask-page")
        try:
            return _text(HTTPStatus.OK, f"Sent: {words.add(run.folder, text)}")
        except TraceRobotError as error:
            return _text(HTTPStatus.BAD_REQUEST, str(error))

    def _answer(self, path: str) -> Answer:
        if path == f"/{PLOTLY}":
            # The one thing that is cached: 4.8 MB that change with an installation only.
            return Answer(kind="text/javascript", content=plotly_bytes(), keep=3600)
        if path in ("/", "/state"):
            runs = self._runs()
            version = _version(runs)
            if path == "/state":
                return _state(version)
            return _html(render_runs(run_rows(runs), self.folder, live=version))
        match = _RUN.fullmatch(path)
        if match is None:
            return _text(HTTPStatus.NOT_FOUND, "there is no such page")
        # Opened per request: SQLite connections belong to one thread, and each request has another.
        with History(self.folder) as history:
            run = _named(history, unquote(match["name"]))
            if match["rest"] == "state":
                return _state(_version([run]))
            if match["rest"] == "curves":
                return Answer(script_json(overlay(run, history.iterations(run))).encode(), JSON)
            if match["film"] == BEFORE:
                return _own_video(run, BEFORE_VIDEO)
            if match["film"]:
                return _film(history, run, int(match["film"]))
            if match["world"]:
                return _own_video(run, f"{STRESS}/{int(match['world']):02d}.mp4")
            if match["row"]:
                return _iteration(history, run, int(match["row"]))
            return _page(history, run, self.token)

    def _runs(self) -> list[RunInfo]:
        # ``watch`` may be started before the first run; opening a store that is missing is an error.
        if not (self.folder / FILE).is_file():
            return []
        with History(self.folder) as history:
            return history.runs()


def _reads_words(run: RunInfo) -> bool:
    return run.status == "running" and words.is_offered(run.folder)


def _page(history: History, run: RunInfo, token: str) -> Answer:
    # Before the page: data that come in between are then newer than the version, and the next poll fetches them.
    version = _version([run])
    page = page_of(history, run, source=_address, html=lambda iteration, attempts: None)
    typed = words.typed(run.folder) if _reads_words(run) else None
    return _html(
        render(page, bodies={}, media="'self'", live=version, plotly=f"/{PLOTLY}", words=typed, token=token)
    )


def _iteration(history: History, run: RunInfo, number: int) -> Answer:
    for iteration in history.iterations(run):
        if iteration.number == number:
            return _html(iteration_html(iteration, history.attempts(run, number), _address))
    raise UnknownNameError(f"the run {run.name!r} has no iteration {number}")


def _film(history: History, run: RunInfo, number: int) -> Answer:
    """Return a video of the run, not one that is a link out of its folder."""
    for iteration in history.iterations(run):
        if iteration.number == number and iteration.video is not None:
            # Opened here, following no link: a path that is opened later may have become another file.
            with suppress(OSError):
                return Answer(kind="video/mp4", file=open_video(iteration.video, run.folder))
    raise UnknownNameError(f"the run {run.name!r} has no video of iteration {number}")


def _own_video(run: RunInfo, name: str) -> Answer:
    """Return the video of before or of a world's failure, opened as in ``_film``."""
    with suppress(OSError):
        return Answer(kind="video/mp4", file=open_video(run.folder / name, run.folder))
    raise UnknownNameError(f"the run {run.name!r} has no video {name}")


def _address(video: Path) -> str:
    if video.parent.name == STRESS:
        return f"{STRESS}/{int(video.stem)}.mp4"
    return f"video/{BEFORE if video.name == BEFORE_VIDEO else int(video.parent.name)}.mp4"


def _named(history: History, name: str) -> RunInfo:
    run = history.run(name)
    if run.name != name:  # the beginning of a name is enough for a person, not for an address
        raise UnknownNameError(f"there is no run {name!r}")
    return run


def _version(runs: Sequence[RunInfo]) -> str:
    """Return a hash of the state of runs, by which a page notices changes."""
    # Videos are counted on disk, following no link: they are rendered after the store was written.
    state = [
        (
            run.name,
            run.status,
            run.updated,
            run.iterations,
            run.candidates,
            sum(is_file(run.folder.parent, name) for name in _videos(run)),
            _written(run, f"{STRESS}.json"),
            _written(run, words.FILE),
        )
        for run in runs
    ]
    return hashlib.sha256(repr(state).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _videos(run: RunInfo) -> Iterator[str]:
    """Yield the paths below the folder of runs that the videos of a run may have."""
    yield f"{run.name}/{BEFORE_VIDEO}"
    for number in range(run.iterations + 1):
        yield f"{run.name}/iterations/{number:03d}/episode.mp4"


def _written(run: RunInfo, name: str) -> int:
    """Return when a file of a run was written, in nanoseconds, 0 without it."""
    try:
        with open_read(run.folder.parent, f"{run.name}/{name}") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return 0


def _state(version: str) -> Answer:
    return Answer(json.dumps({"version": version}).encode(), JSON)


def _html(text: str) -> Answer:
    return Answer(text.encode())


def _text(status: HTTPStatus, text: str) -> Answer:
    return Answer(text.encode("utf-8", "backslashreplace"), "text/plain; charset=utf-8", status)
