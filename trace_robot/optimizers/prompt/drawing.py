"""Draw a recorded graph folded: one node for the same operation of all steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from trace_robot.optimizers.prompt.table import Record, base_name, outputs_of, step_numbers
from trace_robot.optimizers.prompt.values import one_line
from trace_robot.trace.visualize import Drawing

STYLES = {
    "exception": 'shape=octagon, style=filled, fillcolor="#f8b4b4", color="#b91c1c"',
    "operation": 'shape=box, style="rounded,filled", fillcolor="#e5edf8", color="#3b6ea8"',
    "parameter": 'shape=box, style=filled, fillcolor="#fde9c8", color="#b45309", penwidth=2',
}
OTHER = 'shape=ellipse, style=filled, fillcolor="#f3f4f6", color="#6b7280"'
LONGEST = 60
Key = tuple[str, str, str]


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
