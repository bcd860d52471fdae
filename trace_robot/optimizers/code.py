"""Check and edit suggested code by its syntax tree: nothing is executed here."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

Function = ast.FunctionDef | ast.AsyncFunctionDef
MOST_NAMES = 10  # of functions that a message names
LONGEST_LINE = 200  # characters of a line that a message quotes
LINE_END = re.compile(r"\r\n?|\n")  # those of Python's grammar; str.splitlines knows more


def parse(source: str) -> ast.Module | str:
    """Return the syntax tree, or as text why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of strings such as "\\d", which run
            return ast.parse(source)
    except SyntaxError as error:
        line = (error.text or "").strip()
        line = line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "..."
        where = f" on line {error.lineno}" if error.lineno else ""  # a null byte has no line
        return f"syntax error{where}: {error.msg}" + (f", at {line!r}" if line else "")
    except (RecursionError, MemoryError):
        return "cannot be parsed: it is nested too deeply"
    except ValueError as error:  # null bytes
        return f"cannot be parsed: {error}"


def functions(tree: ast.Module) -> dict[str, Function]:
    """Return the top-level functions by name, the last of each name."""
    return {node.name: node for node in tree.body if isinstance(node, Function)}


def bound_names(tree: ast.Module) -> set[str]:
    """Return the names that the top level of the code defines or assigns."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(t.id for target in targets for t in ast.walk(target) if isinstance(t, ast.Name))
    return names


def signature(function: Function) -> str:
    """Return the parameters as text, without annotations, every default as "=...".

    Two functions with the same text can be called in the same way.
    """
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    optional = len(positional) - len(arguments.defaults)
    parts = [a.arg + ("=..." if i >= optional else "") for i, a in enumerate(positional)]
    if arguments.posonlyargs:
        parts.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg:
        parts.append(f"*{arguments.vararg.arg}")
    elif arguments.kwonlyargs:
        parts.append("*")
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        parts.append(argument.arg + ("=..." if default is not None else ""))
    if arguments.kwarg:
        parts.append(f"**{arguments.kwarg.arg}")
    return ", ".join(parts)


def tidy(source: str, name: str) -> str:
    """Return source dedented, ending in a newline, without bundle decorators.

    A model that knows ``@bundle(trainable=True)`` may write it above a function, which is already bundled.

    Args:
        source: Python source; what cannot be parsed is dedented only.
        name: the function whose decorators are removed.
    """
    source = textwrap.dedent(LINE_END.sub("\n", source.lstrip("\ufeff"))).strip("\n").rstrip() + "\n"
    if "bundle" not in source:  # so that most replies are parsed once less
        return source
    tree = parse(source)
    if isinstance(tree, str) or name not in functions(tree):
        return source
    lines = source.split("\n")
    for decorator in reversed(functions(tree)[name].decorator_list):
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        # By node: to unparse a target of any depth would exhaust the stack.
        if (isinstance(target, ast.Name) and target.id == "bundle") or (
            isinstance(target, ast.Attribute) and target.attr == "bundle"
        ):
            del lines[decorator.lineno - 1 : decorator.end_lineno]
    return "\n".join(lines)


def problems(source: str, name: str, present: str, reserved: Iterable[str] = ()) -> list[str]:
    """Return what keeps suggested source from replacing the present one.

    Args:
        source: the suggestion.
        name: the function that it must define, with the same signature.
        present: the source that it would replace.
        reserved: names of other parameters, which the code must not define.

    Returns:
        The problems as text, each in one line for the model to read.
    """
    tree = parse(source)
    if isinstance(tree, str):
        return [tree]
    defined = functions(tree)
    if name not in defined:
        there = ", ".join(name[:LONGEST_LINE] for name in list(defined)[:MOST_NAMES]) or "no function"
        return [f"must define a function named {name!r}, got {there}; keep its name"]
    if not isinstance(defined[name], ast.FunctionDef):
        return [f"{name!r} must be an ordinary function, got an async one"]
    faults = []
    before = parse(present)
    if not isinstance(before, str) and name in functions(before):
        wanted, suggested = signature(functions(before)[name]), signature(defined[name])
        if wanted != suggested:
            got = suggested if len(suggested) <= LONGEST_LINE else suggested[:LONGEST_LINE] + "..."
            faults.append(f"must keep the signature {name}({wanted}), got {name}({got})")
    for taken in sorted(bound_names(tree) & set(reserved) - {name}):
        faults.append(f"must not define {taken!r}, which is another variable; suggest it separately")
    return faults


SMALLEST = 1e-6  # a smaller number is a tolerance or guards a division
SENTINEL = 1e6  # a larger number is no gain and no length in SI units
CONTAINERS = ("array", "asarray", "dict", "list", "tuple")  # calls whose arguments are a constant's numbers


@dataclass(frozen=True, slots=True)
class Literal:
    """A float in source.

    Args:
        value: the number, negative with a minus before it.
        line: counted from 1.
        start: offset of its first character in the whole text, that of the minus if there is one.
        end: offset behind its last character.
        name: of the constant that it belongs to, with its place where the constant has several; "" for no constant.
    """

    value: float
    line: int
    start: int
    end: int
    name: str = ""


def find_literals(source: str) -> list[Literal]:
    """Return the floats of ``source`` that are worth tuning, in their order.

    Whole numbers, 0.0, 1.0 and -1.0, exponents, indices, and numbers below a millionth are structure and left out.
    Source that cannot be parsed has none.
    """
    tree = parse(source)
    if isinstance(tree, str):
        return []
    return _located(source, (("", node, value) for node, value in _floats(tree)))


def find_constants(source: str) -> list[Literal]:
    """Return the floats of ``source`` that a tuner may change, in their order.

    They are those of constants: names that the top level gives a float, or a list, tuple, dict or array of floats. Left
    out are numbers in functions and expressions, ``fixed(...)``, sentinels, and what ``find_literals`` leaves out.
    """
    tree = parse(source)
    return [] if isinstance(tree, str) else _located(source, _constants(tree))


def is_sentinel(value: float) -> bool:
    """Return whether a number means no limit: 1e6 and more, 999, 9999, 10,000."""
    size = abs(value)
    if size >= SENTINEL or not size < float("inf"):
        return True
    digits = f"{size:.15g}".replace(".", "").strip("0")
    return (size >= 999 and set(digits) == {"9"}) or (size >= 10_000 and digits == "1")


def _located(source: str, found: Iterable[tuple[str, ast.expr, float]]) -> list[Literal]:
    """Return literals with their offsets, in the order of the text."""
    lines = [_Line(start, source[start:end]) for start, end in _line_spans(source)]
    literals = []
    for name, node, value in found:
        start = lines[node.lineno - 1].offset(node.col_offset)
        end = lines[(node.end_lineno or 1) - 1].offset(node.end_col_offset or 0)
        literals.append(Literal(value, node.lineno, start, end, name))
    return sorted(literals, key=lambda literal: literal.start)


def _constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr, float]]:
    """Yield the floats of constants with their names, each constant's in their order."""
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets = [statement.target]
        if len(targets) != 1:
            continue
        value: ast.expr = statement.value  # type: ignore[attr-defined]  # both kinds have it here
        if isinstance(targets[0], ast.Name):
            yield from _named(targets[0].id, value)
        elif isinstance(targets[0], ast.Tuple) and isinstance(value, ast.Tuple):
            for target, part in zip(targets[0].elts, value.elts, strict=False):  # A, B = 0.1, 0.2
                if isinstance(target, ast.Name):
                    yield from _named(target.id, part)


