"""Functions as operators, and their source as parameters."""

import asyncio
import copy
import functools
import linecache
import pickle
import sys
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
from trace_robot.trace.compat import contain

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


def test_info_tells_the_source_below_the_decorator() -> None:
    info = learned.info
    assert info["source"].startswith("def learned(x, y=1):")
    assert linecache.getline(__file__, info["line_number"]).startswith("def learned")
    assert info["doc"].startswith("[learned] Add.")


def test_the_source_is_a_parameter_with_the_signature_as_its_constraint() -> None:
    parameter = learned.parameter
    assert parameter.data.startswith('def learned(x, y=1):  # type: ignore[no-untyped-def]\n    """Add.')
    assert parameter.data.endswith("return x + y + OFFSET")
    assert "def learned(x, y=1):" in parameter.constraint
    assert "More words." in parameter.constraint
    assert parameter.base_name == "__code"
    assert parameter.key == "learned"
    assert learned.parameters() == [parameter]
    assert scaled.parameters() == []


def test_a_trainable_call_has_its_code_among_the_inputs() -> None:
    result = learned(1)
    assert result == 102
    assert result.inputs["__code"] is learned.parameter


def test_a_new_source_counts_from_the_next_call_on_and_is_compiled_once() -> None:
    function = learned.detach()
    before = function.fun
    assert function.fun is before
    function.parameter.data = function.parameter.data.replace("x + y", "x - y")
    assert function(5) == 104
    after = function.fun
    assert after is not before
    function(5)
    assert function.fun is after
    assert learned(5) == 106


def test_code_may_bring_imports_helpers_constants_and_classes() -> None:
    function = learned.detach()
    function.parameter.data = (
        "from __future__ import annotations\n"
        "import math as m\n"
        "LIMIT = 2\n"
        "class Box:\n    size = LIMIT\n"
        "def learned(x, y=1):\n    return helper(x) + Box.size + OFFSET\n"
        "def helper(x):\n    return m.floor(x)\n"
    )
    assert function(1.5) == 103
    assert "helper" not in globals()
    assert "LIMIT" not in globals()


def test_code_sees_what_the_module_holds_now(monkeypatch: pytest.MonkeyPatch) -> None:
    assert learned(1) == 102
    monkeypatch.setattr(sys.modules[__name__], "OFFSET", 0)
    assert learned(1) == 2


def test_code_sees_and_changes_the_variables_around_it() -> None:
    calls = 0
    step = 10
    helper = abs

    @bundle(trainable=True)
    def count(x: Any) -> Any:
        nonlocal calls
        calls += step
        return x

    count(1)
    step = 5
    count(1)
    assert calls == 15
    count.parameter.data = "def count(x):\n    return helper(x) + step"
    assert count(-3) == 8
    assert helper(1) == 1


def test_names_that_the_code_defines_itself_win_over_those_around_it() -> None:
    def helper(x: Any) -> Any:
        return x

    counter = 0

    @bundle(trainable=True)
    def uses(x: Any) -> Any:
        return helper(x) + counter

    assert uses(1) == 1
    uses.parameter.data = (
        "def helper(x):\n    return -x\n"
        "def uses(x):\n    global counter_of_the_module\n"
        "    counter_of_the_module = x\n    return helper(x) + counter\n"
    )
    counter = 10
    assert uses(1) == 9
    assert globals().pop("counter_of_the_module") == 1


def test_recursion_in_code_stays_within_one_node() -> None:
    @bundle(trainable=True)
    def factorial(n: Any) -> Any:
        assert not isinstance(n, Node)
        return 1 if n == 0 else n * factorial(n - 1)

    result = factorial(node(5))
    assert result == 120
    assert len(result.parents) == 2


def test_recursion_of_a_plain_bundle_makes_nodes_unless_told_otherwise() -> None:
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


def test_each_instance_has_a_parameter_of_its_own() -> None:
    class Agent:
        def __init__(self) -> None:
            self.__bias = 1

        @bundle(trainable=True)
        def act(self, x: Any) -> Any:
            return x + self.__bias

    first, second = Agent(), Agent()
    first.act.parameter.data = "def act(self, x):\n    return x - self.__bias"
    assert (first.act(5), second.act(5)) == (4, 6)
    assert first.act is first.act
    assert first.act.parameter is not second.act.parameter
    assert first.act(1).inputs["self"] is first.act(2).inputs["self"]
    twin = copy.deepcopy(first)
    assert twin.act(5) == 4
    assert twin.act.parameter is not first.act.parameter


