"""Child processes: none gets a secret, prints and messages do not mix."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from trace_robot.child_process import (
    JsonLines,
    OutputLog,
    captured_output,
    clean_environment,
    is_inherited,
    python_command,
    workspace_root,
)
from trace_robot.env_checker import examine
from trace_robot.render import RenderProcess, probe
from trace_robot.render.video import Clip, picture_job
from trace_robot.rollout import Job, RolloutEngine
from trace_robot.sandbox import Interface, Sandbox
from trace_robot.spec import Scene, States

SECRETS = {
    "ANTHROPIC_API_KEY": "planted-1",
    "AWS_SECRET_ACCESS_KEY": "planted-2",
    "HF_TOKEN": "planted-3",
    "OPENAI_API_KEY": "planted-4",
    "OPENAI_BASE_URL": "https://user:planted-5@models.example/v1",
    "MY_PASSWORD": "planted-6",
    "my_credentials": "planted-7",
    "GITHUB_PAT": "planted-8",
    "DB_PASS": "planted-9",
    "DATABASE_URL": "postgres://me:planted-10@db.example/robots",
    "https_proxy": "http://me:planted-11@proxy.example:8080",
    "SENTRY_DSN": "https://planted-12@sentry.example/1",
    "MUJOCO_LICENSE_KEY": "planted-13",
    "PYTHON_INDEX": "https://me:planted-14@index.example/simple",
}
# Python imports sitecustomize at the start of every process: each child writes down what it was started with.
SPY = """
import json, os, sys
with open({file!r}, "a") as file:
    file.write(json.dumps([sys.orig_argv, dict(os.environ)]) + "\\n")
"""
STILL = "def act(observation):\n    return [0.0] * 4\n"


class Spy:
    """The environments of the Python processes that were started since the last look."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "environments.jsonl"
        (folder / "sitecustomize.py").write_text(SPY.format(file=str(self._file)))

    def environments(self, module: str) -> list[dict[str, str]]:
        """Return the environments of the processes that ran ``module``, and forget all."""
        lines = [json.loads(line) for line in self._file.read_text().splitlines()]
        self._file.unlink()
        return [environment for arguments, environment in lines if module in arguments]


@pytest.fixture
def spy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point_mass: None) -> Spy:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return Spy(tmp_path)


def leaks(environment: dict[str, str]) -> list[str]:
    return [name for name, value in environment.items() if "planted" in value or name in SECRETS]


def test_the_spy_sees_secrets_where_they_are_not_taken_out(spy: Spy) -> None:
    subprocess.run([sys.executable, "-c", "", "leaky"], check=True)
    (environment,) = spy.environments("leaky")
    assert set(leaks(environment)) == set(SECRETS)


def test_the_environment_checker_gets_no_secret(spy: Spy) -> None:
    assert examine("point-mass").file.endswith(".py")
    environments = spy.environments("trace_robot.env_checker.child")
    assert len(environments) == 3  # the check, and two that compare an episode
    assert [leaks(environment) for environment in environments] == [[]] * 3
    assert environments[0]["TRACE_ROBOT_WORKSPACE"] == workspace_root()


def test_a_rollout_worker_gets_no_secret(spy: Spy) -> None:
    with RolloutEngine(1) as engine:
        engine.run([Job("point-mass", 0, controller=STILL)])
    (environment,) = spy.environments("trace_robot.rollout.worker")
    assert leaks(environment) == []
    assert environment["OMP_NUM_THREADS"] == "1"


def test_the_renderer_and_the_probe_of_a_gl_library_get_no_secret(spy: Spy, tmp_path: Path) -> None:
    model = tmp_path / "box.xml"
    model.write_text('<mujoco><worldbody><geom size="1"/></worldbody></mujoco>')
    states = States(np.zeros((1, 0)), np.zeros((1, 0, 3)), np.zeros((1, 0, 4)), np.zeros(1))
    with RenderProcess(backend="rays") as process:
        process.submit(picture_job([Clip(Scene(str(model)), states)], tmp_path / "box.png"))
        process.finish()
    assert (tmp_path / "box.png").is_file()
    probe.cache_clear()
    probe("osmesa")
    environments = spy.environments("trace_robot.render.worker")
    assert len(environments) == 2
    assert [leaks(environment) for environment in environments] == [[], []]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to see the environment of a process")
def test_a_controller_and_what_started_it_get_no_secret(spy: Spy) -> None:
    with Sandbox(Interface(3, 4)) as sandbox:
        assert sandbox.load(STILL) is None
        pid = sandbox.pid
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        assert parent != str(os.getpid())
        for process in (pid, parent):
            assert b"planted" not in Path(f"/proc/{process}/environ").read_bytes()


