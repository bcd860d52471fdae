"""Locomotion and Box2D: the names, units and signs that the plug-ins declare are those of the simulators."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from trace_robot.bench import select
from trace_robot.cli import main
from trace_robot.env.conformance import run_problems, space_problems, spec_problems
from trace_robot.env.discovery import installing
from trace_robot.env.registry import describe, make, sets
from trace_robot.env_checker.child import examination

LOCOMOTION = sets()["locomotion"]
BOX2D = (*sets()["box2d"], "BipedalWalkerHardcore-v3")
# The joints of the models by the names of the plug-in.
JOINTS = {
    "back": "b", "front": "f", "right_hip": "thigh_joint", "right_knee": "leg_joint", "right_ankle": "foot_joint",
    "left_hip": "thigh_left_joint", "left_knee": "leg_left_joint", "left_ankle": "foot_left_joint",
    "hip": "thigh_joint", "knee": "leg_joint", "ankle": "foot_joint",
    "front_joint": "motor1_rot", "back_joint": "motor2_rot",
}  # fmt: skip
LEGS = {"front_left": 1, "back_left": 2, "back_right": 3, "front_right": 4}


def joint_name(name: str, env: str) -> str:
    """The model's name of a joint, by that of the plug-in."""
    side, _, rest = name.rpartition("_")
    if env.startswith("Humanoid"):
        return name.replace("shoulder_", "shoulder")
    if side in LEGS:
        return f"{rest}_{LEGS[side]}"
    if name in JOINTS:
        return JOINTS[name]
    if side in ("back", "front"):
        return JOINTS[side] + rest
    raise AssertionError(name)


@pytest.mark.parametrize("name", LOCOMOTION)
def test_angles_velocities_and_torques_are_those_of_the_joints_that_they_name(name: str) -> None:
    spec = describe(name)
    inner: Any = gymnasium.make(name).unwrapped
    model, data = inner.model, inner.data
    observation, _ = inner.reset(seed=3)
    for _ in range(3):
        observation = inner.step(inner.action_space.sample())[0]
    seen = spec.named(observation)
    joints = [part.name.removesuffix("_torque") for part in spec.action]
    for joint in joints:
        found = model.joint(joint_name(joint, name))
        assert seen[f"{joint}_angle"] == data.qpos[found.qposadr[0]]
        speed = data.qvel[found.dofadr[0]]
        assert seen[f"{joint}_velocity"] == (
            np.clip(speed, -10, 10) if "Hopper" in name or "Walker" in name else speed
        )
    for number, (joint, part) in enumerate(zip(joints, spec.action, strict=True)):
        assert model.actuator_trnid[number, 0] == model.joint(joint_name(joint, name)).id
        assert part.unit == f"{model.actuator_gear[number, 0]:g} N m"
    assert model.camera("track").id >= 0


def test_legs_of_the_ant_are_named_by_where_they_are_when_it_heads_along_x() -> None:
    inner: Any = gymnasium.make("Ant-v5").unwrapped
    inner.reset(seed=0)
    for leg, number in LEGS.items():
        body = inner.model.joint(f"ankle_{number}").bodyid[0]
        x, y, _ = inner.data.xpos[body]
        assert (x > 0, y > 0) == (leg.startswith("front"), leg.endswith("left"))


@pytest.mark.parametrize("name", LOCOMOTION)
def test_the_reward_of_a_step_is_the_sum_of_the_terms_that_are_declared(name: str) -> None:
    spec = describe(name)
    env = gymnasium.make(name)
    env.reset(seed=0)
    _, reward, _, _, info = env.step(env.action_space.sample())
    terms = [info[term] for term in spec.terms if term.startswith("reward")]
    assert set(spec.terms) <= set(info)
    # HumanoidStandup adds a 1 that is no term.
    assert float(reward) == pytest.approx(sum(terms) + (name == "HumanoidStandup-v5"), abs=1e-9)


@pytest.mark.parametrize("name", [*LOCOMOTION, *BOX2D])
def test_each_task_conforms_for_an_episode(name: str) -> None:
    if name in BOX2D:
        pytest.importorskip("Box2D", reason="needs trace-robot[box2d]")
    spec = describe(name, horizon=30)
    env = make(name, horizon=30)
    assert not [*spec_problems(spec), *space_problems(spec, env)]
    assert not list(run_problems(spec, lambda: make(name, horizon=30)))
    full = describe(name)
    assert full.horizon == {"BipedalWalker-v3": 1600, "BipedalWalkerHardcore-v3": 2000}.get(name, 1000)
    assert full.hands == ()
    assert full.positions == ()


