"""An environment that fails ends a run with one line, hangs are named, and prints stay out of a command's output."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trace_robot.child_process import FIRST_LINES, LAST_LINES, OutputLog, captured_output
from trace_robot.cli.main import main
from trace_robot.env.registry import describe
from trace_robot.env_checker.child import examination
from trace_robot.errors import EnvironmentFault, UnknownNameError
from trace_robot.fault import UNSTABLE, WORKER_DIED, Fault
from trace_robot.rollout import RolloutEngine
from trace_robot.rollout.episode import Job
from trace_robot.rollout.evaluate import evaluate
from trace_robot.run.optimize import optimize, resume
from trace_robot.search.feedback_law.law import Feedback, FeedbackLaw, Quantity, Sum

ENVIRONMENTS = '''
import ctypes, os, time
import gymnasium, numpy as np
from gymnasium.spaces import Box
from pathlib import Path
from trace_robot import Environment

ZERO = np.zeros(1, np.float32)


class Base(gymnasium.Env):
    observation_space, action_space = Box(-9, 9, (1,)), Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        self.seed = seed
        return ZERO, {}

    def step(self, action):
        return ZERO, 0.0, False, False, {"success": False}


class NoOptions(Base):
    def reset(self, seed=None):
        return ZERO, {}


class Raises(Base):
    def step(self, action):
        raise OSError(5, "no such arm")


class Exits(Base):
    def step(self, action):
        raise SystemExit("gone")


class Dies(Base):
    def reset(self, *, seed=None, options=None):
        print("last words", flush=True)
        os._exit(7)


class Some(Base):
    def step(self, action):
        if self.seed % 2:
            raise OSError("odd condition")
        return ZERO, 0.0, False, False, {"success": True}


class Later(Base):
    """Fails in every reset once a file is there."""

    def reset(self, *, seed=None, options=None):
        if Path(os.environ["TRACE_ROBOT_WORKSPACE"], "broken").exists():
            raise OSError("the arm is off")
        return super().reset(seed=seed)


class HangsInStep(Base):
    def step(self, action):
        while True:
            time.sleep(0.01)


class HangsInReset(Base):
    def reset(self, *, seed=None, options=None):
        ctypes.CDLL(None).pause()  # in C: no other thread of Python could interrupt it by itself


class HangsLater(Base):
    def step(self, action):
        if self.seed == 50_002:
            time.sleep(1000)
        return ZERO, 0.0, False, False, {"success": True}


class HangsEver(Base):
    """Hangs on all conditions but one."""

    def step(self, action):
        if self.seed != 50_000:
            time.sleep(1000)
        return ZERO, 0.0, False, False, {"success": True}


class Closes(Base):
    def close(self):
        print("closing")
        raise RuntimeError("no arm to close")


class Loud(Base):
    def __init__(self):
        print("made")

    def reset(self, *, seed=None, options=None):
        print("reset")
        os.write(1, b"from C\\n")
        ctypes.CDLL(None).puts(b"late, from a buffer of C")
        return ZERO, {}

    def step(self, action):
        os.write(2, b"an error\\n")
        return ZERO, 0.0, False, False, {"success": True}


def judge(step):
    return 1 / 0


CLASSES = (NoOptions, Raises, Exits, Dies, Some, Later, HangsInStep, HangsInReset, HangsLater, HangsEver, Loud)
ENVIRONMENTS = [
    Environment(each.__name__, "x", make=each, success="success", horizon=3) for each in CLASSES
] + [
    Environment("Judged", "x", make=Base, success=judge, horizon=3),
    Environment("Rewarded", "x", make=Base, reward=judge, success="success", horizon=3),
    Environment("Undeclared", "x", make=Loud, horizon=3),
    Environment("Misspelt", "x", make=Base, success="succes", horizon=3),
    Environment("Closes", "x", make=Closes, success="success", horizon=3),
]
print("loaded")
'''
LAZY = "def act(observation, memory):\n    return [0.0]\n"


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "broken.py").write_text(ENVIRONMENTS)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "lazy.py").write_text(LAZY)
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hang_after(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let a call count as hung after ``seconds`` more than the longest, looked at more often than once a second."""
    monkeypatch.setattr("trace_robot.rollout.backends.HANG_SECONDS", seconds)
    monkeypatch.setattr("trace_robot.rollout.engine.WAIT_SECONDS", 0.1)


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(arguments)
        return code, *capfd.readouterr()

    return run


