"""Edits of a policy's text: new values in place of the old ones.

Only what changes is edited, by offsets from the syntax tree, so that comments and layout of the rest stay and a
difference between two candidates shows what was changed.
"""

from __future__ import annotations

import ast
import pprint
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trace_robot.policy.parameters import FunctionDef, ParameterSite, first_line


def rewrite(text: str, values: Mapping[ParameterSite, Any]) -> str:
    """Return a text with new values at trainable places.

    Args:
        text: of the policy.
        values: a value for each place that changes, found in this same text. The value of a function may have imports
            and helpers around it: these go before the other imports and above the function.
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
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Parts(source.strip("\n"))
    functions = [s for s in body if isinstance(s, FunctionDef) and s.name == wanted]
    if not functions:
        return Parts(source.strip("\n"))
    lines = source.split("\n")
    function = "\n".join(lines[functions[-1].lineno - 1 : functions[-1].end_lineno])
    imports = tuple(ast.unparse(s) for s in body if isinstance(s, ast.Import | ast.ImportFrom))
    others = [s for s in body if s is not functions[-1] and not isinstance(s, ast.Import | ast.ImportFrom)]
    return Parts(function, imports, _join(lines, others))


def _join(lines: list[str], statements: list[ast.stmt]) -> str:
    """Return the texts of statements with the comments above them, spaced as usual."""
    text, previous = "", None
    for statement in statements:
        block = isinstance(statement, FunctionDef | ast.ClassDef)
        first = (
            first_line(statement) if isinstance(statement, FunctionDef | ast.ClassDef) else statement.lineno
        )
        top = first - 1
        while top > 0 and lines[top - 1].startswith("#"):
            top -= 1
        if previous is not None:
            apart = block or isinstance(previous, FunctionDef | ast.ClassDef)
            text += "\n\n\n" if apart else "\n\n" if not lines[top - 1].strip() else "\n"
        text += "\n".join(lines[top : statement.end_lineno])
        previous = statement
    return text


def _imports(text: str) -> list[tuple[str, int]]:
    """Return the module's import statements, each with the line it begins on."""
    every = [s for s in ast.parse(text).body if isinstance(s, ast.Import | ast.ImportFrom)]
    # Imports from __future__ must stay the first, so that no other may go before them.
    free = [s for s in every if not (isinstance(s, ast.ImportFrom) and s.module == "__future__")]
    return [(ast.unparse(s), s.lineno) for s in free]


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
