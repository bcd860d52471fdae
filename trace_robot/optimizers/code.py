"""Check and edit suggested code by its syntax tree: nothing is executed here."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterable

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
