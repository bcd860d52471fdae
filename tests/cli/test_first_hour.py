"""The first hour of a new user: what the screen says where something is not as it was meant."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from helpers import two_link
from helpers.interpreters import create
from trace_robot import evaluate
from trace_robot.cli.main import main

PENDULUM = """
from trace_robot import Environment, part

ENVIRONMENTS = [
    Environment(
        "InvertedPendulum-v5",
        "Keep the pole upright.",
        name="pendulum",
        observation=[part("cart", 1, "m"), part("pole", 1, "rad"), part("rates", 2)],
        return_threshold={threshold},
        horizon=40,
    )
]
"""
MINE = """
from trace_robot import Bounds, bundle, node

gain = node(1.0, name="gain", trainable=True, constraint=Bounds(-10, 10))


@bundle(trainable=True)
def act(observation, memory):
    return [gain.data * observation["pole"]]
"""
BUDGET = ["--steps", "1200", "--held-out", "3", "--no-video", "--workers", "1"]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with a pendulum that no controller solves, and a policy for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACE_ROBOT_WORKSPACE", raising=False)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "pendulum.py").write_text(PENDULUM.format(threshold=1e9))
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def test_a_run_that_tuned_no_number_says_so_at_its_end_and_when_deployed(
    place: Path, capsys: Capture
) -> None:
    out = "rollouts/runs/cart"
    assert main(["optimize", "pendulum", "--policy", "mine.py", "--out", out, *BUDGET]) == 0
    screen = capsys.readouterr().out
    assert "tuned no number of mine.py (gain); what tunes them: trace-robot optimize pendulum" in screen
    assert "--policy mine.py --optimizer cma" in screen
    assert "with twice the budget" in screen
    assert main(["deploy", "cart", "--to", "python", "--out", "deployed"]) == 0
    shown = capsys.readouterr().err
    assert (
        "note: cart, iteration 1 is written all the same: it succeeded in none of 3 held-out episodes"
        in shown
    )
    assert Path("deployed/controller.py").is_file()
    for name in ("cart", out, str(place / out)):
        assert main(["evaluate", "pendulum", "--policy", name]) == 1
        assert f"no policy {name!r}, which is a run; give '" in (shown := capsys.readouterr().err)
        assert f"{out}/best.py', its best" in shown


def test_a_solved_run_offers_no_larger_budget_and_no_tuning(place: Path, capsys: Capture) -> None:
    (place / "envs" / "pendulum.py").write_text(PENDULUM.format(threshold=5.0))
    out = "rollouts/runs/solved"
    assert main(["optimize", "pendulum", "--policy", "mine.py", "--out", out, *BUDGET]) == 0
    screen = capsys.readouterr().out
    assert "success 1.00" in screen
    assert "with twice the budget" not in screen
    assert "tuned no number" not in screen
    for command in ("show solved", "report solved", "deploy solved --to python --out robot"):
        assert f"  trace-robot {command}\n" in screen
    assert main(["deploy", "solved", "--to", "python", "--out", "deployed"]) == 0
    assert "note" not in capsys.readouterr().err


def test_a_policy_of_another_environment_is_noticed_before_it_is_scored(place: Path, capsys: Capture) -> None:
    assert main(["evaluate", "pendulum", "--policy", "balance", "--episodes", "2"]) == 1
    shown = capsys.readouterr().out
    assert (
        "balance reads pole_angle, pole_velocity, cart_position, cart_velocity, which pendulum does not"
        in shown
    )
    assert "(it shows cart, pole, rates); is it a policy of another environment?" in shown
    asks = 'if "wind" in observation:\n        observation["pole"] = observation["wind"]\n    return'
    (place / "asks.py").write_text(MINE.replace("return", asks))
    for policy in ("mine.py", "asks.py"):
        assert main(["evaluate", "pendulum", "--policy", policy, "--episodes", "2"]) == 0
        assert "another environment" not in capsys.readouterr().out
    optimize = ["optimize", "pendulum", "--policy", "balance", "--out", "run"]
    assert main([*optimize, "--optimizer", "cma", *BUDGET]) == 0
    screen = " ".join(capsys.readouterr().out.split())
    assert "balance reads pole_angle" in screen
    assert "every episode of the starting controller ended with an error, line" in screen
    assert "no other controller got further: KeyError: 'pole_angle'" in screen


def test_evaluate_exits_with_3_where_less_succeeds_than_required(place: Path) -> None:
    command = ["evaluate", "pendulum", "--policy", "mine.py", "--episodes", "2", "--workers", "1"]
    assert main([*command, "--require", "50%"]) == 3
    assert main([*command, "--require", "0"]) == 0


def test_a_class_of_a_file_is_opened_by_a_plug_in(place: Path, capsys: Capture) -> None:
    for command in (["evaluate", "my sim.py:Cart", "--policy", "mine.py"], ["check-env", "my sim.py:Cart"]):
        assert main(command) == 1
        captured = capsys.readouterr()
        shown = " ".join(f"{captured.out} {captured.err}".split())
        assert "a plug-in opens: trace-robot init --env 'my sim.py:Cart' --write envs/NAME.py" in shown


def test_a_report_prints_as_one_line(place: Path) -> None:
    report = evaluate("pendulum", "mine.py", episodes=2, workers=0)
    assert str(report) == "mine.py in pendulum: success 0.00 of 2 held-out episodes (95 % 0.00 to 0.66)"
    assert len(repr(report)) < 300
    assert "array" not in repr(report.episodes[0])


@pytest.mark.skipif(os.name != "posix", reason="other interpreters need Linux or macOS")
def test_an_interpreter_is_found_on_path_by_its_name(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    python = Path(create(place / "theirs"))
    python.with_name("their-python").symlink_to(python)
    monkeypatch.setenv("PATH", f"{python.parent}{os.pathsep}{os.environ['PATH']}")
    assert main(["check-env", "pendulum", "--python", "their-python"]) == 0
    assert f"it runs in {python.with_name('their-python')}" in capsys.readouterr().out


def test_any_folder_of_controllers_is_a_zoo(place: Path, capsys: Capture) -> None:
    shipped = Path(__file__).parents[2] / "policies" / "zoo" / "reach_v3.py"
    elsewhere = place / "theirs"
    elsewhere.mkdir()
    shutil.copy(shipped, elsewhere)
    for folder in (str(elsewhere), "theirs", "./theirs/"):
        assert main(["zoo", "--policy", folder, "--episodes", "1", "--workers", "1"]) == 0
        assert "of 1 controller" in capsys.readouterr().out
    assert main(["zoo", "--policy", str(place / "none")]) == 1
    shown = capsys.readouterr().err
    assert f"{place / 'none'} has no controller that is named after a task" in shown
    assert "policies/" not in shown


def test_optimize_and_check_env_have_one_name_for_what_moves_a_hand(place: Path, capsys: Capture) -> None:
    two_link.write(place, quick=True)
    assert main(["check-env", "two-link"]) == 0
    assert "hand 'hand': a measured Jacobian over 2 numbers" in capsys.readouterr().out
    assert main(["optimize", "two-link", "--out", "run", *BUDGET]) == 0
    assert "pose: one hand found, moved by a measured Jacobian" in capsys.readouterr().out


def test_optimize_says_why_a_hand_was_not_found_as_check_env_does(place: Path, capsys: Capture) -> None:
    two_link.write(place, deaf=True)
    assert main(["check-env", "two-link"]) == 0
    checked = " ".join(capsys.readouterr().out.split())
    assert main(["optimize", "two-link", "--out", "run", *BUDGET]) == 0
    screen = " ".join(capsys.readouterr().out.split())
    reason = screen.partition("tip is no hand that can be moved: ")[2].partition(" training ")[0]
    assert len(reason) > 20
    assert f"tip is no hand that the search can move: {reason}" in checked


def test_a_draft_has_angles_rates_goal_and_horizon_as_observed(place: Path, capsys: Capture) -> None:
    two_link.write(place)
    write = ["init", "--env", "two_link.py:TwoLink", "--write", "envs/draft.py", "--task", "Reach."]
    for bounds, first in (("True", 'part("angles", 2, "rad"'), ("False", 'part("observation_0", 2)')):
        assert main([*write, "--force", "--env-arg", f"bounded={bounds}"]) == 0
        draft = Path("envs/draft.py").read_text()
        assert first in draft
        assert ("angular_velocities" if bounds == "True" else "observation_0_rate") in draft
        assert 'part("goal", 2),  # ?' in draft
        assert 'part("time_left", 1, "", "1 less after every step")' in draft
        assert "horizon=100,  # ? all of 5 random episodes were cut off" in draft
    capsys.readouterr()
    assert main(["check-env", "envs/draft.py"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "init --env could not tell what it is; its source or its documentation does" in shown
    assert "measures a draft" not in shown


def test_curves_of_several_runs_are_numbered_where_there_are_no_colors(place: Path, capsys: Capture) -> None:
    for name in ("one", "two"):
        out = f"rollouts/runs/{name}"
        assert main(["optimize", "pendulum", "--policy", "mine.py", "--out", out, *BUDGET]) == 0
    capsys.readouterr()
    assert main(["compare", "one", "two"]) == 0
    _, _, plot = capsys.readouterr().out.partition("the best so far: 1 one, 2 two\n")
    assert {"1", "2"} & set("".join(row.partition("│")[2] for row in plot.splitlines()))


def test_guesses_of_a_draft_are_counted_until_their_marks_are_gone(place: Path, capsys: Capture) -> None:
    file = place / "envs" / "pendulum.py"
    file.write_text(file.read_text().replace("    horizon=40,", "    horizon=40,  # ? it ended so"))
    assert main(["check-env", "pendulum"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "pendulum.py has guesses of init --env that were not looked at: 1" in shown


def test_an_index_in_place_of_a_name_is_answered_with_the_names(place: Path, capsys: Capture) -> None:
    Path("index.py").write_text("def act(observation, memory):\n    return [observation[0]]\n")
    assert main(["evaluate", "pendulum", "--policy", "index.py", "--episodes", "1", "--workers", "1"]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "KeyError: 0; an observation is a dict of cart, pole, rates" in shown
