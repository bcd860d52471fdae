"""Programs: the written text does what the data says."""

from __future__ import annotations

import ast
import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import fakes
from helpers.staged import Written, programs
from trace_robot.errors import PolicyError
from trace_robot.search.staged import Rest, Stage, StagedProgram, StagedRunner, Waypoint, code, write
from trace_robot.search.staged.program import STALLED


@settings(max_examples=150, deadline=None)
@given(programs, st.sampled_from(("raw", "pose")), st.integers(0, 1000))
def test_written_text_and_interpreter_give_the_same_bytes(
    program: StagedProgram, control: str, seed: int
) -> None:
    spec = fakes.point_mass_spec(control)
    first, second = StagedRunner(program, spec), Written(code(program, spec), spec)
    world = fakes.PointMass(seed)
    observation = world.observe()
    for _ in range(40):
        action = first(observation)
        assert action.dtype == np.float32
        assert action.tobytes() == second(observation).tobytes()
        observation, _, _ = world.step(action)


@given(programs)
def test_program_survives_json(program: StagedProgram) -> None:
    assert StagedProgram.from_data(json.loads(json.dumps(program.to_data()))) == program


@given(programs)
@settings(max_examples=50, deadline=None)
def test_written_text_is_readable_python_with_short_lines(program: StagedProgram) -> None:
    text = write(program, fakes.point_mass_spec())
    tree = ast.parse(text)
    functions = [item.name for item in tree.body if isinstance(item, ast.FunctionDef)]
    assert len(functions) == len(set(functions))
    assert functions[-1] == "act"
    docstring = " ".join((ast.get_docstring(tree) or "").split())
    for title in functions[-1 - len(program.stages) : -1]:
        assert title.replace("_", " ") in docstring
    assert max(len(line) for line in text.splitlines()) <= 110


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"stages": [], "gain": 1.0, "rounds": 0},
        {"stages": [{"mover": "hand_position"}], "gain": 1.0, "rounds": 0},
        {"stages": 3, "gain": 1.0, "rounds": 0},
    ],
)
def test_what_is_no_program_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match="staged program"):
        StagedProgram.from_data(data)


def test_a_position_that_is_not_there_is_named() -> None:
    program = StagedProgram((Stage("hand_position", Waypoint("drawer_position")),))
    with pytest.raises(
        PolicyError, match="no position 'drawer_position'; known: hand_position, block_position"
    ):
        StagedRunner(program, fakes.point_mass_spec())


def test_a_program_without_the_later_parts_is_stored_as_it_always_was() -> None:
    program = StagedProgram((Stage("hand_position", Waypoint("block_position")),))
    assert set(program.to_data()) == {"stages", "gain", "rounds"}
    assert "guard" not in program.to_data()["stages"][0]
    text = code(program, fakes.point_mass_spec())
    for later in ("rest", "averaged", "stuck", "remaining"):
        assert later not in text


@pytest.mark.parametrize("still", [True, False])
def test_a_program_rests_when_it_is_done_and_goes_on_when_that_is_broken_for_long(still: bool) -> None:
    spec = fakes.point_mass_spec()
    there = Waypoint("goal_position")
    away = Stage("hand_position", Waypoint("block_position"), 1.0)
    program = StagedProgram(
        (Stage("hand_position", there, 0.5), away), rest=Rest("hand_position", there, 0.03, 5, still)
    )
    runner, world = StagedRunner(program, spec), fakes.PointMass(0)
    for _ in range(150):
        observation, _, _ = world.step(runner(world.observe()))
    assert np.linalg.norm(world.hand - world.goal) < 0.03
    assert runner(observation)[3] == 0.5
    if still:
        assert not runner(observation)[:3].any()
    world.goal = world.goal + (0.0, 0.0, 0.2)
    for _ in range(4):
        action = runner(world.observe())
        assert action[3] == 0.5
        assert action[:3].any() != still
    positions = []
    for _ in range(150):
        observation, _, _ = world.step(runner(world.observe()))
        positions.append(float(np.linalg.norm(world.hand - world.goal)))
    assert positions[-1] < 0.03


