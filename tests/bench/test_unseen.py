"""The fourteen robots of benchmarks/unseen: described, impossible by doing nothing, solved by their controllers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trace_robot import as_gymnasium_policy, load_policy, workspace
from trace_robot.env.registry import make_described

HERE = Path(__file__).parents[2] / "benchmarks" / "unseen"
NAMES = sorted(path.stem.replace("_", "-") for path in (HERE / "envs").glob("*.py"))
UNNAMED = {"tripod-crawler", "knob-hand", "spring-hop", "hum-rotor", "comb-lift", "stuck-sled"}


@pytest.fixture(autouse=True)
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the folder of the robots the workspace."""
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(HERE))


def described(name: str) -> Any:
    """Return what the plug-in of a robot describes."""
    (environment,) = workspace.load(workspace.find("envs", name.replace("-", "_"))).ENVIRONMENTS
    return environment


def test_the_table_names_every_robot_and_there_are_fourteen() -> None:
    rows = [
        line.split("`")[1] for line in (HERE / "README.md").read_text().splitlines() if line.startswith("| `")
    ]
    assert sorted(rows) == NAMES
    assert len(NAMES) == 14


@pytest.mark.parametrize("name", NAMES)
def test_a_robot_is_described_fully_or_by_one_sentence(name: str) -> None:
    environment = described(name)
    assert environment.id == name
    assert environment.task.count(".") - environment.task.count(". ") == 1
    assert environment.horizon <= 400
    assert (environment.positions, environment.hands, environment.pose) == ((), (), None)
    robot = environment.make()
    if name in UNNAMED:
        assert not any((environment.observation, environment.action, environment.success_when))
        return
    assert environment.success_when
    for parts, space in (
        (environment.observation, robot.observation_space),
        (environment.action, robot.action_space),
    ):
        assert sum(part.size for part in parts) == space.shape[0]
        assert all(part.unit for part in parts)


@pytest.mark.parametrize("name", NAMES)
def test_an_episode_depends_on_the_seed_of_reset_alone(name: str) -> None:
    def episode(robot: Any, seed: int) -> list[Any]:
        random = np.random.default_rng(5)
        rows = [[*robot.reset(seed=seed)[0], 0.0]]
        for _ in range(30):
            observation, reward, *_ = robot.step(random.uniform(robot.low, robot.high))
            rows.append([*observation, reward])
        return rows

    robot = described(name).make()
    first, other = episode(robot, 3), episode(robot, 4)
    assert other[0] != first[0]
    assert episode(robot, 3) == first
    assert episode(described(name).make(), 3) == first


@pytest.mark.parametrize("name", NAMES)
def test_the_controller_written_by_hand_solves_what_doing_nothing_does_not(name: str) -> None:
    env, spec = make_described(name)
    controller = as_gymnasium_policy(
        load_policy(str(HERE / "policies" / f"{name.replace('-', '_')}.py")), env
    )

    def solved(act: Callable[[Any], Any], seed: int) -> bool:
        observation, info = env.reset(seed=seed)
        controller.reset()
        for _ in range(spec.horizon):
            observation, _, terminated, _, info = env.step(act(observation))
            if info["success"] or terminated:
                break
        return bool(info["success"])

    nothing = np.zeros(env.action_space.shape)
    for seed in (901, 902):
        assert solved(controller, seed)
        assert not solved(lambda observation: nothing, seed)
    controller.close()


def test_a_recorded_first_answer_is_repeated_by_the_command_of_the_page() -> None:
    command = [sys.executable, "benchmarks/unseen/repeat.py", "late-crane"]
    done = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "late-crane, first: 1 calls, 3462 tokens, held-out success 1.00 of 50 (0.93 to 1.00)\n"
    )
