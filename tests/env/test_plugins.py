"""Plug-in files, by name and path, gymnasium ids, and installed packages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trace_robot.cli import main
from trace_robot.env import discovery, registry
from trace_robot.env.traced import load_env
from trace_robot.errors import (
    EnvironmentFault,
    TraceRobotError,
    UnknownNameError,
    ValueMismatchError,
    WorkspaceError,
)
from trace_robot.policy import load_policy
from trace_robot.rollout import Job, RolloutEngine
from trace_robot.rollout.task import Task

ONE = """
from trace_robot import Environment
ENVIRONMENTS = [Environment("{id}", "Do it.", name="{name}")]
"""
REGISTERS = """
import gymnasium
gymnasium.register("OfMyOwn-v0", "gymnasium.envs.classic_control:PendulumEnv", max_episode_steps=7)
"""


def write(folder: Path, name: str, *, known: str = "Pendulum-v1") -> Path:
    path = folder / "envs" / f"{name}.py"
    path.write_text(ONE.format(id=known, name=name))
    return path


@pytest.fixture
def package(own: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package that registers the environments of its module."""
    site = own / "site"
    information = site / "my_robots-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-robots\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[trace_robot.envs]\nmine = my_robots_plugin\n")
    (site / "my_robots_plugin.py").write_text(ONE.format(id="Pendulum-v1", name="packaged"))
    monkeypatch.syspath_prepend(str(site))
    yield site
    sys.modules.pop("my_robots_plugin", None)


def test_a_plug_in_file_of_0_1_is_still_read(own: Path) -> None:
    path = write(own, "swing")
    path.write_text(path.read_text().replace("from trace_robot import", "from trace_robot.plugin import"))
    assert registry.describe("swing").name == "swing"


def test_a_declared_environment_is_found_by_its_name_by_its_file_s_name_and_by_its_path(own: Path) -> None:
    path = write(own, "swing")
    path.rename(path.with_name("pendulums.py"))
    names = ["swing", "pendulums", "envs/pendulums.py", str(own / "envs" / "pendulums.py")]
    assert {registry.describe(name).name for name in names} == {"swing"}
    assert registry.expand_name("pendulums") == ["pendulums"]


def test_a_file_that_is_looked_up_twice_gives_the_same_plug_in_with_the_same_environments(own: Path) -> None:
    path = write(own, "swing")
    first = registry.plugin("swing")
    assert registry.plugin(str(path)) is first
    assert registry.describe("swing") is registry.describe("envs/swing.py")


FUNCTIONS = """
def names(): return ["mine", "other"]
def describe(name):
    from trace_robot import Field, TaskSpec
    angle, torque = Field("angle", 0, 1), Field("torque", 0, 1)
    return TaskSpec(name, f"Do {name}.", (angle,), (torque,), 1, (-1.0,), (1.0,), 9, success="it is done")
def make(name): raise RuntimeError("not made")
"""
MORE = """
def sets(): return {"both": names()}
def controls(name): return ["raw"]
def summary(name): return f"In short, {name}.", ""
def expert(name): return lambda observation: observation + 1
"""


def entry(name: str) -> tuple[str, str]:
    (entry,) = [entry for entry in registry.catalogue() if entry.name == name]
    return entry.instruction, entry.success


def test_functions_that_a_plug_in_leaves_out_have_defaults(own: Path) -> None:
    (own / "envs" / "mine.py").write_text(FUNCTIONS)
    assert registry.controls("mine") == ("pose", "raw")
    assert entry("mine") == ("Do mine.", "it is done")
    assert "both" not in registry.sets()
    with pytest.raises(
        UnknownNameError, match=r"^mine has no scripted expert, which feedback level 'expert'"
    ):
        registry.require_expert("mine")


def test_functions_that_a_plug_in_has_are_used(own: Path) -> None:
    (own / "envs" / "mine.py").write_text(FUNCTIONS + MORE)
    assert registry.controls("mine") == ("raw",)
    assert entry("mine") == ("In short, mine.", "")
    assert registry.sets()["both"] == ("mine", "other")
    assert registry.expert("mine")(np.ones(1)) == 2.0


