"""Nodes and their operators."""

import copy
import math
import operator
import pickle

import numpy as np
import pytest

from trace_robot.trace import ExecutionError, MessageNode, Node, ParameterNode, node, operators
from trace_robot.trace.builtins import equal
from trace_robot.trace.operator_table import TABLE
from trace_robot.trace.propagators import GRAPH, contain

BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and_", "or_", "xor"]


@pytest.mark.parametrize("name", [*BINARY, "lt", "le", "gt", "ge"])
def test_an_operator_gives_what_python_gives_whichever_side_is_a_node(name: str) -> None:
    function = getattr(operator, name)
    for left, right in ((node(13), node(3)), (node(13), 3), (13, node(3))):
        result = function(left, right)
        assert isinstance(result, MessageNode)
        assert result.data == function(13, 3)
        assert [parent.data for parent in result.parents] == [13, 3] or name in ("lt", "le", "gt", "ge")


def test_a_reflected_operator_keeps_the_order_of_its_operands() -> None:
    assert (10 - node(3)).data == 7
    assert (2 ** node(3)).data == 8
    assert (("ab" + node("c")) + "d").data == "abcd"
    assert ([1] + node([2])).data == [1, 2]
    assert divmod(17, node(5)).data == (3, 2)
    assert (7 % node(4)).inputs["x"].data == 7


@pytest.mark.parametrize(
    "function", [operator.neg, operator.pos, operator.invert, abs, math.floor, math.ceil, math.trunc]
)
def test_a_unary_operator_gives_a_linked_node(function: object) -> None:
    x = node(-5)
    result = function(x)  # type: ignore[operator]
    assert result.data == function(-5)  # type: ignore[operator]
    assert contain(result.parents, x)


def test_round_takes_digits() -> None:
    assert round(node(2.567), 1).data == 2.6
    assert round(node(2.567)).data == 3


def test_equality_is_a_plain_bool_by_value_and_hash_goes_by_identity() -> None:
    x, y = node([1, 2]), node([1, 2])
    assert (x == y) is True
    assert (x == [1, 2]) is True
    assert (x != [1, 3]) is True
    assert hash(x) != hash(y)
    assert y in [x]
    assert y not in {x}


def test_equality_of_arrays_is_one_bool_at_any_depth() -> None:
    x = node({"a": [np.arange(3), 1]})
    assert (x == {"a": [np.arange(3), 1]}) is True
    assert (x == {"a": [np.arange(4), 1]}) is False
    assert (node(np.zeros(2)) == None) is False  # noqa: E711
    assert node(np.ones(3)) in [node(np.zeros(3)), node(np.ones(3))]
    assert np.ones(2) in node([np.zeros(2), np.ones(2)])


def test_truth_length_and_membership_are_plain_and_short_circuit_as_in_python() -> None:
    true, false = node(1), node(0)
    assert (true and false) is false
    assert (false or true) is true
    assert (not false) is True
    assert len(node("abc")) == 3
    assert ("b" in node("abc")) is True
    assert (node(2) in node([1, 2])) is True
    assert isinstance(node("abc").len(), MessageNode)


def test_numbers_are_converted_by_python_to_plain_ones() -> None:
    assert float(node(2.5)) == 2.5
    assert int(node(3)) == 3
    assert [10, 20, 30][node(1)] == 20
    assert f"{node(2.567):.1f}" == "2.6"
    assert math.sqrt(node(4.0)) == 2.0


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ([1, 2], [1, 2]),
        ((1, 2), [1, 2]),
        ("ab", ["a", "b"]),
        ({3}, [3]),
        ({"k": 1}, ["k"]),
        (range(2), [0, 1]),
    ],
)
def test_iteration_gives_nodes_linked_to_the_container(value: object, items: list[object]) -> None:
    x = node(value)
    got = list(x)
    assert [each.data for each in got] == items
    for each in got:
        assert contain(each.parents, x) or contain(each.parents[0].parents, x)


def test_rows_of_an_array_are_linked_nodes() -> None:
    x = node(np.arange(6).reshape(2, 3))
    first, second = x
    assert second == np.array([3, 4, 5])
    assert contain(first.parents, x)


def test_iterating_over_a_number_is_an_execution_error() -> None:
    with pytest.raises(ExecutionError, match="not iterable"):
        list(node(5))


def test_items_keys_and_values_of_a_dict_are_linked() -> None:
    x = node({"a": 1, "b": 2})
    assert {key.data: value.data for key, value in x.items()} == {"a": 1, "b": 2}
    assert all(contain(value.parents, x) for _, value in x.items())
    assert x.keys().data == ["a", "b"]
    assert x.values().data == [1, 2]
    assert {key.data: value.data for key, value in dict(x).items()} == {"a": 1, "b": 2}
    with pytest.raises(AttributeError):
        node(5).items()


def test_methods_of_text_give_linked_nodes() -> None:
    x = node("Ab c")
    assert x.lower().data == "ab c"
    assert x.split().data == ["Ab", "c"]
    assert x.replace("b", node("B")).data == "AB c"
    assert node("{}-{k}").format(node(1), k=2).data == "1-2"
    assert node("+").join([node("a"), "b"]).data == "a+b"
    assert contain(x.upper().parents, x)


