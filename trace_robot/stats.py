"""Confidence intervals of success rates (Wilson, 1927)."""

from __future__ import annotations

import math


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


def three_digits(number: float) -> str:
    """Return a number as text: three digits, and no exponent of large ones."""
    return f"{number:.3g}" if abs(number) < 999.5 else f"{number:,.0f}"
