"""Abstract values of a controller's program, and branches that merge into them.

Partial evaluation: what the text alone decides (a stage's functions, a table's entries) is decided here, and only
numbers that depend on the observation or on memory become expressions. A value of which a run decides is a ``Choice``.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trace_robot.deploy.ir import Expression, Kind, constant
from trace_robot.errors import PolicyError

MOST_WORK = 250_000  # operations recorded, abstract ones too: seconds of translation
NO_OPTION = "no option is left"  # of a path that is never taken
Value = Any  # a Python scalar, text or None, an Expression, or one of the classes below


class OutsideSubsetError(PolicyError):
    """A controller cannot be translated: line and reason."""


class DeadPathError(Exception):
    """What is translated cannot be reached, or ends in a fault."""


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """A tuple or an array. An array that only one name holds can be changed."""

    items: tuple[Value, ...]
    is_array: bool = False
    is_view: bool = False  # of an array that another name may hold


@dataclass(frozen=True, slots=True)
class Reference:
    """A list or a dict, by its number in the heap."""

    number: int


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One of several values, by the value of ``tag``."""

    tag: Expression
    options: Mapping[int, Value]


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function of the controller, and the variables around it."""

    node: ast.FunctionDef | ast.Lambda
    scope: int


@dataclass(frozen=True, slots=True)
class Builtin:
    """A function, a constant or a module of another library, by its full name."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class ListContents:
    """What a list holds, ``frozen`` where another name could see a change."""

    items: tuple[Value, ...]
    frozen: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class DictContents:
    """What a dict holds: for each key whether it is there, and its value."""

    entries: Mapping[Any, tuple[bool | Expression, Value]]
    frozen: bool = False


def same(first: Value, second: Value) -> bool:
    """Return whether two values are equal whatever a run does.

    Args:
        first: a value.
        second: another value.
    """
    if first is second:
        return True
    if type(first) is not type(second) or isinstance(first, Expression):
        return False
    if isinstance(first, Vector):
        pairs = zip(first.items, second.items, strict=False)
        lengths = len(first.items) == len(second.items) and first.is_array == second.is_array
        return lengths and all(same(a, b) for a, b in pairs)
    if isinstance(first, Choice):
        tags = first.tag is second.tag and first.options.keys() == second.options.keys()
        return tags and all(same(value, second.options[key]) for key, value in first.options.items())
    if isinstance(first, Function):
        return first.node is second.node and first.scope == second.scope
    if isinstance(first, float):
        return repr(first) == repr(second)  # 0.0 and -0.0 differ
    return bool(first == second)


def is_number(value: Value) -> bool:
    """Return whether it is a scalar number or bool, of a run or of the text."""
    return isinstance(value, Expression | float | int)


def as_expression(value: Value) -> Expression:
    """Return a number as an expression."""
    return value if isinstance(value, Expression) else constant(value)


def kind_of(value: Value) -> Kind:
    """Return the kind of a number."""
    return as_expression(value).kind
