"""How fast a Meta-World step is, and that it is exact: ratios to upstream measured in one run.

    python benchmarks/metaworld_speed.py                      speed of all 50 tasks, about 4 minutes
    python benchmarks/metaworld_speed.py --identity 8000      8,000 compared steps a task instead
    python benchmarks/metaworld_speed.py --tasks push-v3 reach-v3 --episodes

Every engine replays the same recorded actions, engine after engine in short turns, on CPU time. "upstream" is
upstream's ``step``; "rewards" and "success" are ``step`` of the environment that ``load_env`` gives, with and
without rewards; "physics" is MuJoCo's ``mj_step`` and ``mj_forward`` alone.
"""

from __future__ import annotations

import argparse
import gc
import time
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import mujoco
import numpy as np

from trace_robot.env.registry import make
from trace_robot.spec import Array

ENGINES = ("upstream", "rewards", "success", "physics")
Actions = list[Array]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", nargs="*", help="all by default")
    parser.add_argument("--steps", type=int, default=100, help="steps of a turn")
    parser.add_argument("--turns", type=int, default=5, help="turns an engine, of which the median counts")
    parser.add_argument("--identity", type=int, metavar="STEPS", help="compare numbers instead of times")
    parser.add_argument(
        "--episodes", action="store_true", help="whole episodes of the experts instead of steps"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    names = options.tasks or list(ALL_V3_ENVIRONMENTS)
    if options.identity:
        compare_all(names, options.identity)
    elif options.episodes:
        time_episodes(options.tasks or ["reach-v3", "push-v3", "pick-place-v3", "door-open-v3"])
    else:
        time_all(names, options.steps, options.turns)


def time_all(names: list[str], steps: int, turns: int) -> None:
    print(
        f"{'µs a control step':30}" + "".join(f"{engine:>10}" for engine in ENGINES) + "   ratios to upstream"
    )
    rows = []
    for name in names:
        rows.append(time_task(name, steps, turns))
        gc.collect()  # an environment is 24 MB and part of a cycle
        print_row(name, rows[-1])
    print_row(f"mean of {len(rows)} tasks", np.mean(rows, axis=0))
    upstream, rewards, success, physics = np.mean(rows, axis=0)
    print(
        f"\nwith rewards {upstream / rewards:.2f} times upstream, without {upstream / success:.2f} times,",
        end=" ",
    )
    print(f"which is {physics / success:.1%} of the physics alone")


def print_row(name: str, times: Iterable[float]) -> None:
    upstream, *others = times
    figures = "".join(f"{value * 1e6:10.0f}" for value in (upstream, *others))
    print(f"{name:30}{figures}   {upstream / others[0]:5.2f} {upstream / others[1]:5.2f}", flush=True)


def time_task(name: str, steps: int, turns: int) -> list[float]:
    """Return CPU seconds a step for each of ENGINES."""
    upstream = prepared_upstream(name)
    rewards, success = (make(name, control="raw", rewards=flag) for flag in (True, False))
    rewards.reset(seed=0)
    variation = rewards.simulation.variation
    actions = record(name, upstream, variation, steps)
    start_upstream, start_physics = (
        resetter(upstream, variation),
        resetter(prepared_upstream(name), variation),
    )
    replays: tuple[Callable[[], float], ...] = (
        lambda: timed(start_upstream(), upstream.step, actions),
        lambda: timed(rewards.reset(seed=0), rewards.step, actions),
        lambda: timed(success.reset(seed=0), success.step, actions),
        lambda: timed_physics(start_physics(), actions),
    )
    seconds = [[replay() for replay in replays] for _ in range(turns)]
    return [float(value) / steps for value in np.median(seconds, axis=0)]


def timed(_: Any, step: Callable[[Array], Any], actions: Actions) -> float:
    started = time.process_time()
    for action in actions:
        step(action)
    return time.process_time() - started


def timed_physics(env: Any, actions: Actions) -> float:
    model, data = env.model, env.data
    mocap = data.mocap_pos
    lows, highs = env.mocap_low, env.mocap_high
    targets = np.empty((len(actions), 3))
    target = mocap[0].copy()
    for index, action in enumerate(actions):
        target = np.clip(target + action[:3] * env.action_scale, lows, highs)
        targets[index] = target
    started = time.process_time()
    for action, target in zip(actions, targets, strict=True):
        mocap[0] = target
        data.ctrl[:] = action[3], -action[3]
        mujoco.mj_step(model, data, 5)
        mujoco.mj_forward(model, data)
    return time.process_time() - started


def prepared_upstream(name: str) -> Any:
    """Return upstream's own object with the goal visible."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    env: Any = ALL_V3_ENVIRONMENTS[name]()
    env._set_task_called, env._partially_observable = True, False
    env.__dict__.pop("sawyer_observation_space", None)
    env.max_path_length = np.inf
    return env


def expert_of(name: str) -> Any:
    """Return upstream's scripted controller of a task."""
    from metaworld.policies import ENV_POLICY_MAP

    kind: Any = ENV_POLICY_MAP[name]
    return kind()


def resetter(env: Any, variation: Array) -> Callable[[], Any]:
    def reset() -> Any:
        env._last_rand_vec = variation.copy()
        env.reset()
        return env

    return reset


def record(
    name: str, env: Any, variation: Array, steps: int, *, noise: float = 0.1, seed: int = 0
) -> Actions:
    """Return what the scripted expert does, disturbed a little, as float32."""
    generator, expert = np.random.default_rng(seed), expert_of(name)
    resetter(env, variation)()
    observation = env._get_obs()
    actions = []
    for _ in range(steps):
        wanted = expert.get_action(observation) + generator.normal(scale=noise, size=4)
        actions.append(np.clip(wanted, -1, 1).astype(np.float32))
        observation = env.step(actions[-1])[0]
    return actions


def time_episodes(names: list[str], episodes: int = 20, seeds: int = 5) -> None:
    """Whole episodes of the scripted experts, stopped at success; ours return to cached resets."""
    total = np.zeros(2)
    for name in names:
        upstream, env, expert = prepared_upstream(name), make(name, control="raw"), expert_of(name)
        for seed in range(seeds):
            env.reset(seed=seed)
        seconds, steps = np.zeros(2), np.zeros(2, int)
        for episode in range(episodes):
            observation = env.reset(seed=episode % seeds)[0]
            variation = env.simulation.variation
            for side, reset, step in (
                (0, resetter(upstream, variation), upstream.step),
                (1, partial(env.reset, seed=episode % seeds), env.step),
            ):
                started = time.process_time()
                reset()
                steps[side] += follow(expert, observation, step)
                seconds[side] += time.process_time() - started
        total += seconds
        rate = steps / seconds
        print(
            f"{name:20} upstream {rate[0]:6.0f} steps/s, here {rate[1]:6.0f}: {rate[1] / rate[0]:.2f} times"
        )
    print(f"whole episodes with cached resets: {total[0] / total[1]:.2f} times upstream")


def follow(expert: Any, observation: Array, step: Callable[[Array], Any]) -> int:
    for count in range(1, 501):
        action = np.clip(expert.get_action(observation), -1, 1).astype(np.float32)
        observation, _, _, _, info = step(action)
        if info["success"]:
            return count
    return 500


def compare_all(names: list[str], steps: int) -> None:
    """Compare observations, rewards, terms and success with upstream's; say how many numbers differ."""
    different = 0
    for name in names:
        counts = compare(name, steps)
        gc.collect()  # an environment is 24 MB and part of a cycle
        different += counts[1]
        print(f"{name:30} {counts[0]:8} steps, {counts[1]} differ, {counts[2]} with success", flush=True)
    print(f"{len(names)} tasks, {different} different steps")
    if different:
        raise SystemExit(1)


def compare(name: str, steps: int, *, episode: int = 250) -> tuple[int, int, int]:
    """Return how many steps were compared, how many differed, and how many were a success."""
    upstream = prepared_upstream(name)
    rewards, success = (make(name, control="raw", rewards=flag) for flag in (True, False))
    compared = different = succeeded = 0
    for seed in range(-(-steps // episode)):
        first = [env.reset(seed=seed)[0].tobytes() for env in (rewards, success)]
        variation = rewards.simulation.variation
        noise = (0.0, 0.1, 0.5)[seed % 3]
        actions = record(name, upstream, variation, episode, noise=noise, seed=seed)
        resetter(upstream, variation)()
        different += first[0] != first[1]
        for action in actions:
            seen, reward, _, _, terms = upstream.step(action)
            quick, quick_reward, done, _, info = rewards.step(action)
            bare, _, bare_done, _, _ = success.step(action)
            same = seen.tobytes() == quick.tobytes() == bare.tobytes() and float(reward) == quick_reward
            same &= bool(terms["success"]) == done == bare_done
            same &= all(float(terms[key]) == info[key] for key in terms if key != "success")
            different += not same
            succeeded += done
            compared += 1
    return compared, different, succeeded


if __name__ == "__main__":
    main()
