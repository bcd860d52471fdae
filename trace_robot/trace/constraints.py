"""Bounds, Choices and ``convert``: a suggestion as a value of the right type.

    convert("False", like=True) -> False              bool("False") would be True
    convert("[1, 2]", like=[0.5]) -> [1.0, 2.0]
    convert(30, like=4.0, constraint=Bounds(0, 20)) -> ValueMismatchError

A suggestion that does not fit is an error with a reason, which the model that made it reads and repairs. Nothing is
rounded, clipped or cut: the model would not learn that its value was never tried.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from trace_robot.errors import ValueMismatchError
from trace_robot.trace.builtins import equal
from trace_robot.trace.node_types import Node, ParameterNode
from trace_robot.trace.shortening import shorten

T = TypeVar("T")
_NO_VALUE = object()  # None may be a value
# What the parsers of Python and JSON raise on text: syntax; null bytes, half a surrogate pair or 4,300 digits (all
# ValueError); nesting beyond a stack (two of them); a list as key or in a set (TypeError); a number beyond floats.
_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError, TypeError, OverflowError)
_ARRAY_TEXT = re.compile(r"^(?:np\.|numpy\.)?array\((.*?)(?:,\s*dtype=[\w.'\"]+)?\)$", re.DOTALL)

_GAP = re.compile(r"(?<=[\d.\]])\s+(?=[-+\d.\[])")  # between two numbers or two rows

MOST_PARTS = 1000  # of a dotted name in code
DOTTED = re.compile(r"(?:\.[\s\\]*\w+[\s\\]*)+")


def fixed(value: T) -> T:
    """Return the value as it is: in source it marks a fact that no tuner changes.

    ``UPPER_ARM = fixed(0.31)`` stays 0.31, where ``GAIN = 4.0`` may be tuned.
    """
    return value


@runtime_checkable
class Constraint(Protocol):
    """A condition on a value: ``str()`` is what a model reads."""

    def check(self, value: Any) -> str:
        """Return "" if ``value`` fits, else what it must be."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Every number of a value lies between ``low`` and ``high``, both included.

    None is no bound.
    """

    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None:
            return f"at most {self.high}" if self.high is not None else "any number"
        return f"at least {self.low}" if self.high is None else f"between {self.low} and {self.high}"

    def check(self, value: Any) -> str:
        """Return "" if all numbers are within the bounds. NaN is within none."""
        try:
            numbers = np.asarray(value)
        except _UNREADABLE:  # rows of different lengths, a number beyond floats among floats
            return f"a number {self}"
        if numbers.dtype.kind not in "biuf":
            return f"a number {self}"
        low = True if self.low is None else bool(np.all(numbers >= self.low))
        high = True if self.high is None else bool(np.all(numbers <= self.high))
        return "" if low and high else str(self)


@dataclass(frozen=True, slots=True, init=False)
class Choices:
    """A value is one of ``options``, in type too: True is not the choice 1.

    ``Choices("open", "close")`` or ``Choices(["open", "close"])``.
    """

    options: tuple[Any, ...]

    def __init__(self, *options: Any) -> None:
        listed = options[0] if len(options) == 1 and isinstance(options[0], (list, tuple)) else options
        object.__setattr__(self, "options", tuple(listed))

    def __str__(self) -> str:
        return f"one of {', '.join(map(repr, self.options))}"

    def check(self, value: Any) -> str:
        """Return "" if ``value`` is one of the options."""
        is_option = any(type(value) is type(option) and equal(value, option) for option in self.options)
        return "" if is_option else str(self)


def convert(value: Any, like: Any, constraint: Any = None) -> Any:
    """Return a suggested value as a value of another's type.

    Args:
        value: the suggestion; text is read as Python, as JSON or as numpy prints arrays, where ``like`` is no text.
        like: the value to be replaced. Arrays keep its shape and dtype, lists the type of its items.
        constraint: a ``Constraint``, which is checked. One that is text is for the reader alone.

    Raises:
        ValueMismatchError: the value does not fit; nothing is rounded, clipped or cut.
    """
    converted = _convert(_plain(value), like)
    reason = constraint.check(converted) if isinstance(constraint, Constraint) else ""
    if reason:
        raise ValueMismatchError(f"the value must be {reason}, got {shorten(converted, digits=None)}")
    return converted


def convert_for(parameter: ParameterNode, value: Any) -> Any:
    """Return a suggestion as a new value of a parameter.

    Args:
        parameter: its value and constraint decide; for code, the name of its function.
        value: the suggestion; for code, text that defines the function.

    Raises:
        ValueMismatchError: the value does not fit.
    """
    if parameter.function:
        return check_code(_plain(value), parameter.function)
    return convert(value, parameter._data, parameter.constraint)


def parse_code(text: str) -> ast.Module:
    """Return the syntax tree of Python source, without warnings.

    These are of strings such as "\\d", which run.

    Raises:
        SyntaxError: it is not Python. Null bytes are a ValueError, deep nesting a RecursionError or MemoryError.
    """
    # Python's parser joins the parts of an import's name one by one: 90,000 of them take 10 s.
    if any(found.group().count(".") > MOST_PARTS for found in DOTTED.finditer(text)):
        raise SyntaxError(f"a name has more than {MOST_PARTS} parts")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def check_code(text: Any, function: str) -> str:
    """Return suggested code that defines a function. It is parsed, not run.

    Args:
        text: Python source.
        function: the name it must define at its top level.

    Raises:
        ValueMismatchError: it is no text, not Python or defines other names only.
    """
    if not isinstance(text, str):
        raise ValueMismatchError(f"the code of {function} must be text, got {shorten(text)}")
    try:
        tree = parse_code(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # _UNREADABLE says of what
        line = getattr(error, "lineno", None)
        where = f" in line {line}" if line else ""
        reason = error.args[0] if error.args and isinstance(error.args[0], str) else "nested too deeply"
        raise ValueMismatchError(f"the code of {function} is not Python{where}: {reason}") from error
    defined = [item.name for item in tree.body if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef))]
    if function not in defined:
        got = ", ".join(defined) or "no function"
        raise ValueMismatchError(f"the code must define the function {function}, it defines {got}")
    return text


def _plain(value: Any) -> Any:
    return value._data if isinstance(value, Node) else value


def _convert(value: Any, like: Any) -> Any:
    """Dispatch on the type of ``like``, by _KINDS at the end."""
    if isinstance(like, Node):
        like = like._data
    for kind, to_kind in _KINDS:
        if isinstance(like, kind):
            return to_kind(value, like)
    if like is None:
        return _literal(value, otherwise=value)
    if isinstance(value, type(like)):
        return value
    raise _mismatch(f"of type {type(like).__name__}", value)


def _mismatch(wanted: str, got: Any) -> ValueMismatchError:
    return ValueMismatchError(f"the value must be {wanted}, got {shorten(got, digits=None)!r}")


def _literal(value: Any, otherwise: Any = _NO_VALUE) -> Any:
    """Return the value of a Python or JSON literal, and what is no text as it is."""
    if not isinstance(value, str):
        return value
    for read in (ast.literal_eval, json.loads):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return read(value.strip())
        except _UNREADABLE:
            continue
    return value if otherwise is _NO_VALUE else otherwise


def _to_bool(value: Any, like: Any) -> bool:
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.strip().lower(), _literal(value))
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, (int, float)) and value in (0, 1)):
        return bool(value)
    raise _mismatch("True or False", value)


def _number(value: Any, wanted: str) -> Any:
    if isinstance(value, str):
        try:
            return float(value) if not value.strip().lstrip("+-").isdigit() else int(value)
        except ValueError:
            raise _mismatch(wanted, value) from None
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise _mismatch(wanted, value)
    return value


def _to_int(value: Any, like: Any) -> Any:
    number = _number(value, "a whole number")
    try:
        whole = math.isfinite(number) and number == int(number)
    except OverflowError:  # more than 308 digits: no float holds it, and what computes with it would raise
        raise _mismatch("a whole number of at most 308 digits", value) from None
    if not whole:
        raise _mismatch("a whole number", value)
    return _in_dtype(int(number), like, value)


def _to_float(value: Any, like: Any) -> Any:
    number = _number(value, "a number")
    try:
        converted = float(number)
    except OverflowError:  # an integer of more than 308 digits
        converted = math.inf
    if not math.isfinite(converted) and math.isfinite(like):  # inf means "no limit" only where it did before
        raise _mismatch("a finite number", value)
    return _in_dtype(converted, like, value)


def _in_dtype(number: Any, like: Any, value: Any) -> Any:
    """Return ``number`` as numpy scalar if ``like`` is one.

    Integers must be in the range of its type.
    """
    if not isinstance(like, np.generic):
        return number
    if isinstance(like, np.integer):
        limits = np.iinfo(like.dtype)
        if not limits.min <= number <= limits.max:
            raise _mismatch(f"between {limits.min} and {limits.max}", value)
    return like.dtype.type(number)


def _to_complex(value: Any, like: Any) -> Any:
    try:
        number = type(like)(value.replace(" ", "") if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        raise _mismatch("a complex number", value) from None
    if np.isfinite(like) and not np.isfinite(number):
        raise _mismatch("a finite complex number", value)
    return number


def _to_text(value: Any, like: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return str(value)
        except ValueError:  # more than 4,300 digits
            raise _mismatch("text", value) from None
    raise _mismatch("text", value)


def _to_array(value: Any, like: Any) -> Any:
    literal = _array_literal(value) if isinstance(value, str) else value
    try:
        array = np.asarray(literal)
    except _UNREADABLE:  # rows of different lengths, numbers beyond floats, nesting
        raise _mismatch(f"an array of shape {like.shape}", value) from None
    if array.dtype.kind not in "biufc" or (like.dtype.kind in "biuf" and array.dtype.kind == "c"):
        raise _mismatch(f"an array of numbers of shape {like.shape}", value)
    if array.shape != like.shape:
        raise _mismatch(f"an array of shape {like.shape}, not {array.shape}", value)
    if np.isfinite(like).all() and not np.isfinite(array).all():
        raise _mismatch("an array of finite numbers", value)
    with np.errstate(all="ignore"):  # overflows are found below
        cast = array.astype(like.dtype)
    exact = like.dtype.kind in "fc" or np.array_equal(cast, array)  # floats may lose digits, integers may not
    if not exact or not np.isfinite(cast[np.isfinite(array)]).all():
        raise _mismatch(f"an array of {like.dtype}", value)
    return cast


def _array_literal(text: str) -> Any:
    """Return the list that a text holds, as Python or as numpy prints it.

    numpy's ``repr`` is ``array([1., 2.])``, its ``str`` is ``[1. 2.]`` without commas.
    """
    inner = _ARRAY_TEXT.match(text.strip())
    text = inner.group(1) if inner else text.strip()
    literal = _literal(text)
    return literal if not isinstance(literal, str) else _literal(_GAP.sub(", ", text))


def _to_sequence(value: Any, like: Any) -> Any:
    literal = _literal(value)
    if isinstance(literal, np.ndarray):
        literal = literal.tolist()
    if isinstance(literal, (set, frozenset)):
        literal = _sorted(literal)  # texts in a set have another order in every process
    if not isinstance(literal, (list, tuple)):
        raise _mismatch(f"a {type(like).__name__}", value)
    items: Sequence[Any] = list(literal)
    # Items are converted where the old ones agree on a simple type: [1, 2] in the place of [0.5] is [1.0, 2.0].
    kinds = {type(item) for item in like}
    if len(kinds) == 1 and next(iter(kinds)) in (bool, int, float, str):
        items = [_convert(item, next(iter(like))) for item in items]
    if hasattr(like, "_fields"):  # a namedtuple
        if len(items) != len(like):
            raise _mismatch(f"a {type(like).__name__} of {len(like)} items", value)
        return type(like)(*items)
    try:
        return type(like)(items)
    except TypeError:  # a set of lists
        raise _mismatch(f"a {type(like).__name__}", value) from None


def _sorted(items: set[Any] | frozenset[Any]) -> list[Any]:
    try:
        return sorted(items)
    except TypeError:  # of several types
        return sorted(items, key=repr)


def _to_dict(value: Any, like: Any) -> Any:
    literal = _literal(value)
    if not isinstance(literal, dict):
        raise _mismatch("a dict", value)
    missing = [str(key) for key in like if key not in literal]
    if missing:
        raise _mismatch(f"a dict with {', '.join(missing)}", value)
    return {key: _convert(item, like[key]) if key in like else item for key, item in literal.items()}


# In this order: bool is an int and np.float64 a float, and the first row that fits counts.
_KINDS: tuple[tuple[Any, Callable[[Any, Any], Any]], ...] = (
    ((bool, np.bool_), _to_bool),
    ((int, np.integer), _to_int),
    ((float, np.floating), _to_float),
    ((complex, np.complexfloating), _to_complex),
    (str, _to_text),
    (np.ndarray, _to_array),
    ((list, tuple, set, frozenset), _to_sequence),
    (dict, _to_dict),
)
