"""Source rewriting: replace literals and functions at offsets found by the AST.

The text is edited rather than unparsed, so that comments, blank lines and quotes of the rest stay as the author wrote
them, and a diff shows the change alone.
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
    """Return ``text`` with new values in trainable places.

    Args:
        text: a policy that parses.
        values: by place of that text: source text for "code", plain data or an array otherwise. A function may come
            with imports and helpers; imports go to the top of the module, helpers above the function or its class.

    Returns:
        The new text; it need not parse, since a model's code is checked by the sandbox.
    """
    edits: list[tuple[int, int, str]] = []
    imports = _imports(text)
    known = {line for line, _ in imports}
    for place, value in values.items():
        if place.kind != "code":
            if _literal(value) != _literal(place.value):
                # Equal values leave the author's spelling, such as 1e-3 for 0.001.
                edits.append((place.start, place.stop, _literal(value)))
            continue
        parts = _split(place.name, str(value))
        new = [line for line in parts.imports if line not in known]
        known.update(new)
        if new:
            edits.append((_before_imports(text, place, imports), -1, _grouped(new)))
        if parts.above:
            edits.append((place.above, place.above, f"{parts.above}\n\n\n"))
        edits.append((place.start, place.stop, textwrap.indent(parts.function, place.indent).lstrip()))
    # From the end, so that the offsets of the edits before stay true. -1 is an insertion at ``start``.
    for start, stop, new_text in sorted(edits, key=lambda edit: edit[:2], reverse=True):
        text = text[:start] + new_text + text[max(start, stop) :]
    return text


def _literal(value: Any) -> str:
    """Return a constant's Python literal, wrapped at 100 columns."""
    # NumPy arrays and scalars as plain lists and numbers: a policy need not import numpy.
    plain = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(plain, list | dict | tuple):
        return pprint.pformat(plain, width=100, sort_dicts=False)
    return repr(plain)


@dataclass(frozen=True, slots=True)
class _Parts:
    """A code value split into the function, its imports, and the helpers around it."""

    function: str
    imports: tuple[str, ...] = ()
    above: str = ""


def _split(name: str, source: str) -> _Parts:
    """Split a code value, left whole if it does not parse or lacks the function."""
    wanted = name.rpartition(".")[2]
    try:
        body = ast.parse(source).body
    # ValueError: null bytes. RecursionError, MemoryError: nesting too deep for the parser. Here a model's text is
    # only written; the sandbox refuses it later, and names the line.
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _Parts(source.strip("\n"))
    functions = [s for s in body if isinstance(s, FunctionDef) and s.name == wanted]
    if not functions:
        return _Parts(source.strip("\n"))
    lines = source.split("\n")
    function = "\n".join(lines[functions[-1].lineno - 1 : functions[-1].end_lineno])
    imports = tuple(ast.unparse(s) for s in body if isinstance(s, ast.Import | ast.ImportFrom))
    others = [s for s in body if s is not functions[-1] and not isinstance(s, ast.Import | ast.ImportFrom)]
    return _Parts(function, imports, _join(lines, others))


def _join(lines: list[str], statements: list[ast.stmt]) -> str:
    """Return statements with the comments directly above them, spaced as by PEP 8."""
    text, previous = "", None
    for statement in statements:
        block = isinstance(statement, FunctionDef | ast.ClassDef)
        first = (
            first_line(statement) if isinstance(statement, FunctionDef | ast.ClassDef) else statement.lineno
        )
        # Comments are not in the AST; those without a blank line between belong to the statement.
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
    imports = [s for s in ast.parse(text).body if isinstance(s, ast.Import | ast.ImportFrom)]
    # Nothing may stand before "from __future__", so it is not what new imports are put before.
    free = [s for s in imports if not (isinstance(s, ast.ImportFrom) and s.module == "__future__")]
    return [(ast.unparse(s), s.lineno) for s in free]


def _before_imports(text: str, place: ParameterSite, imports: list[tuple[str, int]]) -> int:
    """Return the offset of the module's first import, without one that of ``place``."""
    if not imports:
        return place.above
    return sum(len(line) + 1 for line in text.split("\n")[: imports[0][1] - 1])


def _grouped(lines: list[str]) -> str:
    """Return import lines in two groups as isort does, standard library first."""
    standard = [line for line in lines if line.split()[1].partition(".")[0] in sys.stdlib_module_names]
    others = [line for line in lines if line not in standard]
    return "".join("\n".join(group) + "\n\n" for group in (standard, others) if group)
