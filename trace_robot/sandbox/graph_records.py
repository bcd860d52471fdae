"""What a jail says of a controller's graph: bounded, and read without trust.

A call is written as ``[step, template, texts]``. The template is a list with one entry for each new record of the call,
or, if an earlier call had the same, its number; the texts are the values. An entry is

    {"name": str, "numbered": bool, "kind": str, "op": str, "doc": str, "inputs": {argument: reference},
     "timeless": bool}

A reference is the id of a record, or less than 0, counted back from the record that has it. What is read are the
records of `trace_robot.trace.serialization`, with ids that count from 0; numbered names get a number of their own.
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
_TEXTS: Final = ("name", "kind", "op", "doc")
_FLAGS: Final = ("numbered", "timeless")
_FIELDS: Final = frozenset({"inputs", *_TEXTS, *_FLAGS})
_LATEST: Final = 2**31  # steps


def read_records(parts: Sequence[bytes]) -> tuple[dict[str, Any], ...]:
    """Return the records of an episode from what its calls sent, up to the first that no jail writes."""
    reader = _Reader()
    for part in parts:
        try:
            if not reader.read(json.loads(part)):
                break
        except (ValueError, RecursionError):
            break
    return tuple(reader.records)


class _Reader:
    """Records read so far, and the templates they came in."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self._templates: list[list[Any]] = []
        self._counts: dict[str, int] = {}

    def read(self, call: Any) -> bool:
        """Read one call; return whether all of it was what a jail writes."""
        if type(call) is not list or len(call) != 3:
            return False
        step, template, texts = call
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
        self.records.append(
            {"id": number, "name": name, "kind": entry["kind"], "op": entry["op"], "doc": entry["doc"],
             "inputs": inputs, "value": text, "step": None if entry["timeless"] else step}
        )  # fmt: skip
        return True


def _is_entry(entry: Any) -> bool:
    if type(entry) is not dict or set(entry) != _FIELDS or type(entry["inputs"]) is not dict:
        return False
    if any(type(entry[name]) is not str or len(entry[name]) > _MAX_TEXT for name in _TEXTS):
        return False
    return (
        entry["kind"] in _KINDS
        and all(type(entry[name]) is bool for name in _FLAGS)
        and all(type(each) is int and len(name) <= 200 for name, each in entry["inputs"].items())
    )
