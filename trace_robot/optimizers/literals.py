"""Constant extraction: the floats written in source, and others in their place.

The source is parsed and never executed.
"""

from __future__ import annotations

import ast
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple, TypeAlias

from trace_robot.optimizers.code import LINE_END, parse

SMALLEST = 1e-6  # a smaller number is a tolerance or guards a division
SENTINEL = 1e6  # a larger number is no gain and no length in SI units
CONTAINERS = ("array", "asarray", "dict", "list", "tuple")  # calls whose arguments are a constant's numbers


@dataclass(frozen=True, slots=True)
class Literal:
    """A float in source.

    Args:
        value: the number, negative with a minus before it.
        line: counted from 1.
        start: offset of its first character in the whole text, that of the minus if there is one.
        end: offset behind its last character.
        name: of the constant that it belongs to, with its place where the constant has several; "" for no constant.
        low: lower bound that the constant's annotation gives, -inf without one.
        high: upper bound, inf without one.
    """

    value: float
    line: int
    start: int
    end: int
    name: str = ""
    low: float = -math.inf
    high: float = math.inf

    @property
    def bounds(self) -> dict[str, float] | None:
        """The bounds in the form of a parameter's constraint, None without one."""
        ends = {"low": self.low, "high": self.high}
        return {name: end for name, end in ends.items() if math.isfinite(end)} or None


def find_literals(source: str) -> list[Literal]:
    """Return the floats of ``source`` that are worth tuning, in their order.

    Whole numbers, 0.0, 1.0 and -1.0, exponents, indices, and numbers below a millionth are structure and left out.
    Source that cannot be parsed has none.
    """
    tree = parse(source)
    if isinstance(tree, str):
        return []
    return _located(source, (_Number("", node, value) for node, value in _floats(tree)))


def find_constants(source: str) -> list[Literal]:
    """Return the floats of ``source`` that a tuner may change, in their order.

    They are those of constants: names that the top level gives a float, or a list, tuple, dict or array of floats. Left
    out are numbers in functions and expressions, ``fixed(...)``, sentinels, and what ``find_literals`` leaves out.

    ``GAIN: Annotated[float, Bounds(0.0, 40.0)] = 8.9`` has bounds. Of a dict, or a list of dicts, they are given by
    key: ``Annotated[list, {"speed": Bounds(0.0, 1.0), "length": fixed}]``.
    """
    tree = parse(source)
    return [] if isinstance(tree, str) else _located(source, _constants(tree))


def is_sentinel(value: float) -> bool:
    """Return whether a number means no limit: 1e6 and more, 999, 9999, 10,000."""
    size = abs(value)
    if size >= SENTINEL or not size < float("inf"):
        return True
    digits = f"{size:.15g}".replace(".", "").strip("0")
    return (size >= 999 and set(digits) == {"9"}) or (size >= 10_000 and digits == "1")


class _Number(NamedTuple):
    """A float of a constant, and between which bounds its annotation wants it."""

    name: str
    node: ast.expr
    value: float
    low: float = -math.inf
    high: float = math.inf


def _located(source: str, found: Iterable[_Number]) -> list[Literal]:
    """Return literals with their offsets, in the order of the text."""
    lines = [_Line(start, source[start:end]) for start, end in _line_spans(source)]
    literals = []
    for name, node, value, low, high in found:
        start = lines[node.lineno - 1].offset(node.col_offset)
        end = lines[(node.end_lineno or 1) - 1].offset(node.end_col_offset or 0)
        literals.append(Literal(value, node.lineno, start, end, name, low, high))
    return sorted(literals, key=lambda literal: literal.start)


def _constants(tree: ast.Module) -> Iterator[_Number]:
    """Yield the floats of constants with their names, each constant's in their order."""
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        limits: _Limits = {}
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, limits = [statement.target], _limits_of(statement.annotation)
        if len(targets) != 1:
            continue
        value: ast.expr = statement.value  # type: ignore[attr-defined]  # both kinds have it here
        if isinstance(targets[0], ast.Name):
            yield from _named(targets[0].id, value, limits)
        elif isinstance(targets[0], ast.Tuple) and isinstance(value, ast.Tuple):
            for target, part in zip(targets[0].elts, value.elts, strict=False):  # A, B = 0.1, 0.2
                if isinstance(target, ast.Name):
                    yield from _named(target.id, part, {})


_Limits: TypeAlias = Mapping[str, tuple[float, float]]  # by the key of a dict; "" is for every number
FIXED = (0.0, 0.0)  # the limits of a fact, which is no number to tune


def _limits_of(annotation: ast.expr) -> _Limits:
    """Return the ``Bounds`` among what ``Annotated`` says of a constant."""
    if not isinstance(annotation, ast.Subscript) or not isinstance(annotation.slice, ast.Tuple):
        return {}
    if getattr(annotation.value, "attr", getattr(annotation.value, "id", "")) != "Annotated":
        return {}
    limits: dict[str, tuple[float, float]] = {}
    for metadata in annotation.slice.elts[1:]:
        pairs = (
            zip(metadata.keys, metadata.values, strict=True)
            if isinstance(metadata, ast.Dict)
            else [(None, metadata)]
        )
        for key, bounds in pairs:
            name = key.value if isinstance(key, ast.Constant) else ""
            if isinstance(name, str) and (ends := _ends_of(bounds)) is not None:
                limits[name] = ends
    return limits


