"""Training conditions that grow while all are solved, comparison on equal conditions, overfitting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trace_robot.optimizers import Candidate, OptoPrime, Outcome, ParameterSpec, Problem
from trace_robot.policy import Policy
from trace_robot.rollout.episode import Episode, Job
from trace_robot.rollout.evaluation import Evaluation, Evaluator
from trace_robot.rollout.growth import overfit, overfit_at_end
from trace_robot.run.acceptance import is_better
from trace_robot.settings import SeedSplit, Settings

POLICY = Policy.from_text(
    "from trace_robot import bundle, node\n\nskill = node(0.5, trainable=True)\n\n\ndef act(observation):\n"
    "    return [skill]\n"
)
NOTHING = np.zeros((0, 1))


class Engine:
    """Solves a condition if ``solves`` says so, and counts the conditions that it was asked for."""

    def __init__(self, solves: Callable[[str, int], bool]) -> None:
        self.solves, self.asked = solves, list[int]()

    def run(self, jobs: Iterable[Job], *, on_episode: Any = None) -> list[Episode]:
        episodes = []
        for job in jobs:
            self.asked.append(job.seed)
            ended: Any = "success" if self.solves(str(job.controller), job.seed) else "time"
            episodes.append(Episode(job.seed, ended, 4, np.zeros(4), NOTHING, NOTHING))
        return episodes

    def run_within(self, jobs: Any, limit: Any, *, on_episode: Any = None) -> Any:
        raise NotImplementedError


def evaluator(solves: Callable[[str, int], bool], **options: Any) -> tuple[Evaluator, Engine]:
    engine = Engine(solves)
    task: Any = SimpleNamespace(prompt=1, env="e", options={}, policy=POLICY)
    keywords: dict[str, Any] = {
        "reserve": tuple(range(5, 20)),
        "confirm": tuple(range(20, 30)),
        "counted": True,
    }
    return Evaluator(engine, task, tuple(range(5)), **{**keywords, **options}), engine


def skilled(number: int, skill: float) -> Candidate:
    return Candidate(number, 0, {"skill": skill}, origin="model")


def test_a_candidate_that_solves_all_is_tried_on_twice_as_many_up_to_the_limit_and_confirmed_last() -> None:
    rolled, engine = evaluator(lambda text, seed: True)
    (trial,) = rolled.evaluate([skilled(1, 0.9)])
    assert engine.asked == list(range(30))
    assert len(trial.episodes) == 30
    assert trial.outcome.success == 1.0
    assert "overfits" not in trial.outcome.feedback


def test_later_candidates_are_tried_on_what_the_earlier_one_did_not_solve() -> None:
    rolled, engine = evaluator(lambda text, seed: seed < 7)
    (trial,) = rolled.evaluate([skilled(1, 0.9)])
    assert engine.asked == list(range(10))
    assert rolled.seeds == tuple(range(10))
    assert (
        "It overfits: it solved all 5 training conditions (the first episodes), and 2 of 5"
        in trial.outcome.feedback
    )
    engine.asked.clear()
    rolled.evaluate([skilled(2, 0.8)])
    assert engine.asked == list(range(10))


def test_conditions_stay_where_they_do_not_grow() -> None:
    rolled, engine = evaluator(lambda text, seed: seed < 3)
    rolled.evaluate([skilled(1, 0.9)])
    assert engine.asked == list(rolled.seeds) == list(range(5))
    rolled, engine = evaluator(lambda text, seed: True, reserve=(), counted=False)
    (trial,) = rolled.evaluate([skilled(1, 0.9)])
    assert engine.asked == [0, 1, 2, 3, 4, *range(20, 30)]
    assert "conditions" not in trial.outcome.details


def test_the_conditions_of_a_run_are_disjoint_and_the_first_are_those_of_a_run_that_does_not_grow() -> None:
    grown = SeedSplit.of(Settings("t", episodes=5, confirm=10, grow=20))
    still = SeedSplit.of(Settings("t", episodes=5, confirm=10))
    assert grown.training == still.training == tuple(range(5))
    assert (grown.reserve, still.reserve) == (tuple(range(5, 20)), ())
    assert grown.confirmation == tuple(range(20, 30))
    assert still.confirmation == tuple(range(5, 15))
    assert not set(grown.held_out) & set(range(30))


def tried(rolled: Evaluator, candidate: Candidate) -> Evaluation:
    return rolled.evaluate([candidate])[0]


def test_one_that_solved_training_and_half_of_more_replaces_one_that_failed_in_training() -> None:
    """By the score alone, 4 of 5 would beat 6 of 10."""
    rolled, _ = evaluator(lambda text, seed: seed < (6 if "0.9" in text else 4))
    poor, good = tried(rolled, skilled(1, 0.4)), tried(rolled, skilled(2, 0.9))
    assert poor.outcome.score > good.outcome.score
    assert is_better(good, poor, search_ranks=False, compared=False)
    assert not is_better(poor, good, search_ranks=False, compared=False)


def test_among_those_that_solve_training_confirming_conditions_decide() -> None:
    confirmed = {"0.7": 24, "0.9": 28}
    rolled, _ = evaluator(
        lambda text, seed: seed < next(n for s, n in confirmed.items() if s in text), reserve=()
    )
    less, more = tried(rolled, skilled(1, 0.7)), tried(rolled, skilled(2, 0.9))
    assert is_better(more, less, search_ranks=False, compared=False)
    assert not is_better(less, more, search_ranks=False, compared=False)


def test_a_tie_is_taken_where_it_solves_what_the_best_failed_and_only_there() -> None:
    solved = {"0.6": {0, 1}, "0.7": {1, 2}, "0.9": {0, 1}}
    rolled, _ = evaluator(lambda text, seed: seed in next(c for s, c in solved.items() if s in text))
    first, other, same = (tried(rolled, skilled(n, s)) for n, s in enumerate((0.6, 0.7, 0.9), 1))
    assert is_better(other, first, search_ranks=False, compared=False)
    assert not is_better(same, first, search_ranks=False, compared=False)
    old = replace(
        other, outcome=replace(other.outcome, details={"success": other.outcome.details["success"]})
    )
    assert not is_better(old, first, search_ranks=False, compared=False)  # of 0.1


def test_the_model_works_on_from_a_tie_that_cured_and_is_shown_why() -> None:
    problem = Problem((ParameterSpec("skill", "number", 0.5),))
    optimizer = OptoPrime(problem)
    for number, successes in enumerate(([True, True, False], [False, True, True])):
        details = {"conditions": 3, "success": successes}
        optimizer.learn(skilled(number, number / 2), Outcome(number, 0.7, success=2 / 3, details=details))
    assert optimizer.best is not None
    assert optimizer.best.id == 1
    prompt = optimizer.prompt()
    assert "(number) skill = 0.5" in prompt
    assert (
        "- Trial 1: equal in score to trial 0 and taken in its place: it solved episode 3, which trial 0 failed (and"
        " failed episode 1, which trial 0 solved)" in prompt
    )


@pytest.mark.parametrize(
    ("successes", "training", "says"),
    [
        ([True] * 5, 5, ""),
        ([True] * 10, 5, ""),
        ([True] * 4 + [False], 5, ""),
        ([True] * 5 + [False], 5, "0 of 1"),
    ],
)
def test_overfitting_is_all_of_training_and_not_all_of_the_rest(
    successes: list[bool], training: int, says: str
) -> None:
    assert (says in overfit(successes, training)) if says else overfit(successes, training) == ""


def test_a_run_says_at_its_end_that_training_showed_too_much() -> None:
    solved = {"conditions": 30, "training": 20, "success": [True] * 30}
    assert overfit_at_end(solved, [True] * 36 + [False] * 14) == (
        "the best controller overfits: success 1.00 in training, 0.72 held out"
    )
    assert overfit_at_end(solved, [True] * 50) == ""
    assert overfit_at_end(solved, [True] * 48 + [False] * 2) == ""  # 30 of 30 may be a rate of 0.89
    some = {**solved, "success": [True] * 27 + [False] * 3}
    assert overfit_at_end(some, [True] * 45 + [False] * 5) == (
        "the best controller overfits: success 1.00 in training, 0.70 on 10 other conditions, 0.90 held out"
    )
    assert overfit_at_end({"success": [True]}, [False]) == ""  # of 0.1
