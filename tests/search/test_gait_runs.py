"""Runs of the search over gaits: what they find, keep and leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trace_robot.cli import main
from trace_robot.policy import load_policy


@pytest.fixture(autouse=True)
def _no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_in_half_a_minute_the_swimmer_swims(tmp_path: Path) -> None:
    """Steps for half a minute of one quiet core: by steps, so that a loaded machine finds the same gait."""
    out = tmp_path / "run"
    arguments = (
        f"optimize Swimmer-v5 --task swim --optimizer search --seed 2 --steps 170000 --no-video --out {out}"
    )
    assert main([*arguments.split(), "--held-out", "10", "--workers", "2"]) == 0
    result = json.loads((out / "result.json").read_text())
    assert result["held_out_return"] >= 300.0
    names = {place.name for place in load_policy(out / "best.py").places}
    assert names & {"stride_hz", "gains"}


@pytest.mark.parametrize("budget", ["--steps 6000", "--iterations 1 --steps 9000"])
def test_whatever_budget_ends_a_race_before_its_first_rung_the_best_that_was_seen_comes_out(
    tmp_path: Path, budget: str
) -> None:
    out = tmp_path / "run"
    arguments = f"optimize HalfCheetah-v5 --task run --optimizer search {budget} --no-video --out {out}"
    more = "--env-arg horizon=500 --episodes 2 --held-out 2 --workers 1"
    assert main([*arguments.split(), *more.split()]) == 0
    assert "Found by search for HalfCheetah-v5" in (out / "best.py").read_text()
    result = json.loads((out / "result.json").read_text())
    assert result["best_iteration"] == 1
    assert result["held_out_return"] > 0.0, "doing nothing gives about -0.1"
