"""A Meta-World environment as users see it: conditions, control, faults."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.randomness import global_numbers
from trace_robot.env.conformance import run_problems
from trace_robot.env.registry import describe, make
from trace_robot.errors import ActionError, EnvironmentFault, OrderError, ValueMismatchError
from trace_robot.spec import Array

from .conftest import ROOT, part


@pytest.fixture(scope="module")
def raw() -> Iterator[Any]:
    env = make("pick-place-v3", control="raw")
    yield env
    env.close()


@pytest.fixture(scope="module")
def reach() -> Iterator[Any]:
    env = make("reach-v3", control="pose")
    yield env
    env.close()


@pytest.fixture(autouse=True)
def fresh(raw: Any, reach: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start an episode in an empty directory, which stays free of MuJoCo's log."""
    monkeypatch.chdir(tmp_path)
    for env in (raw, reach):
        env.record_states = False
        env.reset(seed=0)
    yield
    assert not list(tmp_path.glob("MUJOCO_LOG.TXT"))


def towards(env: Any, observation: Array, to: str = "goal_position") -> Array:
    seen = env.task_spec.named(observation)
    return np.array([*np.clip(seen[to] - seen["hand_position"], -0.5, 0.5), -1.0], np.float32)


@pytest.mark.parametrize(("name", "control"), [("basketball-v3", "raw"), ("hammer-v3", "pose")])
def test_an_environment_conforms(name: str, control: str) -> None:
    assert not list(run_problems(describe(name, control=control), lambda: make(name, control=control)))


def test_a_seed_gives_the_same_condition_in_every_process_and_mode_of_control(raw: Any) -> None:
    code = (
        "import numpy; numpy.random.seed(1); from trace_robot.env.registry import make; env = make('pick-place-v3');"
        "env.reset(seed=9); print(env.reset(seed=4)[0].tobytes().hex())"
    )
    other = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert other.stdout.strip() == raw.reset(seed=4)[0].tobytes().hex()
    reference = make("pick-place-v3", control="raw", engine="reference")
    assert other.stdout.strip() == reference.reset(seed=4)[0].tobytes().hex()


def test_resets_without_a_seed_go_on_to_other_conditions_and_repeat_after_a_seed(raw: Any) -> None:
    runs = []
    for _ in range(2):
        raw.reset(seed=3)
        runs.append([raw.reset()[0].tobytes() for _ in range(3)])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 3


def test_a_condition_can_be_given_as_numbers(raw: Any) -> None:
    wanted = [0.05, 0.65, 0.02, -0.1, 0.85, 0.2]
    seen = raw.task_spec.named(raw.reset(options={"variation": wanted})[0])
    assert np.allclose(seen["puck_position"], wanted[:3], atol=1e-3)
    assert np.array_equal(seen["goal_position"], wanted[3:])
    with pytest.raises(ValueMismatchError, match="must be 6 finite numbers"):
        raw.reset(options={"variation": [1.0]})


def test_nothing_touches_numpys_global_generator(raw: Any) -> None:
    np.random.seed(5)
    before = global_numbers()
    raw.reset(seed=12345)
    raw.reset()
    raw.step(np.ones(4, np.float32))
    assert global_numbers() == before


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros(3, np.float32), r"^action must have shape \(4,\), got \(3,\)$"),
        (np.zeros((1, 4), np.float32), r"^action must have shape \(4,\), got \(1, 4\)$"),
        ([0.0, float("nan"), 0.0, 0.0], r"^action must be finite, got \[0.0, nan, 0.0, 0.0\]$"),
        ([0.0, 0.0, float("inf"), float("-inf")], r"^action must be finite, got "),
        ("left", r"^action must be 4 numbers, got 'left'$"),
        (None, r"^action must "),
    ],
)
def test_an_action_that_cannot_be_is_an_error_of_one_line_and_changes_nothing(
    raw: Any, action: Any, message: str
) -> None:
    before = raw.snapshot()
    with pytest.raises(ActionError, match=message) as caught:
        raw.step(action)
    assert "\n" not in str(caught.value)
    assert raw.snapshot().simulation.physics.tobytes() == before.simulation.physics.tobytes()


def test_an_action_out_of_bounds_is_the_action_at_the_bound(raw: Any) -> None:
    far = raw.step(np.array([5, -7, 0, 9], np.float32))
    raw.reset(seed=0)
    near = raw.step(np.array([1, -1, 0, 1], np.float32))
    assert far[0].tobytes() == near[0].tobytes()
    assert far[1:] == near[1:]


def test_a_step_before_the_first_reset_or_after_the_time_is_up_is_an_error() -> None:
    env = make("reach-v3", control="raw", horizon=2)
    with pytest.raises(OrderError, match="before the first reset"):
        env.step(np.zeros(4, np.float32))
    env.reset(seed=0)
    ends = [env.step(np.zeros(4, np.float32))[2:4] for _ in range(2)]
    assert ends == [(False, False), (False, True)]
    with pytest.raises(OrderError, match="the episode's time was up"):
        env.step(np.zeros(4, np.float32))


