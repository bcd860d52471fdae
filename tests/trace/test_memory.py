"""A graph lives as long as its output is referenced."""

import gc
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from trace_robot.trace import ExecutionError, Module, backward, bundle, node, stop_tracing


@bundle(trainable=True)
def learned(x: Any, gain: Any) -> Any:
    return x * gain


def growth(repeat: Callable[[], object], times: int) -> int:
    """Return how many bytes ``times`` runs leave behind, without the cycle finder."""
    for _ in range(50):
        repeat()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        repeat()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(times):
            repeat()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        gc.enable()


def test_dropped_results_leave_nothing_behind() -> None:
    x, gain = node(1.5), node(2.5, trainable=True)
    assert growth(lambda: x + gain, 20_000) < 10_000
    assert growth(lambda: learned(x, gain), 5_000) < 10_000


def test_iterations_on_one_parameter_leave_nothing_behind() -> None:
    gain = node(2.5, trainable=True)

    def iteration() -> None:
        x: Any = node(1.0)
        for _ in range(5):
            x = learned(x, gain) + 1
        x.backward("better")
        gain.zero_feedback()
        learned.parameter.zero_feedback()

    assert growth(iteration, 500) < 20_000


def test_a_kept_node_takes_at_most_400_bytes() -> None:
    gain = node(2.5, trainable=True)
    kept: list[Any] = [node(1.0)]
    assert growth(lambda: kept.append(kept[-1] + gain), 5_000) < 400 * 5_000


def test_a_parameter_does_not_keep_the_graphs_it_took_part_in() -> None:
    gain = node(2.0, trainable=True)
    output = learned(gain, gain) + 1
    gone = weakref.ref(output)
    subgraph = backward(output, "f")
    del output
    assert gone() is not None
    del subgraph
    assert gone() is None
    assert gain.children == []


def test_an_instance_is_collected_with_its_traced_methods() -> None:
    class Agent(Module):
        @bundle(trainable=True)
        def act(self, x: Any) -> Any:
            return x

    agent = Agent()
    agent.act(1)
    gone = weakref.ref(agent)
    del agent
    gc.collect()
    assert gone() is None


def test_an_exception_does_not_keep_its_graph_once_it_is_handled() -> None:
    x = node(0)

    def fail() -> weakref.ref[Any]:
        big = x + 1
        with pytest.raises(ExecutionError):
            big / x
        return weakref.ref(big)

    gone = fail()
    gc.collect()
    assert gone() is None


def test_a_graph_of_a_hundred_thousand_nodes_is_dropped_without_a_deep_stack() -> None:
    x: Any = node(1)
    for _ in range(100_000):
        x = x + 1
    assert x == 100_001
    del x


def test_nothing_is_kept_without_tracing() -> None:
    x = node(1.0)

    def run() -> None:
        nonlocal x
        with stop_tracing():
            x = x * 1.0

    assert growth(run, 5_000) < 5_000
