"""Programs for any hands: interpreter and text agree, and each new part does what it says."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import fakes
from helpers.staged import (
    BAR,
    LAYOUTS,
    LEFT,
    PLAIN,
    RIGHT,
    SLOT,
    Written,
    coordinated,
    programs,
    shown,
    two_hands,
)
from trace_robot.errors import PolicyError
from trace_robot.policy.policy import pose_text
from trace_robot.search import StagedSearch
from trace_robot.search.staged import (
    Condition,
    Move,
    Stage,
    StagedProgram,
    Turn,
    Waypoint,
    code,
    run,
    write,
)
from trace_robot.search.staged.hands import decide, table
from trace_robot.spec import Array, Field, HandSpec, TaskSpec


class Wandering:
    """A world whose numbers follow the action and noise, for what any program meets."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.state = self.random.uniform(-0.3, 0.3, 17)

    def step(self, action: Array) -> Array:
        self.state[0:3] += 0.02 * action[1:4]
        self.state[3:6] += 0.02 * action[5:8]
        self.state[12] += 0.1 * action[0]
        self.state += 0.01 * self.random.standard_normal(17)
        return self.state.copy()


def agree(program: StagedProgram, spec: TaskSpec, world: Any, observation: Array) -> None:
    first, second = run(program, spec), Written(code(program, spec), spec)
    for _ in range(40):
        action = first(observation)
        assert action.dtype == np.float32
        assert action.shape == (spec.action_size,)
        assert action.tobytes() == second(observation).tobytes()
        observation = world(action)


@settings(max_examples=150, deadline=None)
@given(coordinated(), st.sampled_from(("raw", "pose")), st.booleans(), st.integers(0, 1000))
def test_text_and_interpreter_of_two_hands_give_the_same_bytes(
    program: StagedProgram, control: str, yaw: bool, seed: int
) -> None:
    world = Wandering(seed)
    agree(program, two_hands(control, yaw=yaw), world.step, world.state.copy())


@settings(max_examples=100, deadline=None)
@given(programs, st.sampled_from(sorted(LAYOUTS)), st.integers(0, 1000))
def test_text_and_interpreter_of_one_hand_anywhere_give_the_same_bytes(
    program: StagedProgram, layout: str, seed: int
) -> None:
    spec, world = LAYOUTS[layout], fakes.PointMass(seed)
    first = spec.hands[0].motion

    def step(action: Array) -> Array:
        return world.step(np.array([*action[first : first + 3], 1.0]))[0]

    agree(program, spec, step, world.observe())


@given(coordinated())
def test_a_program_of_two_hands_survives_json(program: StagedProgram) -> None:
    assert StagedProgram.from_data(json.loads(json.dumps(program.to_data()))) == program


@given(coordinated())
@settings(max_examples=30, deadline=None)
def test_the_text_of_two_hands_is_python_with_short_lines(program: StagedProgram) -> None:
    text = write(program, two_hands())
    compile(text, "written", "exec")
    assert max(len(line) for line in text.splitlines()) <= 110


SPEC = two_hands()
HERE = Waypoint(LEFT, when="entry")


def held(*changes: dict[str, Any], gain: float = 1.0) -> Any:
    """The runner of stages that hold the left hand still, each with some changes."""
    still = Stage(LEFT, HERE, 1.0, tolerance=0.0, max_decisions=100)
    return run(StagedProgram(tuple(replace(still, **change) for change in changes), gain), SPEC)


def test_a_hand_turns_the_short_way_modulo_its_symmetry_and_keeps_the_angle() -> None:
    turn = Turn("bar_yaw", angle=0.1, symmetry=math.pi)
    runner = held({"turn": turn, "max_decisions": 1}, {"place": Waypoint(SLOT, (0.5, 0.0, 0.0))})
    assert runner(shown(yaw=0.2, bar_yaw=math.pi))[0] == pytest.approx(-0.1, abs=1e-6)
    assert runner(shown(yaw=0.2, bar_yaw=0.3))[0] == pytest.approx(0.2, abs=1e-6)
    assert runner(shown(yaw=0.2, bar_yaw=9.0))[0] == pytest.approx(0.2, abs=1e-6), "as the last stage left it"


