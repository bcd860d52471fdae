"""A recorded graph as parts of the problem instance, folded so that any length fits a budget of tokens."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence

from trace_robot.llm.tokens import shorten, token_bound
from trace_robot.optimizers.prompt.selection import (
    SMALL_PART,
    fill,
    is_discrete,
    is_steady,
    runs,
    size_and_reach,
    weights,
)
from trace_robot.optimizers.prompt.table import (
    CALLS,
    Column,
    Layout,
    Record,
    base,
    call_text,
    lay_out,
    outputs_of,
    plain_names,
)
from trace_robot.optimizers.prompt.values import Leaf, at_scale, number, one_line, read_value

MOST_RUNS = 12
MOST_PATTERNS = 5
MOST_DISTANCES = 6
MOST_ROWS = 40
FEW_ROWS = 20
CELL = 60


def render_graph(
    records: Sequence[Record], tokens: int, *, variables: Collection[str] = (), mask: Collection[str] = ()
) -> dict[str, str]:
    """Return the texts of #Code, #Documentation, #Inputs, #Others and #Outputs, together within ``tokens``.

    variables: names of parameters, shown elsewhere. Records come parents before children.
    """
    layout = lay_out(records)
    columns = [
        c for c in layout.columns if {"input": "#Inputs", "output": "#Outputs"}.get(c.role) not in mask
    ]
    parts = {
        "#Documentation": shorten(_documentation(records, variables), tokens // 6),
        "#Code": shorten(_code(records, layout), tokens // 4),
        "#Inputs": shorten(_inputs(layout, columns, variables), tokens // 6),
        "#Outputs": shorten(_outputs(records, layout, columns), tokens // 6),
    }
    parts = {name: text for name, text in parts.items() if text and name not in mask}
    room = tokens - sum(token_bound(text) + 4 for text in parts.values())
    others = "" if "#Others" in mask else _others(layout, columns, room - 4)
    return {**parts, "#Others": others} if others else parts


def _documentation(records: Sequence[Record], variables: Collection[str]) -> str:
    seen: dict[str, str] = {}
    for record in records:
        if record["kind"] in CALLS and record.get("doc"):
            told = str(record["doc"]).removeprefix(f"[{record['op']}]")
            seen.setdefault(str(record["op"]), one_line(told, 400))
    return "\n".join(f"{name}: {text}" for name, text in seen.items())


def _code(records: Sequence[Record], layout: Layout) -> str:
    names = {**layout.names, **plain_names(layout.static)}
    before = [call_text(r, names, names[r["id"]]) for r in layout.static if r["kind"] in CALLS]
    if not layout.steps:
        return "\n".join(before)
    lines = []
    often = sorted(layout.patterns.items(), key=lambda item: -len(item[1]))
    for calls, steps in sorted(often[:MOST_PATTERNS], key=lambda item: item[1][0]):
        if calls:
            times = "once" if len(steps) == 1 else f"{len(steps)} times"
            lines.append(f"# step {_ranges(steps)} ({times})")
            lines.extend(calls)
    rest = often[MOST_PATTERNS:]
    if rest:
        lines.append(f"# {len(rest)} other sequences of calls in {sum(len(s) for _, s in rest)} steps")
    return "\n".join([*lines, *before])


def _inputs(layout: Layout, columns: Sequence[Column], variables: Collection[str]) -> str:
    names = plain_names(layout.static)
    lines = [
        f"({record['kind']}) {names[record['id']]} = {_text(record, 160)}"
        for record in layout.static
        if record["kind"] in ("input", "constant") and base(str(record["name"])) not in variables
    ]
    for column in columns:
        if column.role == "input" and column.constant and len(column.values) > 1:
            lines.append(_never_changing(column, layout))
    return "\n".join(lines)


def _outputs(records: Sequence[Record], layout: Layout, columns: Sequence[Column]) -> str:
    names, ends = plain_names(layout.static), outputs_of(records)
    plain = [r for r in layout.static if r["id"] in ends and r["kind"] in CALLS]
    lines = [f"{names[record['id']]} = {_text(record, 400)}" for record in plain]
    for step, record in sorted(layout.failures.items())[:3]:
        lines.append(f"step {step}: {_text(record, 400)}")
    last = layout.steps[-1] if layout.steps else None
    shown = [c for c in columns if c.role == "output" and last in c.values] if not layout.failures else []
    lines.extend(f"{column.name} = {_cell(column, last)}, at the last step {last}" for column in shown)
    return "\n".join(lines)


def _others(layout: Layout, columns: Sequence[Column], room: int) -> str:
    if not layout.steps:
        names, ends = plain_names(layout.static), outputs_of(layout.static)
        calls = [r for r in layout.static if r["kind"] in CALLS and r["id"] not in ends]
        texts = (f"{names[r['id']]} = {_text(r, 160)}" for r in calls)
        return shorten("\n".join(texts), max(room, 0))
    varying = [c for c in columns if not c.constant or len(layout.steps) == 1]
    steady = [c for c in varying if len(c.values) > 2 and is_steady(c)]
    varying = [c for c in varying if c not in steady]
    constant = [c for c in columns if c.constant and c.role != "input" and len(layout.steps) > 1]
    held = [text for column in varying if (text := _held(column))]
    told = {c.name for c in varying if is_discrete(c) and _short_history(c)}
    table = [c for c in varying if c.name not in told]
    head = [_never_changing(c, layout) for c in constant]
    head += [
        f"{c.name} = about {_cell(c, list(c.values)[-1])}, changes by at most {_reach(c)}" for c in steady
    ]
    head = [*head, *held, *_distances(layout, columns)]
    summary = shorten("\n".join(head), room // 2)
    rows = _table(layout, table, room - token_bound(summary) - 2)
    return "\n".join(filter(None, [summary, rows]))


def _never_changing(column: Column, layout: Layout) -> str:
    steps = sorted(column.values)
    where = "in every step" if len(steps) == len(layout.steps) else f"wherever it is, step {_ranges(steps)}"
    return f"{column.name} = {_cell(column, steps[0])}, {where}"


def _reach(column: Column) -> str:
    reach = size_and_reach(column)[1]
    return at_scale(reach, reach * 10)


def _text(record: Record, length: int) -> str:
    value = read_value(str(record["value"]))
    return number(value, 4) if isinstance(value, float) else one_line(str(record["value"]), length)


def _short_history(column: Column) -> bool:
    return len(runs(list(column.values), list(column.values.values()))) <= MOST_RUNS


def _held(column: Column) -> str:
    """The stretches of a value, or of a vector's component, that holds and then changes; "" for others."""
    if is_discrete(column):
        return _stretches(column.name, list(column.values), list(column.values.values()))
    values = list(column.values.values())
    if not all(isinstance(value, tuple) for value in values) or len({len(v) for v in values}) != 1:  # type: ignore[arg-type]
        return ""
    lines = []
    for index in range(len(values[0])):  # type: ignore[arg-type]
        part = Column(f"{column.name}[{index}]", column.role)
        part.values = {step: value[index] for step, value in column.values.items()}  # type: ignore[index]
        small = size_and_reach(part)[1] <= SMALL_PART * size_and_reach(column)[0]
        if len(values) > 2 and is_discrete(part) and not small:
            lines.append(_stretches(part.name, list(part.values), list(part.values.values())))
    return "\n".join(filter(None, lines))


