"""Checks of suggested code by its syntax tree alone; nothing is executed here."""

from __future__ import annotations

import ast
import textwrap
import warnings
from collections.abc import Iterable

Function = ast.FunctionDef | ast.AsyncFunctionDef


def parse(source: str) -> ast.Module | str:
    """Return the tree, or in words why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of strings such as "\\d", which run
            return ast.parse(source)
    except SyntaxError as error:
        line = (error.text or "").strip()
        return f"syntax error on line {error.lineno}: {error.msg}" + (f", at {line!r}" if line else "")
    except (ValueError, RecursionError, MemoryError) as error:
        return f"cannot be parsed: {str(error) or type(error).__name__}"


def functions(tree: ast.Module) -> dict[str, Function]:
    """The top-level functions by name, the last of each name."""
    return {node.name: node for node in tree.body if isinstance(node, Function)}


def bound_names(tree: ast.Module) -> set[str]:
    """Names that the top level of the code defines or assigns."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(t.id for target in targets for t in ast.walk(target) if isinstance(t, ast.Name))
    return names


def signature(function: Function) -> str:
    """The parameters as text, without annotations; a default shows as "=..." whatever its value."""
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
    """Return ``source`` dedented, ending in a newline, without bundle decorators on the function ``name``."""
    source = textwrap.dedent(source.replace("\r\n", "\n")).strip("\n").rstrip() + "\n"
    tree = parse(source)
    if isinstance(tree, str) or name not in functions(tree):
        return source
    lines = source.split("\n")
    for decorator in reversed(functions(tree)[name].decorator_list):
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        if ast.unparse(target).split(".")[-1] == "bundle":
            del lines[decorator.lineno - 1 : decorator.end_lineno]
    return "\n".join(lines)


def problems(source: str, name: str, present: str, reserved: Iterable[str] = ()) -> list[str]:
    """Return in words what keeps ``source`` from replacing ``present``, the code of the function ``name``.

    reserved: names of other parameters, which the code must not define.
    """
    tree = parse(source)
    if isinstance(tree, str):
        return [tree]
    found = functions(tree)
    if name not in found:
        there = ", ".join(found) or "no function"
        return [f"must define a function named {name!r}, got {there}; keep its name"]
    if not isinstance(found[name], ast.FunctionDef):
        return [f"{name!r} must be an ordinary function, got an async one"]
    faults = []
    before = parse(present)
    if not isinstance(before, str) and name in functions(before):
        wanted, came = signature(functions(before)[name]), signature(found[name])
        if wanted != came:
            faults.append(f"must keep the signature {name}({wanted}), got {name}({came})")
    for taken in sorted(bound_names(tree) & set(reserved) - {name}):
        faults.append(f"must not define {taken!r}, which is a variable of its own; suggest it separately")
    return faults
