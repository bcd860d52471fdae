"""Feedback on outputs: which part of the graph an optimizer is shown."""

from typing import Any

import pytest

from trace_robot.trace import MessageNode, Node, Subgraph, backward, bundle, merge, node, stop_tracing
from trace_robot.trace.errors import BackwardError
from trace_robot.trace.propagators import GraphPropagator, Propagator, SumPropagator, sum_feedback


@bundle()
def doubled(x: Any) -> Any:
    """Twice x."""
    return 2 * x


def test_a_subgraph_holds_what_lies_between_parameters_and_output() -> None:
    gain, seen, constant = node(2.0, trainable=True), node(3.0), node(4.0)
    prepared = seen + constant
    used = doubled(gain)
    output = used * prepared
    aside = gain + 1
    subgraph = backward(output, "larger")
    assert subgraph.parameters == (gain,)
    assert [id(each) for each in subgraph.operations] == [id(used), id(output)]
    assert [id(each) for each in subgraph.inputs] == [id(prepared)]
    assert aside not in [each for _, each in subgraph.graph if each is aside]
    assert subgraph.feedback == subgraph.user_feedback == "larger"


def test_backward_stores_nothing_in_the_nodes() -> None:
    gain = node(2.0, trainable=True)
    output = gain * 2
    backward(output, "a")
    assert gain.feedback == {}
    assert backward(output, "b").feedback == "b"


def test_a_summary_reads_as_code_with_values() -> None:
    gain = node(2.0, name="rate", trainable=True, constraint="positive")
    with_one = gain + node(1, name="one")
    output = doubled(with_one)
    summary = backward(output, "good").summary()
    rate, one, added, out = gain.py_name, with_one.parents[1].py_name, with_one.py_name, output.py_name
    assert summary.code == (f"{added} = add(x={rate}, y={one})", f"{out} = doubled(x={added})")
    assert summary.documentation == {"add": "[add] x + y", "doubled": "[doubled] Twice x."}
    assert summary.variables == {rate: (2.0, "positive")}
    assert summary.inputs == {one: (1, None)}
    assert summary.others == {added: (3.0, None)}
    assert summary.outputs == {out: (6.0, None)}
    assert summary.feedback == "good"


def test_a_node_used_twice_by_one_operator_is_listed_once() -> None:
    x = node(3, trainable=True)
    output = x * x
    subgraph = backward(output, "")
    assert subgraph.parameters == (x,)
    assert len(subgraph) == 2
    assert subgraph.summary().code[0].endswith(f"multiply(x={x.py_name}, y={x.py_name})")
    output.backward("once")
    assert list(x.feedback) == [output]
    assert len(x.feedback[output]) == 1


def test_parameters_that_are_not_connected_are_not_listed() -> None:
    used, unused = node(1, trainable=True), node(2, trainable=True)
    frozen = node(3, trainable=True)
    frozen.trainable = False
    output = used + frozen
    output.backward("f")
    assert sum_feedback([used, unused]).parameters == (used,)
    assert unused.feedback == {}
    assert frozen in backward(output).inputs
    assert not sum_feedback([unused])


def test_an_output_without_parameters_comes_with_its_own_operation() -> None:
    x = node(1)
    output = (x + 1) * 2
    subgraph = backward(output, "f")
    assert subgraph.parameters == ()
    assert [id(each) for each in subgraph.operations] == [id(output)]
    assert backward(x, "f").inputs == (x,)
    with stop_tracing():
        lonely = x + 1
    assert len(backward(lonely, "f").operations) == 1


def test_feedback_can_be_given_to_a_parameter_itself() -> None:
    x = node(1, trainable=True)
    x.backward("direct")
    x.backward("again")
    subgraph = sum_feedback([x])
    assert subgraph.parameters == (x,)
    assert subgraph.feedback == f"{x.py_name}: direct\n{x.py_name}: again"
    assert subgraph.summary().outputs == {x.py_name: (1, None)}


def test_outputs_may_share_nodes_and_have_different_feedback() -> None:
    x, y = node(1, trainable=True), node(2, trainable=True)
    shared = x + y
    first, second = shared * 2, shared * 3
    first.backward("up")
    second.backward("down")
    total = sum_feedback([x, y])
    assert total.parameters == (x, y)
    assert [id(each) for each in total.operations] == [id(shared), id(first), id(second)]
    assert total.feedback == f"{first.py_name}: up\n{second.py_name}: down"
    assert set(total.summary().outputs) == {first.py_name, second.py_name}
    assert (backward(first, "up") + backward(second, "down")).feedback == total.feedback


