"""Conditions: disjoint for every pair of seeds, and seeds that every generator takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trace_robot.errors import UsageError
from trace_robot.settings import (
    BLOCKS,
    LARGEST,
    STRIDE,
    UnboundedSeed,
    held_out_seeds,
    training_seeds,
    validation_seeds,
)

SPLITS = (training_seeds, validation_seeds, held_out_seeds)


@given(st.integers(0, BLOCKS - 1), st.sampled_from((1, 50, 25_000)))
def test_a_small_seed_has_the_conditions_that_it_always_had(seed: int, episodes: int) -> None:
    for split, offset in zip(SPLITS, (0, 25_000, 50_000), strict=True):
        start = seed * STRIDE + offset
        assert split(seed, episodes) == tuple(range(start, start + episodes))


def test_the_first_seed_after_the_whole_blocks_has_the_conditions_of_its_remainder() -> None:
    assert held_out_seeds(42_949, 50)[0] == 50_000


@given(st.integers(0, 2 * BLOCKS), st.integers(1, 25_000))
@example(BLOCKS, 25_000)
def test_the_first_conditions_are_the_same_for_every_number_of_them(seed: int, episodes: int) -> None:
    for split in SPLITS:
        assert split(seed, 1) == split(seed, episodes)[:1]


@given(st.integers(BLOCKS, 2**70), st.sampled_from((1, 50, 25_000)))
def test_every_condition_is_a_seed_of_the_legacy_generators(seed: int, episodes: int) -> None:
    for split in SPLITS:
        conditions = split(seed, episodes)
        assert len(conditions) == episodes
        assert 0 <= conditions[0] <= conditions[-1] < LARGEST
    np.random.RandomState(held_out_seeds(seed, episodes)[-1])


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_no_seed_is_scored_on_conditions_that_another_is_trained_on(one: int, other: int) -> None:
    held, trained = held_out_seeds(one, 25_000), training_seeds(other, 25_000)
    assert held[-1] < trained[0] or trained[-1] < held[0]


@pytest.mark.parametrize(("seed", "same"), [(42_950, 1), (20_240_601, 20_240_601 % 42_949)])
def test_a_large_seed_has_the_block_of_its_remainder(seed: int, same: int) -> None:
    assert training_seeds(seed, 5) == training_seeds(same, 5)


def test_a_run_of_0_1_goes_on_with_the_conditions_that_it_had() -> None:
    assert training_seeds(UnboundedSeed(50_000), 2) == (5_000_000_000, 5_000_000_001)
    with pytest.raises(UsageError, match="seed must be 0 or more, got -1"):
        training_seeds(-1, 2)
