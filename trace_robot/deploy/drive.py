"""Drive a robot in real time by a deployed controller, each a process apart.

Between the two, every message is checked and timed by the monotonic clock. On a fault the driver is sent a stop, and
nothing else until the next episode.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trace_robot.child_process import python_command
from trace_robot.deploy.c_controller import CController
from trace_robot.deploy.peers import Peer, PythonController, followed, period_of, read_contract, silence
from trace_robot.errors import RunError
from trace_robot.settings import versions
from trace_robot.stats import wilson

START_SECONDS = 60.0  # until a driver says hello or has reset: a simulator is imported meanwhile


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
        limited: steps in which each limit acted, as [first, last] of each stretch.
        timed_out: whether its time had run out, as the driver says.
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
    limited: dict[str, list[list[int]]] = field(default_factory=dict)
    timed_out: bool = False

    def log(self, step: int, limits: Sequence[str]) -> None:
        """Note which limits acted in a step.

        Args:
            step: which comes behind those that were noted before.
            limits: their names.
        """
        for name in limits:
            stretches = self.limited.setdefault(name, [])
            if stretches and stretches[-1][1] == step - 1:
                stretches[-1][1] = step
            else:
                stretches.append([step, step])


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
            "step_seconds": period_of(self.contract),
            "success": good / len(every),
            "interval": list(wilson(good, len(every))),
            "faults": sum(bool(episode.fault) for episode in every),
            **sums,
            "slowest_ms": max(episode.slowest for episode in every),
            "episodes": [asdict(episode) for episode in every],
            "versions": versions(),
        }  # fmt: skip


def simulated(
    task: str,
    contract: Mapping[str, Any],
    *,
    jitter: float,
    loss: float,
    speed: float,
    seed: int,
    options: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return the command of a driver that simulates a task in real time.

    Args:
        task: the environment.
        contract: of the controller, which names the fields that are sent.
        jitter: seconds by which a message is late at most.
        loss: part of the messages that is lost, 0 to 1.
        speed: factor of real time.
        seed: of jitter and losses.
        options: of the environment, such as ``python``, the path of another interpreter.
    """
    settings = {
        "task": task,
        # Targets are followed as rollouts do, by the environment's own tracking.
        "options": {"control": "pose" if followed(contract) else "raw", **(options or {})},
        "fields": [part["name"] for part in contract["fields"]],
        "jitter": jitter,
        "loss": loss,
        "speed": speed,
        "seed": seed,
    }
    return python_command("trace_robot.deploy.simulated_robot", json.dumps(settings))


def drive(
    folder: Path,
    command: Sequence[str],
    *,
    seeds: Sequence[int],
    speed: float = 1.0,
    end_at_fault: bool = True,
    name: str = "",
    on_step: Callable[[DrivenEpisode], None] = lambda episode: None,
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
        on_step: called after each action that was sent, with the episode so far.
        on_episode: called after each episode.

    Returns:
        The report of the episodes that were begun.

    Raises:
        RunError: a process cannot be started or ends, the C cannot be compiled, or the driver does not fit the
            contract.
    """
    contract = read_contract(folder)
    episodes: list[DrivenEpisode] = []
    with _running(folder, contract, command) as (controller, driver):
        _, hello = _heard(driver, START_SECONDS)
        if "hello" not in hello:
            raise RunError(f"the driver must begin with a hello, got {hello!r:.80}")
        about = hello["hello"] if isinstance(hello["hello"], dict) else {}
        missing = [key for key in ("rate", "fields") if key not in about]
        if missing:
            raise RunError(
                f"the driver's hello must have {' and '.join(missing)}, got {hello['hello']!r:.80}"
            )
        answer = controller.ask(hello, START_SECONDS)
        if "ready" not in answer:
            raise RunError(f"the driver does not fit the contract: {answer.get('error', answer)}")
        for seed in seeds:
            episodes.append(_drive_one(controller, driver, contract, seed, speed, on_step))
            on_episode(episodes[-1])
            if episodes[-1].fault and end_at_fault:
                break
    return DriveReport(contract, name or command[0], tuple(episodes))


@contextmanager
def _running(
    folder: Path, contract: Mapping[str, Any], command: Sequence[str]
) -> Iterator[tuple[PythonController | CController, Peer]]:
    controller = (CController if contract["target"] == "c" else PythonController)(folder, contract)
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
    controller: PythonController | CController,
    driver: Peer,
    contract: Mapping[str, Any],
    seed: int,
    speed: float,
    on_step: Callable[[DrivenEpisode], None],
) -> DrivenEpisode:
    """Drive one episode, from observations to actions."""
    episode = DrivenEpisode(seed)
    period = period_of(contract) / speed
    watchdog = silence(contract)
    controller.ask({"reset": True}, START_SECONDS)
    driver.send(json.dumps({"reset": True, "seed": seed}))
    if _heard(driver, START_SECONDS)[1].get("reset") is not True:
        raise RunError("the driver must answer a reset with one")
    last, first, patience, total = -1, math.nan, START_SECONDS, 0.0
    while True:
        at, message = _heard(driver, patience)
        if message.get("done") is True:
            episode.success = bool(message.get("success")) and not episode.fault
            episode.steps = _count(message, "steps", episode.answered)
            episode.timed_out = message.get("ended") == "time"
            episode.held, episode.behind = _count(message, "held", 0), _count(message, "behind", 0)
            break
        if episode.fault:
            if not message:
                raise RunError(f"the driver did not end the episode after a stop: {episode.fault}")
            continue
        if not message:
            answer = {"error": f"no observation came for {patience:.3g} s"}
        elif "observation" not in message or "step" not in message:
            answer = {"error": f"the driver must send a step with an observation, got {message!r:.80}"}
        else:
            patience = watchdog / speed
            answer = controller.ask(message, patience)
        if "action" not in answer:
            episode.fault = str(answer.get("error", answer))
            driver.send(json.dumps({"stop": episode.fault}))
            patience = START_SECONDS
            continue
        driver.send(json.dumps({"step": answer["step"], "action": answer["action"]}))
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
        episode.log(message["step"], answer.get("limits", ()))
        on_step(episode)
    episode.envelope = controller.ask({"log": True}, START_SECONDS).get("log", {})
    return episode


def _heard(driver: Peer, seconds: float) -> tuple[float, dict[str, Any]]:
    """Return the driver's next message.

    Raises RunError as ``Peer.message``, and for a fault that it reports.
    """
    at, message = driver.message(seconds)
    if "error" in message:
        raise RunError(f"the driver cannot go on: {message['error']!s:.2000}")
    return at, message


def _count(message: Mapping[str, Any], name: str, default: int) -> int:
    count = message.get(name, default)
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise RunError(
            f"the driver's {name!r} of an episode must be a whole number from 0, got {count!r:.80}"
        )
    return count
