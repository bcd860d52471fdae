"""HTTP servers on the loopback address: own host alone, refused bodies read, errors of ports as one line."""

from __future__ import annotations

import socket
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from trace_robot.errors import RunError

ADDRESS = "127.0.0.1"  # never all interfaces: prompts and controllers are private
BLOCK = 64 * 1024  # bytes in memory at once
DRAIN_SECONDS = 10.0  # a client that is slow to send its refused body still gets its answer


class LoopbackServer(ThreadingHTTPServer):
    """Threading server on the loopback address, run by ``serve_forever``.

    Args:
        port: TCP port, 0 for any that is free.
        handler: of its requests.

    Raises:
        RunError: the port is taken or not allowed.
    """

    daemon_threads = True  # Ctrl-C ends the program while a client keeps a connection open

    def __init__(self, port: int, handler: type[LoopbackHandler]) -> None:
        try:
            super().__init__((ADDRESS, port), handler)
        except OSError as error:
            raise RunError(f"cannot serve on port {port}: {error.strerror}; give another --port") from error

    @property
    def url(self) -> str:
        """Address without a path."""
        return f"http://{ADDRESS}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that closed its connection early.

        Args:
            request: the connection.
            client_address: its other end.
        """


class LoopbackHandler(BaseHTTPRequestHandler):
    """Handler that names no versions, and answers 501 to unknown methods."""

    server: LoopbackServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "trace-robot", ""

    @property
    def is_own_host(self) -> bool:
        """Whether the Host header names this server, against DNS rebinding.

        Against a site that lets its name resolve to 127.0.0.1: its scripts would read this server as their own origin.
        The browser still sends the site's name in Host.
        """
        return self.headers.get("Host", "").lower() in self.own_hosts

    @property
    def own_hosts(self) -> set[str]:
        """This server's names, with the port, and without it where that is HTTP's own."""
        names, port = (ADDRESS, "localhost"), self.server.server_port
        return {f"{name}:{port}" for name in names} | (set(names) if port == 80 else set())

    def drain(self, most: int) -> None:
        """Read what is left of a refused body until the client closes, for a while.

        Closing before the client has read the answer would drop that (RST). Bytes are counted, as one read may give few
        of them.

        Args:
            most: bytes.
        """
        self.connection.settimeout(DRAIN_SECONDS)
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)  # the answer is whole
            while most > 0 and (read := len(self.rfile.read1(BLOCK))):
                most -= read
