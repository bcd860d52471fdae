"""Random staged programs, specs with hands, and written text called like an interpreter."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from helpers import fakes
from trace_robot.search.staged import Condition, Move, Rest, Stage, StagedProgram, Turn, Waypoint
from trace_robot.spec import Array, Field, HandSpec, TaskSpec

POSITIONS = ("hand_position", "block_position", "goal_position")
metres = st.floats(-0.3, 0.3).map(lambda number: round(number, 4))
places = st.builds(
    Waypoint,
    anchor=st.sampled_from(POSITIONS),
    offset=st.one_of(st.just((0.0, 0.0, 0.0)), st.tuples(metres, metres, metres)),
    when=st.sampled_from(("now", "entry", "start")),
    toward=st.sampled_from(("", *POSITIONS)),
    along=metres,
)
stages = st.builds(
    Stage,
    tracked=st.sampled_from(POSITIONS),
    place=places,
    gripper=st.floats(-1, 1),
    speed=st.floats(0.1, 1),
    tolerance=st.sampled_from((0.0, 0.01, 0.05)),
    max_decisions=st.integers(1, 12),
    grasp=st.sampled_from(("", "block_position")),
    grasp_tolerance=st.floats(0.02, 0.3),
    guard=st.sampled_from((0.0, 0.0, 0.0, 0.005, 0.02)),
)
rests = st.builds(
    Rest,
    tracked=st.sampled_from(POSITIONS),
    place=places,
    tolerance=st.floats(0.01, 0.6),
    lasts=st.integers(0, 4),
    still=st.booleans(),
)
programs = st.builds(
    StagedProgram,
    stages=st.lists(stages, min_size=1, max_size=5).map(tuple),
    gain=st.floats(1, 20),
    passes=st.integers(0, 3),
    rest=st.none() | rests,
    sight=st.sampled_from((0.0, 0.0, 0.3, 0.9)),
    spiral=st.sampled_from((0.0, 0.0, 0.01, 0.02)),
)


class Written:
    """The written text, called like the interpreter."""

    def __init__(self, text: str, spec: TaskSpec) -> None:
        self.names: dict[str, Any] = {}
        exec(compile(text, "written", "exec"), self.names)
        self.memory: dict[str, Any] = {}
        self.spec = spec

    def __call__(self, observation: Array) -> Array:
        return np.asarray(self.names["act"](self.spec.named(observation), self.memory), np.float32)


PLAIN = fakes.point_mass_spec()
LEFT, RIGHT, BAR, SLOT = "left_position", "right_position", "bar_position", "slot_position"
PLACES = (LEFT, RIGHT, BAR, SLOT)


def two_hands(control: str = "raw", *, yaw: bool = True) -> TaskSpec:
    """A spec with two hands that turn, of which the second has a gripper that opens upwards, and a gap."""
    fields = [Field(name, 3 * i, 3 * i + 3, "m") for i, name in enumerate(PLACES)]
    fields += [Field("left_yaw", 12, 13, "rad"), Field("bar_yaw", 13, 14, "rad"), Field("lamp", 15, 17)]
    left = HandSpec("left", LEFT, 1, turn=0, yaw="left_yaw" if yaw else "")
    right = HandSpec("right", RIGHT, 5, turn=8, gripper=9, opens=1.0)
    low = (-0.5, -1.0, -1.0, -0.5, -1.0, -1.0, -2.0, -1.0, -0.3, 0.0)
    high = (0.5, 1.0, 1.0, 0.5, 1.0, 1.0, 2.0, 1.0, 0.3, 0.04)
    action = tuple(Field(f"a{i}", i, i + 1) for i in range(10))
    return TaskSpec(
        "two", "", tuple(fields), action, 17, low, high, 60, "", control, PLACES, hands=(left, right)
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
names = st.sampled_from(PLACES)
waypoints = st.builds(
    Waypoint,
    anchor=names,
    offset=st.one_of(st.just((0.0, 0.0, 0.0)), st.tuples(metres, metres, metres)),
    when=st.sampled_from(("now", "entry", "start")),
    toward=st.sampled_from(("", *PLACES)),
    along=metres,
    lead=st.sampled_from((0.0, 0.0, 3.5)),
    level=st.sampled_from(("", "", "bar_yaw")),
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


def shown(**numbers: float) -> Array:
    """An observation of ``two_hands`` of zeros but for some numbers: yaw, bar, lamp, and x of positions."""
    places = {"left": 0, "right": 3, "bar": 6, "slot": 9, "yaw": 12, "bar_yaw": 13, "lamp": 15}
    seen = np.zeros(17)
    for name, number in numbers.items():
        seen[places[name]] = number
    return seen
