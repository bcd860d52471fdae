"""Stress: a battery of worlds for one controller, from the command line and from Python."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from trace_robot.bench.stress import STANDARD, Setting, settings_of, stress
from trace_robot.cli import main
from trace_robot.errors import TraceRobotError
from trace_robot.policy import Policy
from trace_robot.rollout import RolloutEngine

GOES = """
def act(observation):
    return [*(10 * (observation["goal_position"] - observation["hand_position"])).clip(-1, 1), 0.0]
"""
# It trusts that the goal is where it saw it first, to the last bit, as a table of known conditions would.
EXACT = """
import numpy as np

memory = {}

def act(observation):
    goal = observation["goal_position"]
    if not np.array_equal(memory.setdefault("goal", goal), goal):
        return [0.0, 0.0, 0.0, 0.0]
    return [*(10 * (goal - observation["hand_position"])).clip(-1, 1), 0.0]
"""
BATTERY = (
    Setting("nominal"),
    Setting("noise", {"observation_noise": {"positions": 0.005}}),
    Setting("heavy", {"mass": [1.5, 2.0]}),
    Setting("late", {"action_delay": 0.05}),
    Setting("stays", None, "end"),
)


def test_what_a_controller_bears_and_what_it_does_not() -> None:
    with RolloutEngine(0) as engine:
        good = stress(
            "reach-v3", Policy.from_text(GOES), control="raw", episodes=3, battery=BATTERY, engine=engine
        )
        exact = stress(
            "reach-v3", Policy.from_text(EXACT), control="raw", episodes=3, battery=BATTERY, engine=engine
        )
    assert [row.success for row in good.rows] == [1.0] * 5
    assert (good.worst.success, good.mean) == (1.0, 1.0)
    assert [row.success for row in exact.rows] == [1.0, 0.0, 1.0, 1.0, 1.0]
    assert exact.worst.setting.name == "noise"
    measures = good.rows[0].measures()
    assert 0 < measures["quality_final_distance"] < 0.05
    assert measures["quality_path_length"] > 0.05
    assert 0 < measures["quality_success_seconds"] < 2
    late = good.rows[3].measures()
    assert late["quality_success_seconds"] > measures["quality_success_seconds"]
    data = json.loads(json.dumps(exact.to_data(), allow_nan=False))
    assert data["worst"] == {"name": "noise", "success": 0.0}
    assert [row["name"] for row in data["rows"]] == [setting.name for setting in BATTERY]
    assert len(data["rows"][1]["failures"]) == 3
    assert "time ran out after 500 simulator steps" in data["rows"][1]["typical_failure"]


def test_a_world_that_changes_nothing_is_marked_in_text_and_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A delay that is shorter than a step of 12.5 ms looks passed and was not tried."""
    worlds = [
        {"name": "nominal"},
        {"name": "short", "action_delay": 0.001},
        {"name": "late", "action_delay": 0.05},
    ]
    (tmp_path / "mine.json").write_text(json.dumps([*worlds, {"name": "stays", "hold": "end"}]))
    (tmp_path / "goes.py").write_text(GOES)
    arguments = ["stress", "reach-v3", "--policy", str(tmp_path / "goes.py"), "--control", "raw"]
    arguments += ["--battery", str(tmp_path / "mine.json"), "--episodes", "2", "--workers", "0"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert [row.split()[0] for row in shown.splitlines() if row.split()[2:5] == ["no", "effect", "here"]] == [
        "short"
    ]
    assert "of 4 worlds, worst 1.00 (nominal); 1 had no effect here; battery mine" in shown
    assert main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row.get("no_effect", False) for row in rows] == [False, True, False, False]


def test_the_same_conditions_give_the_same_report() -> None:
    def report(workers: int) -> dict[str, Any]:
        with RolloutEngine(workers) as engine:
            return stress(
                "reach-v3", Policy.from_text(GOES), control="raw", episodes=2, battery=BATTERY, engine=engine
            ).to_data()

    assert report(0) == report(2)


def test_the_standard_battery_has_names_that_differ_and_worlds_that_are_possible() -> None:
    assert len({setting.name for setting in STANDARD}) == len(STANDARD)
    assert len(settings_of([{"name": each.name, **(each.world or {})} for each in STANDARD])) == len(STANDARD)


@pytest.fixture
def controller(tmp_path: Path) -> Path:
    path = tmp_path / "goes.py"
    path.write_text(GOES)
    return path


