"""Drawings of graphs."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from trace_robot.errors import MissingExtraError
from trace_robot.trace import ExecutionError, Node, backward, bundle, node
from trace_robot.trace.visualize import Drawing


@bundle(allow_external_dependencies=True)
def used(x: Any) -> Any:
    """Use "quotes" and \\ in docs."""
    return x


def lines_of(source: str, text: str) -> list[str]:
    return [line for line in source.splitlines() if text in line]


def drawn(output: Node, feedback: str = "") -> Drawing:
    drawing = output.backward(feedback, visualize=True)
    assert isinstance(drawing, Drawing)
    return drawing


def test_parameters_operations_errors_and_values_look_different() -> None:
    x = node(0, trainable=True)
    with pytest.raises(ExecutionError) as caught:
        used(1 + x) / x
    source = drawn(caught.value.exception_node, "fix").source
    shapes = {shape for shape in ("octagon", "box", "ellipse") if f"shape={shape}" in source}
    assert shapes == {"octagon", "box", "ellipse"}
    (parameter,) = lines_of(source, f'label="{x.py_name}\\n')
    assert "penwidth=2" in parameter
    (error,) = lines_of(source, "octagon")
    assert "ZeroDivisionError" in error
    assert "peripheries=2" in error
    assert '\\"quotes\\" and \\\\' in source


def test_every_edge_is_drawn_once_and_hidden_ones_dashed() -> None:
    hidden = node(1, trainable=True)
    x = node(2)

    @bundle(allow_external_dependencies=True)
    def reads(x: Any) -> Any:
        return x + hidden.data

    source = str((reads(x) * reads(x)).backward(visualize=True))
    assert len(lines_of(source, " -> ")) == 6
    assert len(lines_of(source, "style=dashed")) == 2
    square = str((x * x).backward(visualize=True))
    assert len(lines_of(square, " -> ")) == 1


def test_clones_are_left_out_unless_asked_for() -> None:
    x = node(1, trainable=True)
    output = x.clone() + 1
    assert "clone" not in str(output.backward(visualize=True, retain_graph=True))
    assert "clone" in str(output.backward(visualize=True, simple_visualization=False))
    assert "clone" in str(x.clone().backward(visualize=True))


def test_long_values_are_cut_and_the_picture_can_be_turned() -> None:
    x = node("y" * 1000, trainable=True)
    subgraph = backward(x + "!", "f")
    drawing = subgraph.visualize(print_limit=20, reverse_plot=True)
    assert "y" * 21 not in drawing.source
    assert "rankdir=BT" in drawing.source


def test_nothing_is_drawn_unless_asked_for() -> None:
    assert (node(1) + 1).backward("f") is None


def test_dot_text_can_be_saved_and_shown(tmp_path: Path) -> None:
    drawing = drawn(node(1) + 1)
    assert drawing.save(tmp_path / "graph.dot").read_text() == drawing.source
    assert drawing._repr_mimebundle_()["text/plain"] == drawing.source


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
def test_with_graphviz_there_is_an_svg(tmp_path: Path) -> None:
    drawing = drawn(node(1) + 1)
    assert "<svg" in drawing.svg()
    assert "<svg" in drawing.save(tmp_path / "graph.svg").read_text()


def test_without_graphviz_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    drawing = drawn(node(1) + 1)
    with pytest.raises(MissingExtraError, match="a picture needs graphviz: apt install graphviz"):
        drawing.svg()
