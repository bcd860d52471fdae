"""The parser is light: --help and a typing mistake load argparse and the command line, nothing else."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"numpy", "mujoco", "metaworld", "gymnasium", "openai", "rich", "imageio", "scipy", "cma", "sqlite3"}
LIST_MODULES = """
import json, sys
import trace_robot.cli as cli
try:
    cli.main({arguments!r})
except SystemExit:
    pass
sys.stderr.write("MODULES" + json.dumps(sorted(sys.modules)))
"""


def modules_after(*arguments: str) -> set[str]:
    """Return the names of the modules that are loaded once a command line was parsed."""
    done = subprocess.run(
        [sys.executable, "-c", LIST_MODULES.format(arguments=list(arguments))],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stderr.partition("MODULES")[2]))


@pytest.mark.parametrize("arguments", [["--help"], ["bench", "--help"], ["optimise", "reach-v3"]])
def test_help_and_a_typing_mistake_import_only_the_command_line(arguments: list[str]) -> None:
    modules = modules_after(*arguments)
    assert not HEAVY & modules
    library = {name for name in modules if name.startswith("trace_robot")}
    others = {name for name in library if not name.startswith("trace_robot.cli")}
    assert others == {"trace_robot", "trace_robot.errors"}
    # 160 modules with Python 3.11, most of them the interpreter's own and argparse's; a library adds tens.
    assert len(modules) < 200


def test_the_check_notices_a_command_that_imports_a_library() -> None:
    assert "rich" in modules_after("policies")