def test_changing_an_observation_that_was_returned_changes_nothing(reach: Any) -> None:
    reach.reset(seed=0)[0][:] = 9.0
    observation = reach.step(np.zeros(4, np.float32))[0]
    assert abs(observation[:3] - reach.reset(seed=0)[0][:3]).max() < 0.01


def test_a_simulation_that_diverges_is_a_fault_and_the_next_episode_is_as_if_it_never_was(raw: Any) -> None:
    action = np.full(4, 0.3, np.float32)
    expected = [raw.step(action)[0].tobytes() for _ in range(5)]
    raw.reset(seed=0)
    raw.simulation.data.qvel[:] = 1e12
    with pytest.raises(EnvironmentFault, match=r"^the simulation became unstable: .*; start a new episode$"):
        raw.step(action)
    raw.reset(seed=0)
    assert [raw.step(action)[0].tobytes() for _ in range(5)] == expected
    raw.reset(seed=77)
    raw.simulation.data.qpos[:] = np.nan
    with pytest.raises(EnvironmentFault, match="became unstable"):
        raw.step(action)
    fresh = make("pick-place-v3", control="raw")
    assert raw.reset(seed=78)[0].tobytes() == fresh.reset(seed=78)[0].tobytes()


def test_an_exception_inside_the_environment_is_a_fault(raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(action: Array) -> Any:
        raise AssertionError("0 <= reward")

    monkeypatch.setattr(raw.simulation, "_stepper", type("Broken", (), {"step": staticmethod(broken)}))
    with pytest.raises(EnvironmentFault, match=r"^the environment failed: AssertionError: 0 <= reward$"):
        raw.step(np.zeros(4, np.float32))


def test_doing_nothing_keeps_the_hand_still_in_both_modes(raw: Any, reach: Any) -> None:
    for env in (raw, reach):
        start = env.reset(seed=1)[0][:3]
        for _ in range(10):
            observation = env.step(np.zeros(4, np.float32))[0]
        assert np.abs(observation[:3] - start).max() < 0.02


def test_pose_control_brings_the_hand_to_a_displacement_within_a_decision(reach: Any) -> None:
    start = reach.reset(seed=1)[0][:3]
    wanted = np.array([0.04, 0.05, -0.03])
    observation, _, _, _, info = reach.step(np.array([*wanted, -1], np.float32))
    assert info["steps"] <= 20
    assert np.abs(observation[:3] - start - wanted).max() < 0.015


def test_pose_control_with_positions_goes_to_the_position() -> None:
    env = make("reach-v3", control="pose", relative=False)
    env.reset(seed=1)
    target = np.array([0.05, 0.65, 0.25], np.float32)
    for _ in range(2):
        observation = env.step(np.array([*target, -1], np.float32))[0]
    assert np.abs(observation[:3] - target).max() < 0.01


def test_a_decision_is_what_the_same_simulator_steps_are_in_raw_control(reach: Any) -> None:
    twin = make("reach-v3", control="raw")
    before, _ = reach.reset(seed=2)
    twin.reset(seed=2)
    action = towards(reach, before)
    target = before[:3] + action[:3]
    after, reward, _, _, info = reach.step(action)
    seen, rewards = before, []
    for _ in range(info["steps"]):
        step = np.array([*np.clip(10.0 * (target - seen[:3]), -1, 1), -1], np.float32)
        seen, part_reward, *_ = twin.step(step)
        rewards.append(part_reward)
    assert seen.tobytes() == after.tobytes()
    assert reward == pytest.approx(sum(rewards))


def test_success_in_the_middle_of_a_decision_ends_it_and_the_episode(reach: Any) -> None:
    observation, _ = reach.reset(seed=3)
    for _ in range(10):
        lifted = towards(reach, observation) + np.array(
            [0, 0, 0.045, 0], np.float32
        )  # the fingertips are lower
        observation, _, terminated, truncated, info = reach.step(lifted)
        if terminated:
            break
    assert terminated
    assert info["success"] is True
    assert not truncated
    assert info["steps"] % 20 != 0


def test_a_decision_closes_the_gripper_before_it_ends(reach: Any) -> None:
    observation, *_ = reach.step(np.array([0, 0, 0, 1], np.float32))
    assert reach.task_spec.named(observation)["gripper_opening"] < 0.6


def test_the_paper_s_ten_decisions_end_the_episode() -> None:
    env = make("reach-v3", control="pose", decisions=10)
    env.reset(seed=0)
    ends = [env.step(np.zeros(4, np.float32))[3] for _ in range(10)]
    assert ends == [False] * 9 + [True]


def test_a_decision_never_goes_beyond_the_horizon() -> None:
    env = make("reach-v3", control="pose", horizon=30)
    env.reset(seed=0)
    far = np.array([0.5, 0.0, 0.3, 1], np.float32)
    assert env.step(far)[3] is False
    *_, truncated, info = env.step(-far)
    assert truncated
    assert info["steps"] == 30


def test_info_has_the_reward_terms_as_floats_only_if_rewards_are_asked_for(raw: Any) -> None:
    *_, info = raw.step(np.zeros(4, np.float32))
    assert {"success", "steps", "near_object", "grasp_success", "in_place_reward", "obj_to_target"} <= set(
        info
    )
    assert all(type(value) is float for name, value in info.items() if name not in ("success", "steps"))
    bare = make("pick-place-v3", control="raw", rewards=False)
    bare.reset(seed=0)
    _, reward, _, _, info = bare.step(np.zeros(4, np.float32))
    assert (reward, info) == (0.0, {"success": False, "steps": 1})


@pytest.mark.parametrize("control", ["raw", "pose"])
def test_a_snapshot_branches_bit_for_bit_also_in_a_new_object(control: str) -> None:
    env, twin = make("pick-place-v3", control=control), make("pick-place-v3", control=control)
    observation, _ = env.reset(seed=5)
    for _ in range(4):
        observation = env.step(towards(env, observation, "puck_position"))[0]
    snapshot = env.snapshot()
    going = [towards(env, observation), np.array([0.1, 0, 0, 1], np.float32)]
    expected = [env.step(action) for action in going]
    env.reset(seed=6)
    for each in (env, twin):
        assert each.restore(snapshot).tobytes() == observation.tobytes()
        for action, (seen, *rest) in zip(going, expected, strict=True):
            found = each.step(action)
            assert found[0].tobytes() == seen.tobytes()
            assert list(found[1:]) == rest


def test_recorded_states_are_those_the_simulator_was_in_about_25_a_second(reach: Any) -> None:
    reach.record_states = True
    reach.reset(seed=0)
    for _ in range(3):
        reach.step(np.array([0.3, 0, 0, 1], np.float32))
    states = reach.recorded()
    assert states.qpos.shape == (len(states), reach.simulation.model.nq)
    assert states.mocap_pos.shape == (len(states), 1, 3)
    assert np.allclose(np.diff(states.seconds)[:-1], 3 / 80)
    assert states.seconds[-1] == reach._steps / 80
    assert np.array_equal(states.qpos[-1], reach.simulation.data.qpos)
    assert np.array_equal(states.qpos[0], make_qpos_of_seed_0(reach))


def make_qpos_of_seed_0(env: Any) -> Array:
    env.reset(seed=0)
    return env.simulation.data.qpos.copy()  # type: ignore[no-any-return]


def test_nothing_is_recorded_unless_it_is_asked_for(reach: Any) -> None:
    reach.step(np.zeros(4, np.float32))
    assert len(reach.recorded()) == 0
    assert reach.recorded().qpos.shape == (0, reach.simulation.model.nq)


def test_a_scene_draws_the_condition_it_was_taken_in(raw: Any) -> None:
    import mujoco

    raw.reset(options={"variation": [0.05, 0.65, 0.02, -0.1, 0.85, 0.2]})
    scene = raw.scene()
    model = mujoco.MjModel.from_xml_path(scene.model_path)
    for name, array in scene.model_arrays.items():
        getattr(model, name)[:] = array
    assert np.allclose(model.site("goal").pos, [-0.1, 0.85, 0.2])
    assert scene.camera in ["", *(model.camera(index).name for index in range(model.ncam))]


def test_another_version_of_the_simulator_falls_back_to_upstream_with_a_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugin = sys.modules[
        type(make("reach-v3")).__module__.replace(".metaworld_parts.environment", ".metaworld")
    ]
    monkeypatch.setattr(plugin, "version", lambda name: {"metaworld": "3.2.0", "mujoco": "3.3.0"}[name])
    note = r"^the fast engine was checked with metaworld 3.1.1 and mujoco 3.3.0, not with metaworld 3.2.0 and"
    with pytest.warns(RuntimeWarning, match=note):
        env = make("reach-v3", control="raw")
    assert env.task_spec.options["engine"] == "reference"
    assert type(env.simulation._stepper).__name__ == "ReferenceStep"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make("reach-v3", control="raw", engine="reference")


def test_only_the_plug_in_imports_upstream() -> None:
    importing = {
        path.relative_to(ROOT).as_posix()
        for folder in ("trace_robot", "envs", "policies", "rollouts")
        for path in (ROOT / folder).rglob("*.py")
        if any(f"{word} metaworld" in path.read_text() for word in ("import", "from"))
    }
    assert importing <= {"envs/metaworld.py", "envs/metaworld_parts/expert.py"}


def test_the_working_directory_stays_clean_when_a_process_diverges(tmp_path: Path) -> None:
    code = (
        "import numpy as np; from trace_robot.env.registry import make; env = make('reach-v3', control='raw');"
        "env.reset(seed=0); env.simulation.data.qvel[:] = np.inf\n"
        "try: env.step(np.zeros(4))\nexcept Exception as error: print(type(error).__name__)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "EnvironmentFault", done.stderr
    assert not list(tmp_path.iterdir())


def test_the_pieces_of_the_plug_in_are_loaded_beside_it(raw: Any) -> None:
    assert type(raw) is part("environment").MetaWorldEnv
