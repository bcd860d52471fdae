"""Scores, intervals, conditions and feedback as text."""

from __future__ import annotations

import numpy as np
import pytest

from trace_robot.errors import TraceRobotError
from trace_robot.fault import Fault
from trace_robot.optimizers.problem import Candidate
from trace_robot.rollout.episode import Ended, Episode
from trace_robot.rollout.evaluation import episode_score, outcome_of, wilson
from trace_robot.rollout.feedback import describe, feedback, representative
from trace_robot.settings import held_out_seeds, training_seeds, validation_seeds


def episode(ended: Ended, rewards: list[float], *, seed: int = 0, fault: Fault | None = None) -> Episode:
    count = len(rewards)
    return Episode(
        seed, ended, 20 * count, np.array(rewards), np.zeros((count, 4), np.float32), np.zeros((0, 3)), fault
    )


WON = episode("success", [0.1, 10.0])
LATE = episode("time", [1.0, 4.0, 2.0])
STUCK = episode("time", [0.1, 0.1, 0.1])
BROKEN = episode("error", [1.0], fault=Fault("exception", "ZeroDivisionError: division by zero", 3))


def test_no_reward_is_worth_a_success_and_an_error_is_worth_less_than_standing_still() -> None:
    rich = episode("time", [1e9] * 3)
    assert episode_score(WON) == 1.0
    assert episode_score(STUCK) < episode_score(LATE) < episode_score(rich) < 0.5 + 1e-9
    assert episode_score(BROKEN) < episode_score(episode("time", [1.0]))
    assert episode_score(episode("error", [])) > 0


def test_an_outcome_counts_errors_as_failures() -> None:
    outcome = outcome_of(Candidate(7, None, {}), [WON, BROKEN, LATE, WON], "a\nb\nc\n")
    assert (outcome.candidate, outcome.success, len(outcome.faults)) == (7, 0.5, 1)
    assert outcome.score == pytest.approx(sum(outcome.scores) / 4)


def test_feedback_says_success_reward_how_each_episode_ended_and_marks_the_failing_line() -> None:
    text = feedback([WON, LATE, BROKEN], "def act(o):\n    k = 0\n    return 1 / k\n")
    assert (
        text.splitlines()[0]
        == "Success in 1 of 3 episodes. Total reward of an episode: mean 6.033, from 1 to 10.1."
    )
    assert "Episode 1: success after 2 decisions (40 simulator steps); total reward 10.1." in text
    assert "Episode 2: failed, time ran out after 3 decisions (60 simulator steps)" in text
    assert "reward of a decision: 1 at the first, 4 at best (decision 2), 2 at the last" in text
    assert "Episode 3: error (exception) at decision 2; total reward 1." in text
    assert "Error (exception): ZeroDivisionError: division by zero" in text
    assert ">>>    3 |     return 1 / k" in text
    assert text.count(">>>") == 1


def test_a_fault_on_a_line_that_is_not_there_has_no_mark() -> None:
    assert describe(Fault("timeout", "too slow", 99), "a\nb") == "Error (timeout): too slow"


def test_the_same_fault_in_every_episode_is_written_once() -> None:
    assert feedback([BROKEN] * 5, "").count("ZeroDivisionError") == 1


def test_the_telling_episode_is_an_error_else_the_median_failure_else_the_slowest_success() -> None:
    slow = episode("success", [1.0] * 9)
    assert representative([WON, LATE, BROKEN]) == 2
    assert representative([episode("time", [9.0]), STUCK, LATE, WON]) == 2
    assert representative([WON, slow, WON]) == 1


def test_the_wilson_interval_agrees_with_published_values() -> None:
    assert wilson(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert wilson(0, 50) == pytest.approx((0.0, 0.0713), abs=1e-4)
    assert wilson(50, 50)[1] == pytest.approx(1.0)


def test_training_and_held_out_conditions_never_meet_whatever_the_seeds() -> None:
    kinds = (training_seeds, validation_seeds, held_out_seeds)
    training, validation, held_out = (
        {seed for run in range(4) for seed in seeds(run, 25_000)} for seeds in kinds
    )
    assert not training & held_out
    assert not validation & (training | held_out)
    assert len(training) == len(validation) == len(held_out) == 100_000


@pytest.mark.parametrize(
    ("seed", "episodes", "message"),
    [(-1, 5, "seed must be 0 or more, got -1"), (0, 0, "episodes must be from 1 to 25000, got 0")],
)
def test_impossible_conditions_are_refused(seed: int, episodes: int, message: str) -> None:
    with pytest.raises(TraceRobotError, match=message):
        training_seeds(seed, episodes)