def test_a_guarded_move_ends_when_it_gets_no_further() -> None:
    spec = fakes.point_mass_spec()
    press = Stage(
        "block_position", Waypoint("goal_position"), tolerance=0.01, max_decisions=1000, guard=0.005
    )
    retreat = Stage("hand_position", Waypoint("block_position"), 1.0)
    runner, world = StagedRunner(StagedProgram((press, retreat)), spec), fakes.PointMass(0, grasp=False)
    grips = []
    for _ in range(10):
        action = runner(world.observe())
        grips.append(float(action[3]))
        world.step(action)
    assert grips == [-1.0] * STALLED + [1.0] * (10 - STALLED)


def test_filtered_sight_averages_things_and_leaves_the_hand() -> None:
    spec = fakes.point_mass_spec()
    program = StagedProgram((Stage("hand_position", Waypoint("goal_position")),), gain=1.0, sight=0.25)
    runner = StagedRunner(program, spec)
    observation = np.zeros(11)
    runner(observation)
    observation[8] = 0.4  # the goal
    assert runner(observation)[0] == pytest.approx(0.1)
    observation[0] = 0.05  # the hand
    assert runner(observation)[0] == pytest.approx(0.175 - 0.05)


def test_each_further_pass_of_a_spiral_goes_elsewhere_evenly_around_the_target() -> None:
    spec = fakes.point_mass_spec()
    above = Waypoint("goal_position", (0.0, 0.0, 0.1))
    go = Stage("hand_position", above, tolerance=0.0, max_decisions=1)
    runner = StagedRunner(StagedProgram((go,), gain=1.0, spiral=0.01), spec)
    steps = np.array([runner(np.zeros(11))[:2] for _ in range(30)], float)
    assert not steps[0].any()
    assert np.linalg.norm(steps, axis=1) == pytest.approx(0.01 * np.sqrt(np.arange(30)), abs=1e-6)
    apart = np.linalg.norm(steps[:, None] - steps[None], axis=2)[np.triu_indices(30, 1)]
    assert apart.min() > 0.009, "no two tries are about the same"
    assert np.linalg.norm(steps.mean(axis=0)) < 0.005, "the tries lie around the target"
    brought = Stage("block_position", above, tolerance=0.0, max_decisions=1)
    runner = StagedRunner(StagedProgram((brought,), gain=1.0, spiral=0.01), spec)
    assert not any(runner(np.zeros(11))[:2].any() for _ in range(5)), (
        "what is carried is brought to the goal itself"
    )


REST = asdict(Rest("hand_position", Waypoint("block_position")))
ODD_RESTS = [
    {"rest": {**REST, name: value}}
    for name, value in (("tolerance", float("nan")), ("lasts", 10**30), ("lasts", -1), ("still", "no"))
]


@pytest.mark.parametrize(
    "change",
    [{"sight": 1.5}, {"sight": "much"}, {"spiral": 0.2}, {"rest": {}}, {"rest": {"tracked": 3}}, *ODD_RESTS],
)
def test_a_later_part_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    program = StagedProgram((Stage("hand_position", Waypoint("block_position")),))
    with pytest.raises(PolicyError, match="staged program"):
        StagedProgram.from_data({**program.to_data(), **change})


def test_a_position_of_the_rest_that_is_not_there_is_named() -> None:
    program = StagedProgram(
        (Stage("hand_position", Waypoint("block_position")),),
        rest=Rest("lid_position", Waypoint("block_position")),
    )
    with pytest.raises(PolicyError, match="no position 'lid_position'"):
        StagedRunner(program, fakes.point_mass_spec())


def test_a_lost_block_starts_the_program_over() -> None:
    spec = fakes.point_mass_spec()
    carry = Stage("hand_position", Waypoint("goal_position"), grasp="block_position", grasp_tolerance=0.05)
    program = StagedProgram(
        (Stage("hand_position", Waypoint("block_position"), tolerance=0.01), carry), passes=1
    )
    runner = StagedRunner(program, spec)
    world = fakes.PointMass(0, grasp=True)
    observation = world.observe()
    for _ in range(100):
        observation, _, _ = world.step(runner(observation))
    assert runner.finished
    assert not runner(observation).any()
    assert np.linalg.norm(world.hand - world.goal) > 0.05
