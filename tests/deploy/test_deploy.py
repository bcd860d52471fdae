"""What is written: Python, C and contract, used as a stranger would use them."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import deploy as bench
from trace_robot.cli.main import main
from trace_robot.deploy import deploy, files_of, plan
from trace_robot.deploy.contract import DeployPlan
from trace_robot.env.registry import make
from trace_robot.errors import PolicyError, RunError, UsageError
from trace_robot.policy import Policy, load_policy
from trace_robot.spec import Field

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
SHIPPED = {"zoo/reach_v3": "reach-v3", "zoo/bin_picking_v3": "bin-picking-v3", "pick_place": "pick-place-v3"}
HOSTILE = '*/ int hacked; /* \\\n"""\nimport os; os.abort()\n# ??/ \x00 \u2028 {0}'


@pytest.fixture(scope="module")
def reach() -> DeployPlan:
    return plan(load_policy("zoo/reach_v3"), "reach-v3")


@pytest.fixture(scope="module")
def module(reach: DeployPlan, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return bench.load(reach, tmp_path_factory.mktemp("written"))


@needs_compiler
@pytest.mark.parametrize("name", SHIPPED)
def test_python_and_c_act_as_the_original_and_succeed_where_it_does(name: str, tmp_path: Path) -> None:
    planned = plan(load_policy(name), SHIPPED[name])
    env, act = (
        make(SHIPPED[name], **planned.sent.options),
        bench.tracked(bench.original(planned.text), planned),
    )
    episodes = bench.perturbed(bench.recorded(env, planned.sent, act, 600), 3000)
    row = bench.compare(planned, act, episodes, tmp_path)
    assert (row["c_difference"], row["python_difference"], row["faults"]) == (0.0, 0.0, 0)
    memory: dict[str, Any] = {}

    def own(reset: bool, flat: Any) -> list[float]:
        if reset:
            memory.clear()
        return bench.flattened(act(planned.sent.named(flat), memory))

    with bench.driven(tmp_path / "controller_test", planned) as step:
        assert bench.successes(env, planned.sent, step, (7,)) == bench.successes(env, planned.sent, own, (7,))
    env.close()


JOINTS = """
CONTROL = "pose"
def act(observation, memory):
    memory["n"] = memory.get("n", 0) + 1
    return [0.3 * memory["n"], *(0.5 * observation["joint_angles"][1:6]), -3.0]
"""


@pytest.mark.parametrize(
    ("text", "task", "decisions"),
    [(load_policy("pick_place").text.replace("0.08,", "0.0,"), "pick-place-v3", 9), (JOINTS, "Pusher-v5", 4)],
    ids=["hand", "joints"],
)
def test_the_tracking_of_targets_is_that_of_the_environment(
    text: str, task: str, decisions: int, tmp_path: Path
) -> None:
    """In mode "pose" the environment itself tracks, while the deployed controller does it in raw steps."""
    planned = plan(Policy.from_text(text), task)
    act, module = bench.original(planned.text), bench.load(planned, tmp_path)
    pose = make(task, control="pose")
    raw = make(task, control="raw")
    (seen, _), (flat, _), memory = pose.reset(seed=3), raw.reset(seed=3), dict[str, Any]()
    controller, steps = module.Controller(), 0
    for _ in range(decisions):
        seen, _, over, _, info = pose.step(np.asarray(bench.flattened(act(planned.spec.named(seen), memory))))
        while steps < info["steps"]:
            named = planned.sent.named(flat)
            given = {name: np.asarray(named[name]).tolist() for name in module.FIELDS}
            flat, *_ = raw.step(np.asarray(controller.act(given)))
            steps += 1
        assert flat.tobytes() == seen.tobytes()
        if over:
            break
    assert steps > 60
    pose.close()
    raw.close()


def test_too_few_targets_are_refused_with_the_line_of_act() -> None:
    text = 'CONTROL = "pose"\ndef act(observation):\n    return [0.1, 0, 0]\n'
    with pytest.raises(PolicyError, match="line 2: act must return 4 numbers in mode pose, got 3"):
        plan(Policy.from_text(text, "mine"), "reach-v3")


def test_the_python_needs_the_standard_library_alone(reach: DeployPlan, tmp_path: Path) -> None:
    text = files_of(reach, "python")[0]["controller.py"]
    imported = {
        name
        for node in ast.walk(ast.parse(text))
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [])
        + ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [])
    }
    assert imported <= {"math", "json", "sys", "struct"}
    (tmp_path / "controller.py").write_text(text)
    fields = {"hand_position": [0.0, 0.6, 0.2], "goal_position": [0.1, 0.8, 0.2]}
    lines = [
        {"hello": {"rate": 80.0, "fields": {name: {"size": 3, "unit": "m"} for name in fields}}},
        {"reset": True}, {"step": 0, "observation": fields}, {"step": 1, "observation": fields},
    ]  # fmt: skip
    answers = bench.run(
        [sys.executable, "-I", "-S", str(tmp_path / "controller.py")],
        "".join(json.dumps(line) + "\n" for line in lines).encode(),
    )
    hello, reset, first, second = map(json.loads, answers.decode().splitlines())
    assert hello["ready"] == "reach-v3"
    assert reset == {"reset": True}
    assert (first["step"], second["step"]) == (0, 1)
    assert len(first["action"]) == 4