def test_outputs_with_one_feedback_show_it_once() -> None:
    x = node(1, trainable=True)
    total = merge([backward(x + 1, "same"), backward(x + 2, "same")])
    assert total.feedback == "same"
    assert len(total.outputs) == 2


def test_an_output_that_is_an_intermediate_of_another_is_an_output_still() -> None:
    x = node(1, trainable=True)
    middle = x + 1
    last = middle * 2
    total = merge([backward(last, "l"), backward(middle, "m")])
    assert set(total.summary().outputs) == {middle.py_name, last.py_name}
    assert total.summary().others == {}


def test_a_second_backward_needs_retain_graph() -> None:
    x = node(1, trainable=True)
    output = x + 1
    output.backward("a", retain_graph=True)
    output.backward("b")
    assert sum_feedback([x]).feedback == f"{output.py_name}: a\n{output.py_name}: b"
    with pytest.raises(BackwardError, match=rf"{output.name} has been backwarded; use retain_graph=True"):
        output.backward("c")
    with pytest.raises(AttributeError):
        output.backward("c")
    (output * 2).backward("d")
    x.zero_feedback()
    assert x.feedback == {}


def test_feedback_is_kept_in_parameters_only_so_that_graphs_are_freed() -> None:
    x, constant = node(1, trainable=True), node(2)
    output = x + constant
    output.backward("f")
    assert x.feedback[output][0].feedback == "f"
    assert constant.feedback == {}


def test_adding_subgraphs_is_what_sum_does() -> None:
    x = node(1, trainable=True)
    subgraph = backward(x + 1, "f")
    assert sum([subgraph]) is subgraph
    assert (subgraph + Subgraph()) is subgraph
    assert (Subgraph() + Subgraph()).empty()
    assert GraphPropagator().aggregate({}).empty()


def test_the_graph_is_sorted_by_level_with_the_output_last() -> None:
    x = node(1, trainable=True)
    output = (x + 1) * (x + 2)
    levels = [level for level, _ in backward(output).graph]
    assert levels == sorted(levels)
    assert backward(output).graph[-1] == (2, output)


def test_several_thousand_steps_do_not_need_a_deep_stack() -> None:
    x = node(0.0, trainable=True)
    y: Node = x
    for _ in range(20_000):
        y = y + x
    assert len(backward(y).operations) == 20_000
    assert y.level == 20_000


class Gradient(Propagator):
    def init_feedback(self, node: Node, feedback: Any) -> Any:
        return feedback

    def _propagate(self, child: MessageNode) -> dict[Node, Any]:
        total = sum(sum(given) for given in child.feedback.values())
        first, second = child.parents
        return {first: total * second.data, second: total * first.data}


def test_a_propagator_of_ones_own_sees_every_operation_once_outputs_first() -> None:
    x, y = node(3.0, trainable=True), node(4.0, trainable=True)
    product = x * y
    output = product * y
    output.backward(1.0, propagator=Gradient())
    assert sum(sum(given) for given in x.feedback.values()) == 16.0
    assert sum(sum(given) for given in y.feedback.values()) == 2 * 3.0 * 4.0
    assert product.feedback == {}


def test_one_operator_can_have_another_rule() -> None:
    x, y = node(3.0, trainable=True), node(4.0, trainable=True)
    propagator = Gradient()
    propagator.register("add", lambda child: dict.fromkeys(child.parents, 7.0))
    (x + y).backward(1.0, propagator=propagator)
    assert list(x.feedback.values()) == [[7.0]]
    propagator.register("add", lambda child: {child.parents[0]: 1.0})
    with pytest.raises(ValueError, match="Gradient gives no feedback for"):
        (x + y).backward(1.0, propagator=propagator)


@pytest.mark.parametrize(("feedback", "expected"), [(1.0, 3.0), ("ab", "ababab")])
def test_sums_of_feedback_count_every_way(feedback: Any, expected: Any) -> None:
    x = node(1, trainable=True)
    left, right = x + 1, x + 2
    output = left * right + left
    output.backward(feedback, propagator=SumPropagator())
    (given, more) = (value[0] for value in x.feedback.values())
    assert given + more == expected


def test_backward_takes_nodes_only() -> None:
    with pytest.raises(TypeError, match="backward takes a node, got 5"):
        backward(5)  # type: ignore[arg-type]
