"""Which line of the controller's source a line of its running code is."""

from __future__ import annotations

import ast
import re

from trace_robot.sandbox.static import parse
from trace_robot.sandbox.types import Fault

SOURCE_NAME = "<controller>"
CODE_NAME = re.compile(r"<code of (\w+)>")  # how the tracer names the text of a trainable function


def line_in_source(file: str, line: int, source: str) -> int | None:
    """Return the 1-based line of ``source`` for a line of ``file``, None if that is not the controller's."""
    if file == SOURCE_NAME:
        return line
    found = CODE_NAME.fullmatch(file)
    if found is None:
        return None
    start = _start_of_code(found.group(1), source)
    return None if start is None else start + line


def _start_of_code(name: str, source: str) -> int | None:
    """Return the line above the text of the trainable function ``name``: its bundle decorator's last."""
    tree = parse(source)
    if isinstance(tree, Fault):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            for decorator in node.decorator_list:
                if "bundle" in ast.unparse(decorator):
                    return decorator.end_lineno
            return node.decorator_list[0].end_lineno if node.decorator_list else node.lineno - 1
    return None
