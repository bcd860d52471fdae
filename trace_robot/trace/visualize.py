"""A graph as a picture: DOT text, and SVG where graphviz is installed.

Parameters are boxes, operations rounded boxes, exceptions red octagons, other values plain ellipses; what got
feedback has a double border.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trace_robot.errors import MissingExtraError
from trace_robot.trace.node import ancestors
from trace_robot.trace.node_types import ExceptionNode, MessageNode, Node, ParameterNode
from trace_robot.trace.serialization import shorten

_STYLES = (
    (ExceptionNode, 'shape=octagon, style=filled, fillcolor="#f8b4b4", color="#b91c1c"'),
    (MessageNode, 'shape=box, style="rounded,filled", fillcolor="#e5edf8", color="#3b6ea8"'),
    (ParameterNode, 'shape=box, style=filled, fillcolor="#fde9c8", color="#b45309", penwidth=2'),
    (Node, 'shape=ellipse, style=filled, fillcolor="#f3f4f6", color="#6b7280"'),
)


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture of a graph; ``source`` is DOT text."""

    source: str

    def __str__(self) -> str:
        return self.source

    def svg(self) -> str:
        """Return the picture as SVG; raises MissingExtraError where graphviz is not installed."""
        program = shutil.which("dot")
        if program is None:
            raise MissingExtraError(
                "a picture needs graphviz: apt install graphviz; .source has the DOT text"
            )
        done = subprocess.run(
            [program, "-Tsvg"], input=self.source, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    def save(self, path: str | Path) -> Path:
        """Write SVG if the name ends in .svg, else DOT text."""
        target = Path(path)
        target.write_text(self.svg() if target.suffix == ".svg" else self.source, encoding="utf-8")
        return target

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What a notebook shows."""
        text = {"text/plain": self.source}
        return {**text, "image/svg+xml": self.svg()} if shutil.which("dot") else text


def draw(output: Node, *, skip_clones: bool = True, upwards: bool = False, max_chars: int = 100) -> Drawing:
    """Return a drawing of ``output`` and everything it came from."""
    return draw_nodes(
        ancestors(output), skip_clones=skip_clones, upwards=upwards, max_chars=max_chars, outputs=(output,)
    )


def draw_nodes(
    nodes: Iterable[Node],
    *,
    skip_clones: bool = True,
    upwards: bool = False,
    max_chars: int = 100,
    outputs: Iterable[Node] = (),
) -> Drawing:
    """Return a drawing of ``nodes``, parents first, and the edges between them; clones may be left out."""
    nodes = list(nodes)
    shown = {id(each): f"n{index}" for index, each in enumerate(nodes)}
    last = {id(each) for each in outputs}
    source = {id(each): id(each) for each in nodes}
    lines = [f"  rankdir={'BT' if upwards else 'TB'};", '  node [fontname="Helvetica", fontsize=10];']
    for each in nodes:
        if skip_clones and _is_clone(each) and id(each) not in last:
            source[id(each)] = source.get(id(each.parents[0]), id(each))
        if source[id(each)] == id(each):
            border = ", peripheries=2" if id(each) in last else ""
            lines.append(f"  {shown[id(each)]} [label={_label(each, max_chars)}, {_style(each)}{border}];")
    for each in nodes:
        if source[id(each)] == id(each):
            lines += (
                f"  {shown[parent]} -> {shown[id(each)]}{look};" for parent, look in _sources(each, source)
            )
    return Drawing("digraph {\n" + "\n".join(lines) + "\n}\n")


def _sources(node: Node, source: dict[int, int]) -> list[tuple[int, str]]:
    """Return where the edges to ``node`` come from, and their looks: hidden dependencies are dashed."""
    if not isinstance(node, MessageNode):
        return []
    hidden = [source[id(each)] for each in node.hidden_dependencies if id(each) in source]
    declared = [source[id(each)] for each in node.parents if id(each) in source]
    return list({**dict.fromkeys(hidden, " [style=dashed]"), **dict.fromkeys(declared, "")}.items())


def _is_clone(node: Node) -> bool:
    return isinstance(node, MessageNode) and node.operation.base in ("clone", "identity")


def _style(node: Node) -> str:
    return next(style for kind, style in _STYLES if isinstance(node, kind))


def _label(node: Node, max_chars: int) -> str:
    lines = [node.py_name, shorten(node.description, max_chars), shorten(node._data, max_chars)]
    escaped = [line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\l") for line in lines]
    return '"' + "\\n".join(escaped) + '"'