def test_attributes_and_calls_are_linked() -> None:
    class Thing:
        def __init__(self) -> None:
            self.size = 3

        def grow(self, by: object) -> object:
            return self.size + by  # type: ignore[operator]

    x, by = node(Thing()), node(4)
    assert contain(x.getattr("size").parents, x)
    assert x.size.data == 3
    result = x.call("grow", by)
    assert result.data == 7
    assert contain(result.parents, by)
    assert contain(result.parents[0].parents, x)
    assert x.grow(by) == 7
    with pytest.raises(AttributeError, match="has no attribute 'absent'"):
        _ = x.absent
    with pytest.raises(ExecutionError):
        x.getattr("absent")


def test_a_node_that_holds_a_function_can_be_called() -> None:
    x = node(2)
    result = node(lambda value: value + 1)(x)
    assert result.data == 3
    assert contain(result.parents, x)
    assert node(max)(node([3, 9, 4])).data == 9


def test_what_a_called_function_reads_besides_its_arguments_is_a_hidden_dependency() -> None:
    hidden = node(10, trainable=True)
    result = node(lambda value: value + hidden)(node(1))
    assert result.data == 11
    assert result.hidden_dependencies == {hidden}
    assert hidden in result.info["external_dependencies"]


def test_an_attribute_that_is_a_node_stays_linked() -> None:
    class Holder:
        inner = node(5, trainable=True)

    got = node(Holder()).getattr("inner")
    assert got.data == 5
    assert got.hidden_dependencies == {Holder.inner}


def test_arrays_are_first_class_in_either_order() -> None:
    x, plain = node(np.arange(3.0)), np.ones(3)
    for result in (x + plain, plain + x, plain * x, plain @ x, x @ plain, np.float64(2) * x, x / plain):
        assert isinstance(result, MessageNode)
        assert contain(result.parents, x)
    assert (plain - x == np.array([1.0, 0.0, -1.0])) is True
    difference: object = plain - x  # numpy's stubs promise an array
    assert isinstance(difference, Node)
    assert difference.name.startswith("subtract")


def test_ufuncs_and_array_functions_give_linked_nodes() -> None:
    x = node(np.arange(3.0))
    for result in (np.sin(x), np.add.reduce(x), np.clip(x, 0, 1), np.linalg.norm(x), np.concatenate([x, x])):
        assert isinstance(result, MessageNode)
    joined: object = np.concatenate([x, x])
    mean: object = np.mean(x)
    assert isinstance(joined, Node)
    assert isinstance(mean, Node)
    assert contain(joined.parents[0].parents, x)
    assert mean.data == 1.0
    assert x.shape == (3,)
    assert x.sum().data == 3.0
    assert contain(x.T.parents, x)
    np.testing.assert_array_equal(np.asarray(x), [0.0, 1.0, 2.0])


def test_clone_is_linked_and_copies_are_not() -> None:
    x = node([1, [2]], name="x", description="a list", constraint="short")
    clone = x.clone()
    assert clone == x
    assert contain(clone.parents, x)
    for made in (copy.deepcopy(x), copy.copy(x), x.detach(), pickle.loads(pickle.dumps(x))):
        assert made == x
        assert made is not x
        assert made.parents == []
        assert made.name != x.name
        assert (made.description, made.constraint) == (x.description, x.constraint)
    assert copy.deepcopy(x).data[1] is not x.data[1]
    result = copy.deepcopy(x + [3])
    assert isinstance(result, MessageNode)
    assert result.parents == []


def test_a_copied_parameter_stays_one() -> None:
    x = node(3.0, trainable=True, name="gain")
    for made in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), node(x, trainable=True)):
        assert isinstance(made, ParameterNode)
        assert made.trainable
        assert made.name.startswith("gain:")


def test_names_are_unique_even_where_they_would_read_the_same() -> None:
    nodes = [node(1, name=name) for name in ("x1", "x", "x_1", "x 1", "x", "1") for _ in range(12)]
    nodes += [sum(nodes[:2])]  # type: ignore[list-item]
    assert len({each.name for each in nodes}) == len(nodes)
    assert len({each.py_name for each in nodes}) == len(nodes)
    assert all(each.py_name.isidentifier() for each in nodes)


def test_a_name_does_not_change_and_comes_with_the_order_of_creation() -> None:
    first, second = node(1, name="gamma_ray"), node(1, name="gamma_ray")
    assert (first.name, second.name) == ("gamma_ray:0", "gamma_ray:1")
    assert first.name == "gamma_ray:0"
    assert first.py_name == "gamma_ray0"
    one, two = node(1) + 1, node(1) + 1
    assert int(two.name.split(":")[1]) == int(one.name.split(":")[1]) + 1
    GRAPH.clear()
    assert node(1, name="gamma_ray").name == "gamma_ray:0"


