"""Candidates in the real simulator, and graphs from outcomes to parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from trace_robot.optimizers.problem import Candidate
from trace_robot.optimizers.prompt.table import minimal
from trace_robot.policy import Policy, load_policy
from trace_robot.rollout import RolloutEngine, Rollouts, training_seeds
from trace_robot.rollout.evaluation import Evaluator
from trace_robot.rollout.task import Task

UNUSED = """\
from trace_robot import bundle, node

step = node(0.1, trainable=True)
unused = node(7.0, trainable=True)


@bundle(trainable=True)
def go(observation, step):
    return [step, 0.0, 0.0, 0.0]


def act(observation, memory):
    return go(observation, step)
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[RolloutEngine]:
    with RolloutEngine(1) as engine:
        yield engine


def trials(engine: RolloutEngine, policy: Policy, task: str = "reach-v3", episodes: int = 2) -> Evaluator:
    return Evaluator(engine, Task.load(task, policy, control="pose"), training_seeds(0, episodes))


def start(policy: Policy) -> Candidate:
    return Candidate(0, None, policy.values)


def test_feedback_flows_from_the_outcome_through_every_step_to_code_and_constants(
    engine: RolloutEngine,
) -> None:
    policy = load_policy("pick_place")
    (trial,) = trials(engine, policy, "pick-place-v3").evaluate([start(policy)], graph=True)
    records: list[dict[str, Any]] = [dict(record) for record in minimal(trial.outcome.graph)]
    assert {record["name"] for record in records if record["kind"] == "parameter"} == set(policy.values)
    operations = [record["op"] for record in records if record["kind"] == "operation"]
    decisions = operations.count("move")
    assert decisions == operations.count("choose_stage") == operations.count("step") > 10
    assert operations[-1] == "outcome"


def test_a_parameter_that_nothing_used_is_not_in_the_graph(engine: RolloutEngine) -> None:
    policy = Policy.from_text(UNUSED)
    (trial,) = trials(engine, policy, episodes=1).evaluate([start(policy)], graph=True)
    assert trial.outcome.faults == ()
    records = minimal(trial.outcome.graph)
    assert {record["name"] for record in records if record["kind"] == "parameter"} == {"go", "step"}


def test_tracing_an_episode_does_not_change_it(engine: RolloutEngine) -> None:
    policy = load_policy("pick_place")
    (plain,) = trials(engine, policy).evaluate([start(policy)])
    (traced,) = trials(engine, policy).evaluate([start(policy)], graph=True)
    assert [e.actions.tobytes() for e in plain.episodes] == [e.actions.tobytes() for e in traced.episodes]
    assert plain.outcome.scores == traced.outcome.scores


def test_a_candidate_that_cannot_be_loaded_is_a_score_with_a_reason(engine: RolloutEngine) -> None:
    policy = load_policy("do_nothing")
    bad = Candidate(1, 0, {"act": "def act(observation, memory):\n    return [0.0] * 4 +"})
    good = start(policy)
    (failed, still) = trials(engine, policy).evaluate([bad, good], graph=True)
    assert failed.outcome.success == 0.0
    assert {fault.category for fault in failed.outcome.faults} == {"exception"}
    assert "SyntaxError" in failed.outcome.feedback
    assert ">>>" in failed.outcome.feedback
    assert failed.outcome.graph == ()
    assert still.outcome.score > failed.outcome.score


def test_the_steps_of_all_candidates_are_counted(engine: RolloutEngine) -> None:
    policy = load_policy("do_nothing")
    tried = trials(engine, policy)
    results = tried.evaluate([start(policy), Candidate(1, 0, policy.values)])
    assert tried.candidates == 2
    assert tried.environment_steps == sum(e.steps for trial in results for e in trial.episodes) == 2000


def test_rollouts_give_an_output_whose_graph_ends_in_the_parameters_themselves() -> None:
    policy = load_policy("do_nothing")
    parameters = policy.parameters()
    with Rollouts("reach-v3", policy, episodes=1, workers=1) as rollouts:
        first = rollouts(parameters)
        assert (first.success, len(first.episodes)) == (0.0, 1)
        assert first.output is not None
        first.output.backward(first.feedback)
        assert parameters[0].feedback
        parameters[0].data = (
            "def act(observation, memory):\n"
            "    return [*(observation['goal_position'] - observation['hand_position']), 0.0]"
        )
        assert rollouts(parameters).success == 1.0
