"""The file of a staged program that was found: what it is, and what its numbers may be."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import fakes
from helpers.staged import PLAIN, Written, coordinated, programs, two_hands
from trace_robot.optimizers.cma_es import CMAES
from trace_robot.optimizers.literals import find_constants, replace_literals
from trace_robot.optimizers.problem import Outcome
from trace_robot.policy import Policy, load_policy
from trace_robot.policy.policy import problem_of
from trace_robot.search.staged import Stage, StagedProgram, Waypoint, code, write
from trace_robot.search.staged.constants import saved_text

ARM = StagedProgram(
    (
        Stage("hand_position", Waypoint("block_position", (0.0, 0.0, 0.0812)), -1.0, 0.93, 0.02, 40),
        Stage("block_position", Waypoint("goal_position", (0.01, 0.0, 0.02)), 1.0, 0.5, 0.0, 40),
    ),
    gain=8.5,
)


@settings(max_examples=20, deadline=None)
@given(programs, st.sampled_from(("raw", "pose")), st.integers(0, 1000))
def test_a_saved_program_acts_as_the_one_that_was_scored(
    program: StagedProgram, control: str, seed: int
) -> None:
    spec = fakes.point_mass_spec(control)
    text = write(program, spec).replace("@bundle(trainable=True)\n", "")  # it wants a file
    first, second = Written(text, spec), Written(saved_text(text, "point-mass"), spec)
    world = fakes.PointMass(seed)
    observation = world.observe()
    for _ in range(15):
        action = first(observation)
        assert action.tobytes() == second(observation).tobytes()
        observation, _, _ = world.step(action)


@settings(max_examples=20, deadline=None)
@given(coordinated(), st.sampled_from(("raw", "pose")))
def test_a_saved_table_of_two_hands_is_the_table_with_its_facts_fixed(
    program: StagedProgram, control: str
) -> None:
    spec = two_hands(control)
    text = saved_text(write(program, spec), "two").replace("@bundle(trainable=True)\n", "")
    before: dict[str, Any] = {}
    exec(code(program, spec), before)
    numbers = find_constants(text)
    changed: dict[str, Any] = {}
    exec(replace_literals(text, [each.value + 0.125 for each in numbers], numbers), changed)
    for fact in ("low", "high", "hands"):
        assert changed["PROGRAM"][fact] == before["PROGRAM"][fact]
    assert [changed[name] for name in ("TURNED", "TURN")] == [before[name] for name in ("TURNED", "TURN")]
    exec(text, changed)
    assert changed["PROGRAM"] == before["PROGRAM"]


@settings(max_examples=20, deadline=None)
@given(programs)
def test_every_number_of_a_saved_program_has_bounds_that_it_keeps(program: StagedProgram) -> None:
    numbers = find_constants(saved_text(write(program, PLAIN), "point-mass"))
    assert [each.name for each in numbers if not each.bounds or len(each.bounds) < 2] == []
    assert all(each.low <= each.value <= each.high for each in numbers)


def test_its_docstring_says_what_it_is_and_no_longer_what_the_start_was() -> None:
    start = load_policy("do_nothing").with_control("raw")
    text = saved_text(start.render({"act": code(ARM, PLAIN)}), "point-mass")
    found = ast.get_docstring(ast.parse(text))
    assert found == "Found by search for point-mass: go above block, bring block to goal."
    assert saved_text(text, "point-mass") == text
    marked = saved_text("# best so far\n" + start.render({"act": code(ARM, PLAIN)}), "point-mass")
    assert marked.startswith('# best so far\n"""Found by search for point-mass')


@pytest.mark.parametrize("text", [path.read_text() for path in sorted(Path("policies").glob("*.py"))])
def test_a_file_that_is_no_found_program_is_left_as_it_is(text: str) -> None:
    assert saved_text(text, "reach-v3") == text


def test_cma_begins_near_the_numbers_of_a_saved_program_and_keeps_their_bounds() -> None:
    policy = Policy.from_text(saved_text(write(ARM, PLAIN), "point-mass")).with_constants()
    optimizer = CMAES(problem_of(policy, PLAIN), population=30, seed=1)
    optimizer.ask()
    optimizer.tell([Outcome(0, 0.1)])
    asked = [candidate.values for candidate in optimizer.ask()]
    gains = np.array([values["GAIN"] for values in asked])
    speeds = np.array([values["STAGES[0]"] for values in asked])
    assert 1.0 < gains.std() < 3.0  # a fifth of 8.5
    names = [place.name for place in policy.places]
    assert {"GAIN", "GO_ABOVE_BLOCK[0]", "STAGES[0]"} <= set(names)
    assert all(0.0 <= speed <= 1.0 for speed in speeds)
    for values in asked:
        Policy.from_text(policy.render(values)).require_act()


@pytest.mark.parametrize(
    ("annotation", "bounds"),
    [
        ("Annotated[float, Bounds(0.0, 2.0)]", {"low": 0.0, "high": 2.0}),
        ("typing.Annotated[float, trace_robot.Bounds(low=-1, high=None)]", {"low": -1.0}),
        ("Annotated[float, 'm', Bounds(high=2)]", {"high": 2.0}),
        ("Annotated[float, Bounds(2.0, 0.0)]", None),  # the wrong way around
        ("Annotated[float, Bounds(3.0, 4.0)]", None),  # without its own value
        ("Annotated[float, Bounds(LOW, HIGH)]", None),
        ("Annotated[float, Bounds(*LIMITS)]", None),
        ("Annotated[float]", None),
        ("float", None),
    ],
)
def test_bounds_are_read_from_the_annotation_of_a_constant(
    annotation: str, bounds: dict[str, float] | None
) -> None:
    (found,) = find_constants(f"GAIN: {annotation} = 0.5\n")
    assert (found.name, found.value, found.bounds) == ("GAIN", 0.5, bounds)


def test_a_dict_has_bounds_by_key_and_what_is_fixed_is_not_tuned() -> None:
    text = (
        'ARM: Annotated[dict, {"link": fixed, "gain": Bounds(0, 9)}] ='
        ' {"link": 0.31, "gain": 4.5, "rest": [0.2, 0.3]}\nREACH: Annotated[float, fixed] = 0.8\n'
    )
    assert [(each.name, each.value, each.bounds) for each in find_constants(text)] == [
        ("ARM[1]", 4.5, {"low": 0.0, "high": 9.0}),
        ("ARM[2]", 0.2, None),
        ("ARM[3]", 0.3, None),
    ]
