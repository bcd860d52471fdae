"""Runs the check of an environment in another process and listens, until it is done, dies or hangs."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trace_robot.child_process import worker_environment

SILENCE = 30.0  # seconds
STAGES = {
    "load": "loading its plug-in",
    "make": "being made",
    "reset": "reset()",
    "step": "step()",
    "seeds": "repeating episodes",
    "snapshot": "being saved and restored",
    "cost": "being timed",
    "picture": "being drawn",
    "close": "close()",
    "another process": "another process",
}


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found of one environment."""

    name: str
    file: str
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> int:
        return sum(finding.verdict == "problem" for finding in self.findings)


def examine(name: str, options: Mapping[str, Any] | None = None, *, silence: float = SILENCE) -> Examined:
    """Check an environment; silence: seconds without an answer after which it counts as hung."""
    findings: list[Finding] = []
    file, stage = "", "load"
    with _Child(name, options or {}) as child:
        while stage != "done":
            message = child.next(silence)
            if message is None:
                findings.append(child.fault(stage, silence))
                break
            file, stage = message.get("file", file), message.get("stage", stage)
            if "finding" in message:
                findings.append(Finding(**message["finding"]))
    if any(each.check == "seeds" and each.verdict == "good" for each in findings):
        findings.append(_across(name, options or {}, silence))
    return Examined(name, file, tuple(findings))


def _across(name: str, options: Mapping[str, Any], silence: float) -> Finding:
    """Compare one episode in two further processes, whose hashes and histories differ."""
    told = []
    for salt in ("1", "2"):
        with _Child(name, options, "--digest", PYTHONHASHSEED=salt) as child:
            message = child.next(silence)
            if message is None:
                return child.fault("another process", silence)
            told.append(message["digest"])
    if told[0] != told[1]:
        return problem("seeds", "the same seed and actions gave different episodes in two processes")
    return Finding("seeds", "good", "the same seed and actions give the same episode in another process")


class _Child:
    def __init__(self, name: str, options: Mapping[str, Any], *flags: str, **environment: str) -> None:
        command = [
            sys.executable,
            "-m",
            "trace_robot.env_checker.child",
            name,
            json.dumps(dict(options)),
            *flags,
        ]
        self._process = subprocess.Popen(
            command, env={**worker_environment(), **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._errors: list[bytes] = []
        self._threads = [
            threading.Thread(target=self._listen, daemon=True),
            threading.Thread(target=self._collect, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def next(self, seconds: float) -> dict[str, Any] | None:
        """Return the next answer; None if there is none in time, or no process any more."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            return None
        return json.loads(line) if line else None

    def fault(self, stage: str, silence: float) -> Finding:
        """Say why there was no answer."""
        where = STAGES.get(stage, stage)
        if self._process.poll() is None and self._threads[0].is_alive():
            return problem(stage, f"it hangs: {where} gave no answer within {silence:g} s")
        code = self._process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        self._threads[1].join(timeout=1.0)
        last = b"".join(self._errors).decode(errors="replace").strip().splitlines()
        said = f"; it wrote: {last[-1][:200]}" if last else ""
        return problem(stage, f"its process ended in {where} with {how}{said}")

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for thread in self._threads:
            thread.join(timeout=1.0)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def _collect(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._errors.append(line)
            del self._errors[:-20]


Verdict = Literal["good", "note", "problem"]
REMEDIES = {
    "load": "mend the plug-in file",
    "make": "see that make, or gymnasium.make, gives the environment when it is called with these arguments",
    "reset": "reset(seed=..., options=...) must return (observation, info) and begin an episode",
    "step": "step(action) must return (observation, reward, terminated, truncated, info) for every action in its space",
    "values": "give finite numbers: clip what diverges, or end the episode before it does",
    "seeds": "draw every random number from self.np_random, which super().reset(seed=seed) sets, and reset all state",
    "success": "say in its plug-in: success='an entry of info', a function of the step, or return_threshold=...",
    "spec": "mend this field of the plug-in",
    "picture": "offer render_mode='rgb_array', or keep MuJoCo's model, data and the model file's path (fullpath)",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. field: of the plug-in, where one is meant; remedy: what to do, of a problem."""

    check: str
    verdict: Verdict
    text: str
    field: str = ""
    remedy: str = ""


def problem(check: str, text: str, field: str = "") -> Finding:
    return Finding(check, "problem", text, field, REMEDIES.get(check, ""))
