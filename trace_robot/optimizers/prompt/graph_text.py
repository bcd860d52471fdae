"""Render a recorded graph within any number of tokens, in three passes.

Records become a table of numbers, a selection of the table is made, and only then text. The first two passes are in
``table`` and ``selection``; this module is the third.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trace_robot.llm.metering import shorten, token_bound
from trace_robot.optimizers.prompt.selection import MOST_RUNS, Run, Selection, select
from trace_robot.optimizers.prompt.table import (
    Entry,
    Record,
    Series,
    StepTable,
    base_name,
    outputs_of,
    step_numbers,
)
from trace_robot.optimizers.prompt.values import (
    Leaf,
    at_scale,
    number,
    one_line,
    program_text,
    step_ranges,
    step_span,
)

if TYPE_CHECKING:
    from trace_robot.trace.visualize import Drawing

HEADING_TOKENS = 4  # a part's name and the empty line before it
SHARES = {"#Documentation": 6, "#Code": 4, "#Inputs": 6, "#Outputs": 6}  # a sixth of the tokens, a quarter
MOST_PATTERNS = 5
MOST_FAILURES = 3
MOST_VALUES = 6
CELL = 60  # characters

# Of the picture, in Graphviz's terms.
STYLES = {
    "exception": 'shape=octagon, style=filled, fillcolor="#f8b4b4", color="#b91c1c"',
    "operation": 'shape=box, style="rounded,filled", fillcolor="#e5edf8", color="#3b6ea8"',
    "parameter": 'shape=box, style=filled, fillcolor="#fde9c8", color="#b45309", penwidth=2',
}
OTHER = 'shape=ellipse, style=filled, fillcolor="#f3f4f6", color="#6b7280"'
LONGEST = 60  # characters of a line of a node
Key = tuple[str, str, str]


def render_graph(
    records: Sequence[Record], tokens: int, *, variables: Collection[str] = (), mask: Collection[str] = ()
) -> dict[str, str]:
    """Return a recorded graph as parts of the problem instance, repeated steps folded.

    Args:
        records: the nodes of the graph as plain data, parents before children.
        tokens: upper bound for all parts together.
        variables: names of parameters, which are shown elsewhere.
        mask: names of parts to leave out.

    Returns:
        The texts of #Code, #Documentation, #Inputs, #Outputs and #Others by name, those that are not empty.
    """
    table = StepTable.from_records(records)
    selection = select(table, mask)
    return render(table, selection, tokens, variables=variables, mask=mask)


def render(
    table: StepTable,
    selection: Selection,
    tokens: int,
    *,
    variables: Collection[str] = (),
    mask: Collection[str] = (),
) -> dict[str, str]:
    """Return a table and a selection of it as parts of the problem instance.

    Args:
        table: the first pass.
        selection: the second pass over ``table``, with the same mask.
        tokens: upper bound for all parts together; #Others takes what the others leave.
        variables: names of parameters, which are shown elsewhere.
        mask: names of parts to leave out.

    Returns:
        The parts that are not empty, by name.
    """
    texts = {
        "#Documentation": _documentation(table),
        "#Code": code_text(table),
        "#Inputs": _inputs(table, selection, variables),
        "#Outputs": _outputs(table, selection),
    }
    others, rows = _others(table, selection), _rows(selection)
    parts = {
        name: shorten(texts[name], tokens // share) for name, share in SHARES.items() if name not in mask
    }
    parts = {name: text for name, text in parts.items() if text}
    room = tokens - sum(token_bound(text) + HEADING_TOKENS for text in parts.values()) - HEADING_TOKENS
    if table.steps:
        summary = shorten(others, room // 2)
        room -= token_bound(summary) + 2
        header = ["step", *(series.name for series in selection.rows)]
        others = "\n".join(filter(None, [summary, _fit_rows(header, rows, len(table.steps), room)]))
    else:
        others = shorten(others, max(room, 0))
    return {**parts, "#Others": others} if others and "#Others" not in mask else parts


def _documentation(table: StepTable) -> str:
    return "\n".join(f"{name}: {program_text(text, 400)}" for name, text in table.documentation.items())


def code_text(table: StepTable) -> str:
    """Return the most frequent patterns by their first step, then the other calls."""
    frequent = sorted(table.patterns.items(), key=lambda item: -len(item[1]))
    lines = []
    for calls, steps in sorted(frequent[:MOST_PATTERNS], key=lambda item: item[1][0]):
        if calls:
            times = "once" if len(steps) == 1 else f"{len(steps)} times"
            lines.append(f"# step {step_ranges(steps)} ({times})")
            lines.extend(calls)
    rest = frequent[MOST_PATTERNS:]
    if rest:
        lines.append(f"# {len(rest)} other sequences of calls in {sum(len(s) for _, s in rest)} steps")
    return "\n".join([*lines, *(entry.call for entry in table.entries if entry.call)])


def _inputs(table: StepTable, selection: Selection, variables: Collection[str]) -> str:
    lines = [
        f"({entry.kind}) {entry.name} = {_value(entry, 160)}"
        for entry in table.entries
        if entry.kind in ("input", "constant") and entry.base not in variables
    ]
    lines += [constant_text(series, table, selection.scales) for series in selection.constant_inputs]
    return "\n".join(lines)


def _outputs(table: StepTable, selection: Selection) -> str:
    lines = [f"{e.name} = {_value(e, 400)}" for e in table.entries if e.output and e.call]
    for step, exception in sorted(table.failures.items())[:MOST_FAILURES]:
        lines.append(f"step {step}: {_value(exception, 400)}")
    for series in selection.outputs:
        last = table.steps[-1]
        lines.append(f"{series.name} = {_at(series, last, selection)}, at the last step {last}")
    return "\n".join(lines)


def _others(table: StepTable, selection: Selection) -> str:
    """Return #Others without its rows, or all values of a graph without steps."""
    if not table.steps:
        return "\n".join(f"{e.name} = {_value(e, 160)}" for e in table.entries if e.call and not e.output)
    lines = [constant_text(series, table, selection.scales) for series in selection.constant]
    for series, reach in selection.steady:
        last = _at(series, list(series.values)[-1], selection)
        lines.append(f"{series.name} = about {last}, changes by at most {leaf_text(reach, reach * 10)}")
    lines += [plateau_text(name, runs) for name, runs in selection.plateaus]
    lines += [distance_text(series) for series in selection.distances]
    return "\n".join(lines)


