"""What a jail says of a controller's graph: bounded, and read without trust.

A record is what `trace_robot.trace.records` says; here ids count from 0 in the order of the records.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

MAX_NODES: Final = 20_000  # of one episode
MAX_CHARS: Final = 400  # of one value, unless it is a parameter's
CALL_BYTES: Final = 1 << 20  # of the records of one call
MAX_BYTES: Final = 1 << 23  # of the records of one episode
_MAX_TEXT: Final = 200_000
_KINDS: Final = frozenset({"parameter", "constant", "input", "operation", "exception"})
_TEXTS: Final = ("name", "kind", "op", "doc", "value")
_FIELDS: Final = frozenset({"id", "inputs", "step", *_TEXTS})


def read_records(parts: Sequence[bytes]) -> tuple[dict[str, Any], ...]:
    """Return the records of an episode from what its calls sent, up to the first that no jail writes."""
    records: list[dict[str, Any]] = []
    for part in parts:
        try:
            made = json.loads(part)
        except (ValueError, RecursionError):
            break
        if not isinstance(made, list):
            break
        for record in made:
            if len(records) >= MAX_NODES or not _is_record(record, len(records)):
                return tuple(records)
            records.append(record)
    return tuple(records)


def _is_record(record: Any, number: int) -> bool:
    """Return whether this is the ``number``-th record of a graph, with inputs before it."""
    if (
        type(record) is not dict
        or set(record) != _FIELDS
        or record["id"] != number
        or type(record["id"]) is not int
    ):
        return False
    if any(type(record[name]) is not str or len(record[name]) > _MAX_TEXT for name in _TEXTS):
        return False
    step, inputs = record["step"], record["inputs"]
    if record["kind"] not in _KINDS or not (step is None or (type(step) is int and 0 <= step < 2**31)):
        return False
    return type(inputs) is dict and all(
        type(parent) is int and 0 <= parent < number and len(name) <= 200 for name, parent in inputs.items()
    )
