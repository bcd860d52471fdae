"""A simulated robot's driver: MuJoCo in real time, with jitter and loss.

``python -m trace_robot.deploy.simulated_robot SETTINGS`` speaks the JSON lines that ``drive`` expects of a driver.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

PAUSE = 0.02  # seconds between the answer to a reset and the first observation


class Link:
    """Lines to and from another process, each late by a random time, some lost.

    The order of lines is kept: a line waits for the one before it.
    """

    def __init__(self, jitter: float, loss: float, seed: int) -> None:
        """Read standard input from now on.

        Args:
            jitter: seconds by which a line is late at most, uniformly drawn, in each direction.
            loss: part of the observations and of the actions that is lost, 0 to 1.
            seed: of the random numbers.
        """
        self._jitter, self._loss = jitter, loss
        self._out: queue.Queue[tuple[float, str]] = queue.Queue()
        self._in: queue.Queue[tuple[float, Any]] = queue.Queue()
        self._ours, self._theirs = np.random.default_rng(seed), np.random.default_rng(seed + 1)
        for work in (self._write, self._read):
            threading.Thread(target=work, daemon=True).start()

    def send(self, message: Any, *, may_fail: bool = False) -> None:
        """Send an object.

        Args:
            message: plain data.
            may_fail: whether it may be late or lost.
        """
        if may_fail and self._ours.random() < self._loss:
            return
        late = self._jitter * self._ours.random() if may_fail else 0.0
        self._out.put((time.monotonic() + late, json.dumps(message) + "\n"))

    def receive(self, until: float) -> Iterator[Any]:
        """Yield the messages that come until a time of the monotonic clock."""
        while True:
            try:
                due, message = self._in.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return
            if due > until:
                self._in.queue.appendleft((due, message))  # the only reader puts it back
                time.sleep(max(0.0, until - time.monotonic()))
                return
            yield message

    def wait(self, until: float) -> None:
        """Wait until a time of the monotonic clock, or a message that is no action.

        What came meanwhile stays to be received.
        """
        waiting = []
        for message in self.receive(until):
            waiting.append((time.monotonic(), message))
            if "action" not in message:
                break
        self._in.queue.extendleft(reversed(waiting))  # the only reader puts them back

    def _write(self) -> None:
        while True:
            due, text = self._out.get()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                sys.stdout.write(text)
                sys.stdout.flush()
            except OSError:  # drive has ended
                return

    def _read(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            late = 0.0
            if "action" in message:
                if self._theirs.random() < self._loss:
                    continue
                late = self._jitter * self._theirs.random()
            self._in.put((time.monotonic() + late, message))
        self._in.put((time.monotonic(), {"end": True}))


def run(settings: Any) -> None:
    """Simulate episodes until the other side ends.

    Args:
        settings: "task", "options", "fields" to send (None for all), "jitter" and "loss" as of ``Link``, "seed",
            "speed" as a factor of real time, "bad" to misbehave in a test.
    """
    from trace_robot.env.registry import make_described
    from trace_robot.env.simulation import step_seconds
    from trace_robot.spec import hands_of

    env, spec = make_described(settings["task"], **settings["options"])
    seconds = step_seconds(getattr(env.unwrapped, "inner", env).unwrapped)
    # Where an action is a target, a step follows it for as many simulator steps as in a rollout, and is then asked for
    # another one: that has no rate.
    decides = spec.control == "pose"
    names = settings["fields"] or [part.name for part in spec.observation]
    fields = {part.name: {"size": part.size, "unit": part.unit} for part in spec.observation}
    link = Link(settings["jitter"] / settings["speed"], settings["loss"], settings["seed"])
    rate = None if seconds is None or decides else round(1.0 / seconds, 9)
    link.send({"hello": {"rate": rate, "fields": {name: fields[name] for name in names if name in fields}}})
    stop = np.clip(np.zeros(spec.action_size), spec.low, spec.high)
    # A displacement must not be repeated where no answer came: the hand is held where it is.
    moved = [i for hand in hands_of(spec) for i in range(hand.motion, hand.motion + 3)] if decides else []
    moved += [hand.turn for hand in hands_of(spec) if hand.turn >= 0] if decides else []
    period = (seconds or 0.05) / settings["speed"]

    def shown(flat: Any) -> dict[str, Any]:
        named = spec.named(flat)
        return {name: np.ravel(named[name]).tolist() for name in names if name in named}

    while True:
        for message in link.receive(time.monotonic() + 3600.0):
            if "end" in message:
                return
            if message.get("reset") is True:
                flat, _ = env.reset(seed=int(message["seed"]))
                link.send({"reset": True})
                if not _episode(env, link, flat, shown, stop, period, moved):
                    return


def _episode(
    env: Any, link: Link, flat: Any, shown: Any, stop: Any, period: float, moved: Sequence[int]
) -> bool:
    """Simulate one episode in real time, and return whether another may follow.

    Args:
        env: just reset.
        link: to the other side.
        flat: its observation.
        shown: returns the fields of an observation to send.
        stop: the action at rest.
        period: seconds of a simulator step.
        moved: indices of an action that are displacements, and 0 where no new action came.
    """
    action, last, held, behind, why = stop.copy(), -1, 0, 0, ""
    begun = time.monotonic() + PAUSE
    for _ in link.receive(begun):
        pass  # left over from the episode before
    step, taken, success, over = (
        0,
        0,
        False,
        False,
    )  # taken: simulator steps, of which an action may take several
    while not over:
        link.send({"step": step, "observation": shown(flat)}, may_fail=True)
        step += 1
        new = False
        for message in link.receive(begun + (taken + 1) * period):
            if "end" in message:
                return False
            if "stop" in message:
                why = str(message["stop"])
            elif "action" in message and message["step"] > last and not why:
                action, last, new = np.asarray(message["action"], float), message["step"], True
        held += not new
        if (late := time.monotonic() - begun - (taken + 1) * period) > period:
            behind += 1
            begun += late  # the clock of a simulator that cannot keep up stands still meanwhile
        if why:
            break
        if not new:
            action[moved] = 0.0
        flat, _, terminated, truncated, info = env.step(action)
        success, over = bool(info.get("success")), terminated or truncated
        first, taken = taken + 1, int(info.get("steps", taken + 1))
        if taken > first:  # the time in which a target was followed
            link.wait(begun + taken * period)
    ended = "time" if over and truncated else ""
    link.send(
        {"done": True, "success": success, "steps": step, "held": held, "behind": behind, "ended": ended}
    )
    return True


def main(settings: Any) -> int:
    """Simulate, and report as one message why that is not possible.

    Args:
        settings: as of ``run``.

    Returns:
        The exit code.
    """
    from trace_robot.errors import TraceRobotError

    try:
        run(settings)
    except TraceRobotError as error:
        sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        sys.stdout.flush()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