def test_an_environment_without_a_model_has_the_worlds_that_it_can_have(
    point_mass: None, controller: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    battery = tmp_path / "mine.json"
    battery.write_text(
        json.dumps(
            [
                {"name": "as it is"},
                {"name": "off", "observation_error": {"goal_position": 0.2}},
                {"name": "heavy", "mass": 2.0},
                {"name": "stays", "hold": "end"},
            ]
        )
    )
    command = [
        "stress",
        "point-mass",
        "--policy",
        str(controller),
        "--battery",
        str(battery),
        "--workers",
        "0",
    ]
    assert main([*command, "--episodes", "4", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    as_it_is, off, heavy, stays = data["rows"]
    assert (as_it_is["success"], stays["success"]) == (1.0, 1.0)
    assert off["success"] < 1.0
    assert "goal_position seen" in off["failures"][0]["world"]
    assert "shows no MuJoCo model" in heavy["left_out"]
    assert data["battery"] == "mine"
    assert main([*command, "--episodes", "4"]) == 0
    shown = capsys.readouterr().out
    assert "worst" in shown
    assert "shows no MuJoCo model" in shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "a battery must be a list of worlds"),
        ("[1]", "a battery must be a list of worlds"),
        ('[{"name": "a"}, {"name": "a"}]', "two worlds of the battery are called 'a'"),
        ('[{"mas": 2}]', "did you mean 'mass'"),
        (
            '[{"name": "a", "hold": "ends"}]',
            "hold of the world 'a' must be seconds, 0 or more, or 'end', got 'ends'",
        ),
        ('[{"name": "a", "hold": -1}]', "must be seconds, 0 or more, or 'end', got -1"),
        ('[{"name": "a", "hold": true}]', "must be seconds, 0 or more, or 'end', got True"),
        ('[{"name": "a", "hold": NaN}]', "must be seconds, 0 or more, or 'end', got nan"),
        (f'[{{"name": "a", "hold": 1{"0" * 400}}}]', "must be seconds, 0 or more, or 'end', got 1000"),
        ('[{"name": "a"}, {"name": "b", "observation_noise": {"hand": 1}}]', "no field of point-mass 'hand'"),
    ],
)
def test_a_battery_that_cannot_be_is_one_line(
    text: str,
    message: str,
    point_mass: None,
    controller: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    battery = tmp_path / "battery.json"
    battery.write_text(text)
    assert (
        main(
            ["stress", "point-mass", "--policy", str(controller), "--battery", str(battery), "--workers", "0"]
        )
        == 1
    )
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_without_a_policy_the_line_says_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stress", "reach-v3"]) == 1
    assert "stress reach-v3 needs --policy NAME|FILE" in capsys.readouterr().err


def test_hold_and_worlds_are_options_of_evaluate_and_of_a_run_that_resumes(
    point_mass: None, controller: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worlds = tmp_path / "worlds.json"
    worlds.write_text(json.dumps([{"name": "off", "observation_error": {"goal_position": 0.3}}]))
    plain = [
        "evaluate",
        "point-mass",
        "--policy",
        str(controller),
        "--workers",
        "0",
        "--json",
        "--episodes",
        "10",
    ]
    assert main(plain) == 0
    assert json.loads(capsys.readouterr().out)["success"] == 1.0
    assert main([*plain, "--worlds", str(worlds)]) == 0
    assert json.loads(capsys.readouterr().out)["success"] < 0.5
    assert main([*plain, "--hold", "end"]) == 0
    assert json.loads(capsys.readouterr().out)["success"] == 1.0
    with pytest.raises(SystemExit):
        main([*plain, "--hold", "-1"])
    assert "must be a number of seconds or end" in capsys.readouterr().err
    options = [
        "--optimizer",
        "search",
        "--iterations",
        "2",
        "--steps",
        "4000",
        "--held-out",
        "5",
        "--no-video",
    ]
    run = [
        sys.executable,
        "-m",
        "trace_robot",
        "optimize",
        "point-mass",
        *options,
        "--out",
        "run",
        "--worlds",
        str(worlds),
    ]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    stored = json.loads((tmp_path / "run" / "result.json").read_text())
    assert stored["held_out_episodes"] == 5


def test_a_stress_of_nothing_possible_is_refused(point_mass: None) -> None:
    with (
        RolloutEngine(0) as engine,
        pytest.raises(TraceRobotError, match="can have no setting of the battery"),
    ):
        stress(
            "point-mass", Policy.from_text(GOES), battery=(Setting("heavy", {"mass": 2.0}),), engine=engine
        )


def test_the_rows_have_the_worlds_of_the_battery_and_not_those_of_the_options(point_mass: None) -> None:
    theirs = {"world": {"observation_error": {"goal_position": 0.5}}, "hold": "end", "horizon": 30}
    battery = (Setting("nominal"), Setting("stays", None, "end"))
    with RolloutEngine(0) as engine:
        plain, given = (
            stress(
                "point-mass",
                Policy.from_text(GOES),
                episodes=4,
                battery=battery,
                options=options,
                engine=engine,
            )
            for options in ({"horizon": 30}, theirs)
        )
    assert given.rows[0].success == 1.0
    assert given.to_data() == plain.to_data()
    assert given.to_data()["options"] == {"horizon": 30}


@pytest.mark.parametrize("fault", ["breaks", "raises"])
def test_a_world_in_which_the_environment_fails_every_time_is_an_error_and_no_success_of_0(
    fault: str, point_mass: None, controller: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    battery = tmp_path / "battery.json"
    battery.write_text(json.dumps([{"name": "as it is"}]))
    command = ["stress", f"point-mass-that-{fault}", "--policy", str(controller), "--battery", str(battery)]
    assert main([*command, "--episodes", "2", "--workers", "0"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "in the world 'as it is' the environment failed in every one of 2 episodes" in printed.err
    assert printed.err.count("\n") == 1


def test_what_an_environment_lacks_is_a_row_that_says_so(point_mass: None) -> None:
    battery = (
        Setting("as it is"),
        Setting("heavy", {"mass": 2.0}),
        Setting("off", {"observation_error": {"positions": 0.1}}),
        Setting("late", {"action_delay": 0.1}),
        Setting("stays", None, 0.5),
    )
    still = Policy.from_text("def act(observation):\n    return [0.0]\n")
    with RolloutEngine(0) as engine:
        report = stress("mass", still, episodes=1, battery=battery, engine=engine)
    reasons = [row.left_out for row in report.rows]
    lacks = ("shows no MuJoCo model", "names no positions", "how long a step is", "cannot be held")
    assert reasons[0] == ""
    assert all(lack in reason for lack, reason in zip(lacks, reasons[1:], strict=True))


@pytest.fixture
def small_zoo(
    point_mass: Path, controller: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """A zoo of two controllers, of which the environment of one breaks, and a command without its task."""
    workspace = tmp_path / "workspace"
    shutil.copytree(point_mass, workspace, ignore=shutil.ignore_patterns("__pycache__"))
    (workspace / "policies" / "zoo").mkdir(parents=True)
    for name in ("point_mass", "point_mass_that_breaks"):
        shutil.copy(controller, workspace / "policies" / "zoo" / f"{name}.py")
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(workspace))
    battery = tmp_path / "battery.json"
    battery.write_text(json.dumps([{"name": "as it is"}, {"name": "heavy", "mass": 2.0}]))
    return ["stress", "--battery", str(battery), "--episodes", "2", "--workers", "0"]


def test_a_controller_of_the_zoo_that_fails_does_not_take_the_others_with_it(
    small_zoo: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    both = [*small_zoo, "zoo", "--tasks", "point-mass-that-breaks,point-mass"]
    assert main(both) == 1
    printed = capsys.readouterr()
    assert "mean success 1.000 of 1 controller" in printed.out
    assert "as it is" in printed.out
    assert "1 of 2 controllers have no report: point-mass-that-breaks: in the world 'as it is'" in printed.err
    assert printed.err.count("\n") == 1
    assert main([*both, "--json"]) == 1
    assert [report["task"] for report in json.loads(capsys.readouterr().out)] == ["point-mass"]
    assert main([*small_zoo, "zoo", "--tasks", "point-mass-that-breaks"]) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)


def test_quiet_leaves_the_mean_of_the_zoo_only(
    small_zoo: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*small_zoo, "zoo", "--tasks", "point-mass", "--quiet"]) == 0
    assert capsys.readouterr().out == "mean success 1.000 of 1 controller\n"


def test_the_bar_ends_full_also_where_rows_are_left_out_and_a_controller_fails(
    small_zoo: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[Progress] = []

    def create(*_: Any) -> Progress:
        bars.append(Progress(disable=True))
        return bars[-1]

    monkeypatch.setattr("trace_robot.cli.progress.create_progress", create)
    for tasks in ("point-mass", "point-mass-that-breaks", "point-mass,point-mass-that-breaks"):
        main([*small_zoo, "zoo", "--tasks", tasks])
        (task,) = bars[-1].tasks
        assert (task.completed, task.total) == (4 * len(tasks.split(",")),) * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["zoo", "--tasks", "point-mass", "--policy", "do_nothing"],
            "policies/do_nothing/ has no controller that is named after a task",
        ),
        (
            ["point-mass", "--policy", "do_nothing", "--tasks", "point-mass"],
            "--tasks needs zoo in the place of",
        ),
    ],
)
def test_options_of_the_zoo_and_of_a_controller_are_not_mixed(
    arguments: list[str], message: str, small_zoo: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*small_zoo, *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
