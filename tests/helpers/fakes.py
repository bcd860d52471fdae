"""A point-mass world with a hand, a block that can be grasped and a goal: the fake of the search's tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.search.staged import StagedProgram, StagedRunner, measure
from trace_robot.spec import Array, Field, TaskSpec


def point_mass_spec(control: str = "raw", horizon: int = 200) -> TaskSpec:
    reach = 1.0 if control == "raw" else 0.2
    return TaskSpec(
        name="point-mass",
        instruction="bring the block to the goal",
        observation=(
            Field("hand_position", 0, 3, "m"),
            Field("gripper_opening", 3, 4),
            Field("block_position", 4, 7, "m"),
            Field("goal_position", 8, 11, "m"),
        ),
        action=(Field("motion", 0, 3), Field("gripper", 3, 4)),
        observation_size=11,
        low=(-reach, -reach, -reach, -1.0),
        high=(reach, reach, reach, 1.0),
        horizon=horizon,
        control=control,
        positions=("hand_position", "block_position", "goal_position"),
    )


class PointMass:
    """The hand moves 1 cm per unit of action; a closed gripper within 2 cm of the block takes it along."""

    def __init__(self, seed: int, *, grasp: bool = True) -> None:
        random = np.random.default_rng(seed)
        self.hand = np.array([0.0, 0.6, 0.2])
        self.block = np.array([*random.uniform((-0.1, 0.6), (0.1, 0.7)), 0.02])
        self.goal = np.array([*random.uniform((-0.1, 0.8), (0.1, 0.9)), 0.2])
        self.closed = False
        self.grasp = grasp

    def observe(self) -> Array:
        return np.array([*self.hand, float(not self.closed), *self.block, 0.0, *self.goal])

    def step(self, action: Array) -> tuple[Array, float, bool]:
        """Return observation, reward and success."""
        held = self.closed and np.linalg.norm(self.hand - self.block) < 0.02
        motion = 0.01 * np.clip(action[:3].astype(float), -1, 1)
        self.hand = self.hand + motion
        if held:
            self.block = self.block + motion
        self.closed = bool(action[3] > 0)
        moved = self.block if self.grasp else self.hand
        far = float(np.linalg.norm(moved - self.goal))
        reached = float(np.linalg.norm(self.hand - self.block))
        return self.observe(), 10.0 * (far < 0.03) - far - 0.5 * reached, far < 0.03


def play(runner: Any, seed: int, *, steps: int = 200, grasp: bool = True) -> dict[str, Any]:
    """Run one episode; return its observations, rewards, success and steps."""
    world = PointMass(seed, grasp=grasp)
    seen, success = [world.observe()], False
    rewards: list[float] = []
    while len(rewards) < steps and not success and not getattr(runner, "finished", False):
        observation, reward, success = world.step(runner(seen[-1]))
        seen.append(observation)
        rewards.append(reward)
    steps = len(rewards)
    return {"observations": np.array(seen), "rewards": np.array(rewards), "success": success, "steps": steps}


def staged_outcome(candidate: Candidate) -> Outcome:
    """Run a candidate of the staged search to its first success in the point-mass world."""
    spec = point_mass_spec()
    details: dict[str, list[float]] = {"success": [], "steps": []}
    for seed in candidate.seeds or ():
        runner = StagedRunner(StagedProgram.from_data(candidate.program or {}), spec)
        episode = play(runner, seed, steps=spec.horizon)
        details["success"].append(episode["success"])
        details["steps"].append(episode["steps"])
        for name, number in measure(spec, episode["observations"], episode["rewards"]).items():
            details.setdefault(name, []).append(number)
    return Outcome(candidate.id, 0.0, details=details)
