"""The six robots of benchmarks/robots: repeatable, impossible by doing nothing, solved by their controllers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.robots import run
from trace_robot import workspace
from trace_robot.cli import main

Result = dict[str, Any]


@pytest.fixture(autouse=True)
def robots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the folder of the robots the workspace."""
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(run.HERE))


def environment(name: str) -> Any:
    """Return what the plug-in of a robot describes."""
    (described,) = workspace.load(plugin(name)).ENVIRONMENTS
    return described


def plugin(name: str) -> Path:
    """Return the plug-in file of a robot."""
    return workspace.find("envs", name.replace("-", "_"))


def episode(robot: Any, seed: int, steps: int = 60) -> np.ndarray[Any, Any]:
    """Return what random actions lead to, rows of an observation and a reward."""
    random = np.random.default_rng(5)
    rows = [[*robot.reset(seed=seed)[0], 0.0]]
    for _ in range(steps):
        observation, reward, *_ = robot.step(random.uniform(robot.low, robot.high))
        rows.append([*observation, reward])
    return np.array(rows)


@pytest.mark.parametrize("name", run.NAMES)
def test_a_plug_in_is_short_and_gives_no_hint(name: str) -> None:
    assert 22 <= len(plugin(name).read_text().splitlines()) <= 35
    described = environment(name)
    assert described.positions == ()
    assert described.pose is None


@pytest.mark.parametrize("name", run.NAMES)
def test_an_episode_depends_on_the_seed_of_reset_alone(name: str) -> None:
    make = environment(name).make
    robot = make()
    first = episode(robot, 3)
    other = episode(robot, 4)
    assert np.array_equal(episode(robot, 3), first)
    assert np.array_equal(episode(make(), 3), first)
    assert not np.array_equal(other[0], first[0])


@pytest.mark.parametrize("name", run.NAMES)
def test_the_controller_written_by_hand_solves_what_doing_nothing_does_not(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def success(policy: str) -> float:
        command = ["evaluate", name, "--policy", policy, "--episodes", "3", "--seed", "9", "--workers", "0"]
        assert main([*command, "--json"]) == 0
        return float(json.loads(capsys.readouterr().out)["success"])

    assert success(name.replace("-", "_")) == 1.0
    assert success("do_nothing") == 0.0


def test_a_robot_that_the_file_has_is_not_searched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    searched: list[tuple[str, float]] = []

    def search(name: str, settings: Result) -> Result:
        searched.append((name, settings["seconds"]))
        found = {"held_out": 0.5, "return": -1.0, "training": 0.4, "steps": 10, "took": 2.0, "cpu": 1.0}
        return {"robot": name, **settings, **found, "ended": "solved"}

    monkeypatch.setattr(run, "search", search)
    file = str(tmp_path / "results.jsonl")
    for seconds in ("1", "1", "2"):
        monkeypatch.setattr("sys.argv", ["run.py", "touch-arm", "--seconds", seconds, "--file", file])
        assert run.main() == 0
    assert searched == [("touch-arm", 1.0), ("touch-arm", 2.0)]
    assert capsys.readouterr().out.count("touch-arm") == 3


def test_a_search_of_a_second_gives_a_row(tmp_path: Path) -> None:
    found = run.search("touch-arm", {"seconds": 1.0, "workers": 1, "seed": 0})
    assert found is not None
    assert found["steps"] > 0
    assert "touch-arm" in run.row(found)
