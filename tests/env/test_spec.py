"""Fields cut a flat vector, and a spec survives being written as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from trace_robot import Field, HandSpec, TaskSpec
from trace_robot.env.registry import describe
from trace_robot.spec import hands_of


def test_a_field_of_one_number_is_a_float_and_one_of_more_is_a_copy() -> None:
    vector = np.arange(4.0)
    assert Field("angle", 1, 2).of(vector) == 1.0
    assert isinstance(Field("angle", 1, 2).of(vector), float)
    pair = Field("pair", 2, 4).of(vector)
    pair[:] = 9.0
    assert vector.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_a_named_observation_has_the_fields_in_order_without_what_no_field_shows() -> None:
    fields = (Field("end", 3, 4), Field("start", 0, 2))
    spec = TaskSpec("gap", "Do it.", fields, (Field("push", 0, 1),), 4, (-1.0,), (1.0,), 9)
    named = spec.named(np.arange(4.0))
    assert list(named) == ["end", "start"]
    assert (named["end"], named["start"].tolist()) == (3.0, [0.0, 1.0])
    assert spec.action_size == 1


@pytest.mark.parametrize("name", ["pick-place-v3", "CartPole-v1", "FetchPush-v4"])
def test_a_spec_read_from_json_equals_the_one_that_was_written(name: str) -> None:
    spec = describe(name)
    assert TaskSpec.from_data(json.loads(json.dumps(asdict(spec)))) == spec


def test_a_spec_with_terms_read_from_json_equals_the_one_that_was_written() -> None:
    push = Field("push", 0, 1)
    spec = TaskSpec("terms", "Do it.", (push,), (push,), 1, (-1.0,), (1.0,), 9, terms=("near", "far"))
    assert TaskSpec.from_data(json.loads(json.dumps(asdict(spec)))) == spec


def test_a_spec_without_declared_hands_is_stored_without_them() -> None:
    push = Field("push", 0, 1)
    spec = TaskSpec("push", "Do it.", (push,), (push,), 1, (-1.0,), (1.0,), 9)
    assert list(spec.to_data()) == [name for name in asdict(spec) if name != "hands"]


def test_a_spec_with_hands_read_from_json_equals_the_one_that_was_written() -> None:
    push = Field("push", 0, 1)
    hands = (
        HandSpec("left", "left_position", 0, turn=3, yaw="left_yaw"),
        HandSpec("right", "right_position", 4),
    )
    spec = TaskSpec("push", "Do it.", (push,), (push,), 1, (-1.0,), (1.0,), 9, hands=hands)
    assert TaskSpec.from_data(json.loads(json.dumps(spec.to_data()))) == spec
    assert hands_of(spec) == hands


@pytest.mark.parametrize(
    ("positions", "size", "expected"),
    [
        (("hand", "goal"), 4, (HandSpec("hand", "hand", 0, gripper=3, opens=-1.0),)),
        (("hand",), 4, ()),
        (("hand", "goal"), 3, ()),
    ],
)
def test_four_numbers_beside_two_positions_imply_a_hand_with_a_gripper(
    positions: tuple[str, ...], size: int, expected: tuple[HandSpec, ...]
) -> None:
    push, bounds = Field("push", 0, size), (1.0,) * size
    spec = TaskSpec("push", "Do it.", (push,), (push,), size, bounds, bounds, 9, positions=positions)
    assert hands_of(spec) == expected
