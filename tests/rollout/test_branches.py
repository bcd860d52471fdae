"""Workers that cannot start, do not end, or are not there at all."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from trace_robot.errors import EnvironmentFault, UnknownNameError, WorkspaceError
from trace_robot.rollout import backends
from trace_robot.rollout.backends import ray
from trace_robot.rollout.engine import RolloutEngine
from trace_robot.rollout.episode import Job

LAZY = "def act(observation):\n    return [0.0] * 4\n"
pytestmark = pytest.mark.usefixtures("point_mass")


@pytest.mark.parametrize("size", [0, 1, 3])
def test_the_number_of_workers_is_known_before_any_is_started(size: int) -> None:
    with RolloutEngine(size) as engine:
        assert engine.workers == size
        assert engine.worker_pids == []
    with RolloutEngine() as engine:
        assert engine.workers == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("size", [0, 1])
def test_an_error_of_a_batch_is_the_same_in_this_process_and_in_a_worker(size: int) -> None:
    with RolloutEngine(size) as engine:
        with pytest.raises(
            UnknownNameError, match=r"no environment 'point-mas'; did you mean 'point-mass' or "
        ):
            engine.run([Job("point-mas", 0, controller=LAZY)])
        (episode,) = engine.run([Job("point-mass", 0, controller=LAZY)])
        assert episode.ended == "time"


def test_workers_that_cannot_start_end_the_run_with_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def broken(*_: str) -> list[str]:
        started.append(1)
        return [sys.executable, "-c", "raise SystemExit(3)"]

    monkeypatch.setattr(backends, "python_command", broken)
    with (
        RolloutEngine(2) as engine,
        pytest.raises(
            EnvironmentFault, match=r"workers end before they are ready: its process ended with exit code 3"
        ),
    ):
        engine.run([Job("point-mass", seed, controller=LAZY) for seed in range(4)])
    assert len(started) < 10  # it gave up, rather than start one after the other


def test_a_worker_that_does_not_end_when_asked_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "END_SECONDS", 0.2)
    engine = RolloutEngine(1)
    engine.run([Job("point-mass", 0, controller=LAZY)])
    (pid,) = engine.worker_pids
    os.kill(pid, signal.SIGSTOP)
    before = time.monotonic()
    engine.close()
    assert time.monotonic() - before < 60
    assert not Path(f"/proc/{pid}").exists()


def test_a_workspace_too_large_to_send_to_every_node_is_refused_with_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "envs" / "__pycache__").mkdir(parents=True)
    (tmp_path / "envs" / "mine.py").write_text("x = 1\n")
    (tmp_path / "envs" / "__pycache__" / "mine.pyc").write_bytes(b"0" * 4 * 2**20)
    monkeypatch.setattr(ray, "LARGEST_PLUGIN_MB", 1)
    assert ray._plugins(tmp_path) == {"envs/mine.py": b"x = 1\n"}
    (tmp_path / "envs" / "mesh.bin").write_bytes(b"0" * (2**20 + 1))
    with pytest.raises(
        WorkspaceError, match="has more than 1 MB, too much to send to every node; keep large"
    ):
        ray._plugins(tmp_path)