def _stretches(name: str, steps: Sequence[int], values: Sequence[Leaf]) -> str:
    found = runs(steps, values)
    if len(found) > MOST_RUNS:
        kinds = list(dict.fromkeys(_leaf(value, 0.0) for value in values))
        return f"{name}: {', '.join(kinds[:6])}; changes {len(found) - 1} times"
    texts = (f"{_leaf(value, 0.0)} in {_span(first, last)}" for first, last, value in found)  # type: ignore[arg-type]
    return f"{name}: " + ", ".join(texts)


def _distances(layout: Layout, columns: Sequence[Column]) -> list[str]:
    """How the distance between two vectors of equal length goes: first, smallest, last."""
    vectors = [c for c in columns if "." in c.name and len(c.values) > 2 and _dimension(c) in (2, 3)]
    lines = []
    for one, other in itertools.combinations(vectors[:4], 2):
        if one.constant and other.constant:
            continue
        shared = [step for step in layout.steps if step in one.values and step in other.values]
        if _dimension(one) != _dimension(other) or len(shared) < 3:
            continue
        apart = {s: math.dist(one.values[s], other.values[s]) for s in shared}  # type: ignore[arg-type]
        nearest = min(shared, key=lambda step: apart[step])
        reach = max(apart.values())
        lines.append(
            f"distance of {one.name} and {other.name}: {at_scale(apart[shared[0]], reach)} at first, "
            f"smallest {at_scale(apart[nearest], reach)} at step {nearest}, "
            f"{at_scale(apart[shared[-1]], reach)} at last"
        )
    return lines[:MOST_DISTANCES]


