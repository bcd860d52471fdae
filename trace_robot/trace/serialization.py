"""A graph as plain data that any process can hold, and back; children come after their parents.

    Record = {"id": int, "name": str, "kind": str, "op": str, "doc": str, "inputs": {argument: id},
              "value": str, "step": int | None}

kind: "parameter" (name: ``ParameterNode.key``), "constant", "input", "operation" or "exception".
value: the value in short, for code its text. step: the index of the first output that the node leads to.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from trace_robot.trace.errors import RecordError
from trace_robot.trace.node import ancestors
from trace_robot.trace.node_types import ExceptionNode, MessageNode, Node, ParameterNode, constant, link
from trace_robot.trace.operation import Operation

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
_NUMBER = re.compile(r"-?(\d+\.?\d*([eE][-+]?\d+)?|inf|nan)")


def to_records(
    outputs: Sequence[Node], *, max_nodes: int = 10_000, max_chars: int = 200
) -> tuple[Record, ...]:
    """Return the graph of ``outputs``, one for each step.

    Of more than ``max_nodes`` nodes the newest are kept, and all parameters. Values are shortened to
    ``max_chars`` characters, the text of code is not. Numbers in names count from 0 for each base.
    """
    steps = _steps(outputs)
    nodes = ancestors(*outputs)
    if len(nodes) > max_nodes:
        kept = {id(each) for each in nodes[-max_nodes:]}
        nodes = [each for each in nodes if id(each) in kept or isinstance(each, ParameterNode)]
    ids = {id(each): index for index, each in enumerate(nodes)}
    counts: dict[str, int] = {}
    documented: dict[int, str] = {}
    records = []
    for each in nodes:
        base = each._op.base if isinstance(each, MessageNode) else each.base_name
        number = counts[base] = counts.get(base, -1) + 1
        operation, inputs, doc = "", {}, ""
        if isinstance(each, MessageNode):
            operation = base
            inputs = {key: ids[id(parent)] for key, parent in each.edges() if id(parent) in ids}
            doc = documented.get(id(each._op)) or documented.setdefault(id(each._op), each.description)
        is_code = isinstance(each, ParameterNode) and bool(each.function)
        records.append(
            {
                "id": ids[id(each)],
                "name": each.key if isinstance(each, ParameterNode) else f"{base}:{number}",
                "kind": kind_of(each),
                "op": operation,
                "doc": doc,
                "inputs": inputs,
                "value": each._data if is_code else shorten(each._data, max_chars),
                "step": None if isinstance(each, ParameterNode) else steps.get(id(each)),
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
    """Return the nodes by id; ``parameters`` stand in for the records of kind "parameter" of their names.

    Parameters that are not given are plain values; with None all are made new. Values are texts, or numbers where
    the text is one; names are the records' own. Raises RecordError for anything that ``to_records`` would not
    have made.
    """
    if len(records) > max_nodes:
        raise RecordError(f"records must hold at most {max_nodes} nodes, got {len(records)}")
    made: dict[int, Node] = {}
    operations: dict[tuple[str, str], Operation] = {}
    for record in records:
        _check(record, made, max_chars)
        made[record["id"]] = _node(record, made, parameters, operations)
    return made


def _steps(outputs: Sequence[Node]) -> dict[int, int]:
    """Return the index of the first output that each node leads to."""
    steps: dict[int, int] = {}
    for step, output in enumerate(outputs):
        stack = [output]
        while stack:
            each = stack.pop()
            if id(each) not in steps:
                steps[id(each)] = step
                stack += each._parents if isinstance(each, MessageNode) else ()
    return steps


def kind_of(node: Node) -> str:
    """Return the kind of record of a node."""
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
    made: Mapping[int, Node],
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
    parents = {key: made[parent] for key, parent in record["inputs"].items()}
    if kind == "exception":
        return ExceptionNode(value, inputs=parents, description=record["doc"] or f"[{base}]", name=base)
    if kind == "operation":
        key = (record["op"], record["doc"])
        op = operations.get(key) or operations.setdefault(key, Operation(*key))
        result: Node = link(_value(value), op, tuple(parents), tuple(parents.values()))
    else:
        result = constant(_value(value))
    if number.isdigit():
        result._name = (base, int(number[:9]))
    return result


def _value(text: str) -> Any:
    """Return the number that ``text`` is, or ``text``."""
    if not _NUMBER.fullmatch(text):
        return text
    return int(text) if text.lstrip("-").isdigit() else float(text)


def encode(value: Any) -> Any:
    """Return ``value`` as JSON data; raises TypeError for what has no safe form."""
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
        return [encode(each) for each in value]
    if isinstance(value, (tuple, set, frozenset)):
        return {"$type": type(value).__name__, "items": [encode(each) for each in value]}
    if isinstance(value, bytes):
        return {"$type": "bytes", "base64": base64.b64encode(value).decode()}
    if isinstance(value, complex):
        return {"$type": "complex", "items": [value.real, value.imag]}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value) and "$type" not in value:
            return {key: encode(each) for key, each in value.items()}
        return {"$type": "dict", "items": [[encode(key), encode(each)] for key, each in value.items()]}
    raise TypeError(
        f"only plain values can be saved, got {value!r}; make it from numbers, text, lists or arrays"
    )


def decode(stored: Any) -> Any:
    """Return the value that ``encode`` was given; raises ValueError for an unknown "$type"."""
    if isinstance(stored, list):
        return [decode(each) for each in stored]
    if not isinstance(stored, dict):
        return stored
    kind = stored.get("$type")
    if kind is None:
        return {key: decode(each) for key, each in stored.items()}
    if kind == "array":
        return np.array(stored["items"], dtype=np.dtype(stored["dtype"])).reshape(stored["shape"])
    if kind == "number":
        return np.dtype(stored["dtype"]).type(stored["item"])
    if kind == "bytes":
        return base64.b64decode(stored["base64"])
    if kind == "complex":
        return complex(*stored["items"])
    if kind == "dict":
        return {decode(key): decode(each) for key, each in stored["items"]}
    if kind not in ("tuple", "set", "frozenset"):
        raise ValueError(f"no value of type {kind!r} can be loaded")
    return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](map(decode, stored["items"]))


_FLOATS = frozenset((float, np.float64))
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def shorten(value: Any, max_chars: int = 200, digits: int | None = 4) -> str:
    """Return ``value`` as text of at most ``max_chars`` characters.

    Floating-point numbers keep ``digits`` significant digits, with None all of them.
    """
    if digits is not None and (text := _quick(value, max_chars, f".{digits}g")) and len(text) <= max_chars:
        return text
    text = _text(value, max_chars, digits)
    return text if len(text) <= max_chars else text[: max(0, max_chars - 3)] + "..."


def _quick(value: Any, max_chars: int, style: str) -> str:
    """Return what `_text` returns for what there is most of, short arrays and lists of floats; "" for the rest."""
    kind = type(value)
    if kind is np.ndarray and value.ndim == 1 and value.dtype == np.float64 and len(value) < max_chars:
        value = value.tolist()
    elif kind is not list or not all(type(each) in _FLOATS for each in value):
        return ""
    return "[" + ", ".join([format(each, style) for each in value]) + "]"


def _text(value: Any, budget: int, digits: int | None) -> str:
    if type(value) is float:
        return repr(value) if digits is None else f"{value:.{digits}g}"
    if value is None or isinstance(value, (bool, int)):
        return repr(value)
    if isinstance(value, (float, np.floating)):
        return repr(float(value)) if digits is None else f"{float(value):.{digits}g}"
    if isinstance(value, str):
        return value if len(value) <= budget else value[:budget] + "..."
    if isinstance(value, np.ndarray):
        return _text(value[:budget].tolist() if value.ndim else value.item(), budget, digits)
    if isinstance(value, dict):
        return _joined((f"{_quoted(k)}: {_item(v, budget, digits)}" for k, v in value.items()), "{}", budget)
    if isinstance(value, list):
        return _joined((_item(each, budget, digits) for each in value), "[]", budget)
    if isinstance(value, tuple):
        return _joined((_item(each, budget, digits) for each in value), "()", budget)
    try:
        return _ADDRESS.sub("", repr(value))
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"


def _item(value: Any, budget: int, digits: int | None) -> str:
    return _quoted(value) if isinstance(value, str) else _text(value, budget, digits)


def _quoted(value: Any) -> str:
    return repr(value[:200]) if isinstance(value, str) else shorten(value)


def _joined(parts: Iterable[str], brackets: str, budget: int) -> str:
    """Join until ``budget`` is used up; what is left out shows as three dots."""
    kept: list[str] = []
    for each in parts:
        if budget < 0:
            kept.append("...")
            break
        kept.append(each)
        budget -= len(each) + 2
    return brackets[0] + ", ".join(kept) + brackets[1]
