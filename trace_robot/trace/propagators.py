"""``node.backward(feedback)``: storing feedback in the parameters.

Feedback is handed on as whole Subgraphs (the default, the paper's Minimal Trace Propagator) or, with a
Propagator of the user's, operation by operation: backward message passing, as of gradients in autodiff. The
method is attached to Node here, since it needs everything that is built on nodes.

At the end are GRAPH and three helpers that users of the published package import. There GRAPH is a global registry that
holds every node. Here no registry exists; what is left is to restart the names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from trace_robot.trace.backward import Subgraph, backward, merge
from trace_robot.trace.errors import BackwardError
from trace_robot.trace.node import ancestors
from trace_robot.trace.node_types import MessageNode, Node, ParameterNode
from trace_robot.trace.operation import restart
from trace_robot.trace.state import is_tracing
from trace_robot.trace.visualize import Drawing, draw

__all__ = ["GraphPropagator", "Propagator", "Subgraph", "SumPropagator", "TraceGraph", "node_backward"]

TraceGraph = Subgraph  # the published name
Feedback = dict[Node, Any]


class Propagator:
    """The rule by which a result's feedback becomes its parents' feedback.

    Subclasses define ``init_feedback(node, feedback)`` and ``_propagate(child) -> {parent: feedback}``;
    ``register`` replaces ``_propagate`` for one operator.
    """

    def __init__(self) -> None:
        self.override: dict[str, Callable[[MessageNode], Feedback]] = {}

    def register(self, operator_name: str, propagate_function: Callable[[MessageNode], Feedback]) -> None:
        """Use another rule for the results of one operator.

        Args:
            operator_name: base of the operator's name, such as "add".
            propagate_function: child -> {parent: feedback}, for every parent.
        """
        self.override[operator_name] = propagate_function

    def __call__(self, child: MessageNode) -> Feedback:
        """Return the feedback for every parent of ``child``."""
        feedback = self.propagate(child)
        missing = [parent.name for parent in child.parents if parent not in feedback]
        if missing:
            raise ValueError(f"{type(self).__name__} gives no feedback for {', '.join(missing)}")
        return feedback

    def propagate(self, child: MessageNode) -> Feedback:
        """Return what the rule for the operator of ``child`` gives."""
        return self.override.get(child.operation.base, self._propagate)(child)

    def init_feedback(self, node: Node, feedback: Any) -> Any:
        """Return what is handed on in the place of the user's feedback.

        Args:
            node: the output.
            feedback: as the user gave it.
        """
        raise NotImplementedError

    def _propagate(self, child: MessageNode) -> Feedback:
        raise NotImplementedError


class GraphPropagator(Propagator):
    """Hands on the Subgraph of the output (Minimal Trace Propagator)."""

    def init_feedback(self, node: Node, feedback: Any) -> Subgraph:
        """Return the Subgraph of ``node``.

        Args:
            node: the output.
            feedback: as the user gave it.
        """
        return backward(node, feedback)

    def _propagate(self, child: MessageNode) -> Feedback:
        return dict.fromkeys(child.parents, self.aggregate(child.feedback))

    def aggregate(self, feedback: Mapping[Any, list[Subgraph]]) -> Subgraph:
        """Return the union of the Subgraphs of a node's children, empty if there are none."""
        return merge(subgraph for subgraphs in feedback.values() for subgraph in subgraphs)


class SumPropagator(Propagator):
    """Hands on the sum of numbers, or the texts one after the other."""

    def init_feedback(self, node: Node, feedback: Any) -> Any:
        """Return the feedback itself.

        Args:
            node: the output.
            feedback: a number or text.
        """
        return feedback

    def _propagate(self, child: MessageNode) -> Feedback:
        terms = [feedback for entries in child.feedback.values() for feedback in entries]
        total = "".join(terms) if isinstance(terms[0], str) else sum(terms[1:], terms[0])
        return dict.fromkeys(child.parents, total)


class _Propagated(dict[Any, list[Any]]):
    """In the place of an output's feedback: it was propagated, and is not kept."""


