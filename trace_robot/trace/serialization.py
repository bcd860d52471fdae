"""A graph as plain data, values as JSON, and values as short text.

    to_records(outputs) -> records       a graph that any process can hold, children after their parents
    from_records(records) -> nodes       and back
    encode(value) / decode(stored)       values of parameters as JSON, for ``Module.save``
    shorten(value) -> text               what records, prompts and errors show of a value

    Record = {"id": int, "name": str, "kind": str, "op": str, "doc": str, "inputs": {argument: id},
              "value": str, "step": int | None}

kind: "parameter" (name: ``ParameterNode.key``), "constant", "input", "operation" or "exception".
value: the value in short, for code its text. step: the index of the first output that the node leads to.

Records cross a trust boundary: those of a sandboxed controller were written by its process. So they are plain
data and not pickles, and ``from_records`` checks every field. The fields are stored with runs and read in
prompts.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trace_robot.trace.errors import RecordError
from trace_robot.trace.node import ancestors
from trace_robot.trace.node_types import ExceptionNode, MessageNode, Node, ParameterNode, constant, link
from trace_robot.trace.operation import Operation
from trace_robot.trace.shortening import shorten

Record = dict[str, Any]

KINDS = ("parameter", "constant", "input", "operation", "exception")
_FIELDS: dict[str, type] = {
    "id": int,
    "name": str,
    "kind": str,
    "op": str,
    "doc": str,
    "inputs": dict,
    "value": str,
}
LONGEST_NUMBER = 400  # characters: a float has at most 309 digits before its point
_NUMBER = re.compile(r"-?(\d+\.?\d*([eE][-+]?\d+)?|inf|nan)")


def to_records(
    outputs: Sequence[Node], *, max_nodes: int = 10_000, max_chars: int = 200
) -> tuple[Record, ...]:
    """Return the graph of some outputs as plain data.

    Args:
        outputs: one for each step of an episode, or any nodes.
        max_nodes: of more nodes the newest are kept, and all parameters.
        max_chars: how long a value's text may be; that of code is not shortened.

    Returns:
        The records, parents first. Numbers in names count from 0 for each base, so that the same episode
        gives the same records in any process.
    """
    steps = _steps(outputs)
    nodes = ancestors(*outputs)
    if len(nodes) > max_nodes:
        kept = {id(node) for node in nodes[-max_nodes:]}
        nodes = [node for node in nodes if id(node) in kept or isinstance(node, ParameterNode)]
    ids = {id(node): index for index, node in enumerate(nodes)}
    counts: dict[str, int] = {}
    documented: dict[int, str] = {}  # one text object per operation: pickled and stored once
    records = []
    for node in nodes:
        base = node._op.base if isinstance(node, MessageNode) else node.base_name
        number = counts[base] = counts.get(base, -1) + 1
        operation, inputs, doc = "", {}, ""
        if isinstance(node, MessageNode):
            operation = base
            inputs = {key: ids[id(parent)] for key, parent in node.edges() if id(parent) in ids}
            doc = documented.get(id(node._op)) or documented.setdefault(id(node._op), node.description)
        is_code = isinstance(node, ParameterNode) and bool(node.function)
        records.append(
            {
                "id": ids[id(node)],
                "name": node.key if isinstance(node, ParameterNode) else f"{base}:{number}",
                "kind": kind_of(node),
                "op": operation,
                "doc": doc,
                "inputs": inputs,
                "value": node._data if is_code else shorten(node._data, max_chars),
                "step": None if isinstance(node, ParameterNode) else steps.get(id(node)),
            }
        )
    return tuple(records)


def from_records(
    records: Sequence[Mapping[str, Any]],
    parameters: Mapping[str, ParameterNode] | None = None,
    *,
    max_nodes: int = 100_000,
    max_chars: int = 100_000,
) -> dict[int, Node]:
    """Return the nodes that records describe, by id.

    Args:
        records: as ``to_records`` made them, perhaps in another process; every field is checked.
        parameters: stand in for the records of kind "parameter", by ``key`` or base of the name; records of
        others
            become plain values. With None all parameters are made new.
        max_nodes: how many records there may be.
        max_chars: how long a text in a record may be.

    Returns:
        id -> node. Values are texts, or numbers where the text is one; names are the records' own.

    Raises:
        RecordError: something that ``to_records`` would not have made.
    """
    if len(records) > max_nodes:
        raise RecordError(f"records must hold at most {max_nodes} nodes, got {len(records)}")
    nodes: dict[int, Node] = {}
    operations: dict[tuple[str, str], Operation] = {}
    for record in records:
        _check(record, nodes, max_chars)
        nodes[record["id"]] = _node(record, nodes, parameters, operations)
    return nodes


def _steps(outputs: Sequence[Node]) -> dict[int, int]:
    """Return the index of the first output that each node leads to."""
    steps: dict[int, int] = {}
    for step, output in enumerate(outputs):
        stack = [output]
        while stack:
            node = stack.pop()
            if id(node) not in steps:
                steps[id(node)] = step
                stack += node._parents if isinstance(node, MessageNode) else ()
    return steps


def kind_of(node: Node) -> str:
    """Return the kind of record of a node.

    A root that was given a name is an input, one that is called like its type a constant.
    """
    if isinstance(node, ExceptionNode):
        return "exception"
    if isinstance(node, MessageNode):
        return "operation"
    if isinstance(node, ParameterNode) and node.trainable:
        return "parameter"
    return "constant" if node.base_name == type(node._data).__name__ else "input"


def _check(record: Mapping[str, Any], known: Mapping[int, Node], max_chars: int) -> None:
    if not isinstance(record, Mapping) or set(record) != {*_FIELDS, "step"}:
        raise RecordError(
            f"a record must have the fields {', '.join(_FIELDS)} and step, got {shorten(record)}"
        )
    for name, kind in _FIELDS.items():
        value = record[name]
        if type(value) is not kind:
            raise RecordError(f"{name} of a record must be {kind.__name__}, got {shorten(value)}")
        if isinstance(value, str) and len(value) > max_chars:
            raise RecordError(
                f"{name} of a record must have at most {max_chars} characters, got {len(value)}"
            )
    if record["kind"] not in KINDS:
        raise RecordError(f"kind of a record must be one of {', '.join(KINDS)}, got {record['kind']!r}")
    if record["id"] in known:
        raise RecordError(f"id {record['id']} is there twice")
    if record["step"] is not None and type(record["step"]) is not int:
        raise RecordError(f"step of a record must be a whole number or None, got {shorten(record['step'])}")
    for key, parent in record["inputs"].items():
        if type(key) is not str or type(parent) is not int or parent not in known:
            raise RecordError(
                f"input {shorten(key)} must be the id of an earlier record, got {shorten(parent)}"
            )


def _node(
    record: Mapping[str, Any],
    nodes: Mapping[int, Node],
    parameters: Mapping[str, ParameterNode] | None,
    operations: dict[tuple[str, str], Operation],
) -> Node:
    kind, name, value = record["kind"], record["name"], record["value"]
    if kind == "parameter":
        base = name.partition(":")[0]
        if parameters is None:
            return ParameterNode(_value(value), name=base)
        known = parameters.get(name, parameters.get(base))
        return known if known is not None else constant(_value(value), base)
    base, _, number = name.rpartition(":")
    parents = {key: nodes[parent] for key, parent in record["inputs"].items()}
    if kind == "exception":
        return ExceptionNode(value, inputs=parents, description=record["doc"] or f"[{base}]", name=base)
    if kind == "operation":
        key = (record["op"], record["doc"])
        op = operations.get(key) or operations.setdefault(key, Operation(*key))
        result: Node = link(_value(value), op, tuple(parents), tuple(parents.values()))
    else:
        result = constant(_value(value))
    if number.isdigit():
        result._name = (
            base,
            int(number[:9]),
        )  # the record's own; nine digits, as int() of long texts is slow
    return result


def _value(text: str) -> Any:
    """Return the number that ``text`` is, or ``text``."""
    # A longer one is the controller's doing; Python refuses whole numbers of more than 4,300 digits.
    if len(text) > LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        return text
    return int(text) if text.lstrip("-").isdigit() else float(text)


def encode(value: Any) -> Any:
    """Return ``value`` as JSON data.

    Values that JSON does not know become objects with a ``$type``; a dict with such a key, or with keys that
    are not texts, becomes a list of pairs.

    Raises:
        TypeError: the value has no form that is safe to load.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {
            "$type": "array",
            "dtype": value.dtype.str,
            "shape": value.shape,
            "items": value.ravel().tolist(),
        }
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return {"$type": "number", "dtype": value.dtype.str, "item": value.item()}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, (tuple, set, frozenset)):
        return {"$type": type(value).__name__, "items": [encode(item) for item in value]}
    if isinstance(value, bytes):
        return {"$type": "bytes", "base64": base64.b64encode(value).decode()}
    if isinstance(value, complex):
        return {"$type": "complex", "items": [value.real, value.imag]}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value) and "$type" not in value:
            return {key: encode(item) for key, item in value.items()}
        return {"$type": "dict", "items": [[encode(key), encode(item)] for key, item in value.items()]}
    raise TypeError(
        f"only plain values can be saved, got {value!r}; make it from numbers, text, lists or arrays"
    )


def decode(stored: Any) -> Any:
    """Return the value that ``encode`` was given.

    Raises:
        ValueError: an unknown "$type".
    """
    if isinstance(stored, list):
        return [decode(item) for item in stored]
    if not isinstance(stored, dict):
        return stored
    kind = stored.get("$type")
    if kind is None:
        return {key: decode(item) for key, item in stored.items()}
    if kind == "array":
        return np.array(stored["items"], dtype=np.dtype(stored["dtype"])).reshape(stored["shape"])
    if kind == "number":
        return np.dtype(stored["dtype"]).type(stored["item"])
    if kind == "bytes":
        return base64.b64decode(stored["base64"])
    if kind == "complex":
        return complex(*stored["items"])
    if kind == "dict":
        return {decode(key): decode(item) for key, item in stored["items"]}
    if kind not in ("tuple", "set", "frozenset"):
        raise ValueError(f"no value of type {kind!r} can be loaded")
    return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](map(decode, stored["items"]))
