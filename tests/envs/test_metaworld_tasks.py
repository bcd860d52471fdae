"""The descriptions of the fifty tasks are true, and need no simulator."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from helpers.randomness import global_numbers
from trace_robot.env.conformance import spec_problems, unused
from trace_robot.env.registry import describe
from trace_robot.errors import ValueMismatchError

from .conftest import ROOT, TASKS, part


def test_all_fifty_tasks_of_upstream_are_there(upstream: SimpleNamespace) -> None:
    assert list(TASKS) == list(upstream.classes)
    assert len(TASKS) == 50


def test_nothing_is_imported_to_describe_a_task() -> None:
    code = (
        "import sys; from trace_robot.env.registry import describe; describe('push-v3');"
        "print([name for name in ('mujoco', 'metaworld', 'scipy') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.strip() == "[]", found.stderr


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("control", ["raw", "pose"])
def test_a_description_has_no_problems(name: str, control: str) -> None:
    spec = describe(name, control=control)
    assert not list(spec_problems(spec))
    assert spec.positions[0] == "hand_position"
    assert spec.positions[-1] == "goal_position"
    assert spec.instruction.endswith(".")
    assert spec.success


@pytest.mark.parametrize("name", TASKS)
def test_the_fields_use_up_the_observation_but_for_what_is_left_out_on_purpose(name: str) -> None:
    spec = describe(name)
    shown = {index for each in spec.observation for index in range(each.start, each.stop)}
    assert {0, 1, 2, 3, 4, 5, 6, 36, 37, 38} <= shown
    assert set(range(18, 36)) <= set(unused(spec)), "the step before is left to the controller's memory"
    second = {11, 12, 13} & shown
    assert bool(second) == (name in {"hammer-v3", "stick-push-v3", "stick-pull-v3"})


@pytest.mark.parametrize(
    "option", [{"control": "joint"}, {"engine": "slow"}, {"horizon": 0}, {"decisions": 2.5}]
)
def test_an_option_with_a_value_that_cannot_be_is_an_error(option: dict[str, Any]) -> None:
    ((name, value),) = option.items()
    with pytest.raises(ValueMismatchError, match=rf"^{name} must be .*, got {value!r}$"):
        describe("reach-v3", **option)


def test_the_horizon_of_a_description_counts_decisions() -> None:
    assert describe("reach-v3", control="raw").horizon == 500
    assert describe("reach-v3", control="raw", horizon=150).horizon == 150
    assert describe("reach-v3", control="pose", decisions=10).horizon == 10


@pytest.mark.parametrize("seed", [-1, 1.5, True, "one"])
def test_a_seed_that_is_no_number_of_a_condition_is_an_error(seed: Any) -> None:
    with pytest.raises(ValueMismatchError, match=r"^seed must be a whole number of at least 0, got "):
        part("task").tasks()["reach-v3"].variation(seed)


@pytest.mark.parametrize(
    "given", [[1.0], [0.0, 0.6, 0.02, 0.0, float("nan"), 0.1], [0, 0.7, 0, 0, 0.75, 0.2]]
)
def test_a_variation_that_cannot_be_is_an_error(given: list[float]) -> None:
    with pytest.raises(ValueMismatchError, match=r"variation"):
        part("task").tasks()["reach-v3"].checked(given)


@pytest.mark.parametrize("name", TASKS)
def test_conditions_lie_in_the_range_and_differ_from_each_other(name: str) -> None:
    task = part("task").tasks()[name]
    drawn = np.array([task.variation(seed) for seed in range(40)])
    assert np.all(drawn >= task.low)
    assert np.all(drawn <= task.high)
    assert len(np.unique(drawn, axis=0)) == 40
    assert all(task.accepts(each) for each in drawn)


def test_conditions_are_what_they_were_when_results_were_published() -> None:
    drawn = part("task").tasks()["pick-place-v3"].variation(7)
    assert json.dumps(drawn.tolist()) == PICK_PLACE_7


def test_drawing_conditions_leaves_the_global_generator_alone() -> None:
    np.random.seed(3)
    before = global_numbers()
    part("task").tasks()["push-v3"].variation(1)
    assert global_numbers() == before


PICK_PLACE_7 = (
    "[-0.05860111235771703, 0.6966721194542823, 0.02, "
    "-0.00864707667077784, 0.8603998476283579, 0.19020969075630356]"
)
