"""Drive a robot in real time: a deployed controller and a driver, each a process apart.

Between the two, every message is checked and timed by the monotonic clock. On a fault the driver is sent a stop, and
nothing else until the next episode.
"""

from __future__ import annotations

import hashlib
import json
import math
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trace_robot import safe_files
from trace_robot.child_process import clean_environment, python_command
from trace_robot.errors import RunError, UsageError
from trace_robot.settings import versions
from trace_robot.stats import wilson

START_SECONDS = 60.0  # until a driver says hello or has reset: a simulator is imported meanwhile
MOST_MISSED = 10  # observations in a row without a watchdog, as in deploy/templates/controller.py.txt
MOST_BYTES = 10_000_000
LONGEST = 1_000_000  # characters of a message
C_STATUS = {1: "a number is not finite", 2: "the controller failed", 3: "stopped until a reset"}


@dataclass(slots=True)
class DrivenEpisode:
    """One episode on a robot.

    Attributes:
        seed: that the driver was given.
        success: as the driver says.
        steps: of the driver.
        answered: observations that came and were answered.
        missed: observations that did not come.
        late: answers that took longer than a period.
        held: steps of the driver without a new action.
        behind: steps at which the driver was a period late or more.
        fault: why the robot was stopped, "" where it was not.
        slowest: milliseconds of the slowest answer.
        answer: mean milliseconds of an answer.
        rate: observations a second.
        envelope: in how many steps each limit acted.
    """

    seed: int
    success: bool = False
    steps: int = 0
    answered: int = 0
    missed: int = 0
    late: int = 0
    held: int = 0
    behind: int = 0
    fault: str = ""
    slowest: float = 0.0
    answer: float = 0.0
    rate: float = 0.0
    envelope: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DriveReport:
    """Episodes on a robot with one controller."""

    contract: Mapping[str, Any]
    driver: str
    episodes: tuple[DrivenEpisode, ...]

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        every = self.episodes
        good = sum(episode.success for episode in every)
        sums = {
            name: sum(getattr(e, name) for e in every)
            for name in ("steps", "missed", "late", "held", "behind")
        }
        return {
            "task": self.contract["task"],
            "contract": self.contract["digest"],
            "target": self.contract["target"],
            "driver": self.driver,
            "rate_hz": self.contract["rate_hz"],
            "success": good / len(every),
            "interval": list(wilson(good, len(every))),
            "faults": sum(bool(episode.fault) for episode in every),
            **sums,
            "slowest_ms": max(episode.slowest for episode in every),
            "episodes": [asdict(episode) for episode in every],
            "versions": versions(),
        }  # fmt: skip


