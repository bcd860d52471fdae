"""A real HTTP server on the loopback address that misbehaves on request."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from trace_robot.llm import OpenAIModel

KEY = "sk-secret-0123456789"
Answer = Callable[["Handler", dict[str, Any]], None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        if self.server.listing == "hangs":
            self.server.released.wait(20)
        elif self.server.listing is not None:
            status, body, *headers = self.server.listing
            self.send(status, body, **(headers[0] if headers else {}))
            return
        data = {"data": [{"id": name, "object": "model"} for name in self.server.models]}
        self.send(200 if self.server.models else 404, json.dumps(data).encode())

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append(request)
        self.server.paths.append(self.path)
        self.server.keys.append(self.headers.get("authorization", ""))
        answer = self.server.answers.popleft() if self.server.answers else status(500, "no answer left")
        answer(self, request)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: deque[Answer] = deque()
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.models = ["small", "large"]
        self.paths: list[str] = []
        self.listing: Any = None  # what GET answers: status, body and perhaps headers, or "hangs"
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def model(self, **options: Any) -> OpenAIModel:
        """Return a client with little patience, whose pauses are noted, not slept."""
        self.sleeps: list[float] = []
        settings: dict[str, Any] = {
            "api_key": KEY,
            "seconds": 60.0,
            "retries": 2,
            "sleep": self.sleeps.append,
        }
        return OpenAIModel("small", self.url, **{**settings, **options})

    def handle_error(self, *_: object) -> None:
        pass


def completion(*texts: str, finish: str = "stop", refusal: str | None = None) -> bytes:
    message = {"role": "assistant", "refusal": refusal}
    choices = [
        {"index": index, "finish_reason": finish, "message": {**message, "content": text}}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": 100, "completion_tokens": 10 * len(texts), "total_tokens": 0}
    return json.dumps({"id": "1", "object": "chat.completion", "choices": choices, "usage": usage}).encode()


def says(*texts: str, finish: str = "stop", refusal: str | None = None) -> Answer:
    return lambda handler, _: handler.send(200, completion(*texts, finish=finish, refusal=refusal))


def status(code: int, message: str = "broken", **headers: str) -> Answer:
    body = json.dumps({"error": {"message": message, "type": "test"}}).encode()
    return lambda handler, _: handler.send(code, body, **headers)


def raw(body: bytes) -> Answer:
    return lambda handler, _: handler.send(200, body)


def hangs(handler: Handler, _: dict[str, Any]) -> None:
    handler.server.released.wait(20)


def trickling(status: int, byte: bytes = b" ") -> Callable[[Handler, dict[str, Any]], None]:
    """Return an answer that sends a byte now and then: no single read times out, the whole never ends."""

    def trickle(handler: Handler, _: dict[str, Any]) -> None:
        handler.send_response(status)
        handler.send_header("content-length", "100000")
        handler.end_headers()
        while not handler.server.released.wait(0.05):
            try:
                handler.wfile.write(byte)
                handler.wfile.flush()
            except OSError:
                return

    return trickle


def hangs_up(handler: Handler, _: dict[str, Any]) -> None:
    """Promise more than is sent."""
    handler.send_response(200)
    handler.send_header("content-length", "5000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')


class Answers:
    """The misbehaviors as one fixture, since test folders are no packages."""

    key = KEY
    says = staticmethod(says)
    status = staticmethod(status)
    raw = staticmethod(raw)
    completion = staticmethod(completion)
    hangs = staticmethod(hangs)
    trickles = staticmethod(trickling(200))
    trickling = staticmethod(trickling)
    hangs_up = staticmethod(hangs_up)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def answers() -> type[Answers]:
    return Answers
