"""What a result says of a run that found nothing, and of a robot that stands still."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trace_robot import optimize
from trace_robot.rollout.episode import Episode
from trace_robot.rollout.feedback import standing_still


def episode(bonus: float, forward: float, moved: float, ended: str = "time") -> Episode:
    rewards = np.full(1000, bonus + forward)
    infos = {"reward_survive": bonus, "reward_forward": forward, "x_position": moved}
    return Episode(0, ended, 1000, rewards, np.zeros((1000, 1)), np.zeros((0, 0)), infos=infos)  # type: ignore[arg-type]


def test_a_return_that_is_all_bonus_is_pointed_out_and_one_of_motion_is_not() -> None:
    note = standing_still([episode(1.0, 0.01, 0.1)] * 3)
    assert "in 3 of 3 episodes the return, 1010, is the bonus for staying alive (reward_survive)" in note
    assert "the robot moves 0.1 m in 1,000 steps" in note
    assert standing_still([episode(1.0, 1.5, 12.0)] * 3) == ""
    assert standing_still([episode(1.0, 0.01, 0.1, "terminated")] * 3) == ""  # it fell
    assert standing_still([episode(0.0, 0.01, 0.1)] * 3) == ""  # no bonus


def test_a_run_that_ends_where_it_began_says_what_was_tried_and_what_may_help(
    point_mass: None, tmp_path: Path
) -> None:
    result = optimize(
        "point-mass",
        optimizer="search",
        steps=41,
        held_out=2,
        episodes=1,
        workers=0,
        out=tmp_path / "run",
        video=False,
    )
    assert result.best_iteration == 0
    (note,) = result.notes
    assert note.startswith("nothing better than the starting controller was found, with ")
    assert "more --steps or --seconds" in note
    assert note.endswith("trace-robot check-env point-mass")
    assert result.held_out_return_interval is not None
    low, high = result.held_out_return_interval
    assert low <= result.held_out_return <= high
    assert result.measure == "success"


@pytest.mark.parametrize("steps", [20_000])
def test_a_run_that_found_something_has_no_such_note(point_mass: None, tmp_path: Path, steps: int) -> None:
    result = optimize(
        "point-mass",
        optimizer="search",
        steps=steps,
        held_out=2,
        workers=0,
        out=tmp_path / "run",
        video=False,
    )
    assert result.best_iteration > 0
    assert result.notes == ()
