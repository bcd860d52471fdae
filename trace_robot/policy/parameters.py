"""Static discovery of trainable parameters in a policy's AST.

Nothing is executed: calls of ``node`` and ``bundle`` are recognized by name through the module's imports, and their
arguments must be literals.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trace_robot.errors import PolicyError

Kind = Literal["code", "number", "bool", "text", "array", "list", "dict"]
FunctionDef = ast.FunctionDef | ast.AsyncFunctionDef
# What a policy may import node and bundle from; opto is the Trace library, whose programs run unchanged.
_PACKAGES = ("trace_robot", "trace_robot.trace", "opto.trace", "opto")


@dataclass(frozen=True, slots=True, eq=False)
class ParameterSite:
    """A trainable place of a policy's text. Offsets are in characters.

    Attributes:
        name: unique in the policy; "Class.method" for a method.
        kind: of the value.
        value: source text of the function for "code", else the literal as plain data.
        description: the author's, for a prompt.
        constraint: text, or a mapping ``{"low": ..., "high": ...}`` or ``{"choices": [...]}``, or None.
        start: where the text begins that a new value replaces.
        stop: where it ends.
        above: where helpers of new code go.
        indent: of a method.
        unnamed: for a constant named after the variable it is assigned to, the offset for a ``name=``.
    """

    name: str
    kind: Kind
    value: Any
    description: str
    constraint: Any
    start: int
    stop: int
    above: int
    indent: str = ""
    unnamed: int | None = None


def find_places(tree: ast.Module, text: str, policy: str) -> tuple[ParameterSite, ...]:
    """Return the trainable places of a policy, in the order of its text.

    Args:
        tree: parsed from ``text``.
        text: the policy.
        policy: its name, for messages.

    Raises:
        PolicyError: a value is not a literal, is not finite or violates its bounds, or two places share a name.
    """
    finder = _Finder(text, policy, _aliases(tree))
    finder.scan(tree.body, owner=None, above=None)
    return tuple(finder.places)


class _Finder:
    """Collector of the trainable places of one text."""

    def __init__(self, text: str, policy: str, aliases: Mapping[str, str]) -> None:
        self.policy = policy
        self.aliases = aliases
        # Not splitlines(), which splits at form feeds and U+2028 too: Python's parser counts line feeds.
        self.lines = [line + "\n" for line in text.split("\n")]
        self.text = text
        self.places: list[ParameterSite] = []

    def scan(self, body: list[ast.stmt], owner: str | None, above: int | None) -> None:
        """Collect the places of a module's or a class's statements.

        Args:
            body: its statements.
            owner: name of the class.
            above: offset of the class, where helpers of its methods go.
        """
        for statement in body:
            if isinstance(statement, FunctionDef) and self._trainable_decorator(statement):
                self._add(self._code(statement, owner, above))
            elif isinstance(statement, ast.ClassDef):
                self.scan(statement.body, statement.name, self._offset(first_line(statement), 0))
            elif isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.Call):
                constant = self._constant(statement, statement.value)
                if constant is not None:
                    self._add(constant)

    def _add(self, place: ParameterSite) -> None:
        if any(place.name == other.name for other in self.places):
            raise PolicyError(
                f"policy {self.policy} has two trainable parameters named {place.name!r}; rename one of them"
            )
        self.places.append(place)

    def _offset(self, line: int, byte_column: int) -> int:
        """Return a character offset, where the AST counts columns in UTF-8 bytes."""
        before = sum(map(len, self.lines[: line - 1]))
        current = self.lines[line - 1] if line <= len(self.lines) else ""
        return before + len(current.encode()[:byte_column].decode())

    def _code(self, function: FunctionDef, owner: str | None, above: int | None) -> ParameterSite:
        start = self._offset(function.lineno, function.col_offset)
        stop = self._offset(function.end_lineno or function.lineno, function.end_col_offset or 0)
        line = self.lines[function.lineno - 1]
        indent = line[: len(line) - len(line.lstrip())]
        source = textwrap.dedent(indent + self.text[start:stop])
        if above is None:
            above = self._offset(first_line(function), 0)
        described = self._keyword(self._trainable_decorator(function), "description")
        name = function.name if owner is None else f"{owner}.{function.name}"
        return ParameterSite(name, "code", source, described or "", None, start, stop, above, indent)

    def _constant(self, statement: ast.Assign | ast.AnnAssign, call: ast.Call) -> ParameterSite | None:
        if self._resolve(call.func) != "node" or self._keyword(call, "trainable") is not True:
            return None
        target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
        name = self._keyword(call, "name") or (target.id if isinstance(target, ast.Name) else None)
        argument = call.args[0] if call.args else None
        if argument is None or name is None:
            raise PolicyError(
                f"policy {self.policy}, line {call.lineno}: a trainable node needs a literal value and a name"
            )
        value, constraint, first = self._literal(argument), self._constraint(call), call.keywords[0]
        fault = _fault(value, constraint)
        if fault:
            raise PolicyError(f"policy {self.policy}, line {call.lineno}: {fault}")
        return ParameterSite(
            str(name),
            _kind(value),
            value,
            self._keyword(call, "description") or "",
            constraint,
            self._offset(argument.lineno, argument.col_offset),
            self._offset(argument.end_lineno or argument.lineno, argument.end_col_offset or 0),
            0,  # a constant has no helpers
            unnamed=None if self._keyword(call, "name") else self._offset(first.lineno, first.col_offset),
        )

    def _literal(self, expression: ast.expr) -> Any:
        try:
            return ast.literal_eval(expression)
        except ValueError as error:
            raise PolicyError(
                f"policy {self.policy}, line {expression.lineno}: the value of a trainable node must be a literal"
                f" (a number, text, list, ...), got {ast.unparse(expression)!r}"
            ) from error

    def _constraint(self, call: ast.Call) -> Any:
        for keyword in call.keywords:
            if keyword.arg != "constraint":
                continue
            value = keyword.value
            if isinstance(value, ast.Call) and self._resolve(value.func) in ("Bounds", "Choices"):
                return self._structured(value)
            return self._literal(value)
        return None

    def _structured(self, call: ast.Call) -> dict[str, Any]:
        """Return ``Bounds`` or ``Choices`` as data, since the call is not executed."""
        arguments = [self._literal(argument) for argument in call.args]
        named = {keyword.arg: self._literal(keyword.value) for keyword in call.keywords}
        if self._resolve(call.func) == "Choices":
            # Choices("a", "b") and Choices(["a", "b"]) mean the same.
            as_list = len(arguments) == 1 and isinstance(arguments[0], list | tuple)
            return {"choices": list(arguments[0] if as_list else arguments)}
        return {
            **dict(zip(("low", "high"), arguments, strict=False)),
            **{str(k): v for k, v in named.items()},
        }

    def _trainable_decorator(self, function: FunctionDef) -> ast.Call | None:
        for decorator in function.decorator_list:
            if (
                isinstance(decorator, ast.Call)
                and self._resolve(decorator.func) == "bundle"
                and self._keyword(decorator, "trainable") is True
            ):
                return decorator
        return None

    def _keyword(self, call: ast.Call | None, name: str) -> Any:
        for keyword in call.keywords if call is not None else ():
            if keyword.arg == name and isinstance(keyword.value, ast.Constant):
                return keyword.value.value
        return None

    def _resolve(self, expression: ast.expr) -> str | None:
        """Return the library's name for a called name, e.g. "bundle" for ``tr.bundle``."""
        if isinstance(expression, ast.Name):
            return self.aliases.get(expression.id)
        if isinstance(expression, ast.Attribute) and isinstance(expression.value, ast.Name):
            return expression.attr if self.aliases.get(expression.value.id) == "" else None
        return None