SEEN = {"hand_position": [0.0, 0.6, 0.2], "goal_position": [0.1, 0.8, 0.2]}
FAULTS = {
    '{"step": 1, "observation": {"hand_position": [0, 0.6, 0.2]}}': "lacks the field 'goal_position'",
    json.dumps({"step": 1, "observation": {**SEEN, "other": 1}}): "unknown field 'other'",
    json.dumps(
        {"step": 1, "observation": {**SEEN, "hand_position": [1.0, 2.0]}}
    ): "must be 3 numbers, got [1.0, 2.0]",
    json.dumps(
        {"step": 1, "observation": {**SEEN, "hand_position": ["1", 2, 3]}}
    ): "must be numbers, got '1'",
    json.dumps({"step": 1, "observation": {**SEEN, "hand_position": [math.nan, 1, 1]}}): "not finite",
    json.dumps({"step": 1, "observation": {**SEEN, "hand_position": [1e400, 1, 1]}}): "not finite",
    json.dumps({"step": 0, "observation": SEEN}): "step 0 is late or repeated, the last one was 0",
    json.dumps({"step": 40, "observation": SEEN}): "39 steps are missing before step 40",
    json.dumps({"step": True, "observation": SEEN}): 'must have "hello", "reset", "stop", or "step"',
    json.dumps({"hello": {"rate": 50}}): "the rate is 80.0 steps a second, the driver has 50",
    json.dumps({"hello": {"fields": {"hand_position": {"size": 3, "unit": "cm"}}}}): "3 numbers in 'm'",
    json.dumps({"hello": {"contract": "0"}}): "the driver expects '0'",
    "[]": "a message must be an object",
    "no json": "Expecting value",
    "[" * 100_000: "recursion",
}


@pytest.mark.parametrize(("line", "reason"), FAULTS.items(), ids=range(len(FAULTS)))
def test_after_a_fault_it_is_stopped_until_a_reset(module: Any, line: str, reason: str) -> None:
    good = [json.dumps({"step": step, "observation": SEEN}) for step in range(3)]
    written: list[str] = []
    module.serve([good[0], line, good[1], good[2], '{"reset": true}', good[0]], written.append)
    first, fault, later, last, reset, again = map(json.loads, written)
    assert "action" in first
    assert reason in fault["error"]
    assert "\n" not in fault["error"]
    assert "stopped until a reset" in later["error"]
    assert "stopped until a reset" in last["error"]
    assert reset == {"reset": True}
    assert again == first


def test_a_lost_message_is_no_fault_and_fields_that_are_not_read_may_be_given(module: Any) -> None:
    written: list[str] = []
    seen = {**SEEN, "gripper_opening": 1.0}
    module.serve([json.dumps({"step": step, "observation": seen}) for step in (0, 1, 4)], written.append)
    assert all("action" in json.loads(line) for line in written)


