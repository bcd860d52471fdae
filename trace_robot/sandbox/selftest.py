"""What this machine gives a sandbox, found out by making one and knocking at its walls."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import platform
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trace_robot.errors import SandboxError
from trace_robot.fault import Fault, Limits
from trace_robot.sandbox.kernel import landlock_version, seccomp_unavailable
from trace_robot.sandbox.sandbox import Sandbox
from trace_robot.sandbox.types import Interface

# What is tried -> the text of a controller that tries it; each must be blocked.
ATTEMPTS = {
    "reading a file": "open('/etc/passwd').read()",
    "writing a file": "open('/tmp/trace-robot-was-here', 'w')",
    "listing a folder": "import os; os.listdir('/')",
    "starting a process": "import os; os.fork()",
    "running a program": "import os; os.execv('/bin/true', ['true'])",
    "opening a socket": "import socket; socket.socket()",
    "sending a signal": "import os; os.kill(os.getppid(), 0)",
    "raising its priority": "import os; os.setpriority(0, 0, -20)",
}
_LOCKS = {
    "seccomp": "system calls",
    "no_new_privs": "no new privileges",
    "landlock": "Landlock",
    "rlimits": "memory limit",
    "root": "root",
}


@dataclass(frozen=True, slots=True)
class SelfTestReport:
    """What a sandbox on this machine is worth.

    boundary: whether a controller that wants out is held; ``reason`` says why not. locks: lock -> a word on it.
    attempts: what was tried -> whether it was blocked. first_seconds, next_seconds: time to a first answer with a new
    sandbox, and with another source in the same one.
    """

    system: str
    boundary: bool
    reason: str
    locks: dict[str, str]
    attempts: dict[str, bool]
    landlock: int
    first_seconds: float
    next_seconds: float

    def to_data(self) -> dict[str, object]:
        """Return it as JSON data."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        lines = [f"{self.system}", f"boundary: {'yes' if self.boundary else 'no: ' + self.reason}"]
        lines += [f"  {_LOCKS.get(name, name)}: {word}" for name, word in self.locks.items()]
        lines += [f"  {name}: {'blocked' if held else 'NOT BLOCKED'}" for name, held in self.attempts.items()]
        if self.boundary:
            lines.append(
                f"start: {self.first_seconds:.2f} s, then {1000 * self.next_seconds:.0f} ms for another source"
            )
        else:
            lines.append("untrusted controllers are refused here; --trust runs them without a boundary")
        return "\n".join(lines)


def report() -> SelfTestReport:
    """Make a sandbox, try to get out of it and return what held."""
    system = (
        f"{platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}"
    )
    version = landlock_version()
    reason = seccomp_unavailable()
    if reason:
        return SelfTestReport(system, False, reason, {}, {}, version, 0.0, 0.0)
    with Sandbox(Interface(1, 1), static_check=False, preload=["socket"]) as box:
        started = time.perf_counter()
        try:
            box.load("def act(observation):\n    return [0.0]\n")
        except SandboxError as error:
            return SelfTestReport(system, False, str(error), box.locks, {}, version, 0.0, 0.0)
        first = time.perf_counter() - started
        attempts = {name: _is_blocked(box, text) for name, text in ATTEMPTS.items()}
        started = time.perf_counter()
        box.load("def act(observation):\n    return [1.0]\n")
        following = time.perf_counter() - started
        held = all(attempts.values())
        reason = "" if held else "not everything that was tried was blocked"
        return SelfTestReport(system, held, reason, dict(box.locks), attempts, version, first, following)


def _is_blocked(box: Sandbox, text: str) -> bool:
    fault: Fault | None = box.load(f"{text}\ndef act(observation):\n    return [0.0]\n")
    return fault is not None and fault.category == "blocked"


_CALLS = 5
_BENIGN = "def act(observation):\n    return [0.25] * {}\n"
_NAMES = {"wrong shape": "wrong-shape", "not finite": "nan", "blocked": "blocked-os"}
_OPTIONS = {
    "call_s": "call_seconds",
    "load_s": "load_seconds",
    "episode_s": "episode_seconds",
    "memory_mb": "memory_mb",
}


@dataclass(frozen=True, slots=True)
class SampleRow:
    """What one sample did; ``expected`` holds the outcomes that count as right, ``message`` the fault's text."""

    id: str
    expected: tuple[str, ...]
    got: str
    ok: bool
    message: str = ""
    line: int | None = None


def read_corpus(path: str | Path) -> dict[str, Any]:
    """Return a corpus file's content.

    Raises:
        ValueError: it is not a corpus.
    """
    data = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(data, dict) or not isinstance(data.get("samples"), list):
        raise ValueError(f"a corpus must be a JSON object with a list of samples, got {path!r}")
    return data