@pytest.mark.parametrize(
    "name", [*SECRETS, "GITHUB_TOKEN", "db_passwd", "SOME_KEY_ID", "KUBECONFIG", "SSH_AUTH_SOCK"]
)
def test_no_child_gets_a_variable_that_it_does_not_need(name: str) -> None:
    assert not is_inherited(name, SECRETS.get(name, "anything"))


@pytest.mark.parametrize(
    "name",
    ["PATH", "HOME", "PYTHONPATH", "TRACE_ROBOT_WORKSPACE", "MUJOCO_GL", "LC_ALL", "OMP_NUM_THREADS", "Path"],
)
def test_children_get_what_they_need_to_run(name: str) -> None:
    assert is_inherited(name, "/usr/bin:/bin")


def test_a_user_passes_further_variables_on_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_ROBOT_ASSETS", "/robots")
    monkeypatch.setenv("MY_ROBOT_TOKEN", "wanted")
    assert "MY_ROBOT_ASSETS" not in clean_environment()
    monkeypatch.setenv("TRACE_ROBOT_PASS", "MY_ROBOT_ASSETS, MY_ROBOT_TOKEN")
    environment = clean_environment()
    assert (environment["MY_ROBOT_ASSETS"], environment["MY_ROBOT_TOKEN"]) == ("/robots", "wanted")


def test_what_is_asked_for_wins_over_what_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", "here")
    assert clean_environment()["MUJOCO_GL"] == "egl"
    environment = clean_environment({"MUJOCO_GL": "disable", "SOME_KEY": "wanted"})
    assert (environment["MUJOCO_GL"], environment["SOME_KEY"]) == ("disable", "wanted")
    assert environment["TRACE_ROBOT_WORKSPACE"] == workspace_root() == os.path.abspath("here")


CHILD = """
import os, sys, time
from trace_robot.child_process import private_stdout
send = private_stdout()
print("a print of the user's")
os.write(1, b"a print of a C library's\\n")
send({"number": 1})
sys.stdin.readline()
send({"text": "\\u2028 é"})
"""


def test_messages_come_without_prints_each_in_its_time_and_then_an_end() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        messages = JsonLines(process.stdout)
        assert messages.next(60.0) == {"number": 1}
        started = time.monotonic()
        with pytest.raises(TimeoutError, match=r"no message within 0\.05 seconds"):
            messages.next(0.05)
        with pytest.raises(TimeoutError):
            messages.next(-1.0)
        assert time.monotonic() - started < 60
        process.stdin.close()
        assert messages.next(60.0) == {"text": "\u2028 é"}
        for _ in range(2):
            with pytest.raises(EOFError):
                messages.next(60.0)
        messages.join()
        assert process.stdout.closed
        prints = sorted(process.stderr.read().splitlines())
        assert prints == [b"a print of a C library's", b"a print of the user's"]


def test_a_module_is_run_by_this_python() -> None:
    done = subprocess.run(python_command("platform", "--help"), capture_output=True, check=False)
    assert done.returncode == 0


def test_a_child_imports_nothing_of_the_folder_it_starts_in(tmp_path: Path) -> None:
    for name in ("json", "numbers", "runpy", "random"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the folder was searched')")
    command = python_command("trace_robot", "--version")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("trace-robot ")
    (tmp_path / "runpy.py").unlink()  # with -m it is Python that imports it, before any line of ours
    done = subprocess.run(
        [sys.executable, "-m", "trace_robot", "runs", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "[]\n")


@pytest.mark.parametrize(("first", "stays"), [("/a/library", True), ("", False), (None, False)])
def test_the_command_leaves_the_first_folder_of_modules_unless_it_is_the_current_one(
    first: str | None, stays: bool, tmp_path: Path
) -> None:
    entry = str(tmp_path) if first is None else first
    program = f"""
import runpy, sys
sys.path[0] = {entry!r}
sys.argv = ["trace-robot", "--version"]
try:
    runpy.run_module("trace_robot", run_name="__main__")
except SystemExit:
    print({entry!r} in sys.path)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == str(stays)


def test_the_command_starts_in_a_folder_that_was_removed(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    program = f"import os, sys; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r});"
    program += " os.execv(sys.executable, [sys.executable, '-m', 'trace_robot', '--version'])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_line_without_an_end_is_read_in_pieces() -> None:
    log = OutputLog()
    with captured_output(log):
        os.write(1, b"x" * 3 * 2**16)
    assert log.lines == 3
