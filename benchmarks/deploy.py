"""Deployed controllers against the originals: the same actions, the same successes, nanoseconds a step.

    nice -n 10 python benchmarks/deploy.py --state deploy.jsonl        every controller that ships; stopped, it goes on
    python benchmarks/deploy.py --only zoo/reach_v3,balance --steps 5000        some, quickly

Every controller is written as Python and as C. Both are fed observations of real episodes of the task, and the same
with noise, and must give the actions of the original, bit for bit; then the C drives the simulator on held-out
conditions and must succeed where the original does. It is also compiled for a Cortex-M4 and for aarch64, where ziglang
is installed (pip install ziglang).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from trace_robot.deploy import files_of, plan
from trace_robot.deploy.contract import DeployPlan
from trace_robot.env.registry import make
from trace_robot.policy import Policy, load_policy
from trace_robot.settings import held_out_seeds
from trace_robot.spec import TaskSpec
from trace_robot.workspace import files

ROOT = Path(__file__).resolve().parents[1]
OTHERS = {  # those that ship beside the zoo, with environments that they are for
    "balance": ("CartPole-v1", "InvertedPendulum-v5"),
    "pick_place": ("pick-place-v3",),
    "fetch": ("FetchPickAndPlace-v4", "FetchReach-v4"),
    "do_nothing": ("reach-v3",),
}
NOISE = (0.0, 0.002, 0.01, 0.05, 0.3)  # standard deviations added to observations, in their units
EPISODES = 5  # of the simulator, for successes
STUBS = """
def node(value, **_): return value
def bundle(*_, **__): return lambda function: function
def Bounds(*_): return None
def Choices(*_): return None
"""


def controllers() -> Iterator[tuple[str, str, Policy]]:
    """Yield name, environment and policy of every controller that ships, and of the law in the docs."""
    for name in sorted(files("policies")):
        if name.startswith("zoo/"):
            yield name, name.removeprefix("zoo/").replace("_", "-"), load_policy(name)
        for env in OTHERS.get(name, ()):
            yield name, env, load_policy(name)
    laws = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "laws.md").read_text(encoding="utf-8"), re.DOTALL
    )
    for i, text in enumerate(text for text in laws if "\ndef act(" in text):
        yield f"docs/laws {i}", "CartPole-v1", Policy.from_text(text, f"docs/laws {i}")


def original(text: str) -> Callable[..., Any]:
    """Return ``act`` of a controller that ships, executed without tracing."""
    library = types.ModuleType("trace_robot")
    exec(STUBS, library.__dict__)
    names: dict[str, Any] = {"__name__": "original"}
    before = sys.modules["trace_robot"]
    sys.modules["trace_robot"] = library
    try:
        exec(compile(text, "original", "exec"), names)
    finally:
        sys.modules["trace_robot"] = before
    act: Callable[..., Any] = names["act"]
    return act if act.__code__.co_argcount > 1 else lambda observation, memory: act(observation)


def tracked(act: Callable[..., Any], planned: DeployPlan) -> Callable[..., Any]:
    """Return what the environment does with a controller's targets, as a controller of single simulator steps."""
    numbers = planned.tracking
    if not numbers:
        return act
    low, high = (np.array(bounds, np.float32) for bounds in (planned.spec.low, planned.spec.high))

    def step(observation: dict[str, Any], memory: dict[str, Any]) -> Any:
        hand, still = observation[numbers["hand"]], observation[numbers["still"]]
        memory["done"] = memory.get("done", 0) + 1
        if (
            "target" not in memory
            or memory["done"] >= numbers["steps"]
            or (
                memory["done"] >= numbers["least"]
                and np.all(np.abs(still - memory["still"]) < numbers["change"])
                and float(np.abs(memory["target"] - hand).max()) < numbers["near"]
            )
        ):
            wanted = np.asarray(act(observation, memory.setdefault("own", {})), np.float32)
            memory["wanted"] = np.clip(wanted, low, high)
            memory.update(target=hand + memory["wanted"][:3], done=0)
        memory["still"] = still
        return np.concatenate([numbers["gain"] * (memory["target"] - hand), memory["wanted"][3:]])

    return step


