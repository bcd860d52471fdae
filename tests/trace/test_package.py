"""What importing costs and gives."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path

import pytest

import trace_robot
import trace_robot.trace

PAGE = Path(__file__).parents[2] / "docs" / "trace.md"
MODULES = sorted(Path(str(trace_robot.trace.__file__)).parent.glob("[a-z]*.py"))


def imported_by(body: list[ast.stmt]) -> set[str]:
    """Return the modules of the engine that these statements import."""
    froms = [item for item in body if isinstance(item, ast.ImportFrom)]
    names = [str(item.module) for item in froms] + [
        alias.name for item in body if isinstance(item, ast.Import) for alias in item.names
    ]
    return {name.split(".")[2] for name in names if name.startswith("trace_robot.trace.")}


def loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_none_of_its_rooms() -> None:
    loaded = loaded_by("import trace_robot")
    assert [name for name in loaded if name.startswith("trace_robot")] == ["trace_robot"]
    assert "numpy" not in loaded


def test_tracing_needs_numpy_and_nothing_heavier() -> None:
    loaded = loaded_by("from trace_robot import node, bundle, ExecutionError")
    rooms = {name.split(".")[1] for name in loaded if name.startswith("trace_robot.")}
    assert rooms == {"trace", "errors"}
    assert not loaded & {"gymnasium", "openai", "mujoco", "asyncio", "scipy"}


def test_every_name_of_the_engine_is_reached_from_the_top() -> None:
    for name in trace_robot._HOMES["trace"]:
        assert getattr(trace_robot, name) is getattr(trace_robot.trace, name)
    assert set(trace_robot._HOME_OF) == set(trace_robot.__all__)
    assert dir(trace_robot) == sorted(trace_robot.__all__)


def test_the_version_is_that_of_the_installed_package() -> None:
    assert trace_robot.__version__ == version("trace-robot")


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(trace_robot, "absent")


def test_every_public_name_of_the_engine_exists() -> None:
    for name in trace_robot.trace.__all__:
        assert hasattr(trace_robot.trace, name)


def test_the_modules_of_the_engine_can_be_read_in_the_order_of_the_page() -> None:
    runtime: dict[str, set[str]] = {}
    type_only: set[tuple[str, str]] = set()
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        guarded = [
            item
            for item in tree.body
            if isinstance(item, ast.If) and "TYPE_CHECKING" in ast.unparse(item.test)
        ]
        runtime[path.stem] = imported_by(tree.body)
        type_only |= {(path.stem, name) for item in guarded for name in imported_by(item.body)}
        everywhere = imported_by([item for item in ast.walk(tree) if isinstance(item, ast.stmt)])
        assert everywhere == runtime[path.stem] | {name for stem, name in type_only if stem == path.stem}, (
            path.stem
        )
    TopologicalSorter(runtime).prepare()  # raises CycleError for a circle
    assert type_only == {("node", "node_types")}
    documented = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", PAGE.read_text(), re.MULTILINE)))
    assert sorted(documented) == sorted(runtime)
    for position, stem in enumerate(documented):
        assert runtime[stem] <= set(documented[:position]), stem


@pytest.mark.parametrize("name", ["state", "node", "constraints"])
def test_a_node_is_complete_whichever_module_is_imported(name: str) -> None:
    code = f"import trace_robot.trace.{name}\nfrom trace_robot.trace.node import Node\nx = Node(1) + 1\nx.backward('')"
    assert f"trace_robot.trace.{name}" in loaded_by(code)
