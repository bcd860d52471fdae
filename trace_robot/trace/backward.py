"""``backward(output, feedback)``: the part of the graph for an optimizer.

Back-propagation in autodiff passes gradients; Trace (arXiv:2406.16218) passes graphs. A Subgraph is what the
paper's Minimal
Trace Propagator gives: the operations on a path from a parameter to an output, in order of execution, and
what else went into them, together the (feedback, graph) answer of the trace oracle. It is computed by one
pass over the ancestors instead of message by message, and stores nothing in the nodes. What it offers:

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
from operator import attrgetter
from typing import Any

from trace_robot.trace.node import ancestors
from trace_robot.trace.node_types import MessageNode, Node, ParameterNode
from trace_robot.trace.serialization import Record, to_records
from trace_robot.trace.visualize import Drawing, draw_nodes

Named = dict[str, tuple[Any, Any]]

_by_order = attrgetter("_order")  # ticks of creation: sorting by them is a topological sort


@dataclass(frozen=True, slots=True)
class Summary:
    """A Subgraph as an optimizer reads it.

    Every value comes as (value, constraint or None).

    code: ``name = operator(argument=name, ...)``, in order of execution.
    documentation: operator -> what it does. variables: the trainable parameters by name.
    inputs: what else the code uses. others: intermediate results. outputs: what got feedback.
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
    """The operations between parameters and outputs, as the module describes.

    outputs: (node, feedback) pairs; an empty Subgraph has none.
    parameters, operations, inputs: each sorted parents first.
    """

    outputs: tuple[tuple[Node, Any], ...] = ()
    parameters: tuple[ParameterNode, ...] = ()
    operations: tuple[MessageNode, ...] = ()
    inputs: tuple[Node, ...] = ()

    @property
    def feedback(self) -> str:
        """The feedback as text.

        Where several outputs have different ones, each stands on a line behind its output's name.
        """
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
        """(``node.level``, node) of every node, parents first."""
        levels: dict[int, int] = {}
        for node in ancestors(*self.nodes):
            levels[id(node)] = max((levels[id(parent)] for parent in node.parents), default=-1) + 1
        return sorted(((levels[id(node)], node) for node in self.nodes), key=lambda pair: pair[0])

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
        return self if other == 0 else merge([other, self])  # ``sum`` starts with 0

    def summary(self) -> Summary:
        """Return the Subgraph as code and values, for a prompt. Linear in nodes and edges."""
        names = {id(node): node.py_name for node in (*self.parameters, *self.inputs)}
        output_ids = {id(node) for node, _ in self.outputs}
        code: list[str] = []
        documentation: dict[str, str] = {}
        others: Named = {}
        outputs: Named = {}
        for node in self.operations:
            # The slots directly, and ``py_name`` put together here: this loop runs for every step of an
            # episode, and properties would be most of its time.
            op, number, keys, parents = node._op, node._name, node._keys, node._parents
            is_numbered = type(number) is int  # else the node was named by its maker
            name = names[id(node)] = f"{op.names.identifier}{number}" if is_numbered else node.py_name
            arguments = [f"{key}={names[id(parent)]}" for key, parent in zip(keys, parents, strict=False)]
            if len(parents) > len(keys):
                hidden = [names[id(parent)] for parent in parents[len(keys) :]]
                arguments += [f"{dependency}={dependency}" for dependency in hidden]
            code.append(f"{name} = {op.called}({', '.join(arguments)})")
            if op.called not in documentation:
                documentation[op.called] = node.description
            shown = outputs if id(node) in output_ids else others
            shown[name] = (node._data, None if node._about is None else node.constraint)
        roots = [node for node in (*self.parameters, *self.inputs) if id(node) in output_ids]
        outputs.update((names[id(node)], (node._data, node.constraint)) for node in roots)
        variables = {names[id(node)]: (node._data, node.constraint) for node in self.parameters}
        inputs = {names[id(node)]: (node._data, node.constraint) for node in self.inputs}
        return Summary(tuple(code), documentation, variables, inputs, others, outputs, self.feedback)

    @staticmethod
    def expand(node: MessageNode) -> Subgraph:
        """Return the whole graph within the result of a bundle with ``traceable_code``.

        It is empty for any other result.
        """
        inner = node.info["output"]
        if not isinstance(inner, Node):
            return Subgraph()
        nodes = ancestors(inner)
        parameters = tuple(node for node in nodes if isinstance(node, ParameterNode) and node.trainable)
        operations = tuple(node for node in nodes if isinstance(node, MessageNode))
        known = {id(node) for node in (*parameters, *operations)}
        inputs = tuple(node for node in nodes if id(node) not in known)
        return Subgraph(((inner, ""),), parameters, operations, inputs)

    def to_records(self, *, max_nodes: int = 10_000, max_chars: int = 200) -> tuple[Record, ...]:
        """Return all ancestors of the outputs as plain data (serialization.py).

        Args:
            max_nodes: how many nodes are kept, the newest.
            max_chars: how long a value's text may be.
        """
        return to_records([node for node, _ in self.outputs], max_nodes=max_nodes, max_chars=max_chars)

    def visualize(
        self, simple_visualization: bool = True, reverse_plot: bool = False, print_limit: int = 100
    ) -> Drawing:
        """Return a drawing of the nodes.

        Args:
            simple_visualization: whether clones are left out.
            reverse_plot: whether outputs are at the top.
            print_limit: characters of a value or description that are shown.
        """
        return draw_nodes(
            self.nodes, skip_clones=simple_visualization, upwards=reverse_plot, max_chars=print_limit
        )


