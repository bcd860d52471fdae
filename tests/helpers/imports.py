"""What the library's modules import from each other, read from their text; nothing is executed."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import trace_robot

ROOT = Path(trace_robot.__file__).parent


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# The workspace that a wheel carries and the template of ``init`` are data, not part of the library.
MODULES = {
    _name(path): path
    for path in sorted(ROOT.rglob("*.py"))
    if not {"_workspace", "_template"} & set(path.parts)
}


class _Visitor(ast.NodeVisitor):
    """Collects imports at run time, also those inside functions; ``if TYPE_CHECKING`` is left out."""

    def __init__(self) -> None:
        self.imported: set[str] = set()

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in ast.unparse(node.test):
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.imported |= {alias.name for alias in node.names}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            self.imported.add(submodule if submodule in MODULES else str(node.module))


@cache
def imports(module: str) -> frozenset[str]:
    """Return every module that a module of the library imports at run time, however deep in a function."""
    visitor = _Visitor()
    visitor.visit(ast.parse(MODULES[module].read_text(encoding="utf-8")))
    return frozenset(visitor.imported - {module})


def own_imports(module: str) -> frozenset[str]:
    """Return the library's own modules among ``imports``; the package's face imports lazily and counts as none."""
    if module == "trace_robot":
        return frozenset()
    return frozenset(name for name in imports(module) if name in MODULES and name != "trace_robot")


def cycles() -> list[set[str]]:
    """Return the strongly connected components of more than one module (Tarjan, SIAM J. Comput. 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[set[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in own_imports(module):
            if other not in index:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == index[module]:
            at = stack.index(module)
            components.append(set(stack[at:]))
            del stack[at:]

    for module in MODULES:
        if module not in index:
            visit(module)
    return [component for component in components if len(component) > 1]


def longest_chain() -> list[str]:
    """Return the longest chain of modules that import one another, imports inside functions included."""

    @cache
    def chain(module: str) -> tuple[str, ...]:
        ways = [chain(other) for other in own_imports(module) if module not in own_imports(other)]
        return (module, *max(ways, key=lambda way: len(tuple(way)), default=()))

    return list(max((chain(module) for module in MODULES), key=lambda way: len(tuple(way))))