def test_an_attribute_task_spec_that_is_no_spec_is_not_taken_for_one() -> None:
    env = registry.make("CartPole-v1")
    assert registry.task_spec_of(env) is env.task_spec
    env.task_spec = "balance the pole"
    assert registry.task_spec_of(env) is None
    env.close()


def test_a_file_with_several_environments_does_not_stand_for_one(own: Path) -> None:
    path = write(own, "one")
    path.write_text(path.read_text() + "ENVIRONMENTS += [Environment('CartPole-v1', 'Stand.', name='two')]\n")
    with pytest.raises(WorkspaceError, match=r"one\.py has 2 environments; name one: one, two$"):
        registry.describe("envs/one.py")
    assert registry.expand_name("envs/one.py") == ["one", "two"]


def test_an_id_that_gymnasium_knows_works_with_a_task(own: Path) -> None:
    env = load_env("MountainCar-v0", task="Drive up the hill.", horizon=30)
    spec = env.task_spec
    assert (spec.instruction, spec.horizon, spec.return_threshold) == ("Drive up the hill.", 30, -110.0)
    assert spec.action[0].whole
    env.reset(seed=0)
    env.step([1.0])
    with pytest.raises(
        ValueMismatchError, match=r"no plug-in says what to do in it: add --task 'as text', or write"
    ):
        load_env("MountainCar-v0")


def test_a_module_of_the_workspace_can_register_environments(own: Path) -> None:
    (own / "mine_to_register.py").write_text(REGISTERS)
    before = list(sys.path)
    spec = registry.describe("mine_to_register:OfMyOwn-v0", task="Swing up.")
    assert (spec.name, spec.horizon) == ("mine_to_register:OfMyOwn-v0", 7)
    assert sys.path == before
    with pytest.raises(
        UnknownNameError, match=r"^no_such_module:Arm-v0: module 'no_such_module' cannot be imported"
    ):
        registry.describe("no_such_module:Arm-v0", task="Reach.")
    with pytest.raises(
        UnknownNameError, match=r"no environment .*did you mean 'mine_to_register:OfMyOwn-v0'"
    ):
        registry.describe("mine_to_register:OfMyOwm-v0", task="Swing up.")


def test_workers_find_what_the_command_line_finds(own: Path) -> None:
    (own / "mine_to_register.py").write_text(REGISTERS)
    write(own, "swing")
    controller = "def act(observation):\n    return [0.0]\n"
    jobs = [
        Job("swing", 1, controller=controller),
        Job("envs/swing.py", 1, controller=controller),
        Job("mine_to_register:OfMyOwn-v0", 1, {"task": "Swing up."}, controller=controller),
    ]
    with RolloutEngine(1) as engine:
        one, other, third = engine.run(jobs)
    assert (one.fault, other.fault, third.fault) == (None, None, None)
    assert one.rewards.tobytes() == other.rewards.tobytes()
    assert (one.decisions, third.decisions) == (200, 7)


def test_an_installed_package_brings_its_environments(package: Path) -> None:
    assert registry.describe("packaged").instruction == "Do it."


def test_a_file_of_ones_own_comes_before_a_package(own: Path, package: Path) -> None:
    write(own, "packaged", known="CartPole-v1")
    assert len(registry.describe("packaged").observation) == 4


def test_a_package_that_cannot_be_loaded_is_named(package: Path) -> None:
    (package / "my_robots_plugin.py").write_text("1 / 0")
    (reason,) = registry.not_loaded()
    assert reason.startswith("entry point 'mine' of package my-robots cannot be loaded: ZeroDivisionError: ")
    assert reason.endswith("mend or uninstall the package")
    with pytest.raises(
        UnknownNameError, match=r"no environment 'packaged'.*\(not loaded: entry point 'mine' of"
    ):
        registry.describe("packaged")
    assert registry.describe("CartPole-v1").action_size == 1


