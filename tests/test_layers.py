"""Imports point downwards only: a room may import rooms on lower floors, and its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import trace_robot

ROOT = Path(trace_robot.__file__).parent
FLOORS = {
    room: floor
    for floor, rooms in {
        10: "__main__",
        9: "cli",
        8: "bench export",
        7: "run report env_checker",
        6: "store render",
        5: "rollout",
        4: "search policy",
        3: "optimizers",
        2: "llm sandbox env",
        1: "trace settings workspace",
        0: "errors spec fault stats versions child_process",
    }.items()
    for room in rooms.split()
}
# The package's own face, which imports lazily, may be imported where a controller's text is run.
MODULES = sorted(path for path in ROOT.rglob("*.py") if not {"_workspace", "_template"} & set(path.parts))


def room_of(dotted: str) -> str:
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path: Path) -> set[str]:
    """Every module of this package that a file imports at run time, however deep in a function."""
    found: set[str] = set()

    class Visitor(ast.NodeVisitor):
        def visit_If(self, node: ast.If) -> None:
            if "TYPE_CHECKING" not in ast.unparse(node.test):
                self.generic_visit(node)

        def visit_Import(self, node: ast.Import) -> None:
            found.update(alias.name for alias in node.names if alias.name.startswith("trace_robot"))

        def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
            if node.module == "trace_robot":
                found.update(f"trace_robot.{alias.name}" for alias in node.names)
            elif (node.module or "").startswith("trace_robot"):
                found.add(str(node.module))

    Visitor().visit(ast.parse(path.read_text()))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_rooms_on_lower_floors_or_its_own(path: Path) -> None:
    here = path.relative_to(ROOT).with_suffix("").parts[0]
    if here == "__init__":
        return
    above = {
        name
        for name in imports(path)
        if (room := room_of(name)) != here and room in FLOORS and FLOORS[room] > FLOORS[here]
    }
    assert not above, f"{here} is on floor {FLOORS[here]} and imports {sorted(above)}"


def test_every_room_has_a_floor() -> None:
    rooms = {path.relative_to(ROOT).with_suffix("").parts[0] for path in MODULES} - {"__init__"}
    assert rooms == set(FLOORS)
