"""Reading the graph records of a controller: bounded, and without trust.

A call is written as ``[step, template, texts]``. The template is a list with one entry for each new record of the call,
or, if an earlier call had the same one, that one's number; the texts are the values. An entry is

    {"name": str, "numbered": bool, "kind": str, "op": str, "doc": str, "inputs": {argument: reference},
     "timeless": bool}

A reference is the id of a record or, below 0, counted back from the record that it stands in. What is read are the
records of `trace_robot.trace.serialization`, with ids that count from 0; numbered names get a number of their own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from trace_robot.sandbox.protocol import MAX_NODES

_MAX_TEXT: Final = 200_000  # characters: a parameter's value is code
_MAX_KEY: Final = 200  # characters of an argument's name
_KINDS: Final = frozenset({"parameter", "constant", "input", "operation", "exception"})
_TEXTS: Final = ("name", "kind", "op", "doc")
_FLAGS: Final = ("numbered", "timeless")
_FIELDS: Final = frozenset({"inputs", *_TEXTS, *_FLAGS})
_LATEST: Final = 2**31  # steps


def read_records(parts: Sequence[bytes]) -> tuple[dict[str, Any], ...]:
    """Return the records of an episode, up to the first that no honest child writes.

    Args:
        parts: what its calls sent, in order, any bytes.
    """
    reader = _Reader()
    for part in parts:
        try:
            if not reader.read(json.loads(part)):
                break
        except (ValueError, RecursionError):  # not JSON, or nested so deeply that it is no record
            break
    return tuple(reader.records)


class _Reader:
    """Records read so far, and the templates they came in."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self._templates: list[list[Any]] = []
        self._counts: dict[str, int] = {}

    def read(self, call: Any) -> bool:
        """Read one call and return whether all of it was as an honest child writes it."""
        if type(call) is not list or len(call) != 3:
            return False
        step, template, texts = call
        # `type` and not `isinstance`, here and below: True is an int, and JSON has no other subclasses.
        if type(step) is not int or not 0 <= step < _LATEST or type(texts) is not list:
            return False
        if type(template) is list:
            self._templates.append(template)
        elif type(template) is int and 0 <= template < len(self._templates):
            template = self._templates[template]
        else:
            return False
        for entry, text in zip(template, texts, strict=False):
            if not self._add(entry, text, step):
                return False
        return len(template) == len(texts)

    def _add(self, entry: Any, text: Any, step: int) -> bool:
        number = len(self.records)
        if number >= MAX_NODES or not _is_entry(entry) or type(text) is not str or len(text) > _MAX_TEXT:
            return False
        inputs = {}
        for name, reference in entry["inputs"].items():
            inputs[name] = parent = reference if reference >= 0 else number + reference
            if not 0 <= parent < number:
                return False
        name = entry["name"]
        if entry["numbered"]:
            count = self._counts[name] = self._counts.get(name, -1) + 1
            name = f"{name}:{count}"
        record = {
            "id": number,
            "name": name,
            "kind": entry["kind"],
            "op": entry["op"],
            "doc": entry["doc"],
            "inputs": inputs,
            "value": text,
            "step": None if entry["timeless"] else step,
        }
        self.records.append(record)
        return True


def _is_entry(entry: Any) -> bool:
    if type(entry) is not dict or set(entry) != _FIELDS or type(entry["inputs"]) is not dict:
        return False
    if any(type(entry[name]) is not str or len(entry[name]) > _MAX_TEXT for name in _TEXTS):
        return False
    return (
        entry["kind"] in _KINDS
        and all(type(entry[name]) is bool for name in _FLAGS)
        and all(type(parent) is int and len(name) <= _MAX_KEY for name, parent in entry["inputs"].items())
    )