@needs_compiler
def test_the_c_stops_at_a_number_that_is_not_finite(reach: DeployPlan, tmp_path: Path) -> None:
    program = bench.build(reach, tmp_path)
    lines = [
        "0 0.6 0.2 0.1 0.8 0.2",
        "nan 0.6 0.2 0.1 0.8 0.2",
        "0 0.6 0.2 0.1 0.8 0.2",
        "reset",
        "0 0.6 0.2 0.1 0.8 0.2",
    ]
    first, fault, stopped, again = (
        bench.run([str(program)], "\n".join([*lines, ""]).encode()).decode().splitlines()
    )
    assert (fault, stopped) == ("fault 1", "fault 3")
    assert again == first
    assert len(first.split()) == 4
    with pytest.raises(RuntimeError, match="a line must have 6 numbers"):
        bench.run([str(program)], b"1 2 3\n")


@needs_compiler
def test_what_divides_by_zero_is_a_fault_in_both(tmp_path: Path) -> None:
    text = (
        "CONTROL = 'raw'\ndef act(observation):\n    return [1 / observation['gripper_opening'], 0, 0, 0]\n"
    )
    planned = plan(Policy.from_text(text), "reach-v3")
    program, module = bench.build(planned, tmp_path), bench.load(planned, tmp_path)
    assert bench.run([str(program)], b"0.0\n0.5\nreset\n2\n").decode().splitlines() == [
        "fault 2",
        "fault 3",
        "0.5 0 0 0",
    ]
    controller = module.Controller()
    with pytest.raises(module.ControllerFault, match="line 3: division by zero"):
        controller.act({"gripper_opening": 0.0})
    with pytest.raises(module.ControllerFault, match="stopped until a reset: line 3"):
        controller.act({"gripper_opening": 0.5})


@needs_compiler
def test_no_name_and_no_text_gets_out_of_its_place(tmp_path: Path) -> None:
    """A policy and a plug-in are untrusted: what they name must not become code."""
    text = (
        f"CONTROL = 'raw'\nGAINS = {{{HOSTILE!r}: 2.0}}\ndef act(observation, memory):\n    {HOSTILE!r}\n"
        f"    return help_me(observation, memory)\ndef help_me(observation, memory):\n    {HOSTILE!r}\n"
        f"    memory[{HOSTILE!r}] = memory.get({HOSTILE!r}, 0.0) + GAINS[{HOSTILE!r}]\n"
        f"    double = observation['register'] * 2\n"
        f"    return [memory[{HOSTILE!r}], double, observation[{HOSTILE!r}], 0.0]\n"
    )
    honest = plan(load_policy("zoo/reach_v3"), "reach-v3")
    fields = (Field("register", 0, 1, HOSTILE, HOSTILE), Field(HOSTILE, 1, 2, HOSTILE))
    spec = replace(
        honest.spec,
        name=HOSTILE,
        observation=fields,
        action=tuple(
            replace(part, name=HOSTILE, meaning=HOSTILE, unit=HOSTILE) for part in honest.spec.action
        ),
        observation_size=2,
    )
    from trace_robot.deploy.translate import translate

    code = translate([text], {field.name: 1 for field in fields}, 4)
    planned = DeployPlan(code, spec, spec, {}, 80.0, text, {"policy": HOSTILE})
    program, module = bench.build(planned, tmp_path), bench.load(planned, tmp_path)
    assert bench.run([str(program)], b"0.25 0.5\n").decode().split() == ["1", "0.5", "0.5", "0"]
    assert module.Controller().act({"register": 0.25, HOSTILE: 0.5}) == [1.0, 0.5, 0.5, 0.0]
    assert json.loads(files_of(planned, "c")[0]["contract.json"])["task"] == HOSTILE
    for path in tmp_path.glob("*.[ch]"):
        assert path.read_bytes().isascii()
    assert "hacked;" not in "".join(_outside_comments((tmp_path / "controller.c").read_text()))


def _outside_comments(text: str) -> list[str]:
    return [part.partition("*/")[2] if i else part for i, part in enumerate(text.split("/*"))]


