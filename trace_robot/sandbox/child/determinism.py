"""Making a controller that draws random numbers do the same in every process."""

from __future__ import annotations

import random
from typing import Any

import numpy as np


def _draw() -> int:
    """Return a seed from Python's global generator, which each episode starts at 0 and keeps to itself."""
    return random.getrandbits(31)


class _Random(random.Random):
    def seed(self, a: Any = None, version: int = 2) -> None:
        super().seed(_draw() if a is None else a, version)


class _RandomState(np.random.RandomState):
    def __init__(self, seed: Any = None) -> None:
        super().__init__(_draw() if seed is None else seed)


def seed_all() -> None:
    """Start the global generators anew, as every episode does."""
    random.seed(0)
    np.random.seed(0)


def replace_unseeded() -> None:
    """Let generators that are made without a seed take one from the episode's, not from the machine."""
    make, seed, numpy_seed = np.random.default_rng, random.seed, np.random.seed

    def default_rng(given: Any = None) -> np.random.Generator:
        return make(_draw() if given is None else given)

    def reseed(a: Any = None, version: int = 2) -> None:
        seed(_draw() if a is None else a, version)

    def reseed_numpy(given: Any = None) -> None:
        numpy_seed(_draw() if given is None else given)

    patches: tuple[tuple[Any, dict[str, Any]], ...] = (
        (random, {"Random": _Random, "seed": reseed}),
        (np.random, {"RandomState": _RandomState, "default_rng": default_rng, "seed": reseed_numpy}),
    )
    for module, values in patches:
        for name, value in values.items():
            setattr(module, name, value)
