"""Seeding the random generators, so that an episode is the same in every process."""

from __future__ import annotations

import random
from typing import Any

import numpy as np


class _Random(random.Random):
    def seed(self, a: Any = None, version: int = 2) -> None:
        """Stand in for `random.Random.seed`.

        Args:
            a: the seed, None to take one from the episode.
            version: of the algorithm that makes a seed of a str.
        """
        super().seed(_draw_seed() if a is None else a, version)


class _RandomState(np.random.RandomState):
    def __init__(self, seed: Any = None) -> None:
        super().__init__(_draw_seed() if seed is None else seed)


def seed_all() -> None:
    """Seed the global generators with 0, as at the start of every episode."""
    random.seed(0)
    np.random.seed(0)


def replace_unseeded() -> None:
    """Patch the generators to take a seed from the episode where none is given."""
    make, python_seed, numpy_seed = np.random.default_rng, random.seed, np.random.seed

    # Their parameters have the names of those they stand in for: controllers pass them by keyword too.
    def default_rng(seed: Any = None) -> np.random.Generator:
        """Stand in for `numpy.random.default_rng`."""
        return make(_draw_seed() if seed is None else seed)

    def reseed(a: Any = None, version: int = 2) -> None:
        """Stand in for `random.seed`.

        Args:
            a: the seed, None to take one from the episode.
            version: of the algorithm that makes a seed of a str.
        """
        python_seed(_draw_seed() if a is None else a, version)

    def reseed_numpy(seed: Any = None) -> None:
        """Stand in for `numpy.random.seed`."""
        numpy_seed(_draw_seed() if seed is None else seed)

    patches: tuple[tuple[Any, dict[str, Any]], ...] = (
        (random, {"Random": _Random, "seed": reseed}),
        (np.random, {"RandomState": _RandomState, "default_rng": default_rng, "seed": reseed_numpy}),
    )
    for module, values in patches:
        for name, value in values.items():
            setattr(module, name, value)


def _draw_seed() -> int:
    """Return a seed from Python's global generator, whose state is the episode's own."""
    return random.getrandbits(31)
