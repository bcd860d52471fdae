"""Serves the pages of ``trace_robot.run.site`` to this machine's own browser, and to nobody else."""

from __future__ import annotations

import re
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from trace_robot.errors import RunError
from trace_robot.run.site import Answer, Site

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