def test_the_contract_says_what_a_driver_must_know(reach: DeployPlan, tmp_path: Path) -> None:
    deployed = deploy(load_policy("zoo/reach_v3"), "reach-v3", to="c", out=tmp_path / "robot", name="reach")
    agreed = json.loads((tmp_path / "robot" / "contract.json").read_text())
    assert agreed == deployed.contract
    assert [(row["name"], row["size"], row["unit"], row["frame"]) for row in agreed["fields"]] == [
        ("hand_position", 3, "m", "world"),
        ("goal_position", 3, "m", "world"),
    ]
    assert agreed["rate_hz"] == 80.0
    assert [row["low"] for row in agreed["action"]] == [[-1.0] * 3, [-1.0]]
    assert agreed["worst_case"]["operations"] == sum(reach.code.counts.values()) > 5
    for name, digest in agreed["files"].items():
        assert hashlib.sha256((tmp_path / "robot" / name).read_bytes()).hexdigest() == digest
    assert set(agreed["files"]) == {"reach.c", "reach.h", "main.c", "Makefile"}
    assert agreed["written_with"]["trace-robot"]


def test_bad_names_and_targets_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    policy = load_policy("zoo/reach_v3")
    for wrong in ("double", "a b", "../x"):
        with pytest.raises(UsageError, match="a name must be an identifier of C and Python"):
            deploy(policy, "reach-v3", to="c", out=tmp_path / "robot", name=wrong)
    with pytest.raises(UsageError, match="a controller is deployed to python or c, got 'rust'"):
        deploy(policy, "reach-v3", to="rust", out=tmp_path / "robot")
    text = "CONTROL = 'raw'\ndef act(observation):\n    while observation['hand_position'][0] > 0:\n        pass\n"
    endless = Policy.from_text(text, "mine")
    with pytest.raises(
        PolicyError, match="policy mine cannot be deployed: line 3: a while loop has no bound"
    ):
        deploy(endless, "reach-v3", to="c", out=tmp_path / "robot")
    assert not (tmp_path / "robot").exists()


@pytest.mark.skipif(
    __import__("importlib").util.find_spec("ziglang") is None, reason="ziglang is not installed"
)
def test_without_a_compiler_ziglang_builds_it_and_other_processors_have_object_files(
    reach: DeployPlan, tmp_path: Path
) -> None:
    zig = f"{sys.executable} -m ziglang cc"
    try:
        program = bench.build(reach, tmp_path, compiler=zig)
    except RuntimeError as error:  # ziglang fills a cache apart first, for which there may be no room
        pytest.skip(str(error)[-200:])
    assert len(bench.run([str(program)], b"0 0.6 0.2 0.1 0.8 0.2\n").split()) == 4
    sizes = bench.crossed(tmp_path)
    assert set(sizes) == {"controller_cortex_m4", "controller_aarch64"}
    machine = {name: (tmp_path / f"{name}.o").read_bytes()[18] for name in sizes}
    assert machine == {"controller_cortex_m4": 40, "controller_aarch64": 183}  # EM_ARM, EM_AARCH64


# The command line.


