"""A command as a model: what it gets, what it may cost, how it fails, and runs of it that are resumed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from trace_robot.cli import main
from trace_robot.errors import ModelError, RunError, UnknownModelError, UsageError
from trace_robot.llm import CommandModel, ModelConfig, read_record
from trace_robot.llm.model import system, user
from trace_robot.run.loop import Event, Iterated
from trace_robot.run.optimize import optimize, resume
from trace_robot.store.history import History

ANSWER = """\
<reasoning>It keeps still.</reasoning>
<variable name="act">
def act(observation, memory):
    far = observation["goal_position"] - observation["hand_position"]
    return [10 * far[0], 10 * far[1], 10 * far[2], 0.0]
</variable>
<change>go there</change>
"""
LITTLE: dict[str, Any] = {
    "episodes": 2,
    "confirm": 0,
    "held_out": 2,
    "workers": 0,
    "video": False,
    "tune": False,
}


def program(folder: Path, source: str, name: str = "proposer.py") -> str:
    """Write a program of Python, and return the command that runs it."""
    path = folder / name
    path.write_text(source)
    return f"{sys.executable} '{path}'"


def answering(folder: Path) -> str:
    """A command that answers with a controller, and counts how often it ran."""
    (folder / "answer").write_text(ANSWER)
    return program(
        folder,
        f"import pathlib, sys\nfolder = pathlib.Path({str(folder)!r})\n"
        "with (folder / 'calls').open('a') as file:\n    file.write('x')\n"
        "(folder / 'prompt').write_text(sys.stdin.read())\nprint((folder / 'answer').read_text())\n",
    )


def calls(folder: Path) -> int:
    return len((folder / "calls").read_text()) if (folder / "calls").exists() else 0


def test_it_reads_the_prompt_and_its_output_is_the_answer(tmp_path: Path) -> None:
    model = CommandModel(program(tmp_path, "import sys\nprint(sys.stdin.read().upper(), end='')"))
    replies = model.chat([system("be brief"), user("what? \ud83d")], 2)
    assert [reply.text for reply in replies] == ["[SYSTEM]\nBE BRIEF\n\n[USER]\nWHAT? ?"] * 2


def test_no_shell_reads_the_command_and_no_key_is_inherited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("A_TOOLS_TOKEN", "given")
    shows = program(tmp_path, "import json, os, sys\nprint(json.dumps([sys.argv[1:], dict(os.environ)]))")
    command = f"{shows} '$HOME; touch {tmp_path}/made' \"two words\" | cat > {tmp_path}/piped"
    arguments, environment = json.loads(CommandModel(command).chat([user("")])[0].text)
    assert arguments == [f"$HOME; touch {tmp_path}/made", "two words", "|", "cat", ">", f"{tmp_path}/piped"]
    assert not (tmp_path / "made").exists()
    assert "OPENAI_API_KEY" not in environment
    assert "A_TOOLS_TOKEN" not in environment
    monkeypatch.setenv("TRACE_ROBOT_PASS", "A_TOOLS_TOKEN")
    _, environment = json.loads(CommandModel(command).chat([user("")])[0].text)
    assert environment["A_TOOLS_TOKEN"] == "given"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import sys\nsys.exit('no such account')", "the proposer ended with exit code 1: no such account"),
        ("raise SystemExit(7)", "the proposer ended with exit code 7"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "the proposer ended with exit code -9"),
        ("import time\ntime.sleep(600)", "the proposer gave no answer in 1 seconds; it was ended"),
        (
            "while True:\n    print('x' * 10_000)",
            "the proposer printed more than 4,194,304 bytes; it was ended",
        ),
    ],
)
def test_a_command_that_fails_is_one_line(tmp_path: Path, source: str, message: str) -> None:
    model = CommandModel(program(tmp_path, source), seconds=1.0 if "sleep" in source else 60.0)
    began = time.monotonic()
    with pytest.raises(ModelError) as error:
        model.chat([user("x" * 1_000_000)])  # more than a pipe holds, and not read
    assert str(error.value) == message
    assert time.monotonic() - began < 60


def test_what_a_command_started_ends_with_it(tmp_path: Path) -> None:
    source = (
        "import pathlib, subprocess, sys, time\n"
        "inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(inner.pid))\n"
        "while True:\n    print('x' * 10_000)"  # ended for that, however long a busy machine takes to get here
    )
    with pytest.raises(ModelError, match="printed more than"):
        CommandModel(program(tmp_path, source)).chat([user("")])
    deadline = time.monotonic() + 60
    while _runs((tmp_path / "pid").read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _runs((tmp_path / "pid").read_text())


def _runs(pid: str) -> bool:
    shown = subprocess.run(["ps", "-o", "state=", "-p", pid], capture_output=True, text=True, check=False)
    return shown.stdout.strip() not in ("", "Z")


def test_an_answer_of_any_bytes_is_text(tmp_path: Path) -> None:
    source = "import sys\nsys.stdout.buffer.write(b'\\xff\\x00ok')"
    assert CommandModel(program(tmp_path, source)).chat([user("")])[0].text == "\ufffd\x00ok"
    assert CommandModel(program(tmp_path, "")).chat([user("")])[0].text == ""


@pytest.mark.parametrize(
    ("command", "error", "message"),
    [
        ("", UsageError, "the proposer must be a command, got ''"),
        ("a 'quote", UsageError, "No closing quotation"),
        (
            "no-such-program --at all",
            UnknownModelError,
            "the proposer's program 'no-such-program' is not there",
        ),
    ],
)
def test_a_command_that_is_none_is_named_before_a_run_begins(
    command: str, error: type[Exception], message: str, tmp_path: Path, point_mass: None
) -> None:
    with pytest.raises(error, match=message):
        optimize("point-mass", model=ModelConfig(proposer=command), out=tmp_path / "run", **LITTLE)
    assert not (tmp_path / "run").exists()


def test_it_answers_in_place_of_an_endpoint(tmp_path: Path) -> None:
    for other in (
        {"base_url": "http://127.0.0.1:1/v1"},
        {"replay": "x.jsonl"},
        {"request": {"temperature": 0}},
    ):
        with pytest.raises(UsageError, match="a proposer answers in place of"):
            ModelConfig(proposer="cat", **other).connect()


def test_the_data_of_another_model_has_no_word_of_it() -> None:
    config = ModelConfig("a-model", "http://127.0.0.1:1/v1")
    assert "proposer" not in config.to_data(config.connect())


def test_a_run_of_a_command_is_recorded_and_asks_it_once(
    tmp_path: Path, point_mass: None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    arguments = ["--episodes", "2", "--held-out", "2", "--workers", "0", "--no-video", "--no-tune", "--json"]
    record = str(tmp_path / "record.jsonl")
    command = answering(tmp_path)
    code = main(
        [
            "optimize",
            "point-mass",
            "--proposer",
            command,
            "--out",
            str(folder),
            "--record",
            record,
            *arguments,
        ]
    )
    assert code == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["optimizer"], result["held_out_success"], result["model_calls"]) == ("optoprime", 1.0, 1)
    assert calls(tmp_path) == 1
    assert (tmp_path / "prompt").read_text().startswith("[system]\nYou improve a program")
    assert [exchange.replies[0].text.strip() for exchange in read_record(record)] == [ANSWER.strip()]
    with History(tmp_path) as history:
        assert "the command " in history.run("run").why


def stopped(tmp_path: Path) -> Path:
    """Return the folder of a run that was interrupted after the command's first answer was on disk."""

    def interrupt(event: Event) -> None:
        if isinstance(event, Iterated) and event.iteration == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimize(
            "point-mass",
            model=ModelConfig(proposer=answering(tmp_path)),
            out=tmp_path / "runs" / "run",
            on_event=interrupt,
            **LITTLE,
        )
    assert calls(tmp_path) == 1
    return tmp_path / "runs" / "run"