def test_a_name_that_exists_twice_is_an_error_that_names_both_files(own: Path) -> None:
    write(own, "one").write_text(ONE.format(id="Pendulum-v1", name="same"))
    write(own, "two").write_text(ONE.format(id="Pendulum-v1", name="same"))
    with pytest.raises(
        WorkspaceError, match=r"'same' exists twice: in .*one\.py and .*two\.py; rename one of them"
    ):
        registry.describe("same")
    for name in ("one", "two"):
        (own / "envs" / f"{name}.py").unlink()
    write(own, "both").write_text(
        ONE.format(id="Pendulum-v1", name="same") + "ENVIRONMENTS += ENVIRONMENTS\n"
    )
    with pytest.raises(WorkspaceError, match=r"both\.py: environment 'same' stands in ENVIRONMENTS twice"):
        registry.describe("same")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ENVIRONMENTS = 3", r"mine\.py: ENVIRONMENTS must be a list of Environment\(\.\.\.\), got 3"),
        ("from trace_robot import Environment\nENVIRONMENTS = [Environment('Pendulum-v1')]",
         r"mine\.py cannot be loaded: TypeError: .*missing 1 required positional argument: 'task' \(line 2\)"),
        ("from trace_robot import Environment\nENVIRONMENTS = [Environment('Pendulum-v1', '')]",
         r"mine\.py cannot be loaded: WorkspaceError: Environment 'Pendulum-v1': task must be a text .* \(line 2\)"),
    ],
)  # fmt: skip
def test_a_broken_declaration_is_named_with_its_file(own: Path, text: str, message: str) -> None:
    (own / "envs" / "mine.py").write_text(text)
    with pytest.raises(WorkspaceError, match=message):
        registry.describe("mine")
    assert re.search(message, registry.not_loaded()[0])