def _named(name: str, value: ast.expr) -> Iterator[tuple[str, ast.expr, float]]:
    numbers = [(node, x) for node, x in _plain_numbers(value) if not is_sentinel(x)]
    single = isinstance(value, ast.Constant | ast.UnaryOp)
    for index, (node, x) in enumerate(numbers):
        yield name if single else f"{name}[{index}]", node, x


def _plain_numbers(value: ast.expr) -> Iterator[tuple[ast.expr, float]]:
    """Yield the floats of a literal or of containers of them, none of expressions."""
    if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub) and _tunable(value.operand):
        yield value, -float(value.operand.value)  # type: ignore[attr-defined]
    elif _tunable(value):
        yield value, float(value.value)  # type: ignore[attr-defined]
    else:
        for part in _parts(value):
            yield from _plain_numbers(part)  # as deep as the parser lets brackets be, about 100


def _parts(value: ast.expr) -> list[ast.expr]:
    if isinstance(value, ast.Tuple | ast.List):
        return value.elts
    if isinstance(value, ast.Dict):
        return value.values
    if isinstance(value, ast.Call):
        called = getattr(value.func, "attr", getattr(value.func, "id", ""))  # np.array, dict
        if called in CONTAINERS:
            return [*value.args, *(keyword.value for keyword in value.keywords)]
    return []