def test_ones_own_run_goes_on_from_its_journal(tmp_path: Path, point_mass: None) -> None:
    result = resume(stopped(tmp_path))
    assert (result.held_out_success, calls(tmp_path)) == (1.0, 1)


def test_a_strangers_command_is_never_run(
    tmp_path: Path, point_mass: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A copy beside the runs: a workspace anywhere below a folder of runs is not looked into for a stranger's.
    workspace = shutil.copytree(
        os.environ["TRACE_ROBOT_WORKSPACE"],
        tmp_path / "workspace",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(workspace))
    folder = stopped(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))  # where no run is noted as this user's
    (tmp_path / "calls").unlink()
    assert main(["resume", str(folder)]) == 1
    assert "it would need --proposer: the run's own command, " in capsys.readouterr().err
    assert main(["resume", str(folder), "--yes"]) == 1
    assert "a command is not taken from a store that this user did not begin" in capsys.readouterr().err
    with pytest.raises(RunError, match="give one with --proposer"):
        resume(folder, yes=True)
    mine = program(tmp_path, "print('no answer')", "mine.py")
    assert main(["resume", str(folder), "--proposer", mine]) == 1
    assert "it would run the command " in capsys.readouterr().err
    assert main(["resume", str(folder), "--yes", "--proposer", mine, "--json"]) == 0
    assert calls(tmp_path) == 0
    assert json.loads(capsys.readouterr().out)["held_out_success"] == 1.0


def test_a_stored_command_that_is_none_is_refused() -> None:
    config = ModelConfig(proposer="cat")
    data = config.to_data(config.connect())
    assert data["proposer"] == ["cat"]
    for wrong in ("cat", [], [1], {"a": 1}):
        with pytest.raises(RunError, match="must be a command"):
            ModelConfig.from_data({**data, "proposer": wrong})
