"""The search on the real simulator: a hand that reaches, from nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from trace_robot.env.registry import describe, make
from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.search import StagedSearch
from trace_robot.search.staged import StagedProgram, StagedRunner, code
from trace_robot.search.staged.controller import measure
from trace_robot.spec import Array, TaskSpec

SPEC: TaskSpec = describe("reach-v3", control="raw")


@pytest.fixture(scope="module")
def env() -> Iterator[Any]:
    env = make("reach-v3", control="raw")
    yield env
    env.close()


def play(env: Any, program: StagedProgram, seed: int) -> tuple[bool, Array, Array]:
    """Return success, observations and rewards of one episode."""
    runner = StagedRunner(program, SPEC)
    observation, _ = env.reset(seed=seed)
    seen, rewards, terminated, truncated = [observation], [], False, False
    while not (terminated or truncated):
        action = runner(observation)
        if runner.finished:
            break
        observation, reward, terminated, truncated, _ = env.step(action)
        seen.append(observation)
        rewards.append(reward)
    return terminated, np.array(seen), np.array(rewards)


def outcome(env: Any, candidate: Candidate) -> Outcome:
    details: dict[str, list[float]] = {"success": [], "steps": []}
    for seed in candidate.seeds or ():
        success, seen, rewards = play(env, StagedProgram.from_data(candidate.program or {}), seed)
        details["success"].append(success)
        details["steps"].append(len(rewards))
        for name, number in measure(SPEC, seen, rewards).items():
            details.setdefault(name, []).append(number)
    return Outcome(candidate.id, 0.0, details=details)


@pytest.fixture(scope="module")
def winner(env: Any) -> Candidate:
    search = StagedSearch(SPEC, range(3), seed=0)
    while not search.exploration.solved:
        search.tell([outcome(env, candidate) for candidate in search.ask()])
    assert search.best is not None
    return search.best


def test_reaching_is_found_from_nothing_and_holds_on_new_conditions(env: Any, winner: Candidate) -> None:
    program = StagedProgram.from_data(winner.program or {})
    assert sum(play(env, program, seed)[0] for seed in range(100, 120)) >= 19


def test_written_controller_gives_the_same_bytes_on_the_real_simulator(env: Any, winner: Candidate) -> None:
    program = StagedProgram.from_data(winner.program or {})
    assert winner.values["act"] == code(program, SPEC)
    names: dict[str, Any] = {}
    exec(winner.values["act"], names)
    runner, memory = StagedRunner(program, SPEC), {}  # type: ignore[var-annotated]
    observation, _ = env.reset(seed=500)
    for _ in range(60):
        action = runner(observation)
        written = np.asarray(names["act"](SPEC.named(observation), memory), np.float32)
        assert written.tobytes() == action.tobytes()
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            break
