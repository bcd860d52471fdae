"""Kills runs at random moments, takes them up again, and compares them with an undisturbed run.

    python benchmarks/crash.py --kills 200
    python benchmarks/crash.py --kills 10 --kinds model,reach --seed 7

Each run is a real ``trace-robot optimize`` in its own process, killed with SIGKILL up to six times. Kinds: model
(OptoPrime; the model is an HTTP endpoint in this process that counts what it is asked), tuned (with CMA-ES between its
proposals), search and cma, all on a point that is pushed about (tests/workspace); laws: search over feedback laws, on a
mass; reach: search on Meta-World, videos.

Wrong is: another candidate, iteration, episode, score or file than in the undisturbed run, the clock's apart; an answer
asked for again that was in the store; a store that fails its integrity check; a process left over. Exits with 1 then.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from trace_robot.run.journaled import request_hash
from trace_robot.store.database import FILE
from trace_robot.store.folder import is_locked

ROOT = Path(__file__).resolve().parents[1]
MOST_KILLS = 6
KINDS = {
    "model": "point-mass --optimizer optoprime --iterations 6 --episodes 3 --held-out 4 --no-tune --prices 1,3",
    "tuned": "point-mass --optimizer optoprime --iterations 1 --episodes 2 --held-out 2 --proposals 2",
    "search": "point-mass --optimizer search --steps 4000 --episodes 5 --held-out 4",
    "laws": "mass --optimizer search --steps 30000 --held-out 4",
    "cma": "point-mass --optimizer cma --steps 1500 --episodes 2 --held-out 4 --policy {policy}",
    "reach": "reach-v3 --optimizer search --steps 6000 --episodes 3 --held-out 2",
}
NUMBERS = """from trace_robot import bundle, node

gain = node(0.2, name="gain", trainable=True)


@bundle()
def act(observation):
    error = observation["goal_position"] - observation["hand_position"]
    return [*(gain.data * error)[:2], 0.0, 0.0]
"""
CODE = """def act(observation, memory):
    error = observation["goal_position"] - observation["hand_position"]
    return [*({gain} * error)[:2], 0.0, 0.0]"""
REPLY = """<reasoning>closer</reasoning>
<change>gain {gain}</change>
<variable name="act">
```python
{code}
```
</variable>"""
CLOCK = ("started", "updated", "seconds", "result", "data")  # columns that are times, or hold some


def replies() -> list[str]:
    """Answers of all kinds: refused, better, worse, with an error when read, loaded or run; none solves the task."""
    gains = [0.4, 0.7, -1.0, 0.9, 1.1, 1.3, *(1.5 + number / 10 for number in range(40))]
    answers = [REPLY.format(gain=gain, code=CODE.format(gain=gain)) for gain in gains]
    answers.insert(0, "I would rather not.")
    answers.insert(3, answers[1].replace("goal_position", "gaol_position").replace("0.4", "0.41"))
    answers.insert(5, answers[1].replace("def act(", "def act((").replace("0.4", "0.42"))
    answers.insert(6, answers[1].replace(", 0.0, 0.0]", "]").replace("0.4", "0.43"))
    return answers


class Endpoint:
    """An OpenAI-compatible endpoint that answers the same to the same prompt, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._replies, self._known = replies(), dict[str, str]()
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"endpoint": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}/v1"

    def answer(self, messages: list[dict[str, str]]) -> str:
        request = request_hash(messages, 1)
        with self._lock:
            self.asked.append(request)
            if request not in self._known:
                self._known[request] = self._replies[len(self._known) % len(self._replies)]
            return self._known[request]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    endpoint: Endpoint

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        message = {"role": "assistant", "content": self.endpoint.answer(asked["messages"])}
        choices = [{"index": 0, "finish_reason": "stop", "message": message}]
        usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
        body = {
            "id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": choices, "usage": usage,
        }  # fmt: skip
        data = json.dumps(body).encode()
        with contextlib.suppress(OSError):  # the process that asked was killed
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)


