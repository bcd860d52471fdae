"""Handing feedback to the parameters: by whole Subgraphs (the default) or operation by operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trace_robot.trace.backward import Subgraph, backward, merge
from trace_robot.trace.errors import BackwardError
from trace_robot.trace.node import ancestors
from trace_robot.trace.node_types import MessageNode, Node, ParameterNode

__all__ = ["GraphPropagator", "Propagator", "Subgraph", "SumPropagator", "TraceGraph", "propagate"]

TraceGraph = Subgraph
Feedback = dict[Node, Any]


class Propagator:
    """Gives the feedback of a result to its parents.

    Subclasses define ``init_feedback(node, feedback)`` and ``_propagate(child) -> {parent: feedback}``;
    ``register`` puts a function of one's own in the place of ``_propagate`` for one operator.
    """

    def __init__(self) -> None:
        self.override: dict[str, Callable[[MessageNode], Feedback]] = {}

    def register(self, operator_name: str, propagate_function: Callable[[MessageNode], Feedback]) -> None:
        self.override[operator_name] = propagate_function

    def __call__(self, child: MessageNode) -> Feedback:
        """Return the feedback for every parent of ``child``."""
        given = self.propagate(child)
        missing = [parent.name for parent in child.parents if parent not in given]
        if missing:
            raise ValueError(f"{type(self).__name__} gives no feedback for {', '.join(missing)}")
        return given

    def propagate(self, child: MessageNode) -> Feedback:
        return self.override.get(child.operation.base, self._propagate)(child)

    def init_feedback(self, node: Node, feedback: Any) -> Any:
        """Return what is handed on for the user's ``feedback`` on ``node``."""
        raise NotImplementedError

    def _propagate(self, child: MessageNode) -> Feedback:
        raise NotImplementedError


class GraphPropagator(Propagator):
    """Hands on the Subgraph of the output."""

    def init_feedback(self, node: Node, feedback: Any) -> Subgraph:
        return backward(node, feedback)

    def _propagate(self, child: MessageNode) -> Feedback:
        return dict.fromkeys(child.parents, self.aggregate(child.feedback))

    def aggregate(self, feedback: Mapping[Any, list[Subgraph]]) -> Subgraph:
        """Return the union of what a node's children brought; empty if there was nothing."""
        return merge(each for brought in feedback.values() for each in brought)


class SumPropagator(Propagator):
    """Hands on the sum of numbers, or the texts one after the other."""

    def init_feedback(self, node: Node, feedback: Any) -> Any:
        return feedback

    def _propagate(self, child: MessageNode) -> Feedback:
        brought = [each for given in child.feedback.values() for each in given]
        total = "".join(brought) if isinstance(brought[0], str) else sum(brought[1:], brought[0])
        return dict.fromkeys(child.parents, total)


class _Spent(dict[Any, list[Any]]):
    """The feedback of an output that has been propagated."""


def propagate(output: Node, feedback: Any, propagator: Propagator | None, retain_graph: bool) -> None:
    """Store ``feedback`` in the parameters of ``output``; raises BackwardError if that was done before."""
    if isinstance(output._feedback, _Spent):
        raise BackwardError(f"{output.name} has been backwarded; use retain_graph=True to do it again")
    if propagator is None or (type(propagator) is GraphPropagator and not propagator.override):
        _hand_over(backward(output, feedback), output)
    else:
        _hand_down(output, feedback, propagator)
    if not retain_graph and isinstance(output, MessageNode):
        output._feedback = _Spent()


def _hand_over(subgraph: Subgraph, output: Node) -> None:
    for each in subgraph.operations:
        for parent in dict.fromkeys(each._parents):
            if isinstance(parent, ParameterNode):
                parent._add_feedback(each, subgraph)
    if not isinstance(output, MessageNode):
        output._add_feedback("user", subgraph)


def _hand_down(output: Node, feedback: Any, propagator: Propagator) -> None:
    output._add_feedback("user", propagator.init_feedback(output, feedback))
    for each in reversed(ancestors(output)):
        if isinstance(each, MessageNode) and each._feedback:
            given = propagator(each)
            each.zero_feedback()
            for parent in dict.fromkeys(each._parents):
                parent._add_feedback(each, given[parent])
