"""The split of initial conditions: training, validation and held out.

A run's seed owns a block of STRIDE conditions, cut into four ranges, so that splits are disjoint for every pair of
seeds. Conditions stay below 2**32, which is all that numpy's legacy generators take, and many environments seed those.
So there are BLOCKS whole blocks, and a seed beyond them has the one of its remainder, ``seed % 42949``.
"""

from __future__ import annotations

from dataclasses import dataclass

from trace_robot.errors import UsageError
from trace_robot.settings import Settings

STRIDE = 100_000
VALIDATION = 25_000
HELD_OUT = 50_000
LARGEST = 2**32  # above every condition
BLOCKS = LARGEST // STRIDE  # 42,949


class UnboundedSeed(int):
    """A seed whose conditions are not kept below 2**32, of a run that 0.1 began.

    Such a run is resumed with the conditions that it had.
    """


def training_seeds(seed: int, episodes: int) -> tuple[int, ...]:
    """Return the conditions that candidates are compared on.

    Args:
        seed: of the run, 0 or more.
        episodes: number of conditions, 1 to 25,000; the first n are the same for every number.

    Raises:
        TraceRobotError: an argument is out of range.
    """
    return _range(seed, episodes, 0)


def validation_seeds(seed: int, episodes: int) -> tuple[int, ...]:
    """Return conditions for choosing among finished controllers.

    They are neither trained on nor held out.

    Args:
        seed: of the run, 0 or more.
        episodes: number of conditions, 1 to 25,000.

    Raises:
        TraceRobotError: an argument is out of range.
    """
    return _range(seed, episodes, VALIDATION)


def held_out_seeds(seed: int, episodes: int) -> tuple[int, ...]:
    """Return conditions that no candidate of any run with any seed was trained on.

    Args:
        seed: of the run, 0 or more.
        episodes: number of conditions, 1 to 25,000.

    Raises:
        TraceRobotError: an argument is out of range.
    """
    return _range(seed, episodes, HELD_OUT)


@dataclass(frozen=True, slots=True)
class SeedSplit:
    """The conditions of one run.

    training: to compare candidates on. confirmation: for a candidate that solves these. held_out: of the final
    score.
    """

    training: tuple[int, ...]
    confirmation: tuple[int, ...]
    held_out: tuple[int, ...]

    @classmethod
    def of(cls, settings: Settings) -> SeedSplit:
        """Return the conditions of a run.

        Raises UsageError for a seed or a number that is out of range.
        """
        training = training_seeds(settings.seed, settings.episodes)
        both = training_seeds(settings.seed, settings.episodes + settings.confirm)
        return cls(training, both[settings.episodes :], held_out_seeds(settings.seed, settings.held_out))


def _range(seed: int, episodes: int, offset: int) -> tuple[int, ...]:
    if seed < 0:
        raise UsageError(f"seed must be 0 or more, got {seed}")
    if not 0 < episodes <= VALIDATION:
        raise UsageError(f"episodes must be from 1 to {VALIDATION}, got {episodes}")
    start = seed * STRIDE + offset
    if start + episodes > LARGEST and not isinstance(seed, UnboundedSeed):
        start = seed % BLOCKS * STRIDE + offset
    return tuple(range(start, start + episodes))