def _ends_of(bounds: ast.expr) -> tuple[float, float] | None:
    """Return the two numbers of ``Bounds(low, high)``, FIXED for ``fixed``, else None."""
    if getattr(bounds, "attr", getattr(bounds, "id", "")) == "fixed":
        return FIXED
    if not isinstance(bounds, ast.Call):
        return None
    if getattr(bounds.func, "attr", getattr(bounds.func, "id", "")) != "Bounds":
        return None
    given = dict(zip(("low", "high"), bounds.args, strict=False))
    given.update((keyword.arg or "", keyword.value) for keyword in bounds.keywords)
    try:
        low, high = (ast.literal_eval(given[end]) if end in given else None for end in ("low", "high"))
        ends = -math.inf if low is None else float(low), math.inf if high is None else float(high)
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError):  # an expression, or no number
        return None
    return ends if ends[0] < ends[1] else None


def _named(name: str, value: ast.expr, limits: _Limits) -> Iterator[_Number]:
    numbers = [each for each in _plain_numbers(value) if not is_sentinel(each[1])]
    single = isinstance(value, ast.Constant | ast.UnaryOp)
    for index, (node, x, key) in enumerate(numbers):
        ends = limits.get(key) or limits.get("") or (-math.inf, math.inf)
        if ends != FIXED:
            low, high = ends if ends[0] <= x <= ends[1] else (-math.inf, math.inf)  # wrong: it runs with x
            yield _Number(name if single else f"{name}[{index}]", node, x, low, high)


def _plain_numbers(value: ast.expr, key: str = "") -> Iterator[tuple[ast.expr, float, str]]:
    """Yield the floats of a literal or of containers of them, none of expressions.

    Each comes with the key of the innermost dict that it is in.
    """
    if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub) and _tunable(value.operand):
        yield value, -float(value.operand.value), key  # type: ignore[attr-defined]
    elif _tunable(value):
        yield value, float(value.value), key  # type: ignore[attr-defined]
    elif isinstance(value, ast.Dict):
        for name, part in zip(value.keys, value.values, strict=True):
            yield from _plain_numbers(part, str(name.value) if isinstance(name, ast.Constant) else key)
    else:
        for part in _parts(value):
            yield from _plain_numbers(part, key)  # as deep as the parser lets brackets be, about 100


def _parts(value: ast.expr) -> list[ast.expr]:
    if isinstance(value, ast.Tuple | ast.List):
        return value.elts
    if isinstance(value, ast.Call):
        called = getattr(value.func, "attr", getattr(value.func, "id", ""))  # np.array, dict
        if called in CONTAINERS:
            return [*value.args, *(keyword.value for keyword in value.keywords)]
    return []


def replace_literals(source: str, values: Sequence[float], literals: Sequence[Literal] | None = None) -> str:
    """Return source with other numbers, all else as it was.

    Args:
        source: Python source.
        values: one number for each of ``literals``; six significant digits of it are written.
        literals: found in this source; ``find_literals(source)`` if None.
    """
    parts, end = [], 0
    found = find_literals(source) if literals is None else literals
    for literal, value in zip(found, values, strict=True):
        if value != literal.value:
            parts += [source[end : literal.start], _written(value)]
            end = literal.end
    return "".join([*parts, source[end:]])


def _floats(tree: ast.AST) -> Iterator[tuple[ast.expr, float]]:
    """Yield each float with its expression and its minus sign, in any order."""
    waiting = [tree]  # a stack of our own: a sum of a thousand terms is a thousand nodes deep
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and _tunable(node.operand):
                yield node, -float(node.operand.value)  # type: ignore[attr-defined]
            elif isinstance(node, ast.Constant):
                if _tunable(node):
                    yield node, float(node.value)  # type: ignore[arg-type]
            elif isinstance(node, ast.Subscript):
                waiting.append(ast.Expr(node.value))  # not its index
            elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
                waiting.append(ast.Expr(node.left))  # not its exponent
            elif not isinstance(node, ast.JoinedStr):
                waiting.append(node)


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


def _line_spans(source: str) -> Iterator[tuple[int, int]]:
    """Yield where each line begins and ends, its line end left out."""
    start = 0
    for match in LINE_END.finditer(source):
        yield start, match.start()
        start = match.end()
    yield start, len(source)


@dataclass
class _Line:
    """A line of a source and the offset of its first character."""

    start: int
    text: str

    @cached_property
    def _columns(self) -> list[int]:
        return list(accumulate((len(character.encode()) for character in self.text), initial=0))

    def offset(self, column: int) -> int:
        """Return the offset in the source of a column in UTF-8 bytes, as ``ast`` counts."""
        return self.start + (column if self.text.isascii() else bisect_left(self._columns, column))
