"""What the engine itself costs, with the simulator replaced by a sleep: how many workers one parent can feed.

    python benchmarks/scale.py                      local processes: 1, 4, 16 and 32 workers
    python benchmarks/scale.py --backend ray        the same on a Ray cluster of this machine

Every episode sleeps instead of simulating, so that far more workers than processors can be busy. Efficiency is the time
that the sleeping alone would take with that number of workers over the time it took. "parent" is the processor time
of this process for an episode, which bounds the episodes a second that it can hand out and take in; "results" is what
an episode weighs on its way back.
"""

from __future__ import annotations

import argparse
import os
import pickle
import tempfile
import time
from pathlib import Path

from trace_robot.rollout.engine import BackendName, RolloutEngine
from trace_robot.rollout.episode import Job

PLUGIN = """
import time

import gymnasium
import numpy as np

from trace_robot.spec import TaskSpec, Field

PLACES = (Field("hand_position", 0, 3), Field("goal_position", 3, 6))
PARTS = (Field("motion", 0, 3), Field("gripper", 3, 4))


def names():
    return ["sleep"]


def describe(name, *, seconds=0.1):
    return TaskSpec(
        name="sleep", instruction="Wait.", observation=PLACES, action=PARTS, observation_size=39,
        low=(-1.0,) * 4, high=(1.0,) * 4, horizon=100, positions=("hand_position", "goal_position"),
        options={"seconds": seconds},
    )


class Sleep(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (39,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
    record_states = False

    def __init__(self, seconds):
        self.seconds = seconds

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(39), {"success": False, "steps": 0}

    def step(self, action):
        self.steps += 1
        if self.steps == 100:
            time.sleep(self.seconds)
        return np.zeros(39), 0.0, False, self.steps == 100, {"success": False, "steps": self.steps}


def make(name, *, seconds=0.1):
    return Sleep(seconds)
"""


def program() -> dict[str, object]:
    """Return a staged program that never gives up, as data."""
    from trace_robot.search.staged import Stage, StagedProgram, Waypoint

    stage = Stage("hand_position", Waypoint("goal_position"), 0.0)
    return dict(StagedProgram((stage,)).to_data())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=("local", "ray"), default="local")
    parser.add_argument("--workers", default="1,4,16,32", metavar="N,..")
    parser.add_argument("--sleep", type=float, default=0.2, help="seconds an episode sleeps (default 0.2)")
    parser.add_argument("--rounds", type=float, default=20, help="episodes a worker (default 20)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "envs").mkdir()
        (Path(folder) / "envs" / "sleep.py").write_text(PLUGIN)
        os.environ["TRACE_ROBOT_WORKSPACE"] = folder
        print(f"{options.backend}, episodes of {options.sleep:g} s of sleep and 100 decisions")
        print(
            f"{'workers':>8}{'start s':>10}{'efficiency':>12}{'parent us/episode':>20}{'results bytes/episode':>24}"
        )
        for workers in map(int, options.workers.split(",")):
            measure(options.backend, workers, options.sleep, int(options.rounds * workers))


def measure(backend: BackendName, workers: int, sleep: float, episodes: int) -> None:
    job = Job("sleep", 0, {"seconds": sleep}, program=program(), measure=False)
    with RolloutEngine(workers, backend=backend) as engine:
        started = time.monotonic()
        quick = [Job("sleep", 0, {"seconds": 0.5}, program=job.program) for _ in range(4 * workers)]
        engine.run(quick)  # workers and their environments are there once this is done
        start = time.monotonic() - started
        jobs = [Job("sleep", seed, job.options, program=job.program) for seed in range(episodes)]
        before, began = time.process_time(), time.monotonic()
        found = engine.run(jobs)
        wall, spent = time.monotonic() - began, time.process_time() - before
    ideal = -(-episodes // workers) * sleep
    size = len(pickle.dumps(found[0]))
    print(
        f"{workers:8d}{start:10.1f}{ideal / wall:12.2f}{1e6 * spent / episodes:20.0f}{size:24d}", flush=True
    )


if __name__ == "__main__":
    main()
