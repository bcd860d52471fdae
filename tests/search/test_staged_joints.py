"""The staged search moves an arm in joint space by its hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import arms
from trace_robot import optimize
from trace_robot.env.registry import describe

PLUGIN = """
from trace_robot import Environment, Hand, part

ENVIRONMENTS = [
    Environment(
        "reach-with-joints",
        "Bring the tip to the goal.",
        make=lambda **_: JointArm(model_of(*four_joints("velocity", fingers=TWO)), hold=False),
        observation=[part("tip_position", 3, "m"), part("goal_position", 3, "m"), part("angles", 6)],
        positions=("tip_position", "goal_position"),
        hands=[Hand("tip_position")],
        success="success",
        success_when="the tip is within 2 cm of the goal",
        horizon=150,
    )
]
"""


def test_an_arm_of_four_joint_velocities_learns_to_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "joints.py").write_text(Path(arms.__file__).read_text() + PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACE_ROBOT_WORKSPACE", raising=False)
    result = optimize(
        "reach-with-joints",
        optimizer="search",
        steps=30_000,
        held_out=20,
        workers=1,
        video=False,
        out=tmp_path / "run",
    )
    assert result.control == "pose"
    assert result.held_out_success >= 0.9
    assert describe("reach-with-joints", control="pose").hands[0].gripper == 3
