"""The numbers written in code: where they stand, and the code with other numbers in their places."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trace_robot.optimize import code

SMALLEST = 1e-6


@dataclass(frozen=True, slots=True)
class Literal:
    """A number in source. line: 1-based; start, end: character offsets in the whole text, its minus included."""

    value: float
    line: int
    start: int
    end: int


def find(source: str) -> list[Literal]:
    """Return the floats of ``source`` that are worth tuning, in order; [] for code that cannot be parsed.

    Whole numbers, 0.0, 1.0 and -1.0, exponents, indices, and numbers below a millionth are structure and
    left out.
    """
    tree = code.parse(source)
    if isinstance(tree, str):
        return []
    offsets = _line_offsets(source)
    lines = source.split("\n")
    found = []
    for node, value in _floats(tree):
        start = offsets[node.lineno - 1] + _characters(lines[node.lineno - 1], node.col_offset)
        end = offsets[(node.end_lineno or 1) - 1] + _characters(
            lines[(node.end_lineno or 1) - 1], node.end_col_offset or 0
        )
        found.append(Literal(value, node.lineno, start, end))
    return sorted(found, key=lambda literal: literal.start)


def replace(source: str, values: Sequence[float]) -> str:
    """Return ``source`` with ``values`` in the places that ``find`` gives, rounded to six digits."""
    for literal, value in reversed(list(zip(find(source), values, strict=True))):
        if value != literal.value:
            source = source[: literal.start] + _written(value) + source[literal.end :]
    return source


def _floats(tree: ast.AST) -> Iterator[tuple[ast.expr, float]]:
    """Yield each float with its expression, a minus sign before it included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and _tunable(node.operand):
            yield node, -float(node.operand.value)  # type: ignore[attr-defined]
        elif isinstance(node, ast.Constant):
            if _tunable(node):
                yield node, float(node.value)  # type: ignore[arg-type]
        elif isinstance(node, ast.Subscript):
            yield from _floats(ast.Expr(node.value))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            yield from _floats(ast.Expr(node.left))
        elif not isinstance(node, ast.JoinedStr):
            yield from _floats(node)


def _tunable(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, float)
        and node.value not in (0.0, 1.0)
        and SMALLEST <= abs(node.value) < float("inf")
    )


def _written(value: float) -> str:
    text = repr(float(f"{value:.6g}"))
    return text if text != "-0.0" else "0.0"


def _line_offsets(source: str) -> list[int]:
    offsets = [0]
    for line in source.split("\n"):
        offsets.append(offsets[-1] + len(line) + 1)
    return offsets


def _characters(line: str, column: int) -> int:
    """A column in UTF-8 bytes as a column in characters."""
    return len(line.encode()[:column].decode(errors="ignore"))
