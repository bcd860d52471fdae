"""The C of a deployed controller as a process: compiled for this machine, its messages checked here."""

from __future__ import annotations

import importlib.util
import math
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trace_robot.child_process import clean_environment
from trace_robot.deploy.peers import MOST_MISSED, Peer, silence, verified_files
from trace_robot.errors import RunError

# Those of the Makefile: without contraction to fused operations the numbers are those of the Python.
FLAGS = ("-std=c99", "-ffp-contract=off", "-O2")
COMPILE_SECONDS = 300.0  # ziglang builds its own libc at its first use, 40 s on a busy machine
STATUS = {  # of controller.h
    1: "the action has a number that is not finite",  # observations are checked before
    2: "the controller cannot go on, such as at a division by zero: status 2, see the comments of its C",
    3: "stopped until a reset",
}


def compiler() -> list[str]:
    """Return the words of the C compiler's command.

    That is CC, else cc, else that of the package ziglang. Raises RunError where none of them is there, or CC is no
    command.
    """
    try:
        words = shlex.split(os.environ.get("CC", "")) or ["cc"]
    except ValueError as error:
        raise RunError(f"CC must be a command, got {os.environ['CC']!r:.80}: {error}") from error
    if shutil.which(words[0]):
        return words
    if os.environ.get("CC"):
        raise RunError(f"the C cannot be compiled: CC is {os.environ['CC']!r:.80}, which is not there")
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise RunError(
        "the C cannot be compiled: there is no cc; pip install ziglang, or deploy the controller --to python"
    )


def compile_driver(folder: Path, contract: Mapping[str, Any], out: Path) -> Path:
    """Compile the test driver, and return the program.

    What is compiled are the very bytes that the contract names. A program that lies in the folder is not used: it may
    be of another controller, which was there before.

    Args:
        folder: that ``deploy --to c`` wrote.
        contract: of it.
        out: where the program is put.

    Raises:
        RunError: there is no compiler, or it fails.
    """
    command = compiler()
    try:
        files = verified_files(folder, contract)
    except OSError as error:
        raise RunError(f"cannot read {str(error.filename or folder)!r}: {error.strerror or error}") from error
    for name, content in files.items():
        (out / name).write_bytes(content)
    sources = sorted(name for name in files if name.endswith(".c"))
    command = [*command, *FLAGS, "-o", "driver", *sources, "-lm"]
    try:
        done = subprocess.run(
            command, cwd=out, capture_output=True, text=True, errors="replace", timeout=COMPILE_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"the C cannot be compiled by {command[0]!r}: {error}") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        reason = next((line for line in lines if "error" in line), lines[-1])
        raise RunError(f"the C cannot be compiled by {command[0]!r}: {reason:.300}")
    return out / "driver"


