"""The rules of the static check, one tree at a time."""

from __future__ import annotations

import ast
import re
import string
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from trace_robot.sandbox import names

MAX_DEPTH = 300


class TooDeepError(Exception):
    """The tree is nested more than MAX_DEPTH levels."""


def _module(name: str) -> Iterator[str]:
    if name not in names.MODULES:
        yield f"module {name!r} is not for controllers"


def _member(module: str, name: str) -> Iterator[str]:
    """Say why ``name`` may not be taken from ``module``, which is on the allow-list."""
    only = names.ONLY.get(module)
    outside = module.partition(".")[0] not in ("numpy", "scipy")
    if (
        (name.startswith("_") and name not in names.MODULE_DUNDERS)
        or (only is not None and name not in only)
        or name in names.EXCEPT.get(module, ())
        or name in names.INTERPRETER
        or (outside and name in sys.stdlib_module_names - names.MODULES)
    ):
        yield f"{module}.{name} is not for controllers"


def _dunder(name: str) -> Iterator[str]:
    if name.startswith("__") and name.endswith("__") and len(name) > 4 and name not in names.DUNDERS:
        hint = ": use type(x)" if name == "__class__" else ""
        yield f"{name} is not for controllers{hint}"


def _literal(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _starts_plain(node: ast.expr) -> bool:
    """Return whether a computed name starts with literal letters, as f"do_{phase}" does."""
    if isinstance(node, ast.JoinedStr) and node.values:
        start = _literal(node.values[0])
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        start = _literal(node.left)
    else:
        start = None
    return start is not None and start[:1].isalpha() and not names.LEADS_TO_FRAMES.match(start)


def _binds(node: ast.AST) -> set[str]:
    """Return the names that a node gives a value of the source's own."""
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


def _nodes(tree: ast.AST) -> list[ast.AST]:
    """Return every node, parents first, without recursion."""
    found, stack = [], [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise TooDeepError
        found.append(node)
        stack.extend((child, depth + 1) for child in ast.iter_child_nodes(node))
    return found


@dataclass(slots=True)
class Text:
    """One tree with what its names stand for; raises TooDeepError."""

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
        """Note what the targets stand for; names given anything but a text go to ``other``."""
        targets = {target.id for target in node.targets if isinstance(target, ast.Name)}
        text = _literal(node.value)
        if text is None:
            other |= targets
        else:
            harmless = self._harmless(text)
            self.texts.update({name: harmless and self.texts.get(name, True) for name in targets})
        if (path := self._path(node.value)) in names.MODULES:
            self.aliases.update(dict.fromkeys(targets, str(path)))

    def _look_up(self, node: ast.Compare | ast.Subscript) -> None:
        """Let `globals()` pass where it is asked for one name in quotes."""
        key = node.left if isinstance(node, ast.Compare) else node.slice
        table = node.comparators[0] if isinstance(node, ast.Compare) else node.value
        plain = not (_literal(key) or "__").startswith("__")
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
        wanted = set()
        for node in self.nodes:
            paths: list[str] = []
            if isinstance(node, ast.Import):
                paths = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                paths = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Attribute):
                paths = [self._path(node) or ""]
            for path in paths:
                parts = path.split(".")
                wanted |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)} & names.MODULES
        return wanted

    def _path(self, node: ast.expr) -> str | None:
        """Return the dotted path that a chain of attributes on an imported name stands for."""
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.aliases:
            return None
        return ".".join([self.aliases[node.id], *reversed(parts)])

    def refusals(self) -> Iterator[tuple[int, str]]:
        for node in self.nodes:
            for why in self._why(node):
                yield getattr(node, "lineno", 1), why

    def _why(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            yield from self._from(node)
        elif isinstance(node, ast.Attribute):
            yield from self._attribute(node)
        elif isinstance(node, ast.Name):
            yield from self._name(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _dunder(node.name)
        elif isinstance(node, ast.MatchClass):
            for name in node.kwd_attrs:
                yield from self._attribute_name(name)
        elif isinstance(node, ast.Call):
            yield from self._call(node)

    def _from(self, node: ast.ImportFrom) -> Iterator[str]:
        if node.level or node.module is None:
            yield "an import must name its module in full"
            return
        refused = list(_module(node.module))
        yield from refused
        if refused or node.module == "__future__":
            return
        for alias in node.names:
            path = f"{node.module}.{alias.name}"
            if alias.name == "*":
                if node.module not in ("math", "numpy"):
                    yield f"import the names that are needed from {node.module}, not *"
            elif path not in names.MODULES:
                yield from _member(node.module, alias.name)

    def _attribute(self, node: ast.Attribute) -> Iterator[str]:
        path = self._path(node)
        owner = path.rpartition(".")[0] if path else ""
        if path and owner in names.MODULES:
            if path not in names.MODULES:
                yield from _member(owner, node.attr)
            if path in names.LITERAL_ONLY and id(node) not in self.called:
                yield f"{path} must be called with the attribute's name in quotes"
            return
        if path and node.attr in names.INTERPRETER:
            yield f"{path} is not for controllers"
        if not (node.attr in names.DUNDERS_OF_SELF and _is_self(node.value)):
            yield from self._attribute_name(node.attr)
        if node.attr in ("format", "format_map") and not self._plain_format(node.value):
            yield "a text that is formatted must be a literal: write an f-string"

    def _attribute_name(self, name: str) -> Iterator[str]:
        if name in names.HIDDEN or (name in names.HIDDEN_UNLESS_OWN and name not in self.own):
            yield f"attribute {name!r} is not for controllers"
        yield from _dunder(name)

    def _plain_format(self, receiver: ast.expr) -> bool:
        if isinstance(receiver, ast.Name):
            if receiver.id in self.texts:
                return self.texts[receiver.id]
            return receiver.id == "self" and "format" in self.own
        text = _literal(receiver)
        return text is not None and self._harmless(text)

    def _harmless(self, text: str) -> bool:
        """Return whether a format string reads no attribute that the source itself might not read."""
        try:
            fields = [part[1] or "" for part in string.Formatter().parse(text)]
            nested = [part[2] or "" for part in string.Formatter().parse(text)]
        except ValueError:
            return True
        attributes = [name for part in fields for name in re.split(r"[.\[\]]+", part)[1:]]
        plain = not any(name.startswith("_") or name in names.HIDDEN for name in attributes)
        return plain and not any("_" in part for part in nested)

    def _name(self, node: ast.Name) -> Iterator[str]:
        name = node.id
        if name in names.NEVER and isinstance(node.ctx, ast.Load):
            yield f"{name} is not for controllers"
        elif name.startswith("__") and name.endswith("__"):
            yield from _dunder(name)
        elif isinstance(node.ctx, ast.Load) and name not in self.bound:
            if name in names.NAMED_BY_LITERAL:
                if id(node) not in self.called:
                    yield f"{name} must be called with the attribute's name in quotes"
            elif name in names.ALL_BUILTINS and name not in names.BUILTINS and id(node) not in self.looked_up:
                hint = ": look up one name in quotes" if name in names.LOOKED_UP_BY_LITERAL else ""
                yield f"{name} is not for controllers{hint}"
        if (
            self.aliases.get(name) == "sys"
            and id(node) not in self.entered
            and isinstance(node.ctx, ast.Load)
        ):
            yield "sys is not for controllers but for sys.float_info and sys.maxsize"
        if self.aliases.get(name) in names.LITERAL_ONLY and id(node) not in self.called:
            yield f"{name} must be called with the attribute's name in quotes"

    def _call(self, node: ast.Call) -> Iterator[str]:
        function = node.func
        if (
            isinstance(function, ast.Name)
            and function.id in names.NAMED_BY_LITERAL
            and function.id not in self.bound
        ):
            yield from self._named(function.id, node)
        if (
            isinstance(function, ast.Name)
            and function.id == "type"
            and len(node.args) + len(node.keywords) != 1
        ):
            yield "define a class with a class statement, not with type()"
        if self._path(function) in names.LITERAL_ONLY:
            given = [_literal(argument) for argument in node.args]
            parts = [part for text in given if text is not None for part in text.split(".")]
            if None in given[: None if self._path(function) == "operator.attrgetter" else 1] or not given:
                yield "the attribute's name must be written out in quotes"
            for part in parts:
                yield from self._attribute_name(part)

    def _named(self, function: str, node: ast.Call) -> Iterator[str]:
        """Check getattr and its kin: the name is a literal, or starts with one."""
        if len(node.args) < 2:
            return
        target, name = node.args[:2]
        text = _literal(name)
        module = self._path(target)
        if text is not None:
            if module in names.MODULES:
                yield from _member(str(module), text)
            else:
                yield from self._attribute_name(text)
                if text in ("format", "format_map"):
                    yield "a text that is formatted must be a literal: write an f-string"
        elif module is not None or not (_starts_plain(name) or (function == "setattr" and _is_self(target))):
            yield f"{function} must be called with the attribute's name in quotes"
