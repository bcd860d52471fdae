"""A soak of the engine: very many episodes, one in a hundred of them by a hostile controller.

    python benchmarks/soak.py --episodes 100000 --state soak.jsonl     the whole; stopped, it goes on from there
    python benchmarks/soak.py --episodes 3000                          a few minutes

The hostile ones are those of a corpus (tests/sandbox/controllers.json). The others are four hundred different episodes
again and again, and each must be what it was in a run without hostile ones, made first. Watched on the way: memory
of this process and of everything it started, how many processes there are, and open files. Exits with 1 if an
episode differs, a process is left at the end, a canary was touched, or memory grows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from trace_robot.fault import Limits
from trace_robot.rollout.engine import RolloutEngine
from trace_robot.rollout.episode import Episode, Job

ROOT = Path(__file__).resolve().parents[1]
TASK, OPTIONS = "reach-v3", {"control": "raw", "horizon": 60}
LIMITS = Limits(call_seconds=0.5, load_seconds=2.0)
TEXT = """
import random
import numpy as np

def act(observation, memory):
    memory["calls"] = memory.get("calls", 0) + 1
    error = observation["goal_position"] - observation["hand_position"]
    return [*np.clip({gain} * error, -1, 1), random.uniform(-{noise}, {noise})]
"""
CONTROLLERS = [TEXT.format(gain=gain, noise=noise) for gain in (1, 3, 5, 10, 20) for noise in (0.0, 0.5)]
SEEDS = 40
SAMPLES = 50  # how often memory is looked at
GROWTH = 1.1  # last quarter over second quarter of the samples


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=3000)
    parser.add_argument("--hostile", type=float, default=0.01, help="share of hostile ones (default 0.01)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--corpus", default=str(ROOT / "tests" / "sandbox" / "controllers.json"))
    parser.add_argument("--state", help="where progress is kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="canary-") as canary:
        os.chmod(canary, 0o777)
        soak = Soak(options, hostile_texts(options.corpus, canary), Path(canary))
        return soak.run()


def hostile_texts(corpus: str, canary: str) -> list[str]:
    samples = json.loads(Path(corpus).read_text())["samples"]
    bad = [sample for sample in samples if "pass" not in (sample["category"], *sample.get("accept", ()))]
    parts = [sample.get("source_parts") or [[sample["source"], 1]] for sample in bad]
    texts = ["".join(text * int(times) for text, times in part) for part in parts]
    return [text.replace("{CANARY}", canary) for text in texts]


class Soak:
    """One soak and what it has seen."""

    def __init__(self, options: argparse.Namespace, hostile: list[str], canary: Path) -> None:
        self.options, self.hostile, self.canary = options, hostile, canary
        self.every = round(1 / options.hostile) if options.hostile else 0
        self.samples: list[dict[str, float]] = []
        self.faults: Counter[str] = Counter()
        self.done = self.differing = 0
        self.state = Path(options.state) if options.state else None
        if self.state is not None and self.state.is_file():
            last = json.loads(self.state.read_text().splitlines()[-1])
            self.done, self.differing = last["done"], last["differing"]
            self.faults.update(last["faults"])

    def run(self) -> int:
        kinds = len(CONTROLLERS) * SEEDS
        with RolloutEngine(self.options.workers, lock_step=4) as engine:
            expected = [digest(each) for each in engine.run(self.benign(index) for index in range(kinds))]
        print(f"{kinds} episodes without hostile ones done; going on from {self.done}", flush=True)
        started, first = time.monotonic(), self.done
        with RolloutEngine(self.options.workers, lock_step=4) as engine:
            pending = range(first, self.options.episodes)
            every = max(1, len(pending) // SAMPLES)
            for index, episode in engine.stream(self.job(first + place) for place in range(len(pending))):
                self.check(first + index, episode, expected)
                self.done += 1
                if self.done % every == 0:
                    self.sample(started, first)
        time.sleep(0.5)
        return self.verdict(children())

    def job(self, index: int) -> Job:
        if self.every and index % self.every == self.every - 1:
            text = self.hostile[index // self.every % len(self.hostile)]
            return Job(TASK, 0, OPTIONS, controller=text, limits=LIMITS)
        return self.benign(index)

    def benign(self, index: int) -> Job:
        controller = CONTROLLERS[index // SEEDS % len(CONTROLLERS)]
        return Job(TASK, index % SEEDS, OPTIONS, controller=controller, limits=LIMITS)

    def check(self, index: int, episode: Episode, expected: list[str]) -> None:
        if self.every and index % self.every == self.every - 1:
            self.faults[episode.fault.category if episode.fault else "none"] += 1
        elif digest(episode) != expected[index % len(expected)]:
            self.differing += 1
            print(f"episode {index} differs: {episode.ended} {episode.fault}", flush=True)

    def sample(self, started: float, first: int) -> None:
        pids = [os.getpid(), *children()]
        files = len(os.listdir("/proc/self/fd"))
        seen = {"megabytes": sum(map(megabytes, pids)), "processes": len(pids), "files": files}
        self.samples.append(seen)
        rate = (self.done - first) / (time.monotonic() - started)
        print(
            f"{self.done:8d} episodes {rate:6.0f}/s {seen['megabytes']:6.0f} MB {len(pids):3d} processes"
            f" {files:3d} files, {self.differing} differ",
            flush=True,
        )
        if self.state is not None:
            line = {"done": self.done, "differing": self.differing, "faults": self.faults, **seen}
            with self.state.open("a") as file:
                file.write(json.dumps(line) + "\n")

    def verdict(self, left: list[int]) -> int:
        quarter = max(1, len(self.samples) // 4)
        early, late = self.samples[quarter : 2 * quarter], self.samples[-quarter:]
        growth = {
            name: statistics.fmean(each[name] for each in late) / statistics.fmean(each[name] for each in early)
            for name in ("megabytes", "files")
        } if early else {}  # fmt: skip
        touched = [path.name for path in self.canary.iterdir()]
        print(f"\nhostile episodes ended with: {dict(self.faults)}")
        print(
            f"episodes that differ: {self.differing}; processes left: {len(left)}; canary: {touched or 'untouched'}"
        )
        print(
            f"last quarter over second: {', '.join(f'{name} {value:.3f}' for name, value in growth.items())}"
        )
        good = not (self.differing or left or touched) and all(each < GROWTH for each in growth.values())
        print("good" if good else "BAD")
        return 0 if good else 1


def digest(episode: Episode) -> str:
    parts: list[Any] = [episode.seed, episode.ended, episode.steps, episode.fault]
    return hashlib.sha256(
        repr(parts).encode() + episode.rewards.tobytes() + episode.actions.tobytes()
    ).hexdigest()


def children() -> list[int]:
    """Return every process that descends from this one."""
    parents: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = int(Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        parents.setdefault(parent, []).append(int(name))
    found: list[int] = []
    waiting = parents.get(os.getpid(), [])
    while waiting:
        found += waiting
        waiting = [child for pid in waiting for child in parents.get(pid, [])]
    return found


def megabytes(pid: int) -> float:
    """Return the resident memory of a process that is its own, in MB."""
    try:
        lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    private = [int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))]
    return sum(private) / 1024


if __name__ == "__main__":
    sys.exit(main())
