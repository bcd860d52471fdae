"""``stress RUN``: a run's best controller in other worlds, also where the run is a stranger's."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from trace_robot.cli import main
from trace_robot.store.history import History, RunInfo

MakeRun = Callable[..., RunInfo]
BATTERY = [
    {"name": "as it is"},
    {"name": "off", "observation_error": {"goal_position": 0.5}},
    {"name": "heavy", "mass": 2.0},
    {"name": "stays", "hold": "end"},
]


@pytest.fixture(autouse=True)
def workspace(point_mass: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "battery.json").write_text(json.dumps(BATTERY))
    (tmp_path / "one.json").write_text(json.dumps(BATTERY[:1]))


def stress(run: str | Path, *more: str, battery: str = "battery.json") -> int:
    return main(
        ["stress", str(run), "--battery", battery, "--episodes", "2", "--workers", "0", *map(str, more)]
    )


def change(folder: Path, **columns: Any) -> None:
    """Change the row of a run, as a stranger can."""
    with closing(sqlite3.connect(folder / "runs.sqlite")) as store:
        for name, value in columns.items():
            store.execute(f"UPDATE runs SET {name} = ?", (value,))
        store.commit()


def change_settings(run: RunInfo, **settings: Any) -> None:
    change(run.folder.parent, settings=json.dumps({**run.settings, **settings}))


@pytest.fixture
def strangers_run(tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> RunInfo:
    run = make_run(tmp_path / "runs", "demo")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another user"))
    return run


def test_a_run_is_stressed_by_the_beginning_of_its_name_and_the_report_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (
        "optimize point-mass --optimizer search --steps 4000 --held-out 2 --no-video --workers 0 --hold end"
    )
    (tmp_path / "rollouts" / "runs").mkdir(parents=True)
    folder = tmp_path / "rollouts" / "runs" / "demo"
    assert main([*asked.split(), "--out", str(folder), "--quiet"]) == 0
    capsys.readouterr()
    assert stress("dem") == 0
    printed = capsys.readouterr().out
    assert "shows no MuJoCo model" in printed
    assert f"written: {Path('rollouts/runs/demo/stress.json')}" in printed
    assert "look at it with: trace-robot report demo" in printed
    data = json.loads((folder / "stress.json").read_text())
    with History(folder.parent) as history:
        run = history.run("demo")
        best = [each for each in history.iterations(run) if each.better][-1]
    assert (data["task"], data["battery"], data["control"]) == ("point-mass", "battery", run.control)
    assert (data["iteration"], data["controller_sha256"]) == (best.number, best.digest)
    # The run's own hold is not that of the battery: only the world that asks for it has one.
    assert [row.get("hold") for row in data["rows"]] == [None, None, None, "end"]
    as_it_is, off = data["rows"][:2]
    assert as_it_is["success"] == 1.0 > off["success"]
    assert main(["report", "demo", "--quiet"]) == 0
    page = (folder / "report" / "index.html").read_text()
    assert "In other worlds" in page
    assert "Worst of 3 worlds: “off”" in page
    assert stress(folder, "--json") == 0
    assert json.loads(capsys.readouterr().out.partition("\n")[2]) == data


def test_the_videos_of_a_run_are_in_its_folder_and_on_its_page(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path, "demo", task="reach-v3")
    assert stress(run.folder, "--videos", battery="one.json") == 0
    assert json.loads((run.folder / "stress.json").read_text())["rows"][0]["video"] == "stress/00.mp4"
    assert (run.folder / "stress" / "00.mp4").stat().st_size > 10_000
    assert main(["report", str(run.folder), "--quiet"]) == 0
    assert (run.folder / "report" / "videos" / "stress-00.mp4").is_file()
    assert 'src="videos/stress-00.mp4"' in (run.folder / "report" / "index.html").read_text()


def test_nothing_is_written_through_a_link(
    tmp_path: Path, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("precious")
    run = make_run(tmp_path / "runs", "demo", task="reach-v3")
    (run.folder / "stress.json").symlink_to(precious / "file")
    assert stress(run.folder, battery="one.json") == 0
    assert not (run.folder / "stress.json").is_symlink()
    (run.folder / "stress").symlink_to(precious)
    capsys.readouterr()
    assert stress(run.folder, "--videos", battery="one.json") == 1
    printed = capsys.readouterr()
    assert "mean success" in printed.out  # what was measured is not lost with the file
    assert "symbolic link and is not followed" in printed.err
    assert [path.name for path in precious.iterdir()] == ["file"]
    assert (precious / "file").read_text() == "precious"


def test_the_controller_of_another_person_runs_locked_in(
    strangers_run: RunInfo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "mark"
    text = f"open({str(mark)!r}, 'w').close()\n\n\ndef act(observation):\n    return [0.0] * 4\n"
    with closing(sqlite3.connect(strangers_run.folder.parent / "runs.sqlite")) as store:
        store.execute("UPDATE iterations SET controller = ?", (text,))
        store.commit()
    (strangers_run.folder / "best.py").write_text(text)
    assert stress(strangers_run.folder, battery="one.json") == 0
    assert not mark.exists()
    (row,) = json.loads((strangers_run.folder / "stress.json").read_text())["rows"]
    assert row["ended"] == {"error": 2}
    assert stress(strangers_run.folder, "--trust") == 1
    assert "did not begin the run 'demo', so that --trust does not hold for it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "settings",
    [
        {"task": "{}/evil.py"},
        {"task": "evil:Evil-v0"},
        {"options": {"xml_file": "{}/evil.xml"}},
        {"control": "{}"},
    ],
)
def test_what_a_strangers_run_may_not_name_is_refused_in_one_line(
    settings: dict[str, Any], strangers_run: RunInfo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'mark')!r}, 'w').close()\n")
    named = json.loads(json.dumps(settings).replace("{}", str(tmp_path)))
    change_settings(strangers_run, **named)
    assert stress(strangers_run.folder) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "mark").exists()
    assert not (strangers_run.folder / "stress.json").exists()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"settings": '{"limits": 1}'}, "does not know"),
        ({"environment": '{"observation": [1]}'}, "'demo'"),
        ({"source": b"\xff"}, "does not know"),
    ],
)
def test_a_header_of_odd_values_is_one_line(
    columns: dict[str, Any], message: str, strangers_run: RunInfo, capsys: pytest.CaptureFixture[str]
) -> None:
    change(strangers_run.folder.parent, **columns)
    assert stress(strangers_run.folder) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["reach-v3"],
            "stress reach-v3 needs --policy NAME|FILE for an environment, or a run in its place: no run",
        ),
        (
            ["runs/demo", "--env-arg", "size=2"],
            "the environment is the run's; --task, --python and --env-arg need --policy",
        ),
        (
            ["runs/demo", "--hold", "end"],
            "stress takes neither --worlds nor --hold, got --hold: the battery sets them",
        ),
        (["point-mass", "--policy", "do_nothing", "--hold", "0"], "the battery sets them; write a --battery"),
        (
            ["point-mass", "--policy", "do_nothing", "--worlds", "signals"],
            "the battery sets them; write a --battery",
        ),
        (["point-mass", "--policy", "do_nothing", "--env-arg", "hold=end"], "the battery sets them; write a"),
        (
            ["runs/demo", "--videos", "there"],
            "videos of a run go into its folder; say --videos alone, got 'there'",
        ),
        (
            ["reach-v3", "--policy", "do_nothing", "--videos"],
            "--videos needs a folder, such as --videos failures",
        ),
        (["demo", "--runs", "nowhere"], "there are no runs in 'nowhere' yet"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    make_run: MakeRun,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_run(tmp_path / "runs", "demo")
    assert main(["stress", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_policy_or_an_environment_of_that_name_wins_over_the_beginning_of_a_run(
    tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "rollouts" / "runs"
    for name in ("do_nothing-good", "point-mass-1"):
        make_run(runs, name)
    for typed, message in (
        (
            "do_nothing",
            "needs --policy NAME|FILE for an environment, or a run in its place: 'do_nothing' is a",
        ),
        ("point-mass", "or a run in its place: no run is called 'point-mass'"),
    ):
        assert stress(typed) == 1
        assert message in capsys.readouterr().err
    assert not list(runs.glob("*/stress.json"))
    make_run(runs, "do_nothing")
    assert stress("do_nothing") == 1
    error = capsys.readouterr().err
    assert "'do_nothing' is both a run and a policy; for the run write rollouts/runs/do_nothing, for" in error
    assert stress("rollouts/runs/do_nothing", battery="one.json") == 0
    assert [path.parent.name for path in runs.glob("*/stress.json")] == ["do_nothing"]
    capsys.readouterr()
    assert stress("point-m", battery="one.json") == 0
    assert "point-m is the run point-mass-1" in capsys.readouterr().out


def test_why_a_world_is_not_possible_is_printed_once_below_the_table(
    tmp_path: Path, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "rollouts" / "runs", "demo")
    worlds = [BATTERY[0], {"name": "heavy", "mass": 2.0}, {"name": "light", "mass": 0.5}]
    (tmp_path / "battery.json").write_text(json.dumps(worlds))
    assert stress("demo") == 0
    printed = capsys.readouterr().out
    assert printed.count("not possible (1)") == 2
    assert printed.count("shows no MuJoCo model") == 1
