"""``drive``: real processes, messages that are late, lost, repeated or wrong, and what the robot then gets."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from trace_robot.cli.main import main
from trace_robot.deploy import deploy
from trace_robot.deploy.c_controller import CController, compiler
from trace_robot.deploy.drive import drive
from trace_robot.deploy.peers import PythonController, read_contract
from trace_robot.errors import RunError
from trace_robot.policy import Policy, load_policy

# A driver in the standard library: what it does wrong is its argument. It writes what it was sent last to a file.
DRIVER = """
import json, sys, time
kind, log = sys.argv[1], open(sys.argv[2], "w")
fields = {"hand_position": {"size": 3, "unit": "m"}, "goal_position": {"size": 3, "unit": "m"}}
def send(data): print(json.dumps(data), flush=True)
if kind == "unit": fields["hand_position"]["unit"] = "cm"
if kind == "field": del fields["goal_position"]
if kind == "text": print("ready!", flush=True)
send({"hello": {"rate": 50.0 if kind == "rate" else 80.0, "fields": fields}})
hand, step = [0.0, 0.6, 0.2], 0
for line in sys.stdin:
    print(line.strip(), file=log, flush=True)
    message = json.loads(line)
    if "stop" in message:
        send({"done": True, "success": True, "steps": step})
        continue
    if "action" in message:
        hand = [h + 0.01 * a for h, a in zip(hand, message["action"])]
        step += 1
        if step == 20 and kind != "endless":
            send({"done": True, "success": True, "steps": step})
            continue
    if message.get("reset"):
        hand, step = [0.0, 0.6, 0.2], 0
        send({"reset": True})
    if kind == "exit" and step == 3: sys.exit(7)
    if kind == "silent" and step == 3: continue
    seen = [float("nan"), 0.6, 0.2] if kind == "nan" and step == 3 else hand
    number = {"repeated": min(step, 3), "lost": step * 30, "word": "one"}.get(kind, step)
    observation = {"hand_position": seen, "goal_position": [0.1, 0.8, 0.2]}
    if kind == "lacking" and step == 3: del observation["goal_position"]
    if kind == "short" and step == 3: observation["goal_position"] = [0.1, 0.8]
    if kind == "null" and step == 3: observation["goal_position"] = [0.1, None, 0.2]
    if kind == "huge" and step == 3: observation["goal_position"] = [0.1, float("inf"), 0.2]
    if kind == "unknown" and step == 3: observation["elbow"] = 1.0
    send({"step": number, "observation": observation})
"""
CART = """
import gymnasium
from gymnasium import spaces
from trace_robot import Environment, part, skip

class Cart(gymnasium.Env):
    observation_space = spaces.Dict(
        state=spaces.Box(-9, 9, (2,)), task=spaces.Dict(goal=spaces.Box(-9, 9, (3,)))
    )
    action_space = spaces.Box(-1, 1, (1,))
    def __init__(self, fps=None, render_mode=None):
        self.metadata = {"render_modes": []} | ({"render_fps": fps} if fps else {})
    def seen(self): return {"state": [0.0, 0.0], "task": {"goal": [0.0, 0.0, 0.0]}}
    def reset(self, *, seed=None, options=None): return self.seen(), {}
    def step(self, action): return self.seen(), 0.0, False, False, {"success": False}

ENVIRONMENTS = [Environment("cart", "Stay.", make=Cart, horizon=9, observation={
    "state": [part("place", 1, "m"), skip()], "task": [skip(), part("goal", 2, "m")]}, action=[part("push")])]