def constant_text(series: Series, table: StepTable, scales: Mapping[str, float]) -> str:
    """Return the line of a value that never changes.

    Args:
        series: the value.
        table: of which it is.
        scales: by name, the size of the differences that matter.
    """
    steps = sorted(series.values)
    everywhere = len(steps) == len(table.steps)
    where = "in every step" if everywhere else f"wherever it is, step {step_ranges(steps)}"
    return f"{series.name} = {leaf_text(series.values[steps[0]], scales.get(series.name, 0.0))}, {where}"


def plateau_text(name: str, runs: Sequence[Run], longest: int = CELL) -> str:
    """Return the line of a value that holds for a while each.

    Args:
        name: what it is called.
        runs: its stretches.
        longest: most characters of a text.
    """
    if len(runs) > MOST_RUNS:
        values = list(dict.fromkeys(leaf_text(value, 0.0, longest) for _, _, value in runs))
        return f"{name}: {', '.join(values[:MOST_VALUES])}; changes {len(runs) - 1} times"
    stretches = (
        f"{leaf_text(value, 0.0, longest)} in {step_span(first, last)}" for first, last, value in runs
    )
    return f"{name}: " + ", ".join(stretches)


def distance_text(series: Series, scale: float | None = None) -> str:
    """Return the line of a distance: its first, its least and its last value.

    Args:
        series: the distance by step.
        scale: a thousandth of it is written; the largest value if None.
    """
    values = {step: value for step, value in series.values.items() if isinstance(value, float)}
    steps, reach = list(values), max(values.values()) if scale is None else scale
    nearest = min(steps, key=lambda step: values[step])
    first, smallest, last = (leaf_text(values[step], reach) for step in (steps[0], nearest, steps[-1]))
    return f"{series.name}: {first} at first, smallest {smallest} at step {nearest}, {last} at last"


def _rows(selection: Selection) -> list[tuple[int, list[str]]]:
    """Return the cells of each step that may get a row, the most important step first."""
    return [
        (step, [str(step), *(_at(series, step, selection) for series in selection.rows)])
        for step in selection.ranking
    ]


def _value(entry: Entry, length: int) -> str:
    return number(entry.value, 4) if isinstance(entry.value, float) else program_text(entry.value, length)


def _at(series: Series, step: int, selection: Selection) -> str:
    """Return a series' value at a step, "-" where it has none."""
    return leaf_text(series.values[step], selection.scales[series.name]) if step in series.values else "-"


def leaf_text(leaf: Leaf, scale: float, longest: int = CELL) -> str:
    """Return a value as a cell of a table.

    Args:
        leaf: the value.
        scale: a thousandth of it is the last digit; 0 for unknown.
        longest: most characters of a text.
    """
    if isinstance(leaf, tuple):
        return " ".join(at_scale(value, scale) for value in leaf)
    if isinstance(leaf, float):
        return at_scale(leaf, scale)
    return program_text(str(leaf), longest).replace("|", "/")  # a bar would end the cell