def test_a_hand_is_turned_along_the_line_between_two_positions() -> None:
    runner = held({"turn": Turn(start=BAR, end=SLOT)})
    seen = shown(bar=0.5, slot=0.5)
    seen[10] = 0.3  # the slot lies along y from the bar
    assert runner(seen)[0] == pytest.approx(0.5), "a quarter turn, at the bound of the action"
    seen[12] = math.pi / 2 - 0.2
    assert runner(seen)[0] == pytest.approx(0.2)


def test_without_a_yaw_that_is_seen_a_hand_turns_until_its_actions_add_up() -> None:
    spec = two_hands("pose", yaw=False)
    stage = Stage(LEFT, HERE, turn=Turn(angle=0.8), tolerance=0.0, max_decisions=100)
    runner = run(StagedProgram((stage,)), spec)
    assert [float(runner(shown())[0]) for _ in range(4)] == pytest.approx([0.5, 0.3, 0.0, 0.0], abs=1e-6)


def test_a_stage_ends_when_its_hand_has_also_turned() -> None:
    stage = {"tolerance": 0.05, "turn": Turn(angle=0.3)}
    runner = held(stage, {"hand": "right", "tracked": RIGHT, "place": Waypoint(BAR)})
    assert runner(shown(bar=0.4))[5] == 0.0
    assert runner(shown(bar=0.4, yaw=0.2))[5] == 0.0
    assert runner(shown(bar=0.4, yaw=0.28))[5] == pytest.approx(0.4)


def test_a_hand_without_a_move_stays_and_its_gripper_too_and_unused_numbers_are_zero() -> None:
    close = Stage(RIGHT, Waypoint(BAR), 1.0, tolerance=0.0, max_decisions=1, hand="right")
    away = Stage(LEFT, Waypoint(SLOT), tolerance=0.0, max_decisions=50)
    runner = run(StagedProgram((close, away), 1.0), SPEC)
    first, second = (runner(shown(bar=0.1, slot=0.2)).tolist() for _ in range(2))
    assert first == pytest.approx([0, 0, 0, 0, 0, 0.1, 0, 0, 0, 0.0]), "closed is the lower bound"
    assert second == pytest.approx([0, 0.2, 0, 0, 0, 0, 0, 0, 0, 0.0])
    assert run(StagedProgram((away,), 1.0), SPEC)(shown())[9] == pytest.approx(0.04), "open at first"


def test_a_stage_of_two_hands_ends_when_both_have_arrived() -> None:
    both = Stage(
        LEFT, Waypoint(BAR), max_decisions=100, others=(Move("right", RIGHT, Waypoint(SLOT), speed=0.1),)
    )
    runner = run(StagedProgram((both, replace(both, place=Waypoint(SLOT)))), SPEC)
    assert runner(shown(bar=0.01, slot=0.5))[5] == pytest.approx(0.1), "at the speed of that move"
    assert runner(shown(bar=0.01, slot=0.5))[1] == pytest.approx(0.1), "the first one waits for the other"
    assert runner(shown(bar=0.01, slot=0.5, right=0.49))[1] == pytest.approx(1.0)


@pytest.mark.parametrize("change", [False, True])
def test_a_stage_waits_until_a_number_is_seen(change: bool) -> None:
    lit = Condition("lamp", 0, 0.5, change=change)
    runner = held({"until": lit}, {"hand": "right", "tracked": RIGHT, "place": Waypoint(BAR)})
    lamps = (0.2, 0.2, 0.6, 0.9)
    moved = [bool(runner(shown(bar=0.3, lamp=lamp))[5]) for lamp in lamps]
    assert moved == [False, False, not change, True], "standing still does not end it"


def test_stages_are_repeated_until_a_number_is_as_expected() -> None:
    to_bar = {"place": Waypoint(BAR), "max_decisions": 1}
    to_slot = {"place": Waypoint(SLOT), "max_decisions": 1}
    dark = Condition("lamp", 0, 0.5, above=False)
    runner = held(to_bar, {**to_slot, "expects": dark, "back": 1}, {"place": Waypoint(RIGHT)})
    lamps = (1, 1, 1, 1, 0, 0)
    seen = [float(runner(shown(bar=0.1, slot=0.2, right=0.3, lamp=lamp))[1]) for lamp in lamps]
    assert seen == pytest.approx([0.1, 0.2, 0.1, 0.2, 0.3, 0.3])


