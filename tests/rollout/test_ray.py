"""The engine on a Ray cluster of two nodes on this machine."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trace_robot.errors import EnvironmentFault, TraceRobotError, UnknownNameError
from trace_robot.rollout.backends.ray import Actor
from trace_robot.rollout.engine import RolloutEngine
from trace_robot.rollout.episode import Episode, Job

pytestmark = [  # Ray's own: unclosed sockets and files, settings that will change
    pytest.mark.filterwarnings(f"ignore::{name}")
    for name in (
        "ResourceWarning",
        "FutureWarning",
        "DeprecationWarning",
        "pytest.PytestUnraisableExceptionWarning",
    )
]
WORKSPACE = Path(__file__).parents[1] / "workspace"
GOOD = """
def act(observation):
    error = observation["goal_position"] - observation["hand_position"]
    return [*(10 * error).clip(-1, 1), 0.0]
"""
BROKEN = "def act(observation):\n    k = 0\n    return [1 / k] * 4\n"
LAZY = "def act(observation):\n    return [0.0] * 4\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one processor each, the first of them the head."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("ray", reason="Ray is not installed: pip install 'trace-robot[ray]'")
        from ray.cluster_utils import Cluster
    before = dict(os.environ)
    os.environ.update(
        TRACE_ROBOT_WORKSPACE=str(WORKSPACE), RAY_USAGE_STATS_ENABLED="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
        OPENAI_API_KEY="sk-secret", GITHUB_PAT="pat-secret", DATABASE_URL="postgres://me:secret@db",
    )  # fmt: skip
    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.second = cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()
    os.environ.clear()
    os.environ.update(before)
    logging.getLogger("ray").handlers.clear()


def job(controller: str, seed: int = 0, env: str = "point-mass") -> Job:
    return Job(env, seed, controller=controller)


def what(episode: Episode) -> tuple[object, ...]:
    arrays = (episode.rewards.tobytes(), episode.actions.tobytes())
    return (episode.seed, episode.ended, episode.steps, *arrays, episode.fault)


def test_a_node_that_is_killed_in_the_middle_loses_nothing_and_the_episodes_are_those_of_this_process(
    cluster: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    jobs = [job(text, seed) for text in (GOOD, BROKEN, LAZY) for seed in range(40)]
    with RolloutEngine(0) as here:
        expected = [what(episode) for episode in here.run(jobs)]
    nodes = [cluster.second]

    def kill(index: int, episode: Episode) -> None:
        if nodes:
            cluster.remove_node(nodes.pop(), allow_graceful=False)

    with RolloutEngine(2, backend="ray", address=cluster.address) as engine:
        with pytest.raises(UnknownNameError, match="did you mean 'point-mass'"):
            engine.run([job(GOOD, 0, "point-mas")])
        assert "secret" not in _variables_of_an_actor()
        assert [what(episode) for episode in engine.run(jobs)] == expected
        assert [what(episode) for episode in engine.run(jobs, on_episode=kill)] == expected
        assert not nodes
        fatal, good = engine.run([job(GOOD, 0, "point-mass-that-dies"), job(GOOD)])
    assert fatal.fault is not None
    assert fatal.fault.category == "crash"
    assert "exit code 3; it wrote: the cable is off" in fatal.fault.message
    assert "the cable is off" in engine.output.text
    assert good.success
    assert capfd.readouterr().out == ""


def test_a_call_that_hangs_on_a_node_is_named(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient(Actor):
        def __init__(self, *args: Any, **settings: Any) -> None:
            from trace_robot.rollout import backends

            vars(backends)["HANG_SECONDS"] = 1.0
            super().__init__(*args, **settings)

    monkeypatch.setattr("trace_robot.rollout.backends.ray.Actor", Impatient)
    with (
        RolloutEngine(1, backend="ray", address=cluster.address) as engine,
        pytest.raises(EnvironmentFault, match=r"^environment 'point-mass-that-hangs': step\(\) hangs"),
    ):
        engine.run([job(GOOD), job(GOOD, env="point-mass-that-hangs")])


def _variables_of_an_actor() -> str:
    import ray

    class Telling(Actor):
        def variables(self) -> str:
            return repr(dict(os.environ))

    actor: Any = ray.remote(num_cpus=0)(Telling).remote({}, trusted=False, lock_step=None)
    return str(ray.get(actor.variables.remote()))


def test_a_cluster_that_is_not_there_is_one_error() -> None:
    pytest.importorskip("ray")
    with pytest.raises(TraceRobotError, match=r"the Ray cluster at '127\.0\.0\.1:1' cannot be reached"):
        RolloutEngine(1, backend="ray", address="127.0.0.1:1").run([job(GOOD)])
