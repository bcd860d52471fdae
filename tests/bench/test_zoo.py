"""The zoo: controllers kept with their results, found by name, measured again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trace_robot.bench import ResultRow, read_rows
from trace_robot.bench.zoo import evaluate_zoo, file_name, header, write_zoo, zoo
from trace_robot.cli import main
from trace_robot.env.registry import environments
from trace_robot.errors import RunError, UnknownNameError
from trace_robot.policy import load_policy
from trace_robot.sandbox import check
from trace_robot.workspace import files

GOOD = """
def act(observation, memory):
    error = observation["goal_position"] - observation["hand_position"]
    return [*(10 * error).clip(-1, 1), 0.0]
"""
LAZY = "def act(observation, memory):\n    return [0.0] * 4\n"


@pytest.fixture
def workspace(point_mass: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new workspace with the point mass in it."""
    shutil.copytree(point_mass, tmp_path / "workspace", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(tmp_path / "workspace"))
    return tmp_path / "workspace"


@pytest.fixture
def kept(row: Callable[..., ResultRow], tmp_path: Path) -> Callable[..., ResultRow]:
    """Make a row together with its controller in the benchmark's folder."""

    def make(text: str, seed: int = 0, **more: Any) -> ResultRow:
        result = row("point-mass", seed, **more)
        (tmp_path / result.controller).parent.mkdir(exist_ok=True)
        (tmp_path / result.controller).write_text(text)
        return result

    return make


def test_the_best_controller_is_found_by_name_and_scores_what_its_header_says(
    finished: Path, workspace: Path
) -> None:
    rows = read_rows(finished / "results.jsonl")
    (path,) = write_zoo(rows, finished, workspace / "policies" / "zoo", workers=1)
    assert path.name == "point_mass.py"
    policy = load_policy("zoo/point_mass")
    assert policy.text.startswith('"""point-mass: success 1.00 on 50 held-out conditions')
    assert policy.control == "raw"
    assert "trace-robot bench --tasks point-mass --steps 4000 --seeds 0" in policy.text
    assert "act" in policy.values
    assert zoo()["point-mass"] == "zoo/point_mass"
    (report,) = evaluate_zoo(["point-mass"], workers=1)
    assert report.success == rows[0].success
    (other,) = evaluate_zoo(["point-mass"], episodes=5, seed=9, workers=1)
    assert {e.seed for e in other.episodes}.isdisjoint({e.seed for e in report.episodes})


def test_another_folder_of_policies_is_another_zoo(
    finished: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_rows(finished / "results.jsonl")
    write_zoo(rows, finished, workspace / "policies" / "mine", workers=1)
    for folder in ("mine", "policies/mine/"):
        assert zoo(folder)["point-mass"] == "mine/point_mass"
    assert main(["zoo", "--policy", "mine", "--episodes", "2", "--workers", "1", "--quiet"]) == 0
    assert "of 1 controller, 2 held-out episodes" in capsys.readouterr().out
    with pytest.raises(UnknownNameError, match="policies/none/ has no controller"):
        zoo("none")


def test_what_is_written_to_the_zoo_is_the_same_controller(finished: Path, workspace: Path) -> None:
    rows = read_rows(finished / "results.jsonl")
    before = (finished / rows[0].controller).read_text()
    (path,) = write_zoo(rows, finished, workspace / "policies" / "zoo", workers=1)
    body = before[before.index("CONTROL") :]
    assert "".join(body.split()) in "".join(path.read_text().split())
    assert check(path.read_text()) == []


def test_among_seeds_the_best_on_validation_conditions_is_chosen(
    kept: Callable[..., ResultRow], workspace: Path, tmp_path: Path
) -> None:
    rows = [kept(LAZY, 0, wins=50), kept(GOOD, 1, wins=40)]  # the held-out results must not decide
    (path,) = write_zoo(rows, tmp_path, workspace / "policies" / "zoo", workers=1)
    assert "clip" in path.read_text()
    assert "success 0.80 on 50" in path.read_text()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"feedback": "expert"}, "feedback level 'outcome' only"),
        ({"protocol": "paper"}, "use --protocol standard"),
    ],
)
def test_the_zoo_refuses_rows_with_more_feedback_or_a_changed_environment(
    kept: Callable[..., ResultRow], more: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=message):
        write_zoo([kept(GOOD, **more)], tmp_path, tmp_path / "zoo")


def test_the_command_measures_the_zoo(
    kept: Callable[..., ResultRow], workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_zoo([kept(GOOD)], tmp_path, workspace / "policies" / "zoo", workers=1)
    arguments = ["--tasks", "point-mass", "--episodes", "4", "--seed", "2", "--workers", "1"]
    assert main(["zoo", *arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["seed"], data["episodes"], data["mean_success"]) == (2, 4, 1.0)
    assert data["tasks"][0]["task"] == "point-mass"
    assert main(["zoo", *arguments]) == 0
    table = capsys.readouterr().out
    assert "mean success 1.000 of 1 controller," in table
    assert main(["evaluate", "zoo", *arguments]) == 0  # as 0.1.0 spelled it
    assert capsys.readouterr().out == table


def test_a_task_that_the_zoo_has_nothing_for_is_an_error(workspace: Path) -> None:
    (workspace / "policies" / "zoo").mkdir(parents=True)
    (workspace / "policies" / "zoo" / "point_mass.py").write_text(GOOD)
    with pytest.raises(UnknownNameError, match=r"did you mean 'point-mass'"):
        evaluate_zoo(["point-mas"])


@pytest.mark.parametrize("name", [name for name in files("policies") if name.startswith("zoo/")])
def test_every_controller_that_ships_passes_the_check_and_belongs_to_a_task(name: str) -> None:
    policy = load_policy(name)
    task = policy.text.removeprefix('"""').partition(":")[0]
    assert task in environments()
    assert name == f"zoo/{file_name(task)}"
    assert policy.control in ("raw", "pose")
    assert check(policy.text) == []
    assert "feedback level outcome" in " ".join(policy.text.split())


def test_the_header_of_a_robust_row_has_a_command_without_its_digest(row: Callable[..., ResultRow]) -> None:
    fixed = {"optimizer": "search", "protocol": "robust", "worlds": "0123456789abcdef", "steps": 5000}
    text = header(row(protocol="robust", fixed=fixed))
    assert "held-out conditions in worlds that differ (95 % interval" in text
    assert "--protocol robust --steps 5000 --seeds" in text
    assert "0123456789abcdef" not in text
