"""Steps of gymnasium's environments go through without a bit changed, and without a check left out."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from trace_robot import Environment
from trace_robot.env import registry
from trace_robot.errors import ActionError, EnvironmentFault, OrderError
from trace_robot.rollout.env_runner import EnvRunner
from trace_robot.rollout.episode import Job
from trace_robot.search.gait import Balance, Gait, GaitController, Joint

from .conftest import plug

STEPS = 1000


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "Walker2d-v5", "Ant-v5", "Swimmer-v5"])
def test_a_thousand_steps_are_gymnasiums_own_to_the_last_bit(name: str) -> None:
    ours, theirs = registry.make(name), gymnasium.make(name, disable_env_checker=True)
    space: Any = theirs.action_space
    random, low, high = np.random.default_rng(0), space.low, space.high
    over = True
    for step in range(STEPS):
        if over:
            seen, _ = ours.reset(seed=step)
            wanted, _ = theirs.reset(seed=step)
            assert np.array_equal(seen, wanted), step
        action = random.uniform(1.5 * low, 1.5 * high).astype(np.float32)  # out of bounds as well
        seen, reward, terminated, truncated, info = ours.step(action)
        wanted, earned, ended, stopped, given = theirs.step(np.clip(action, low, high))
        assert np.array_equal(seen, wanted), step
        assert (reward, terminated, truncated) == (float(earned), ended, stopped), step
        assert info.pop("steps") > 0
        assert info.pop("success") is False
        assert info, "reward terms, or what else is a number"
        assert info == {name: float(given[name]) for name in info}, step
        over = terminated or truncated
    ours.close()
    theirs.close()


def test_an_episode_of_a_gait_is_what_gymnasium_makes_of_its_actions() -> None:
    joints = tuple(Joint(0.0, 0.6, k / 6) for k in range(6))
    gait = Gait(2.0, 0.05, joints, balance=Balance((1, 8), (0.0, 0.1), (1.0, 2.0), ((0.2, -0.1),) * 6))
    job = Job("HalfCheetah-v5", 7, {}, program=GaitController(gait).to_data(), observe=True)
    runner, theirs = EnvRunner(), gymnasium.make("HalfCheetah-v5")
    ((_, episode),) = runner.run([job])
    runner.close()
    observation, _ = theirs.reset(seed=7)
    act = GaitController(gait).start(registry.describe("HalfCheetah-v5"))
    for k in range(STEPS):
        assert np.array_equal(episode.observations[k], observation), k
        action = act(observation)
        assert np.array_equal(episode.actions[k], action), k
        observation, reward, *_ = theirs.step(action)
        assert episode.rewards[k] == reward, k
    assert (episode.decisions, episode.steps, episode.ended) == (STEPS, STEPS, "time")
    theirs.close()


class Careless(gymnasium.Env[Any, Any]):
    """Changes its action in place, and gives the same array as the observation each time."""

    observation_space, action_space = Box(-np.inf, np.inf, (2,), np.float64), Box(-1, 1, (2,), np.float32)

    def __init__(self, worst: float = 0.0) -> None:
        self.state, self.worst = np.zeros(2), worst

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.state[:] = 0.0
        return self.state, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.state += action
        action[:] = 9.0
        self.state[0] += self.worst
        return self.state, float(self.state.sum()), False, False, {"term": 1.0}


def test_what_an_environment_does_to_its_arrays_stays_with_it() -> None:
    env = plug(Environment("careless", "sum up", make=Careless, horizon=9)).make("careless")
    env.record_states = True
    first, _ = env.reset(seed=0)
    action = np.array([0.5, -0.25], np.float32)
    second, *_ = env.step(action)
    third, *_ = env.step(action)
    assert action.tolist() == [0.5, -0.25]
    assert [first.tolist(), second.tolist(), third.tolist()] == [[0.0, 0.0], [0.5, -0.25], [1.0, -0.5]]


def test_the_short_way_of_a_step_checks_what_the_long_one_does() -> None:
    env = plug(Environment("careless", "sum up", make=lambda: Careless(float("nan")), horizon=9)).make(
        "careless"
    )
    with pytest.raises(OrderError, match="step before the first reset"):
        env.step(np.zeros(2, np.float32))
    env.reset(seed=0)
    for bad in (np.array([np.nan, 0.0]), np.array([np.inf, 0.0]), np.zeros(3), ["left", "right"]):
        with pytest.raises(ActionError, match="action must"):
            env.step(bad)
    with pytest.raises(EnvironmentFault, match="the observation is not finite at observation_0"):
        env.step(np.zeros(2, np.float32))