BROKEN = {
    "NoOptions": "unexpected keyword argument 'options'",
    "Raises": r"OSError: \[Errno 5\] no such arm \(broken.py, line 29\)$",
    "Exits": r"SystemExit: gone \(broken.py, line 34\)$",
    "Judged": r"ZeroDivisionError: division by zero \(broken.py, line \d+\)$",
    "Rewarded": r"ZeroDivisionError: division by zero",
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_environment_that_fails_in_every_episode_ends_an_evaluation_and_a_run(
    name: str, workspace: Path
) -> None:
    with RolloutEngine(0) as engine:
        with pytest.raises(
            EnvironmentFault, match=f"^the environment failed in every one of 2 episodes: .*{BROKEN[name]}"
        ):
            evaluate(name, "lazy", episodes=2, engine=engine)
        with pytest.raises(EnvironmentFault, match="in every one of 3 episodes"):
            optimize(
                name,
                optimizer="search",
                steps=1000,
                episodes=3,
                held_out=2,
                out=workspace / "run",
                engine=engine,
            )


def test_the_command_line_says_it_in_one_line_and_exits_with_1(command: Command) -> None:
    code, out, error = command("evaluate", "Raises", "--policy", "lazy", "--episodes", "2", "--workers", "0")
    assert (code, out, error.count("\n")) == (1, "", 1)
    assert "OSError: [Errno 5] no such arm (broken.py, line 29)" in error
    run = ("--optimizer", "search", "--steps", "100", "--workers", "0", "--out", "b")
    code, _, error = command("bench", "--tasks", "Raises", *run)
    assert code == 1
    assert "Raises, seed 0: the environment broke: the environment failed in every one of" in error


def test_an_environment_that_ends_its_worker_ends_the_run_with_its_last_words() -> None:
    with (
        RolloutEngine(1) as engine,
        pytest.raises(EnvironmentFault, match="exit code 7; it wrote: last words"),
    ):
        evaluate("Dies", "lazy", episodes=1, engine=engine)


def test_a_fault_on_some_conditions_stands_in_the_result_as_failure(workspace: Path) -> None:
    with RolloutEngine(0) as engine:
        report = evaluate("Some", "lazy", episodes=4, engine=engine)
        assert (report.success, [(fault.message, count) for fault, count in report.faults]) == (
            0.5,
            [("OSError: odd condition (broken.py, line 46)", 2)],
        )
        result = optimize(
            "Some", optimizer="search", steps=20, episodes=4, held_out=4, out=workspace / "run", engine=engine
        )
    assert result.held_out_success == 0.5
    assert "the environment failed in" in result.ended
    assert "OSError: odd condition" in result.ended


def test_a_run_whose_environment_breaks_later_ends_and_goes_on_when_it_is_mended(workspace: Path) -> None:
    settings: dict[str, Any] = {"optimizer": "search", "steps": 300, "episodes": 3, "held_out": 2}

    def breaking(event: Any) -> None:
        if type(event).__name__ == "Iterated":
            (workspace / "broken").touch()

    with RolloutEngine(0) as engine:
        with pytest.raises(EnvironmentFault, match="the arm is off"):
            optimize("Later", out=workspace / "run", engine=engine, on_event=breaking, **settings)
        (workspace / "broken").unlink()
        assert resume(workspace / "run", engine=engine).held_out_episodes == 2


def test_a_run_that_never_began_goes_on_when_its_environment_is_mended(workspace: Path) -> None:
    (workspace / "broken").touch()
    with RolloutEngine(0) as engine:
        with pytest.raises(EnvironmentFault, match="the arm is off"):
            optimize(
                "Later", optimizer="search", seconds=1e-6, held_out=2, out=workspace / "run", engine=engine
            )
        assert not (workspace / "run" / "best.py").exists(), "nothing is known of the start"
        (workspace / "broken").unlink()
        assert resume(workspace / "run", engine=engine).held_out_episodes == 2


@pytest.mark.parametrize(("name", "call"), [("HangsInStep", "step"), ("HangsInReset", "reset")])
def test_a_hang_is_named_and_its_worker_ended(name: str, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hang_after(monkeypatch, 1.0)
    started = time.monotonic()
    with RolloutEngine(1) as engine:
        with pytest.raises(
            EnvironmentFault, match=rf"^environment '{name}': {call}\(\) hangs: it gave no answer for"
        ):
            evaluate(name, "lazy", episodes=3, engine=engine)
        assert engine.worker_pids == []
    assert time.monotonic() - started < 120


def test_a_hang_on_one_condition_is_the_fault_of_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    hang_after(monkeypatch, 1.0)
    with RolloutEngine(1) as engine:
        evaluate("HangsLater", "lazy", episodes=2, engine=engine)
        report = evaluate("HangsLater", "lazy", episodes=4, engine=engine)
    assert [episode.ended for episode in report.episodes] == ["success", "success", "error", "success"]
    assert "step() hangs" in report.faults[0][0].message


def test_several_hangs_in_a_row_end_the_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    hang_after(monkeypatch, 1.0)
    with RolloutEngine(1) as engine:
        evaluate("HangsEver", "lazy", episodes=1, engine=engine)
        with pytest.raises(EnvironmentFault, match=r"^environment 'HangsEver': step\(\) hangs"):
            evaluate("HangsEver", "lazy", episodes=5, engine=engine)


def test_a_timer_of_the_program_that_uses_the_library_goes_on() -> None:
    def ring(*_: object) -> None:
        raise AssertionError("the test took ten minutes")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 600.0)
    try:
        with RolloutEngine(0) as engine:
            evaluate("Some", "lazy", episodes=1, engine=engine)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
        assert signal.getsignal(signal.SIGALRM) is ring
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def test_a_hang_without_workers_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    hang_after(monkeypatch, 1.0)
    with RolloutEngine(0) as engine, pytest.raises(EnvironmentFault, match=r"^step\(\) hangs"):
        evaluate("HangsInStep", "lazy", episodes=3, engine=engine)


@pytest.mark.parametrize(("name", "workers"), [("Loud", "1"), ("Undeclared", "0"), ("Undeclared", "1")])
def test_what_an_environment_prints_stays_out_of_standard_output(
    name: str, workers: str, command: Command
) -> None:
    code, out, error = command(
        "evaluate", name, "--policy", "lazy", "--episodes", "1", "--workers", workers, "--json"
    )
    assert code == 0
    assert json.loads(out)["success"] == 1.0
    assert "the environment printed" in error
    assert error.count("\n") == 1


def test_a_close_that_prints_and_raises_is_one_line(command: Command) -> None:
    arguments = ("--policy", "lazy", "--episodes", "1", "--workers", "0", "--json")
    code, out, error = command("evaluate", "Closes", *arguments)
    assert (code, out, error.count("\n")) == (1, "", 1)
    assert error.rstrip().endswith("Closes cannot be described: RuntimeError: no arm to close")


def test_what_an_environment_printed_is_kept_beside_the_run(workspace: Path) -> None:
    for workers in (0, 1):
        run = workspace / f"run{workers}"
        optimize("Loud", optimizer="search", steps=5, episodes=2, held_out=2, out=run, workers=workers)
        lines = (run / "environment.log").read_text().splitlines()
        assert {"reset", "from C", "an error", "late, from a buffer of C"} <= set(lines)


def test_output_is_kept_from_its_beginning_and_its_end() -> None:
    log = OutputLog()
    with captured_output(log):
        for number in range(1000):
            sys.stdout.write(f"{number}\n")
        os.write(1, b"x" * 10_000)
    lines = log.text.splitlines()
    assert lines[0] == "0"
    assert lines[FIRST_LINES] == f"... {1001 - FIRST_LINES - LAST_LINES} more lines"
    assert len(lines[-1]) == 500
    assert (log.lines, len(lines)) == (1001, FIRST_LINES + 1 + LAST_LINES)


def test_a_declared_name_that_info_never_has_is_one_line(command: Command) -> None:
    code, _, error = command("evaluate", "Misspelt", "--policy", "lazy", "--episodes", "2", "--workers", "0")
    assert code == 0
    assert error.startswith(
        "trace-robot: note: no episode's info had the entry 'succes' that the plug-in declares as success"
    )
    found = list(examination("Misspelt", {}))
    texts = [message["finding"]["text"] for message in found if "finding" in message]
    assert any("in 3 whole episodes info never had the entry declared as success" in text for text in texts)


def test_an_action_of_a_controller_as_data_that_is_not_finite_is_its_own_fault() -> None:
    infinite, zero = Sum(((), ()), (1e308, 1e308)), Sum(((),), (0.0,))
    law = FeedbackLaw((Quantity("number", 0),), Feedback((infinite,), energy_gain=zero))
    with RolloutEngine(0) as engine:
        (episode,) = engine.run([Job("Some", 0, program=law.to_data())])
    assert episode.fault == Fault("not finite", "act must return finite float32 numbers, got [nan]")
    assert not episode.fault.of_environment


def test_a_fault_has_the_line_of_the_users_file(workspace: Path) -> None:
    for head in ("", "import math\n", '"""A policy."""\n\nimport math\nimport numpy as np\n\n'):
        text = f"{head}\n\ndef act(observation, memory):\n    return [1 / 0]\n"
        (workspace / "policies" / "divides.py").write_text(text)
        with RolloutEngine(0) as engine:
            report = evaluate("Some", "divides", episodes=1, engine=engine)
        assert report.faults[0][0].line == text.count("\n"), head


@pytest.mark.parametrize(
    ("category", "message", "own"),
    [
        ("environment", "OSError: x", True),
        ("environment", f"{UNSTABLE}: x", False),
        ("crash", f"{WORKER_DIED} twice", True),
        ("crash", "the process of the controller died", False),
        ("exception", "OSError: x", False),
    ],
)
def test_what_the_controller_may_have_caused_is_not_the_environments_own_failure(
    category: Any, message: str, own: bool
) -> None:
    assert Fault(category, message).of_environment is own


RAISES = {
    "old_register": ("import gymnasium\ngymnasium.register(id='X-v0', entry_point='x:Y', old=True)", "TypeError"),
    "needs_file": ("open('/no/such/robot.yaml')", "FileNotFoundError"),
    "leaves": ("import sys; sys.exit('no display')", "SystemExit: no display"),
    "breaks": ("def x(:", "SyntaxError"),
}  # fmt: skip


@pytest.mark.parametrize("module", RAISES)
def test_what_an_import_raises_is_one_line(module: str, workspace: Path) -> None:
    text, error = RAISES[module]
    (workspace / f"{module}.py").write_text(text)
    with pytest.raises(
        UnknownNameError, match=rf"^{module}:X-v0: module '{module}' cannot be imported: {error}"
    ):
        describe(f"{module}:X-v0", task="x")
    (workspace / "envs" / "more.py").write_text(f"ENVIRONMENTS = []\n{text}\n")
    assert describe("Some").name == "Some", "the other files of the folder are read all the same"
    with pytest.raises(UnknownNameError, match=rf"more\.py cannot be (loaded: {error}|read as Python)"):
        describe("absent")


def test_a_job_that_asks_for_an_expert_that_raises_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def expert(name: str, **options: Any) -> Any:
        raise OSError("no expert today")

    monkeypatch.setattr("trace_robot.env.registry.expert", expert)
    with RolloutEngine(0) as engine:
        (episode,) = engine.run([Job("Some", 0, controller=LAZY, level="expert")])
    assert episode.fault is not None
    assert "no expert today" in episode.fault.message


def test_a_sum_of_rewards_that_is_not_finite_is_a_fault(workspace: Path) -> None:
    (workspace / "envs" / "rich.py").write_text(
        "from trace_robot import Environment\nfrom .broken import Base, ZERO\n"
        "class Rich(Base):\n    def step(self, action):\n"
        "        return ZERO, 1e308, False, False, {'success': False}\n"
        "ENVIRONMENTS = [Environment('rich', 'x', make=Rich, success='success', horizon=3)]\n"
    )
    with RolloutEngine(0) as engine:
        (episode,) = engine.run([Job("rich", 0, controller=LAZY)])
    assert episode.fault is not None
    assert "the sum of the rewards is not finite: inf" in episode.fault.message
    assert episode.total_reward == 0.0
