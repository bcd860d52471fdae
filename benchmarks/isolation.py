"""Each episode of a controller is a function of the controller and the condition, and of nothing else.

    python benchmarks/isolation.py --episodes 10000 --state isolation.jsonl    the whole; stopped, it goes on from there
    python benchmarks/isolation.py --episodes 500                              a few minutes

The controllers are every benign sample of the corpora (tests/sandbox/*.json), called with random observations, and
every policy of the zoo in its environment. Each episode is run alone in a new sandbox, which is the reference, and then
in other company: again in the same process, in lock step with 1 to 7 others, after another controller (hostile ones
too), traced and untraced in turn, early and late in a sandbox's life. Actions, faults, printed text and graphs must be
the same to the last byte. Exits with 1 if an episode differs.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trace_robot.fault import Fault, Limits
from trace_robot.policy.policy import load_policy
from trace_robot.rollout.env_runner import EnvRunner
from trace_robot.rollout.episode import Episode, Job
from trace_robot.sandbox import Interface, Sandbox
from trace_robot.sandbox.static_check.shared_state import needs_own_process

ROOT = Path(__file__).resolve().parents[1]
CORPORA = sorted((ROOT / "tests" / "sandbox").glob("*.json"))
LIMITS = Limits(call_seconds=1.0, load_seconds=5.0)
CALLS = 6  # of a sample
HORIZON = 100  # of a policy of the zoo
WIDEST = 8
CONDITIONS = 8  # of a controller; few, so that references are used again: a new sandbox takes half a second


@dataclass(frozen=True, slots=True)
class Case:
    """A controller: a sample of a corpus, or a policy of the zoo where ``env`` names its environment."""

    name: str
    text: str
    env: str = ""


def cases() -> tuple[list[Case], list[Case]]:
    """Return the benign controllers, and the hostile ones."""
    benign: list[Case] = []
    hostile: list[Case] = []
    for path in CORPORA:
        for sample in json.loads(path.read_text(encoding="utf-8"))["samples"]:
            parts = sample.get("source_parts") or [[sample.get("source", ""), 1]]
            text = "".join(part * int(times) for part, times in parts).replace("{CANARY}", "/nowhere")
            case = Case(f"{path.stem}/{sample['id']}", text)
            (benign if sample["category"] == "pass" else hostile).append(case)
    for path in sorted((ROOT / "policies" / "zoo").glob("*.py")):
        benign.append(
            Case(f"zoo/{path.stem}", load_policy(path).text, path.stem.replace("_v", "-v").replace("_", "-"))
        )
    return benign, hostile


class Company:
    """One sandbox for samples and one runner for policies, which keep what episodes leave there."""

    def __init__(self, width: int = 1) -> None:
        self.width = width
        self.box = Sandbox(Interface(39, 4), LIMITS)
        self.runner = EnvRunner(lock_step=width)

    def close(self) -> None:
        self.box.close()
        self.runner.close()

    def run(self, case: Case, conditions: list[int], *, trace: bool) -> list[str]:
        """Return a digest of each episode."""
        if not case.env:
            width = 1 if needs_own_process(case.text) else self.width
            groups = [conditions[start : start + width] for start in range(0, len(conditions), width)]
            return [digest for group in groups for digest in self._sample(case, group, trace)]
        options = {"control": control_of(case.text), "horizon": HORIZON}
        jobs = [
            Job(case.env, c, options, controller=case.text, trace=trace, limits=LIMITS) for c in conditions
        ]
        found = dict(self.runner.run(jobs))
        return [of_episode(found[index]) for index in range(len(jobs))]

    def _sample(self, case: Case, conditions: list[int], trace: bool) -> Iterator[str]:
        fault = self.box.load(case.text, trace=trace) or self.box.reset(len(conditions))
        if fault is not None:
            yield from [digest(fault)] * len(conditions)
            return
        rows = np.stack([np.random.default_rng(c).normal(size=(CALLS, 39)) for c in conditions], axis=1)
        answers = [self.box.call(row) for row in rows]
        for number in range(len(conditions)):
            seen = [a if isinstance(a, Fault) else a.tobytes() for a in (step[number] for step in answers)]
            yield digest(seen, self.box.printed(number), self.box.graph(number))


def control_of(text: str) -> str:
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "CONTROL":
            return str(ast.literal_eval(node.value))
    return "pose"


def of_episode(episode: Episode) -> str:
    arrays = [array.tobytes() for array in (episode.actions, episode.rewards)]
    return digest(arrays, episode.ended, episode.fault, episode.printed, tuple(episode.graph))


def digest(*values: Any) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()


class Isolation:
    """The schedule: unit k has one controller, one way to run it and some conditions, all drawn from k."""

    def __init__(self) -> None:
        self.benign, self.hostile = cases()
        self.companies = {width: Company(width) for width in (1, 2, 6, WIDEST)}
        self._references: dict[tuple[str, int, bool], str] = {}

    def close(self) -> None:
        for company in self.companies.values():
            company.close()

    def unit(self, number: int) -> tuple[int, list[str]]:
        """Run one unit and return how many episodes were compared, and what differed."""
        draw = np.random.default_rng(number)
        case = self.benign[number % len(self.benign)]
        trace = bool(draw.integers(2))
        company = self.companies[int(draw.choice(list(self.companies)))]
        others = self.hostile if draw.integers(4) == 0 else self.benign
        before = others[int(draw.integers(len(others)))]
        conditions = [int(c) for c in draw.integers(CONDITIONS, size=company.width + 1)]
        wanted = self._alone(case, conditions, trace)
        company.run(before, [0], trace=False)
        got = company.run(
            case, conditions, trace=trace
        )  # after another; the last alone, in a process that is used
        got += company.run(case, conditions[:1], trace=trace)
        wanted = [*wanted, wanted[0]]
        where = f"{case.name} after {before.name}, width {company.width}, {'traced' if trace else 'untraced'}"
        return len(got), [f"{where}, place {k}" for k in range(len(got)) if got[k] != wanted[k]]

    def _alone(self, case: Case, conditions: list[int], trace: bool) -> list[str]:
        """Return the digests of episodes that were each run first in a new sandbox."""
        for condition in conditions:
            key = case.name, condition, trace
            if key not in self._references:
                company = Company()
                self._references[key] = company.run(case, [condition], trace=trace)[0]
                company.close()
        return [self._references[case.name, condition, trace] for condition in conditions]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--state", help="where progress is kept")
    options = parser.parse_args()
    done: list[dict[str, Any]] = []
    if options.state and Path(options.state).exists():
        done = [
            json.loads(line) for line in Path(options.state).read_text().splitlines() if line.endswith("}")
        ]
    episodes, different = sum(row["episodes"] for row in done), [d for row in done for d in row["different"]]
    isolation, started, shown = Isolation(), time.monotonic(), 0.0
    print(
        f"{len(isolation.benign)} benign controllers, {len(isolation.hostile)} hostile ones; {episodes} episodes done"
    )
    number = len(done)
    while episodes < options.episodes:
        count, wrong = isolation.unit(number)
        number, episodes, different = number + 1, episodes + count, different + wrong
        for line in wrong:
            print(f"DIFFERENT: {line}", flush=True)
        if options.state:
            with open(options.state, "a", encoding="utf-8") as file:
                file.write(json.dumps({"episodes": count, "different": wrong}) + "\n")
        if time.monotonic() - shown > 10:
            shown = time.monotonic()
            print(
                f"{episodes} of {options.episodes} episodes, {shown - started:.0f} s, {len(different)} differ",
                flush=True,
            )
    isolation.close()
    print(
        f"{episodes} episodes of {min(number, len(isolation.benign))} controllers: {len(different)} differences"
    )
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
