"""The experiments under rollouts/ run from their recordings, without robots."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROLLOUTS = ROOT / "rollouts"


def run(script: str, *arguments: str) -> str:
    hidden = {key: value for key, value in os.environ.items() if not key.startswith("OPENAI_")}
    command = [sys.executable, str(ROLLOUTS / script), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env=hidden, cwd=ROOT, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def replayed(name: str, *arguments: str) -> str:
    return run(f"{name}.py", "--replay", str(ROLLOUTS / "recordings" / f"{name}.jsonl"), *arguments)


def test_five_chains_of_operators_are_inverted_in_one_proposal_each() -> None:
    errors = re.findall(r"mean error ([\d.]+)", replayed("chains", "--instances", "5"))
    assert float(errors[0]) > 1
    assert float(errors[1]) < 0.001


def test_green_times_beat_the_fixed_rule() -> None:
    waits = [float(text) for text in re.findall(r"mean wait ([\d.]+)", replayed("traffic"))]
    assert waits[-2] < waits[-1] < waits[0]


def test_an_instruction_is_found_that_labels_lines_never_shown() -> None:
    right = [float(text) for text in re.findall(r"right ([\d.]+)", replayed("rules"))]
    assert right[0] == 0
    assert right[-1] > 0.9


def test_every_buggy_function_passes_its_tests_after_one_proposal() -> None:
    assert re.findall(r"-> ([\d.]+) in (\d+)", replayed("debugging")) == [("1.00", "1")] * 4


def test_numbers_are_tuned_without_a_model() -> None:
    assert "best" in run("traffic.py", "--optimizer", "cma", "--iterations", "8")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "trace_robot" / "optimizers").rglob("*.py")), ids=lambda path: path.name
)
def test_the_optimizers_know_nothing_of_robots(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("trace_robot", "").lower()
    words = (
        "robot",
        "gripper",
        "puck",
        "mujoco",
        "metaworld",
        "simulator",
        "hand_position",
        "observation",
        "camera",
    )
    assert [word for word in words if word in text] == []