def test_a_moving_target_is_led_by_its_own_motion() -> None:
    runner = held({"place": Waypoint(BAR, lead=5.0)})
    assert runner(shown(bar=0.1))[1] == pytest.approx(0.1), "nothing is known of its motion yet"
    assert runner(shown(bar=0.12))[1] == pytest.approx(0.12 + 5 * 0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hand": "third"}, "once each, got ['third']; known: left, right"),
        ({"others": (Move("left", LEFT, HERE),)}, "once each, got ['left', 'left']"),
        ({"turn": Turn("lamp")}, "no number -1 of a field 'lamp'"),
        ({"until": Condition("lamp", 2, 0.0)}, "no number 2 of a field 'lamp'"),
        ({"expects": Condition("light", 0, 0.0)}, "no number 0 of a field 'light'"),
        ({"turn": Turn(start="lid_position", end=BAR)}, "no position 'lid_position'"),
    ],
)
def test_what_an_environment_does_not_have_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(message)):
        held(change)


@pytest.mark.parametrize(
    "change",
    [
        {"turn": {**asdict(Turn("bar_yaw")), "symmetry": 0.0}},
        {"until": {**asdict(Condition("lamp", 0, 0.0)), "threshold": math.nan}},
        {"others": [{"hand": "right"}]},
        {"back": "far"},
    ],
)
def test_a_later_part_of_a_stage_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    data = StagedProgram((Stage(LEFT, HERE),)).to_data()
    data["stages"][0].update(change)
    with pytest.raises(PolicyError, match="staged program"):
        StagedProgram.from_data(data)


def test_it_suits_where_a_hand_has_something_to_act_on() -> None:
    assert StagedSearch.suits(PLAIN)
    assert StagedSearch.suits(SPEC)
    assert all(StagedSearch.suits(spec) for spec in LAYOUTS.values())
    assert not StagedSearch.suits(replace(LAYOUTS["plain"], positions=("hand_position",)))
    assert not StagedSearch.suits(replace(PLAIN, action=PLAIN.action[:1], low=(-1.0,), high=(1.0,)))


def test_the_text_for_a_hand_without_a_gripper_speaks_of_none_unless_it_pushes_what_must_stay_near() -> None:
    hand, puck = "hand_position", "block_position"
    first = Stage(hand, Waypoint(puck), gripper=1.0, tolerance=0.02, max_decisions=9)
    program = StagedProgram((first, replace(first, guard=0.01)), 5.0)
    text = code(program, LAYOUTS["no gripper"])
    assert not re.search(r"grip|hold|slack|lost", text)
    assert "gripper: -1 open" in code(program, LAYOUTS["plain"])
    pushed = StagedProgram((replace(first, grasp=puck),), 5.0)
    text = code(pushed, LAYOUTS["no gripper"])
    assert "lost = stage" in text
    assert "gripper" not in text


def test_the_text_for_two_hands_without_grippers_speaks_of_none() -> None:
    left, right = (HandSpec(name, f"{name}_position", 3 * i) for i, name in enumerate(("left", "right")))
    parts = [
        Field(f"{name}_position", 3 * i, 3 * i + 3, "m") for i, name in enumerate(("left", "right", "tray"))
    ]
    spec = replace(
        PLAIN,
        observation=tuple(parts),
        observation_size=9,
        action=(Field("left", 0, 3), Field("right", 3, 6)),
        low=(-1.0,) * 6,
        high=(1.0,) * 6,
        positions=tuple(part.name for part in parts),
        hands=(left, right),
    )
    place = Waypoint("tray_position", (0.1, 0.0, 0.0))
    other = Move("right", "right_position", place, 1.0, 1.0)
    first = Stage("left_position", place, gripper=1.0, max_decisions=9, hand="left", others=(other,))
    program = StagedProgram((replace(first, gripper=-1.0), first), 5.0)
    assert "grip" not in write(program, spec)
    written: dict[str, Any] = {"__name__": "policy"}
    exec(code(program, spec), written)
    seen = {"left_position": np.zeros(3), "right_position": np.zeros(3), "tray_position": np.ones(3)}
    assert written["PROGRAM"]["stages"][0]["moves"][1].keys() == {"hand", "tracked", "place", "speed"}
    assert written["decide"](written["PROGRAM"], seen, {}) == decide(table(program, spec), seen, {})
    assert "gripper" not in pose_text(replace(spec, control="pose"))
    assert "the gripper is still" in pose_text(replace(PLAIN, control="pose"))
