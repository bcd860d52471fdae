"""Which controllers may see what an earlier episode left in the process.

Episodes of one text share a process, which is what makes them fast: each gets a freshly executed module, but what it
imported is there once, and the next episode would see what was changed. So a process is shared only by texts that
import what holds no state and change nothing of it; any other text gets a process for each episode. This is about equal
results, not about safety, and errs on the side of a process too many.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any

from trace_robot.fault import Fault
from trace_robot.sandbox.protocol import CHILD_TRACING, PACKAGE, TRACE
from trace_robot.sandbox.source import parse
from trace_robot.sandbox.static_check import allowlist
from trace_robot.sandbox.static_check.check import modules_of

# Modules that hold no state but what SETTERS name and the random generators, which are exchanged between episodes.
# Not among them: clocks, logging, warnings, weak references; solvers in Fortran that keep the last call's state
# (scipy.integrate, ARPACK in scipy.sparse), and distributions that remember their generator (scipy.stats).
STATELESS = allowlist.words(
    """
    __future__ abc array bisect cmath collections collections.abc copy dataclasses decimal enum fractions functools
    heapq itertools json math numbers operator pprint random re statistics string struct sys textwrap types typing
    unicodedata
    numpy numpy.fft numpy.lib numpy.lib.stride_tricks numpy.linalg numpy.polynomial numpy.polynomial.polynomial
    numpy.polynomial.chebyshev numpy.polynomial.legendre numpy.random numpy.typing
    scipy scipy.constants scipy.interpolate scipy.linalg scipy.ndimage scipy.optimize scipy.signal scipy.spatial
    scipy.spatial.distance scipy.spatial.transform scipy.special
    """
) | {PACKAGE, TRACE}
SETTERS = frozenset(
    {
        "seterr",
        "seterrcall",
        "setbufsize",
        "set_printoptions",
        "set_string_function",
        "setcontext",
        "getcontext",
        "simplefilter",
        "filterwarnings",
        "field_size_limit",
        "set_int_max_str_digits",
        "set_bit_generator",
        "get_bit_generator",
        "set_default_printstyle",
        "register",
    }
)
# What tells of other episodes of the process: its memory, its finalizers, numbers of nodes made so far, code that the
# static check has not seen.
TELLING = frozenset(
    {"MemoryError", "__del__", "_data", "parameter", "parameters", "parameters_dict", "py_name"}
)
# Of context managers that are in force until they are left, which a generator or a plain call puts off.
CONTEXTS = frozenset({"errstate", "printoptions", "localcontext", "stop_tracing"})
MUTATORS = frozenset(
    {
        "append",
        "extend",
        "insert",
        "remove",
        "update",
        "setdefault",
        "pop",
        "popitem",
        "clear",
        "add",
        "discard",
        "sort",
        "reverse",
        "fill",
        "put",
        "resize",
    }
)
SHOWING = frozenset({"print", "str", "repr", "format", "ascii"})
CONSTANTS = frozenset(
    {
        "pi",
        "e",
        "tau",
        "inf",
        "nan",
        "newaxis",
        "ndarray",
        "number",
        "integer",
        "floating",
        "generic",
        "bool_",
        "float16",
        "float32",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "intp",
    }
)


@lru_cache(maxsize=64)  # asked for every group of episodes, and a text comes back often
def needs_own_process(source: str) -> bool:
    """Return whether an episode might see what an earlier one of the text changed."""
    tree = parse(source)
    if isinstance(tree, Fault):
        # No Python loads nowhere; what is refused here unread may load where the static check is off.
        return tree.category == "blocked"
    nodes = list(ast.walk(tree))
    if not _modules(nodes, source) <= STATELESS or any(map(_tells, nodes)) or _postpones(nodes):
        return True
    imported = dict(_imported(nodes))
    stores = [_root(target) for target in _changed(nodes)]
    if any(_from_import(root, imported) or _is_type(root) for root in stores) or any(
        _sets(node, imported) for node in nodes
    ):
        return True
    if PACKAGE in source and any(map(_shows, nodes)):
        return True  # a node shows its number
    escaped = list(_escaped(nodes, imported))
    return (any(_unclear(root) for root in stores) and bool(escaped)) or (
        any(map(_mutates, nodes)) and any(_may_hold(node, imported) for node in escaped)
    )


def _modules(nodes: list[ast.AST], source: str) -> set[str]:
    """Return every module that a text names, also those that are on no list."""
    names = set(modules_of(source)) - {CHILD_TRACING}  # the recorder, which comes with the tracer
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def _tells(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        hidden = node.attr.startswith("_") and not node.attr.endswith("__")
        return (node.attr in TELLING or hidden) and not own
    if isinstance(node, ast.FunctionDef):
        return node.name in TELLING
    return isinstance(node, ast.Constant | ast.Name) and (
        node.id if isinstance(node, ast.Name) else node.value
    ) in ("MemoryError", "_data", "__del__")


def _postpones(nodes: list[ast.AST]) -> bool:
    """Return whether a setting may be in force after the call that made it."""
    entered = {
        id(item.context_expr.func)
        for node in nodes
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.context_expr, ast.Call)
    }
    used = [node for node in nodes if _name(node) in CONTEXTS]
    put_off = any(isinstance(node, ast.Yield | ast.YieldFrom | ast.Await) for node in nodes)
    return any(put_off or id(node) not in entered for node in used)


def _name(node: ast.AST) -> str:
    """Return a name, or the last of a chain of attributes, "" for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _shows(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Attribute) and node.attr in ("name", "format"))
        or (isinstance(node, ast.Name) and node.id in SHOWING)
    )


