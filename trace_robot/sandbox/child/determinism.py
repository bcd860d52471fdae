"""Seeded random generators and clocks from 0: an episode is the same in every process, early and late."""

from __future__ import annotations

import datetime
import errno
import random
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.random import bit_generator

_ORIGINAL = datetime.datetime
_WALL_CLOCKS: Final = (0, 1, 4, 5, 6, 7, 11)  # clock_gettime(2): CLOCK_REALTIME to CLOCK_TAI
_CPU_CLOCKS: Final = (2, 3)  # of this process and this thread


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

    _patch(random, {"Random": _Random, "seed": reseed})
    _patch(np.random, {"RandomState": _RandomState, "default_rng": default_rng, "seed": reseed_numpy})
    # What every generator of numpy's takes its seed from where none is given, `PCG64()` and `SeedSequence()` too.
    _patch(bit_generator, {"randbits": random.getrandbits})


def replace_clocks() -> Callable[[], None]:
    """Patch `time` and `datetime` to count from the beginning of the episode.

    They show nothing of the machine, of the worker or of episodes before. Native code could still read the machine's
    clock, but no clock of another process, which the system call filter refuses.

    Returns:
        A function that sets them to 0.
    """
    wall, cpu = time.monotonic_ns, time.process_time_ns
    began = [wall(), cpu()]

    def restart() -> None:
        began[:] = wall(), cpu()

    def elapsed() -> int:
        return wall() - began[0]

    def used() -> int:
        return cpu() - began[1]

    def read_ns(clk_id: int) -> int:
        if clk_id in _WALL_CLOCKS:
            return elapsed()
        if clk_id in _CPU_CLOCKS:
            return used()
        raise PermissionError(errno.EPERM, "an episode can read no clock but its own")

    values: dict[str, Callable[..., Any]] = {
        "clock_gettime_ns": read_ns,
        "clock_gettime": lambda clk_id: read_ns(clk_id) / 1e9,
    }
    for names, clock in (
        (("time", "monotonic", "perf_counter"), elapsed),
        (("process_time", "thread_time"), used),
    ):
        for name in names:
            values[f"{name}_ns"] = clock
            values[name] = lambda clock=clock: clock() / 1e9
    _patch(time, {**values, **_calendar(lambda: elapsed() / 1e9)})
    return restart


def _calendar(now: Callable[[], float]) -> dict[str, Callable[..., Any]]:
    """Return what tells the date, counted from 1970, and patch `datetime` likewise.

    Args:
        now: seconds since the episode began.
    """
    local, utc, text, formatted = time.localtime, time.gmtime, time.asctime, time.strftime

    class Kind(type):
        def __instancecheck__(cls, value: Any) -> bool:  # what C code makes is of the original class
            return isinstance(value, _ORIGINAL)

    class Datetime(_ORIGINAL, metaclass=Kind):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls.fromtimestamp(now(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return cls.fromtimestamp(now(), datetime.timezone.utc).replace(tzinfo=None)

    Datetime.__name__ = "datetime.datetime"  # as its repr shows it
    Datetime.__module__ = "datetime"
    _patch(datetime, {"datetime": Datetime})
    return {
        "localtime": lambda seconds=None: local(now() if seconds is None else seconds),
        "gmtime": lambda seconds=None: utc(now() if seconds is None else seconds),
        "asctime": lambda t=None: text(local(now()) if t is None else t),
        "ctime": lambda seconds=None: text(local(now() if seconds is None else seconds)),
        "strftime": lambda style, t=None: formatted(style, local(now()) if t is None else t),
    }


def _patch(module: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(module, name, value)


def _draw_seed() -> int:
    """Return a seed from Python's global generator, whose state is the episode's own."""
    return random.getrandbits(31)
