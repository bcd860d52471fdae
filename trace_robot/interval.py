"""The confidence interval that success rates are told with."""

from __future__ import annotations

import math


def wilson(successes: int, episodes: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the Wilson score interval of a success rate; z = 1.96 for 95 % (Wilson, 1927)."""
    if episodes <= 0:
        return 0.0, 1.0
    rate = successes / episodes
    middle = rate + z * z / (2 * episodes)
    spread = z * math.sqrt(rate * (1 - rate) / episodes + z * z / (4 * episodes * episodes))
    scale = 1 + z * z / episodes
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
