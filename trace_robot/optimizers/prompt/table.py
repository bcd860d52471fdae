"""Lay a recorded graph out as a table of numbers: a row for each step.

It also holds what else works on records alone: names, the minimal subgraph, and the steps that each belongs to.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

from trace_robot.optimizers.prompt.values import FORGED, Leaf, leaves, parse_value, program_text

Record = Mapping[str, Any]
CALLS = ("operation", "exception")
LONGEST_PERIOD = 200  # calls in a step
LONGEST_PATH, LONGEST_NAME = 100, 200  # characters
SHORT = 40  # a graph of up to this many calls is shown call by call


@dataclass(slots=True)
class Series:
    """One value over the steps: a column of the table.

    Args:
        name: as #Code calls it, with the path inside it, such as ``state.speed[2]``.
        role: "input", "other" or "output".
        values: by step, where the value was recorded, in the order of the records.
    """

    name: str
    role: str
    values: dict[int, Leaf] = field(default_factory=dict)

    @property
    def constant(self) -> bool:
        """Whether all values are the same, compared by ``repr``, where nan equals nan."""
        texts = map(repr, self.values.values())
        first = next(texts)
        return all(text == first for text in texts)


@dataclass(frozen=True, slots=True)
class Entry:
    """A record that stands alone: it belongs to no step or is the exception of one.

    Args:
        name: as #Code calls it.
        base: the recorded name without its running number.
        kind: "parameter", "input", "constant", "operation" or "exception".
        value: a float where the record's text is one number, else the text.
        call: the call as a line of code, "" for a kind that is none.
        output: whether nothing else uses the record.
    """

    name: str
    base: str
    kind: str
    value: float | str
    call: str = ""
    output: bool = False


@dataclass(frozen=True, slots=True)
class StepTable:
    """A recorded graph by steps.

    Without steps, every record is an entry.

    Args:
        steps: in ascending order.
        series: the columns, in the order of the program.
        patterns: for each distinct sequence of calls, as lines of code, the steps that made it.
        failures: the exceptions, by step.
        entries: the records that belong to no step, in their order.
        documentation: the docstring of each function that was called, by its name.
    """

    steps: list[int]
    series: list[Series]
    patterns: dict[tuple[str, ...], list[int]]
    failures: dict[int, Entry]
    entries: list[Entry]
    documentation: dict[str, str]

    @classmethod
    def from_records(cls, records: Sequence[Record]) -> StepTable:
        """Return the table of ``records``, which come parents before children."""
        steps, outputs = step_numbers(records), outputs_of(records)
        names = _names(records, steps)
        full_names = {
            **names,
            **{number: f"{names[number]} of step {step}" for number, step in steps.items()},
        }
        inside = [record for record in records if record["id"] in steps]
        outside = [record for record in records if record["id"] not in steps]
        raised = [record for record in inside if record["kind"] == "exception"]
        return cls(
            steps=sorted(set(steps.values())),
            series=_series(inside, steps, names, outputs),
            patterns=_patterns(inside, steps, names),
            failures={steps[record["id"]]: _entry(record, full_names, outputs) for record in raised},
            entries=[_entry(record, full_names, outputs) for record in outside],
            documentation=_documentation(records),
        )


def _series(
    inside: Sequence[Record], steps: Mapping[int, int], names: Mapping[int, str], outputs: Collection[int]
) -> list[Series]:
    series: dict[str, Series] = {}
    for record in inside:
        if record["kind"] == "exception":
            continue  # its value is a message
        number = record["id"]
        role = "output" if number in outputs else "other" if record["kind"] in CALLS else "input"
        for path, leaf in leaves(parse_value(str(record["value"]))).items():
            name = names[number] + program_text(path, LONGEST_PATH)  # it may hold keys of a dict
            series.setdefault(name, Series(name, role)).values[steps[number]] = leaf
    return list(series.values())


def _patterns(
    inside: Sequence[Record], steps: Mapping[int, int], names: Mapping[int, str]
) -> dict[tuple[str, ...], list[int]]:
    calls: dict[int, list[str]] = {step: [] for step in sorted(set(steps.values()))}
    for record in inside:
        if record["kind"] in CALLS:
            step = steps[record["id"]]
            line = call_text(record, _names_near(record, steps, names, step), names[record["id"]])
            calls[step].append(line)
    patterns: dict[tuple[str, ...], list[int]] = {}
    for step, lines in calls.items():
        patterns.setdefault(tuple(lines), []).append(step)
    return patterns


def _names_near(
    record: Record, steps: Mapping[int, int], names: Mapping[int, str], step: int
) -> dict[int, str]:
    """Return what the parents of ``record`` are called in its own step."""
    near = {}
    for parent in record["inputs"].values():
        same = steps.get(parent, step) == step  # what belongs to no step is the same in all
        near[parent] = names.get(parent, "?") + ("" if same else " of a step before")
    return near


def _entry(record: Record, names: Mapping[int, str], outputs: Collection[int]) -> Entry:
    number, text = record["id"], str(record["value"])
    value = parse_value(text)
    return Entry(
        name=names[number],
        base=base_name(str(record["name"])),
        kind=str(record["kind"]),
        value=value if isinstance(value, float) else text,
        call=call_text(record, names, names[number]) if record["kind"] in CALLS else "",
        output=number in outputs,
    )


def _documentation(records: Iterable[Record]) -> dict[str, str]:
    documentation: dict[str, str] = {}
    for record in records:
        if record["kind"] in CALLS and record.get("doc"):
            function = str(record["op"])
            documentation.setdefault(plain_name(function), str(record["doc"]).removeprefix(f"[{function}]"))
    return documentation


def _names(records: Sequence[Record], steps: Mapping[int, int]) -> dict[int, str]:
    """Return a name for each id, numbered from 2 where it comes again within a step."""
    seen: Counter[tuple[int, str]] = Counter()
    names = _names_outside([record for record in records if record["id"] not in steps])
    for record in records:
        number = record["id"]
        if number in steps:
            name = base_name(str(record["name"]))
            seen[steps[number], name] += 1
            count = seen[steps[number], name]
            names[number] = name if count == 1 else f"{name}#{count}"
    return names


def _names_outside(records: Sequence[Record]) -> dict[int, str]:
    """Return identifiers by id, numbered only where records share a base name."""
    functions = {str(record["op"]) for record in records}
    # The parameter that holds a function's source does not count: calls never show it as an argument.
    named = [str(r["name"]) for r in records if r["kind"] != "parameter" or r["name"] not in functions]
    shared = Counter(map(base_name, named))
    names = {}
    for record in records:
        name = plain_name(str(record["name"]))
        base = base_name(name)
        names[record["id"]] = base if shared[base] <= 1 else name.replace(":", "")
    return names


@lru_cache(maxsize=4096)  # a few names come thousands of times
def plain_name(name: str) -> str:
    """Return a name, or an identifier where it could pass for a part of a prompt."""
    plain = len(name) <= LONGEST_NAME and name.isprintable() and not FORGED.search(name)
    return name if plain else re.sub(r"\W", "_", name[:LONGEST_PATH])


def base_name(name: str) -> str:
    """Return a node's name without its running number: "act" for "act:17"."""
    name = plain_name(name)
    base = name.rstrip("0123456789")  # not a pattern that ends with digits: it is quadratic in their number
    if base == name:
        return name
    return (base[:-1] if base.endswith((":", "_")) else base) or name


