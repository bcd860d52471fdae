"""Programs for any hands: interpreter and text agree, and each new part does what it says."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import fakes
from helpers.staged import Written, programs
from trace_robot.search.staged import Condition, Move, Stage, StagedProgram, Turn, Waypoint, code, run, write
from trace_robot.spec import Array, Field, HandSpec, TaskSpec

PLAIN = fakes.point_mass_spec()
LEFT, RIGHT, BAR, SLOT = "left_position", "right_position", "bar_position", "slot_position"
POSITIONS = (LEFT, RIGHT, BAR, SLOT)


def two_hands(control: str = "raw", *, yaw: bool = True) -> TaskSpec:
    """A spec with two hands that turn, of which the second has a gripper that opens upwards, and a gap."""
    fields = [Field(name, 3 * i, 3 * i + 3, "m") for i, name in enumerate(POSITIONS)]
    fields += [Field("left_yaw", 12, 13, "rad"), Field("bar_yaw", 13, 14, "rad"), Field("lamp", 15, 17)]
    left = HandSpec("left", LEFT, 1, turn=0, yaw="left_yaw" if yaw else "")
    right = HandSpec("right", RIGHT, 5, turn=8, gripper=9, opens=1.0)
    low = (-0.5, -1.0, -1.0, -0.5, -1.0, -1.0, -2.0, -1.0, -0.3, 0.0)
    high = (0.5, 1.0, 1.0, 0.5, 1.0, 1.0, 2.0, 1.0, 0.3, 0.04)
    action = tuple(Field(f"a{i}", i, i + 1) for i in range(10))
    return TaskSpec(
        "two", "", tuple(fields), action, 17, low, high, 60, "", control, POSITIONS, hands=(left, right)
    )


def placed(motion: int, gripper: int, opens: float, size: int) -> TaskSpec:
    """The point mass, its numbers elsewhere in the action."""
    low, high = [-2.0] * size, [2.0] * size
    low[motion : motion + 3], high[motion : motion + 3] = [-1.0] * 3, [1.0] * 3
    if gripper >= 0:
        low[gripper], high[gripper] = -1.0, 1.0
    hand = HandSpec("hand", "hand_position", motion, gripper=gripper, opens=opens)
    action = tuple(Field(f"a{i}", i, i + 1) for i in range(size))
    return replace(PLAIN, action=action, low=tuple(low), high=tuple(high), hands=(hand,))


LAYOUTS = {
    "plain": placed(0, 3, -1.0, 4),
    "no gripper": placed(0, -1, -1.0, 3),
    "turned sign": placed(0, 3, 1.0, 4),
    "elsewhere": placed(2, 0, 1.0, 7),
}
metres = st.floats(-0.3, 0.3).map(lambda number: round(number, 4))
names = st.sampled_from(POSITIONS)
waypoints = st.builds(
    Waypoint,
    anchor=names,
    offset=st.one_of(st.just((0.0, 0.0, 0.0)), st.tuples(metres, metres, metres)),
    when=st.sampled_from(("now", "entry", "start")),
    toward=st.sampled_from(("", *POSITIONS)),
    along=metres,
    lead=st.sampled_from((0.0, 0.0, 3.5)),
)
turns = st.none() | st.builds(
    Turn,
    field=st.sampled_from(("", "bar_yaw")),
    start=st.sampled_from(("", LEFT)),
    end=st.sampled_from(("", BAR)),
    angle=st.floats(-3, 3),
    symmetry=st.sampled_from((math.tau, math.pi, math.pi / 2)),
)
conditions = st.none() | st.one_of(
    st.builds(
        Condition, st.just("lamp"), st.integers(0, 1), st.floats(-0.5, 0.5), st.booleans(), st.booleans()
    ),
    st.builds(
        Condition, st.sampled_from(("left_yaw", "bar_yaw")), st.just(0), st.floats(-1, 1), st.booleans(),
        st.booleans(),
    ),
)  # fmt: skip
grips, speeds = st.sampled_from((-1.0, 1.0, 0.3)), st.floats(0.1, 1)


@st.composite
def coordinated(draw: st.DrawFn) -> StagedProgram:
    """A random program of up to four stages, of one hand or both."""
    stages = []
    for _ in range(draw(st.integers(1, 4))):
        hand = draw(st.sampled_from(("", "left", "right")))
        other = "left" if hand == "right" else "right"
        move = st.builds(Move, st.just(other), names, waypoints, grips, speeds, turns)
        stages.append(
            Stage(
                draw(names), draw(waypoints), draw(grips), draw(speeds),
                draw(st.sampled_from((0.0, 0.01, 0.3))), draw(st.integers(1, 12)),
                draw(st.sampled_from(("", BAR))), draw(st.floats(0.1, 0.6)),
                draw(st.sampled_from((0.0, 0.0, 0.01))),
                hand, draw(turns), tuple(draw(st.lists(move, max_size=1))), draw(conditions),
                draw(conditions), draw(st.integers(0, 3)),
            )
        )  # fmt: skip
    program = draw(programs)
    rest = program.rest and replace(program.rest, tracked=LEFT, place=Waypoint(draw(names)))
    return replace(program, stages=tuple(stages), rest=rest)


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