def _imported(nodes: list[ast.AST]) -> Iterator[tuple[str, str]]:
    """Yield each imported name with the dotted path of what it stands for."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                yield alias.asname or first, alias.name if alias.asname else first


def _changed(nodes: list[ast.AST]) -> Iterator[ast.expr]:
    """Yield every expression of which an attribute or an element is set or deleted."""
    for node in nodes:
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            yield node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield from node.args[:1] if node.func.id in ("setattr", "delattr") else ()


def _root(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node


def _from_import(root: ast.expr, imported: dict[str, str]) -> bool:
    if isinstance(root, ast.Call):
        root = _root(root.func)
    return isinstance(root, ast.Name) and root.id in imported


def _is_type(root: ast.expr) -> bool:
    """Return whether ``type(x)`` is changed, which may be a class of a library."""
    return isinstance(root, ast.Call) and isinstance(root.func, ast.Name) and root.func.id == "type"


def _unclear(root: ast.expr) -> bool:
    return not (isinstance(root, ast.Name) and root.id == "self")


def _sets(node: ast.AST, imported: dict[str, str]) -> bool:
    """Return whether ``node`` names a setter or a method that changes a module."""
    if isinstance(node, ast.ImportFrom):
        return any(alias.name in SETTERS for alias in node.names)
    if isinstance(node, ast.Name):
        return node.id in SETTERS
    if not isinstance(node, ast.Attribute):
        return False
    inner = isinstance(node.value, ast.Attribute) and node.attr in MUTATORS
    return node.attr in SETTERS or (inner and _from_import(_root(node), imported))


def _mutates(node: ast.AST) -> bool:
    """Return whether ``node`` is a call that may change what it is handed."""
    if not isinstance(node, ast.Call):
        return False
    out = any(keyword.arg == "out" for keyword in node.keywords)
    return out or (isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS)


def _escaped(nodes: list[ast.AST], imported: dict[str, str]) -> Iterator[ast.expr]:
    """Yield what is imported and passed on uncalled, as in ``m = np``."""
    plain = {id(part) for node in nodes for part in _harmless(node)}
    for node in nodes:
        if not isinstance(node, ast.Attribute | ast.Name) or not isinstance(node.ctx, ast.Load):
            continue
        if id(node) in plain or not _from_import(_root(node), imported):
            continue
        if (node.attr if isinstance(node, ast.Attribute) else node.id) not in CONSTANTS:
            yield node


def _may_hold(node: ast.expr, imported: dict[str, str]) -> bool:
    """Return whether what is passed on can be changed: a module, a list, an array."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return True
    value = _library(".".join([imported[node.id], *reversed(parts)]))
    return isinstance(value, ModuleType) or not (
        callable(value) or isinstance(value, int | float | complex | str)
    )


def _library(path: str) -> Any:
    """Return what a dotted path of STATELESS stands for, None if it is not there."""
    first, *rest = path.split(".")
    if first not in STATELESS:
        return None
    try:
        value: Any = importlib.import_module(first)
        for index, name in enumerate(rest):
            known = ".".join([first, *rest[: index + 1]])
            value = importlib.import_module(known) if known in STATELESS else getattr(value, name, None)
    except ImportError:
        return None
    return value


def _harmless(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of ``node`` that may be imported and are not passed on."""
    if isinstance(node, ast.Attribute):
        yield node.value
    elif isinstance(node, ast.Call):
        yield node.func
    elif isinstance(node, ast.ExceptHandler) and node.type is not None:
        yield from ast.walk(node.type)
    elif isinstance(node, ast.ClassDef):
        yield from [*node.bases, *node.decorator_list]
    elif isinstance(node, ast.FunctionDef):
        yield from node.decorator_list
        if node.returns is not None:
            yield from ast.walk(node.returns)
    elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
        yield from ast.walk(node.annotation)
