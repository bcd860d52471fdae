"""Observations and rewards are nodes whose parents are what they came from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from trace_robot.env.traced import TracedEnv, load_env
from trace_robot.errors import ActionError, OrderError
from trace_robot.trace import ExecutionError, Node, backward, bundle, is_tracing, node, stop_tracing


@pytest.fixture(scope="module")
def shared() -> Iterator[TracedEnv]:
    env = load_env("reach-v3", control="raw")
    yield env
    env.close()


@pytest.fixture
def env(shared: TracedEnv) -> TracedEnv:
    shared.reset(seed=0)
    return shared


def test_a_reset_gives_a_node_of_named_fields(env: TracedEnv) -> None:
    observation, info = env.reset(seed=0)
    assert isinstance(observation, Node)
    assert list(observation.data) == [field.name for field in env.task_spec.observation]
    assert observation.data["hand_position"].shape == (3,)
    assert isinstance(observation.data["gripper_opening"], float)
    assert info == {"success": False, "steps": 0}


def test_fields_of_an_observation_are_linked_to_it(env: TracedEnv) -> None:
    observation, _ = env.reset(seed=0)
    goal = observation["goal_position"]
    assert isinstance(goal, Node)
    assert observation in goal.parents


def test_a_step_links_the_new_observation_and_the_reward_to_the_old_one_and_the_action(
    env: TracedEnv,
) -> None:
    before, _ = env.reset(seed=0)
    action = node(np.zeros(4))
    after, reward, terminated, truncated, info = env.step(action)
    assert after.inputs["observation"] is before
    assert after.inputs["action"] is action
    assert reward.inputs["observation"] is after
    assert reward.data == info["unscaled_reward"]
    assert (terminated, truncated, info["steps"]) == (False, False, 1)
    assert after.description.startswith("[step] the environment applies the action")


def test_feedback_on_the_last_reward_reaches_the_code_of_every_step(env: TracedEnv) -> None:
    gain = node(10.0, trainable=True, name="gain")

    @bundle(trainable=True)
    def towards(observation, gain):  # type: ignore[no-untyped-def]
        """Move towards the goal."""
        return np.array([*(gain * (observation["goal_position"] - observation["hand_position"])), -1.0])

    observation, _ = env.reset(seed=0)
    for _ in range(3):
        observation, reward, *_ = env.step(towards(observation, gain))
    subgraph = backward(reward, "closer")
    assert {each.key for each in subgraph.parameters} == {"gain", "towards"}
    assert [each.operation.base for each in subgraph.operations].count("step") == 3


def test_a_list_with_nodes_in_it_is_an_action(env: TracedEnv) -> None:
    part = node(0.5)
    after, *_ = env.step([part, 0.0, 0.0, -1.0])
    assert part in after.inputs["action"].parents
    env.reset(seed=0)
    assert env.step([0.5, 0.0, 0.0, -1.0])[0] == after


def test_a_traced_episode_has_the_numbers_of_an_untraced_one(env: TracedEnv) -> None:
    plain = env.env
    plain.reset(seed=4)
    expected = [plain.step(np.full(4, 0.2, np.float32)) for _ in range(5)]
    env.reset(seed=4)
    for flat, reward, terminated, truncated, info in expected:
        found = env.step(node(np.full(4, 0.2)))
        assert found[0].data.keys() == env.task_spec.named(flat).keys()
        assert all(np.array_equal(found[0].data[k], value) for k, value in env.task_spec.named(flat).items())
        assert (found[1].data, *found[2:]) == (reward, terminated, truncated, info)


def test_a_traced_action_that_fails_gives_a_node_that_takes_feedback(env: TracedEnv) -> None:
    gain = node(np.nan, trainable=True, name="gain")
    with pytest.raises(ExecutionError) as caught:
        env.step(gain * np.ones(4))
    assert isinstance(caught.value.__cause__, ActionError)
    assert "action must be finite" in caught.value.exception_node.data
    assert [each.key for each in backward(caught.value.exception_node, "fix it").parameters] == ["gain"]


def test_a_plain_action_that_fails_raises_the_fault_itself(env: TracedEnv) -> None:
    with pytest.raises(ActionError, match=r"^action must have shape \(4,\), got \(3,\)$"):
        env.step([0.0, 0.0, 0.0])


def test_a_step_before_the_first_reset_is_an_error() -> None:
    with pytest.raises(OrderError, match=r"call reset\(\) first"):
        load_env("reach-v3").step([0.0, 0.0, 0.0, 0.0])


def test_nothing_is_linked_while_tracing_is_stopped(env: TracedEnv) -> None:
    with stop_tracing():
        assert not is_tracing()
        env.reset(seed=0)
        after, *_ = env.step(node(np.zeros(4)))
    assert after.parents == []


def test_the_graph_of_an_episode_is_freed_when_nothing_holds_its_end(env: TracedEnv) -> None:
    import gc
    import weakref

    first, _ = env.reset(seed=0)
    seen = weakref.ref(first)
    observation = first
    for _ in range(5):
        observation = env.step(node(np.zeros(4)))[0]
    del first, observation
    env.reset(seed=1)
    gc.collect()
    assert seen() is None
