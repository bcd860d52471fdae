"""The first prompt of real environments, at every level of feedback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Golden = Callable[[str, str], None]


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("reach.txt", "reach-v3"),
        ("pick_place_terms.txt", "pick-place-v3 --policy pick_place --feedback terms"),
        ("pick_place_hindsight.txt", "pick-place-v3 --policy pick_place --feedback hindsight"),
        ("pick_place_expert.txt", "pick-place-v3 --policy pick_place --feedback expert"),
        ("cart_pole.txt", "CartPole-v1 --policy balance"),
    ],
)
def test_the_first_prompt_of_a_dry_run(golden: Golden, name: str, asked: str) -> None:
    hidden = ("OPENAI_", "TRACE_ROBOT_")
    environment = {key: text for key, text in os.environ.items() if not key.startswith(hidden)}
    command = f"-m trace_robot optimize {asked} --dry-run --episodes 2 --workers 1"
    done = subprocess.run(
        [sys.executable, *command.split()],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    golden(name, done.stdout.decode())