def run_corpus(
    corpus: str | Path | Mapping[str, Any], *, static_check: bool = True, without: Sequence[str] = ()
) -> Iterator[SampleRow]:
    """Run every sample in a sandbox and yield its row, in the corpus's order.

    without: locks left open on purpose, as `Sandbox` takes them.
    """
    data = corpus if isinstance(corpus, Mapping) else read_corpus(corpus)
    with (
        tempfile.TemporaryDirectory(prefix="canary-") as folder,
        _Listener(data.get("loopback_port")) as listener,
    ):
        os.chmod(folder, 0o777)
        trial = _Trial(data, Path(folder), listener, static_check, tuple(without))
        with contextlib.closing(trial):
            for sample in data["samples"]:
                yield trial.run(sample)


class _Listener:
    """A port on this machine that nobody should reach; a taken port is left alone."""

    def __init__(self, port: int | None) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def __enter__(self) -> _Listener:
        if self._port is not None:
            self._socket = socket.socket()
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.setblocking(False)
            try:
                self._socket.bind(("127.0.0.1", self._port))
                self._socket.listen()
            except OSError:
                self.__exit__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def reached(self) -> bool:
        """Return whether somebody connected since the last call."""
        try:
            if self._socket is not None:
                self._socket.accept()[0].close()
                return True
        except BlockingIOError:
            pass
        return False


class _Trial:
    def __init__(
        self,
        data: Mapping[str, Any],
        canary: Path,
        listener: _Listener,
        static_check: bool,
        without: tuple[str, ...],
    ) -> None:
        self._data = data
        self._canary = canary
        self._listener = listener
        self._static_check = static_check
        self._without = without
        self._interface = Interface(int(data.get("obs_dim", 39)), int(data.get("act_dim", 4)))
        self._boxes: dict[Any, Sandbox] = {}
        self._benign = _BENIGN.format(self._interface.output_size)

    def close(self) -> None:
        for box in self._boxes.values():
            box.close()

    def run(self, sample: Mapping[str, Any]) -> SampleRow:
        """Run one sample, then look for damage and let a benign controller work in the same sandbox."""
        name = str(sample["id"])
        expected = self._expected(sample)
        absent = [module for module in sample.get("needs", ()) if importlib.util.find_spec(module) is None]
        if absent:
            return SampleRow(name, expected, "skipped", True, f"needs {', '.join(absent)}")
        box = self._box(sample)
        self._play(box, self._benign, 1)
        descriptors = _descriptors()
        fault = self._play(box, self._source(sample), int(sample.get("calls", _CALLS)))
        got = "pass" if fault is None else self._name(fault)
        after = self._play(box, self._benign, 1)
        damage = self._damage()
        if after is not None:
            damage = f"the next controller failed: {after.message}"
        if _descriptors() != descriptors:
            damage = damage or f"{_descriptors() - descriptors} descriptors were left open"
        message, line = ("", None) if fault is None else (fault.message, fault.line)
        return SampleRow(name, expected, got, got in expected and not damage, damage or message, line)

    def _expected(self, sample: Mapping[str, Any]) -> tuple[str, ...]:
        if self._static_check:
            return (sample["category"], *sample.get("accept", ()))
        return tuple(sample["expect_gate_off"])

    def _source(self, sample: Mapping[str, Any]) -> str:
        if "source_parts" in sample:
            source = "".join(text * int(times) for text, times in sample["source_parts"])
        else:
            source = str(sample["source"])
        return source.replace("{CANARY}", str(self._canary))

    def _box(self, sample: Mapping[str, Any]) -> Sandbox:
        """Return the sandbox with this sample's limits and modules."""
        values = {
            "call_seconds": float(self._data.get("call_deadline_s", 0.5)),
            "load_seconds": float(self._data.get("load_deadline_s", 5.0)),
            "memory_mb": int(self._data.get("memory_mb", 512)),
        } | {_OPTIONS[key]: value for key, value in sample.get("opts", {}).items() if key in _OPTIONS}
        preload = () if self._static_check else tuple(sample.get("preload", ()))
        key = (tuple(sorted(values.items())), preload)
        if key not in self._boxes:
            self._boxes[key] = Sandbox(
                self._interface, Limits(**values), static_check=self._static_check, preload=preload,
                without=self._without,
            )  # fmt: skip
        return self._boxes[key]

    def _play(self, box: Sandbox, source: str, calls: int) -> Fault | None:
        rows = np.random.default_rng(0).normal(size=(1, self._interface.input_size))
        fault = box.load(source) or box.reset()
        for _ in range(calls):
            if fault is not None:
                break
            answer = box.call(rows)[0]
            fault = answer if isinstance(answer, Fault) else None
        return fault

    def _name(self, fault: Fault) -> str:
        return "blocked-static" if fault.static else _NAMES.get(fault.category, fault.category)

    def _damage(self) -> str:
        if self._listener.reached():
            return "it reached the network"
        if touched := sorted(path.name for path in self._canary.iterdir()):
            for path in self._canary.iterdir():
                path.unlink()
            return f"it wrote files: {', '.join(touched)}"
        return ""


def _descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0
