"""Gaits as data, their interpreter, and the text that is written out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from helpers import fakes
from trace_robot.errors import PolicyError
from trace_robot.policy import Policy
from trace_robot.sandbox import Interface, Limits, Sandbox
from trace_robot.search import FeedbackLawSearch, GaitSearch, StagedSearch, load_controller, search_for
from trace_robot.search.gait import Balance, Gait, GaitController, Joint, Truncation, check, write
from trace_robot.search.gait.controller import joint_names
from trace_robot.search.gait.gait import phase_at
from trace_robot.search.gait.identify import Morphology, mirrored
from trace_robot.spec import Field, TaskSpec

SPEC = TaskSpec(
    name="walker", instruction="walk",
    observation=(
        Field("height", 0, 1, "m"), Field("left_hip", 1, 2, "rad"), Field("right_hip", 2, 3, "rad"),
        Field("rates", 3, 5, "rad/s"),
    ),
    action=(Field("left_hip", 0, 1), Field("right_hip", 1, 2)),
    observation_size=5, low=(-1.0, 0.0), high=(1.0, 4.0), horizon=1000,
)  # fmt: skip
JOINTS = (Joint(0.1, 0.5, 0.25, 0.2, 0.1, 1, 3), Joint(-0.2, 0.5, 0.75, angle=2, rate=4))
BALANCE = Balance((0, 3), (1.25, 0.1), (0.1, 2.0), ((0.3, -0.2), (0.1, 0.05)))
MIRRORED = (JOINTS[0], replace(JOINTS[0], lag=(0.25 + 0.5) % 1.0, angle=2, rate=4))
GAIT = Gait(1.7, 0.05, JOINTS, 0.6, 2.0, 0.1, BALANCE)
WIDE = Balance(tuple(range(5)) * 2, (0.1,) * 10, (0.3,) * 10, ((0.11,) * 10, (-0.07,) * 10))
GAITS = [
    GAIT,
    replace(GAIT, balance=None),
    replace(GAIT, balance=WIDE),
    Gait(0.0, 0.05, (Joint(0.0, 0.0, 0.0),) * 2, balance=WIDE),
    Gait(2.0, 1.0, (Joint(0.0, 0.3, 0.2), Joint(0.4, 0.0, 0.0))),
    replace(GAIT, joints=MIRRORED),
    Gait(0.0, 0.05, (Joint(0.0, 0.0, 0.0),) * 2, balance=BALANCE),
]


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    fields = {field.name: (field.start, field.stop) for field in SPEC.observation}
    limits = Limits(call_seconds=5.0, load_seconds=10.0)
    with Sandbox(Interface(5, 2, fields), limits, preload=("trace_robot.trace",)) as box:
        yield box


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("gait", GAITS)
def test_the_text_of_a_gait_acts_as_its_data_to_the_last_bit(box: Sandbox, gait: Gait, traced: bool) -> None:
    assert box.load(write(gait, SPEC), trace=traced) is None
    assert box.reset() is None
    runner = GaitController(gait).start(SPEC)
    for observation in np.random.default_rng(0).standard_normal((3 if traced else 40, 5)):
        (answer,) = box.call(observation[None])
        assert isinstance(answer, np.ndarray), answer
        assert np.array_equal(answer, runner(observation))
        assert -1.0 <= answer[0] <= 1.0
        assert 0.0 <= answer[1] <= 4.0


def test_a_written_gait_names_its_numbers_with_units_and_bounds() -> None:
    text = write(GAIT, SPEC)
    assert text.startswith(
        '"""Found by search for walker: a rhythm of 1.7 strides a second, with linear feedback."""'
    )
    for name in ("stride_hz", "stance_share", "left_hip_amplitude", "right_hip_lag", "stiffness", "damping"):
        assert f"{name} = node(" in text
    assert 'description="half the width of its swing, rad"' in text
    assert "left_hip_gain_of_height = node(" in text
    assert "constraint=Bounds(0.0, 6.8)" in text, "of 1.7 Hz, four times as much"
    numbers = [place for place in Policy.from_text(text).places if place.kind == "number"]
    assert len(numbers) == 4 + 8 + 4
    assert all(place.description for place in numbers)
    assert all(place.constraint["low"] <= place.value <= place.constraint["high"] for place in numbers)


def test_a_mirrored_gait_is_written_with_the_numbers_of_one_side() -> None:
    text = write(replace(GAIT, joints=MIRRORED, balance=None), SPEC)
    numbers = {place.name for place in Policy.from_text(text).places if place.kind == "number"}
    hip = {"hip_offset", "hip_amplitude", "hip_lag", "hip_second_amplitude", "hip_second_lag"}
    assert numbers == {"stride_hz", "stance_share", "stiffness", "damping"} | hip
    assert "left_hip = hip_offset + hip_amplitude * math.sin(phase + hip_lag * math.tau)" in text
    assert (
        "right_hip = hip_offset + hip_amplitude * math.sin(phase + (hip_lag + 0.5) % 1.0 * math.tau)" in text
    )


def test_wide_feedback_is_written_as_a_table_whose_rows_say_what_is_seen() -> None:
    text = write(Gait(0.0, 0.05, (Joint(0.0, 0.0, 0.0),) * 2, balance=WIDE), SPEC)
    assert "# Rows are what is seen, columns the controls: left_hip, right_hip." in text
    assert text.count("[ 0.11, -0.07],  # height, m\n") == 2
    assert "[ 0.11, -0.07],  # rates_2, rad/s\n" in text
    (table,) = (place for place in Policy.from_text(text).places if place.name == "gains")
    assert (table.kind, np.shape(table.value)) == ("array", (10, 2)), "so that CMA-ES tunes it"
    assert "swing(" not in text, "nothing swings"


def test_a_joint_is_named_without_its_motor_where_that_is_clear() -> None:
    motors = replace(SPEC, action=(Field("left_hip_torque", 0, 1), Field("right_hip_torque", 1, 2)))
    assert joint_names(motors) == ["left_hip", "right_hip"]
    both = replace(SPEC, action=(Field("hip_torque", 0, 1), Field("hip_force", 1, 2)))
    assert joint_names(both) == ["hip_torque", "hip_force"]


@pytest.mark.parametrize("trial", [Truncation(), Truncation(200, still=True)])
@pytest.mark.parametrize("probe", [None, -1])
@pytest.mark.parametrize("gait", GAITS)
def test_stored_data_is_loaded_as_the_gait_that_it_was(
    gait: Gait, trial: Truncation, probe: int | None
) -> None:
    controller = GaitController(gait, trial, probe)
    assert load_controller(json.loads(json.dumps(controller.to_data()))) == controller


def test_the_stored_form_of_a_gait_may_not_change() -> None:
    assert json.dumps(GaitController(GAIT, Truncation(9)).to_data()) == (
        '{"gait": {"frequency": 1.7, "step_seconds": 0.05, "joints": [[0.1, 0.5, 0.25, 0.2, 0.1, 1, 3],'
        ' [-0.2, 0.5, 0.75, 0.0, 0.0, 2, 4]], "stance": 0.6, "stiffness": 2.0, "damping": 0.1, "balance":'
        ' {"indices": [0, 3], "means": [1.25, 0.1], "spreads": [0.1, 2.0], "gains": [[0.3, -0.2], [0.1, 0.05]]}},'
        ' "trial": {"decisions": 9, "still": false}}'
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joints": []}, "a gait without joints"),
        ({"stance": 1.0}, "stance 1.0"),
        ({"step_seconds": 0.0}, "step_seconds 0.0"),
        ({"damping": math.inf}, "number inf"),
        (
            {"balance": {"indices": [0], "means": [0.0], "spreads": [0.0], "gains": [[1.0], [1.0]]}},
            "rows of gains",
        ),
        (
            {"balance": {"indices": [0], "means": [0.0], "spreads": [1.0], "gains": [[1.0]]}},
            "1 rows of gains",
        ),
    ],
)
def test_data_that_is_no_gait_is_refused(changes: dict[str, Any], message: str) -> None:
    data = {"gait": {**GAIT.to_data()["gait"], **changes}}
    with pytest.raises(PolicyError, match=r"a gait must be what Gait\.to_data gives, got") as caught:
        load_controller(data)
    assert message in str(caught.value)


def test_a_gait_that_does_not_fit_the_environment_is_refused() -> None:
    with pytest.raises(PolicyError, match="has 2 numbers, the gait moves 1 joints"):
        check(replace(GAIT, joints=JOINTS[:1]), SPEC)
    with pytest.raises(PolicyError, match="no field of 'walker' shows observation 7, which the gait reads"):
        check(replace(GAIT, joints=(replace(JOINTS[0], angle=7), JOINTS[1])), SPEC)


def test_the_first_half_of_a_stride_lasts_the_share_of_stance() -> None:
    phases = [phase_at(count, 0.01, 0.6) for count in range(100)]
    assert sum(phase < math.pi for phase in phases) == 60
    assert phases == sorted(phases)
    assert phase_at(100, 0.01, 0.6) == pytest.approx(0.0, abs=1e-9)


def test_a_trial_ends_after_its_decisions_or_when_nothing_moves() -> None:
    runner = GaitController(GAIT, Truncation(3)).start(SPEC)
    ends = []
    for k in range(4):
        runner(np.full(5, float(k)))
        ends.append(runner.finished)
    assert ends == [False, False, False, True]
    still = GaitController(GAIT, Truncation(0, still=True)).start(SPEC)
    moves = GaitController(GAIT, Truncation(0, still=True)).start(SPEC)
    same = np.zeros(5)  # a caller's array, which each observation is written into
    for k in range(51):
        still(np.zeros(5))
        same[:] = 0.1 * k
        moves(same)
    assert still.finished
    assert not moves.finished


def test_gaits_are_searched_where_lasting_motion_earns_a_return_and_nowhere_else() -> None:
    assert search_for(SPEC) is GaitSearch
    assert search_for(replace(SPEC, return_threshold=300.0, success="the sum is at least 300")) is GaitSearch
    assert search_for(replace(SPEC, success="it stands on the goal")) is FeedbackLawSearch
    assert search_for(replace(SPEC, horizon=200)) is FeedbackLawSearch
    whole = tuple(replace(part, whole=True) for part in SPEC.action)
    assert search_for(replace(SPEC, action=whole)) is FeedbackLawSearch
    assert search_for(replace(SPEC, low=(-1.0,), high=(1.0,))) is FeedbackLawSearch
    assert search_for(fakes.point_mass_spec()) is StagedSearch


def test_mirrored_parts_are_found_by_their_names_else_halves_are_taken() -> None:
    def pairs(*names: str) -> tuple[tuple[int, int], ...]:
        action = tuple(Field(name, k, k + 1) for k, name in enumerate(names))
        return mirrored(replace(SPEC, action=action))

    assert pairs("right_hip", "left_hip", "left_knee", "right_knee") == ((1, 0), (2, 3))
    assert pairs("back_thigh", "back_foot", "front_thigh", "front_foot") == ((2, 0), (3, 1))
    assert pairs("a", "b", "c", "d") == ((0, 2), (1, 3))
    assert pairs("a", "b", "c") == ()


def test_a_joint_is_found_by_what_answers_to_its_push() -> None:
    """Two joints on a base: the second control moves the first rate, and each push also moves the others."""
    spec = replace(SPEC, observation=(Field("all", 0, 6),), observation_size=6)
    answers = np.array([[0.5, 0.9, 2.0], [0.2, 3.0, 0.9]])  # of base, joint 1 and joint 2, at 3, 4 and 5

    def note(row: np.ndarray[Any, Any], sign: float) -> dict[str, float]:
        return {f"first_{3 + k}": sign * value for k, value in enumerate(row)} | {"alive": 1.0}

    moving = [
        {"rate_3_0": 0.05, "rate_4_1": 0.05, "rate_5_2": 0.051, "rate_5_0": 0.4}
        | {f"mean_{i}": 0.5 for i in range(6)} | {f"size_{i}": 0.7 for i in range(6)}
        for _ in range(4)
    ]  # fmt: skip
    body = Morphology.of(spec, [(note(row, 1.0), note(row, -1.0)) for row in answers], moving)
    assert body.angles == (2, 1)
    assert body.rates == (5, 4)
    assert body.step_seconds == pytest.approx(0.05)
    assert body.alive == 1.0
    assert body.posture == (0, 3)
    assert body.spreads[0] == pytest.approx(math.sqrt(0.7**2 - 0.5**2), rel=1e-3)