class CController:
    """The C of a deployed controller as a process.

    The C knows numbers alone, so that what the Python file checks by itself is checked here, by the same sentences:
    fields, sizes, units, rates, step numbers. That the numbers are finite is checked here and in the C.
    """

    def __init__(self, folder: Path, contract: Mapping[str, Any]) -> None:
        """Compile and start it.

        Args:
            folder: that ``deploy --to c`` wrote.
            contract: of it.

        Raises:
            RunError: there is no compiler, it fails, or the program cannot be started.
        """
        self._contract, self._last, self._stopped = contract, -1, ""
        self._counts: dict[str, int] = {}
        self._owed = 0  # answers that came too late for their step
        self._size = sum(part["size"] for part in contract["action"])
        watchdog = (contract.get("envelope") or {}).get("limits", {}).get("watchdog")
        self._missed = MOST_MISSED if watchdog is None else int(silence(contract) * contract["rate_hz"])
        self._place = tempfile.TemporaryDirectory(prefix="trace-robot-")
        try:
            program = compile_driver(folder, contract, Path(self._place.name))
            self._peer = Peer([str(program), "log"], "the controller", clean_environment())
        except BaseException:
            self._place.cleanup()
            raise

    def ask(self, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Return the answer to a message, an error where none comes in time.

        Args:
            message: as the driver sent it.
            seconds: to wait at most.

        Raises:
            RunError: the process has ended.
        """
        if "hello" in message:
            return _greeted(message["hello"], self._contract)
        if "reset" in message:
            self._last, self._stopped, self._counts = -1, "", {}
            self._peer.send("reset")
            return {"reset": True}
        if "log" in message:
            return {"log": dict(self._counts)}
        if self._stopped:
            return {"error": f"stopped until a reset: {self._stopped}"}
        try:
            return self._act(message["step"], message["observation"], seconds)
        except ValueError as error:
            self._stopped = str(error)
            return {"error": self._stopped}

    def close(self) -> None:
        """End the process, and remove its program."""
        self._peer.close()
        self._place.cleanup()

    def _act(self, step: Any, seen: Any, seconds: float) -> dict[str, Any]:
        """Return the answer to an observation.

        Raises ValueError where the robot must stop.
        """
        if isinstance(step, bool) or not isinstance(step, int):
            raise ValueError(f"a step must be a whole number, got {step!r:.80}")
        if step <= self._last:
            raise ValueError(f"step {step} is late or repeated, the last one was {self._last}")
        if self._last >= 0 and step > self._last + 1 + self._missed:
            raise ValueError(f"{step - self._last - 1} steps are missing before step {step}")
        numbers = _numbers(seen, self._contract)
        self._last = step
        self._peer.send(" ".join(map(repr, numbers)))
        words = self._line(seconds).split()
        if not words:
            self._owed += 1
            raise ValueError(f"the controller gave no answer in {seconds:.3g} s")
        if words[0] == "fault":
            raise ValueError(STATUS.get(int(words[1]), " ".join(words)))
        action = [float(word) for word in words[: self._size]]
        before, pairs = self._counts, [word.partition("=") for word in words[self._size :]]
        self._counts = {name: int(count) for name, _, count in pairs}
        acted = [name for name, count in self._counts.items() if count > before.get(name, 0)]
        return {"step": step, "action": action, **({"limits": acted} if acted else {})}

    def _line(self, seconds: float) -> str:
        """Return the answer to the last line, "" where none comes in time."""
        deadline = time.monotonic() + seconds
        while self._owed and self._peer.line(deadline - time.monotonic())[1]:
            self._owed -= 1
        return "" if self._owed else self._peer.line(deadline - time.monotonic())[1]


def _numbers(seen: Any, contract: Mapping[str, Any]) -> list[float]:
    """Return the numbers of an observation in the order of the header.

    Raises ValueError where they do not fit the contract.
    """
    if not isinstance(seen, dict):
        raise ValueError(f"an observation must be a dict of fields, got {type(seen).__name__}")
    numbers: list[float] = []
    for part in contract["fields"]:
        name, size = part["name"], part["size"]
        if name not in seen:
            raise ValueError(f"the observation lacks the field {name!r}")
        given = seen[name]
        values = given if isinstance(given, list) else [given] if size == 1 else None
        if values is None or len(values) != size:
            raise ValueError(f"{name!r} must be {size} numbers, got {given!r:.80}")
        for number in values:
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise ValueError(f"{name!r} must be numbers, got {number!r:.80}")
            if not _finite(number):
                raise ValueError(f"{name!r} has a number that is not finite")
            numbers.append(float(number))
    known = [*(part["name"] for part in contract["fields"]), *contract["not_read"]]
    for name in seen:
        if name not in known:
            raise ValueError(f"the observation has an unknown field {name!r:.80}; known: {', '.join(known)}")
    return numbers


def _finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond the doubles
        return False


def _greeted(hello: Any, contract: Mapping[str, Any]) -> dict[str, Any]:
    hello = hello if isinstance(hello, dict) else {}
    if hello.get("contract", contract["digest"]) != contract["digest"]:
        return {
            "error": f"the contract is {contract['digest']}, the driver expects {hello['contract']!r:.80}"
        }
    # Without a rate a controller is asked once its target is reached.
    if contract["rate_hz"] is not None and hello.get("rate", contract["rate_hz"]) != contract["rate_hz"]:
        return {
            "error": f"the rate is {contract['rate_hz']} steps a second, the driver has {hello['rate']!r:.80}"
        }
    given = hello.get("fields")
    for part in contract["fields"]:
        held = given.get(part["name"]) if isinstance(given, dict) else None
        wanted = (part["size"], part["unit"])
        if held is None:
            known = ", ".join(given) if isinstance(given, dict) else ""
            return {"error": f"the driver has no field {part['name']!r}; it has {known or 'none':.200}"}
        if not isinstance(held, dict) or (held.get("size"), held.get("unit")) != wanted:
            return {
                "error": f"{part['name']!r} must have {wanted[0]} numbers in {wanted[1]!r}, the driver has {held!r:.80}"
            }
    return {"ready": contract["task"]}