def backward(output: Node, feedback: Any = "") -> Subgraph:
    """Return the part of the graph between the trainable parameters and ``output``.

    An output that no parameter leads to comes with its own operation and inputs and no parameters. Nothing is
    stored: the same output may be asked about again, with other feedback.

    Args:
        output: any node; that of an error too, ``error.exception_node``.
        feedback: text or any value, handed on to the optimizer.

    Returns:
        The minimal subgraph of Trace (arXiv:2406.16218). Time and memory are linear in the ancestors of
        ``output``, apart from a sort.

    Raises:
        TypeError: ``output`` is not a node.
    """
    if not isinstance(output, Node):
        raise TypeError(f"backward takes a node, got {output!r}")
    # By identity throughout: ``==`` of nodes compares values, and would take two nodes that hold 1.0 for one.
    connected: set[int] = set()
    parameters: list[ParameterNode] = []
    operations: list[MessageNode] = []
    outside: dict[int, Node] = {}
    # Parents come first, so one pass forward settles whether a parameter leads to a node: one of its parents
    # is connected.
    for node in ancestors(output):
        if isinstance(node, MessageNode):
            others = [parent for parent in node._parents if id(parent) not in connected]
            if node is output or len(others) < len(node._parents):
                connected.add(id(node))
                operations.append(node)
                for parent in others:
                    outside[id(parent)] = parent
        elif isinstance(node, ParameterNode) and node.trainable:
            connected.add(id(node))
            parameters.append(node)
    if not isinstance(output, MessageNode) and id(output) not in connected:
        outside[id(output)] = output
    inputs = tuple(sorted(outside.values(), key=_by_order))
    return Subgraph(((output, feedback),), tuple(parameters), tuple(operations), inputs)


def merge(subgraphs: Iterable[Subgraph]) -> Subgraph:
    """Return the union of Subgraphs. An output with equal feedback twice counts once."""
    distinct = {id(subgraph): subgraph for subgraph in subgraphs if subgraph}
    if len(distinct) <= 1:
        return next(iter(distinct.values()), Subgraph())
    outputs: dict[tuple[int, str], tuple[Node, Any]] = {}
    parameters: dict[int, ParameterNode] = {}
    operations: dict[int, MessageNode] = {}
    inputs: dict[int, Node] = {}
    for subgraph in distinct.values():
        for node, feedback in subgraph.outputs:
            outputs.setdefault((id(node), str(feedback)), (node, feedback))
        parameters.update((id(node), node) for node in subgraph.parameters)
        operations.update((id(node), node) for node in subgraph.operations)
        inputs.update((id(node), node) for node in subgraph.inputs)
    return Subgraph(
        tuple(outputs.values()),
        tuple(sorted(parameters.values(), key=_by_order)),
        tuple(sorted(operations.values(), key=_by_order)),
        # what is outside for one output may be an operation on the way to another
        tuple(sorted((node for key, node in inputs.items() if key not in operations), key=_by_order)),
    )