def test_the_best_controller_of_a_run_goes_out_with_what_is_known_of_it(
    make_run: Callable[..., Any], point_mass: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    run = make_run(runs, "demo")
    code = main(
        ["deploy", "demo", "--runs", str(runs), "--to", "python", "--out", str(tmp_path / "robot"), "--json"]
    )
    printed = capsys.readouterr()
    assert code == 0, printed.err
    agreed = json.loads(printed.out)["contract"]
    known = agreed["controller"]["run"]
    assert known["name"] == "demo"
    assert known["held_out"] == {"success": run.held_out.success, "episodes": run.held_out.episodes}
    assert known["versions"] == dict(run.versions)


def test_the_command_line_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--to", "c", "--out", str(tmp_path / "robot")]
    for typed, reason in (
        (["deploy", "balance", *out], "deploy balance needs --env TASK"),
        (["deploy", "nothing_such", *out], "no run and no policy 'nothing_such'"),
        (["deploy", "zoo/nothing_such", *out], "no policy 'zoo/nothing_such'"),
        (["deploy", "balance", "--env", "reach-v3", *out], "the observation has no field 'pole_angle'"),
    ):
        assert main(typed) == 1
        error = capsys.readouterr().err
        assert reason in error
        assert len(error.splitlines()) == 1
    with pytest.raises(SystemExit):
        main(["deploy", "zoo/reach_v3", "--to", "rust", "--out", str(tmp_path)])
    assert not (tmp_path / "robot").exists()


def test_a_policy_of_that_name_goes_out_before_a_run_whose_name_begins_so(
    make_run: Callable[..., Any],
    point_mass: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    out = ["--to", "python", "--out", "robot"]
    make_run(tmp_path / "rollouts" / "runs", "do_nothing-good")
    assert main(["deploy", "do_nothing", *out]) == 1
    assert "deploy do_nothing needs --env TASK" in capsys.readouterr().err
    assert not (tmp_path / "robot").exists()
    assert main(["deploy", "do_noth", *out]) == 0
    assert "do_noth is the run do_nothing-good" in capsys.readouterr().out
    make_run(tmp_path / "rollouts" / "runs", "do_nothing")
    assert main(["deploy", "do_nothing", *out]) == 1
    assert "is both a run and a policy; for the run write rollouts/runs/do_nothing" in capsys.readouterr().err


def test_a_folder_has_one_controller(tmp_path: Path) -> None:
    policy, robot = load_policy("zoo/reach_v3"), tmp_path / "robot"
    deploy(policy, "reach-v3", to="c", out=robot)
    deploy(policy, "reach-v3", to="c", out=robot)  # the same again is written again
    held = {path.name: path.read_bytes() for path in robot.iterdir()}
    with pytest.raises(
        UsageError,
        match=r"robot' holds another deployed controller, of controller.h, .*; give --out another folder",
    ):
        deploy(policy, "reach-v3", to="python", out=robot)
    with pytest.raises(UsageError, match="holds another deployed controller"):
        deploy(policy, "reach-v3", to="c", out=robot, name="arm")
    assert {path.name: path.read_bytes() for path in robot.iterdir()} == held
    for contract in ("[]", "{", '{"files": {"../x": 1}}'):
        (tmp_path / "contract.json").write_text(contract)
        with pytest.raises(RunError, match=r"that deploy did not write, such as contract\.json"):
            deploy(policy, "reach-v3", to="python", out=tmp_path)
        deploy(policy, "reach-v3", to="python", out=tmp_path, overwrite=True)


def test_a_folder_with_the_files_of_others_is_not_written_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = ["deploy", "zoo/reach_v3", "--to", "python", "--out", str(tmp_path)]
    mine = tmp_path / "controller.py"
    mine.write_text("mine")
    assert main(typed) == 1
    error = capsys.readouterr().err
    assert (
        "holds files that deploy did not write, such as controller.py; give another --out, or --overwrite"
        in error
    )
    assert mine.read_text() == "mine"
    assert main([*typed, "--overwrite"]) == 0
    assert main(typed) == 0  # now they are its own
    with mine.open("a") as file:
        file.write("# my change\n")
    assert main(typed) == 1
    assert "is another controller's, or was changed;" in capsys.readouterr().err
    assert mine.read_text().endswith("# my change\n")
    assert main(["deploy", "zoo/push_v3", *typed[2:], "--overwrite"]) == 0
    assert main(typed) == 1
    assert main([*typed, "--overwrite"]) == 0
    (tmp_path / "notes.txt").touch()
    assert main(typed) == 1
    assert "such as notes.txt" in capsys.readouterr().err


def test_the_driver_is_a_program_that_a_person_can_talk_to(reach: DeployPlan, tmp_path: Path) -> None:
    text = files_of(reach, "c", "arm")[0]
    assert set(text) == {"arm.h", "arm.c", "main.c", "Makefile", "contract.json"}
    assert "malloc" not in "".join(text.values())


def test_the_page_shows_the_c_that_is_written(reach: DeployPlan) -> None:
    page = (Path(bench.ROOT) / "docs" / "deploy.md").read_text(encoding="utf-8")
    shown = page.split("```c\n")[1].split("```")[0]
    assert shown == files_of(reach, "c")[0]["controller.c"]
