"""HTTP server of a task on loopback: bearer token, no other origins, bounded bodies.

It is of the standard library, as the pages of ``watch`` are, so that an agent needs nothing but a shell with curl. Six
fixed paths are all there is, so that there is none to traverse. Every connection carries one request, within a time.
"""

from __future__ import annotations

import hmac
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from trace_robot.fault import MOST_CHARACTERS
from trace_robot.loopback import BLOCK, DRAIN_SECONDS, LoopbackHandler, LoopbackServer
from trace_robot.safe_files import load_json
from trace_robot.serve.submissions import SubmissionError, Submissions, answer
from trace_robot.store.folder import plain_json

GET, POST = ("describe", "latest", "best", "budget"), ("submit", "finish")
# JSON may write a character as \ud83d\ude00, twelve bytes; a note and the names of the fields come on top.
MOST_BYTES = 12 * MOST_CHARACTERS + 10_000
READ_SECONDS = 20.0  # for a whole request to arrive, whatever the pace: each keeps a thread
MOST_CONNECTIONS = 16
MOST_REFUSED = 64  # connections that have their 503 and may still send what they had begun
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Connection": "close"}


class SubmissionServer(LoopbackServer):
    """Threading server on the loopback address, run by ``serve_forever``.

    Args:
        submissions: of the run.
        port: TCP port, 0 for any that is free.
        token: what a request must carry as ``Authorization: Bearer TOKEN``.

    Raises:
        RunError: the port is taken or not allowed.
    """

    request_queue_size = 64  # a flood is answered with 503, not left waiting for the system

    def __init__(self, submissions: Submissions, port: int, token: str) -> None:
        self.submissions, self.token = submissions, token
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._refused: deque[tuple[float, socket.socket]] = deque()  # when to close, and what
        self._open = 0
        self._idle = threading.Condition()
        super().__init__(port, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, or refuse it where there are too many.

        Args:
            request: the connection.
            client_address: its other end.
        """
        if not self._free.acquire(blocking=False):
            self._refuse(request)
            return
        with self._idle:
            self._open += 1
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection in its thread.

        Args:
            request: the connection.
            client_address: its other end.
        """
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()
            with self._idle:
                self._open -= 1
                self._idle.notify_all()

    def _refuse(self, request: socket.socket) -> None:
        """Answer 503, and close for writing alone (half-close).

        Closing with a body unread would drop the answer (RST).
        """
        request.setblocking(False)  # this is the thread that accepts: it waits for no client
        with suppress(OSError):
            request.send(
                b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            request.shutdown(socket.SHUT_WR)
        self._refused.append((time.monotonic() + DRAIN_SECONDS, request))
        if len(self._refused) > MOST_REFUSED:
            self._refused.popleft()[1].close()

    def service_actions(self) -> None:
        """Read on what refused clients send, and close those done or late.

        ``serve_forever`` calls it.
        """
        for _ in range(len(self._refused)):
            until, request = self._refused.popleft()
            try:
                done = not request.recv(16 * BLOCK)
            except BlockingIOError:
                done = False
            except OSError:
                done = True
            if done or time.monotonic() > until:
                request.close()
            else:
                self._refused.append((until, request))

    def server_close(self) -> None:
        """Close the listening socket and what was refused."""
        super().server_close()
        while self._refused:
            self._refused.popleft()[1].close()

    def drain(self, seconds: float) -> None:
        """Wait until no connection is open, so that the last answer arrives.

        Args:
            seconds: at most.
        """
        with self._idle:
            self._idle.wait_for(lambda: not self._open, seconds)


class _Refusal(Exception):
    """An answer with a status, before a verb is reached."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Handler(LoopbackHandler):
    """Handler of GET and POST."""

    server: SubmissionServer

    def setup(self) -> None:
        super().setup()
        # A time-out of the socket is for each read, and a byte now and then would keep the thread for days.
        self._reaper = threading.Timer(READ_SECONDS, self._cut)
        self._reaper.daemon = True
        self._reaper.start()

    def finish(self) -> None:
        self._reaper.cancel()
        with suppress(OSError):  # the client may have left
            super().finish()

    def _cut(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)  # of reading: what was asked for may still be answered

    def do_GET(self) -> None:
        self._respond(GET, POST)

    def do_POST(self) -> None:
        self._respond(POST, GET)

    def _respond(self, verbs: tuple[str, ...], others: tuple[str, ...]) -> None:
        self.close_connection = True
        try:
            self._require_own()
            verb = self.path.removeprefix("/")
            if verb not in verbs:
                if verb in others:
                    raise _Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"/{verb} is not for {self.command}")
                paths = ", ".join(f"/{name}" for name in (*GET, *POST))
                raise _Refusal(HTTPStatus.NOT_FOUND, f"there is no such path; known: {paths}")
            arguments = self._body() if self.command == "POST" else {}
            self._reaper.cancel()
            self._send(HTTPStatus.OK, answer(self.server.submissions, verb, arguments).to_data())
        except _Refusal as refusal:
            self._send(refusal.status, {"error": str(refusal)})
            self.drain(2 * MOST_BYTES)
        except SubmissionError as error:
            self._send(HTTPStatus(error.status), {"error": str(error)})

    def _require_own(self) -> None:
        """Refuse other hosts (DNS rebinding), pages of other origins, and strangers."""
        if not self.is_own_host:
            raise _Refusal(HTTPStatus.MISDIRECTED_REQUEST, "this server answers to its own address only")
        # No page belongs to this server, so that whatever a browser sends for one comes from elsewhere.
        if "Origin" in self.headers or self.headers.get("Sec-Fetch-Site", "none") != "none":
            raise _Refusal(HTTPStatus.FORBIDDEN, "requests of web pages are refused")
        given = self.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, f"Bearer {self.server.token}".encode()):
            raise _Refusal(
                HTTPStatus.UNAUTHORIZED, "send the token that serve printed, as Authorization: Bearer TOKEN"
            )

    def _body(self) -> Any:
        """Return the JSON of the request, its size bounded before it is read."""
        length = self.headers.get("Content-Length", "0")  # without it there is no body (RFC 9112, 6.3)
        if self.headers.get("Transfer-Encoding") is not None or not length.isascii() or not length.isdigit():
            raise _Refusal(HTTPStatus.LENGTH_REQUIRED, "send a body with its Content-Length, not in chunks")
        if len(length) > 12 or int(length) > MOST_BYTES:
            raise _Refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"a body has at most {MOST_BYTES:,} bytes, got {length[:20]}",
            )
        if not int(length):
            return {}
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # what a form of a web page cannot send without asking before
            raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send Content-Type: application/json")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise _Refusal(HTTPStatus.REQUEST_TIMEOUT, f"the body has {len(body)} of {length} bytes")
        try:
            return load_json(body, MOST_BYTES)
        except ValueError as error:
            raise _Refusal(HTTPStatus.BAD_REQUEST, f"the body must be a JSON object: {error}") from error

    def _send(self, status: HTTPStatus, data: Mapping[str, Any]) -> None:
        content = f"{plain_json(data)}\n".encode("utf-8", "backslashreplace")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing: standard error belongs to the command line."""


def serve_in_background(server: SubmissionServer) -> threading.Thread:
    """Run a server in a thread until its ``shutdown``."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    return thread
