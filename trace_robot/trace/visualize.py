"""A graph as a drawing: DOT text, and SVG where graphviz is installed.

Parameters are boxes, operations rounded boxes, exceptions red octagons, other values plain ellipses; the node
that was drawn has a double border.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trace_robot.errors import MissingExtraError
from trace_robot.trace.node import ancestors
from trace_robot.trace.node_types import ExceptionNode, MessageNode, Node, ParameterNode
from trace_robot.trace.shortening import shorten

# Looked up in this order with isinstance, so the special kinds come first.
_STYLES = (
    (ExceptionNode, 'shape=octagon, style=filled, fillcolor="#f8b4b4", color="#b91c1c"'),
    (MessageNode, 'shape=box, style="rounded,filled", fillcolor="#e5edf8", color="#3b6ea8"'),
    (ParameterNode, 'shape=box, style=filled, fillcolor="#fde9c8", color="#b45309", penwidth=2'),
    (Node, 'shape=ellipse, style=filled, fillcolor="#f3f4f6", color="#6b7280"'),
)


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawing of a graph. ``source`` is DOT text."""

    source: str

    def __str__(self) -> str:
        return self.source

    def svg(self) -> str:
        """Return the drawing as SVG.

        Raises:
            MissingExtraError: graphviz is not installed.
        """
        # Imported here alone: every process that traces imports this module, the sandboxed one too, and needs
        # no means to start a program.
        import subprocess

        program = _graphviz()
        if program is None:
            raise MissingExtraError(
                "a picture needs graphviz: apt install graphviz; .source has the DOT text"
            )
        process = subprocess.run(
            [program, "-Tsvg"], input=self.source, capture_output=True, text=True, check=True, timeout=60
        )
        return process.stdout

    def save(self, path: str | Path) -> Path:
        """Write SVG if the name ends in .svg, else DOT text."""
        target = Path(path)
        target.write_text(self.svg() if target.suffix == ".svg" else self.source, encoding="utf-8")
        return target

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Return what a notebook shows (IPython's display protocol)."""
        text = {"text/plain": self.source}
        return {**text, "image/svg+xml": self.svg()} if _graphviz() else text


def _graphviz() -> str | None:
    """Return the path of graphviz's program, None if it is not installed."""
    import shutil  # here, for the same reason as subprocess above

    return shutil.which("dot")


def draw(output: Node, *, skip_clones: bool = True, upwards: bool = False, max_chars: int = 100) -> Drawing:
    """Return a drawing of a node and everything it depends on.

    Args:
        output: has a double border.
        skip_clones: whether clones are left out.
        upwards: whether the output is at the top.
        max_chars: characters of a value or description that are shown.
    """
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
    """Return a drawing of some nodes and the edges between them.

    Args:
        nodes: parents first.
        skip_clones: whether clones are left out, except among ``outputs``.
        upwards: whether edges point upwards.
        max_chars: characters of a value or description that are shown.
        outputs: nodes with a double border.
    """
    nodes = list(nodes)
    labels = {id(node): f"n{index}" for index, node in enumerate(nodes)}
    output_ids = {id(node) for node in outputs}
    origin = {id(node): id(node) for node in nodes}  # of a clone that is left out: the node it stands for
    lines = [f"  rankdir={'BT' if upwards else 'TB'};", '  node [fontname="Helvetica", fontsize=10];']
    for node in nodes:
        if skip_clones and _is_clone(node) and id(node) not in output_ids:
            origin[id(node)] = origin.get(id(node.parents[0]), id(node))
        if origin[id(node)] == id(node):
            border = ", peripheries=2" if id(node) in output_ids else ""
            lines.append(f"  {labels[id(node)]} [label={_label(node, max_chars)}, {_style(node)}{border}];")
    for node in nodes:
        if origin[id(node)] == id(node):
            lines += (
                f"  {labels[parent]} -> {labels[id(node)]}{style};" for parent, style in _edges(node, origin)
            )
    return Drawing("digraph {\n" + "\n".join(lines) + "\n}\n")


def _edges(node: Node, origin: dict[int, int]) -> list[tuple[int, str]]:
    """Return where edges to ``node`` begin, and their style."""
    if not isinstance(node, MessageNode):
        return []
    hidden = [origin[id(parent)] for parent in node.hidden_dependencies if id(parent) in origin]
    declared = [origin[id(parent)] for parent in node.parents if id(parent) in origin]
    # Dicts, so that two edges between the same nodes are drawn once, and as declared if one of them is.
    return list({**dict.fromkeys(hidden, " [style=dashed]"), **dict.fromkeys(declared, "")}.items())


def _is_clone(node: Node) -> bool:
    return isinstance(node, MessageNode) and node.operation.base in ("clone", "identity")


def _style(node: Node) -> str:
    return next(style for kind, style in _STYLES if isinstance(node, kind))


def _label(node: Node, max_chars: int) -> str:
    lines = [node.py_name, shorten(node.description, max_chars), shorten(node._data, max_chars)]
    escaped = [line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\l") for line in lines]
    return '"' + "\\n".join(escaped) + '"'
