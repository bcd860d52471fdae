"""The tracing engine beside the published one (trace-opt 0.1.3.8), in one go.

    python benchmarks/trace_engine.py --peer /path/to/venv/bin/python     (or TRACE_OPT_PYTHON=...)

The peer lives in a separate environment:
``python3 -m venv peer && peer/bin/pip install --no-deps trace-opt==0.1.3.8 && peer/bin/pip install graphviz numpy``.
Every figure is the median of CPU times over rounds that alternate between the two packages. Of the peer's summary
only the union of its graphs is measured, which needs none of its other dependencies: the whole costs more.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

Figures = dict[str, float]
MICRO, MILLI = 1e6, 1e3


def short(x: float, y: float) -> float:
    total = x + y
    return total  # noqa: RET504 - three lines


def long(x: float, y: float) -> float:
    """A controller of forty lines."""
    total = x + y
    if total > 1e9:
        total = total - 1
        total = total + 1
        total = total * 2
        total = total / 2
        total = total - 1
        total = total + 1
        total = total * 2
        total = total / 2
    if total > 2e9:
        total = total - 1
        total = total + 1
        total = total * 2
        total = total / 2
        total = total - 1
        total = total + 1
        total = total * 2
        total = total / 2
    if total > 3e9:
        total = total - 1
        total = total + 1
        total = total * 2
        total = total / 2
        total = total - 1
        total = total + 1
        total = total * 2
        total = total / 2
    if total > 4e9:
        total = total - 1
        total = total + 1
        total = total * 2
        total = total / 2
        total = total - 1
        total = total + 1
    return total


def policy(observation: float) -> float:
    return -0.5 * observation


def plant(action: float) -> float:
    return 0.9 + 0.1 * action


def cpu(run: Callable[[], object], scale: float, repeats: int = 5) -> float:
    """Return the median CPU time of one ``run``, which is called often enough to last some milliseconds."""
    calls = 1
    while True:
        started = time.process_time()
        for _ in range(calls):
            run()
        if (spent := time.process_time() - started) > 0.01 or calls >= 100_000:
            break
        calls *= 4
    times = [spent / calls]
    for _ in range(repeats - 1):
        started = time.process_time()
        for _ in range(calls):
            run()
        times.append((time.process_time() - started) / calls)
    return statistics.median(times) * scale


def calls(trace: Any) -> Figures:
    """Microseconds of the operations that a rollout makes by the thousand."""
    x, y = trace.node(1.5), trace.node(2.5)
    traced = trace.bundle()(short)
    short_code, long_code = trace.bundle(trainable=True)(short), trace.bundle(trainable=True)(long)
    figures = {
        "operator": cpu(lambda: x + y, MICRO),
        "bundle call": cpu(lambda: traced(x, y), MICRO),
        "trainable call, 3 lines": cpu(lambda: short_code(x, y), MICRO),
        "trainable call, 40 lines": cpu(lambda: long_code(x, y), MICRO),
        "plain call": cpu(lambda: short(1.5, 2.5), MICRO),
    }
    with trace.stop_tracing():
        figures["call without tracing"] = cpu(lambda: traced(x, y), MICRO)
    return figures


def closed_loop(trace: Any, steps: int) -> tuple[Any, Any]:
    """Return the last observation of a closed loop and the policy's parameter."""
    act, step = trace.bundle(trainable=True)(policy), trace.bundle()(plant)
    observation = trace.node(1.0)
    for _ in range(steps):
        observation = step(act(observation))
    return observation, act.parameter


def ours_loop(trace: Any, steps: int, repeats: int = 7) -> Figures:
    """A new graph every time, as after an episode: the same small one again would be read from the cache."""
    times = []
    for _ in range(repeats):
        output, _ = closed_loop(trace, steps)
        started = time.process_time()
        summary = trace.backward(output, "feedback").summary()
        times.append((time.process_time() - started) * MILLI)
        del summary
    return {f"backward and summary, {steps} steps": statistics.median(times)}


def peer_loop(trace: Any, steps: int) -> Figures:
    output, parameter = closed_loop(trace, steps)
    started = time.process_time()
    output.backward("feedback")
    propagated = time.process_time()
    importlib.import_module("opto.trace.propagators").GraphPropagator().aggregate(parameter.feedback)
    spent = time.process_time() - started
    return {
        f"backward, {steps} steps": (propagated - started) * MILLI,
        f"backward and summary, {steps} steps": spent * MILLI,
    }


def memory(trace: Any, dropped: int) -> Figures:
    """Bytes of a kept node, and kilobytes that are never given back."""
    x, gain = trace.node(1.5), trace.node(2.5, trainable=True)
    kept = [x + gain]
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(2_000):
        kept.append(kept[-1] + gain)
    figures = {"bytes a node": (tracemalloc.get_traced_memory()[0] - before) / 2_000}
    kept.clear()
    for _ in range(5_000):
        x + gain
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(dropped):
        x + gain
    gc.collect()
    figures["kB kept after dropped operations"] = (tracemalloc.get_traced_memory()[0] - before) / 1e3
    figures["dropped operations"] = dropped
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(1_000):
        ((x + gain) * gain).backward("feedback")
        gain.zero_feedback()
        x.zero_feedback()
    gc.collect()
    figures["kB kept after 1000 iterations"] = (tracemalloc.get_traced_memory()[0] - before) / 1e3
    tracemalloc.stop()
    return figures


