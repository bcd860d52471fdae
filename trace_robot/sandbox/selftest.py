"""The self-test behind ``trace-robot sandbox``: attempts to escape, and corpora."""

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
from trace_robot.sandbox.protocol import Interface, landlock_version, seccomp_unavailable
from trace_robot.sandbox.sandbox import Sandbox

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
    """What a sandbox on this machine holds.

    boundary: whether every attempt to escape was blocked; ``reason`` says why not. locks: lock -> how it went.
    attempts: what was tried -> whether it was blocked. landlock: version of the kernel's ABI, 0 if it has none.
    first_seconds, next_seconds: time to load with a new sandbox, and another text in the same one.
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
        lines += [f"  {_LOCKS.get(name, name)}: {result}" for name, result in self.locks.items()]
        lines += [f"  {name}: {'blocked' if held else 'NOT BLOCKED'}" for name, held in self.attempts.items()]
        if self.boundary:
            lines.append(
                f"start: {self.first_seconds:.2f} s, then {1000 * self.next_seconds:.0f} ms for another source"
            )
        else:
            lines.append("untrusted controllers are refused here; --trust runs them without a boundary")
        return "\n".join(lines)


def report() -> SelfTestReport:
    """Make a sandbox, try to escape from it, and return what was blocked."""
    system = (
        f"{platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}"
    )
    version = landlock_version()
    reason = seccomp_unavailable()
    if reason:
        return SelfTestReport(system, False, reason, {}, {}, version, 0.0, 0.0)
    with Sandbox(Interface(1, 1), static_check=False, preload=["socket"]) as sandbox:
        started = time.perf_counter()
        try:
            sandbox.load("def act(observation):\n    return [0.0]\n")
        except SandboxError as error:
            return SelfTestReport(system, False, str(error), sandbox.locks, {}, version, 0.0, 0.0)
        first = time.perf_counter() - started
        attempts = {name: _is_blocked(sandbox, text) for name, text in ATTEMPTS.items()}
        started = time.perf_counter()
        sandbox.load("def act(observation):\n    return [1.0]\n")
        following = time.perf_counter() - started
        held = all(attempts.values())
        reason = "" if held else "not everything that was tried was blocked"
        return SelfTestReport(system, held, reason, dict(sandbox.locks), attempts, version, first, following)


def _is_blocked(sandbox: Sandbox, text: str) -> bool:
    fault: Fault | None = sandbox.load(f"{text}\ndef act(observation):\n    return [0.0]\n")
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
    """How one sample of a corpus ended.

    expected: the outcomes that count as right. message, line: of the fault, or what was damaged.
    """

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

    Args:
        corpus: a path, or what `read_corpus` returned.
        static_check: whether the texts are checked first; without, the kernel's locks must hold alone.
        without: locks that are left open, as `Sandbox` takes them.

    Raises:
        ValueError: it is not a corpus.
    """
    data = corpus if isinstance(corpus, Mapping) else read_corpus(corpus)
    with (
        tempfile.TemporaryDirectory(prefix="canary-") as folder,
        _Listener(data.get("loopback_port")) as listener,
    ):
        os.chmod(folder, 0o777)
        runner = _CorpusRunner(data, Path(folder), listener, static_check, tuple(without))
        with contextlib.closing(runner):
            for sample in data["samples"]:
                yield runner.run(sample)


class _Listener:
    """A port on this machine that no sample must reach.

    A port that is taken is left alone.
    """

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
        """Return whether a connection was made since the last call."""
        try:
            if self._socket is not None:
                self._socket.accept()[0].close()
                return True
        except BlockingIOError:
            pass
        return False


class _CorpusRunner:
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
        self._sandboxes: dict[Any, Sandbox] = {}
        self._benign = _BENIGN.format(self._interface.output_size)

    def close(self) -> None:
        """Close every sandbox."""
        for sandbox in self._sandboxes.values():
            sandbox.close()

    def run(self, sample: Mapping[str, Any]) -> SampleRow:
        """Run one sample, then look for damage and run a benign controller.

        It runs in the same sandbox, which the sample must not have spoiled.
        """
        name = str(sample["id"])
        expected = self._expected(sample)
        absent = [module for module in sample.get("needs", ()) if importlib.util.find_spec(module) is None]
        if absent:
            return SampleRow(name, expected, "skipped", True, f"needs {', '.join(absent)}")
        sandbox = self._sandbox(sample)
        self._run(sandbox, self._benign, 1)
        descriptors = _descriptors()
        fault = self._run(sandbox, self._source(sample), int(sample.get("calls", _CALLS)))
        got = "pass" if fault is None else self._name(fault)
        after = self._run(sandbox, self._benign, 1)
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

    def _sandbox(self, sample: Mapping[str, Any]) -> Sandbox:
        """Return the sandbox with this sample's limits and modules."""
        values = {
            "call_seconds": float(self._data.get("call_deadline_s", 0.5)),
            "load_seconds": float(self._data.get("load_deadline_s", 5.0)),
            "memory_mb": int(self._data.get("memory_mb", 512)),
        } | {_OPTIONS[key]: value for key, value in sample.get("opts", {}).items() if key in _OPTIONS}
        preload = () if self._static_check else tuple(sample.get("preload", ()))
        key = (tuple(sorted(values.items())), preload)
        if key not in self._sandboxes:
            self._sandboxes[key] = Sandbox(
                self._interface,
                Limits(**values),
                static_check=self._static_check,
                preload=preload,
                without=self._without,
            )
        return self._sandboxes[key]

    def _run(self, sandbox: Sandbox, source: str, calls: int) -> Fault | None:
        rows = np.random.default_rng(0).normal(size=(1, self._interface.input_size))
        fault = sandbox.load(source) or sandbox.reset()
        for _ in range(calls):
            if fault is not None:
                break
            answer = sandbox.call(rows)[0]
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