"""
# What the Python file and the C, each checked in another place, must both say.
FAULTS = {
    "nan": "'hand_position' has a number that is not finite",
    "huge": "'goal_position' has a number that is not finite",
    "lacking": "the observation lacks the field 'goal_position'",
    "short": r"'goal_position' must be 3 numbers, got \[0.1, 0.8\]",
    "null": "'goal_position' must be numbers, got None",
    "unknown": "the observation has an unknown field 'elbow'",
    "word": 'a step must be a whole number|a message must have .* "step" and',
    "repeated": "step 3 is late or repeated, the last one was 3",
    "lost": "29 steps are missing before step 30",
    "silent": "no observation came for 0.125 s",
}
REFUSED = {
    "unit": r"does not fit the contract: 'hand_position' must have 3 numbers in 'm', the driver has .*'cm'",
    "field": "does not fit the contract: the driver has no field 'goal_position'; it has hand_position",
    "rate": "does not fit the contract: the rate is 80.0 steps a second, the driver has 50.0",
    "text": "the driver sent no JSON: 'ready!'",
    "exit": "the driver ended with exit code 7",
}


# The driver above waits for actions, not for a clock: with this factor a deadline of 0.125 s is one of 12.5 s, which
# a busy machine keeps.
PATIENT = 0.01
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for to in ("python", "c"):
        made[to] = tmp_path_factory.mktemp(to)
        deploy(
            load_policy("zoo/reach_v3"), "reach-v3", to=to, out=made[to], options={"envelope": {"speed": 0.4}}
        )
    return made


def command(kind: str, folder: Path) -> list[str]:
    (folder / "driver.py").write_text(DRIVER)
    return [sys.executable, str(folder / "driver.py"), kind, str(folder / "log")]


def targets() -> list[str]:
    return ["python", "c"] if shutil.which("cc") else ["python"]


@pytest.mark.parametrize("to", targets())
def test_a_driver_gets_every_action_and_the_report_counts_them(
    to: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    report = drive(folders[to], command("good", tmp_path), seeds=(3, 4), speed=PATIENT)
    data = report.to_data()
    assert (data["success"], data["faults"], data["missed"], data["steps"]) == (1.0, 0, 0, 40)
    sent = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    actions = [message["action"] for message in sent if "action" in message]
    assert len(actions) == 40
    fastest = max(abs(n) for action in actions for n in action[:3])
    assert fastest == pytest.approx(0.5, abs=1e-12)  # 0.4 m/s, as the envelope allows
    assert sent[0] == {"reset": True, "seed": 3}
    assert report.episodes[0].envelope["envelope_speed"] > 3


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_c_logs_how_often_and_when_each_limit_acted_as_the_python_does(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    logs, seen = [], []
    for to in ("python", "c"):
        shown: list[dict[str, int]] = []
        report = drive(
            folders[to],
            command("good", tmp_path),
            seeds=(3, 4),
            speed=PATIENT,
            on_step=lambda episode, shown=shown: shown.append(  # type: ignore[misc]
                {name: stretches[-1][1] for name, stretches in episode.limited.items()}
            ),
        )
        logs.append([(episode.envelope, episode.limited) for episode in report.episodes])
        seen.append(shown)
    assert logs[0] == logs[1]
    assert seen[0] == seen[1]  # live, with each step
    for counts, limited in logs[0]:
        assert set(limited) == {name for name, count in counts.items() if count}
        (stretch,) = limited["envelope_speed"]  # the hand slows down as it comes near, once
        assert stretch == [0, counts["envelope_speed"] - 1]


@pytest.mark.parametrize("to", targets())
@pytest.mark.parametrize("kind", FAULTS)
def test_after_a_fault_the_robot_is_stopped_and_gets_nothing_else(
    kind: str, to: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    speed = 1.0 if kind == "silent" else PATIENT
    report = drive(folders[to], command(kind, tmp_path), seeds=(3, 4), speed=speed)
    (episode,) = report.episodes  # the second is not begun
    assert not episode.success
    assert re.search(FAULTS[kind], episode.fault)
    sent = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    stop = next(number for number, message in enumerate(sent) if "stop" in message)
    assert sent[stop]["stop"] == episode.fault
    assert not any("action" in message for message in sent[stop:])


@pytest.mark.parametrize("to", targets())
@pytest.mark.parametrize("kind", REFUSED)
def test_a_driver_that_does_not_fit_moves_nothing(
    kind: str, to: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=REFUSED[kind]):
        drive(folders[to], command(kind, tmp_path), seeds=(3,), speed=PATIENT)
    if kind != "exit":
        assert "action" not in (tmp_path / "log").read_text()


def test_a_controller_that_differs_from_its_contract_is_not_started(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(folders["python"], tmp_path / "changed")
    with (tmp_path / "changed" / "controller.py").open("a") as file:
        file.write("# changed\n")
    with pytest.raises(RunError, match=r"controller.py is not the one of contract.json"):
        read_contract(tmp_path / "changed")
    with pytest.raises(RunError, match="cannot read"):
        read_contract(tmp_path)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_program_of_before_is_not_driven_and_nothing_is_left_behind(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot, rest = tmp_path / "robot", tmp_path / "temporary"
    shutil.copytree(folders["c"], robot)
    (robot / "controller_test").write_text("#!/bin/sh\nexit 5\n")
    (robot / "controller_test").chmod(0o755)
    rest.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(rest))
    before = sorted(robot.iterdir())
    report = drive(robot, command("good", tmp_path), seeds=(3,), speed=PATIENT)
    assert report.episodes[0].success
    assert sorted(robot.iterdir()) == before
    assert not list(rest.iterdir())


def test_without_a_compiler_one_line_names_what_is_missing(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    line = ["drive", str(folders["c"]), "--driver", " ".join(command("good", tmp_path))]
    for cc, reason in (
        ("no_such_compiler -O1", "CC is 'no_such_compiler -O1', which is not there"),
        ("'", 'CC must be a command, got "\'": No closing quotation'),
        ("false", "the C cannot be compiled by 'false': exit code 1"),
    ):
        monkeypatch.setenv("CC", cc)
        assert main(line) == 1
        error = capsys.readouterr().err
        assert reason in error
        assert len(error.splitlines()) == 1
    monkeypatch.delenv("CC")
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(line) == 1
    assert (
        "there is no cc; pip install ziglang, or deploy the controller --to python" in capsys.readouterr().err
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert compiler() == [sys.executable, "-m", "ziglang", "cc"]


@pytest.mark.parametrize("to", targets())
def test_an_answer_that_comes_too_late_is_not_taken_for_a_later_one(
    to: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    contract = read_contract(folders[to])
    seen = {"hand_position": [0.0, 0.6, 0.2], "goal_position": [0.1, 0.8, 0.2]}
    near = {**seen, "hand_position": seen["goal_position"]}
    controller = (PythonController if to == "python" else CController)(folders[to], contract)

    def ask(message: Mapping[str, Any], seconds: float = 30.0) -> Any:
        return controller.ask(message, seconds)

    try:
        ask({"reset": True})
        wanted = [ask({"step": number, "observation": near})["action"] for number in (0, 1)]
        ask({"reset": True})
        assert ask({"step": 0, "observation": seen}, 0.0) == {"error": "the controller gave no answer in 0 s"}
        ask({"reset": True})
        assert [ask({"step": number, "observation": near})["action"] for number in (0, 1)] == wanted
    finally:
        controller.close()


def test_ctrl_c_sends_the_driver_a_stop_before_it_ends(folders: dict[str, Path], tmp_path: Path) -> None:
    words = " ".join(command("endless", tmp_path))
    line = [sys.executable, "-m", "trace_robot", "drive", str(folders["python"]), "--driver", words]
    # As in the background of a shell, where Ctrl-C begins ignored.
    ignoring = (
        "import os, signal as s, sys; s.signal(s.SIGINT, s.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    line = [sys.executable, "-c", ignoring, *line, "--speed", "0.01"]
    running = subprocess.Popen(line, start_new_session=True, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60.0
    try:
        while '"action"' not in ((tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does, to all that it started
        _, error = running.communicate(timeout=60.0)
    finally:
        running.kill()
    assert running.returncode == 130
    assert b"Traceback" not in error
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1]) == {"stop": "drive has ended"}


ROBOT_DRIVER = (ROOT / "benchmarks" / "robot_driver.py").read_text(encoding="utf-8")


def slowed(folder: Path) -> list[str]:
    """Return the command of the driver of the page, near its goal, at a quarter of a second a step."""
    text = ROBOT_DRIVER.replace("(step + 1) / RATE", "(step + 1) / 4.0").replace(
        "0.1, 0.8, 0.2", "0.05, 0.65, 0.2"
    )
    assert text.count("4.0") == text.count("0.65") == 1
    (folder / "robot_driver.py").write_text(text)
    return [sys.executable, str(folder / "robot_driver.py")]


@pytest.mark.parametrize("to", targets())
def test_the_driver_of_the_page_brings_its_hand_to_the_goal(
    to: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    report = drive(folders[to], slowed(tmp_path), seeds=(3, 4), speed=PATIENT)
    assert [episode.success for episode in report.episodes] == [True, True]
    assert all(3 <= episode.steps <= 12 for episode in report.episodes)


def test_the_driver_of_the_page_halts_when_drive_is_killed(folders: dict[str, Path], tmp_path: Path) -> None:
    words = f"sh -c '\"$@\" 2> {tmp_path / 'errors'}' sh {' '.join(slowed(tmp_path))}"
    file = tmp_path / "robot_driver.py"
    moving = "print('moves', file=sys.stderr, flush=True); move("
    file.write_text(file.read_text().replace("0.65", "9.0").replace(" move(action)", f" {moving}action)"))
    line = [sys.executable, "-m", "trace_robot", "drive", str(folders["python"]), "--driver", words]
    running = subprocess.Popen([*line, "--speed", "0.01"], stderr=subprocess.PIPE)

    def wait_for(text: str) -> None:
        deadline = time.monotonic() + 60.0
        while text not in ((tmp_path / "errors").read_text() if (tmp_path / "errors").exists() else ""):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    wait_for("moves")
    running.kill()
    running.communicate()
    wait_for("halted: drive is gone")


def test_a_driver_that_reports_no_number_of_steps_is_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "driver.py").write_text(DRIVER.replace('"steps": step}', '"steps": "many"}'))
    words = [sys.executable, str(tmp_path / "driver.py"), "good", str(tmp_path / "log")]
    with pytest.raises(RunError, match=r"the driver's 'steps' .* must be a whole number from 0, got 'many'"):
        drive(folders["python"], words, seeds=(3,), speed=PATIENT)


@pytest.mark.parametrize("to", targets())
def test_the_command_line_drives_a_simulated_robot(to: str, folders: dict[str, Path], capsys: Any) -> None:
    line = [
        "drive",
        str(folders[to]),
        "--simulate",
        "reach-v3",
        "--speed",
        "0.2",
        "--jitter",
        "2",
        "--loss",
        "0.02",
    ]
    assert main([*line, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["success"] == 1.0
    assert data["driver"] == "reach-v3, simulated"
    assert data["episodes"][0]["answered"] > 20
    assert data["target"] == to
    assert data["episodes"][0]["envelope"]["envelope_speed"] > 3
    assert data["episodes"][0]["limited"]["envelope_speed"][0][0] == 0


def test_a_task_whose_fields_are_others_is_refused_with_one_line(
    folders: dict[str, Path], capsys: Any
) -> None:
    assert main(["drive", str(folders["python"]), "--simulate", "CartPole-v1"]) == 1
    assert "does not fit the contract" in capsys.readouterr().err
    assert main(["drive", str(folders["python"]), "--driver", "no_such_program"]) == 1
    assert "error: the driver 'no_such_program' cannot be started: No such file" in capsys.readouterr().err
    assert main(["drive", str(folders["python"]), "--driver", ""]) == 1
    assert "--driver must be a command, got ''" in capsys.readouterr().err
    assert main(["drive", str(folders["python"]), "--driver", "x", "--loss", "0.1"]) == 1
    assert "--jitter and --loss need --simulate" in capsys.readouterr().err


def test_a_simulated_driver_that_cannot_begin_says_why_in_one_line(
    folders: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    """Its standard error is this process's, so a traceback of it would be seen."""
    assert main(["drive", str(folders["python"]), "--simulate", "reach-v33"]) == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert "error: the driver cannot go on: no environment 'reach-v33'; did you mean 'reach-v3'" in line
    assert main(["drive", str(folders["python"]), "--driver", "x", "--python", "y"]) == 1
    assert "--python, --task and --env-arg need --simulate" in capfd.readouterr().err


