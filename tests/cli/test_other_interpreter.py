"""``--python``: every command works with it, and a stranger's run cannot choose the interpreter."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.interpreters import create
from helpers.kills import Killed, killing
from trace_robot import evaluate
from trace_robot.cli.main import main
from trace_robot.errors import RunError, UsageError, WorkspaceError
from trace_robot.run.loop import Progressed
from trace_robot.run.optimize import optimize, resume
from trace_robot.spec import Array
from trace_robot.store.history import History

pytestmark = pytest.mark.skipif(os.name != "posix", reason="other interpreters need Linux or macOS")
TASK = "Keep the pole up."


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return create(tmp_path_factory.mktemp("full") / "venv")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACE_ROBOT_WORKSPACE", raising=False)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def search(out: Path, python: str | None, **more: Any) -> Any:
    budget = {"steps": 1200, "episodes": 3, "held_out": 4, **more}
    options = {"task": TASK} if python is None else {"task": TASK, "python": python}
    return optimize(
        "CartPole-v1",
        out=out,
        optimizer="search",
        options=options,
        **budget,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, python: str) -> Any:
    """The result of a run there that nothing disturbed, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TRACE_ROBOT_WORKSPACE", raising=False)
        patch.chdir(tmp_path_factory.mktemp("whole"))
        return search(Path("runs", "run").absolute(), python, workers=0)


def test_a_run_ends_as_it_does_in_one_interpreter_with_any_number_of_workers(
    own: Path, python: str, whole: Any
) -> None:
    here = search(own / "a" / "here", None, workers=0)
    for there in (whole, search(own / "a" / "there2", python, workers=2)):
        assert there.held_out_return == here.held_out_return
        assert there.environment_steps == here.environment_steps
    assert (own / "a" / "here" / "best.py").read_text() == (own / "a" / "there2" / "best.py").read_text()


