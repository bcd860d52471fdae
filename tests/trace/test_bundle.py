"""Functions as operators."""

import asyncio
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import trace_robot.trace as tr
from trace_robot.trace import (
    ExecutionError,
    MessageNode,
    Node,
    TraceMissingInputsError,
    bundle,
    node,
    operators,
)
from trace_robot.trace import bundle as traced
from trace_robot.trace.propagators import contain

OFFSET = 100


def passing(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def wrapping(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@bundle()
def scaled(x, factor=2, *rest, shift=0, **options):  # type: ignore[no-untyped-def]
    """Scale x."""
    return x * factor + shift + sum(rest) + sum(options.values())


@bundle(trainable=True)
def learned(x, y=1):  # type: ignore[no-untyped-def]
    """Add.

    More words.
    """
    return x + y + OFFSET


def test_a_call_is_one_node_with_its_arguments_as_inputs() -> None:
    x = node(3)
    result = scaled(x)
    assert isinstance(result, MessageNode)
    assert result == 6
    assert result.inputs["x"] is x
    assert result.inputs["factor"] == 2
    assert result.name.startswith("scaled:")
    assert result.description == "[scaled] Scale x."


def test_arguments_of_every_kind_are_named_inputs() -> None:
    result = scaled(1, node(2), 3, node(4), shift=node(5), extra=6)
    assert result == 2 + 5 + 7 + 6
    values = {name: each.data for name, each in result.inputs.items()}
    assert values == {"x": 1, "factor": 2, "rest_0": 3, "rest_1": 4, "shift": 5, "extra": 6}


def test_an_argument_may_be_called_self() -> None:
    @bundle()
    def odd(**options: Any) -> Any:
        return options

    assert odd(self=1, args=2) == {"self": 1, "args": 2}
    assert operators.make_dict(self=node(1)) == {"self": 1}


def test_wrong_arguments_are_pythons_own_type_error() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'x'"):
        scaled()
    with pytest.raises(TypeError, match="unexpected keyword"):
        learned(1, z=2)


def test_nodes_inside_lists_tuples_and_dicts_are_linked_and_arrive_plain() -> None:
    @bundle()
    def total(values: Any, named: Any) -> Any:
        assert not isinstance(values[1][0], Node)
        return values[0] + values[1][0] + named["k"]

    leaves = [node(value, trainable=True) for value in (1, 2, 3)]
    result = total([leaves[0], (leaves[1],)], {"k": leaves[2]})
    assert result == 6
    assert set(tr.backward(result).parameters) == set(leaves)


def test_later_changes_of_a_list_or_dict_do_not_change_what_was_recorded() -> None:
    @bundle()
    def count(memory: Any) -> Any:
        memory["calls"] = memory.get("calls", 0) + 1
        return memory["calls"]

    memory: dict[str, int] = {}
    results = [count(memory) for _ in range(3)]
    assert [each.data for each in results] == [1, 2, 3]
    assert memory == {"calls": 3}
    assert [each.inputs["memory"].data for each in results] == [{}, {"calls": 1}, {"calls": 2}]


def test_a_function_of_a_node_that_returns_it_gives_a_new_node() -> None:
    @bundle()
    def same(x: Any) -> Any:
        return x

    x = node([1])
    assert same(x) is not x
    assert same(x).data is x.data


def test_the_decorator_works_bare_inline_renamed_and_among_others() -> None:
    @bundle
    def bare(x: Any) -> Any:
        return x + 1

    @wrapping
    @traced(
        trainable=True,
    )  # a comment with bundle
    @passing
    def among(x: Any) -> Any:
        return x + 1

    assert bare(1) == 2
    assert bundle()(lambda x: x * 3)(node(2)) == 6
    inner = among.__wrapped__  # type: ignore[attr-defined]
    assert inner.parameter.data == "@passing\ndef among(x: Any) -> Any:\n    return x + 1"
    assert among(1) == 2


def test_recursion_of_a_plain_bundle_makes_nodes_unless_overwritten() -> None:
    kinds: list[bool] = []

    @bundle()
    def down(n: Any) -> Any:
        value = 0 if n == 0 else down(n - 1) + n
        kinds.append(isinstance(value, Node))
        return value

    @bundle(overwrite_python_recursion=True)
    def plain_down(n: Any) -> Any:
        value = 0 if n == 0 else plain_down(n - 1) + n
        assert not isinstance(value, Node)
        return value

    assert down(4) == 10
    assert kinds == [False, True, True, True, True]
    assert plain_down(4) == 10
    assert plain_down(4) == 10


def test_reading_an_undeclared_node_is_an_error_that_names_it() -> None:
    outside, given = node(7, name="outside"), node(1)

    @bundle()
    def reads(x: Any) -> Any:
        return x + outside.data

    @bundle()
    def operates(x: Any) -> Any:
        return (outside + 1).data + x

    @bundle()
    def returns(x: Any) -> Any:
        return [outside]

    for function in (reads, operates, returns):
        with pytest.raises(
            TraceMissingInputsError, match=rf"{function.name} reads nodes .*{outside.name} = 7"
        ):
            function(given)


def test_allowed_external_nodes_are_hidden_dependencies_that_backward_follows() -> None:
    outside, x = node(7, trainable=True), node(1)

    @bundle(allow_external_dependencies=True)
    def reads(x: Any) -> Any:
        return x + outside.data

    result = reads(x)
    assert result.parents == [x]
    assert contain(result.info["external_dependencies"], outside)
    subgraph = tr.backward(result)
    assert subgraph.parameters == (outside,)
    assert f"{outside.py_name}={outside.py_name}" in subgraph.summary().code[0]


def test_a_failure_on_an_undeclared_node_names_it_among_the_hidden_dependencies() -> None:
    outside = node(7, trainable=True)

    @bundle()
    def divides(x: Any) -> Any:
        return outside / x

    with pytest.raises(ExecutionError) as caught:
        divides(node(0))
    assert caught.value.exception_node.hidden_dependencies == {outside}
    assert tr.backward(caught.value.exception_node).parameters == (outside,)


def test_code_used_by_inner_calls_is_linked_without_being_declared() -> None:
    @bundle()
    def outer(x: Any) -> Any:
        return learned(x) + 1

    @bundle()
    def outermost(x: Any) -> Any:
        return outer(x).data * 2

    result = outermost(node(1))
    assert result == 206
    assert tr.backward(result).parameters == (learned.parameter,)


def test_a_bundle_as_argument_stands_for_its_code() -> None:
    @bundle()
    def apply(function: Any, x: Any) -> Any:
        return function(x)

    result = apply(learned, node(1))
    assert result == 102
    assert result.inputs["function"] is learned.parameter


def test_traceable_code_gets_nodes_and_keeps_its_own_graph() -> None:
    hidden = node(10, trainable=True)

    @bundle(traceable_code=True)
    def inside(x: Any) -> Any:
        assert isinstance(x, Node)
        return x * 2 + hidden

    x = node(1)
    result = inside(x)
    inner = result.info["output"]
    assert result == inner == 12
    assert result.parents == [x]
    assert not contain(inner.parents, x)
    assert result.expandable_dependencies == {result}
    assert tr.backward(result).parameters == (hidden,)
    assert len(tr.Subgraph.expand(result)) == 5


def test_a_result_that_holds_nodes_holds_their_values() -> None:
    @bundle()
    def pair(x: Any) -> Any:
        made = node(x) + 1
        return {"k": (made, 2)}

    assert pair(1).data == {"k": (2, 2)}


def test_coroutines_give_an_awaitable_node() -> None:
    @bundle(trainable=True)
    async def later(x: Any) -> Any:
        await asyncio.sleep(0)
        return x + 1

    @bundle()
    async def fails(x: Any) -> Any:
        raise KeyError(x)

    async def main() -> None:
        first, second = await asyncio.gather(later(node(1)), later(2))
        assert (first, second) == (2, 3)
        assert contain(first.parents, later.parameter)
        with pytest.raises(ExecutionError):
            await fails(1)
        with tr.stop_tracing():
            assert (await later(1)).inputs == {}

    asyncio.run(main())


def test_generators_give_linked_items_and_marked_errors() -> None:
    @bundle()
    def count(n: Any) -> Iterator[Any]:
        yield from range(n)
        raise ValueError("over")

    made = count(node(2))
    items = iter(made)
    first = next(items)
    assert first == 0
    assert contain(first.parents, made)
    assert next(items) == 1
    with pytest.raises(ExecutionError, match=r"raise ValueError\(\"over\"\) <--- \(ValueError\) over"):
        next(items)


def test_asynchronous_generators_give_linked_items() -> None:
    @bundle()
    async def count(n: Any) -> Any:
        for index in range(n):
            yield index

    async def main() -> list[Node]:
        made = count(node(3))
        return [item async for item in made]

    items = asyncio.run(main())
    assert [item.data for item in items] == [0, 1, 2]
    assert items[0].parents[0].name.startswith("count:")


def test_builtin_functions_can_be_traced() -> None:
    assert bundle()(max)(node(3), 4) == 4
    assert bundle("[norm] length")(np.linalg.norm)(node([3.0, 4.0])) == 5.0
    assert bundle()(np.sin)(node(0.0)) == 0.0
    assert bundle()(functools.partial(max, 3))(4, key=abs).inputs.keys() == {"args_0", "key"}
    assert bundle()(int)("7", base=8) == 7
