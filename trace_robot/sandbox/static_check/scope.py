"""What the names of a controller's text stand for, as far as the text shows it."""

from __future__ import annotations

import ast
import re
import string
from dataclasses import dataclass, field

from trace_robot.sandbox.static_check import allowlist

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
