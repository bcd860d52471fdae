"""What a step costs in another interpreter: round trips, and a step of about a millisecond.

``python benchmarks/interpreter.py [PYTHON]`` steps environments in this process and in PYTHON, by default the same
interpreter, by turns in chunks of 50 steps, and prints the best and the median chunk of each.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

CHUNK, CHUNKS = 50, 80
NUMBERS = 12  # arrays of an observation
ADDITIONS = 40_000  # about a millisecond of Python


class Busy:
    """An environment like robosuite's: named observations, and a step that computes."""

    action_space = (np.full(7, -1.0), np.full(7, 1.0))
    observation_space = {f"part_{k}": (np.full(3, -9.0), np.full(3, 9.0)) for k in range(NUMBERS)}  # noqa: RUF012

    def __init__(self, additions: int = 0) -> None:
        self._additions = additions
        self._seen = {name: np.linspace(0.0, 1.0, 3) for name in self.observation_space}

    def reset(self, seed: int | None = None) -> Any:
        return self._seen, {}

    def step(self, action: Any) -> Any:
        total = 0
        for number in range(self._additions):
            total += number
        return self._seen, float(total), False, False, {"success": False}


def main(arguments: list[str]) -> None:
    from trace_robot.env.remote import RemoteCall, RemoteEnv  # not over there, where this file is read too

    python, file = (arguments or [sys.executable])[0], str(Path(__file__).resolve())
    print(f"{'step':<10}{'here, best':>12}{'median':>9}{'there, best':>13}{'median':>9}  microseconds")
    for name, additions in (("nothing", 0), ("long", ADDITIONS)):
        here = Busy(additions)
        there = RemoteEnv(RemoteCall(python, "busy", f"{file}:Busy", {"additions": additions}, where=file))
        there.reset(seed=0)
        found: dict[str, list[float]] = {"here": [], "there": []}
        for _ in range(CHUNKS):
            for kind, env in (("here", here), ("there", there)):
                found[kind].append(_chunk(env))
        there.close()
        numbers = [f(found[kind]) for kind in ("here", "there") for f in (min, statistics.median)]
        print(f"{name:<10}{numbers[0]:>12.1f}{numbers[1]:>9.1f}{numbers[2]:>13.1f}{numbers[3]:>9.1f}")


def _chunk(env: Any) -> float:
    """Return the microseconds of a step, on average."""
    action = np.zeros(7, np.float32)
    begun = time.perf_counter()
    for _ in range(CHUNK):
        env.step(action)
    return (time.perf_counter() - begun) / CHUNK * 1e6


if __name__ == "__main__":
    main(sys.argv[1:])
