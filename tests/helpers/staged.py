"""Random staged programs, and written text called like an interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from trace_robot.search.staged import Rest, Stage, StagedProgram, Waypoint
from trace_robot.spec import Array, TaskSpec

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