def node_backward(
    self: Node,
    feedback: Any = "",
    propagator: Propagator | None = None,
    retain_graph: bool = False,
    visualize: bool = False,
    simple_visualization: bool = True,
    reverse_plot: bool = False,
    print_limit: int = 100,
) -> Drawing | None:
    """Store ``feedback`` in the parameters that this node depends on.

    This function is ``Node.backward``. Outputs that share nodes may each have their own feedback.

    Args:
        feedback: text or any value that the propagator understands.
        propagator: how feedback is handed on; by default as the Subgraph of this node.
        retain_graph: whether this node may be given feedback once more.
        visualize: whether a drawing of the graph is returned.
        simple_visualization: whether the drawing leaves clones out.
        reverse_plot: whether the drawing has the output at the top.
        print_limit: characters of a value or description that are drawn.

    Returns:
        A Drawing if ``visualize``, else None.

    Raises:
        BackwardError: this node was given feedback before, without ``retain_graph``.
    """
    _propagate_from(self, feedback, propagator, retain_graph)
    if not visualize:
        return None
    return draw(self, skip_clones=simple_visualization, upwards=reverse_plot, max_chars=print_limit)


Node.backward = node_backward  # type: ignore[assignment, method-assign]


def _propagate_from(output: Node, feedback: Any, propagator: Propagator | None, retain_graph: bool) -> None:
    if isinstance(output._feedback, _Propagated):
        raise BackwardError(f"{output.name} has been backwarded; use retain_graph=True to do it again")
    # Without rules of the user's every parameter ends up with the Subgraph of the output. So it is made once
    # and handed over; message passing would merge as many Subgraphs as there are edges, as the published
    # package does.
    if propagator is None or (type(propagator) is GraphPropagator and not propagator.override):
        _store_subgraph(backward(output, feedback), output)
    else:
        _pass_messages(output, feedback, propagator)
    if not retain_graph and isinstance(output, MessageNode):
        output._feedback = _Propagated()


def _store_subgraph(subgraph: Subgraph, output: Node) -> None:
    for operation in subgraph.operations:
        for parent in dict.fromkeys(operation._parents):  # once, if it is both operands
            if isinstance(parent, ParameterNode):
                parent._add_feedback(operation, subgraph)
    if not isinstance(output, MessageNode):
        output._add_feedback("user", subgraph)


def _pass_messages(output: Node, feedback: Any, propagator: Propagator) -> None:
    """Run backward message passing: every node after all of its children."""
    output._add_feedback("user", propagator.init_feedback(output, feedback))
    for node in reversed(ancestors(output)):
        if isinstance(node, MessageNode) and node._feedback:
            messages = propagator(node)
            node.zero_feedback()  # results keep none, or parameters would keep the graph of every episode
            for parent in dict.fromkeys(node._parents):
                parent._add_feedback(node, messages[parent])


class Graph:
    """The published GRAPH. A graph lives as long as its output is referenced."""

    @property
    def TRACE(self) -> bool:  # noqa: N802 - the published name
        return is_tracing()

    def clear(self) -> None:
        """Let the numbers in names begin at 0 again."""
        restart()


GRAPH = Graph()


def contain(container: Iterable[Any], node: Any) -> bool:
    """Return whether a node is in a container, by identity.

    Args:
        container: nodes or other objects.
        node: an equal one is not enough; ``in`` would compare values.
    """
    return any(item is node for item in container)


def sum_feedback(nodes: Iterable[Node]) -> Subgraph:
    """Return the union of the Subgraphs that ``backward`` brought to ``nodes``."""
    return merge(subgraph for node in nodes for subgraphs in node.feedback.values() for subgraph in subgraphs)


def for_all_methods(decorator: Callable[[Any], Any]) -> Callable[[type], type]:
    """Return a class decorator that decorates every method but the special ones."""

    def decorate(cls: type) -> type:
        for name, value in list(vars(cls).items()):
            if callable(value) and not name.startswith("__"):
                setattr(cls, name, decorator(value))
        return cls

    return decorate
