"""A controller that asks for places of a hand: its contract, its header, and a simulated robot that goes there."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import planar_arm
from trace_robot.cli.main import main
from trace_robot.deploy import deploy
from trace_robot.deploy.drive import drive, simulated
from trace_robot.deploy.peers import read_contract, silence
from trace_robot.deploy.simulated_robot import _episode
from trace_robot.errors import UsageError
from trace_robot.policy import Policy

# The way to the target in two thirds, so that several places are asked for.
REACH = '''
def act(observation):
    """Ask for a place on the way to the target."""
    return [0.66 * (t - h) for t, h in zip(observation["target_position"], observation["tip_position"])]
'''
ENDS = "once each hand is within 0.005 m of its target on each axis, or after 20 simulator steps"


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arm")
    planar_arm.write(folder, height="0.3", positions=planar_arm.POSITIONS)
    return folder


@pytest.fixture
def own(arm: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(arm)
    monkeypatch.delenv("TRACE_ROBOT_WORKSPACE", raising=False)
    return arm


def deployed(own: Path, to: str) -> Path:
    folder = own / to
    deploy(Policy.from_text(REACH, "reach"), "Planar-v0", to=to, out=folder, control="pose")
    return folder


def test_the_contract_says_how_a_place_is_followed(own: Path) -> None:
    contract = read_contract(deployed(own, "python"))
    assert contract["rate_hz"] is None
    assert contract["control"]["tracking"] == {
        "by": "inverse kinematics",
        "step_seconds": 0.04,
        "most_steps": 20,
        "least_steps": 1,
        "gain": 0.4,
        "near": 0.005,
        "joints": ["j1", "j2", "j3"],
        "hands": ["tip_position"],
        "ends": ENDS,
    }
    assert silence(contract) == pytest.approx(
        30 * 0.04
    )  # a place is followed for 20 steps, and ten may be missed


def test_the_header_in_c_says_when_to_ask(own: Path) -> None:
    text = (deployed(own, "c") / "controller.h").read_text()
    assert "for each target: again once there, or after 20 steps of the task" in text
    assert "once a step of the task" not in text


@pytest.mark.parametrize("to", ["python", "c"] if shutil.which("cc") else ["python"])
def test_a_simulated_robot_goes_to_the_places_that_a_controller_asks_for(own: Path, to: str) -> None:
    folder = deployed(own, to)
    contract = read_contract(folder)
    command = simulated("Planar-v0", contract, jitter=0.0, loss=0.0, speed=2.0, seed=0)
    data = drive(folder, command, seeds=(50000, 50001, 50002), speed=2.0).to_data()
    assert (data["success"], data["faults"], data["missed"]) == (1.0, 0, 0)
    assert 3 < data["steps"] < 3 * 150 / 3  # several places an episode, and several simulator steps each


class OneAnswer:
    """A link on which the first observation alone is answered."""

    def __init__(self) -> None:
        self.calls, self.sent = 0, list[Any]()

    def send(self, message: Any, *, may_fail: bool = False) -> None:
        self.sent.append(message)

    def receive(self, until: float) -> list[Any]:
        self.calls += 1  # the first call is for what an earlier episode left
        return [{"step": 0, "action": [0.1, 0.2, 0.3, 1.0]}] if self.calls == 2 else []

    def wait(self, until: float) -> None:
        self.waited = until


class Recorder:
    """An environment that records its actions, each of which takes five simulator steps."""

    def __init__(self) -> None:
        self.actions = list[list[float]]()

    def step(self, action: Any) -> tuple[Any, ...]:
        self.actions.append(list(action))
        count = len(self.actions)
        return [0.0], 0.0, False, count == 3, {"steps": 5 * count, "success": False}


def test_a_displacement_is_not_repeated_where_no_answer_comes() -> None:
    env, link = Recorder(), OneAnswer()
    assert _episode(env, link, [0.0], lambda flat: {}, np.zeros(4), 60.0, [0, 1, 2])  # type: ignore[arg-type]
    assert env.actions == [[0.1, 0.2, 0.3, 1.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]]
    counts = {"success": False, "steps": 3, "held": 2, "behind": 0}
    assert link.sent[-1] == {"done": True, **counts, "ended": "time"}
    assert link.waited - time.monotonic() == pytest.approx(
        15 * 60.0, abs=30.0
    )  # for what a place took in all


def test_the_command_line_says_what_a_robot_must_bring_and_drives(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "reach.py").write_text(REACH)
    line = ["deploy", "reach.py", "--env", "Planar-v0", "--control", "pose", "--to", "python", "--out", "out"]
    assert main(line) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith(
        "it asks for a place of tip_position, not for an action of the motors: the robot must bring"
    )
    assert "ask again once there or after 20 steps of 0.04 s" in last
    assert main(["drive", "out", "--simulate", "Planar-v0", "--speed", "2"]) == 0
    output = capsys.readouterr().out
    assert (
        "Planar-v0, python, driver Planar-v0, simulated, each followed for 20 steps of 0.04 s at most"
        in output
    )
    assert "targets without a new action" in output


@pytest.mark.parametrize("change", [{"tracking": {}}, {"tracking": {"most_steps": 20, "step_seconds": None}}])
def test_a_contract_without_a_step_is_not_driven_and_one_line_says_what_to_do(
    own: Path, change: Mapping[str, Any]
) -> None:
    folder = deployed(own, "python")
    contract = json.loads((folder / "contract.json").read_text())
    contract["control"] |= change
    (folder / "contract.json").write_text(json.dumps(contract))
    with pytest.raises(UsageError, match=r"neither a rate_hz nor a step_seconds .* deploy it again"):
        read_contract(folder)


GANTRY = """
import gymnasium
import numpy as np
from trace_robot import Environment, part


class Gantry(gymnasium.Env):
    dt = 0.05
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (6,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.tip, self.goal = self.np_random.uniform(-0.2, 0.2, (2, 3))
        return np.concatenate([self.tip, self.goal]), {}

    def step(self, action):
        self.tip = self.tip + 0.02 * action
        away = float(np.linalg.norm(self.tip - self.goal))
        return np.concatenate([self.tip, self.goal]), -away, False, False, {"success": away < 0.02}


ENVIRONMENTS = [
    Environment(
        "gantry",
        "Bring the tip to the goal.",
        make=Gantry,
        observation=[part("tip_position", 3, "m"), part("goal_position", 3, "m")],
        action=[part("motion", 3, "2 cm")],
        success="success",
        horizon=60,
    )
]
"""


def test_what_is_found_for_a_cartesian_robot_is_deployed_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACE_ROBOT_WORKSPACE", raising=False)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "gantry.py").write_text(GANTRY)
    budget = "--steps 20000 --episodes 3 --held-out 5 --no-video --workers 0 --out rollouts/runs/found"
    assert main(f"optimize gantry --optimizer search {budget}".split()) == 0
    output = capsys.readouterr().out
    assert "raw: usual of search" in output
    assert "asks for places" not in output
    (tmp_path / "limits.json").write_text(
        '{"speed": 0.4, "box": {"tip_position": [[-1, -1, -1], [1, 1, 1]]}}'
    )
    assert main(["deploy", "found", "--to", "python", "--out", "out", "--envelope", "limits.json"]) == 0
    assert "asks for a place" not in capsys.readouterr().out
    contract = read_contract(tmp_path / "out")
    assert (contract["rate_hz"], contract["control"]["mode"]) == (20.0, "raw")
    assert [part["name"] for part in contract["action"]] == ["motion"]
    assert main(["drive", "out", "--simulate", "gantry", "--speed", "10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["success"] == 1.0
