"""What a decision of a gait costs beside the simulation that it needs: MuJoCo alone, gymnasium's own step, ours.

    python benchmarks/stepping.py [--rounds 5] [--decisions 1000] [--env HalfCheetah-v5 ...]

Every figure is processor time of this process, one thread. Rounds alternate between what is compared, and the median
over the rounds is shown; a ratio is the median of the rounds' ratios, so that what else the machine does counts little.
All four take the same actions from the same condition, so that they simulate the same contacts.

mj_step: MuJoCo's mj_step alone, as often as one decision takes. gymnasium: the environment's step without gymnasium's
wrappers. adapter: the step of ``trace_robot.env.adapter``, which finds success and refuses what is not finite. episode:
whole episodes of a gait as a search runs them, with the gait's own arithmetic.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np

from trace_robot.rollout.backends import Heartbeat
from trace_robot.rollout.env_runner import _Pool, _run_program
from trace_robot.rollout.episode import Job
from trace_robot.search.gait.controller import GaitController
from trace_robot.search.gait.gait import Balance, Gait, Joint
from trace_robot.spec import TaskSpec

TASKS = ("HalfCheetah-v5", "Swimmer-v5", "Walker2d-v5", "Ant-v5")
SEED = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--decisions", type=int, default=1000)
    parser.add_argument("--env", nargs="+", default=list(TASKS))
    options = parser.parse_args()
    print(f"{'decisions a second':20}{'mj_step':>10}{'gymnasium':>18}{'adapter':>18}{'episode':>18}")
    for name in options.env:
        print(row(name, measure(name, options.decisions, options.rounds)), flush=True)
    print(f"in brackets: times the cost of mj_step; load {os.getloadavg()[0]:.1f}")


def measure(name: str, decisions: int, rounds: int) -> dict[str, list[float]]:
    """Return seconds of processor time a decision, for each way and round; the first round only warms up."""
    job = Job(name, SEED, {}, program={})
    pool = _Pool(job, Heartbeat())
    job = Job(name, SEED, {}, program=GaitController(gait_of(pool.spec)).to_data())
    env: Any = pool.take(1)[0]
    actions = actions_of(pool, job)[:decisions]
    ways: dict[str, Callable[[], float]] = {
        "mj_step": lambda: physics(env.unwrapped.inner.unwrapped, actions),
        "gymnasium": lambda: stepped(env.unwrapped.inner.unwrapped, actions),
        "adapter": lambda: stepped(env.unwrapped, actions),
        "episode": lambda: episode(pool, job),
    }
    spent: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, run in ways.items():
            seconds = run()
            if number:
                spent[way].append(seconds)
    return spent


def gait_of(spec: TaskSpec) -> Gait:
    """Return a rhythm with feedback of every number, weak enough for all robots to stay up for a while."""
    seen = tuple(index for part in spec.observation for index in range(part.start, part.stop))
    count, size = spec.action_size, len(seen)
    joints = tuple(Joint(0.0, 0.2, k / count) for k in range(count))
    gains = ((1e-3,) * size,) * count
    return Gait(1.0, 0.05, joints, balance=Balance(seen, (0.0,) * size, (1.0,) * size, gains))


def actions_of(pool: _Pool, job: Job) -> np.ndarray:
    """Return the actions of one episode of the gait."""
    return _run_program(pool, job, Heartbeat()).actions


def physics(env: Any, actions: np.ndarray) -> float:
    """Return seconds a decision of MuJoCo's steps alone."""
    env.reset(seed=SEED)
    model, data = env.model, env.data
    steps = env.frame_skip
    began = time.process_time()
    for action in actions:
        data.ctrl[:] = action
        mujoco.mj_step(model, data, nstep=steps)
    return (time.process_time() - began) / len(actions)


def stepped(env: Any, actions: np.ndarray) -> float:
    """Return seconds a decision of an environment's step."""
    env.reset(seed=SEED)
    began = time.process_time()
    for action in actions:
        env.step(action)
    return (time.process_time() - began) / len(actions)


def episode(pool: _Pool, job: Job) -> float:
    """Return seconds a decision of a whole episode, from its reset to what is recorded of it."""
    began = time.process_time()
    found = _run_program(pool, job, Heartbeat())
    if found.fault is not None:
        raise SystemExit(f"the benchmark's gait failed: {found.fault}")
    return (time.process_time() - began) / found.decisions


def row(name: str, spent: dict[str, list[float]]) -> str:
    base = spent["mj_step"]
    cells = [f"{name:20}{1 / statistics.median(base):10,.0f}"]
    for way in ("gymnasium", "adapter", "episode"):
        ratio = statistics.median(one / other for one, other in zip(spent[way], base, strict=True))
        cells.append(f"{1 / statistics.median(spent[way]):10,.0f} ({ratio:.2f})".rjust(18))
    return "".join(cells)


if __name__ == "__main__":
    main()
