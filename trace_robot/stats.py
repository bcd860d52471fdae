"""Statistics: intervals of success rates, random streams of conditions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def wilson(successes: int, episodes: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the Wilson score interval of a success rate (Wilson, 1927).

    Args:
        successes: how many.
        episodes: of how many; (0, 1) is returned for none.
        z: standard normal quantile, 1.96 for 95 %.
    """
    if episodes <= 0:
        return 0.0, 1.0
    rate = successes / episodes
    middle = rate + z * z / (2 * episodes)
    spread = z * math.sqrt(rate * (1 - rate) / episodes + z * z / (4 * episodes * episodes))
    scale = 1 + z * z / episodes
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def difference(first: tuple[int, int], second: tuple[int, int]) -> tuple[float, float]:
    """Return the 95 % interval of the second success rate minus the first.

    From the Wilson intervals of both (Newcombe, 1998, method 10).

    Args:
        first: (successes, episodes).
        second: (successes, episodes).
    """
    (low_1, high_1), (low_2, high_2) = wilson(*first), wilson(*second)
    rate_1, rate_2 = (wins / max(1, episodes) for wins, episodes in (first, second))
    gap = rate_2 - rate_1
    down = math.sqrt((rate_2 - low_2) ** 2 + (high_1 - rate_1) ** 2)
    up = math.sqrt((high_2 - rate_2) ** 2 + (rate_1 - low_1) ** 2)
    return gap - down, gap + up


# The number of each random stream. They are part of what a condition means, and never change.
STREAMS = {
    "error": 1,
    "noise": 2,
    "loss": 3,
    "action_noise": 4,
    "action_loss": 5,
    "constants": 6,
    "physics": 7,
    "push": 8,
    "choice": 10,
}


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the random stream of a condition for one kind of difference.

    Args:
        seed: of the condition.
        name: a key of ``STREAMS``.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((0x776F726C64, STREAMS[name], seed))))


def between(bounds: tuple[float, float], shares: Any) -> Any:
    """Return factors between two ends, evenly on a logarithmic scale.

    A half is then as likely as a double.

    Args:
        bounds: (low, high), both above 0.
        shares: numbers from 0 to 1, of any shape.
    """
    low, high = bounds
    return np.exp(math.log(low) + shares * (math.log(high) - math.log(low)))