def call_text(record: Record, names: Mapping[int, str], label: str) -> str:
    """Return one call as a line of code.

    The parameter that holds the function's source is not shown among its arguments.

    Args:
        record: of a kind in CALLS.
        names: what the records that went into it are called, by id; "?" for those not in it.
        label: what the result is called.
    """
    operation = plain_name(str(record["op"]))
    pairs = [(plain_name(str(key)), names.get(parent, "?")) for key, parent in record["inputs"].items()]
    arguments = ", ".join(f"{key}={name}" for key, name in pairs if name != operation)
    return f"{label} = {operation}({arguments})"


def minimal(records: Sequence[Record]) -> tuple[Record, ...]:
    """Return the operations that a parameter leads to and what went into them.

    What went in from operations that no parameter leads to becomes an input. Exceptions stay in any case. Without any
    such operation, all records are returned.
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
    """Return the ids of records that nothing else uses."""
    used = {parent for record in records for parent in record["inputs"].values()}
    return {record["id"] for record in records if record["id"] not in used}


def step_numbers(records: Sequence[Record]) -> dict[int, int]:
    """Return each record's step by id, as recorded or from the period of operations."""
    recorded = {r["id"]: int(r["step"]) for r in records if r.get("step") is not None}
    if len(set(recorded.values())) < 2:  # a program that is a loop, traced in one graph
        recorded = _repetition([record for record in records if record["kind"] in CALLS])
    return _spread(records, recorded)


def _repetition(calls: Sequence[Record]) -> dict[int, int]:
    """Number the repeats of the shortest period that explains 60 % of the calls.

    A step begins at an operation that comes once in a period, so that irregular steps are numbered too. Without such a
    period, a step begins at each call of the commonest operation; a graph of few calls has no steps.
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
    """Return distances from the first place, for periods that hold several of them."""
    return {place - places[0] for place in places[1:12] if place - places[0] <= LONGEST_PERIOD}


def _longest_run(sequence: Sequence[Any], period: int) -> tuple[int, int]:
    """Return where, and how long, each item equals the one ``period`` places later."""
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
