"""A run's environment is made and played in a child process: hangs, ends and prints there are one line or nothing."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trace_robot.child_process import python_command
from trace_robot.cli.main import main
from trace_robot.env import inspection
from trace_robot.env.inspection import EnvDetails, Inspection, MessageProcess
from trace_robot.errors import EnvironmentFault, ValueMismatchError, WorkspaceError
from trace_robot.policy import load_policy
from trace_robot.rollout.task import Task
from trace_robot.settings import Settings

PLUGIN = '''
import ctypes, os, time
from pathlib import Path
import gymnasium, numpy as np
from gymnasium.spaces import Box
from trace_robot import Environment, Hand, part

MADE = Path(__file__).parent / "made"


class Base(gymnasium.Env):
    """A hand on two axes, which only pushes and random actions move."""

    observation_space, action_space = Box(-9, 9, (6,), np.float64), Box(-1, 1, (2,))

    def __init__(self, size=(1, 2)):
        with MADE.open("a") as file:
            file.write(f"{os.getpid()} {os.environ.get('OPENAI_API_KEY')}\\\\n")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = np.zeros(6)
        return self.at.copy(), {}

    def step(self, action):
        self.at[:2] += 0.01 * np.asarray(action, float)
        if np.any(action):
            self.moved()
        return self.at.copy(), 0.0, False, False, {"success": False}

    def moved(self):
        pass


class Hangs(Base):
    def moved(self):
        ctypes.CDLL(None).pause()  # in C, where no timer of Python's interrupts


class Naps(Base):
    def moved(self):
        time.sleep(1000)


class Ends(Base):
    def moved(self):
        print("the client is gone")
        os._exit(3)


class Crashes(Base):
    def moved(self):
        ctypes.string_at(0)


class Raises(Base):
    def moved(self):
        raise OSError(5, "no such arm")


class Prints(Base):
    def moved(self):
        print("at work")
        os.write(1, b"from C\\\\n")
        os.write(2, b"an error\\\\n")


class EndsWhenMade(Base):
    def __init__(self):
        os._exit(4)


class Undeclared(Base):
    def reset(self, *, seed=None, options=None):
        ctypes.CDLL(None).pause()


class Stays(Base):
    def close(self):
        time.sleep(1000)


def named(make, **fields):
    observation = [part("tip_position", 3, "m"), part("goal_position", 3, "m")]
    return Environment(make.__name__, "x", make=make, observation=observation, horizon=30, **fields)


FOUND = (Base, Hangs, Naps, Ends, Crashes, Raises, Prints, EndsWhenMade, Stays)
HAND = {"hands": [Hand("tip_position", motion="motion")], "action": [part("motion", 3), part("grip", 1)]}


class Declared(Hangs):
    action_space = Box(-1, 1, (4,))

    def step(self, action):
        return super().step(action[:2])


ENVIRONMENTS = [named(each, success="success") for each in FOUND] + [
    named(Undeclared), named(Declared, success="success", **HAND)
]
'''
TRAINABLE = """
from trace_robot import bundle


@bundle(trainable=True)
def chosen(observation):
    return [0.1, 0.0]


def act(observation, memory):
    return chosen(observation)
"""
NOTHING = load_policy("do_nothing")


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "envs").mkdir()
    (tmp_path / "policies").mkdir()
    (tmp_path / "envs" / "faulty.py").write_text(PLUGIN.replace("\\\\n", "\\n"))
    (tmp_path / "policies" / "lazy.py").write_text(TRAINABLE)
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-test")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of an environment counts as hung after a second."""
    monkeypatch.setattr(inspection, "HANG_SECONDS", 1.0)


def made(workspace: Path) -> list[list[str]]:
    """Return process and key of each time that an environment was made."""
    file = workspace / "envs" / "made"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


