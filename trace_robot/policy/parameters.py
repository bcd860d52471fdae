"""The trainable places of a policy's text, and new values in place of the old ones.

Places are read from the syntax tree. Nothing is executed: the text may be a model's or a stranger's. An edit replaces
only what changes, by offsets from the tree, so that comments and layout of the rest stay and a difference between two
candidates shows what was changed.
"""

from __future__ import annotations

import ast
import pprint
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import numpy as np

from trace_robot.errors import PolicyError
from trace_robot.optimizers.code import first_line, join_statements, shadowing
from trace_robot.optimizers.prompt.reply import NOT_FINITE, checkable, unstorable
from trace_robot.trace.constraints import Bounds, Choices, parse_code
from trace_robot.trace.shortening import shorten

Kind = Literal["code", "number", "bool", "text", "array", "list", "dict"]
LONGEST = 200  # characters of a value that a message quotes
FunctionDef = ast.FunctionDef | ast.AsyncFunctionDef
# With the name of the published implementation, whose programs read alike.
_PACKAGES = ("trace_robot", "trace_robot.trace", "opto.trace", "opto")


def rewrite(text: str, values: Mapping[ParameterSite, Any]) -> str:
    """Return a text with new values at trainable places.

    Args:
        text: of the policy.
        values: a value for each place that changes, found in this same text. The value of a function may have imports
            and helpers around it: these go before the other imports and above the function. What stands after them
            and binds the same names goes, so that theirs hold.
    """
    edits: list[tuple[int, int, str]] = []
    imports = _imports(text)
    known = {line for line, _ in imports}
    for place, value in values.items():
        if place.kind != "code":
            if literal(value) != literal(place.value):
                edits.append((place.start, place.stop, literal(value)))
            continue
        parts = split(place.name, str(value))
        new = [line for line in parts.imports if line not in known]
        known.update(new)
        if new:
            edits.append((_before_imports(text, place, imports), -1, _grouped(new)))
        if parts.above:
            edits.append((place.above, place.above, f"{parts.above}\n\n\n"))
        edits += [
            (start, stop, "") for start, stop in shadowing(text, place.start, parts.above, parts.imports)
        ]
        edits.append((place.start, place.stop, textwrap.indent(parts.function, place.indent).lstrip()))
    # From the end to the beginning, so that the offsets of edits that are still to be made stay true.
    for start, stop, new_text in sorted(edits, key=lambda edit: edit[:2], reverse=True):
        text = text[:start] + new_text + text[max(start, stop) :]
    return text


def literal(value: Any) -> str:
    """Return the source of a constant: a literal, or a container of literals."""
    plain = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(plain, list | dict | tuple):
        return pprint.pformat(plain, width=100, sort_dicts=False)
    return repr(plain)


@dataclass(frozen=True, slots=True)
class Parts:
    """A code value in parts: import lines, helpers above the function, the function."""

    function: str
    imports: tuple[str, ...] = ()
    above: str = ""


