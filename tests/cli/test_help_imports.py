"""``trace-robot --help`` answers in a tenth of a second, because it loads the options of commands and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MOST_OF_OURS = 23  # 15 when this was written; the parser, completion and the care of runs came later
MOST = 130  # with those of the standard library: 110 on Python 3.11
HEAVY = (
    "numpy",
    "mujoco",
    "metaworld",
    "gymnasium",
    "openai",
    "rich",
    "cma",
    "jinja2",
    "plotly",
    "pygments",
    "PIL",
)
PROGRAM = """
import json, sys
before = set(sys.modules)
try:
    {code}
except SystemExit as end:
    assert not end.code, end.code
sys.stderr.write(json.dumps(sorted(set(sys.modules) - before)))
"""
COMMANDS = ("", "optimize", "evaluate", "resume", "show", "report", "bench", "check-env", "sandbox")


def loaded_by(code: str) -> set[str]:
    """Return the modules that a program loads in a new process."""
    command = [sys.executable, "-c", PROGRAM.format(code=code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stderr))


def helped(*arguments: str) -> set[str]:
    return loaded_by(f"from trace_robot.cli import main; main({list(arguments)!r})")


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.split(".")[0] == "trace_robot"}


def test_what_is_heavy_would_be_seen() -> None:
    modules = loaded_by("import trace_robot.trace, rich")
    assert {"numpy", "rich", "trace_robot.trace"} <= modules
    assert len(modules) > MOST


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_the_command_line_and_nothing_else(command: str) -> None:
    modules = helped(*command.split(), "--help")
    rooms = {".".join(name.split(".")[:2]) for name in ours(modules)}
    assert rooms <= {"trace_robot", "trace_robot.cli", "trace_robot.errors"}
    assert len(ours(modules)) <= MOST_OF_OURS, sorted(ours(modules))
    assert len(modules) <= MOST, len(modules)
    packages = {name.split(".")[0] for name in modules}
    assert packages.isdisjoint(HEAVY)
    assert packages - sys.stdlib_module_names == {"trace_robot"}


def test_the_package_alone_loads_no_module_of_it() -> None:
    modules = loaded_by("import trace_robot")
    assert ours(modules) == {"trace_robot"}
    assert {name.split(".")[0] for name in modules} - sys.stdlib_module_names == {"trace_robot"}


def test_a_name_of_the_package_is_loaded_when_it_is_used() -> None:
    assert "numpy" in loaded_by("import trace_robot; trace_robot.node")