def test_a_run_there_is_resumed_and_drawn(
    own: Path,
    python: str,
    whole: Any,
    frames_of: Callable[[Path], Array],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(Killed):
        search(own / "runs" / "run", python, workers=1, on_event=killing(Progressed, 10))
    assert main(["resume", "run", "--runs", "runs", "--quiet"]) == 0
    with History(own / "runs") as history:
        result = history.run("run").result
    assert result is not None
    assert result["held_out_return"] == whole.held_out_return
    assert main(["video", "run", "--runs", "runs", "--contact-sheet", "--out", "sheet.png"]) == 0
    assert frames_of(own / "sheet.png").std() > 5  # not one color
    capsys.readouterr()


def test_an_interpreter_that_has_moved_is_given_to_resume(
    own: Path, python: str, whole: Any, tmp_path: Path
) -> None:
    moved = tmp_path / "venv"
    moved.symlink_to(Path(python).parents[1])
    with pytest.raises(Killed):
        search(
            own / "runs" / "run", str(moved / "bin" / "python"), workers=0, on_event=killing(Progressed, 10)
        )
    moved.unlink()
    with pytest.raises(WorkspaceError, match="there is no interpreter"):
        resume(own / "runs" / "run")
    result = resume(own / "runs" / "run", python=python)
    assert result.held_out_return == whole.held_out_return


def test_a_run_without_an_interpreter_is_given_none(own: Path, python: str) -> None:
    with pytest.raises(Killed):
        search(own / "runs" / "run", None, workers=0, on_event=killing(Progressed, 10))
    with pytest.raises(RunError, match="was not in an interpreter given by --python; leave it out"):
        resume(own / "runs" / "run", python=python)


def test_a_strangers_run_does_not_choose_the_interpreter(
    own: Path,
    python: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    theirs = tmp_path / "their-python"
    theirs.symlink_to(python)  # it works, as it is to be run where it must not be
    mark = tmp_path / "it ran"
    theirs.unlink()
    theirs.write_text(f'#!/bin/sh\ntouch {str(mark)!r}\nexec {python} "$@"\n')
    theirs.chmod(0o755)
    with pytest.raises(Killed):
        search(own / "runs" / "run", str(theirs), workers=1, on_event=killing(Progressed, 10))
    assert mark.exists()
    mark.unlink()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another user"))

    refused = (
        f"the run would start the interpreter {str(theirs)!r}, and only you may choose one: resume it with"
    )
    for arguments in (["resume", "run"], ["resume", "run", "--yes"], ["video", "run"], ["stress", "run"]):
        assert main([*arguments, "--runs", "runs"]) == 1
        assert refused in capsys.readouterr().err
    assert not mark.exists()

    assert main(["resume", "run", "--runs", "runs", "--python", python]) == 1
    asked = capsys.readouterr().err
    assert f"it would run the environment in {python} (the run names {str(theirs)!r})" in asked
    assert "if that is wanted, say --yes" in asked
    assert main(["resume", "run", "--runs", "runs", "--python", python, "--yes", "--quiet"]) == 0
    assert not mark.exists()


def test_evaluate_render_and_check_env_take_it(
    own: Path, python: str, frames_of: Callable[[Path], Array], capsys: pytest.CaptureFixture[str]
) -> None:
    env = ["--env", "CartPole-v1", "--task", TASK]
    common = ["--policy", "do_nothing", "--episodes", "2", "--workers", "0"]
    results = []
    for extra in ([], ["--python", python]):
        assert main(["evaluate", *env, *common, "--json", *extra]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0]["conditions"] == results[1]["conditions"]
    assert main(["render", *env, *common, "--python", python, "--out", "one.mp4"]) == 0
    assert len(frames_of(own / "one.mp4")) > 5
    capsys.readouterr()
    assert main(["check-env", *env, "--python", python, "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    texts = {finding["check"]: finding for finding in report["findings"]}
    assert texts["python"]["text"].startswith(f"it runs in {python}: python 3.")
    assert texts["state"]["verdict"] == texts["picture"]["verdict"] == "good"


def test_a_relative_path_is_that_of_the_folder_one_is_in(
    own: Path, python: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "env").symlink_to(Path(python).parents[1])
    assert main(["check-env", "--env", "CartPole-v1", "--task", TASK, "--python", "env/bin/python"]) == 0
    assert f"it runs in {own / 'env' / 'bin' / 'python'}" in capsys.readouterr().out.replace("\n", "")
    assert (
        main(["evaluate", "--env", "CartPole-v1", "--task", TASK, "--policy", "do_nothing", "--python", "no"])
        == 1
    )
    assert f"there is no interpreter {str(own / 'no')!r}" in capsys.readouterr().err


def test_a_plug_in_of_functions_takes_no_interpreter(
    own: Path, python: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "reach-v3", "--policy", "do_nothing", "--python", python]) == 1
    assert "no option of reach-v3 'python'" in capsys.readouterr().err


def test_a_controller_is_driven_in_another_interpreter(
    own: Path, python: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (own / "still.py").write_text("def act(observation):\n    return [0.0]\n")
    env = ["--env", "CartPole-v1", "--python", python]
    assert main(["deploy", "still.py", *env, "--to", "python", "--out", "robot", "--quiet"]) == 0
    written_with = json.loads((own / "robot" / "contract.json").read_text())["written_with"]
    assert "environment.python" in written_with
    assert "mujoco" not in written_with
    drive = ["drive", "robot", "--simulate", "CartPole-v1", "--speed", "4", "--json", "--python"]
    capfd.readouterr()
    assert main([*drive, python]) == 0
    assert json.loads(capfd.readouterr().out)["steps"] > 5
    assert main([*drive, "no/python"]) == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert f"the driver cannot go on: there is no interpreter {str(own / 'no' / 'python')!r}" in line


def test_python_is_a_setting_relative_to_the_working_directory(own: Path, python: str) -> None:
    (own / "env").symlink_to(Path(python).parents[1])
    common: dict[str, Any] = {
        "optimizer": "search",
        "steps": 100,
        "episodes": 1,
        "held_out": 1,
        "video": False,
    }
    for name, given in (
        ("a", {"python": "env/bin/python"}),
        ("b", {"options": {"python": "env/bin/python"}}),
    ):
        optimize("CartPole-v1", out=own / "runs" / name, workers=0, **common, **given)
        stored = json.loads((own / "runs" / name / "settings.json").read_text())
        assert stored["options"] == {"python": str(own / "env" / "bin" / "python")}
        found = json.loads((own / "runs" / name / "result.json").read_text())["versions"]
        assert found == stored["versions"]
        assert found["environment.python"] == platform.python_version()
        assert {"environment.gymnasium", "environment.numpy", "numpy"} <= found.keys()
        assert not {"metaworld", "mujoco", "openai"} & found.keys()  # it uses none of them
    report = evaluate("CartPole-v1", "do_nothing", episodes=1, workers=0, python=Path("env", "bin", "python"))
    assert report.faults == []
    assert report.to_data()["versions"]["environment.python"] == platform.python_version()
    with pytest.raises(WorkspaceError, match=f"there is no interpreter '{own}/no'"):
        evaluate("CartPole-v1", "do_nothing", episodes=1, workers=0, python="no")
    with pytest.raises(UsageError, match=r"python='a' and options name an interpreter, 'b'; leave one out"):
        optimize("CartPole-v1", python="a", options={"python": "b"})


def test_a_missing_package_is_met_with_the_interpreter_of_the_policys_run(
    own: Path, python: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    search(own / "runs" / "a", python, workers=0, steps=100, episodes=1, held_out=1, video=False)
    (own / "envs").mkdir()
    (own / "envs" / "mine.py").write_text(
        "from trace_robot import Environment\nENVIRONMENTS = [Environment('nothing_of_this_name:Arm-v0', 'Reach.')]\n"
    )
    line = ["evaluate", "Arm-v0", "--policy", "runs/a/best.py", "--workers", "0"]
    other = "or run it in another interpreter: --python PATH (docs/other-interpreter.md)"
    hint = f": pip install nothing_of_this_name, {other}"
    assert main(line) == 1
    assert capsys.readouterr().err.endswith(f"{hint}; the run a had --python {python}\n")
    monkeypatch.setenv("XDG_STATE_HOME", str(own / "another user"))
    assert main(line) == 1
    assert capsys.readouterr().err.endswith(f"{hint}\n")  # a stranger's run names no interpreter


def test_a_draft_names_an_interpreter_of_the_workspace_from_its_file(
    own: Path, python: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "env").symlink_to(Path(python).parents[1])
    line = ["init", "--env", "CartPole-v1", "--write", "envs/mine.py", "--python"]
    assert main([*line, "envs/../env/bin/python"]) == 0
    assert 'python="../env/bin/python"' in (own / "envs" / "mine.py").read_text()