def test_an_episode_of_the_walker_is_the_same_whatever_was_played_before() -> None:
    pytest.importorskip("Box2D", reason="needs trace-robot[box2d]")
    random = np.random.default_rng(0)
    actions, before = random.uniform(-1, 1, (2, 300, 4)).astype(np.float32)
    env = make("BipedalWalker-v3")

    def rewards(seed: int, actions: np.ndarray) -> list[float]:
        env.reset(seed=seed)
        seen = []
        for action in actions:
            _, reward, terminated, *_ = env.step(action)
            seen.append(float(reward))
            if terminated:
                break
        return seen

    alone = rewards(1, actions)
    after = []
    for seed in range(100, 125):
        rewards(seed, before[seed - 100 :] * random.uniform())
        after.append(rewards(1, actions))
    assert [each == alone for each in after] == [True] * 25


@pytest.mark.parametrize("name", ["Humanoid-v5", "BipedalWalker-v3"])
def test_check_env_finds_no_problem(name: str) -> None:
    pytest.importorskip("Box2D", reason="needs trace-robot[box2d]")
    found = [message["finding"] for message in examination(name, {}) if "finding" in message]
    assert [each["text"] for each in found if each["verdict"] == "problem"] == []
    verdicts = {each["check"]: (each["verdict"], each["text"]) for each in found}
    assert (
        verdicts["success"][0] == "good"
    )  # without a threshold, as of the humanoid, the return is the result


def test_the_lander_turns_and_moves_as_its_parts_say() -> None:
    pytest.importorskip("Box2D", reason="needs trace-robot[box2d]")
    spec = describe("LunarLanderContinuous-v3")
    inner: Any = gymnasium.make("LunarLanderContinuous-v3").unwrapped
    for side in (1.0, -1.0):
        first = spec.named(inner.reset(seed=1)[0])
        for _ in range(20):
            last = spec.named(inner.step(np.array([0.0, side], np.float32))[0])
        assert np.sign(last["x_velocity"] - first["x_velocity"]) == side  # positive pushes to the right
        assert np.sign(last["angle"] - first["angle"]) == -side  # and turns clockwise
    right, left = (leg.position.x for leg in inner.legs)
    assert right > left
    names = [part.name for part in spec.observation]
    assert names.index("right_contact") + 1 == names.index("left_contact")


def declared_extras() -> list[str]:
    """The extras of pyproject.toml as metadata has them; what is installed may be of an earlier day."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    extras = re.findall(
        r"^([\w-]+) = \[\n((?:    .*\n)*)\]", text.split("[project.optional-dependencies]")[1], re.M
    )
    return [
        f'{package}; extra == "{extra}"'
        for extra, lines in extras
        for package in re.findall(r'^    "([\w-]+)', lines, re.M)
    ]


def test_a_package_that_no_extra_has_is_named_although_the_extra_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trace_robot.env.discovery.metadata.requires", lambda _: declared_extras())
    monkeypatch.setattr("trace_robot.env.discovery.metadata.version", lambda _: "9")
    assert installing("pybullet", "panda") == "pip install pybullet"
    assert installing("pygame", "") == "pip install 'trace-robot[classic]'"


@pytest.mark.parametrize("package", ["Box2D", "pygame"])
def test_a_missing_package_of_box2d_is_one_line_with_its_name_and_an_extra_with_it(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # gymnasium's walker loads its racing car, which draws with pygame as soon as it is loaded.
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("trace_robot.env.discovery.metadata.requires", lambda _: declared_extras())
    for module in [each for each in sys.modules if each.startswith("gymnasium.envs.box2d")]:
        monkeypatch.delitem(sys.modules, module)
    command = ["evaluate", "LunarLanderContinuous-v3", "--policy", "do_nothing", "--episodes", "1"]
    command += ["--workers", "0"]  # descriptions are made in this process then
    monkeypatch.setattr(
        "trace_robot.env.plugins._PLUGINS", type(sets())()
    )  # descriptions that are known already
    assert main(command) == 1
    shown = capsys.readouterr().err
    wanted = f"a package that is missing (No module named '{package}'): pip install 'trace-robot[box2d]'"
    assert wanted in " ".join(shown.split())
    assert "gymnasium[" not in shown
    assert len(shown.strip().splitlines()) == 1


def test_sets_of_declared_files_are_tasks_of_a_benchmark() -> None:
    assert select(["locomotion"])[:2] == ("HalfCheetah-v5", "Hopper-v5")
    assert len(select(["classic"])) == 8
    assert select(["fetch"]) == ("FetchReach-v4", "FetchPush-v4", "FetchSlide-v4", "FetchPickAndPlace-v4")