class Crashes:
    """Runs of one kind in ``folder``. kills: so far; wrong: what differed, as text."""

    def __init__(self, kind: str, folder: Path, endpoint: Endpoint, seed: int) -> None:
        self.kind, self.folder, self.endpoint = kind, folder, endpoint
        self.random = random.Random(f"{kind} {seed}")
        self.kills = self.runs = 0
        self.wrong: list[str] = []
        folder.mkdir(parents=True)
        (folder / "policy.py").write_text(NUMBERS)
        process = self._start(folder / "undisturbed", "optimize")
        self._wait_for(process, folder / "undisturbed" / "run")
        began = time.monotonic()
        self._end(process)
        self.seconds = time.monotonic() - began
        self.expected = picture(folder / "undisturbed" / "run")

    def one(self) -> None:
        """Make one run, with up to MOST_KILLS kills, and look at the result."""
        self.runs += 1
        place = self.folder / f"{self.runs:03d}"
        moments: list[float] = []
        command, known, asked = "optimize", set[str](), len(self.endpoint.asked)
        for _ in range(self.random.randint(1, MOST_KILLS)):
            process = self._start(place, command)
            moment = self.random.uniform(0.0, self.seconds / 2)
            if not self._kill(process, place / "run", moment):
                break
            moments.append(round(moment, 3))
            self._check_asked(place, known, self.endpoint.asked[asked:], moments)
            answered, asked = self._answered(place, moments), len(self.endpoint.asked)
            command = "resume" if answered is not None else "optimize"
            known = answered or set()
        else:
            process = self._start(place, command)
        self._end(process)
        self.kills += len(moments)
        self._check_asked(place, known, self.endpoint.asked[asked:], moments)
        self._answered(place, moments)
        found = picture(place / "run")
        other = [n for n in sorted({*found, *self.expected}) if found.get(n) != self.expected.get(n)]
        if other:
            self._complain(place, moments, f"not as in the undisturbed run: {', '.join(other)}")
        print(f"{self.kind:8} {place.name}  killed after {', '.join(map(str, moments)) or '-'} s", flush=True)

    def _start(self, place: Path, command: str) -> subprocess.Popen[bytes]:
        place.mkdir(parents=True, exist_ok=True)
        run = str(place / "run")
        arguments = ["resume", run]
        if command == "optimize":
            asked = KINDS[self.kind].format(policy=self.folder / "policy.py")
            arguments = ["optimize", *asked.split(), "--out", run, "--workers", "1"]
        environment = {name: text for name, text in os.environ.items() if not name.startswith("OPENAI_")}
        environment["TRACE_ROBOT_WORKSPACE"] = str(ROOT / "tests" / "workspace")
        if self.kind in ("model", "tuned"):
            environment |= {"OPENAI_BASE_URL": self.endpoint.address, "OPENAI_MODEL": "m"}
        with open(place / "output.txt", "ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "trace_robot", *arguments], env=environment, cwd=place,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def _wait_for(self, process: subprocess.Popen[bytes], run: Path) -> None:
        """Wait until the process has the run."""
        while process.poll() is None and not is_locked(run):
            time.sleep(0.002)

    def _kill(self, process: subprocess.Popen[bytes], run: Path, moment: float) -> bool:
        self._wait_for(process, run)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
            return False
        process.kill()
        process.wait()
        return True

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the end of a run, and for everything that its processes started."""
        if process.wait(600):
            self._complain(self.folder, [], f"exit code {process.returncode}; see output.txt")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)
        self._complain(self.folder, [], "a process is left over")
        os.killpg(process.pid, signal.SIGKILL)

    def _answered(self, place: Path, moments: list[float]) -> set[str] | None:
        """Check the store and return the requests whose answers are in it; None if the run is not in it yet."""
        path = place / FILE
        if not path.exists():
            return None
        with closing(sqlite3.connect(path)) as store:
            if store.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
                self._complain(place, moments, "the store fails its integrity check")
            if not store.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return None
            if not store.execute("SELECT count(*) FROM runs").fetchone()[0]:
                return None
            return {row[0] for row in store.execute("SELECT request FROM journal WHERE kind = 'replies'")}

    def _check_asked(self, place: Path, known: set[str], asked: list[str], moments: list[float]) -> None:
        if again := known.intersection(asked):
            self._complain(place, moments, f"{len(again)} answers were in the store and asked for again")

    def _complain(self, place: Path, moments: list[float], what: str) -> None:
        self.wrong.append(f"{place}, killed after {moments}: {what}")
        print(f"wrong: {self.wrong[-1]}", flush=True)


def picture(run: Path) -> dict[str, Any]:
    """Return all that must be the same: every file, and every row of the store, without the clock's."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        found[str(path.relative_to(run))] = path.read_bytes()
    if "result.json" in found:
        found["result.json"] = {**json.loads(found["result.json"]), "seconds": None}
    with closing(sqlite3.connect(run.parent / FILE)) as store:
        store.row_factory = sqlite3.Row
        tables = [row["name"] for row in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            rows = [dict(row) for row in store.execute(f"SELECT * FROM {table}")]
            found[f"table {table}"] = [
                {k: v for k, v in row.items() if k not in CLOCK and k != "id"} for row in rows
            ]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, help="in all, at least (default 200)")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"default {','.join(KINDS)}")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", help="keep the folders here, which must not exist")
    options = parser.parse_args()
    endpoint = Endpoint()
    with tempfile.TemporaryDirectory(prefix="crash-") as temporary:
        folder = Path(options.out) if options.out else Path(temporary)
        every = [Crashes(kind, folder / kind, endpoint, options.seed) for kind in options.kinds.split(",")]
        while sum(each.kills for each in every) < options.kills:
            for each in every:
                each.one()
    endpoint.close()
    for each in every:
        print(
            f"{each.kind:8} {each.kills} kills in {each.runs} runs of {each.seconds:.1f} s, {len(each.wrong)} wrong"
        )
    wrong = sum(len(each.wrong) for each in every)
    print(f"{sum(each.kills for each in every)} kills, {wrong or 'nothing'} wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