def replace_literals(source: str, values: Sequence[float], literals: Sequence[Literal] | None = None) -> str:
    """Return source with other numbers, all else as it was.

    Args:
        source: Python source.
        values: one number for each of ``literals``; six significant digits of it are written.
        literals: found in this source; ``find_literals(source)`` if None.
    """
    parts, end = [], 0
    found = find_literals(source) if literals is None else literals
    for literal, value in zip(found, values, strict=True):
        if value != literal.value:
            parts += [source[end : literal.start], _written(value)]
            end = literal.end
    return "".join([*parts, source[end:]])


def _floats(tree: ast.AST) -> Iterator[tuple[ast.expr, float]]:
    """Yield each float with its expression and its minus sign, in any order."""
    waiting = [tree]  # a stack of our own: a sum of a thousand terms is a thousand nodes deep
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and _tunable(node.operand):
                yield node, -float(node.operand.value)  # type: ignore[attr-defined]
            elif isinstance(node, ast.Constant):
                if _tunable(node):
                    yield node, float(node.value)  # type: ignore[arg-type]
            elif isinstance(node, ast.Subscript):
                waiting.append(ast.Expr(node.value))  # not its index
            elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
                waiting.append(ast.Expr(node.left))  # not its exponent
            elif not isinstance(node, ast.JoinedStr):
                waiting.append(node)


def _tunable(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, float)
        and node.value not in (0.0, 1.0)
        and SMALLEST <= abs(node.value) < float("inf")
    )


def _written(value: float) -> str:
    text = repr(float(f"{value:.6g}"))
    return text if text != "-0.0" else "0.0"


def _line_spans(source: str) -> Iterator[tuple[int, int]]:
    """Yield where each line begins and ends, its line end left out."""
    start = 0
    for match in LINE_END.finditer(source):
        yield start, match.start()
        start = match.end()
    yield start, len(source)


@dataclass
class _Line:
    """A line of a source and the offset of its first character."""

    start: int
    text: str

    @cached_property
    def _columns(self) -> list[int]:
        return list(accumulate((len(character.encode()) for character in self.text), initial=0))

    def offset(self, column: int) -> int:
        """Return the offset in the source of a column in UTF-8 bytes, as ``ast`` counts."""
        return self.start + (column if self.text.isascii() else bisect_left(self._columns, column))


QUOTE = re.compile(r"""'{3}|"{3}|['"#]""")
REST = {
    "'": re.compile(r"[^'\\\n]*(?:\\.[^'\\\n]*)*'", re.DOTALL),
    '"': re.compile(r'[^"\\\n]*(?:\\.[^"\\\n]*)*"', re.DOTALL),
}


class StringScanner:
    """Where the strings of Python source are, found without parsing it.

    The source need not be valid: a quote that is not closed, as in a word of prose, begins no string, and the rest of
    its line is left out.

    Args:
        text: holds the source.
        start: where the source begins.
    """

    def __init__(self, text: str, start: int = 0) -> None:
        self.text, self.position = text, start
        self._string_end = start
        # Marks without an end: they are not searched for again, so that scans stay linear.
        self._unclosed: set[str] = set()

    def next_span(self, until: int) -> tuple[int, int] | None:
        """Return the next string that begins before ``until``, None without one."""
        while match := QUOTE.search(self.text, self.position, until):
            end = self._end(match.group(), match.end())
            if end >= 0:
                self.position = end
                return match.start(), end
        self.position = max(self.position, until)  # searched once
        return None

    def is_inside(self, offset: int) -> bool:
        """Return whether an offset is in a string. Offsets must ascend."""
        while self._string_end <= offset:
            span = self.next_span(offset)
            if span is None:
                return False
            self._string_end = span[1]
        return True

    def _end(self, mark: str, position: int) -> int:
        """Return where the string that ``mark`` begins ends, -1 where it begins none."""
        if mark in REST and (closed := REST[mark].match(self.text, position)):
            return closed.end()
        if len(mark) == 3 and mark not in self._unclosed:
            end = _triple_end(self.text, mark, position)
            if end >= 0:
                return end
            self._unclosed.add(mark)
        self.position = position if len(mark) == 3 else _line_end(self.text, position)
        return -1


def string_spans(text: str) -> list[tuple[int, int]]:
    """Return where each string of Python source begins and ends."""
    scanner = StringScanner(text)
    return list(iter(lambda: scanner.next_span(len(text)), None))


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _triple_end(text: str, mark: str, position: int) -> int:
    """Return the offset behind the next unescaped ``mark``, -1 without one."""
    while (at := text.find(mark, position)) >= 0:
        slashes = at
        while slashes > position and text[slashes - 1] == "\\":
            slashes -= 1
        if (at - slashes) % 2 == 0:
            return at + 3
        position = at + 1
    return -1
