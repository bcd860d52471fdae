"""The static check: an allow-list over the syntax tree.

It is no boundary (`child.lockdown` is); it gives clear refusals with a line number before anything runs. It must let
ordinary controllers through and must survive any text.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator

from trace_robot.fault import Fault
from trace_robot.sandbox.protocol import CHILD_TRACING, PACKAGE, TRACE
from trace_robot.sandbox.source import parse, refusal
from trace_robot.sandbox.static_check import allowlist
from trace_robot.sandbox.static_check.scope import NameScope, TooDeepError, harmless, literal


def check(source: str) -> list[Fault]:
    """Return why a controller's text is refused, in the order of its lines.

    [] if it is not. A text that is no Python has category "exception", every other refusal "blocked".
    """
    scope = _read(source)
    if isinstance(scope, Fault):
        return [scope]
    return [refusal(why, line) for line, why in sorted(set(Rules(scope).refusals()))]


def modules_of(source: str, *, trace: bool = False) -> list[str]:
    """Return the allowed modules that a text names, to import before the fork.

    Args:
        source: a controller's text.
        trace: whether its graphs are recorded, which needs the tracer even if the text does not name it.
    """
    scope = _read(source)
    modules = set() if isinstance(scope, Fault) else scope.modules()
    traces = trace or PACKAGE in modules
    return sorted(modules | {TRACE, CHILD_TRACING} if traces else modules)


@functools.lru_cache(maxsize=2)  # a text is checked and then asked for its modules
def _read(source: str) -> NameScope | Fault:
    tree = parse(source)
    if isinstance(tree, Fault):
        return tree
    try:
        return NameScope(tree)
    except (RecursionError, TooDeepError):
        return refusal("the source is nested too deeply", None)


def _module(name: str) -> Iterator[str]:
    if name not in allowlist.MODULES:
        yield f"module {name!r} is not for controllers"


def _member(module: str, name: str) -> Iterator[str]:
    """Say why ``name`` may not be taken from ``module``, which is on the allow-list."""
    only = allowlist.ONLY.get(module)
    outside = module.partition(".")[0] not in ("numpy", "scipy")
    if (
        (name.startswith("_") and name not in allowlist.MODULE_DUNDERS)
        or (only is not None and name not in only)
        or name in allowlist.EXCEPT.get(module, ())
        or name in allowlist.INTERPRETER
        or (outside and name in sys.stdlib_module_names - allowlist.MODULES)
    ):
        yield f"{module}.{name} is not for controllers"


def _dunder(name: str) -> Iterator[str]:
    if name.startswith("__") and name.endswith("__") and len(name) > 4 and name not in allowlist.DUNDERS:
        hint = ": use type(x)" if name == "__class__" else ""
        yield f"{name} is not for controllers{hint}"


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _starts_plain(node: ast.expr) -> bool:
    """Return whether a computed name starts with letters, as f"do_{phase}" does."""
    if isinstance(node, ast.JoinedStr) and node.values:
        start = literal(node.values[0])
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        start = literal(node.left)
    else:
        start = None
    return start is not None and start[:1].isalpha() and not allowlist.LEADS_TO_FRAMES.match(start)


class Rules:
    """The rules, applied to the text that ``scope`` was read from."""

    def __init__(self, scope: NameScope) -> None:
        self._scope = scope

    def refusals(self) -> Iterator[tuple[int, str]]:
        """Yield the line of each refusal and why."""
        for node in self._scope.nodes:
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
            elif path not in allowlist.MODULES:
                yield from _member(node.module, alias.name)

    def _attribute(self, node: ast.Attribute) -> Iterator[str]:
        path = self._scope.path(node)
        owner = path.rpartition(".")[0] if path else ""
        if path and owner in allowlist.MODULES:
            if path not in allowlist.MODULES:
                yield from _member(owner, node.attr)
            if path in allowlist.LITERAL_ONLY and id(node) not in self._scope.called:
                yield f"{path} must be called with the attribute's name in quotes"
            return
        if path and node.attr in allowlist.INTERPRETER:
            yield f"{path} is not for controllers"
        if not (node.attr in allowlist.DUNDERS_OF_SELF and _is_self(node.value)):
            yield from self._attribute_name(node.attr)
        if node.attr in ("format", "format_map") and not self._plain_format(node.value):
            yield "a text that is formatted must be a literal: write an f-string"

    def _attribute_name(self, name: str) -> Iterator[str]:
        if name in allowlist.HIDDEN or (name in allowlist.HIDDEN_UNLESS_OWN and name not in self._scope.own):
            yield f"attribute {name!r} is not for controllers"
        yield from _dunder(name)

    def _plain_format(self, receiver: ast.expr) -> bool:
        if isinstance(receiver, ast.Name):
            if receiver.id in self._scope.texts:
                return self._scope.texts[receiver.id]
            return receiver.id == "self" and "format" in self._scope.own
        text = literal(receiver)
        return text is not None and harmless(text)

    def _name(self, node: ast.Name) -> Iterator[str]:
        name = node.id
        if name in allowlist.NEVER and isinstance(node.ctx, ast.Load):
            yield f"{name} is not for controllers"
        elif name.startswith("__") and name.endswith("__"):
            yield from _dunder(name)
        elif isinstance(node.ctx, ast.Load) and name not in self._scope.bound:
            if name in allowlist.NAMED_BY_LITERAL:
                if id(node) not in self._scope.called:
                    yield f"{name} must be called with the attribute's name in quotes"
            elif (
                name in allowlist.ALL_BUILTINS
                and name not in allowlist.BUILTINS
                and id(node) not in self._scope.looked_up
            ):
                hint = ": look up one name in quotes" if name in allowlist.LOOKED_UP_BY_LITERAL else ""
                yield f"{name} is not for controllers{hint}"
        if (
            self._scope.aliases.get(name) == "sys"
            and id(node) not in self._scope.entered
            and isinstance(node.ctx, ast.Load)
        ):
            yield "sys is not for controllers but for sys.float_info and sys.maxsize"
        if self._scope.aliases.get(name) in allowlist.LITERAL_ONLY and id(node) not in self._scope.called:
            yield f"{name} must be called with the attribute's name in quotes"

    def _call(self, node: ast.Call) -> Iterator[str]:
        function = node.func
        if (
            isinstance(function, ast.Name)
            and function.id in allowlist.NAMED_BY_LITERAL
            and function.id not in self._scope.bound
        ):
            yield from self._named(function.id, node)
        if (
            isinstance(function, ast.Name)
            and function.id == "type"
            and len(node.args) + len(node.keywords) != 1
        ):
            yield "define a class with a class statement, not with type()"
        if self._scope.path(function) in allowlist.LITERAL_ONLY:
            names = [literal(argument) for argument in node.args]
            parts = [part for name in names if name is not None for part in name.split(".")]
            if (
                None in names[: None if self._scope.path(function) == "operator.attrgetter" else 1]
                or not names
            ):
                yield "the attribute's name must be written out in quotes"
            for part in parts:
                yield from self._attribute_name(part)

    def _named(self, function: str, node: ast.Call) -> Iterator[str]:
        """Check getattr and its kin: the name is a literal, or starts with one."""
        if len(node.args) < 2:
            return
        target, name = node.args[:2]
        text = literal(name)
        module = self._scope.path(target)
        if text is not None:
            if module in allowlist.MODULES:
                yield from _member(str(module), text)
            else:
                yield from self._attribute_name(text)
                if text in ("format", "format_map"):
                    yield "a text that is formatted must be a literal: write an f-string"
        elif module is not None or not (_starts_plain(name) or (function == "setattr" and _is_self(target))):
            yield f"{function} must be called with the attribute's name in quotes"
