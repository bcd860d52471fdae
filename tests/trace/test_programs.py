"""Random programs: the same values traced and untraced, the right dependencies."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trace_robot.trace import (
    Node,
    backward,
    bundle,
    from_records,
    node,
    operators,
    stop_tracing,
    to_records,
)
from trace_robot.trace.builtins import equal

Values = list[Any]


@bundle()
def blended(x, y, weight=3):  # type: ignore[no-untyped-def]
    return x * weight - y


@bundle(trainable=True)
def learned(x, *, y):  # type: ignore[no-untyped-def]
    helper = x + 1
    return helper + y


@bundle(traceable_code=True)
def opened(x, y):  # type: ignore[no-untyped-def]
    return (x - y) * 2


def unpacked(x: Any, y: Any) -> Any:
    first, second = [x, y] if not isinstance(x, Node) else node([x, y])
    return second - first


def picked(x: Any, y: Any) -> Any:
    table = {"x": x, "y": y}
    return (node(table) if isinstance(x, Node) else table)["y"]


def arrays(x: Any, y: Any) -> Any:
    return (np.array([1.0, 2.0]) * x + y).sum()


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a traced function's own, taking the second argument as it is declared."""
    return function.fun  # type: ignore[attr-defined, no-any-return]


OPERATIONS: tuple[tuple[Callable[..., Any], Callable[..., Any]], ...] = (
    (operator.add, operator.add),
    (operator.sub, operator.sub),
    (operator.mul, operator.mul),
    (lambda x, y: 3 - x, lambda x, y: 3 - x),
    (lambda x, y: -y, lambda x, y: -y),
    (lambda x, y: x, lambda x, y: x),
    (blended, plain(blended)),
    (lambda x, y: learned(x, y=y), lambda x, y: plain(learned)(x, y=y)),
    (opened, plain(opened)),
    (lambda x, y: operators.cond(x > y, x, y), lambda x, y: x if x > y else y),
    (lambda x, y: blended([x, y][1], y, weight=x), lambda x, y: plain(blended)(y, y, weight=x)),
    (unpacked, unpacked),
    (picked, picked),
    (arrays, arrays),
    (np.maximum, np.maximum),
)


@dataclass(frozen=True)
class Program:
    """Leaves, then operations on two earlier values. The last value is the output."""

    leaves: tuple[int, ...]
    steps: tuple[tuple[int, int, int], ...]

    def run(self, leaves: Values, traced: bool) -> Any:
        values = list(leaves)
        for operation, first, second in self.steps:
            function = OPERATIONS[operation][0 if traced else 1]
            values.append(function(values[first % len(values)], values[second % len(values)]))
        return values[-1]


step = st.tuples(st.integers(0, len(OPERATIONS) - 1), st.integers(0, 50), st.integers(0, 50))
programs = st.builds(
    Program,
    st.lists(st.integers(-5, 5), min_size=1, max_size=4).map(tuple),
    st.lists(step, min_size=1, max_size=12).map(tuple),
)


@given(programs)
@settings(deadline=None)
def test_a_traced_program_gives_what_it_gives_untraced(program: Program) -> None:
    expected = program.run(list(program.leaves), traced=False)
    result = program.run([node(leaf) for leaf in program.leaves], traced=True)
    assert equal(result.data, expected)
    with stop_tracing():
        stopped = program.run([node(leaf) for leaf in program.leaves], traced=True)
    assert equal(stopped.data, expected)
    assert stopped.parents == []


@given(programs, st.integers(1, 7))
@settings(deadline=None)
def test_changing_a_leaf_changes_the_output_only_if_backward_lists_it(program: Program, change: int) -> None:
    leaves = [node(leaf, trainable=True) for leaf in program.leaves]
    output = program.run(leaves, traced=True)
    listed = {id(parameter) for parameter in backward(output).parameters}
    for index, leaf in enumerate(leaves):
        changed = list(program.leaves)
        changed[index] += change
        if not equal(program.run(changed, traced=False), output.data):
            assert id(leaf) in listed


@given(programs)
@settings(deadline=None)
def test_a_subgraph_is_closed_ordered_and_survives_as_records(program: Program) -> None:
    leaves = [node(leaf, trainable=True) for leaf in program.leaves]
    output = program.run(leaves, traced=True)
    subgraph = backward(output, "f")
    known = {id(each) for each in (*subgraph.parameters, *subgraph.inputs)}
    for each in subgraph.operations:
        assert {id(parent) for parent in each._parents} <= known
        known.add(id(each))
    summary = subgraph.summary()
    assert len(summary.code) == len(subgraph.operations)
    names = {*summary.variables, *summary.inputs, *summary.others, *summary.outputs}
    assert len(names) == len(subgraph)
    rebuilt = from_records(to_records([output]))
    again = backward(rebuilt[max(rebuilt)], "f")
    if output.parents:
        assert [line.split("(")[0].split(" = ")[1] for line in again.summary().code] == [
            line.split("(")[0].split(" = ")[1] for line in summary.code
        ]


def test_the_check_notices_a_value_that_left_the_graph() -> None:
    leaf = node(2, trainable=True)
    output = node(float(leaf)) * 3
    assert output.data != float(3) * 3
    assert backward(output).parameters == ()