HANDS = "in the search for its hands"
REMEDY = "name the action that moves it, hands=[Hand(..., motion=...)], or add --control raw"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Hangs", "the search for its hands hangs: it gave no answer for 1 s; " + REMEDY),
        ("Naps", "the search for its hands hangs: it gave no answer for 1 s; " + REMEDY),
        ("Ends", f"its process ended {HANDS} with exit code 3; it wrote: the client is gone; {REMEDY}"),
        ("Crashes", f"its process ended {HANDS} with signal SIGSEGV; {REMEDY}"),
        ("EndsWhenMade", "its process ended in make() with exit code 4"),
        ("Undeclared", "reset() hangs: it gave no answer for 1 s"),
        ("Stays", "close() hangs: it gave no answer for 1 s"),
    ],
)
def test_an_environment_that_hangs_or_ends_where_it_is_described_ends_a_run_with_one_line(
    name: str, problem: str, workspace: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    arguments = ("--policy", "do_nothing", "--optimizer", "search", "--steps", "9", "--out", "run")
    code = main(("optimize", name, *arguments))
    out, error = capfd.readouterr()
    assert (code, out) == (1, "")
    file = workspace / "envs" / "faulty.py"
    assert error == f"trace-robot: error: {file}: {name}: {problem}; see: trace-robot check-env {name}\n"
    assert not (workspace / "run").exists()
    assert time.monotonic() - started < 30


def test_control_raw_leaves_the_search_for_hands_out() -> None:
    for name in ("Hangs", "Ends"):
        assert Task.load(name, NOTHING, control="raw").spec.control == "raw"


def test_an_environment_that_raises_in_the_search_for_hands_has_none() -> None:
    assert Inspection("Raises", {}).answer().control == "raw"
    assert Inspection("Base", {}).answer().control == "pose"


def test_what_an_environment_prints_while_it_is_described_is_not_seen(
    capfd: pytest.CaptureFixture[str],
) -> None:
    limits = ("--steps", "5", "--held-out", "2", "--episodes", "2", "--workers", "1")
    run = ("--policy", "do_nothing", "--optimizer", "search", "--no-video", "--out", "run")
    assert main(("optimize", "Prints", *run, *limits)) == 0
    out, error = capfd.readouterr()
    assert "at work" not in out
    assert "from C" not in out + error


def test_an_environment_is_made_elsewhere_without_keys_and_once_until_its_file_changes(
    workspace: Path,
) -> None:
    first = Task.load("Base", NOTHING)
    makings = made(workspace)
    assert makings
    assert {process for process, _ in makings}.isdisjoint({str(os.getpid())})
    assert {key for _, key in makings} == {"None"}
    assert Task.load("Base", NOTHING).spec == first.spec
    assert made(workspace) == makings
    file = workspace / "envs" / "faulty.py"
    file.write_text(file.read_text().replace('"x"', '"y"'))
    os.utime(file, ns=(1, 10**18))
    assert Task.load("Base", NOTHING).spec.instruction == "y"
    assert len(made(workspace)) > len(makings)


def test_a_run_without_workers_makes_it_in_its_own_process(workspace: Path) -> None:
    settings = Settings.resolve("Base", "search", workers=0)
    Task.to_optimize(settings, load_policy("lazy"))
    assert {process for process, _ in made(workspace)} == {str(os.getpid())}


@pytest.mark.parametrize("name", ["Base", "CartPole-v1", "Pusher-v5"])
def test_what_a_child_process_answers_is_what_this_process_finds(name: str) -> None:
    settings: list[dict[str, Any]] = [{"hold": "end"}, {"hold": 0.5}, {"world": {"mass": 1.5}}]
    answers: list[EnvDetails] = [
        Inspection(name, {}, tracking=True, equipment=settings, facts=True, apart=apart).answer()
        for apart in (True, False)
    ]
    assert answers[0] == answers[1]
    assert repr(answers[0].spec.to_data()) == repr(answers[1].spec.to_data())
    assert len(answers[0].refusals) == 3
    assert answers[0].facts is not None


def test_meta_world_is_described_without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "MessageProcess", None)
    assert Task.load("reach-v3", NOTHING).spec.control == "pose"


@pytest.mark.usefixtures("impatient")
def test_a_prompt_goes_without_facts_where_a_full_action_hangs(caplog: pytest.LogCaptureFixture) -> None:
    task = Task.load("Declared", NOTHING)
    with caplog.at_level(logging.WARNING, "trace_robot"):
        assert task.with_facts().facts == ()
    (record,) = caplog.records
    assert record.getMessage().startswith("prompts go without facts of the body: ")
    assert (
        "Declared: step() hangs: it gave no answer for 1 s; see: trace-robot check-env Declared"
        in caplog.text
    )


@pytest.mark.parametrize("size", [(1, 2), np.array([1, 2])])
def test_options_stay_as_they_were_given(size: Any) -> None:
    task = Task.load("Base", NOTHING, options={"size": size})
    assert task.spec.options["size"] is size
    assert task.options["size"] is size


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sise": 1}, ValueMismatchError, "the environment refuses its arguments: .*'sise'; it takes size"),
        ({"horizon": 0}, WorkspaceError, "horizon must be a whole number of at least 1, got 0"),
        ({"control": "posed"}, ValueMismatchError, "control of Base must be 'raw', got 'posed'"),
    ],
)
def test_what_is_refused_there_is_the_same_error_here(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    texts = []
    for apart in (True, False):
        with pytest.raises(error, match=message) as raised:
            Inspection("Base", options, apart=apart).answer()
        assert type(raised.value) is error
        texts.append(str(raised.value))
    assert texts[0] == texts[1]


def test_a_child_process_ends_when_the_run_does(workspace: Path) -> None:
    ask = Inspection("Naps", {})
    with MessageProcess(python_command(inspection.CHILD), ask.to_json()) as child:
        while child.next(60.0) != {"doing": "the search for its hands"}:
            pass
        assert child.process.stdin is not None
        child.process.stdin.close()
        assert child.process.wait(20.0) == 1


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('hello')", "its process wrote in the import of its plug-in what is no message"),
        ("print('[1]')", "its process wrote in the import of its plug-in what is no message"),
        ("print('{\"spec\": 1}')", "its description cannot be read: TypeError"),
        ("print('{\"news\": 1}')", "its description cannot be read: ValueError"),
        ("import os, time; os.close(1); time.sleep(1000)", "its process ended in .* with its pipe closed"),
        ("pass", "its process ended in the import of its plug-in with exit code 0"),
    ],
)
def test_an_answer_that_cannot_be_read_is_one_line(
    code: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "END_SECONDS", 0.5)
    monkeypatch.setattr(inspection, "python_command", lambda module: [sys.executable, "-c", code])
    with pytest.raises(EnvironmentFault, match=rf"faulty.py: Base: {message}"):
        Inspection("Base", {}).answer()