BROKEN = {  # what a file may be like whose package is not as it was written for
    "missing": "import nothing_of_this_name\n",
    "missing inside of names()": "",
    "raises when it is imported": "raise RuntimeError('no license found')\n",
    "exits": "raise SystemExit('give me a display')\n",
    "another version": "from numpy import float_of_version_one\n",
    "no Python": "def (:\n",
    "another declaration": "Environment('Pendulum-v1', 'Swing.', horizon=0)\n",
}
LAZY = """
def names():
    import nothing_of_this_name
    return ["theirs"]
def describe(name): ...
def make(name): ...
"""


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_stops_no_other_environment_and_takes_no_name_of_another(
    own: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "from trace_robot import Environment\n" + BROKEN[kind]
    text += "ENVIRONMENTS = [Environment('Pendulum-v1', 'Swing it up.', name='theirs')]\n"
    (own / "envs" / "broken.py").write_text(text if BROKEN[kind] else LAZY)
    write(own, "good").write_text(ONE.format(id="Pendulum-v1", name="good"))
    assert registry.describe("good").action_size == 1
    assert registry.describe("reach-v3").action_size == 4
    assert {"good", "CartPole-v1"} <= {entry.name for entry in registry.catalogue()}
    (reason,) = registry.not_loaded()
    assert "broken.py" in reason
    with pytest.raises(TraceRobotError, match=r"broken\.py"):
        registry.describe("theirs")
    with pytest.raises(UnknownNameError, match=r"did you mean 'good'\? \(not loaded: .*broken\.py"):
        registry.describe("goood")
    assert main(["envs"]) == 0
    assert f"trace-robot: not loaded: {reason}" in capsys.readouterr().err


def test_a_broken_file_keeps_the_name_that_it_would_have_taken_from_what_ships(own: Path) -> None:
    (own / "envs" / "mine.py").write_text(
        "from trace_robot import Environment\nimport nothing_of_this_name\n"
        "ENVIRONMENTS = [Environment('CartPole-v1', 'Balance my own one.')]\n"
    )
    with pytest.raises(
        WorkspaceError, match=r"mine\.py cannot be loaded: ModuleNotFoundError: .*or install what it"
    ):
        registry.describe("CartPole-v1")


def test_a_path_that_is_no_plug_in_is_an_error_that_says_what_one_is(own: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"no plug-in file '.*nothing\.py'"):
        registry.describe("envs/nothing.py")
    (own / "envs" / "other.py").write_text("x = 1\n")
    with pytest.raises(
        WorkspaceError, match=r"other\.py is no plug-in: it has neither ENVIRONMENTS nor names"
    ):
        registry.describe("envs/other.py")


@pytest.mark.parametrize(
    ("name", "size"), [("Pusher-v5", 7), ("CartPole-v1", 1), ("reach-v3", 4), ("Reacher-v5", 2)]
)
def test_doing_nothing_has_the_size_of_every_environment(name: str, size: int) -> None:
    task = Task.load(name, load_policy("do_nothing"), control="raw")
    assert task.spec.action_size == size
    assert f"return [{', '.join(['0.0'] * size)}]" in task.policy.text
    with RolloutEngine(0) as engine:
        (episode,) = engine.run([Job(name, 0, {**task.options, "horizon": 3}, controller=task.policy.text)])
    assert episode.fault is None
    assert episode.actions.shape == (3, size)
    assert np.all(episode.actions == 0)


def test_an_environment_without_pose_control_is_run_raw_unless_pose_is_asked_for() -> None:
    assert Task.load("CartPole-v1", load_policy("do_nothing")).spec.control == "raw"
    assert Task.load("FetchReach-v4", load_policy("do_nothing")).spec.control == "pose"
    with pytest.raises(ValueMismatchError, match="control of CartPole-v1 must be 'raw', got 'pose'"):
        Task.load("CartPole-v1", load_policy("do_nothing"), control="pose")


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(["envs", *arguments, "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_envs_finds_by_a_word_also_what_only_gymnasium_knows(capsys: pytest.CaptureFixture[str]) -> None:
    push = {entry["name"]: entry for entry in listed(capsys, "push")}
    assert {"push-v3", "FetchPush-v4", "Pusher-v5"} <= set(push)
    assert push["FetchPush-v4"]["success"] == "the object is within 5 cm of the goal"
    assert [entry["name"] for entry in listed(capsys, "Hopper")] == ["Hopper-v5"]
    assert main(["envs", "Huper-v5"]) == 1
    assert "did you mean" in capsys.readouterr().err


def test_the_command_line_takes_an_environment_by_place_or_by_option_but_not_both() -> None:
    command = [sys.executable, "-m", "trace_robot", "evaluate"]
    for arguments in (["--policy", "do_nothing"], ["reach-v3", "--env", "push-v3", "--policy", "do_nothing"]):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr


def test_the_fetch_gripper_closes_with_1_as_meta_worlds_does() -> None:
    env = registry.make("FetchPickAndPlace-v4")
    openings = []
    for gripper in (-1.0, 1.0):
        observation, _ = env.reset(seed=0)
        for _ in range(8):
            observation, *_ = env.step(np.array([0, 0, 0, gripper], np.float32))
        openings.append(float(env.task_spec.named(observation)["finger_positions"].sum()))
    env.close()
    assert openings[0] > 0.08
    assert openings[1] < 0.01


def test_versions_that_cannot_work_together_are_one_line_with_the_remedy(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert discovery.version_conflicts() == []
    (own / "envs" / "mine.py").write_text(
        "from trace_robot import Environment\n\ndef wrong():\n    raise AttributeError('mjData has no attribute x')\n\n"
        "ENVIRONMENTS = [Environment('mine', 'Go.', make=wrong)]\n"
    )
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "4.0.0" if name == "mujoco" else version(name))
    conflict = discovery.version_conflicts()[0]
    assert re.match(
        r"metaworld \S+ needs mujoco==3\.3\.0, and 4\.0\.0 is installed: pip install 'mujoco==3", conflict
    )
    assert conflict.endswith("an interpreter to itself (docs/other-interpreter.md)")
    with pytest.raises(EnvironmentFault) as caught:
        registry.describe("mine")
    assert str(caught.value).endswith(f"AttributeError: mjData has no attribute x; {conflict}")
    assert registry.describe("CartPole-v1").action_size == 1
