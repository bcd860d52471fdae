"""A robot's driver for ``trace-robot drive`` to begin with: JSON lines, a clock, a stop.

It is for a controller of reach-v3, and moves a hand that is two lists of numbers; replace ``observe``, ``move`` and
``halt`` by your robot's, FIELDS and RATE by those of contract.json:

    trace-robot deploy zoo/reach_v3 --to c --out robot
    trace-robot drive robot --driver 'python3 robot_driver.py'

It keeps the clock, and halts on a stop, without an action in two steps, and when ``drive`` is gone.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from typing import Any

RATE = 80.0  # steps a second
FIELDS = {"hand_position": {"size": 3, "unit": "m"}, "goal_position": {"size": 3, "unit": "m"}}
HOME, GOAL = [0.0, 0.6, 0.2], [0.1, 0.8, 0.2]
PATIENCE = 2  # steps without an action
LONGEST = 500  # steps of an episode

hand = list(HOME)
messages: queue.Queue[dict[str, Any]] = queue.Queue()


def observe() -> dict[str, list[float]]:
    """Read the sensors, in the units and the frames of the contract."""
    return {"hand_position": hand, "goal_position": GOAL}


def move(action: list[float]) -> None:
    """Command the motors for one step: here a hand that follows at once, 1 cm for each 1 of an action."""
    hand[:] = [place + 0.01 * number for place, number in zip(hand, action, strict=False)]


def halt(reason: str) -> None:
    """Stop the motors."""
    print(f"halted: {reason}", file=sys.stderr)


def send(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def listen() -> None:
    for line in sys.stdin:
        messages.put(json.loads(line))
    messages.put({"end": True})  # drive has ended, or was killed


def next_message(until: float) -> dict[str, Any]:
    """Return the next message that comes until a time of the monotonic clock, {} where none comes."""
    try:
        return messages.get(timeout=max(0.0, until - time.monotonic()))
    except queue.Empty:
        return {}


def episode() -> dict[str, Any]:
    """Run an episode and return what ``drive`` is sent at its end."""
    begun, action, last, held = time.monotonic(), [0.0], -1, 0
    for step in range(LONGEST):
        send({"step": step, "observation": observe()})
        before = last
        while message := next_message(begun + (step + 1) / RATE):
            if "action" not in message:
                halt(message.get("stop", "drive is gone"))
                if "end" in message:
                    sys.exit(1)
                return {"done": True, "success": False, "steps": step, "held": held}
            if message["step"] > last:
                action, last = message["action"], message["step"]
        held += last == before
        if step - last >= PATIENCE:
            halt(f"no action in {PATIENCE} steps")
            sys.exit(1)
        if last >= 0:
            move(action)
        if max(abs(place - goal) for place, goal in zip(hand, GOAL, strict=True)) < 0.03:
            return {"done": True, "success": True, "steps": step + 1, "held": held}
    return {"done": True, "success": False, "steps": LONGEST, "held": held}


def main() -> None:
    threading.Thread(target=listen, daemon=True).start()
    send({"hello": {"rate": RATE, "fields": FIELDS}})
    while "end" not in (message := messages.get()):
        if "reset" in message:
            hand[:] = HOME
            send({"reset": True})
            send(episode())


if __name__ == "__main__":
    main()
