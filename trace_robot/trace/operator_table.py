"""The operators as one table: name, function of values, description.

Names, arguments and descriptions are what a language model reads in a prompt: ``y = add(x=..., y=...)`` and
``[add] x + y``. A change here is a change of prompts.

Lambdas throughout, also for ``x + y`` where ``operator.add`` is at hand: the names of the arguments in the
graph are taken from their signatures. Node's own operators use the faster ones of ``operator`` (BINARY below)
under the same names.
"""

from __future__ import annotations

import copy
import math
import operator as py
from collections.abc import Callable
from typing import Any

from trace_robot.errors import MissingExtraError
from trace_robot.trace.builtins import contains

Row = tuple[str, Callable[..., Any], str]

# The function behind ``call_llm``, as the only item. A list, so that setting it needs no ``global`` and
# modules that imported the name see the change; ``trace_robot.llm`` puts in a model when it is imported,
# since the engine knows none.
ask_model: list[Callable[..., str]] = []


def use_model(ask: Callable[..., str]) -> None:
    """Let the operator ``call_llm`` answer with ``ask(messages, **options) -> text``."""
    ask_model[:] = [ask]


def _call_llm(system_prompt: Any, *user_prompts: Any, **kwargs: Any) -> str:
    if not ask_model:
        raise MissingExtraError("call_llm needs a language model: import trace_robot.llm or call use_model")
    messages = [{"role": "system", "content": system_prompt}]
    messages += [{"role": "user", "content": prompt} for prompt in user_prompts]
    return ask_model[0](messages, **kwargs)


def _changed(x: Any, method: str, *args: Any, **kwargs: Any) -> Any:
    """Return a copy of ``x`` after a call of its ``method``."""
    x = copy.copy(x)
    getattr(x, method)(*args, **kwargs)
    return x


def _round(x: Any, n: Any = None) -> Any:
    return round(x) if n is None else round(x, n)


def _entries(x: Any, method: str) -> list[Any]:
    if not isinstance(x, dict):
        raise AttributeError(f"{type(x).__name__!r} object has no attribute {method!r}")
    return list(getattr(x, method)())