def read_contract(folder: Path) -> dict[str, Any]:
    """Return the contract of a folder that ``deploy`` wrote, whose files must be those that it names.

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


def simulated(
    task: str, contract: Mapping[str, Any], *, jitter: float, loss: float, speed: float, seed: int
) -> list[str]:
    """Return the command of a driver that simulates a task in real time.

    Args:
        task: the environment.
        contract: of the controller, which names the fields that are sent.
        jitter: seconds by which a message is late at most.
        loss: part of the messages that is lost, 0 to 1.
        speed: factor of real time.
        seed: of jitter and losses.
    """
    settings = {
        "task": task,
        "options": {"control": "raw"},
        "fields": [part["name"] for part in contract["fields"]],
        "jitter": jitter,
        "loss": loss,
        "speed": speed,
        "seed": seed,
    }
    return python_command("trace_robot.deploy.simulated_robot", json.dumps(settings))


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
        """Send a line; that the process has ended is seen when it is read."""
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
        try:
            self._process.stdin.close()
        except OSError:
            pass
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


def drive(
    folder: Path,
    command: Sequence[str],
    *,
    seeds: Sequence[int],
    speed: float = 1.0,
    end_at_fault: bool = True,
    name: str = "",
    on_episode: Callable[[DrivenEpisode], None] = lambda episode: None,
) -> DriveReport:
    """Drive episodes of a robot with a deployed controller.

    Args:
        folder: that ``deploy`` wrote.
        command: words of the driver's command; no shell reads them.
        seeds: of the episodes, which a driver that simulates takes as conditions.
        speed: factor of real time; deadlines are shorter by it.
        end_at_fault: begin no further episode once the robot was stopped.
        name: of the driver, for the report.
        on_episode: called after each episode.

    Returns:
        The report of the episodes that were begun.

    Raises:
        RunError: a process cannot be started or ends, or the driver does not fit the contract.
    """
    contract = read_contract(folder)
    episodes: list[DrivenEpisode] = []
    with _running(folder, contract, command) as (controller, driver):
        _, hello = driver.message(START_SECONDS)
        if "hello" not in hello:
            raise RunError(f"the driver must begin with a hello, got {hello!r:.80}")
        missing = [key for key in ("rate", "fields") if key not in (hello["hello"] or {})]
        if missing:
            raise RunError(
                f"the driver's hello must have {' and '.join(missing)}, got {hello['hello']!r:.80}"
            )
        answer = controller.ask(hello, START_SECONDS)
        if "ready" not in answer:
            raise RunError(f"the driver does not fit the contract: {answer.get('error', answer)}")
        for seed in seeds:
            episodes.append(_drive_one(controller, driver, contract, seed, speed))
            on_episode(episodes[-1])
            if episodes[-1].fault and end_at_fault:
                break
    return DriveReport(contract, name or command[0], tuple(episodes))


@contextmanager
def _running(
    folder: Path, contract: Mapping[str, Any], command: Sequence[str]
) -> Iterator[tuple[DeployedController, Peer]]:
    controller = DeployedController(folder, contract)
    try:
        driver = Peer(command, "the driver", None)
        try:
            yield controller, driver
        finally:
            driver.send(json.dumps({"stop": "drive has ended"}))
            driver.close()
    finally:
        controller.close()


def _drive_one(
    controller: DeployedController, driver: Peer, contract: Mapping[str, Any], seed: int, speed: float
) -> DrivenEpisode:
    """Drive one episode: each observation to the controller, each action to the driver."""
    episode = DrivenEpisode(seed)
    period = 1.0 / (contract["rate_hz"] * speed)
    watchdog = (
        (contract.get("envelope") or {}).get("limits", {}).get("watchdog", MOST_MISSED / contract["rate_hz"])
    )
    controller.ask({"reset": True}, START_SECONDS)
    driver.send(json.dumps({"reset": True, "seed": seed}))
    if driver.message(START_SECONDS)[1].get("reset") is not True:
        raise RunError("the driver must answer a reset with one")
    last, first, patience, total = -1, math.nan, START_SECONDS, 0.0
    while True:
        at, message = driver.message(patience)
        if message.get("done") is True:
            episode.success = bool(message.get("success")) and not episode.fault
            episode.steps = int(message.get("steps", episode.answered))
            episode.held, episode.behind = int(message.get("held", 0)), int(message.get("behind", 0))
            break
        if not message:
            if episode.fault:
                raise RunError(f"the driver did not end the episode after a stop: {episode.fault}")
            answer = {"error": f"no observation came for {patience:.3g} s"}
        elif "observation" not in message or "step" not in message:
            answer = {"error": f"the driver must send a step with an observation, got {message!r:.80}"}
        else:
            patience = watchdog / speed
            answer = controller.ask(message, patience)
        if episode.fault:
            continue
        if "action" not in answer:
            episode.fault = str(answer.get("error", answer))
            driver.send(json.dumps({"stop": episode.fault}))
            patience = START_SECONDS
            continue
        driver.send(json.dumps(answer))
        took = time.monotonic() - at
        first = at if math.isnan(first) else first
        episode.missed += message["step"] - last - 1
        last, total = message["step"], total + took
        episode.answered += 1
        episode.late += took > period
        episode.slowest = max(episode.slowest, 1000.0 * took)
        episode.answer = 1000.0 * total / episode.answered
        if at > first:
            episode.rate = (episode.answered - 1) / (at - first)
    episode.envelope = controller.ask({"log": True}, START_SECONDS).get("log", {})
    return episode
