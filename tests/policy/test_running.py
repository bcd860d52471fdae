"""A controller in a program of one's own: step by step, and as gymnasium and Stable-Baselines3 call one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest

from trace_robot.env.registry import make
from trace_robot.errors import PolicyError
from trace_robot.policy import GymnasiumPolicy, Policy, as_gymnasium_policy, load_policy
from trace_robot.rollout import Job, RolloutEngine

COUNTER = """\
from trace_robot import bundle, node

step = node(2.0, name="step", trainable=True)


@bundle(trainable=True)
def act(observation, memory):
    memory["calls"] = memory.get("calls", 0) + 1
    if memory["calls"] == 4:
        return [1.0 / 0]
    return [step * memory["calls"], observation["goal"][1], observation["height"]]
"""
SEEN = {"goal": [1.0, 0.5], "height": 0.25}


@pytest.fixture(scope="module")
def counter() -> Iterator[Policy]:
    policy = Policy.from_text(COUNTER, "counter")
    yield policy
    policy._runner[0].close()


@pytest.fixture(scope="module")
def upright() -> Policy:
    return load_policy("balance").with_values({"angle_gain": 10.0, "velocity_gain": 3.0})


def test_act_gives_plain_numbers_and_keeps_its_memory_until_reset(counter: Policy) -> None:
    counter.reset()
    first, second = counter.act(SEEN), counter.act({**SEEN, "goal": np.array([1.0, 0.75])})
    assert (first, second) == ([2.0, 0.5, 0.25], [4.0, 0.75, 0.25])
    assert {type(number) for number in first} == {float}
    counter.reset()
    assert counter.act(SEEN) == first


def test_a_fault_names_its_line_and_stays_until_reset(counter: Policy) -> None:
    counter.reset()
    for _ in range(3):
        counter.act(SEEN)
    for _ in range(2):
        with pytest.raises(PolicyError, match=r"policy counter, line 10: ZeroDivisionError.*reset begins"):
            counter.act(SEEN)
    counter.reset()
    assert counter.act(SEEN)[0] == 2.0


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        ({"goal": [1.0, 0.5]}, "the observation lacks 'height'; it has: goal"),
        ({**SEEN, "goal": [1.0]}, "goal must have 2 numbers, got 1"),
        ({**SEEN, "height": float("nan")}, "height must be finite, got nan"),
        ({**SEEN, "height": "tall"}, "height must be numbers, got 'tall'"),
        ({**SEEN, "wind": 1.0}, "the observation has 'wind', which is none of: goal, height"),
        ([1.0, 0.5], "an observation must be a dict of named numbers, got list"),
    ],
)
def test_an_observation_that_does_not_fit_is_refused(counter: Policy, observation: Any, message: str) -> None:
    counter.reset()
    counter.act(SEEN)
    with pytest.raises(PolicyError) as caught:
        counter.act(observation)
    assert str(caught.value).startswith(message)


def test_what_a_controller_may_not_do_it_may_not_do_here_either() -> None:
    policy = Policy.from_text("import socket\n\n\ndef act(observation):\n    return [0.0]\n", "caller")
    with pytest.raises(PolicyError, match=r"policy caller, line 1: .*socket"):
        policy.act({"x": 1.0})


def test_an_act_that_is_no_function_is_an_error_that_says_what_to_do() -> None:
    policy = Policy.from_text("act = abs\n", "odd")
    with pytest.raises(
        PolicyError, match="policy odd has no function act at its top level; give as_gymnasium"
    ):
        policy.act({"x": 1.0})


def actions_of(controller: GymnasiumPolicy, env: Any, seed: int) -> list[float]:
    observation, _ = env.reset(seed=seed)
    controller.reset()
    actions, over = [], False
    while not over:
        action = controller(observation)
        observation, _, terminated, truncated, _ = env.step(action)
        actions.append(float(np.ravel(action)[0]))
        over = terminated or truncated
    return actions


def test_a_gymnasium_loop_does_what_a_rollout_does() -> None:
    policy = load_policy("balance").with_values({"angle_gain": 4.0})
    with RolloutEngine(0) as engine:
        (episode,) = engine.run([Job("CartPole-v1", 7, {"control": "raw"}, controller=policy.text)])
    own = make("CartPole-v1", control="raw")
    mine = actions_of(as_gymnasium_policy(policy, own), own, 7)
    assert mine == episode.actions[:, 0].tolist()
    raw = gymnasium.make("CartPole-v1")
    assert raw.action_space.contains(as_gymnasium_policy(policy, raw)(raw.reset(seed=7)[0]))
    assert actions_of(as_gymnasium_policy(policy, raw), raw, 7) == np.rint(mine).tolist()


def evaluate_as_stable_baselines3(model: Any, env: Any, episodes: int) -> list[int]:
    """Call ``predict`` as evaluate_policy of version 2 does, with the lengths of its episodes."""
    observations, _ = env.reset(seed=[0, 1, 2])
    states, starts = None, np.ones(env.num_envs, bool)
    lengths: list[int] = []
    current = np.zeros(env.num_envs, int)
    while len(lengths) < episodes:
        actions, states = model.predict(observations, state=states, episode_start=starts, deterministic=True)
        observations, _, terminated, truncated, _ = env.step(actions)
        current += 1
        starts = terminated | truncated
        lengths += current[starts].tolist()
        current[starts] = 0
    return lengths


def test_the_loop_of_stable_baselines3_scores_parallel_environments(upright: Policy) -> None:
    single = gymnasium.make("CartPole-v1")
    many = gymnasium.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync")
    short = load_policy("balance").with_values({"angle_gain": 4.0})
    model = as_gymnasium_policy(short, single)
    together = evaluate_as_stable_baselines3(model, many, 3)
    alone = [len(actions_of(model, single, seed)) for seed in (0, 1, 2)]
    assert sorted(together[:1]) == [min(alone)]
    assert len(model._runners) == 3
    model.close()
    action, state = as_gymnasium_policy(upright, single).predict(np.zeros(4, np.float32))
    assert (np.shape(action), state) == ((), None)


def test_the_memory_of_one_environment_alone_is_emptied_at_its_start() -> None:
    text = (
        "def act(observation, memory):\n    memory['n'] = memory.get('n', 0) + 1\n"
        "    return [1.0 if memory['n'] == 2 else 0.0]\n"
    )
    model = as_gymnasium_policy(Policy.from_text(text), gymnasium.make("CartPole-v1"))
    rows = np.zeros((2, 4), np.float32)
    starts = ([True, True], [False, True], [False, False])
    actions = [model.predict(rows, episode_start=np.array(start))[0].tolist() for start in starts]
    model.close()
    assert actions == [[0, 0], [1, 0], [0, 1]]


def test_a_policy_of_another_control_mode_names_the_environment_to_make() -> None:
    with pytest.raises(
        PolicyError, match=r"acts in control mode 'pose', and the environment takes 'raw'; make it"
    ):
        as_gymnasium_policy(load_policy("pick_place"), gymnasium.make("CartPole-v1"))


def test_an_environment_without_an_id_asks_for_its_name() -> None:
    env = gymnasium.make("CartPole-v1").unwrapped
    env.spec = None
    with pytest.raises(PolicyError, match="the environment has no id; give the name of its description"):
        as_gymnasium_policy(load_policy("balance"), env)


def test_a_vector_environment_of_gymnasium_is_taken_as_it_is(upright: Policy) -> None:
    many = gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
    model = as_gymnasium_policy(upright, many)
    actions, _ = model.predict(many.reset(seed=0)[0])
    assert many.action_space.contains(actions)
    model.close()
    many.close()


@pytest.mark.parametrize("kind", ["one", "several", "processes"])
def test_stable_baselines3_itself_scores_a_controller(upright: Policy, kind: str) -> None:
    evaluation = pytest.importorskip("stable_baselines3.common.evaluation")
    env_util = pytest.importorskip("stable_baselines3.common.env_util")
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env")
    monitor = pytest.importorskip("stable_baselines3.common.monitor")
    if kind == "one":
        env = monitor.Monitor(gymnasium.make("CartPole-v1"))
    else:
        made = vec_env.SubprocVecEnv if kind == "processes" else vec_env.DummyVecEnv
        env = env_util.make_vec_env("CartPole-v1", n_envs=2, vec_env_cls=made)
    model = as_gymnasium_policy(upright, env)
    assert evaluation.evaluate_policy(model, env, n_eval_episodes=3) == (500.0, 0.0)
    model.close()
    env.close()


def test_stable_baselines3_itself_scores_a_controller_of_an_environment_made_here() -> None:
    evaluation = pytest.importorskip("stable_baselines3.common.evaluation")
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env")
    monitor = pytest.importorskip("stable_baselines3.common.monitor")
    env = vec_env.DummyVecEnv([lambda: monitor.Monitor(make("reach-v3", control="pose"))] * 2)
    model = as_gymnasium_policy(load_policy("pick_place"), env)
    mean, _ = evaluation.evaluate_policy(model, env, n_eval_episodes=2)
    assert mean > 0
    model.close()
    env.close()
