"""What init makes is a workspace in which everything works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from trace_robot.cli import main
from trace_robot.cli.main import create_parser


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that init has filled, as working directory."""
    monkeypatch.delenv("TRACE_ROBOT_WORKSPACE", raising=False)
    folder = tmp_path / "robot"
    assert main(["init", str(folder)]) == 0
    monkeypatch.chdir(folder)
    return folder


def test_a_workspace_has_one_example_of_each_thing(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {path.name for path in workspace.iterdir()} == {
        "README.md",
        ".gitignore",
        "envs",
        "policies",
        "rollouts",
    }
    assert main(["envs", "slider"]) == 0
    assert "Bring the cart to the mark" in capsys.readouterr().out


def test_the_example_passes_the_check_and_its_controller_is_optimized(
    workspace: Path, tmp_path: Path
) -> None:
    assert main(["check-env", "slider"]) == 0
    run = tmp_path / "run"
    arguments = "optimize slider --policy slider --steps 30000 --held-out 10 --workers 1 --no-video --quiet"
    assert main([*arguments.split(), "--out", str(run)]) == 0
    assert (
        main(["render", "slider", "--policy", str(run / "best.py"), "--out", str(tmp_path / "slider.mp4")])
        == 0
    )
    assert (tmp_path / "slider.mp4").stat().st_size > 1000


def test_the_example_in_python_runs(workspace: Path) -> None:
    script = workspace / "rollouts" / "slider.py"
    script.write_text(script.read_text().replace("seconds=20.0", "steps=30_000"))
    done = subprocess.run([sys.executable, script], cwd=workspace, capture_output=True, text=True, check=True)
    before, after = (float(number) for number in re.findall(r"\d\.\d\d", done.stdout)[::-1])
    assert after > before


def test_every_command_of_its_readme_can_be_typed(workspace: Path) -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", (workspace / "README.md").read_text(), re.S)
    commands = [line.partition("#")[0].split() for line in block.splitlines()]
    assert len(commands) == 4
    for program, *arguments in commands:
        assert program == "trace-robot"
        create_parser().parse_args(shlex.split(" ".join(arguments)))


def test_nothing_that_exists_is_replaced(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace / "policies" / "slider.py").write_text("mine")
    assert main(["init", str(workspace)]) == 1
    assert "exists, and nothing is replaced; give an empty or a new folder" in capsys.readouterr().err
    assert (workspace / "policies" / "slider.py").read_text() == "mine"
    (workspace / "file").write_text("")
    assert main(["init", str(workspace / "file")]) == 1
    assert "cannot make a workspace in" in capsys.readouterr().err


def test_a_folder_with_files_is_asked_about_and_without_a_terminal_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["init", "."]) == 1
    assert "'.' is not empty, it has 1 file, and nothing is written" in capsys.readouterr().err
    assert not (tmp_path / "envs").exists()
    asked: list[str] = []

    def answer(title: str, plan: list[str]) -> bool:
        asked.extend([title, *plan])
        return len(asked) > 2

    monkeypatch.setattr("trace_robot.cli.workspace.confirm", answer)
    assert main(["init", "."]) == 1
    assert asked == [
        ". has 1 file already",
        "write .gitignore, README.md, envs, policies, rollouts beside them",
    ]
    assert main(["init", "."]) == 0
    assert (tmp_path / "envs").is_dir()


def test_yes_writes_unasked_and_a_folder_of_git_alone_counts_as_empty(tmp_path: Path) -> None:
    for name, words in (("full", ["--yes"]), ("fresh", [])):
        folder = tmp_path / name
        (folder / ".git").mkdir(parents=True)
        if name == "full":
            (folder / "notes").touch()
        assert main(["init", str(folder), *words]) == 0
