"""The recordings that ship: a language model's own answers, with real rollouts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from trace_robot import optimize
from trace_robot.cli import main
from trace_robot.llm import RecordingModel, ScriptedModel
from trace_robot.workspace import recordings


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


ANSWER = """<change>go</change>
<variable name="act">
def act(observation, memory):
    return [*(10 * (observation["goal_position"] - observation["hand_position"])), 0.0]
</variable>"""


def test_a_recording_may_be_compressed_and_lie_anywhere(
    point_mass: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {
        "optimizer": "optoprime", "iterations": 1, "episodes": 1, "confirm": 0, "held_out": 2, "tune": False,
        "rules": 2, "grow": 0, "prompt": 2,
    }  # fmt: skip
    record = tmp_path / "record.jsonl"
    model = RecordingModel(ScriptedModel([ANSWER]), record)
    optimize("point-mass", model=model, out=tmp_path / "first", video=False, workers=0, **settings)
    (tmp_path / "mine.json").write_text(json.dumps({"settings": {"task": "point-mass", **settings}}))
    (tmp_path / "mine.jsonl.gz").write_bytes(gzip.compress(record.read_bytes()))
    arguments = ["--no-video", "--json", "--workers", "0"]
    for name in ("mine.json", "mine.jsonl.gz"):
        assert main(["replay", str(tmp_path / name), "--out", str(tmp_path / f"run-{name}"), *arguments]) == 0
        result = json.loads(capsys.readouterr().out)
        assert (result["model_calls"], result["held_out_success"]) == (1, 1.0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "alone.jsonl.gz",
            "alone.json' with the recording's settings; answers alone are replayed by: trace-robot",
        ),
        ("missing.json", "missing.json' with the recording's settings"),
        ("settings.json", "cannot read the record settings.jsonl: "),
    ],
)
def test_a_recording_without_one_of_its_files_is_one_line(
    name: str,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "settings.json").write_bytes(recordings()["reach"].read_bytes())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alone.jsonl.gz").write_bytes(gzip.compress(b""))
    assert main(["replay", name]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