def _aliases(tree: ast.Module) -> dict[str, str]:
    """Return {local name: library name}, "" for a name of the package itself."""
    names: dict[str, str] = {}
    for statement in ast.walk(tree):
        if isinstance(statement, ast.ImportFrom) and statement.module in _PACKAGES:
            # A star import binds what only execution would show; these four are all that is looked up.
            if any(alias.name == "*" for alias in statement.names):
                names.update({name: name for name in ("node", "bundle", "Bounds", "Choices")})
            for alias in statement.names:
                names[alias.asname or alias.name] = "" if alias.name == "trace" else alias.name
        elif isinstance(statement, ast.Import):
            names.update(
                {alias.asname or alias.name: "" for alias in statement.names if alias.name in _PACKAGES}
            )
    return names


def first_line(statement: FunctionDef | ast.ClassDef) -> int:
    """Return the line of the first decorator, which the AST leaves out of ``lineno``."""
    return min([statement.lineno, *(decorator.lineno for decorator in statement.decorator_list)])


def _kind(value: Any) -> Kind:
    # First, because a bool is an int.
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, dict):
        return "dict"
    return "text" if isinstance(value, str) else "array" if _is_numeric(value) else "list"


def _is_numeric(value: Any) -> bool:
    """Return whether a literal is a rectangle of numbers, which can be an array."""
    try:
        return bool(np.asarray(value, dtype=float).size)
    except (TypeError, ValueError):
        return False


def _fault(value: Any, constraint: Any) -> str:
    """Return what is wrong with a trainable constant, "" if nothing."""
    if value is None:
        return "a trainable node needs a number, text, list or dict, got None"
    bounds = constraint if isinstance(constraint, dict) else {}
    low, high = bounds.get("low"), bounds.get("high")
    if low is not None and high is not None and not low < high:
        return f"the lower bound must be below the upper one, got {low!r} and {high!r}"
    if _kind(value) not in ("number", "array"):
        return ""
    numbers = np.asarray(value, dtype=float)
    if not np.isfinite(numbers).all():
        return f"a trainable number must be finite, got {value!r}"
    outside = (low is not None and (numbers < low).any()) or (high is not None and (numbers > high).any())
    return f"the value {value!r} is outside its bounds, {low!r} to {high!r}" if outside else ""
