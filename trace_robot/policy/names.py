"""Whether a module's text gives a name a value, as far as that can be told without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def binds(tree: ast.Module, name: str) -> bool:
    """Return whether the module may have ``name`` once it is loaded; in doubt, such as after ``import *``, yes."""
    return any(_binds(node, name) for node in _outside_functions(tree))


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of the module's own scope; of a function the ``global`` statements."""
    for child in ast.iter_child_nodes(node):
        yield child
        if isinstance(child, SCOPES):
            yield from (inside for inside in ast.walk(child) if isinstance(inside, ast.Global))
        else:
            yield from _outside_functions(child)


def _binds(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name == name
    if isinstance(node, ast.Name):
        return (node.id == name and isinstance(node.ctx, ast.Store)) or node.id in ("globals", "exec", "vars")
    if isinstance(node, ast.alias):
        return (node.asname or node.name) in (name, "*")
    if isinstance(node, ast.Global):
        return name in node.names
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        return node.name == name
    return False
