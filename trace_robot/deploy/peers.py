"""Processes of ``drive``: a deployed controller, and JSON lines with their times."""

from __future__ import annotations

import hashlib
import json
import queue
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
C_STATUS = {1: "a number is not finite", 2: "the controller failed", 3: "stopped until a reset"}


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
        for name, wanted in data["files"].items():
            if hashlib.sha256(safe_files.read_bytes(folder, name, most=MOST_BYTES)).hexdigest() != wanted:
                raise RunError(f"{name} is not the one of contract.json; deploy the controller again")
    except OSError as error:
        raise RunError(f"cannot read {str(error.filename or folder)!r}: {error.strerror or error}") from error
    except ValueError as error:
        raise RunError(f"{str(folder / 'contract.json')!r} is no JSON: {error}") from error
    if data.get("rate_hz") is None:
        raise UsageError("the contract has no rate_hz, so nothing can be driven in time; see docs/drive.md")
    return data


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
            raise RunError(f"{self.name} ended with exit code {self._process.wait()}")
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


class DeployedController:
    """A deployed controller as a process: the Python file, or the driver of the C."""

    def __init__(self, folder: Path, contract: Mapping[str, Any]) -> None:
        """Start it.

        Args:
            folder: that ``deploy`` wrote.
            contract: of it.

        Raises:
            RunError: it is not there, or not built.
        """
        self._contract, self._last, self._stopped = contract, -1, ""
        self._in_c = contract["target"] == "c"
        if self._in_c:
            source = next(name for name in contract["files"] if name.endswith(".h"))
            program = folder / f"{source.removesuffix('.h')}_test"
            if not program.is_file():
                raise RunError(f"{str(program)!r} is not built; run: make -C {folder}")
            command = [str(program.absolute())]
        else:
            source = next(iter(contract["files"]))
            command = [sys.executable, "-I", "-S", "-u", str((folder / source).absolute())]
        self._peer = Peer(command, "the controller", clean_environment())

    def ask(self, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Return the answer to a message of a driver.

        Args:
            message: as the driver sent it.
            seconds: to wait at most.

        Raises:
            RunError: none came, or the process has ended.
        """
        if self._in_c:
            return self._ask_c(message, seconds)
        self._peer.send(json.dumps(message))
        return self._peer.message(seconds)[1] or {
            "error": f"the controller gave no answer in {seconds:.3g} s"
        }

    def close(self) -> None:
        """End the process."""
        self._peer.close()

    def _ask_c(self, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Check what the Python checks by itself, and hand the numbers on."""
        if "hello" in message:
            return _greeted(message["hello"], self._contract)
        if "reset" in message:
            self._last, self._stopped = -1, ""
            self._peer.send("reset")
            return {"reset": True}
        if "log" in message:
            return {"log": {}}
        if not self._stopped:
            step, seen = message["step"], message["observation"]
            if not isinstance(step, int) or step <= self._last:
                self._stopped = f"step {step!r:.80} is late or repeated, the last one was {self._last}"
            elif self._last >= 0 and step > self._last + 1 + MOST_MISSED:
                self._stopped = f"{step - self._last - 1} steps are missing before step {step}"
            else:
                try:
                    numbers = [n for part in self._contract["fields"] for n in _numbers(part, seen)]
                except (KeyError, TypeError, ValueError) as error:
                    self._stopped = f"the observation does not fit: {error}"
        if self._stopped:
            return {"error": self._stopped}
        self._last = step
        self._peer.send(" ".join(map(repr, numbers)))
        _, text = self._peer.line(seconds)
        if not text:
            raise RunError(f"the controller gave no answer in {seconds:.3g} s, the driver was stopped")
        if text.startswith("fault"):
            self._stopped = C_STATUS.get(int(text.split()[1]), text)
            return {"error": self._stopped}
        return {"step": step, "action": [float(word) for word in text.split()]}


def _numbers(part: Mapping[str, Any], seen: Mapping[str, Any]) -> list[float]:
    held = seen[part["name"]]
    numbers = [float(n) for n in (held if isinstance(held, list) else [held])]
    if len(numbers) != part["size"]:
        raise ValueError(f"{part['name']!r} must be {part['size']} numbers, got {len(numbers)}")
    return numbers


def _greeted(hello: Any, contract: Mapping[str, Any]) -> dict[str, Any]:
    hello = hello if isinstance(hello, dict) else {}
    if hello.get("contract", contract["digest"]) != contract["digest"]:
        return {
            "error": f"the contract is {contract['digest']}, the driver expects {hello['contract']!r:.80}"
        }
    if hello.get("rate", contract["rate_hz"]) != contract["rate_hz"]:
        return {
            "error": f"the rate is {contract['rate_hz']} steps a second, the driver has {hello['rate']!r:.80}"
        }
    given = hello.get("fields") or {}
    for part in contract["fields"]:
        held = given.get(part["name"])
        wanted = (part["size"], part["unit"])
        if not isinstance(held, dict) or (held.get("size"), held.get("unit")) != wanted:
            return {
                "error": f"{part['name']!r} must have {wanted[0]} numbers in {wanted[1]!r}, the driver has {held!r:.80}"
            }
    return {"ready": contract["task"]}
