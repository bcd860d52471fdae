"""The examples of commands that stay, draw or go on: each runs in a process, as it is shown and made short."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trace_robot.cli.main import create_parser

PATIENCE = 300.0  # seconds, on a machine with much else to do
# What makes the first example of a command short.
SHORT = {
    "bench": "--steps 400 --seeds 0 --tasks reach-v3 --workers 1",
    "stress": "--episodes 1 --workers 1",
    "replay": "--no-video --workers 1",
    "drive": "--episodes 1",
    "watch": "--port 0",
    "serve": "--port 0 --workers 1",
}
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are those of Linux and macOS")


def first_example(name: str) -> list[str]:
    """Return the words of a command's first example, with what makes it short."""
    parser = create_parser()
    (action,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    program, *words = shlex.split(action.choices[name].examples[0][0])
    assert program == "trace-robot"
    return [*words, *shlex.split(SHORT.get(name, ""))]


def variables() -> dict[str, str]:
    hidden = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "TRACE_ROBOT_WORKSPACE")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return kept | {"BROWSER": "true", "PYTHONUNBUFFERED": "1"}  # a browser that shows nothing


def ran(words: list[str], place: Path) -> str:
    """Run a command to its end, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "trace_robot", *words],
        cwd=place,
        env=variables(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@contextmanager
def staying(words: list[str], place: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a command that goes on until it is stopped."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trace_robot", *words],
        cwd=place,
        env=variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_with(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """Return the first line of a process that has a pattern."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"it ended without {pattern}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory whose run demo was stopped by Ctrl-C."""
    folder = tmp_path_factory.mktemp("examples")
    demo = ["optimize", "reach-v3", "--out", "rollouts/runs/demo", "--steps", "6000", "--episodes", "2"]
    with staying([*demo, "--held-out", "2", "--workers", "1", "--no-video"], folder) as process:
        line_with(process, "the starting controller")
        process.send_signal(signal.SIGINT)
        line_with(process, "go on with: trace-robot resume demo")
        assert process.wait(PATIENCE) == 130
    return folder


def test_the_examples_of_resume_and_video_end_a_run_and_draw_it(place: Path) -> None:
    assert "held out" in ran(first_example("resume"), place)
    ran(first_example("video"), place)
    assert list(place.rglob("*.mp4"))


@pytest.mark.parametrize("name", ["bench", "stress"])
def test_the_example_of_a_table_runs(name: str, place: Path) -> None:
    assert "success" in ran(first_example(name), place)


def test_the_example_of_replay_repeats_the_recorded_run(place: Path) -> None:
    assert "held out" in ran(first_example("replay"), place)


def test_the_example_of_drive_drives_what_deploy_wrote(place: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("a C compiler is missing")
    ran(["deploy", "zoo/pick_place_v3", "--to", "c", "--out", "robot"], place)
    assert "1 episode" in ran(first_example("drive"), place)


def test_the_example_of_watch_shows_the_runs_until_it_is_stopped(place: Path) -> None:
    with staying(first_example("watch"), place) as process:
        address = line_with(process, r"(http://[\w.:]+/\S*)")[1]
        with urllib.request.urlopen(address, timeout=PATIENCE) as page:
            assert "demo" in page.read().decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) in (0, 130)


def test_the_example_of_serve_describes_the_task_until_it_is_stopped(place: Path) -> None:
    with staying(first_example("serve"), place) as process:
        token, address = line_with(process, r"Bearer ([\w-]+)' (http://127\.0\.0\.1:\d+)/describe").groups()
        request = urllib.request.Request(f"{address}/describe", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            assert "reach-v3" in json.dumps(json.load(answer))
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) in (0, 130)
