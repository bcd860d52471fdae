"""A recorded graph laid out by steps: which operations each step made, and each value's course over them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from trace_robot.optimizers.prompt.values import Leaf, leaves, read_value

Record = Mapping[str, Any]
CALLS = ("operation", "exception")
LONGEST_PERIOD = 200
SHORT = 40


@dataclass(slots=True)
class Column:
    """One value over the steps. role: "input", "other" or "output"; values: by step, where it was read."""

    name: str
    role: str
    values: dict[int, Leaf] = field(default_factory=dict)

    @property
    def constant(self) -> bool:
        first = next(iter(self.values.values()))
        return all(repr(value) == repr(first) for value in self.values.values())


@dataclass(slots=True)
class Layout:
    """columns: in the order of the program. patterns: for each distinct sequence of calls, its steps.

    static: records that belong to no step. failures: records of kind "exception", by step.
    names: what each record that belongs to a step is called outside of it, by id.
    """

    steps: list[int]
    columns: list[Column]
    patterns: dict[tuple[str, ...], list[int]]
    static: list[Record]
    failures: dict[int, Record]
    names: dict[int, str]


def base(name: str) -> str:
    """Return a node's name without its running number."""
    return re.sub(r"[:_]?\d+$", "", name) or name


def plain_names(records: Iterable[Record]) -> dict[int, str]:
    """Names by id, as identifiers; numbered only where several records share a base."""
    listed = list(records)
    functions = {str(record["op"]) for record in listed}
    named = [str(r["name"]) for r in listed if r["kind"] != "parameter" or r["name"] not in functions]
    shared = Counter(map(base, named))
    names = {}
    for record in listed:
        name = str(record["name"])
        names[record["id"]] = base(name) if shared[base(name)] <= 1 else name.replace(":", "")
    return names


def call_text(record: Record, names: Mapping[int, str], label: str) -> str:
    """One call as a line of code; a function's own source is not shown among its arguments."""
    pairs = [(key, names.get(parent, "?")) for key, parent in record["inputs"].items()]
    arguments = ", ".join(f"{key}={name}" for key, name in pairs if name != record["op"])
    return f"{label} = {record['op']}({arguments})"


def minimal(records: Sequence[Record]) -> tuple[Record, ...]:
    """Return the operations that a parameter leads to and what went into them; all where there are none.

    What went in from operations that no parameter leads to becomes an input.
    """
    connected = {record["id"] for record in records if record["kind"] == "parameter"}
    used: set[int] = set()
    for record in records:
        parents = record["inputs"].values()
        if record["kind"] in CALLS and (record["kind"] == "exception" or not connected.isdisjoint(parents)):
            connected.add(record["id"])
            used.update(parents)
    if not used:
        return tuple(records)
    kept = (record for record in records if record["id"] in connected or record["id"] in used)
    return tuple(record if record["id"] in connected else _as_input(record) for record in kept)


def _as_input(record: Record) -> Record:
    return {**record, "kind": "input", "inputs": {}} if record["kind"] in CALLS else record


def outputs_of(records: Sequence[Record]) -> set[int]:
    """The ids of records that nothing else uses."""
    used = {parent for record in records for parent in record["inputs"].values()}
    return {record["id"] for record in records if record["id"] not in used}


def with_steps(records: Sequence[Record]) -> dict[int, int]:
    """Return each record's step by id: as recorded, else found from the repetition of the operations."""
    recorded = {r["id"]: int(r["step"]) for r in records if r.get("step") is not None}
    if len(set(recorded.values())) < 2:
        recorded = _repetition([record for record in records if record["kind"] in CALLS])
    return _spread(records, recorded)


def _repetition(calls: Sequence[Record]) -> dict[int, int]:
    """Number the repeats of the shortest period that explains most calls; {} if none does or all is short.

    A step begins at an operation that comes once in a period, so that irregular steps are numbered too.
    """
    sequence = [str(record["op"]) for record in calls]
    if len(calls) <= SHORT:
        return {}
    often = Counter(sequence).most_common(1)[0][0]
    places = [index for index, item in enumerate(sequence) if item == often]
    gaps = Counter(later - earlier for earlier, later in pairwise(places))
    periods = sorted({gap for gap, _ in gaps.most_common(5)} | _sums(places))
    for period in periods:
        start, length = _longest_run(sequence, period)
        if length >= 3 * period and length + period >= 0.6 * len(sequence):
            inside = Counter(sequence[start : start + period])
            once = next((op for op in sequence if inside.get(op) == 1), sequence[start])
            return _by_anchor(calls, {index for index, op in enumerate(sequence) if op == once})
    return _by_anchor(calls, set(places)) if len(places) >= 4 else {}


