"""Confidence intervals of success rates (Wilson, 1927), and statistics of columns and pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
Array = npt.NDArray[Any]
Statistics = Mapping[str, Array]


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


def statistics_of(values: Array) -> Statistics:
    """Return minimum, maximum, mean, deviation and quantiles of each column.

    Args:
        values: (T,) or (T, n).

    Returns:
        By name: each (n,), "count" (1,).
    """
    table = values.reshape(len(values), -1).astype(np.float64)
    found = {
        "min": table.min(axis=0),
        "max": table.max(axis=0),
        "mean": table.mean(axis=0),
        "std": table.std(axis=0),
        "count": np.array([len(table)]),
    }
    for share, numbers in zip(QUANTILES, np.quantile(table, QUANTILES, axis=0), strict=True):
        found[f"q{round(share * 100):02d}"] = numbers
    return found


def picture_statistics(frames: Array) -> Statistics:
    """Return the statistics of pictures for each channel, from 0 to 1.

    Args:
        frames: (F, height, width, 3), 8 bits.

    Returns:
        By name: each (3, 1, 1), "count" (1,), the number of pictures.
    """
    found = statistics_of(frames.reshape(-1, 3) / 255.0)
    shaped = {name: values.reshape(3, 1, 1) for name, values in found.items() if name != "count"}
    return {**shaped, "count": np.array([len(frames)])}


def aggregate(episodes: Sequence[Mapping[str, Statistics]]) -> dict[str, dict[str, Array]]:
    """Return the pooled statistics of episodes, quantiles as weighted means.

    Args:
        episodes: the statistics of each, by column.
    """
    total: dict[str, dict[str, Array]] = {}
    for name in episodes[0]:
        every = {kind: np.stack([each[name][kind] for each in episodes]) for kind in episodes[0][name]}
        count = every["count"].reshape(-1, *[1] * (every["mean"].ndim - 1))
        mean = (every["mean"] * count).sum(axis=0) / count.sum()
        variance = ((every["std"] ** 2 + (every["mean"] - mean) ** 2) * count).sum(axis=0) / count.sum()
        total[name] = {
            kind: (values * count).sum(axis=0) / count.sum()
            for kind, values in every.items()
            if kind[0] == "q"
        }
        total[name] |= {
            "min": every["min"].min(axis=0),
            "max": every["max"].max(axis=0),
            "mean": mean,
            "std": np.sqrt(variance),
            "count": every["count"].sum(axis=0),
        }
    return total