TABLE: tuple[Row, ...] = (
    ("clone", lambda x: copy.deepcopy(x), "a copy of x"),
    ("identity", lambda x: x, "x itself"),
    ("pos", lambda x: +x, "+x"),
    ("neg", lambda x: -x, "-x"),
    ("abs", lambda x: abs(x), "the absolute value of x"),
    ("invert", lambda x: ~x, "~x"),
    ("round", _round, "x rounded to n digits, to an integer without n"),
    ("floor", lambda x: math.floor(x), "the largest integer not above x"),
    ("ceil", lambda x: math.ceil(x), "the smallest integer not below x"),
    ("trunc", lambda x: math.trunc(x), "x without its fraction"),
    ("add", lambda x, y: x + y, "x + y"),
    ("subtract", lambda x, y: x - y, "x - y"),
    ("multiply", lambda x, y: x * y, "x * y"),
    ("divide", lambda x, y: x / y, "x / y"),
    ("floor_divide", lambda x, y: x // y, "x // y"),
    ("mod", lambda x, y: x % y, "x % y"),
    ("node_divmod", lambda x, y: divmod(x, y), "(x // y, x % y)"),
    ("power", lambda x, y: x**y, "x ** y"),
    ("matmul", lambda x, y: x @ y, "the matrix product x @ y"),
    ("lshift", lambda x, y: x << y, "x << y"),
    ("rshift", lambda x, y: x >> y, "x >> y"),
    ("and_", lambda x, y: x & y, "x & y"),
    ("or_", lambda x, y: x | y, "x | y"),
    ("xor", lambda x, y: x ^ y, "x ^ y"),
    ("lt", lambda x, y: x < y, "whether x < y"),
    ("le", lambda x, y: x <= y, "whether x <= y"),
    ("eq", lambda x, y: x == y, "whether x == y"),
    ("ne", lambda x, y: x != y, "whether x != y"),
    ("neq", lambda x, y: x != y, "whether x != y"),
    ("ge", lambda x, y: x >= y, "whether x >= y"),
    ("gt", lambda x, y: x > y, "whether x > y"),
    ("cond", lambda condition, x, y: x if condition else y, "x if condition is true, else y"),
    ("not_", lambda x: not x, "not x"),
    ("is_", lambda x, y: x is y, "whether x is y"),
    ("is_not", lambda x, y: x is not y, "whether x is not y"),
    ("in_", lambda x, y: contains(y, x), "whether x is in y"),
    ("not_in", lambda x, y: not contains(y, x), "whether x is not in y"),
    ("getitem", lambda x, index: x[index], "x[index]"),
    ("pop", lambda x, index=-1: x.pop(index), "the item at index, which is taken out of x"),
    ("len_", lambda x: len(x), "the number of items of x"),
    ("next_", lambda x: next(x), "the next item of x"),
    ("ord_", lambda x: ord(x), "the code point of the character x"),
    ("chr_", lambda x: chr(x), "the character of the code point x"),
    ("concat", lambda x, y: x + y, "x followed by y"),
    ("lower", lambda x: x.lower(), "x in lower case"),
    ("upper", lambda x: x.upper(), "x in upper case"),
    ("title", lambda x: x.title(), "x with each word capitalized"),
    ("swapcase", lambda x: x.swapcase(), "x with upper and lower case swapped"),
    ("capitalize", lambda x: x.capitalize(), "x with its first character in upper case"),
    ("split", lambda x, y=None, maxsplit=-1: x.split(y, maxsplit), "the parts of x between the separators y"),
    ("strip", lambda x, chars=None: x.strip(chars), "x without the characters chars at both ends"),
    ("replace", lambda x, old, new, count=-1: x.replace(old, new, count), "x with old replaced by new"),
    ("format", lambda x, /, *args, **kwargs: x.format(*args, **kwargs), "the template x filled in"),
    ("join", lambda x, *y: x.join(y), "the texts y with x between them"),
    ("node_getattr", lambda obj, attr: getattr(obj, attr), "the attribute attr of obj"),
    ("to_list", lambda x: list(x), "x as a list"),
    ("to_dict", lambda x: dict(x), "x as a dictionary"),
    ("to_set", lambda x: set(x), "x as a set"),
    ("to_tuple", lambda x: tuple(x), "x as a tuple"),
    ("make_list", lambda *args: list(args), "a list of the arguments"),
    ("make_dict", lambda **kwargs: kwargs, "a dictionary of the keyword arguments"),
    ("make_set", lambda *args: set(args), "a set of the arguments"),
    ("make_tuple", lambda *args: args, "a tuple of the arguments"),
    ("keys", lambda x: _entries(x, "keys"), "the keys of the dictionary x as a list"),
    ("values", lambda x: _entries(x, "values"), "the values of the dictionary x as a list"),
    ("list_append", lambda x, y: _changed(x, "append", y), "a copy of x with y appended"),
    ("list_clear", lambda x: _changed(x, "clear"), "an empty list in place of x"),
    ("list_extend", lambda x, y: _changed(x, "extend", y), "a copy of x with the items of y appended"),
    (
        "list_insert",
        lambda x, index, y: _changed(x, "insert", index, y),
        "a copy of x with y put before index",
    ),
    ("list_pop", lambda x, index=-1: _changed(x, "pop", index), "a copy of x without the item at index"),
    ("list_remove", lambda x, y: _changed(x, "remove", y), "a copy of x without the first y"),
    ("list_reverse", lambda x: _changed(x, "reverse"), "a copy of x in reverse order"),
    (
        "list_sort",
        lambda x, key=None, reverse=False: _changed(x, "sort", key=key, reverse=reverse),
        "a sorted copy of x",
    ),
    ("dict_update", lambda x, y: _changed(x, "update", y), "a copy of x with the entries of y put in"),
    ("dict_pop", lambda x, key: _changed(x, "pop", key), "a copy of x without key"),
    ("dict_popitem", lambda x: _changed(x, "popitem"), "a copy of x without its last entry"),
    ("set_add", lambda x, y: _changed(x, "add", y), "a copy of x with y put in"),
    ("set_clear", lambda x: _changed(x, "clear"), "an empty set in place of x"),
    ("set_discard", lambda x, y: _changed(x, "discard", y), "a copy of x without y"),
    (
        "set_intersection_update",
        lambda x, y: _changed(x, "intersection_update", y),
        "the items that are in both x and y",
    ),
    ("set_pop", lambda x: _changed(x, "pop"), "a copy of x without one of its items"),
    ("set_remove", lambda x, y: _changed(x, "remove", y), "a copy of x without y, which must be in it"),
    (
        "set_symmetric_difference_update",
        lambda x, y: _changed(x, "symmetric_difference_update", y),
        "the items that are in one of x and y but not in both",
    ),
    ("set_update", lambda x, y: _changed(x, "update", y), "a copy of x with the items of y put in"),
    ("call_llm", _call_llm, "the answer of a language model to the prompts"),
)

# Python's two-sided operators: special method without underscores -> operator and function. The reflected
# method has an r in front, as in ``__radd__``.
BINARY: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "add": ("add", py.add),
    "sub": ("subtract", py.sub),
    "mul": ("multiply", py.mul),
    "truediv": ("divide", py.truediv),
    "floordiv": ("floor_divide", py.floordiv),
    "mod": ("mod", py.mod),
    "divmod": ("node_divmod", divmod),
    "pow": ("power", py.pow),
    "matmul": ("matmul", py.matmul),
    "lshift": ("lshift", py.lshift),
    "rshift": ("rshift", py.rshift),
    "and": ("and_", py.and_),
    "or": ("or_", py.or_),
    "xor": ("xor", py.xor),
}

# No "eq" and "ne": ``==`` of nodes is a plain bool, see builtins.py.
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {"lt": py.lt, "le": py.le, "gt": py.gt, "ge": py.ge}
UNARY: tuple[str, ...] = ("pos", "neg", "abs", "invert", "floor", "ceil", "trunc")
# Methods of str that are operators of the table.
STRING_METHODS = ("capitalize", "format", "lower", "replace", "split", "strip", "swapcase", "title", "upper")
