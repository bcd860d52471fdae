"""A worker and its controller's process share a CPU until it is contended."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trace_robot.child_process import SharedCpu, _waited
from trace_robot.rollout.env_runner import EnvRunner
from trace_robot.rollout.episode import Job

WORKSPACE = Path(__file__).parents[1] / "workspace"
SPIN = "import sys\nprint('on', flush=True)\nwhile True: pass"
pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2 or _waited() is None,
    reason="needs two processors and a kernel that counts how long processes wait",
)


@pytest.fixture(autouse=True)
def everywhere() -> Iterator[set[int]]:
    before = os.sched_getaffinity(0)
    yield before
    os.sched_setaffinity(0, before)


@pytest.fixture
def idle() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.communicate(b"\n")


def test_both_are_on_one_processor_and_free_again_afterwards(everywhere: set[int], idle: int) -> None:
    cpu = SharedCpu()
    cpu.pin(idle)
    assert os.sched_getaffinity(0) == os.sched_getaffinity(idle)
    assert len(os.sched_getaffinity(0)) == 1
    cpu.release()
    assert os.sched_getaffinity(0) == os.sched_getaffinity(idle) == everywhere


def test_a_closed_runner_releases_its_processor(
    everywhere: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(WORKSPACE))
    runner = EnvRunner(cpu=SharedCpu())
    ((_, episode),) = runner.run([Job("mass", 0, controller="def act(observation):\n    return [0.0]\n")])
    assert episode.fault is None
    assert len(os.sched_getaffinity(0)) == 1
    runner.close()
    assert os.sched_getaffinity(0) == everywhere


def test_a_new_process_is_brought_to_the_same_processor(idle: int) -> None:
    cpu = SharedCpu()
    cpu.pin(os.getpid())
    cpu.pin(idle)
    assert os.sched_getaffinity(idle) == os.sched_getaffinity(0)
    assert len(os.sched_getaffinity(idle)) == 1


def test_a_processor_that_others_want_is_given_up(everywhere: set[int], idle: int) -> None:
    cpu = SharedCpu()
    cpu.pin(idle)
    with subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        try:
            os.sched_setaffinity(other.pid, os.sched_getaffinity(0))
            other.stdout.readline()
            deadline = time.monotonic() + 60
            while os.sched_getaffinity(0) != everywhere and time.monotonic() < deadline:
                sum(range(100_000))
                cpu.pin(idle)
        finally:
            other.kill()
    assert os.sched_getaffinity(0) == os.sched_getaffinity(idle) == everywhere


def test_a_process_that_has_ended_is_no_error(everywhere: set[int]) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    cpu = SharedCpu()
    cpu.pin(process.pid)
    assert len(os.sched_getaffinity(0)) == 1
    cpu.release()
    assert os.sched_getaffinity(0) == everywhere
