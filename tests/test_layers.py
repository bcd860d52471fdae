"""The floors of the house: imports point strictly downwards, and some rooms never meet.

docs/architecture.md shows the tables of this file; a test compares them.
"""

from __future__ import annotations

import ast
from collections import defaultdict

import pytest

from helpers.imports import MODULES, ROOT, cycles, imports, longest_chain, own_imports

FLOORS = {
    9: "cli",
    8: "bench dataset deploy export serve",
    7: "run report env_checker",
    6: "store render",
    5: "rollout",
    4: "search policy",
    3: "optimizers plugin",
    2: "llm sandbox env",
    1: "trace settings workspace loopback",
    0: "errors spec fault stats child_process safe_files line_diff lazy_names",
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms.split()}
# Rooms of one floor that may import each other all the same; empty, and meant to stay so.
SIDEWAYS: set[tuple[str, str]] = set()
# Who may never import whom, also where the floors would allow it.
NEVERS = {
    "optimizers": ("spec", "env", "sandbox", "workspace"),  # any traced program, no robots
    "search": (
        "rollout",
        "sandbox",
        "env",
    ),  # controllers as data: it asks for episodes, it does not run them
    "trace": ("spec", "fault", "workspace", "settings"),  # the engine knows no robots
    "store": ("run", "render"),  # looking at runs needs neither the loop nor a simulator
}
# All that the sandbox's child may load of the library: what it runs is untrusted, and what it holds is little.
CHILD = (
    "trace_robot.sandbox",
    "trace_robot.trace",
    "trace_robot.fault",
    "trace_robot.errors",
    "trace_robot.spec",
    "trace_robot.lazy_names",
)
CHILD_NEVER = ("sandbox.sandbox", "sandbox.lockstep", "sandbox.host_process", "sandbox.selftest")
# 200 modules hold what 0.1 did. Hands, measured plug-ins and other interpreters took 20 more, then gaits, prompts by
# worth, tasks for agents, demonstrations, deployed controllers and drivers 50, then descriptions made in a process of
# their own, what touches, cameras and words typed on a page 15, then shapes as facts and initial states that differ 3,
# and names that packages import when they are used 1, in place of five copies.
LINES, COUNT, DEPTH = 400, 289, 15


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_rooms_on_lower_floors_or_its_own(module: str) -> None:
    here = room_of(module)
    if here in ("", "__main__"):
        return
    wrong = {
        other
        for other in own_imports(module)
        if (there := room_of(other)) != here
        and FLOOR_OF[there] >= FLOOR_OF[here]
        and (here, there) not in SIDEWAYS
    }
    assert not wrong, f"{here} is on floor {FLOOR_OF[here]} and imports {sorted(wrong)}"


@pytest.mark.parametrize("here", NEVERS)
def test_rooms_that_never_meet_do_not(here: str) -> None:
    for module in MODULES:
        if room_of(module) == here:
            met = {room_of(other) for other in own_imports(module)} & set(NEVERS[here])
            assert not met, f"{module} imports {sorted(met)}"


def test_what_runs_in_the_sandbox_loads_nothing_but_its_list() -> None:
    for module in MODULES:
        if module.startswith("trace_robot.sandbox.child"):
            for other in own_imports(module):
                assert other.startswith(CHILD), f"{module} imports {other}"
                assert not other.endswith(CHILD_NEVER), f"{module} imports {other}, which is of the host"


def test_only_the_plug_in_imports_metaworld() -> None:
    assert not [
        module for module in MODULES if any(name.split(".")[0] == "metaworld" for name in imports(module))
    ]


def test_every_room_has_a_floor() -> None:
    assert {room_of(module) for module in MODULES} - {"", "__main__"} == set(FLOOR_OF)


def test_no_more_than_two_modules_import_each_other() -> None:
    assert [sorted(cycle) for cycle in cycles() if len(cycle) > 2] == []


def test_the_longest_chain_of_imports_stays_short() -> None:
    chain = longest_chain()
    assert len(chain) - 1 <= DEPTH, " > ".join(chain)


def test_the_library_has_few_modules_and_none_is_long() -> None:
    assert len(MODULES) <= COUNT, "join a small module to the one that uses it, or argue for a higher number"
    lengths = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in MODULES.items()}
    assert {module: lines for module, lines in lengths.items() if lines > LINES} == {}


def test_no_two_public_classes_share_a_name() -> None:
    homes = defaultdict(list)
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(module)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


def test_the_map_shows_the_floors_of_this_test() -> None:
    page = (ROOT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    for floor, rooms in FLOORS.items():
        assert f"| {floor} | {', '.join(f'`{room}`' for room in rooms.split())} |" in page
    for room, never in NEVERS.items():
        assert f"| `{room}` | {', '.join(f'`{other}`' for other in never)} |" in page
