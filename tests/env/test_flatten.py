"""Every kind of space becomes a vector with named fields, and a vector an action."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from trace_robot import part, skip
from trace_robot.env.declaration import Environment
from trace_robot.env.flatten import action_layout, observation_layout
from trace_robot.errors import EnvironmentFault, WorkspaceError

BOX = spaces.Box(-2.0, 2.0, (3,), np.float32)
NESTED = spaces.Dict(
    {"arm": spaces.Dict({"angles": BOX, "touch": spaces.MultiBinary(2)}), "time": spaces.Discrete(5)}
)
SPACES = [
    BOX,
    spaces.Box(0, 255, (2, 2), np.uint8),
    spaces.Discrete(4, start=-1),
    spaces.MultiDiscrete([2, 5]),
    spaces.MultiBinary(3),
    spaces.Tuple((spaces.Discrete(2), spaces.Box(-1.0, 1.0, (2,), np.float64))),
    NESTED,
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_an_observation_of_any_space_is_one_vector_that_its_fields_use_up(space: Any) -> None:
    space.seed(3)
    layout = observation_layout(space, None)
    vector = layout.flat(space.sample())
    assert vector.dtype == np.float64
    assert vector.shape == (layout.size,)
    shown = sorted(index for field in layout.fields for index in range(field.start, field.stop))
    assert shown == list(range(layout.size))
    assert all(field.name.isidentifier() for field in layout.fields)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_every_vector_between_the_bounds_is_an_action_of_the_space(space: Any) -> None:
    layout = action_layout(space, None)
    generator = np.random.default_rng(0)
    for _ in range(50):
        vector = generator.uniform(layout.low, layout.high).astype(np.float32)
        assert space.contains(layout.action(vector)), layout.action(vector)
    for corner in (layout.low, layout.high):
        assert space.contains(layout.action(np.array(corner, np.float32)))


def test_the_flat_order_is_that_of_the_keys_and_nested_keys_are_joined() -> None:
    layout = observation_layout(NESTED, None)
    assert [(field.name, field.start, field.stop) for field in layout.fields] == [
        ("arm_angles", 0, 3),
        ("arm_touch", 3, 5),
        ("time", 5, 6),
    ]
    value = {"arm": {"angles": np.array([1.0, 2.0, 3.0]), "touch": np.array([0, 1])}, "time": 4}
    assert layout.flat(value).tolist() == [1.0, 2.0, 3.0, 0.0, 1.0, 4.0]


def test_a_discrete_action_is_rounded_to_the_nearest_and_says_so() -> None:
    layout = action_layout(spaces.Discrete(3, start=1), None)
    assert (layout.low, layout.high) == ((1.0,), (3.0,))
    assert [int(layout.action(np.array([x]))) for x in (1.4, 1.6, 2.9, 3.0)] == [1, 2, 3, 3]
    assert layout.fields[0].whole
    assert layout.fields[0].meaning == "a whole number, 1 to 3"


def test_a_scale_turns_the_sign_of_what_the_environment_gets() -> None:
    layout = action_layout(spaces.Box(-1.0, 3.0, (1,), np.float32), [part("gripper", scale=-1.0)])
    assert (layout.low, layout.high) == ((-3.0,), (1.0,))
    assert layout.action(np.array([-2.0])).tolist() == [2.0]


def test_bounds_can_be_given_to_an_action_that_has_none() -> None:
    free = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    layout = action_layout(free, [part("force", 2, "N", low=-4.0, high=5.0)])
    assert (layout.low, layout.high) == ((-4.0, -4.0), (5.0, 5.0))
    with pytest.raises(
        WorkspaceError,
        match=r"^action: 'force' has no bounds in its space; give them: part\('force', 2, low=\.\.\., high=\.\.\.\)$",
    ):
        action_layout(free, [part("force", 2)])


def test_parts_name_a_vector_and_skip_leaves_numbers_out() -> None:
    layout = observation_layout(BOX, [part("angle", 1, "rad"), skip(), part("speed", 1)])
    assert [(field.name, field.start, field.stop) for field in layout.fields] == [
        ("angle", 0, 1),
        ("speed", 2, 3),
    ]


def test_a_mapping_names_the_parts_of_a_key_and_none_hides_one() -> None:
    space = spaces.Dict({"a": BOX, "b": BOX, "c": spaces.Discrete(2)})
    layout = observation_layout(space, {"a": [part("x", 2), part("y")], "b": None})
    assert [(field.name, field.start, field.stop) for field in layout.fields] == [
        ("x", 0, 2),
        ("y", 2, 3),
        ("c", 6, 7),
    ]


@pytest.mark.parametrize(
    ("space", "parts", "message"),
    [
        (
            BOX,
            [part("a", 2)],
            r"^observation: the parts name 2 = 2 numbers, and the space has 3; name the others too",
        ),
        (
            BOX,
            [part("a", 2), part("b", 2)],
            r"the parts name 2 \+ 2 = 4 numbers, and the space has 3; make them smaller",
        ),
        (BOX, {"a": part("b")}, r"^observation: a mapping is for a Dict space, got Box"),
        (NESTED, {"tmie": part("t")}, r"^observation: no key of the space 'tmie'; did you mean 'time'\?$"),
        (spaces.Text(4), None, r"^observation: the space is Text, and a controller can use Box, Discrete, "),
        (
            spaces.Dict({"words": spaces.Sequence(BOX)}),
            None,
            r"^observation: the space 'words' is Sequence, and a controller can use",
        ),
        (
            spaces.Box(0, 255, (96, 96, 3), np.uint8),
            None,
            r"the space has 27648 numbers, and a controller can read 1 to",
        ),
    ],
)
def test_a_space_that_does_not_fit_is_an_error_with_its_remedy(space: Any, parts: Any, message: str) -> None:
    with pytest.raises(WorkspaceError, match=message):
        observation_layout(space, parts)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"arm": {"angles": np.zeros(3)}, "time": 0},
            r"^the observation lacks 'arm_touch', which its space has$",
        ),
        (
            {"arm": {"angles": np.zeros(2), "touch": np.zeros(2)}, "time": 0},
            r"^the observation 'arm_angles' must have 3 numbers, as its space says, got 2$",
        ),
        (
            {"arm": {"angles": np.array([0, np.nan, 0]), "touch": np.zeros(2)}, "time": 0},
            r"^the observation is not finite at arm_angles\[1\]$",
        ),
        (
            {"arm": {"angles": "far", "touch": np.zeros(2)}, "time": 0},
            r"^the observation 'arm_angles' must be numbers, got 'far'$",
        ),
    ],
)
def test_an_observation_that_is_not_of_its_space_is_a_fault(value: Any, message: str) -> None:
    with pytest.raises(EnvironmentFault, match=message):
        observation_layout(NESTED, None).flat(value)


def test_a_planar_point_is_three_numbers_and_the_others_keep_their_order() -> None:
    parts = [part("goal", 2, "m", height=0.3), part("angle"), part("tip", 2, "m", "of the tip", height=-1.0)]
    space = spaces.Box(-9, 9, (5,), np.float64)
    layout = observation_layout(space, parts)
    assert layout.flat(np.arange(5.0)).tolist() == [0.0, 1.0, 0.3, 2.0, 3.0, 4.0, -1.0]
    assert [(field.name, field.start, field.stop) for field in layout.fields] == [
        ("goal", 0, 3),
        ("angle", 3, 4),
        ("tip", 4, 7),
    ]
    assert [field.meaning for field in layout.fields] == ["z is always 0.3", "", "of the tip; z is always -1"]
    keys = spaces.Dict(
        {"a": spaces.Box(-9, 9, (2,)), "b": spaces.Box(-9, 9, (2,)), "c": spaces.Box(-9, 9, (1,))}
    )
    nested = observation_layout(keys, {"a": None, "b": part("b", 2, "m", height=0.5)})
    flat = nested.flat({"a": np.ones(2), "b": np.full(2, 2.0), "c": np.full(1, 3.0)})
    assert flat.tolist() == [0.0, 0.0, 2.0, 2.0, 0.5, 3.0]


@pytest.mark.parametrize(("size", "height"), [(3, 0.0), (1, 0.0), (2, np.nan)])
def test_a_height_of_what_is_no_planar_point_is_refused(size: int, height: float) -> None:
    with pytest.raises(WorkspaceError, match=f"a finite height is for 2 numbers, x, y; got {size}"):
        part("tip", size, "m", height=height)
    with pytest.raises(WorkspaceError, match="part 'push' has a height, which is for observations only"):
        Environment("arm", "Reach.", action=[part("push", 2, height=0.0)])
