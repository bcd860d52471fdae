"""Processes of ``drive``: a deployed controller, and JSON lines with their times."""

from __future__ import annotations

import hashlib
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from trace_robot import safe_files
from trace_robot.child_process import clean_environment
from trace_robot.errors import RunError, UsageError

MOST_MISSED = 10  # observations in a row without a watchdog, as in deploy/templates/controller.py.txt
MOST_BYTES = 10_000_000
LONGEST = 1_000_000  # characters of a message


def read_contract(folder: Path) -> dict[str, Any]:
    """Return the contract of a folder of ``deploy``, whose files it must name.

    Raises:
        RunError: there is none, or a file differs from it.
    """
    try:
        data = safe_files.load_json(safe_files.read_bytes(folder, "contract.json", most=MOST_BYTES))
        if not isinstance(data, dict) or not isinstance(data.get("files"), dict):
            raise RunError(
                f"{str(folder / 'contract.json')!r} is no contract; write one with trace-robot deploy"
            )
        verified_files(folder, data)
    except OSError as error:
        raise RunError(
            f"cannot read {str(error.filename or folder)!r}: {error.strerror or error}; trace-robot deploy writes the"
            " folder of a controller"
        ) from error
    except ValueError as error:
        raise RunError(f"{str(folder / 'contract.json')!r} is no JSON: {error}") from error
    if data.get("rate_hz") is None and not followed(data).get("step_seconds"):
        raise UsageError(
            f"the contract of {str(folder)!r} has neither a rate_hz nor a step_seconds of its tracking, so nothing can"
            f" be driven in time: {without_rate(data)}; deploy it again, as older contracts have no step_seconds"
        )
    return data


def followed(contract: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how a controller's targets are followed, {} where it gives none."""
    tracking = contract.get("control", {}).get("tracking", {})
    return tracking if isinstance(tracking, Mapping) and "most_steps" in tracking else {}


def period_of(contract: Mapping[str, Any]) -> float:
    """Return the seconds in which an answer is due: a step of the task."""
    rate = contract["rate_hz"]
    return 1.0 / rate if rate is not None else float(followed(contract)["step_seconds"])


def without_rate(contract: Mapping[str, Any]) -> str:
    """Return why a contract has no rate, and what gives it one."""
    if (contract.get("control") or {}).get("mode") == "pose":
        return "in mode pose a decision takes as long as the robot's own tracking needs"
    return (
        "the environment says none; give it metadata['render_fps'], or an attribute dt, the seconds of a step"
    )


def verified_files(folder: Path, contract: Mapping[str, Any]) -> dict[str, bytes]:
    """Return what the files of a contract hold, each with the SHA-256 that it names.

    Args:
        folder: that ``deploy`` wrote.
        contract: of it.

    Raises:
        RunError: a file differs from its contract.
        OSError: a file cannot be read.
    """
    files = {name: safe_files.read_bytes(folder, name, most=MOST_BYTES) for name in contract["files"]}
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != contract["files"][name]:
            raise RunError(f"{name} is not the one of contract.json; deploy the controller again")
    return files


def silence(contract: Mapping[str, Any]) -> float:
    """Return the seconds without an observation after which the robot stops."""
    limits = (contract.get("envelope") or {}).get("limits", {})
    # Between two observations a target may be followed for its most steps.
    steps = MOST_MISSED + followed(contract).get("most_steps", 0)
    return float(limits.get("watchdog", steps * period_of(contract)))


class Peer:
    """A process that speaks JSON lines, which arrive with their time."""

    def __init__(self, command: Sequence[str], name: str, environment: Mapping[str, str] | None) -> None:
        """Start it.

        Args:
            command: its words; no shell reads them.
            name: of what it is, for messages.
            environment: its variables, None for those of this process.

        Raises:
            RunError: it cannot be started.
        """
        self.name = name
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                text=True,
                bufsize=1,
                start_new_session=True,  # Ctrl-C ends drive alone, which then sends the driver its stop
            )
        except OSError as error:
            raise RunError(f"{name} {command[0]!r} cannot be started: {error.strerror or error}") from error
        self._lines: queue.Queue[tuple[float, str]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, text: str) -> None:
        """Send a line. That the process has ended is seen when it is read."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text + "\n")
            self._process.stdin.flush()
        except OSError:
            return

    def line(self, seconds: float) -> tuple[float, str]:
        """Return when the next line came and the line, "" where none comes in time.

        Raises RunError where the process has ended.
        """
        try:
            at, text = self._lines.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return time.monotonic(), ""
        if not text:
            code = self._process.wait()
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise RunError(f"{self.name} ended with {how}")
        return at, text

    def message(self, seconds: float) -> tuple[float, dict[str, Any]]:
        """Return when the next message came and the message, {} where none comes in time.

        Raises RunError where it is no JSON object, or the process has ended.
        """
        at, text = self.line(seconds)
        try:
            data = json.loads(text) if text else {}
        except (ValueError, RecursionError) as error:
            raise RunError(f"{self.name} sent no JSON: {text.strip()!r:.80}") from error
        if not isinstance(data, dict):
            raise RunError(f"{self.name} must send JSON objects, got {text.strip()!r:.80}")
        return at, data

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(2.0)  # it closes its end; a grandchild may hold the other one open

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            while text := output.readline(LONGEST):
                self._lines.put((time.monotonic(), text))
        self._lines.put((time.monotonic(), ""))


class PythonController:
    """The Python file of a deployed controller as a process.

    It checks by itself what it is sent.
    """

    def __init__(self, folder: Path, contract: Mapping[str, Any]) -> None:
        """Start it.

        Args:
            folder: that ``deploy`` wrote.
            contract: of it.

        Raises:
            RunError: it cannot be started.
        """
        source = next(iter(contract["files"]))
        command = [sys.executable, "-I", "-S", "-u", str((folder / source).absolute())]
        self._peer = Peer(command, "the controller", clean_environment())

    def ask(self, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Return the answer to a message, an error where none comes in time.

        Args:
            message: as the driver sent it.
            seconds: to wait at most.

        Raises:
            RunError: the process has ended, or answers no JSON.
        """
        self._peer.send(json.dumps(message))
        deadline = time.monotonic() + seconds
        while True:
            answer = self._peer.message(deadline - time.monotonic())[1]
            if not answer:
                return {"error": f"the controller gave no answer in {seconds:.3g} s"}
            if _answers(answer, message):  # any other came too late for the message before
                return answer

    def close(self) -> None:
        """End the process."""
        self._peer.close()


def _answers(answer: Mapping[str, Any], message: Mapping[str, Any]) -> bool:
    """Return whether an answer is one to a message."""
    for kind in ("reset", "log"):
        if kind in message:
            return kind in answer
    return "hello" in message or "error" in answer or answer.get("step") == message.get("step")
