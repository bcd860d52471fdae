"""A served run in this process, the loop in a thread and HTTP in front of it, and a scripted agent."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trace_robot.errors import RunError
from trace_robot.fault import Limits
from trace_robot.run.loop import Event
from trace_robot.run.optimize import optimize
from trace_robot.serve import AgentFactory, Submissions, SubmissionServer
from trace_robot.serve.http_server import serve_in_background

SEED = 31_415
TOKEN = "a-token-of-the-tests"
SOLVES = """\
def act(observation, memory):
    far = observation["goal_position"] - observation["hand_position"]
    return [10 * far[0], 10 * far[1], 10 * far[2], 0.0]
"""
SMALL_RUN = ("--workers", "0", "--no-video", "--held-out", "3", "--episodes", "2", "--confirm", "1")
KEEPS_STILL = "def act(observation, memory):\n    return [0.0, 0.0, 0.0, 0.0]\n"


@dataclass
class Agent:
    """Sends requests as they are given, right or wrong."""

    server: SubmissionServer
    folder: Path
    token: str = TOKEN

    def send(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """Return status and JSON; {} where the answer is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=120)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.putrequest(method, path, skip_host="Host" in names, skip_accept_encoding=True)
            if "Authorization" not in names:
                connection.putheader("Authorization", f"Bearer {self.token}")
            if body is not None:
                names = {"Content-Type": "application/json", "Content-Length": str(len(body)), **names}
            for name, value in names.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        try:
            return response.status, json.loads(content)
        except ValueError:
            return response.status, {}

    def get(self, verb: str) -> dict[str, Any]:
        status, data = self.send("GET", f"/{verb}")
        assert status == 200, data
        return data

    def post(self, verb: str, **fields: Any) -> tuple[int, dict[str, Any]]:
        return self.send("POST", f"/{verb}", json.dumps(fields).encode())

    @property
    def left(self) -> int:
        return int(self.get("budget")["left"])


@contextmanager
def served(folder: Path, *, budget: int = 12, **settings: Any) -> Iterator[Agent]:
    """Serve a run of the point mass: 2 episodes a submission and 1 more to confirm."""
    submissions = Submissions(settings.get("seconds"))
    factory = AgentFactory(submissions, budget)
    known: dict[str, Any] = {
        "episodes": 2,
        "confirm": 1,
        "held_out": 3,
        "seed": SEED,
        "workers": 0,
        "video": False,
        "limits": Limits(
            call_seconds=0.3
        ),  # ten times as much of the clock: a busy machine may take a second
    }

    def observe(event: Event) -> None:
        factory.observe(event)

    def run() -> None:
        with suppress(RunError):  # the end of the test is one
            try:
                optimize(
                    "point-mass",
                    optimizer=factory,
                    model=factory.model,
                    out=folder,
                    on_event=observe,
                    **{**known, **settings},
                )
            finally:
                submissions.close()

    with SubmissionServer(submissions, 0, TOKEN) as server:
        serve_in_background(server)
        loop = threading.Thread(target=run)
        loop.start()
        try:
            yield Agent(server, folder)
        finally:
            submissions.leave("the test is over")
            loop.join(60)
            server.shutdown()
        assert not loop.is_alive()
