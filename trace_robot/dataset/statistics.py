"""Statistics of columns and pictures, as learners normalize by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
Array = npt.NDArray[Any]
Statistics = Mapping[str, Array]


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