def episode(trace: Any, rounds: int = 31) -> Figures:
    """Return the cost of tracing a 150-step Meta-World episode, as a ratio to the untraced one."""
    import numpy as np

    # Here, since the peer's environment, in which this file runs too, has neither.
    from trace_robot.env.registry import make_described

    environment, fields = make_described("pick-place-v3", control="raw")

    def controller(observation: Any, gain: float) -> list[float]:
        reach = gain * (observation["goal_position"] - observation["hand_position"])
        return [*np.clip(reach, -1.0, 1.0), 0.0]

    traced, gain = trace.bundle(trainable=True)(controller), trace.node(10.0, trainable=True)

    def run(act: Callable[[Any], Any]) -> float:
        seen, _ = environment.reset(seed=0)
        gc.collect()
        kept = []
        started = time.process_time()
        for _ in range(150):
            kept.append(act(fields.named(seen)))
            seen = environment.step(np.asarray(getattr(kept[-1], "_data", kept[-1]), dtype=np.float32))[0]
        return time.process_time() - started

    pairs = [
        (run(lambda seen: controller(seen, 10.0)), run(lambda seen: traced(seen, gain)))
        for _ in range(rounds)
    ]
    plain, with_graph = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {
        "untraced episode, ms": plain * MILLI,
        "traced episode, ms": with_graph * MILLI,
        "traced / untraced episode": with_graph / plain,
    }


def measure(which: str, steps: int) -> Figures:
    """Run in the environment of one of the packages."""
    if which == "peer":
        trace = importlib.import_module("opto.trace")
        figures = {**calls(trace), **peer_loop(trace, 500)}
        if steps > 500:
            figures |= peer_loop(trace, steps)
        return {**figures, **memory(trace, 20_000)}
    trace = importlib.import_module("trace_robot.trace")
    figures = calls(trace)
    for length in (500, 2_000, 8_000):
        figures |= ours_loop(trace, length)
    return {**figures, **memory(trace, 1_000_000), **episode(trace)}


def run_once(python: str, which: str, steps: int) -> Figures:
    command = [python, __file__, "--measure", which, "--peer-steps", str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"measuring {which} with {python} failed:\n{done.stderr[-2000:]}")
    found: Figures = json.loads(done.stdout.splitlines()[-1])
    return found


def median_of(rounds: list[Figures]) -> Figures:
    return {name: statistics.median(each[name] for each in rounds) for name in (rounds[0] if rounds else {})}


def targets(ours: Figures, peer: Figures) -> list[tuple[str, float, float, bool]]:
    """Return (what, measured, limit, compared with the peer) of every promise."""
    loop = "backward and summary, {} steps".format
    rows = [
        ("call without tracing, µs", ours["call without tracing"], 3 * ours["plain call"] + 1, False),
        ("backward and summary of 2000 steps, ms", ours[loop(2000)], 40, False),
        ("8000 steps / 2000 steps", ours[loop(8000)] / ours[loop(2000)], 4.5, False),
        ("bytes a node", ours["bytes a node"], 400, False),
        ("kB kept after 1,000,000 dropped operations", ours["kB kept after dropped operations"], 50, False),
        ("kB kept after 1000 iterations", ours["kB kept after 1000 iterations"], 50, False),
    ]
    if "traced / untraced episode" in ours:
        rows.append(("traced / untraced Meta-World episode", ours["traced / untraced episode"], 1.1, False))
    if peer:
        wanted = {
            "operator": 10,
            "bundle call": 10,
            "trainable call, 3 lines": 15,
            "trainable call, 40 lines": 60,
        }
        rows += [
            (f"{name}, 1 / peer", ours[name] / peer[name], 1 / limit, True) for name, limit in wanted.items()
        ]
    return rows


def report(ours: Figures, peer: Figures) -> None:
    print(f"{'':44}{'ours':>12}{'peer':>12}{'ratio':>9}")
    for name in dict.fromkeys([*ours, *peer]):
        mine, theirs = ours.get(name), peer.get(name)
        ratio = f"{theirs / mine:9.1f}" if mine and theirs else ""
        cells = "".join(f"{value:12.3f}" if value is not None else f"{'-':>12}" for value in (mine, theirs))
        print(f"{name:44}{cells}{ratio}")
    print(f"\n{'target':44}{'measured':>12}{'limit':>12}")
    for name, value, limit, is_share in targets(ours, peer):
        shown = f"1/{1 / value:.1f}" if is_share else f"{value:.3f}"
        bound = f"1/{1 / limit:.0f}" if is_share else f"{limit:.3f}"
        print(f"{name:44}{shown:>12}{bound:>12}   {'met' if value <= limit else 'MISSED'}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", default=os.environ.get("TRACE_OPT_PYTHON", ""), help="the peer's python")
    parser.add_argument(
        "--peer-steps", type=int, default=500, help="also measure the peer at this number of steps"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", choices=("ours", "peer"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.peer_steps)))
        return
    if not options.peer:
        print("trace-opt is not there (--peer or TRACE_OPT_PYTHON names its python): ours alone\n")
    ours, peer = [], []
    for _ in range(options.rounds):
        ours.append(run_once(sys.executable, "ours", options.peer_steps))
        if options.peer:
            peer.append(run_once(options.peer, "peer", options.peer_steps))
    report(median_of(ours), median_of(peer))


if __name__ == "__main__":
    main()
