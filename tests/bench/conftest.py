"""The point-mass workspace, a plan of a second, and a model on the loopback."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from trace_robot.bench import Plan, ResultRow, bench

WORKSPACE = Path(__file__).parents[1] / "workspace"


@pytest.fixture
def point_mass(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tests' workspace, in use."""
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(WORKSPACE))
    return WORKSPACE


def small(*tasks: str, **more: Any) -> Plan:
    """Make a plan for the point mass that takes a second a run."""
    return Plan(tasks or ("point-mass",), **{"steps": 4000, "workers": 1, **more})


@pytest.fixture
def plan(point_mass: Path) -> Callable[..., Plan]:
    """The maker of small plans, in the tests' workspace."""
    return small


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a benchmark of the small plan, made once for all tests."""
    out = tmp_path_factory.mktemp("finished") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACE_ROBOT_WORKSPACE", str(WORKSPACE))
        bench(small(), out)
    return out


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path) -> Path:
    """A copy of that folder, to change at will."""
    return Path(shutil.copytree(finished_once, tmp_path / "finished"))


@pytest.fixture
def row() -> Callable[..., ResultRow]:
    """The maker of rows of a results file, with usual values for what is not given."""

    def make(
        task: str = "reach-v3", seed: int = 0, wins: int = 45, episodes: int = 50, **more: Any
    ) -> ResultRow:
        values: dict[str, Any] = {
            "optimizer": "search", "protocol": "standard", "feedback": "outcome", "control": "raw",
            "interval": (0.8, 0.95), "crashes": 0, "training_success": 1.0, "training_episodes": 5,
            "candidates": 300, "iterations": 2, "environment_steps": 40_000, "model_calls": 0, "tokens": 0,
            "seconds": 12.0, "wall_seconds": 15.0, "workers": 2, "ended": "solved", "model": "",
            "controller": f"controllers/{task}-s{seed}.py", "versions": {"trace-robot": "0.1.0", "mujoco": "3.3.0"},
            "fixed": {"optimizer": "search", "policy": "do_nothing", "steps": 50_000, "seconds": None},
        }  # fmt: skip
        return ResultRow(
            task=task, seed=seed, success=wins / episodes, episodes=episodes, **{**values, **more}
        )

    return make


class _Endpoint(BaseHTTPRequestHandler):
    server: Endpoint

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        self.server.prompts.append(json.loads(self.rfile.read(length))["messages"][-1]["content"])
        message = {"role": "assistant", "content": self.server.answer(len(self.server.prompts))}
        choices = [{"index": 0, "finish_reason": "stop", "message": message}]
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": choices}
        data = json.dumps({**body, "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Endpoint(ThreadingHTTPServer):
    """A model that answers each request with a controller of another gain.

    prompts: those that were asked, in order.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Endpoint)
        self.prompts: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def answer(self, number: int) -> str:
        """Return the reply with a controller of gain ``number``."""
        return f"""<reasoning>Go to the goal.</reasoning>
<change>go to the goal</change>
<variable name="act">
```python
def act(observation, memory):
    error = observation["goal_position"] - observation["hand_position"]
    return [*({number}.0 * error), 0.0]
```
</variable>
<stop>no</stop>
"""


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """The model, running, as the environment variables name it."""
    server = Endpoint()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-key")
    monkeypatch.setenv("OPENAI_MODEL", "m")
    yield server
    server.shutdown()
    server.server_close()
