"""What the engine keeps of the simulator's speed: two workers beside one, and the sandbox beside no sandbox.

    python benchmarks/rollout_speed.py [--rounds 5] [--episodes 16] [--task pick-place-v3]

Every figure is a ratio of control steps a second of wall clock, measured in one run: rounds alternate between what is
compared, and the median over the rounds is shown. It means little while other programs use the processors; the load
average says whether they did. For the sandbox the ratio of processor time a step (this process and the controller's)
stands beside it: it leaves out what waking the other process takes, and bears company.

In process: the controller is called in this process, without any boundary. Alone, lock step, traced: the same
controller behind the sandbox, its episodes one after the other, eight at once, and one after the other with its graph.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from trace_robot.child_process import SharedCpu
from trace_robot.fault import Fault
from trace_robot.rollout.engine import RolloutEngine
from trace_robot.rollout.env_runner import EnvRunner
from trace_robot.rollout.episode import Job
from trace_robot.rollout.episode_loop import run_episodes
from trace_robot.spec import Array, TaskSpec

CONTROLLER = '''
"""Goes above the thing, down, closes and carries; never quite arrives, so that episodes take their whole time."""
import numpy as np
from trace_robot import bundle, node

gain = node(10.0, name="gain", trainable=True)
speed = node(0.8, name="speed", trainable=True)


@bundle(trainable=True)
def target(observation, memory):
    memory["calls"] = memory.get("calls", 0) + 1
    phase = (memory["calls"] // 60) % 4
    thing = observation["hand_position"] * 0 + np.array([0.0, 0.6, 0.2])
    return thing + np.array([0.1 * np.sin(memory["calls"] / 50), 0.0, 0.1 if phase % 2 else 0.0])


@bundle(trainable=True)
def move(observation, wanted, gain, speed):
    motion = np.clip(gain * (wanted - observation["hand_position"]), -speed, speed)
    return [*motion, 0.5]


def act(observation, memory):
    return move(observation, target(observation, memory), gain, speed)
'''
Rates = dict[str, list[float]]
FLOORS = {"two workers": 1.8, "alone": 0.8, "lock step": 0.9, "traced": 0.6}


class InProcess:
    """The controller in this process, as fast as it goes."""

    def __init__(self, spec: TaskSpec) -> None:
        from trace_robot.trace import stop_tracing

        self._about, self._stop = spec, stop_tracing
        self._act: Callable[..., Any] = lambda *_: None
        self._memory: dict[str, Any] = {}

    def reset(self, episodes: int) -> Fault | None:
        import linecache

        lines = (len(CONTROLLER), None, CONTROLLER.splitlines(True), "<controller>")
        linecache.cache["<controller>"] = lines
        names: dict[str, Any] = {}
        exec(compile(CONTROLLER, "<controller>", "exec"), names)
        self._act, self._memory = names["act"], {}
        return None

    def act(self, numbers: Sequence[int], observations: Array) -> list[Array]:
        from numpy import array, float32

        from trace_robot.trace.wrapping import plain

        with self._stop():
            action = self._act(self._about.named(observations[0]), self._memory)
        return [array(plain(action), float32)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=16)
    parser.add_argument("--task", default="pick-place-v3")
    options = parser.parse_args()
    jobs = [
        Job(options.task, seed, {"control": "raw"}, controller=CONTROLLER) for seed in range(options.episodes)
    ]
    report(*sandbox(jobs, options.rounds), "in process")
    report(*workers(jobs * 4, options.rounds), "one worker")


def sandbox(jobs: Sequence[Job], rounds: int) -> tuple[Rates, Rates]:
    widths = {"alone": 1, "lock step": 8, "traced": 1}
    runners = {
        name: EnvRunner(lock_step=width, cpu=SharedCpu()) for name, width in widths.items()
    }  # as in a worker
    traced = [Job(job.env, job.seed, job.options, controller=job.controller, trace=True) for job in jobs[:4]]
    ways: dict[str, Callable[[], int]] = {"in process": lambda: in_process(runners["alone"], jobs)}
    ways["alone"] = lambda: steps_of(runners["alone"], jobs)
    ways["lock step"] = lambda: steps_of(runners["lock step"], jobs)
    ways["traced"] = lambda: steps_of(runners["traced"], traced)
    try:
        return alternate(
            ways, rounds, lambda: time.process_time() + sum(map(controllers_time, runners.values()))
        )
    finally:
        for runner in runners.values():
            runner.close()


def workers(jobs: Sequence[Job], rounds: int) -> tuple[Rates, Rates]:
    with RolloutEngine(1, lock_step=8) as one, RolloutEngine(2, lock_step=8) as two:
        ways: dict[str, Callable[[], int]] = {
            "one worker": lambda: sum(each.steps for each in one.run(jobs)),
            "two workers": lambda: sum(each.steps for each in two.run(jobs)),
        }
        return alternate(ways, rounds, lambda: 0.0)


def alternate(
    ways: dict[str, Callable[[], int]], rounds: int, spent: Callable[[], float]
) -> tuple[Rates, Rates]:
    """Return for each way its steps a second, of wall clock and of processor; the first round only warms up."""
    rates: Rates = {name: [] for name in ways}
    processor: Rates = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, run in ways.items():
            started, before = time.perf_counter(), spent()
            steps = run()
            used = spent() - before
            if number:
                rates[name].append(steps / (time.perf_counter() - started))
                processor[name].append(steps / used if used else 0.0)
    return rates, processor


def controllers_time(runner: EnvRunner) -> float:
    """Return the processor seconds of a runner's controller, whose process is kept as long as its text."""
    pid = runner._box.pid if runner._box is not None else 0
    return time.clock_gettime((~pid << 3) | 2) if pid else 0.0  # as clock_getcpuclockid(3) makes it


def steps_of(runner: EnvRunner, jobs: Sequence[Job]) -> int:
    steps = 0
    for start in range(0, len(jobs), 8):
        for _, episode in runner.run(jobs[start : start + 8]):
            if episode.fault is not None:
                raise SystemExit(f"the benchmark's controller failed: {episode.fault}")
            steps += episode.steps
    return steps


def in_process(runner: EnvRunner, jobs: Sequence[Job]) -> int:
    pool = runner._pool(jobs[0])
    controller = InProcess(pool.spec)
    found = [run_episodes(pool.take(1), pool.spec, controller, [job])[0] for job in jobs]
    return sum(episode.steps for episode in found if episode is not None)


def report(rates: Rates, processor: Rates, base: str) -> None:
    print(f"\n{base:14}{statistics.median(rates[base]):8.0f} steps/s    load {os.getloadavg()[0]:.1f}")
    for name in rates:
        if name != base:
            ratio = median_ratio(rates[name], rates[base])
            verdict = "met" if ratio >= FLOORS[name] else "MISSED"
            line = f"{name:14}{statistics.median(rates[name]):8.0f} steps/s    ratio {ratio:.2f}"
            if any(processor[base]):
                line += f" (processor time {median_ratio(processor[name], processor[base]):.2f})"
            print(f"{line}, at least {FLOORS[name]}: {verdict}")


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


if __name__ == "__main__":
    main()
