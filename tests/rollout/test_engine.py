"""The engine: the same jobs give the same episodes, even if a worker dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from trace_robot.child_process import clean_environment
from trace_robot.errors import MissingExtraError, OrderError, TraceRobotError, UnknownNameError
from trace_robot.fault import Limits
from trace_robot.rollout.engine import RolloutEngine
from trace_robot.rollout.episode import Episode, Job

WORKSPACE = Path(__file__).parents[1] / "workspace"
GOOD = """
def act(observation):
    error = observation["goal_position"] - observation["hand_position"]
    return [*(10 * error).clip(-1, 1), 0.0]
"""
LAZY = "def act(observation):\n    return [0.0] * 4\n"
BROKEN = "def act(observation):\n    k = 0\n    return [1 / k] * 4\n"
ENDLESS = "def act(observation):\n    while True:\n        pass\n"
COUNTS = """
calls = 0

def act(observation, memory):
    global calls
    calls += 1
    memory["calls"] = memory.get("calls", 0) + 1
    assert memory["calls"] == calls
    return [calls / 100, 0, 0, 0]
"""


@pytest.fixture(autouse=True)
def _workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(WORKSPACE))


@pytest.fixture(scope="module")
def engine() -> Iterator[RolloutEngine]:
    """Two workers for all tests: one that a test has killed is replaced, which is tested as well."""
    with RolloutEngine(2) as engine:
        yield engine


def job(controller: str, seed: int = 0, env: str = "point-mass", **rest: object) -> Job:
    return Job(env, seed, controller=controller, limits=Limits(call_seconds=0.3), **rest)  # type: ignore[arg-type]


def what(episode: Episode) -> tuple[object, ...]:
    return (
        episode.seed,
        episode.ended,
        episode.steps,
        episode.rewards.tobytes(),
        episode.actions.tobytes(),
        episode.fault,
    )


def test_a_good_controller_succeeds_and_a_lazy_one_runs_out_of_time(engine: RolloutEngine) -> None:
    good, lazy = engine.run([job(GOOD), job(LAZY)])
    assert (good.ended, lazy.ended) == ("success", "time")
    assert good.decisions < lazy.decisions == 40
    assert good.actions.dtype == np.float32


def test_episodes_come_back_in_the_order_of_the_jobs_and_are_the_same_in_this_process(
    engine: RolloutEngine,
) -> None:
    jobs = [job(text, seed) for seed in range(6) for text in (GOOD, LAZY, BROKEN)]
    there = engine.run(jobs)
    with RolloutEngine(0) as here_engine:
        here = here_engine.run(list(reversed(jobs)))
    assert [what(e) for e in there] == [what(e) for e in reversed(here)]
    assert [e.seed for e in there] == [j.seed for j in jobs]


def test_an_exception_ends_one_episode_with_the_line_and_leaves_the_others(engine: RolloutEngine) -> None:
    broken, good = engine.run([job(BROKEN), job(GOOD)])
    assert broken.ended == "error"
    assert broken.fault is not None
    assert (broken.fault.category, broken.fault.line) == ("exception", 3)
    assert "ZeroDivisionError" in broken.fault.message
    assert good.success


def test_a_controller_that_never_returns_is_really_killed(engine: RolloutEngine) -> None:
    endless, good = engine.run([job(ENDLESS), job(GOOD)])
    assert endless.fault is not None
    assert endless.fault.category == "timeout"
    assert good.success


def test_every_episode_starts_from_a_fresh_controller(engine: RolloutEngine) -> None:
    first, second = engine.run([job(COUNTS, 2), job(COUNTS, 2)])
    assert what(first) == what(second)
    assert first.actions[0, 0] == np.float32(0.01)


def test_a_worker_that_dies_twice_at_a_job_costs_that_job_only(engine: RolloutEngine) -> None:
    episodes = engine.run([job(GOOD, 0), job(GOOD, 0, "point-mass-that-dies"), job(GOOD, 2)])
    assert [episode.ended for episode in episodes] == ["success", "error", "success"]
    assert episodes[1].fault is not None
    assert episodes[1].fault.category == "crash"


def test_a_worker_killed_from_outside_is_replaced_and_nothing_is_lost(engine: RolloutEngine) -> None:
    killed: list[int] = []

    def kill(index: int, episode: Episode) -> None:
        if not killed:
            killed.append(engine.worker_pids[0])
            os.kill(killed[0], signal.SIGKILL)

    jobs = [job(GOOD, seed) for seed in range(20)]
    disturbed = engine.run(jobs, on_episode=kill)
    assert killed
    assert killed[0] not in engine.worker_pids
    assert [what(e) for e in disturbed] == [what(e) for e in engine.run(jobs)]


def test_a_simulation_that_diverges_is_a_fault_of_the_environment(engine: RolloutEngine) -> None:
    (episode,) = engine.run([job(GOOD, 0, "point-mass-that-raises")])
    assert episode.fault is not None
    assert (episode.fault.category, episode.fault.message) == ("environment", "the simulation diverged")


def test_an_exception_of_a_plug_in_is_a_fault_of_the_environment_not_of_the_run(
    engine: RolloutEngine,
) -> None:
    broken, good = engine.run([job(GOOD, 0, "point-mass-that-breaks"), job(GOOD)])
    assert broken.fault is not None
    assert broken.fault.category == "environment"
    assert broken.fault.message == "ZeroDivisionError: a bug of the plug-in (point_mass.py, line 73)"
    assert good.success


def test_a_worker_that_hangs_in_the_simulator_is_replaced_and_costs_one_episode() -> None:
    with RolloutEngine(1, timeout=120.0) as engine:
        engine.run([job(GOOD)])
        engine._timeout = 3.0  # a busy machine may stop the good one for a second or two
        hung, good = engine.run([job(GOOD, 0, "point-mass-that-hangs"), job(GOOD)])
    assert hung.fault is not None
    assert hung.fault.category == "crash"
    assert "it gave no sign of life" in hung.fault.message
    assert good.success


def test_a_stream_reads_jobs_only_as_workers_need_them() -> None:
    read = 0

    def jobs() -> Iterator[Job]:
        nonlocal read
        for seed in range(1_000_000):
            read += 1
            yield job(GOOD, seed)

    seen = []
    with RolloutEngine(2) as engine, closing(engine.stream(jobs())) as stream:
        for index, episode in stream:
            seen.append((index, episode.seed))
            if len(seen) == 40:
                break
    assert all(index == seed for index, seed in seen)
    assert len(set(seen)) == 40
    assert read <= 40 + 2 * 8 * 8 * 2


def test_a_stream_that_is_left_is_cancelled_and_the_engine_goes_on(engine: RolloutEngine) -> None:
    engine.run([job(GOOD, seed) for seed in range(8)])
    pids = engine.worker_pids
    endless = Job("point-mass", 0, controller=ENDLESS, limits=Limits(call_seconds=60.0))
    with closing(engine.stream([job(LAZY), endless, endless])) as stream:
        assert next(stream)[1].ended == "time"
    assert len(set(pids) & set(engine.worker_pids)) < 2
    assert all(episode.success for episode in engine.run([job(GOOD, seed) for seed in range(8)]))


def test_an_error_of_a_callback_cancels_the_run_and_reaches_the_caller(engine: RolloutEngine) -> None:
    def stop(index: int, episode: Episode) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run([job(LAZY, seed) for seed in range(20)], on_episode=stop)
    assert engine.run([job(GOOD)])[0].success


def test_two_streams_at_once_are_refused(engine: RolloutEngine) -> None:
    with closing(engine.stream([job(LAZY, seed) for seed in range(4)])) as stream:
        next(stream)
        with pytest.raises(
            OrderError, match=r"the engine is running other jobs; finish or close that stream first"
        ):
            engine.run([job(GOOD)])
        assert len(list(stream)) == 3


def test_an_unknown_environment_is_one_error_with_a_suggestion(engine: RolloutEngine) -> None:
    with pytest.raises(UnknownNameError, match=r"no environment 'point-mas'; did you mean 'point-mass'"):
        engine.run([job(GOOD, 0, "point-mas")])
    assert engine.run([job(GOOD)])[0].success


def test_no_worker_is_left_when_the_engine_is_closed() -> None:
    engine = RolloutEngine(2)
    engine.run([job(GOOD, seed) for seed in range(4)])
    pids = engine.worker_pids
    assert len(pids) == 2
    engine.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_keys_do_not_reach_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    assert "secret" not in "".join(clean_environment().values())
    with RolloutEngine(1) as engine:
        engine.run([job(GOOD)])
        (pid,) = engine.worker_pids
        assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_workers_end_when_the_process_that_started_them_is_killed() -> None:
    program = (
        "import os, signal\n"
        "from trace_robot.rollout.engine import RolloutEngine\n"
        "from trace_robot.rollout.episode import Job\n"
        "engine = RolloutEngine(1)\n"
        "jobs = (Job('point-mass', seed, controller='def act(o): return [0.0] * 4') for seed in range(10**6))\n"
        "for number, _ in enumerate(engine.stream(jobs)):\n"
        "    if number == 20:\n"
        "        print(engine.worker_pids[0], flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    pid = int(done.stdout)
    deadline = time.monotonic() + 120
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pid), done.stderr


def _runs(pid: int) -> bool:
    """Whether a process is there, and no zombie that init has yet to collect."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ray_is_imported_only_when_asked_for() -> None:
    program = (
        "import sys\n"
        "from trace_robot.rollout.engine import RolloutEngine\n"
        "from trace_robot.rollout.episode import Job\n"
        "RolloutEngine(0).run([Job('point-mass', 0, controller='def act(o): return [0.0] * 4')])\n"
        "assert 'ray' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_worker_loads_no_client_of_a_model_and_nothing_that_starts_workers() -> None:
    """Each run starts workers, tests by the hundred: what only the parent needs doubled the time of a start."""
    program = (
        "import sys\n"
        "import trace_robot.rollout.worker\n"
        "rooms = ('llm', 'policy', 'trace', 'rollout.engine', 'rollout.evaluate', 'optimizers.problem')\n"
        "print(*[room for room in rooms if f'trace_robot.{room}' in sys.modules])\n"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == ""


def test_without_ray_the_error_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'trace-robot\[ray\]'"):
        RolloutEngine(2, backend="ray").run([job(GOOD)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": -1}, r"workers must be 0 \(this process\) or more, got -1"),
        ({"backend": "dask"}, "backend must be one of local, ray, got 'dask'"),
        ({"address": "head:6379"}, "an address is for backend 'ray' only, got 'head:6379' for 'local'"),
        ({"lock_step": 0}, "lock_step must be from 1 to 64, got 0"),
    ],
)
def test_wrong_settings_are_refused_by_name(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(TraceRobotError, match=message):
        RolloutEngine(**arguments)  # type: ignore[arg-type]