def test_a_node_of_a_node_is_itself_unless_it_is_to_be_trained() -> None:
    x = node([1], name="x")
    assert node(x) is x
    trained = node(x, trainable=True)
    assert trained is not x
    assert trained.data is x.data
    with pytest.warns(UserWarning, match="is ignored"):
        node(x, name="y")


def test_a_container_of_nodes_becomes_a_result_of_them() -> None:
    first, second = node(1), node("k")
    made = node({"a": [first, 2], second: (first,)})
    assert made == {"a": [1, 2], "k": (1,)}
    assert isinstance(made, MessageNode)
    assert (node([first, 5])[0] + 0).parents[0].parents[0].parents[0] is first


def test_descriptions_carry_a_title() -> None:
    assert node(1, description="x").description == "[Node] x"
    assert node(1, trainable=True, description="x").description == "[ParameterNode] x"
    assert node(1, description="[mine] x").description == "[mine] x"
    assert (node(1) + 1).description.startswith("[add]")
    with pytest.raises(TypeError, match="description must be a string"):
        node(1, description=5)  # type: ignore[call-overload]


def test_levels_count_the_longest_way_from_a_root() -> None:
    x = node(1)
    y = x + 1
    assert (x.level, y.level, (y * x).level) == (0, 1, 2)
    assert x.is_root
    assert not x.is_leaf
    assert (y * x).is_leaf


def test_children_are_those_that_are_still_referenced() -> None:
    x = node(1)
    kept = [x + 1 for _ in range(50)]
    for _ in range(100):
        x + 2
    assert len(x.children) == 50
    assert all(child in kept for child in x.children)
    assert x.children[0] is kept[0]


EXAMPLES: dict[str, tuple[tuple[object, ...], object]] = {
    "cond": ((True, 1, 2), 1),
    "getitem": (([5, 6], 1), 6),
    "list_append": (([1], 2), [1, 2]),
    "list_clear": (([1],), []),
    "list_extend": (([1], [2]), [1, 2]),
    "list_insert": (([1, 3], 1, 2), [1, 2, 3]),
    "list_pop": (([1, 2], 0), [2]),
    "list_remove": (([1, 2, 1], 1), [2, 1]),
    "list_reverse": (([1, 2],), [2, 1]),
    "list_sort": (([2, 1],), [1, 2]),
    "dict_update": (({"a": 1}, {"b": 2}), {"a": 1, "b": 2}),
    "dict_pop": (({"a": 1}, "a"), {}),
    "dict_popitem": (({"a": 1},), {}),
    "set_add": (({1}, 2), {1, 2}),
    "set_clear": (({1},), set()),
    "set_discard": (({1}, 1), set()),
    "set_intersection_update": (({1, 2}, {2}), {2}),
    "set_pop": (({1},), set()),
    "set_remove": (({1}, 1), set()),
    "set_symmetric_difference_update": (({1, 2}, {2, 3}), {1, 3}),
    "set_update": (({1}, {2}), {1, 2}),
    "make_list": ((1, 2), [1, 2]),
    "make_tuple": ((1, 2), (1, 2)),
    "make_set": ((1, 2), {1, 2}),
    "to_dict": (([("a", 1)],), {"a": 1}),
    "is_": ((None, None), True),
    "not_in": ((1, [2]), True),
    "in_": ((np.ones(2), [np.zeros(2), np.ones(2)]), True),
    "ord_": (("a",), 97),
    "chr_": ((97,), "a"),
    "abs": ((-2,), 2),
    "round": ((2.55, 1), round(2.55, 1)),
    "neq": ((1, 2), True),
    "identity": (("x",), "x"),
    "join": ((",", "a", "b"), "a,b"),
    "strip": ((" a ",), "a"),
}


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_a_named_operator_leaves_its_arguments_alone(name: str) -> None:
    args, expected = EXAMPLES[name]
    before = copy.deepcopy(args)
    nodes = [node(each) for each in args]
    result = getattr(operators, name)(*nodes)
    assert result == expected
    assert all(parent is each for parent, each in zip(result.parents, nodes, strict=False))
    assert equal(args, before)


def test_every_operator_of_the_table_is_there_with_its_description() -> None:
    for name, _, doc in TABLE:
        found = getattr(operators, name)
        assert found.description == f"[{name}] {doc}"
    with pytest.raises(AttributeError, match="no operator 'absent'"):
        _ = operators.absent


def test_call_llm_needs_a_model_and_then_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from trace_robot.trace import operator_table

    monkeypatch.setattr(operator_table, "ask_model", [])
    with pytest.raises(ExecutionError, match="needs a language model"):
        operators.call_llm("system", "question")
    seen: list[object] = []

    def ask(messages: list[dict[str, str]], **options: object) -> str:
        seen.append((messages, options))
        return "answer"

    operators.use_model(ask)
    prompt = node("system", trainable=True)
    result = operators.call_llm(prompt, node("question"), max_tokens=5)
    assert result.data == "answer"
    assert contain(result.parents, prompt)
    messages = [{"role": "system", "content": "system"}, {"role": "user", "content": "question"}]
    assert seen == [(messages, {"max_tokens": 5})]