def test_a_contract_without_a_rate_says_what_gives_it_one(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "cart.py").write_text(CART)
    policy = Policy.from_text(
        "def act(observation):\n    return [observation['place'] - observation['goal'][1]]\n"
    )
    folders = [tmp_path / "none", tmp_path / "rate"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACE_ROBOT_WORKSPACE", str(tmp_path))
        for folder, fps in zip(folders, (None, 20), strict=True):
            deployed = deploy(policy, "cart", to="python", out=folder, options={"fps": fps})
            assert deployed.contract["places"] == {
                "goal": [{"key": ["task", "goal"], "slice": [1, 3]}],
                "place": [{"key": ["state"], "slice": [0, 1]}],
            }
    assert main(["drive", str(folders[0]), "--driver", "x"]) == 1
    error = capsys.readouterr().err
    assert (
        "be driven in time: the environment says none; give it metadata['render_fps'], or an attribute dt"
        in error
    )
    assert main(["drive", str(folders[1]), "--driver", "no_such_program"]) == 1
    assert "the driver 'no_such_program' cannot be started" in capsys.readouterr().err
    about = (folders[1] / "controller.py").read_text().partition("import")[0]
    hello, step = (json.loads(line) for line in re.findall(r'^ +(\{"(?:hello|step)".*\})$', about, re.M))
    assert hello["hello"]["rate"] == 20.0
    controller = PythonController(folders[1], deployed.contract)
    assert "ready" in controller.ask(hello, 10.0)  # its own example
    assert controller.ask({"reset": True}, 10.0) == {"reset": True}
    assert controller.ask(step, 10.0)["action"] == [0.0]
    controller.close()
