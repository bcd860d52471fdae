"""``backward(output, feedback) -> Subgraph``: the part of the graph that an optimizer is shown.

A Subgraph is the Minimal Trace Propagator of one or more outputs: the operations on a way from a parameter to an
output, in order of execution, and what else went into them. It stores nothing in the nodes. What it offers:

    subgraph.outputs      ((node, feedback), ...)
    subgraph.parameters   the trainable ParameterNodes that are connected
    subgraph.operations   MessageNodes between parameters and outputs, parents first
    subgraph.inputs       the other parents of the operations
    subgraph.feedback     all feedback as text
    subgraph.summary()    -> Summary: code lines, documentation, variables, inputs, others, outputs, feedback
    subgraph.to_records() plain data, see ``trace_robot.trace.serialization``
    first + second, merge([...])   the union, each output with its own feedback
    subgraph.visualize()  -> Drawing
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trace_robot.trace.node_types import MessageNode, Node, ParameterNode

if TYPE_CHECKING:
    from trace_robot.trace.serialization import Record
    from trace_robot.trace.visualize import Drawing
from trace_robot.trace.node import _by_order, ancestors

Named = dict[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Summary:
    """A Subgraph as an optimizer reads it; every value comes as (value, constraint or None) by name.

    code: ``name = operator(argument=name, ...)``, in order of execution.
    documentation: operator -> what it does. variables: the trainable parameters.
    inputs: what else the code uses. others: results on the way. outputs: what got feedback.
    """

    code: tuple[str, ...]
    documentation: dict[str, str]
    variables: Named
    inputs: Named
    others: Named
    outputs: Named
    feedback: str


@dataclass(frozen=True, slots=True, eq=False)
class Subgraph:
    """See the module; empty if no output was given."""

    outputs: tuple[tuple[Node, Any], ...] = ()
    parameters: tuple[ParameterNode, ...] = ()
    operations: tuple[MessageNode, ...] = ()
    inputs: tuple[Node, ...] = ()

    @property
    def feedback(self) -> str:
        """The feedback as text; where several outputs have different ones, each with its output's name."""
        if len({str(feedback) for _, feedback in self.outputs}) <= 1:
            return "".join(str(feedback) for _, feedback in self.outputs[:1])
        return "\n".join(f"{node.py_name}: {feedback}" for node, feedback in self.outputs)

    @property
    def user_feedback(self) -> Any:
        """The feedback as it was given, or the text of several."""
        return self.outputs[0][1] if len(self.outputs) == 1 else self.feedback

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Parameters, inputs and operations, parents first."""
        return tuple(sorted((*self.parameters, *self.inputs, *self.operations), key=_by_order))

    @property
    def graph(self) -> list[tuple[int, Node]]:
        """(level, node) of every node, parents first."""
        levels: dict[int, int] = {}
        for each in self.nodes:
            known = [levels[id(parent)] for parent in each.parents if id(parent) in levels]
            levels[id(each)] = max(known, default=-1) + 1
        return sorted(((levels[id(each)], each) for each in self.nodes), key=lambda pair: pair[0])

    def __len__(self) -> int:
        return len(self.parameters) + len(self.inputs) + len(self.operations)

    def __iter__(self) -> Iterator[tuple[int, Node]]:
        return iter(self.graph)

    def __bool__(self) -> bool:
        return bool(self.outputs)

    def empty(self) -> bool:
        return not self.outputs

    def __add__(self, other: Subgraph) -> Subgraph:
        return merge([self, other])

    def __radd__(self, other: Any) -> Subgraph:
        return self if other == 0 else merge([other, self])

    def summary(self) -> Summary:
        """Return what an optimizer is told; linear in nodes and edges."""
        names = {id(each): each.py_name for each in (*self.parameters, *self.inputs)}
        given = {id(node) for node, _ in self.outputs}
        code: list[str] = []
        documentation: dict[str, str] = {}
        others: Named = {}
        outputs: Named = {}
        for each in self.operations:
            op, number, keys, parents = each._op, each._name, each._keys, each._parents
            is_plain = type(number) is int  # else the node has a name of its own
            name = names[id(each)] = f"{op.names.identifier}{number}" if is_plain else each.py_name
            arguments = [f"{key}={names[id(parent)]}" for key, parent in zip(keys, parents, strict=False)]
            if len(parents) > len(keys):
                hidden = [names[id(parent)] for parent in parents[len(keys) :]]
                arguments += [f"{each}={each}" for each in hidden]
            code.append(f"{name} = {op.called}({', '.join(arguments)})")
            if op.called not in documentation:
                documentation[op.called] = each.description
            shown = outputs if id(each) in given else others
            shown[name] = (each._data, None if each._about is None else each.constraint)
        lone = [each for each in (*self.parameters, *self.inputs) if id(each) in given]
        outputs.update((names[id(each)], (each._data, each.constraint)) for each in lone)
        variables = {names[id(each)]: (each._data, each.constraint) for each in self.parameters}
        inputs = {names[id(each)]: (each._data, each.constraint) for each in self.inputs}
        return Summary(tuple(code), documentation, variables, inputs, others, outputs, self.feedback)

    @staticmethod
    def expand(node: MessageNode) -> Subgraph:
        """Return the whole graph within the result of traceable code; empty for any other result."""
        inner = node.info["output"]
        if not isinstance(inner, Node):
            return Subgraph()
        nodes = ancestors(inner)
        parameters = tuple(each for each in nodes if isinstance(each, ParameterNode) and each.trainable)
        operations = tuple(each for each in nodes if isinstance(each, MessageNode))
        known = {id(each) for each in (*parameters, *operations)}
        inputs = tuple(each for each in nodes if id(each) not in known)
        return Subgraph(((inner, ""),), parameters, operations, inputs)

    def to_records(self, *, max_nodes: int = 10_000, max_chars: int = 200) -> tuple[Record, ...]:
        """Return the Subgraph as plain data."""
        from trace_robot.trace.serialization import to_records

        return to_records([node for node, _ in self.outputs], max_nodes=max_nodes, max_chars=max_chars)

    def visualize(
        self, simple_visualization: bool = True, reverse_plot: bool = False, print_limit: int = 100
    ) -> Drawing:
        """Return a drawing of the nodes in here."""
        from trace_robot.trace.visualize import draw_nodes

        return draw_nodes(
            self.nodes, skip_clones=simple_visualization, upwards=reverse_plot, max_chars=print_limit
        )


def backward(output: Node, feedback: Any = "") -> Subgraph:
    """Return the part of the graph between the trainable parameters and ``output``.

    An output that no parameter leads to comes with its own operation and inputs and no parameters.
    """
    if not isinstance(output, Node):
        raise TypeError(f"backward takes a node, got {output!r}")
    given = ((output, feedback),)
    connected: set[int] = set()
    parameters: list[ParameterNode] = []
    operations: list[MessageNode] = []
    outside: dict[int, Node] = {}
    for each in ancestors(output):
        if isinstance(each, MessageNode):
            others = [parent for parent in each._parents if id(parent) not in connected]
            if each is output or len(others) < len(each._parents):
                connected.add(id(each))
                operations.append(each)
                for parent in others:
                    outside[id(parent)] = parent
        elif isinstance(each, ParameterNode) and each.trainable:
            connected.add(id(each))
            parameters.append(each)
    if not isinstance(output, MessageNode) and id(output) not in connected:
        outside[id(output)] = output
    inputs = tuple(sorted(outside.values(), key=_by_order))
    return Subgraph(given, tuple(parameters), tuple(operations), inputs)


def merge(subgraphs: Iterable[Subgraph]) -> Subgraph:
    """Return the union; an output that is given twice with equal feedback counts once."""
    distinct = {id(each): each for each in subgraphs if each}
    if len(distinct) <= 1:
        return next(iter(distinct.values()), Subgraph())
    outputs: dict[tuple[int, str], tuple[Node, Any]] = {}
    parameters: dict[int, ParameterNode] = {}
    operations: dict[int, MessageNode] = {}
    inputs: dict[int, Node] = {}
    for each in distinct.values():
        for node, feedback in each.outputs:
            outputs.setdefault((id(node), str(feedback)), (node, feedback))
        parameters.update((id(node), node) for node in each.parameters)
        operations.update((id(node), node) for node in each.operations)
        inputs.update((id(node), node) for node in each.inputs)
    return Subgraph(
        tuple(outputs.values()),
        tuple(sorted(parameters.values(), key=_by_order)),
        tuple(sorted(operations.values(), key=_by_order)),
        tuple(sorted((node for key, node in inputs.items() if key not in operations), key=_by_order)),
    )
