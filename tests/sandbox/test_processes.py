"""A file runs in the process that its folder names: the host, the child, or both."""

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import trace_robot
from trace_robot.sandbox import protocol
from trace_robot.sandbox.child.seccomp import TABLES
from trace_robot.sandbox.spawn import _import_paths

ROOT = Path(trace_robot.__file__).parent
SANDBOX = ROOT / "sandbox"
SHARED = {"protocol", "source"}
# What else of the package a file in child/ may import; the tracer at run time only where a controller uses it.
CHILD_ALLOWED = {"trace_robot.fault", "trace_robot.spec", "trace_robot.trace"}
# What importing them brings along.
CHILD_LOADED = CHILD_ALLOWED | {f"trace_robot{name}" for name in ("", ".errors", ".lazy_names", ".sandbox")}
HOST = [path for path in SANDBOX.glob("*.py") if path.stem not in SHARED] + [
    *SANDBOX.glob("static_check/*.py")
]


def imports(path: Path) -> set[str]:
    """Return every module of this package that a file imports, also in functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            modules = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if importable(name) else str(node.module) for name in modules}
    return {name for name in names if name.partition(".")[0] == "trace_robot"}


def importable(name: str) -> bool:
    """Return whether a dotted name is a module and not what a module defines."""
    path = ROOT.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def is_shared(name: str) -> bool:
    """Return whether both sides may import a module."""
    return name in {f"trace_robot.sandbox.{stem}" for stem in SHARED}


def may_be_in_child(name: str, others: set[str]) -> bool:
    """Return whether a child may have a module.

    Args:
        name: the module.
        others: that it may have besides its own, the shared ones and the tracer's.
    """
    own = name.startswith("trace_robot.sandbox.child")
    return own or is_shared(name) or name in others or name.startswith("trace_robot.trace.")


@pytest.mark.parametrize("path", sorted(SANDBOX.glob("child/*.py")), ids=lambda path: path.stem)
def test_a_file_of_the_child_imports_nothing_of_the_host(path: Path) -> None:
    assert [name for name in imports(path) if not may_be_in_child(name, CHILD_ALLOWED)] == []


@pytest.mark.parametrize("path", HOST, ids=lambda path: path.stem)
def test_a_file_of_the_host_imports_nothing_of_the_child(path: Path) -> None:
    assert [name for name in imports(path) if name.startswith("trace_robot.sandbox.child")] == []


@pytest.mark.parametrize("stem", sorted(SHARED))
def test_a_shared_file_imports_neither_side(stem: str) -> None:
    names = imports(SANDBOX / f"{stem}.py")
    assert [name for name in names if not is_shared(name) and name not in CHILD_ALLOWED] == []


@pytest.mark.parametrize("traced", [False, True])
def test_a_running_fork_server_has_loaded_nothing_of_the_host(traced: bool) -> None:
    code = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1])\n"
        f"from {protocol.FORK_SERVER} import import_all, warm_up\n"
        "warm_up(); assert import_all(sys.argv[2:]) == []\n"
        "print(json.dumps([name for name in sys.modules if name.startswith('trace_robot')]))"
    )
    preload = [protocol.CHILD_TRACING] if traced else []
    command = [sys.executable, "-s", "-S", "-c", code, json.dumps(_import_paths()), *preload]
    loaded = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert "trace_robot.sandbox.child.main" in loaded
    assert (protocol.TRACE in loaded) == traced
    assert [name for name in loaded if not may_be_in_child(name, CHILD_LOADED)] == []


def test_each_module_that_is_named_exists() -> None:
    names = [protocol.PACKAGE, protocol.TRACE, protocol.FORK_SERVER, protocol.CHILD_TRACING]
    assert [name for name in names if importlib.util.find_spec(name) is None] == []


def test_each_machine_that_is_offered_has_a_table_of_system_calls() -> None:
    assert set(TABLES) == set(protocol.MACHINES)
