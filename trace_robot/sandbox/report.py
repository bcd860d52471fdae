"""What this machine gives a sandbox, found out by making one and knocking at its walls."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass

from trace_robot.errors import SandboxError
from trace_robot.sandbox import seccomp
from trace_robot.sandbox.box import Sandbox
from trace_robot.sandbox.locks import landlock_version
from trace_robot.sandbox.types import Fault, Interface

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
class Report:
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


def report() -> Report:
    """Make a sandbox, try to get out of it and return what held."""
    system = (
        f"{platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}"
    )
    version = landlock_version()
    reason = seccomp.unavailable()
    if reason:
        return Report(system, False, reason, {}, {}, version, 0.0, 0.0)
    with Sandbox(Interface(1, 1), static_check=False, preload=["socket"]) as box:
        started = time.perf_counter()
        try:
            box.load("def act(observation):\n    return [0.0]\n")
        except SandboxError as error:
            return Report(system, False, str(error), box.locks, {}, version, 0.0, 0.0)
        first = time.perf_counter() - started
        attempts = {name: _is_blocked(box, text) for name, text in ATTEMPTS.items()}
        started = time.perf_counter()
        box.load("def act(observation):\n    return [1.0]\n")
        following = time.perf_counter() - started
        held = all(attempts.values())
        reason = "" if held else "not everything that was tried was blocked"
        return Report(system, held, reason, dict(box.locks), attempts, version, first, following)


def _is_blocked(box: Sandbox, text: str) -> bool:
    fault: Fault | None = box.load(f"{text}\ndef act(observation):\n    return [0.0]\n")
    return fault is not None and fault.category == "blocked"