def split(name: str, source: str) -> Parts:
    """Split a code value into the function and what stands around it.

    Args:
        name: of the parameter, whose last part is the function's name.
        source: as a model or a search wrote it. What does not parse stays whole, for the sandbox to refuse with
            the line.
    """
    wanted = name.rpartition(".")[2]
    try:
        body = parse_code(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Parts(source.strip("\n"))
    functions = [s for s in body if isinstance(s, FunctionDef) and s.name == wanted]
    if not functions:
        return Parts(source.strip("\n"))
    lines = source.split("\n")
    function = "\n".join(lines[functions[-1].lineno - 1 : functions[-1].end_lineno])
    # A policy whose text has statements before the function takes no import from __future__ there any more.
    imports = tuple(
        ast.unparse(s) for s in body if isinstance(s, ast.Import | ast.ImportFrom) and not _is_future(s)
    )
    others = [s for s in body if s is not functions[-1] and not isinstance(s, ast.Import | ast.ImportFrom)]
    return Parts(function, imports, join_statements(lines, others))


def _imports(text: str) -> list[tuple[str, int]]:
    """Return the module's import statements, each with the line it begins on."""
    every = [s for s in parse_code(text).body if isinstance(s, ast.Import | ast.ImportFrom)]
    # Imports from __future__ must stay the first, so that no other may go before them.
    return [(ast.unparse(s), s.lineno) for s in every if not _is_future(s)]


def _is_future(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"


def _before_imports(text: str, place: ParameterSite, imports: list[tuple[str, int]]) -> int:
    """Return the offset of the module's first import, or else of ``place``."""
    if not imports:
        return place.above
    return sum(len(line) + 1 for line in text.split("\n")[: imports[0][1] - 1])


def _grouped(lines: list[str]) -> str:
    """Return import lines as two paragraphs, those of the standard library first."""
    own = [line for line in lines if line.split()[1].partition(".")[0] in sys.stdlib_module_names]
    others = [line for line in lines if line not in own]
    return "".join("\n".join(group) + "\n\n" for group in (own, others) if group)


@dataclass(frozen=True, slots=True, eq=False)
class ParameterSite:
    """A trainable place of a text.

    value: source text of the function for "code", else the literal as plain data. constraint: text, or a
    mapping ``{"low": ..., "high": ...}`` or ``{"choices": [...]}``; None where there is none.
    start, stop: character offsets of what a new value replaces; above: where helpers of a new code go.
    unnamed: for a constant called after the variable it is assigned to, the offset where a ``name=`` goes.
    near: as of ``ParameterSpec``.
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
    near: bool = False


def find_places(tree: ast.Module, text: str, policy: str) -> tuple[ParameterSite, ...]:
    """Return the trainable places of a policy, in the order of its text.

    Args:
        tree: of the module.
        text: that the tree was parsed from.
        policy: its name, for error messages.

    Raises:
        PolicyError: where two places have one name, or a constant is not a literal that its constraint allows.
    """
    finder = _Finder(text, policy, _aliases(tree))
    finder.scan(tree.body, owner=None, above=None)
    return tuple(finder.places)


class _Finder:
    def __init__(self, text: str, policy: str, aliases: Mapping[str, str]) -> None:
        self.policy = policy
        self.aliases = aliases
        self.lines = [line + "\n" for line in text.split("\n")]
        self.starts = list(accumulate(map(len, self.lines), initial=0))
        self.text = text
        self.places: list[ParameterSite] = []

    def scan(self, body: list[ast.stmt], owner: str | None, above: int | None) -> None:
        """Add the places of some statements.

        Args:
            body: of a module or a class.
            owner: the class, None for a module.
            above: where helpers of its methods go; None for directly above each function.
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
        # The syntax tree counts columns in bytes of UTF-8, offsets of the text are in characters.
        current = self.lines[line - 1] if line <= len(self.lines) else ""
        if not current.isascii():
            byte_column = len(current.encode()[:byte_column].decode())
        return self.starts[min(line - 1, len(self.lines))] + byte_column

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
            above=0,
            unnamed=None if self._keyword(call, "name") else self._offset(first.lineno, first.col_offset),
        )

    def _literal(self, expression: ast.expr) -> Any:
        try:
            return ast.literal_eval(expression)
        except (ValueError, TypeError, RecursionError, OverflowError) as error:  # such as a set of lists
            raise PolicyError(
                f"policy {self.policy}, line {expression.lineno}: the value of a trainable node must be a literal"
                f" (a number, text, list, ...), got {_source_of(expression)!r}"
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
        arguments = [self._literal(argument) for argument in call.args]
        named = {str(keyword.arg): self._literal(keyword.value) for keyword in call.keywords}
        if self._resolve(call.func) == "Choices":
            one = len(arguments) == 1 and isinstance(arguments[0], list | tuple)
            return {"choices": list(arguments[0] if one else arguments)}
        return {**dict(zip(("low", "high"), arguments, strict=False)), **named}

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
                value = keyword.value.value
                return value if isinstance(value, str | bool) else None
        return None

    def _resolve(self, expression: ast.expr) -> str | None:
        """Return the library's name for a called name, e.g. "bundle" for ``tr.bundle``."""
        if isinstance(expression, ast.Name):
            return self.aliases.get(expression.id)
        if isinstance(expression, ast.Attribute) and isinstance(expression.value, ast.Name):
            return expression.attr if self.aliases.get(expression.value.id) == "" else None
        return None


def _aliases(tree: ast.Module) -> dict[str, str]:
    """Return {local name: library name}, in which the package itself is ""."""
    aliases: dict[str, str] = {}
    for statement in ast.walk(tree):
        if isinstance(statement, ast.ImportFrom) and statement.module in _PACKAGES:
            if any(alias.name == "*" for alias in statement.names):
                aliases.update({name: name for name in ("node", "bundle", "Bounds", "Choices")})
            for alias in statement.names:
                aliases[alias.asname or alias.name] = "" if alias.name == "trace" else alias.name
        elif isinstance(statement, ast.Import):
            aliases.update(
                {alias.asname or alias.name: "" for alias in statement.names if alias.name in _PACKAGES}
            )
    return aliases


def _source_of(expression: ast.expr) -> str:
    try:
        text = ast.unparse(expression)
    except (ValueError, RecursionError):  # a number of 5,000 digits, a sum of a thousand terms
        return type(expression).__name__
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def _kind(value: Any) -> Kind:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, dict):
        return "dict"
    return "text" if isinstance(value, str) else "array" if _is_numeric(value) else "list"


def _is_numeric(value: Any) -> bool:
    """Return whether a literal is numbers in a rectangle, so that it can be an array."""
    try:
        texts = np.asarray(value).dtype.kind in "US"  # numpy would make numbers of ["1", "inf"]
        return not texts and bool(np.asarray(value, dtype=float).size)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False


def _fault(value: Any, constraint: Any) -> str:
    """Return what is wrong with a trainable constant, nothing where it is fine."""
    if value is None:
        return "a trainable node needs a number, text, list or dict, got None"
    try:
        condition = checkable(constraint)
    except TypeError:
        return f"the choices of a constraint must be a list, got {shorten(constraint, digits=None)}"
    low, high = (condition.low, condition.high) if isinstance(condition, Bounds) else (None, None)
    if not all(bound is None or isinstance(bound, int | float) for bound in (low, high)):
        return f"a bound must be a number, got {shorten([low, high])}"
    if low is not None and high is not None and not low < high:
        edges = f"{shorten(low, digits=None)} and {shorten(high, digits=None)}"
        return f"the lower bound must be below the upper one, got {edges}"
    for wanted in sorted(unstorable(value) - {NOT_FINITE}):  # as the order of a set differs between processes
        return f"the value of a trainable node must be {wanted}, got {shorten(value, digits=None)}"
    if isinstance(condition, Choices) and (choice := condition.check(value)):
        return f"the value of a trainable node must be {choice}, got {value!r:.{LONGEST}}"
    if _kind(value) not in ("number", "array"):
        return ""
    numbers = np.asarray(value, dtype=float)
    if not np.isfinite(numbers).all():
        return f"a trainable number must be finite, got {shorten(value, digits=None)}"
    edges = f"{shorten(low, digits=None)} to {shorten(high, digits=None)}"
    outside = isinstance(condition, Bounds) and condition.check(numbers)
    return f"the value {shorten(value, digits=None)} is outside its bounds, {edges}" if outside else ""