def _sums(places: Sequence[int]) -> set[int]:
    """Distances of the first few places from the first: periods in which the commonest call comes twice."""
    return {place - places[0] for place in places[1:12] if place - places[0] <= LONGEST_PERIOD}


def _longest_run(sequence: Sequence[Any], period: int) -> tuple[int, int]:
    """Where, and for how long, each item equals the one ``period`` places later."""
    best, start = (0, 0), 0
    for index in range(len(sequence) - period + 1):
        if index < len(sequence) - period and sequence[index] == sequence[index + period]:
            continue
        if index - start > best[1]:
            best = (start, index - start)
        start = index + 1
    return best


def _by_anchor(calls: Sequence[Record], anchors: set[int]) -> dict[int, int]:
    steps, step = {}, -1
    for index, record in enumerate(calls):
        step += index in anchors
        if step >= 0:
            steps[record["id"]] = step
    return steps


def _spread(records: Sequence[Record], steps: dict[int, int]) -> dict[int, int]:
    """Give an input or constant that is used in one step only the number of that step."""
    users: dict[int, set[int | None]] = {}
    for record in records:
        for parent in record["inputs"].values():
            users.setdefault(parent, set()).add(steps.get(record["id"]))
    for record in records:
        used = users.get(record["id"], set())
        if record["id"] not in steps and record["kind"] in ("input", "constant") and len(used) == 1:
            step = next(iter(used))
            if step is not None:
                steps[record["id"]] = step
    return steps


def lay_out(records: Sequence[Record]) -> Layout:
    """Return ``records`` (parents before children) by steps; without steps everything is static."""
    steps = with_steps(records)
    outputs = outputs_of(records)
    labels, names = _labels(records, steps)
    columns: dict[str, Column] = {}
    lines: dict[int, list[str]] = {}
    for record in records:
        step = steps.get(record["id"])
        if step is None:
            continue
        if record["kind"] in CALLS:
            near = _relative(record, steps, names, step)
            lines.setdefault(step, []).append(call_text(record, near, labels[record["id"]]))
        role = "output" if record["id"] in outputs else "other" if record["kind"] in CALLS else "input"
        if record["kind"] == "exception":
            continue
        for path, leaf in leaves(read_value(str(record["value"]))).items():
            name = labels[record["id"]] + path
            columns.setdefault(name, Column(name, role)).values[step] = leaf
    patterns: dict[tuple[str, ...], list[int]] = {}
    for step in sorted(set(steps.values())):
        patterns.setdefault(tuple(lines.get(step, ())), []).append(step)
    failures = {steps[r["id"]]: r for r in records if r["kind"] == "exception" and r["id"] in steps}
    static = [record for record in records if record["id"] not in steps]
    outside = {number: f"{labels[number]} of step {step}" for number, step in steps.items()}
    return Layout(sorted(set(steps.values())), list(columns.values()), patterns, static, failures, outside)


def _labels(records: Sequence[Record], steps: Mapping[int, int]) -> tuple[dict[int, str], dict[int, str]]:
    """Return for each id its label within its step (numbered from 2), and its full name."""
    seen: Counter[tuple[int | None, str]] = Counter()
    static = plain_names(record for record in records if record["id"] not in steps)
    labels, names = {}, {}
    for record in records:
        identifier, step = record["id"], steps.get(record["id"])
        if step is None:
            labels[identifier] = names[identifier] = static[identifier]
            continue
        name = base(str(record["name"]))
        seen[step, name] += 1
        count = seen[step, name]
        labels[identifier] = names[identifier] = name if count == 1 else f"{name}#{count}"
    return labels, names


def _relative(
    record: Record, steps: Mapping[int, int], names: Mapping[int, str], step: int
) -> dict[int, str]:
    near = {}
    for parent in record["inputs"].values():
        there = steps.get(parent, step)
        near[parent] = names.get(parent, "?") + ("" if there == step else " of a step before")
    return near
