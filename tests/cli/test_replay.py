"""The recordings that ship: a language model's own answers, with real rollouts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trace_robot.cli import main
from trace_robot.cli.optimize import recordings


def test_the_recordings_of_the_three_tasks_ship() -> None:
    assert {"pick-place", "push", "reach"} <= set(recordings())


@pytest.mark.parametrize("name", ["pick-place", "push", "reach"])
def test_a_recorded_run_repeats_with_real_rollouts_and_without_a_key(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert main(["replay", name, "--out", str(tmp_path / "run"), "--no-video", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    recorded = json.loads(recordings()[name].read_text())["recorded"]
    assert {field: result[field] for field in recorded} == recorded
    assert result["start_success"] == 0.0
    assert result["held_out_success"] >= 0.95
    assert result["model_calls"] <= 10
    assert result["feedback_level"] == "outcome"


def test_a_prompt_that_differs_from_the_recorded_one_is_an_error_with_the_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = recordings()["reach"].with_suffix(".jsonl")
    arguments = f"optimize reach-v3 --episodes 4 --out {tmp_path / 'run'} --no-video --replay {record}"
    assert main(arguments.split()) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("trace-robot: error: ")
    assert "differs" in errors


def test_an_unknown_recording_is_one_line_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "pick-plase"]) == 1
    assert "did you mean 'pick-place'" in capsys.readouterr().err
