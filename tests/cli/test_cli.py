"""The command line: help, errors of one line, exit codes, JSON."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trace_robot.cli import main
from trace_robot.settings import Settings
from trace_robot.store.command_line import continuing_command, model_words

WORKSPACE = Path(__file__).parents[1] / "workspace"


@pytest.fixture(autouse=True)
def _workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "TRACE_ROBOT_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(WORKSPACE))


def test_the_command_is_installed_and_its_help_teaches() -> None:
    command = Path(sys.executable).with_name("trace-robot")
    shown = subprocess.run([command, "--help"], capture_output=True, text=True, check=True).stdout
    for word in ("optimize", "evaluate", "zoo", "render", "video", "sandbox", "examples:", "exit codes:"):
        assert word in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("optimize reach-v4", "no environment 'reach-v4'; did you mean 'reach-v3'"),
        ("optimize reach-v3 --policy missing.py", "'missing.py' cannot be read: No such file or directory"),
        ("optimize reach-v3 --policy do_nothin", "no policy 'do_nothin'; did you mean 'do_nothing'"),
        ("optimize reach-v3 --policy {tmp}/plain.py --optimizer cma", "CMA-ES needs a number to change"),
        ("optimize reach-v3 --policy {tmp}/broken.py", "broken.py, line 1 is not valid Python"),
        ("optimize reach-v3 --policy {tmp}", "cannot be read: Is a directory"),
        ("optimize reach-v3 --out {tmp}", "give another --out"),
        ("optimize reach-v3 --optimizer optoprime", "no key for the model: set OPENAI_API_KEY"),
        ("optimize reach-v3 --replay {tmp}/missing.jsonl", "missing.jsonl"),
        ("evaluate reach-v3 --policy {tmp}/broken.py", "is not valid Python"),
        ("evaluate reach-v3", "evaluate reach-v3 needs --policy NAME|FILE"),
        (
            "render reach-v3 --episodes 2",
            "render reach-v3 needs --policy NAME|FILE; for a run: trace-robot video",
        ),
        (
            "optimize reach-v3 --optimizer optoprime --model m --base-url http://[::1",
            "the base URL must look like http://",
        ),
        (
            "optimize reach-v3 --optimizer optoprime --model m --base-url foo",
            "the base URL must look like http://",
        ),
        ("optimize reach-v3 --out {tmp}/plain.py", "is a file, not a folder; give another --out"),
        ("optimize reach-v3 --episodes 26000", "episodes must be from 1 to 25000"),
        ("evaluate nowhere --policy do_nothing", "no environment 'nowhere'"),
        (
            "render reach-v3 --policy do_nothing --out film.gif",
            "--out must name an .mp4 file, got 'film.gif'",
        ),
        ("sandbox --corpus {tmp}/missing.json", "cannot read the corpus"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(
    arguments: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plain.py").write_text("def act(observation):\n    return [0] * 4\n")
    (tmp_path / "broken.py").write_text("def act(:\n")
    assert main(arguments.format(tmp=tmp_path).split()) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.startswith("trace-robot: error: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        "optimise reach-v3",
        "optimize",
        "optimize reach-v3 --episodes 0",
        "optimize reach-v3 --seconds -1",
        "optimize reach-v3 --seconds nan",
        "optimize reach-v3 --polic x",
        "render reach-v3 --policy do_nothing --contact-sheet",
        "video reach-1 --episodes 3",
        "zoo --control pose",
    ],
)
def test_a_wrong_command_line_is_exit_code_2(arguments: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments.split())
    assert caught.value.code == 2


def test_output_that_cannot_be_written_is_one_line() -> None:
    command = Path(sys.executable).with_name("trace-robot")
    with open("/dev/full", "w") as full:
        done = subprocess.run([command, "envs"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("trace-robot: error: ")
    assert "Traceback" not in done.stderr


def test_evaluate_prints_json_and_nothing_else(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("def act(observation):\n    return [0.0] * 3\n")
    policy = str(tmp_path / "wrong.py")
    assert (
        main(["evaluate", "point-mass", "--policy", policy, "--episodes", "3", "--workers", "1", "--json"])
        == 1  # every episode was an error
    )
    report = json.loads(capsys.readouterr().out)
    assert (report["success"], report["episodes"], report["ended"]) == (0.0, 3, {"error": 3})
    assert report["faults"][0]["category"] == "wrong shape"
    assert report["versions"]["mujoco"]


def test_evaluate_prints_why_episodes_failed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "nan.py").write_text("def act(observation):\n    return [float('nan')] * 4\n")
    assert (
        main(
            [
                "evaluate",
                "point-mass",
                "--policy",
                str(tmp_path / "nan.py"),
                "--episodes",
                "2",
                "--workers",
                "1",
            ]
        )
        == 1
    )
    shown = capsys.readouterr().out
    assert "success 0.00 of 2 held-out episodes" in shown
    assert "2 of 2 episodes ended with:" in shown
    assert "Error (not finite)" in shown


def test_envs_and_policies_list_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["envs", "--json"]) == 0
    names = {row["name"] for row in json.loads(capsys.readouterr().out)}
    assert {"point-mass", "pick-place-v3", "reach-v3"} <= names
    metaworld = [name for name in names if name.endswith("-v3") and name == name.lower()]
    assert len(metaworld) == 50
    assert main(["policies"]) == 0
    shown = capsys.readouterr().out
    assert "do_nothing" in shown
    assert "hover_height" in shown


def test_a_broken_policy_is_named_and_the_others_are_listed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(tmp_path))
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "broken.py").write_text("def act(observation)\n    return 0\n")
    assert main(["policies"]) == 0
    printed = capsys.readouterr()
    assert "do_nothing" in printed.out
    assert "broken" not in printed.out
    assert printed.err == "trace-robot: not loaded: policy broken, line 1 is not valid Python: expected ':'\n"


def test_a_misspelt_path_of_a_policy_names_the_near_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "balance.py").write_text("def act(observation):\n    return [0.0]\n")
    assert main(["evaluate", "point-mass", "--policy", str(tmp_path / "balnce.py")]) == 1
    assert f"No such file or directory; did you mean '{tmp_path / 'balance.py'}'?" in capsys.readouterr().err


def test_watch_says_that_a_folder_is_not_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trace_robot.report.server.Watch.serve_forever", lambda self: None)
    assert main(["watch", str(tmp_path / "nothere"), "--port", "0"]) == 0
    assert "nothere' yet; its runs are shown once it is there" in capsys.readouterr().err


def test_the_sandbox_says_what_it_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sandbox", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["boundary"] is True


def test_evaluate_is_no_error_while_one_episode_ran(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    policy = tmp_path / "sometimes.py"
    # Fails where the goal lies on one side, as some of these conditions have it.
    policy.write_text(
        "def act(observation):\n"
        "    far = observation['goal_position'][0] > observation['hand_position'][0]\n"
        "    return [0.0] * (4 if far else 3)\n"
    )
    line = ["evaluate", "point-mass", "--policy", str(policy), "--episodes", "8", "--workers", "0", "--json"]
    assert main(line) == 0
    ended = json.loads(capsys.readouterr().out)["ended"]
    assert 0 < ended["error"] < 8


def test_one_environment_is_shown_with_its_fields_units_and_ranges(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["envs", "reach-v3"]) == 0
    shown = capsys.readouterr().out
    assert "\nobservation\n- hand_position: (3,), m. " in shown
    assert "\naction, control pose\n- displacement: (3,), m, from -0.5 to 0.5. " in shown
    assert "\naction, control raw\n- motion: (3,), cm, from -1 to 1. " in shown
    assert main(["envs", "reach-v3", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)[0]
    motion = data["control"]["raw"]["action"][0]
    assert (motion["name"], motion["unit"], motion["low"]) == ("motion", "cm", [-1.0, -1.0, -1.0])
    assert main(["envs", "reach"]) == 0
    assert "hand_position" not in capsys.readouterr().out  # a word, of several


@pytest.mark.parametrize(
    ("typed", "ended", "more"),
    [
        ("push-v3 --optimizer search", "240 seconds spent", {"seconds": 480.0}),
        (
            "push-v3 --optimizer search --seconds 90 --worlds standard --hold end --python /p --env-arg horizon=7"
            " --seed 3 --episodes 4 --held-out 9 --control pose --workers 1 --no-video --trust",
            "90 seconds spent; the environment failed in 1 episode: x",
            {"seconds": 180.0},
        ),
        ("push-v3 --optimizer cma --steps 1e5", "100000 simulator steps spent", {"steps": 200_000}),
        (
            "push-v3 --optimizer optoprime --no-tune --grow 0 --memory 2 --no-graph --images --feedback terms"
            " --task 'It is mine' --env-arg name=\"'5'\" --env-arg kind=soft",
            "10 iterations done",
            {"iterations": 20},
        ),
        ("push-v3 --optimizer search", "every training condition solved", None),
    ],
)
def test_the_command_that_goes_on_has_every_option_of_the_run_and_twice_its_budget(
    typed: str, ended: str, more: dict[str, float] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settings_of(words: list[str]) -> Settings:
        begun: list[Settings] = []

        def begin(_: object, env: str, __: str, settings: dict[str, Any]) -> int:
            del settings["model"]
            begun.append(Settings.resolve(env, settings.pop("optimizer"), **settings))
            return 0

        monkeypatch.setattr("trace_robot.cli.optimize._optimize", begin)
        assert main(words) == 0
        return begun[0]

    first = settings_of(["optimize", *shlex.split(typed)])
    command = continuing_command(first, Path("my runs/push"), ended)
    if more is None:
        assert command == ""
        return
    program, *words = shlex.split(command)
    expected = replace(first, policy="my runs/push/best.py", **more)  # type: ignore[arg-type]
    assert (program, settings_of(words)) == ("trace-robot", expected)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (None, []),
        ({"model": "m", "base_url": "https://api.openai.com/v1"}, ["--model", "m"]),
        (
            {"model": "a/b c", "base_url": "http://127.0.0.1:1/v1", "request": {"api_key": "secret"}},
            ["--model", "a/b c", "--base-url", "http://127.0.0.1:1/v1"],
        ),
        ({"model": "m", "base_url": "https://me:secret@host/v1"}, ["--model", "m"]),
        ({"model": "m", "base_url": "https://host/v1?key=secret"}, ["--model", "m"]),
        (
            {"model": "", "base_url": "", "proposer": ["python3", "my answer.py"]},
            ["--proposer", "python3 'my answer.py'"],
        ),
    ],
)
def test_a_command_names_the_model_and_its_endpoint_and_never_a_key(
    model: dict[str, Any] | None, words: list[str]
) -> None:
    settings = Settings.resolve("push-v3", "optoprime")
    command = continuing_command(settings, Path("push"), "10 iterations done", model)
    assert model_words(model) == words
    assert shlex.split(command)[6 : 6 + len(words) + 1] == ["optoprime", *words][: len(words) + 1]
    assert "secret" not in command
