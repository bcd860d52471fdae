"""Confidence intervals of success rates (Wilson, 1927) and of means (Student, 1908)."""

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


# 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom, beyond them the normal distribution's. A table,
# because scipy takes longer to load than a report to write.
T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def student_t(degrees: float) -> float:
    """Return the 97.5 % quantile of Student's t distribution; of a fraction that of the next lower whole number."""
    return T[max(1, int(degrees)) - 1] if degrees < len(T) + 1 else 1.96


def mean_difference(first: tuple[float, float, int], second: tuple[float, float, int]) -> tuple[float, float]:
    """Return the 95 % interval of the second mean minus the first (Welch, 1947).

    Args:
        first: (mean, standard deviation of a sample, episodes).
        second: likewise.

    Returns:
        Both ends; without bounds where one of them is of a single episode, which has no known deviation.
    """
    if min(first[2], second[2]) < 2:
        return -math.inf, math.inf
    gap = second[0] - first[0]
    shares = [deviation * deviation / count for _, deviation, count in (first, second)]
    error = math.sqrt(sum(shares))
    below = sum(
        share * share / (count - 1) for share, (_, _, count) in zip(shares, (first, second), strict=True)
    )
    spread = student_t(sum(shares) ** 2 / below if below > 0 else 1.0) * error
    return gap - spread, gap + spread


def three_digits(number: float) -> str:
    """Return a number as text: three digits, and no exponent of large ones."""
    return f"{number:.3g}" if abs(number) < 999.5 else f"{number:,.0f}"
