"""Which conditions are for training, for choosing and held out: disjoint for every seed, by construction."""

from __future__ import annotations

from trace_robot.errors import UsageError

STRIDE = 100_000
VALIDATION = 25_000
HELD_OUT = 50_000


def training_seeds(seed: int, episodes: int) -> tuple[int, ...]:
    """Return the conditions that candidates are compared on."""
    return _range(seed, episodes, 0)


def validation_seeds(seed: int, episodes: int) -> tuple[int, ...]:
    """Return conditions to choose among finished controllers on, neither trained on nor held out."""
    return _range(seed, episodes, VALIDATION)


def held_out_seeds(seed: int, episodes: int) -> tuple[int, ...]:
    """Return conditions that no candidate of any run with any seed was trained on."""
    return _range(seed, episodes, HELD_OUT)


def _range(seed: int, episodes: int, offset: int) -> tuple[int, ...]:
    if seed < 0:
        raise UsageError(f"seed must be 0 or more, got {seed}")
    if not 0 < episodes <= VALIDATION:
        raise UsageError(f"episodes must be from 1 to {VALIDATION}, got {episodes}")
    start = seed * STRIDE + offset
    return tuple(range(start, start + episodes))