def _fit_rows(header: Sequence[str], rows: Sequence[tuple[int, list[str]]], total: int, room: int) -> str:
    """Return as many rows as fit, of fewer columns where not even two rows do.

    Columns are dropped from the right: they come in the order of the program.
    """
    titles = [_title(count, total) for count in range(len(rows) + 1)]
    for width in range(min(len(header), room), 1, -1):  # a column takes a token at least
        lines = [" | ".join(cells[:width]) for cells in (header, *(cells for _, cells in rows))]
        # No line is empty, so that the bound of all is the sum over lines and line ends: each is counted once.
        tokens = list(itertools.accumulate(token_bound(line) + 1 for line in lines))
        low, high = 0, len(rows)
        while low < high:  # bisection over the number of rows
            middle = (low + high + 1) // 2
            if token_bound(titles[middle]) + tokens[middle] <= room:
                low = middle
            else:
                high = middle - 1
        if low >= min(2, len(rows)):
            shown = sorted((step, line) for (step, _), line in zip(rows[:low], lines[1:], strict=False))
            return "\n".join([titles[low], lines[0], *(line for _, line in shown)])
    return ""


def _title(count: int, total: int) -> str:
    choice = "all are shown" if count == total else f"{count} are shown, the most telling"
    return f"Of {total} steps {choice}:"


# The picture.


@dataclass(slots=True)
class FoldedNode:
    """One node of the picture: the same operation in all steps that make it.

    Args:
        name: the recorded name without its running number.
        kind: as recorded.
        steps: the steps in which it comes.
        values: its values as text, in the order of the records.
        parents: how often each node went into it, by that node's key and the argument's name.
        output: whether nothing else uses it in some step.
    """

    name: str
    kind: str
    steps: list[int] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    parents: Counter[tuple[Key, str]] = field(default_factory=Counter)
    output: bool = False


def fold(records: Sequence[Record]) -> dict[Key, FoldedNode]:
    """Return the nodes of the folded graph, in the order of their first record."""
    steps, outputs = step_numbers(records), outputs_of(records)
    seen: Counter[tuple[int | None, str]] = Counter()
    keys: dict[int, Key] = {}
    nodes: dict[Key, FoldedNode] = {}
    for record in records:
        step, name = steps.get(record["id"]), str(record["name"])
        label = name if step is None else base_name(name)
        seen[step, label] += 1
        if seen[step, label] > 1:
            label = f"{label}#{seen[step, label]}"
        key = keys[record["id"]] = (label, str(record["kind"]), str(record["op"]))
        node = nodes.setdefault(key, FoldedNode(label, str(record["kind"])))
        node.values.append(str(record["value"]))
        node.output = node.output or record["id"] in outputs
        if step is not None:
            node.steps.append(step)
        for argument, parent in record["inputs"].items():
            if parent in keys:
                node.parents[keys[parent], str(argument)] += 1
    return nodes


def draw_folded(records: Sequence[Record]) -> Drawing:
    """Return a drawing of the records of an episode, parents before children.

    Its size does not grow with the episode. An edge that closes a circle leads to the next step. What nothing else uses
    has a double border.
    """
    from trace_robot.trace.visualize import Drawing  # for people alone: a prompt needs no drawing

    nodes = fold(records)
    names = {key: f"n{number}" for number, key in enumerate(nodes)}
    lines = [
        "  rankdir=TB;",
        '  node [fontname="Helvetica", fontsize=10];',
        '  edge [fontname="Helvetica", fontsize=8];',
    ]
    for key, node in nodes.items():
        border = ", peripheries=2" if node.output else ""
        lines.append(f"  {names[key]} [label={_label(node)}, {STYLES.get(node.kind, OTHER)}{border}];")
    order = {key: number for number, key in enumerate(nodes)}
    for key, node in nodes.items():
        for (parent, argument), times in node.parents.items():
            # Without constraint=false, graphviz would rank the nodes of a circle by its backward edge too.
            back = ", constraint=false" if order[parent] >= order[key] else ""
            text = argument if times == 1 else f"{argument} ×{times}"
            lines.append(f"  {names[parent]} -> {names[key]} [label={_quoted([text])}{back}];")
    return Drawing("digraph {\n" + "\n".join(lines) + "\n}\n")


def _label(node: FoldedNode) -> str:
    lines = [node.name]
    if len(node.steps) > 1:
        lines.append(f"in {len(node.steps)} steps, {min(node.steps)} to {max(node.steps)}")
    elif node.steps:
        lines.append(f"in step {node.steps[0]}")
    first, last = (one_line(value, LONGEST) for value in (node.values[0], node.values[-1]))
    lines.append(first)
    if last != first:
        lines.append(f"… {last}")
    return _quoted(lines)


def _quoted(lines: Sequence[str]) -> str:
    """Return a label that graphviz takes as text, as values may hold any characters."""
    plain = ["".join(c if c.isprintable() else "�" for c in line) for line in lines]
    return '"' + "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in plain) + '"'
