"""Checks of suggested code by its syntax tree alone; nothing is executed here."""

from __future__ import annotations

import ast
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from trace_robot.optimizers import code

Function = ast.FunctionDef | ast.AsyncFunctionDef


def parse(source: str) -> ast.Module | str:
    """Return the tree, or in words why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of strings such as "\\d", which run
            return ast.parse(source)
    except SyntaxError as error:
        line = (error.text or "").strip()
        return f"syntax error on line {error.lineno}: {error.msg}" + (f", at {line!r}" if line else "")
    except (ValueError, RecursionError, MemoryError) as error:
        return f"cannot be parsed: {str(error) or type(error).__name__}"


def functions(tree: ast.Module) -> dict[str, Function]:
    """The top-level functions by name, the last of each name."""
    return {node.name: node for node in tree.body if isinstance(node, Function)}


def bound_names(tree: ast.Module) -> set[str]:
    """Names that the top level of the code defines or assigns."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(t.id for target in targets for t in ast.walk(target) if isinstance(t, ast.Name))
    return names


def signature(function: Function) -> str:
    """The parameters as text, without annotations; a default shows as "=..." whatever its value."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    optional = len(positional) - len(arguments.defaults)
    parts = [a.arg + ("=..." if i >= optional else "") for i, a in enumerate(positional)]
    if arguments.posonlyargs:
        parts.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg:
        parts.append(f"*{arguments.vararg.arg}")
    elif arguments.kwonlyargs:
        parts.append("*")
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        parts.append(argument.arg + ("=..." if default is not None else ""))
    if arguments.kwarg:
        parts.append(f"**{arguments.kwarg.arg}")
    return ", ".join(parts)


def tidy(source: str, name: str) -> str:
    """Return ``source`` dedented, ending in a newline, without bundle decorators on the function ``name``."""
    source = textwrap.dedent(source.replace("\r\n", "\n")).strip("\n").rstrip() + "\n"
    tree = parse(source)
    if isinstance(tree, str) or name not in functions(tree):
        return source
    lines = source.split("\n")
    for decorator in reversed(functions(tree)[name].decorator_list):
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        if ast.unparse(target).split(".")[-1] == "bundle":
            del lines[decorator.lineno - 1 : decorator.end_lineno]
    return "\n".join(lines)


def problems(source: str, name: str, present: str, reserved: Iterable[str] = ()) -> list[str]:
    """Return in words what keeps ``source`` from replacing ``present``, the code of the function ``name``.

    reserved: names of other parameters, which the code must not define.
    """
    tree = parse(source)
    if isinstance(tree, str):
        return [tree]
    found = functions(tree)
    if name not in found:
        there = ", ".join(found) or "no function"
        return [f"must define a function named {name!r}, got {there}; keep its name"]
    if not isinstance(found[name], ast.FunctionDef):
        return [f"{name!r} must be an ordinary function, got an async one"]
    faults = []
    before = parse(present)
    if not isinstance(before, str) and name in functions(before):
        wanted, came = signature(functions(before)[name]), signature(found[name])
        if wanted != came:
            faults.append(f"must keep the signature {name}({wanted}), got {name}({came})")
    for taken in sorted(bound_names(tree) & set(reserved) - {name}):
        faults.append(f"must not define {taken!r}, which is a variable of its own; suggest it separately")
    return faults


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
