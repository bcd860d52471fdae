"""Which controllers may change the modules that they import.

Episodes of one text share a process, which is what makes them fast: each gets a freshly executed module, but numpy is
imported once, and the next episode would see what was changed there. A text that seems to change what it imported gets
a process for each episode instead. This is about equal results, not about safety, and errs on the side of a process too
many.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

SETTERS = frozenset({
    "seterr", "seterrcall", "setbufsize", "set_printoptions", "set_string_function", "setcontext", "getcontext",
    "simplefilter", "filterwarnings", "field_size_limit", "set_int_max_str_digits",
})  # fmt: skip
MUTATORS = frozenset(
    {"append", "extend", "insert", "remove", "update", "setdefault", "pop", "popitem", "clear"}
)
CONSTANTS = frozenset({
    "pi", "e", "tau", "inf", "nan", "newaxis", "ndarray", "number", "integer", "floating", "generic", "bool_",
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "intp",
})  # fmt: skip


@lru_cache(maxsize=64)  # asked for every group of episodes, and a text comes back often
def needs_own_process(source: str) -> bool:
    """Return whether an episode might see what an earlier one of the text changed."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False  # it will not load either
    nodes = list(ast.walk(tree))
    imported = set(_imported(nodes))
    stores = [_root(target) for target in _changed(nodes)]
    if any(_from_import(root, imported) for root in stores) or any(_sets(node, imported) for node in nodes):
        return True
    return any(_unclear(root) for root in stores) and _escapes(nodes, imported)


def _imported(nodes: list[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield (alias.asname or alias.name).partition(".")[0]


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


def _from_import(root: ast.expr, imported: set[str]) -> bool:
    if isinstance(root, ast.Call):
        root = _root(root.func)
    return isinstance(root, ast.Name) and root.id in imported


def _unclear(root: ast.expr) -> bool:
    return not (isinstance(root, ast.Name) and root.id == "self")


def _sets(node: ast.AST, imported: set[str]) -> bool:
    """Return whether ``node`` names a setter or a method that changes a module."""
    if isinstance(node, ast.Name):
        return node.id in SETTERS
    if not isinstance(node, ast.Attribute):
        return False
    inner = isinstance(node.value, ast.Attribute) and node.attr in MUTATORS
    return node.attr in SETTERS or (inner and _from_import(_root(node), imported))


def _escapes(nodes: list[ast.AST], imported: set[str]) -> bool:
    """Return whether something imported is passed on uncalled, as in ``m = np``."""
    plain = {id(part) for node in nodes for part in _harmless(node)}
    for node in nodes:
        if not isinstance(node, ast.Attribute | ast.Name) or not isinstance(node.ctx, ast.Load):
            continue
        if id(node) in plain or not _from_import(_root(node), imported):
            continue
        if (node.attr if isinstance(node, ast.Attribute) else node.id) not in CONSTANTS:
            return True
    return False


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
