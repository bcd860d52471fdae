"""Runs of the search over laws: what they leave can be read, scored and improved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trace_robot.cli import main
from trace_robot.policy import load_policy

WORKSPACE = Path(__file__).parents[1] / "workspace"


@pytest.fixture(autouse=True)
def _workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(WORKSPACE))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_a_run_that_ends_before_the_first_rung_gives_the_best_that_was_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = f"optimize mass --optimizer search --steps 3000 --held-out 4 --no-video --out {out}"
    assert main([*arguments.split(), "--workers", "1"]) == 0
    result = json.loads((out / "result.json").read_text())
    assert result["ended"] == "3000 simulator steps spent"
    assert (result["iterations"], result["best_iteration"]) == (1, 1)
    assert result["training_success"] > result["start_success"] == 0.0
    assert "Found by search for mass" in (out / "best.py").read_text()
    assert "best so far, on 2 conditions" in capsys.readouterr().out


def test_where_nothing_has_a_position_the_search_finds_a_law_that_can_be_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, better = tmp_path / "run", tmp_path / "better"
    assert main(["optimize", "mass", "--out", str(out), "--workers", "2", "--no-video"]) == 0
    shown = capsys.readouterr().out
    assert "so the built-in search runs" in shown
    assert "solved on conditions that it was not tuned on" in " ".join(shown.split())
    result = json.loads((out / "result.json").read_text())
    assert result["optimizer"] == "search"
    assert result["held_out_return"] >= -11.0
    policy = load_policy(out / "best.py")
    gains = [place for place in policy.places if place.kind == "number"]
    by_name = {place.name: place for place in gains}
    last = [name for name in by_name if name.endswith(("gain_of_place", "gain_of_speed"))][-2:]
    assert [name.rpartition("gain_of_")[2] for name in last] == ["place", "speed"]
    assert all(by_name[name].value < 0 for name in last), "near the end it pushes back and brakes"
    assert by_name[last[0]].description == "force for each unit of place (where it is, m)"

    assert main(["evaluate", "mass", "--policy", str(out / "best.py"), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["mean_reward"] == result["held_out_return"]

    arguments = f"optimize mass --policy {out}/best.py --optimizer cma --steps 4000 --no-video --out {better}"
    assert main([*arguments.split(), "--workers", "2"]) == 0
    tuned = {place.name: place.value for place in load_policy(better / "best.py").places}
    assert set(tuned) == {place.name for place in policy.places}


def test_a_budget_too_small_for_a_race_gives_more_than_doing_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = f"optimize Swimmer-v5 --task swim --optimizer search --steps 40000 --no-video --out {out}"
    more = "--env-arg horizon=100 --held-out 4 --workers 1"
    assert main([*arguments.split(), *more.split()]) == 0
    assert "Found by search for Swimmer-v5" in (out / "best.py").read_text()
    result = json.loads((out / "result.json").read_text())
    assert result["training_return"] > result["start_return"] + 5.0, "doing nothing gives about 1.6"


def test_a_ball_on_a_plate_is_solved_by_its_error_though_no_speed_is_seen(tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = f"optimize plate --optimizer search --steps 450000 --held-out 20 --no-video --out {out}"
    assert main([*arguments.split(), "--workers", "2"]) == 0
    assert json.loads((out / "result.json").read_text())["held_out_success"] >= 0.9
    text = (out / "best.py").read_text()
    assert "gain_of_change_of_ball_position_x_from_target_position_x" in text
    assert 'memory["before_change_of_ball_position_x_from_target_position_x"] = now' in text
