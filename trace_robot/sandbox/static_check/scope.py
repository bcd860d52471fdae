"""Names of a controller's text, and which controllers may change what they import.

Episodes of one text share a process, which is what makes them fast: each gets a freshly executed module, but numpy is
imported once, and the next episode would see what was changed there. A text that seems to change what it imported gets
a process for each episode instead. This is about equal results, not about safety, and errs on the side of a process too
many.
"""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from trace_robot.sandbox.static_check import allowlist

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


MAX_DEPTH = 300  # levels: the compiler recurses over them


class TooDeepError(Exception):
    """The tree is nested more than MAX_DEPTH levels."""


def literal(node: ast.expr | None) -> str | None:
    """Return the value of a string literal, None for any other expression."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _binds(node: ast.AST) -> set[str]:
    """Return the names that a node binds."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return {node.id}
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.arg):
        return {node.arg}
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        return {node.name}
    if isinstance(node, ast.MatchMapping) and node.rest:
        return {node.rest}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    return set()


def harmless(text: str) -> bool:
    """Return whether a format string reads no attribute that code may not read."""
    try:
        fields = [part[1] or "" for part in string.Formatter().parse(text)]
        nested = [part[2] or "" for part in string.Formatter().parse(text)]
    except ValueError:
        return True
    attributes = [name for part in fields for name in re.split(r"[.\[\]]+", part)[1:]]
    plain = not any(name.startswith("_") or name in allowlist.HIDDEN for name in attributes)
    return plain and not any("_" in part for part in nested)


def _nodes(tree: ast.AST) -> list[ast.AST]:
    """Return every node, parents first, without recursion."""
    nodes, stack = [], [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise TooDeepError
        nodes.append(node)
        stack.extend((child, depth + 1) for child in ast.iter_child_nodes(node))
    return nodes


@dataclass(slots=True)
class NameScope:
    """One syntax tree with what its names stand for.

    Raises:
        TooDeepError: it is nested too deeply.
    """

    tree: ast.Module
    nodes: list[ast.AST] = field(init=False)
    aliases: dict[str, str] = field(default_factory=dict)  # name -> dotted path of what was imported
    bound: set[str] = field(default_factory=set)  # names that the source itself gives a value
    own: set[str] = field(default_factory=set)  # names of its functions and of attributes it sets
    texts: dict[str, bool] = field(default_factory=dict)  # names bound to string literals only -> harmless
    called: set[int] = field(default_factory=set)  # id of nodes that are the function of a call
    looked_up: set[int] = field(default_factory=set)  # id of names like `globals` in `"t" in globals()`
    entered: set[int] = field(default_factory=set)  # id of nodes that an attribute is taken from

    def __post_init__(self) -> None:
        self.nodes = _nodes(self.tree)
        other: set[str] = set()
        for node in self.nodes:
            self.bound |= _binds(node)
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node)
            elif isinstance(node, ast.Call):
                self.called.add(id(node.func))
            elif isinstance(node, ast.Compare | ast.Subscript):
                self._look_up(node)
            elif isinstance(node, ast.Attribute):
                self.entered.add(id(node.value))
                self.own |= {node.attr} if isinstance(node.ctx, ast.Store) else set()
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.own.add(node.name)
            elif isinstance(node, ast.arg):
                other.add(node.arg)
        for node in self.nodes:
            if isinstance(node, ast.Assign):
                self._assign(node, other)
        for name in other & set(self.texts):
            del self.texts[name]

    def _assign(self, node: ast.Assign, other: set[str]) -> None:
        """Note what the targets of an assignment stand for.

        Names that get anything but a string literal go to ``other``.
        """
        targets = {target.id for target in node.targets if isinstance(target, ast.Name)}
        text = literal(node.value)
        if text is None:
            other |= targets
        else:
            plain = harmless(text)
            self.texts.update({name: plain and self.texts.get(name, True) for name in targets})
        if (path := self.path(node.value)) in allowlist.MODULES:
            self.aliases.update(dict.fromkeys(targets, str(path)))

    def _look_up(self, node: ast.Compare | ast.Subscript) -> None:
        """Let `globals()` pass where it is asked for one name in quotes."""
        key = node.left if isinstance(node, ast.Compare) else node.slice
        table = node.comparators[0] if isinstance(node, ast.Compare) else node.value
        plain = not (literal(key) or "__").startswith("__")
        if plain and isinstance(table, ast.Call) and not table.args:
            self.looked_up.add(id(table.func))

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if isinstance(node, ast.ImportFrom):
                self.aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            elif alias.asname:
                self.aliases[alias.asname] = alias.name
            else:
                self.aliases[alias.name.partition(".")[0]] = alias.name.partition(".")[0]

    def modules(self) -> set[str]:
        """Return the modules of the allow-list that the text names, and their parents."""
        wanted = set()
        for node in self.nodes:
            paths: list[str] = []
            if isinstance(node, ast.Import):
                paths = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                paths = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Attribute):
                paths = [self.path(node) or ""]
            for path in paths:
                parts = path.split(".")
                wanted |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)} & allowlist.MODULES
        return wanted

    def path(self, node: ast.expr) -> str | None:
        """Return the dotted path of a chain of attributes on an imported name."""
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.aliases:
            return None
        return ".".join([self.aliases[node.id], *reversed(parts)])
