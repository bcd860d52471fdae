"""The search over gaits on two joints that crawl where they circle."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.search.gait import GaitController
from trace_robot.search.gait.restarts import FeedbackRestart
from trace_robot.search.gait.search import GaitSearch

sys.path.insert(0, str(Path(__file__).parents[1] / "workspace" / "envs"))
import crawler  # type: ignore[import-not-found]  # of the test workspace

SPEC = crawler.describe("crawler")


def outcome(candidate: Candidate, env: Any) -> Outcome:
    """Return what a candidate does in one episode, as a worker would measure it."""
    controller = GaitController.from_data(candidate.program or {})
    runner = controller.start(SPEC)
    observation, _ = env.reset(seed=(candidate.seeds or (0,))[0])
    observations, rewards, info, over = [observation], [], {}, False
    while not over:
        action = runner(observation)
        if runner.finished:
            break
        observation, reward, _, over, info = env.step(action)
        observations.append(observation)
        rewards.append(reward)
    measures = controller.measures(SPEC, np.array(observations), np.array(rewards), info)
    details = {"success": [False], "reward": [float(sum(rewards))], "steps": [len(rewards)]}
    return Outcome(candidate.id, 0.0, details={**details, **{name: [x] for name, x in measures.items()}})


def searched(seed: int, until: Callable[[GaitSearch, int], bool]) -> tuple[GaitSearch, list[Any]]:
    """Run a search until a condition on it and its decisions holds, return it and what it asked for."""
    search, env, asked, decisions = GaitSearch(SPEC, range(256), seed=seed), crawler.Crawler(), [], 0
    while not until(search, decisions):
        outcomes = [outcome(candidate, env) for candidate in search.ask()]
        asked += [candidate.to_data() for candidate in search.ask()]
        decisions += sum(one.details["steps"][0] for one in outcomes)
        search.tell(outcomes)
    return search, asked


def test_where_a_stride_earns_more_than_feedback_a_rhythm_leads_the_race() -> None:
    search, _ = searched(0, lambda search, _: search.champion is not None)
    champion = search.champion
    assert champion is not None
    assert champion.name == "rhythm"
    assert champion.gait.swings
    assert champion.gait.joints[0].angle == 0
    assert champion.gait.joints[1].rate == 3
    assert champion.gait.step_seconds == pytest.approx(crawler.SECONDS, rel=0.1)
    feedback = [one for one in search.finalists if one.name == "linear feedback"]
    assert champion.value > 1.2 * max(one.value for one in feedback)


def test_the_bonus_for_not_having_fallen_is_found_and_left_out() -> None:
    search, _ = searched(0, lambda search, decisions: decisions > 1000)
    assert search.alive == 0.5
    standing = Outcome(1, 0.0, details={"success": [False], "reward": [30.0], "steps": [60]})
    assert search._bare(standing) == 0.0


def test_a_search_asks_for_the_same_gaits_again() -> None:
    first, second = (searched(3, lambda _, decisions: decisions > 20_000)[1] for _ in range(2))
    assert first == second
    assert first != searched(4, lambda _, decisions: decisions > 20_000)[1]


def test_a_robot_that_falls_is_tried_over_whole_episodes_and_another_over_short_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def first_trials(falls_after: int) -> tuple[set[int], int]:
        monkeypatch.setattr(crawler, "DECISIONS", falls_after)
        search, _ = searched(0, lambda search, _: search.phase.startswith("rung"))
        rows = [candidate.to_data()["program"] for candidate in search.ask()]
        return {row["trial"]["decisions"] for row in rows}, len(rows)

    falling, several = first_trials(60)
    steady, fewer = first_trials(crawler.HORIZON)
    assert falling == {crawler.HORIZON}
    assert steady == {200}
    assert several > fewer, "with restarts at more lengths of a step"


def test_before_the_first_rung_the_best_gait_so_far_is_at_hand_and_runs_to_the_end() -> None:
    search, asked = searched(0, lambda _, decisions: decisions > 20_000)
    assert search.champion is None
    best = search.best
    assert best is not None
    assert re.fullmatch(r"(a rhythm of|linear feedback).*: best so far, on 1 condition alone", best.note)
    assert set(best.program or {}) == {"gait"}, "without the key that cuts a trial short"
    assert any(set(candidate["program"]) == {"gait", "trial"} for candidate in asked)
    full = outcome(best, crawler.Crawler())
    assert full.details["steps"] == [crawler.DECISIONS]


def test_feedback_goes_back_to_its_best_gait_with_finer_steps() -> None:
    search, _ = searched(0, lambda search, _: search.champion is not None)
    best = next(one for one in search.finalists if one.name == "linear feedback")
    structure_like = next(
        restart for restart in search._plain(search.body) if isinstance(restart, FeedbackRestart)
    )
    before = structure_like.move
    structure_like.refine(best.gait)
    assert best.gait.balance is not None
    assert structure_like.move < before
    assert structure_like.mean.balance is not None
    assert structure_like.mean.balance.gains == best.gait.balance.gains
    assert structure_like.mean.balance.spreads == pytest.approx(best.gait.balance.spreads, rel=1e-3)
