"""Fixtures of the tests of laws: small plants, and a loop without processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
import pytest

from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.search.feedback_law import FeedbackLaw, LawRunner
from trace_robot.search.feedback_law.controller import probe_features
from trace_robot.spec import Array, Field, TaskSpec

Tell = Callable[[Candidate], Outcome]


class Plant(Protocol):
    """A world of a few lines. ``step`` returns reward and whether the episode is over."""

    spec: TaskSpec

    def reset(self, seed: int) -> Array: ...

    def step(self, action: Array) -> tuple[Array, float, bool]: ...


class Mass:
    """A mass on a line that must come to rest at 0 by a bounded force."""

    spec = TaskSpec(
        name="mass",
        instruction="come to rest at 0",
        observation=(Field("place", 0, 1, "m", "where it is"), Field("speed", 1, 2, "m/s")),
        action=(Field("force", 0, 1, "N"),),
        observation_size=2,
        low=(-1.0,),
        high=(1.0,),
        horizon=60,
        return_threshold=-12.0,
    )

    def reset(self, seed: int) -> Array:
        self.state = np.random.default_rng(seed).uniform(-1.0, 1.0, 2)
        return self.state.copy()

    def step(self, action: Array) -> tuple[Array, float, bool]:
        place, speed = self.state
        speed += 0.1 * float(action[0])
        self.state = np.array([place + 0.1 * speed, speed])
        return self.state.copy(), -float(self.state @ self.state), False


class Swing:
    """A pendulum that hangs and must stand, by a motor too weak to lift it at once."""

    spec = TaskSpec(
        name="swing",
        instruction="stand",
        observation=(Field("direction", 0, 2, "", "cosine and sine, up is 1, 0"), Field("rate", 2, 3)),
        action=(Field("torque", 0, 1),),
        observation_size=3,
        low=(0.0,),
        high=(3.0,),
        horizon=150,
        return_threshold=-62.0,
    )

    def reset(self, seed: int) -> Array:
        self.angle, self.rate = np.random.default_rng(seed).uniform(-0.3, 0.3, 2) + (math.pi, 0.0)
        return self._seen()

    def step(self, action: Array) -> tuple[Array, float, bool]:
        self.rate += 0.05 * (15.0 * math.sin(self.angle) + 3.0 * (2.0 * float(action[0]) - 3.0))
        self.angle += 0.05 * self.rate
        return self._seen(), math.cos(self.angle) - 1.0, False

    def _seen(self) -> Array:
        return np.array([math.cos(self.angle), math.sin(self.angle), self.rate])


class Cart:
    """Two wheels that must bring a cart to a point: what an action does depends on where it looks."""

    spec = TaskSpec(
        name="cart",
        instruction="go to the target",
        observation=(Field("place", 0, 2, "m"), Field("heading", 2, 3, "rad"), Field("target", 3, 5, "m")),
        action=(Field("wheels", 0, 2, "rad/s", "left and right"),),
        observation_size=5,
        low=(-6.0, -6.0),
        high=(6.0, 6.0),
        horizon=60,
    )

    def reset(self, seed: int) -> Array:
        random = np.random.default_rng(seed)
        self.place, self.target = random.uniform(-1.0, 1.0, (2, 2))
        self.heading = float(random.uniform(-math.pi, math.pi))
        return self._seen()

    def step(self, action: Array) -> tuple[Array, float, bool]:
        left, right = 0.01 * action
        self.place += (left + right) / 2 * np.array([math.cos(self.heading), math.sin(self.heading)])
        self.heading = math.remainder(self.heading + (right - left) / 0.2, math.tau)
        apart = float(np.hypot(*(self.place - self.target)))
        return self._seen(), -apart, apart < 0.05

    def _seen(self) -> Array:
        return np.array([*self.place, self.heading, *self.target])


def play(plant: Plant, law: FeedbackLaw, seed: int) -> tuple[Array, float, bool]:
    """Return observations, return and success of one episode."""
    runner = LawRunner(law, plant.spec)
    seen, total = [plant.reset(seed)], 0.0
    for _ in range(plant.spec.horizon):
        observation, reward, over = plant.step(runner(seen[-1]))
        seen.append(observation)
        total += reward
        if over:
            break
    threshold = plant.spec.return_threshold
    return np.array(seen), total, over if threshold is None else total >= threshold


def outcome(plant: Plant, candidate: Candidate) -> Outcome:
    """Return what rollouts would give for a candidate."""
    data = candidate.program or {}
    details: dict[str, list[Any]] = {"success": [], "reward": [], "steps": []}
    notes: list[dict[str, float]] = []
    for seed in candidate.seeds or ():
        seen, total, success = play(plant, FeedbackLaw.from_data(data), seed)
        details["success"].append(success)
        details["reward"].append(total)
        details["steps"].append(len(seen) - 1)
        notes.append(probe_features(plant.spec, seen) if data.get("look") else {})
    for name in notes[0] if notes else ():
        details[name] = [each.get(name, math.nan) for each in notes]
    return Outcome(candidate.id, 0.0, details=details)


def search_on(plant: Plant, search: Any, rounds: int = 400) -> list[Candidate]:
    """Run a search until it is done and return all that it asked for."""
    asked: list[Candidate] = []
    for _ in range(rounds):
        if search.done:
            break
        waiting: Iterable[Candidate] = search.ask()
        asked += waiting
        search.tell([outcome(plant, candidate) for candidate in waiting])
    return asked


@pytest.fixture
def mass() -> Mass:
    return Mass()


@pytest.fixture
def swing() -> Swing:
    return Swing()


@pytest.fixture
def cart() -> Cart:
    return Cart()


@pytest.fixture
def run() -> Callable[..., list[Candidate]]:
    return search_on


@pytest.fixture
def episode() -> Callable[..., tuple[Array, float, bool]]:
    return play


@pytest.fixture
def played() -> Callable[..., Outcome]:
    return outcome