def _dimension(column: Column) -> int:
    lengths = {len(value) if isinstance(value, tuple) else 0 for value in column.values.values()}
    return lengths.pop() if len(lengths) == 1 else 0


def _table(layout: Layout, columns: Sequence[Column], room: int) -> str:
    """Rows of the most telling steps, as many as fit; columns are dropped from the right if two do not fit."""
    telling = weights(layout, columns)
    order = sorted(telling, key=lambda step: (-telling[step], step))
    order += [step for step in fill(layout.steps) if step not in telling]
    order = order[: max(FEW_ROWS, min(MOST_ROWS, len(telling) + FEW_ROWS // 2))]
    columns = list(columns)
    while columns:
        low, high = 0, len(order)
        while low < high:
            middle = (low + high + 1) // 2
            if token_bound(_rows(layout, columns, order[:middle])) <= room:
                low = middle
            else:
                high = middle - 1
        if low >= min(2, len(order)):
            return _rows(layout, columns, order[:low])
        columns.pop()
    return ""


def _rows(layout: Layout, columns: Sequence[Column], steps: Sequence[int]) -> str:
    total, shown = len(layout.steps), sorted(steps)
    choice = "all are shown" if len(shown) == total else f"{len(shown)} are shown, the most telling"
    lines = [f"Of {total} steps {choice}:", " | ".join(["step", *(column.name for column in columns)])]
    scales = {column.name: _scale(column) for column in columns}
    for step in shown:
        cells = [_cell(column, step, scales[column.name]) for column in columns]
        lines.append(" | ".join([str(step), *cells]))
    return "\n".join(lines)


def _cell(column: Column, step: int | None, scale: float | None = None) -> str:
    if step not in column.values:
        return "-"
    return _leaf(column.values[step], _scale(column) if scale is None else scale)


def _leaf(leaf: Leaf, scale: float) -> str:
    if isinstance(leaf, tuple):
        return " ".join(at_scale(value, scale) for value in leaf)
    if isinstance(leaf, float):
        return at_scale(leaf, scale)
    return one_line(str(leaf), CELL).replace("|", "/")


def _scale(column: Column) -> float:
    """The size of the differences that matter in a column: its reach, but not below a hundredth of its size."""
    numbers = [
        number
        for value in column.values.values()
        for number in (value if isinstance(value, tuple) else (value,))
        if isinstance(number, float) and math.isfinite(number)
    ]
    if not numbers:
        return 0.0
    size = max(map(abs, numbers))
    return min(size, max(max(numbers) - min(numbers), size / 100))


def _span(first: int, last: int) -> str:
    return f"step {first}" if first == last else f"{first}-{last}"


def _ranges(steps: Sequence[int], most: int = 6) -> str:
    spans: list[tuple[int, int]] = []
    for step in steps:
        if spans and spans[-1][1] == step - 1:
            spans[-1] = (spans[-1][0], step)
        else:
            spans.append((step, step))
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in spans]
    return ", ".join(texts[:most]) + (", ..." if len(texts) > most else "")