def recorded(env: Any, spec: TaskSpec, act: Callable[..., Any], steps: int) -> list[np.ndarray[Any, Any]]:
    """Return the observations of episodes under a controller, flat, about ``steps`` in all."""
    episodes: list[np.ndarray[Any, Any]] = []
    while sum(map(len, episodes)) < steps:
        flat, _ = env.reset(seed=len(episodes))
        seen, memory, over = [flat], dict[str, Any](), False
        while not over:
            flat, _, terminated, truncated, _ = env.step(np.asarray(flattened(act(spec.named(flat), memory))))
            seen.append(flat)
            over = terminated or truncated
        episodes.append(np.array(seen[: steps - sum(map(len, episodes))]))
    return episodes


def perturbed(episodes: list[np.ndarray[Any, Any]], steps: int, seed: int = 0) -> list[np.ndarray[Any, Any]]:
    """Return the episodes again and again, with more and more noise, until there are ``steps`` observations."""
    random = np.random.default_rng(seed)
    made: list[np.ndarray[Any, Any]] = []
    count = 0
    while True:
        for episode in episodes:
            scale = NOISE[min(len(made) // len(episodes), len(NOISE) - 1)]
            made.append((episode + scale * random.standard_normal(episode.shape))[: steps - count])
            count += len(made[-1])
            if count >= steps:
                return made


def flattened(action: Any) -> list[float]:
    """Return the numbers of an action."""
    return [float(number) for part in action for number in np.ravel(part)]


def build(planned: DeployPlan, folder: Path, name: str = "controller", compiler: str = "") -> Path:
    """Write the C, compile its driver and return the program."""
    for file, text in files_of(planned, "c", name)[0].items():
        (folder / file).write_text(text, encoding="utf-8")
    chosen = compiler or ("cc" if shutil.which("cc") else f"{sys.executable} -m ziglang cc")
    run(["make", "-s", "-C", str(folder), f"CC={chosen}", f"ZIG={sys.executable} -m ziglang cc"])
    return folder / f"{name}_test"


def run(command: list[str], data: bytes = b"") -> bytes:
    """Return what a program writes, or raise what it says."""
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode()[-2000:]}")
    return done.stdout


def load(planned: DeployPlan, folder: Path) -> Any:
    """Write the Python and import it."""
    path = folder / "controller.py"
    path.write_text(files_of(planned, "python")[0]["controller.py"], encoding="utf-8")
    description = importlib.util.spec_from_file_location("deployed_controller", path)
    assert description is not None
    assert description.loader is not None
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    return module


def records(planned: DeployPlan, episodes: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Return the driver's input: for each observation whether to reset, and the numbers that are read."""
    columns = [i for part in planned.read for i in range(part.start, part.stop)]
    rows = []
    for episode in episodes:
        first = np.zeros((len(episode), 1))
        first[0] = 1.0
        rows.append(np.hstack([first, episode[:, columns]]))
    return np.concatenate(rows)


def compare(
    planned: DeployPlan, act: Callable[..., Any], episodes: list[np.ndarray[Any, Any]], folder: Path
) -> dict[str, Any]:
    """Return the greatest differences of actions, and the times of a step."""
    program, module = build(planned, folder), load(planned, folder)
    data = records(planned, episodes)
    size = planned.sent.action_size
    answers = np.frombuffer(run([str(program), "binary"], data.tobytes()), float).reshape(-1, 1 + size)
    low, high = np.array(planned.sent.low), np.array(planned.sent.high)
    named = [planned.spec.named(row) for episode in episodes for row in episode]
    wanted, memory = [], dict[str, Any]()
    for observation, reset in zip(named, data[:, 0], strict=True):
        memory = {} if reset else memory
        wanted.append(flattened(act(observation, memory)))
    expected = np.clip(np.array(wanted), low, high)
    expected = np.where(
        [part.whole for part in planned.sent.action for _ in range(part.size)], np.rint(expected), expected
    )
    controller = module.Controller()
    given = [
        {name: o[name].tolist() if hasattr(o[name], "tolist") else o[name] for name in module.FIELDS}
        for o in named
    ]
    python = []
    before = time.process_time()
    for observation, reset in zip(given, data[:, 0].tolist(), strict=True):
        if reset:
            controller.reset()
        python.append(controller.act(observation))
    spent = time.process_time() - before
    timed = run([str(program), "time"], data.tobytes()).decode()
    return {
        "steps": len(data),
        "faults": int(np.count_nonzero(answers[:, 0])),
        "c_difference": float(np.abs(answers[:, 1:] - expected).max()),
        "python_difference": float(np.abs(np.array(python) - expected).max()),
        "c_microseconds": float(timed.split()[0]) / 1000.0,
        "python_microseconds": 1e6 * spent / len(data),
    }


def successes(
    env: Any, spec: TaskSpec, step: Callable[[bool, Any], Any], seeds: tuple[int, ...]
) -> list[bool]:
    """Return which episodes succeed under ``step(reset, observation)``."""
    results = []
    for seed in seeds:
        flat, info = env.reset(seed=seed)
        reset, over, total = True, False, 0.0
        while not over:
            flat, reward, terminated, truncated, info = env.step(np.asarray(step(reset, flat)))
            reset, over, total = False, terminated or truncated, total + reward
        threshold = spec.return_threshold
        results.append(bool(info["success"]) if threshold is None else total >= threshold)
    return results


@contextmanager
def driven(program: Path, planned: DeployPlan) -> Iterator[Callable[[bool, Any], Any]]:
    """Yield a function that asks the compiled controller, a process apart, for each action."""
    columns = [i for part in planned.read for i in range(part.start, part.stop)]
    with subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:

        def step(reset: bool, flat: Any) -> Any:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(
                ("reset\n" if reset else "") + " ".join(repr(float(flat[i])) for i in columns) + "\n"
            )
            child.stdin.flush()
            return [float(number) for number in child.stdout.readline().split()]

        yield step


def measure(name: str, env: str, policy: Policy, steps: int) -> dict[str, Any]:
    """Return the row of one controller."""
    began = time.perf_counter()
    planned = plan(policy, env)
    translated = time.perf_counter() - began
    spec = planned.sent
    made = make(env, **spec.options)
    act = tracked(original(planned.text), planned)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        episodes = perturbed(recorded(made, spec, act, min(steps, 2000)), steps)
        row = {
            "controller": name,
            "env": env,
            "control": planned.spec.control,
            "seconds_to_translate": translated,
        }
        row |= compare(planned, act, episodes, folder)
        seeds = held_out_seeds(0, EPISODES)
        memory: dict[str, Any] = {}

        def own(reset: bool, flat: Any) -> Any:
            if reset:
                memory.clear()
            return flattened(act(spec.named(flat), memory))

        row["successes"] = successes(made, spec, own, seeds)
        with driven(folder / "controller_test", planned) as step:
            row["c_successes"] = successes(made, spec, step, seeds)
        row["operations"] = sum(planned.code.counts.values())
        row["bytes_of_c"] = (folder / "controller.c").stat().st_size
        row["cross_compiled"] = crossed(folder)
    made.close()
    return row


def crossed(folder: Path) -> dict[str, int]:
    """Compile for other processors, and return the sizes of the object files; none where ziglang is not installed."""
    if importlib.util.find_spec("ziglang") is None:
        return {}
    run(["make", "-s", "-C", str(folder), "arm", f"ZIG={sys.executable} -m ziglang cc"])
    return {path.stem: path.stat().st_size for path in sorted(folder.glob("*.o"))}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--steps", type=int, default=100_000, help="observations for each controller (default 100000)"
    )
    parser.add_argument("--only", help="names of controllers, separated by commas")
    parser.add_argument("--state", help="where rows are kept, one JSON object a line")
    options = parser.parse_args()
    state = Path(options.state) if options.state else None
    rows = [json.loads(line) for line in state.read_text().splitlines()] if state and state.exists() else []
    done = {(row["controller"], row["env"]) for row in rows}
    for name, env, policy in controllers():
        if (name, env) in done or (options.only and name not in options.only.split(",")):
            continue
        row = measure(name, env, policy, options.steps)
        rows.append(row)
        if state:
            with state.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        print(
            f"{name} in {env}: {row['steps']} steps, difference C {row['c_difference']:g}, Python"
            f" {row['python_difference']:g}; {row['c_microseconds']:.2f} and {row['python_microseconds']:.1f} µs"
            f" a step; successes {sum(row['successes'])} and {sum(row['c_successes'])} of {len(row['successes'])}",
            flush=True,
        )
    wrong = [
        row
        for row in rows
        if row["c_difference"] > 1e-12 or row["python_difference"] > 1e-12 or row["faults"]
    ]
    wrong += [row for row in rows if row["successes"] != row["c_successes"]]
    print(
        f"{len(rows)} controllers, {sum(row['steps'] for row in rows):,} steps in all, in C and in Python:"
        f" {len(wrong)} differ; C {statistics.median(row['c_microseconds'] for row in rows):.2f} µs a step in median,"
        f" {max(row['c_microseconds'] for row in rows):.2f} at most; Python"
        f" {statistics.median(row['python_microseconds'] for row in rows):.1f} and"
        f" {max(row['python_microseconds'] for row in rows):.1f}"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
