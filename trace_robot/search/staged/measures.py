"""What the search wants to know of an episode: a few numbers from rewards and observations alone."""

from __future__ import annotations

import numpy as np

from trace_robot.spec import Array, TaskSpec


def measure(spec: TaskSpec, observations: Array, rewards: Array) -> dict[str, float]:
    """Return small numbers that say how an episode went.

    best, last, mean: of the rewards. moved_<position>, raised_<position>: how far a position other than the
    hand's went from where it started, and how far up, metres.

    Args:
        observations: (T + 1, observation_size), flat. rewards: (T,).
    """
    if not len(rewards):
        return {"best": 0.0, "last": 0.0, "mean": 0.0}
    numbers = {"best": float(rewards.max()), "last": float(rewards[-1]), "mean": float(rewards.mean())}
    starts = {part.name: part.start for part in spec.observation}
    for name in spec.positions[1:]:
        i = starts[name]
        track = observations[:, i : i + 3] - observations[0, i : i + 3]
        numbers[f"moved_{name}"] = float(np.sqrt((track * track).sum(axis=1)).max())
        numbers[f"raised_{name}"] = float(track[:, 2].max())
    return numbers
