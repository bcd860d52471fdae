"""The tracing engine of Trace (arXiv:2406.16218).

``node(value)`` makes a value traced, ``@bundle()`` a function; ``backward(output, feedback)`` returns the
part of the graph between the parameters and an output, for an optimizer.

To read the engine, begin with node.py (a value and its record), node_types.py (the kinds of nodes) and
operators.py (how a function of values becomes an operation of nodes); then bundle.py and call.py (a user's
function as one operation), and backward.py (what an optimizer gets). state.py says whether and what is
traced. The others stand around these: names, source code as a parameter, containers, conversion of values,
records, drawings.
"""

# These two also attach their methods to Node. An import of any module here runs this one first, so a Node is
# complete.
from trace_robot.trace import operators, propagators
from trace_robot.trace.backward import Subgraph, Summary, backward, merge
from trace_robot.trace.bundle import Bundle, bundle
from trace_robot.trace.constraints import Bounds, Choices, Constraint, convert, fixed
from trace_robot.trace.errors import BackwardError, ExecutionError, RecordError, TraceMissingInputsError
from trace_robot.trace.module import (
    Map,
    Module,
    NodeContainer,
    ParameterContainer,
    Seq,
    apply_op,
    model,
    to_data,
)
from trace_robot.trace.node_types import ExceptionNode, MessageNode, Node, ParameterNode
from trace_robot.trace.propagators import GRAPH
from trace_robot.trace.serialization import Record, from_records, to_records
from trace_robot.trace.state import is_tracing, stop_tracing
from trace_robot.trace.wrapping import node

__all__ = [
    "GRAPH",
    "BackwardError",
    "Bounds",
    "Bundle",
    "Choices",
    "Constraint",
    "ExceptionNode",
    "ExecutionError",
    "Map",
    "MessageNode",
    "Module",
    "Node",
    "NodeContainer",
    "ParameterContainer",
    "ParameterNode",
    "Record",
    "RecordError",
    "Seq",
    "Subgraph",
    "Summary",
    "TraceMissingInputsError",
    "apply_op",
    "backward",
    "bundle",
    "convert",
    "fixed",
    "from_records",
    "is_tracing",
    "merge",
    "model",
    "node",
    "operators",
    "propagators",
    "stop_tracing",
    "to_data",
    "to_records",
]
