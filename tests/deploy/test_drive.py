"""``drive``: real processes, messages that are late, lost, repeated or wrong, and what the robot then gets."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trace_robot.cli.main import main
from trace_robot.deploy import deploy
from trace_robot.deploy.drive import drive
from trace_robot.deploy.peers import read_contract
from trace_robot.errors import RunError
from trace_robot.policy import load_policy

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
        if step == 20:
            send({"done": True, "success": True, "steps": step})
            continue
    if message.get("reset"):
        hand, step = [0.0, 0.6, 0.2], 0
        send({"reset": True})
    if kind == "exit" and step == 3: sys.exit(7)
    if kind == "silent" and step == 3: continue
    seen = [float("nan"), 0.6, 0.2] if kind == "nan" and step == 3 else hand
    number = {"repeated": min(step, 3), "lost": step * 30}.get(kind, step)
    send({"step": number, "observation": {"hand_position": seen, "goal_position": [0.1, 0.8, 0.2]}})
"""
FAULTS = {
    "nan": "is not finite|not finite",
    "repeated": "step 3 is late or repeated, the last one was 3",
    "lost": "29 steps are missing before step 30",
    "silent": "no observation came for 0.125 s",
}
REFUSED = {
    "unit": r"does not fit the contract: 'hand_position' must have 3 numbers in 'm', the driver has .*'cm'",
    "field": "does not fit the contract: 'goal_position' must have 3 numbers in 'm', the driver has None",
    "rate": "does not fit the contract: the rate is 80.0 steps a second, the driver has 50.0",
    "text": "the driver sent no JSON: 'ready!'",
    "exit": "the driver ended with exit code 7",
}


# The driver above waits for actions, not for a clock: with this factor a deadline of 0.125 s is one of 12.5 s, which
# a busy machine keeps.
PATIENT = 0.01


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for to in ("python", "c"):
        made[to] = tmp_path_factory.mktemp(to)
        deploy(
            load_policy("zoo/reach_v3"), "reach-v3", to=to, out=made[to], options={"envelope": {"speed": 0.4}}
        )
    if shutil.which("cc"):
        subprocess.run(["make", "-s", "-C", str(made["c"])], check=True)
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
    if to == "python":
        assert report.episodes[0].envelope["envelope_speed"] > 3


@pytest.mark.parametrize("to", targets())
@pytest.mark.parametrize("kind", FAULTS)
def test_after_a_fault_the_robot_is_stopped_and_gets_nothing_else(
    kind: str, to: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    speed = 1.0 if kind == "silent" else PATIENT
    report = drive(folders[to], command(kind, tmp_path), seeds=(3, 4), speed=speed)
    (episode,) = report.episodes  # the second is not begun
    assert not episode.success
    import re

    assert re.search(FAULTS[kind], episode.fault)
    sent = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    stop = next(number for number, message in enumerate(sent) if "stop" in message)
    assert sent[stop]["stop"] == episode.fault
    assert not any("action" in message for message in sent[stop:])


@pytest.mark.parametrize("kind", REFUSED)
def test_a_driver_that_does_not_fit_moves_nothing(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=REFUSED[kind]):
        drive(folders["python"], command(kind, tmp_path), seeds=(3,), speed=PATIENT)
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


def test_the_c_must_be_built_first(folders: dict[str, Path], tmp_path: Path) -> None:
    for name in (*read_contract(folders["c"])["files"], "contract.json"):
        shutil.copy(folders["c"] / name, tmp_path)
    with pytest.raises(RunError, match=r"controller_test' is not built; run: make -C"):
        drive(tmp_path, command("good", tmp_path), seeds=(3,))


def test_the_command_line_drives_a_simulated_robot(folders: dict[str, Path], capsys: Any) -> None:
    line = [
        "drive",
        str(folders["python"]),
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
    assert data["episodes"][0]["envelope"]["envelope_speed"] > 3


def test_a_task_whose_fields_are_others_is_refused_with_one_line(
    folders: dict[str, Path], capsys: Any
) -> None:
    assert main(["drive", str(folders["python"]), "--simulate", "CartPole-v1"]) == 1
    assert "does not fit the contract" in capsys.readouterr().err
    assert main(["drive", str(folders["python"]), "--driver", "no_such_program"]) == 1
    assert "error: the driver 'no_such_program' cannot be started: No such file" in capsys.readouterr().err
    assert main(["drive", str(folders["python"]), "--driver", "x", "--loss", "0.1"]) == 1
    assert "--jitter and --loss need --simulate" in capsys.readouterr().err
