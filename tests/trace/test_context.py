"""Tracing on and off, in threads and tasks."""

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trace_robot.trace import TraceMissingInputsError, backward, bundle, is_tracing, node, stop_tracing
from trace_robot.trace.propagators import GRAPH


@bundle(trainable=True)
def stepped(x: Any, gain: Any) -> Any:
    return x * gain + 1


@bundle()
def summed(values: Any) -> Any:
    return sum(values)


def test_without_tracing_results_are_nodes_without_inputs() -> None:
    x = node(2, trainable=True)
    with stop_tracing():
        results = [x + 1, stepped(x, gain=3), summed([x, 1]), x[...] if False else -x, node([x])]
    assert [each.data for each in results] == [3, 7, 3, -2, [2]]
    assert all(each.inputs == {} and each.parents == [] for each in results)
    assert x.children == []
    assert len({each.name for each in results}) == len(results)


def test_stopping_nests_and_restores_what_was_whatever_is_raised() -> None:
    def fail() -> None:
        with stop_tracing():
            with stop_tracing():
                assert not is_tracing()
            assert not is_tracing()
            assert GRAPH.TRACE is False
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert is_tracing()
    again = stop_tracing()
    with again, again:
        assert not is_tracing()
    assert is_tracing()


def test_undeclared_reads_are_no_error_without_tracing() -> None:
    outside = node(5)

    @bundle()
    def reads(x: Any) -> Any:
        return x + outside.data

    with stop_tracing():
        assert reads(1) == 6
    with pytest.raises(TraceMissingInputsError):
        reads(1)


def test_a_bundle_may_stop_tracing_within() -> None:
    outside = node(5)

    @bundle()
    def reads(x: Any) -> Any:
        with stop_tracing():
            return x + outside.data

    assert reads(node(1)) == 6


def test_a_new_thread_traces_whatever_its_creator_does() -> None:
    seen: list[bool] = []
    with stop_tracing():
        thread = threading.Thread(target=lambda: seen.append(is_tracing()))
        thread.start()
        thread.join()
    assert seen == [True]


def chain(seed: int, x: Any, gain: Any, pause: Any) -> Any:
    """Run a random program, some parts of it without tracing."""
    chance = random.Random(seed)
    for _ in range(6):
        pause()
        choice = chance.randrange(4)
        if choice == 0:
            x = x + chance.randrange(5)
        elif choice == 1:
            x = stepped(x, gain)
        elif choice == 2:
            x = summed([x, gain])
        else:
            with stop_tracing():
                pause()
                assert (x + gain).parents == []
    return x


def expected(seed: int, gain: int) -> int:
    plain: Any = chain(seed, node(1), node(gain), lambda: None)
    return int(plain)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=8))
def test_threads_do_not_leak_into_each_other(seeds: list[int]) -> None:
    gains = [node(index, trainable=True) for index in range(len(seeds))]
    barrier = threading.Barrier(len(seeds))

    def run(index: int) -> Any:
        barrier.wait()
        return chain(seeds[index], node(1), gains[index], lambda: None)

    with ThreadPoolExecutor(len(seeds)) as pool:
        results = list(pool.map(run, range(len(seeds))))
    check(results, seeds, gains)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=8))
def test_tasks_do_not_leak_into_each_other(seeds: list[int]) -> None:
    gains = [node(index, trainable=True) for index in range(len(seeds))]

    @bundle(allow_external_dependencies=True)
    async def waiting(x: Any, index: Any) -> Any:
        for _ in range(seeds[index] % 3):
            await asyncio.sleep(0)
        return x + gains[index].data

    async def run(index: int) -> Any:
        x: Any = node(1)
        for turn in range(4):
            if (seeds[index] >> turn) % 2:
                with stop_tracing():
                    await asyncio.sleep(0)
                    assert (await waiting(x, index)).parents == []
            else:
                x = await waiting(x, index)
                assert is_tracing()
        return x

    async def main() -> list[Any]:
        return await asyncio.gather(*(run(index) for index in range(len(seeds))))

    for index, result in enumerate(asyncio.run(main())):
        used = set(backward(result).parameters)
        assert used <= {gains[index]}
        assert result == 1 + index * sum(not (seeds[index] >> turn) % 2 for turn in range(4))


def check(results: list[Any], seeds: list[int], gains: list[Any]) -> None:
    for index, result in enumerate(results):
        assert result == expected(seeds[index], index)
        used = set(backward(result).parameters) if result.parents else set()
        assert used <= {gains[index], stepped.parameter}


def test_children_and_names_are_complete_after_many_threads() -> None:
    x = node(1)
    barrier = threading.Barrier(4)

    def run(_: int) -> list[Any]:
        barrier.wait()
        return [x + 1 for _ in range(500)]

    with ThreadPoolExecutor(4) as pool:
        kept = [each for made in pool.map(run, range(4)) for each in made]
    assert len(x.children) == 2000
    assert len({each.name for each in kept}) == 2000