class Shelf:
    def __init__(self, items: list[int]) -> None:
        self.items = items

    def total(self) -> int:
        return sum(self.items)


class CountingShelf(Shelf):
    @bundle(trainable=True)
    def total(self) -> int:
        return super().total() + len(self.items)


def test_methods_call_those_they_override_and_survive_pickling() -> None:
    shelf = CountingShelf([1, 2])
    assert shelf.total() == 5
    shelf.total.parameter.data = "def total(self):\n    return super().total() * 10"
    assert shelf.total() == 30
    again = pickle.loads(pickle.dumps(shelf))
    assert again.total() == 30


def test_static_and_class_methods_can_be_traced() -> None:
    class Tool:
        rate = 3

        @staticmethod
        @bundle()
        def twice(x: Any) -> Any:
            return x * 2

        @bundle()
        @staticmethod
        def thrice(x: Any) -> Any:
            return x * 3

        @classmethod
        @bundle()
        def rated(cls, x: Any) -> Any:
            return x * cls.rate

    assert Tool().twice(2) == 4
    assert Tool.twice(2) == 4
    assert Tool().thrice(2) == 6
    assert Tool.rated(2) == 6


def test_a_method_of_an_object_without_a_dict_works_unless_it_is_trainable() -> None:
    class Slim:
        __slots__ = ()

        @bundle()
        def fine(self, x: Any) -> Any:
            return x

        @bundle(trainable=True)
        def impossible(self, x: Any) -> Any:
            return x

    assert Slim().fine(1) == 1
    with pytest.raises(TypeError, match="Slim needs a __dict__ to hold the code of 'impossible'"):
        Slim().impossible(1)


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


def test_source_registered_with_linecache_is_found_without_a_file() -> None:
    text = (
        "from trace_robot import bundle\n\n"
        "@bundle(trainable=True)\n"
        "def act(x):\n    text = '''\n  kept\n'''\n    return len(text) + x\n"
    )
    name = "<policy of a test>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    module: dict[str, Any] = {"__name__": "policy"}
    exec(compile(text, name, "exec"), module)
    assert module["act"].parameter.data.startswith("def act(x):\n    text = '''\n  kept\n'''")
    assert module["act"](1) == 9


def test_a_method_source_is_dedented_but_its_texts_are_not() -> None:
    class Prompt:
        @bundle(trainable=True)
        def text(self) -> str:
            """Docstring
            goes on."""
            return """first
            second
    third"""

    expected = "first\n            second\n    third"
    assert Prompt().text() == expected
    assert Prompt.text.parameter.data.startswith('def text(self) -> str:\n    """Docstring\n    goes on."""')


def test_a_trainable_function_without_source_is_refused() -> None:
    namespace: dict[str, Any] = {}
    exec("def ghost(x): return x", namespace)
    with pytest.raises(TypeError, match=r"the source of .*ghost.* is not known"):
        bundle(trainable=True)(namespace["ghost"])
    with pytest.raises(TypeError, match="bundle takes a function, got 5"):
        bundle()(5)  # type: ignore[arg-type]
    assert bundle()(namespace["ghost"])(3) == 3


def test_builtin_functions_can_be_traced() -> None:
    assert bundle()(max)(node(3), 4) == 4
    assert bundle("[norm] length")(np.linalg.norm)(node([3.0, 4.0])) == 5.0
    assert bundle()(np.sin)(node(0.0)) == 0.0
    assert bundle()(functools.partial(max, 3))(4, key=abs).inputs.keys() == {"args_0", "key"}
    assert bundle()(int)("7", base=8) == 7


def test_detached_copies_have_parameters_of_their_own() -> None:
    for made in (learned.detach(), copy.deepcopy(learned), copy.copy(learned)):
        assert made.parameter is not learned.parameter
        assert made.parameter == learned.parameter
