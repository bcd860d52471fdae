"""Which recorded frames are shown, and how an episode is described."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from trace_robot.errors import RenderError
from trace_robot.fault import Fault
from trace_robot.render.layout import key_frames, timeline
from trace_robot.render.video import Clip, clip_of, outcome_text
from trace_robot.rollout.episode import Episode

NONE = np.empty(0)


def test_a_long_recording_is_thinned_to_the_frames_of_the_video() -> None:
    indices, held, speed = timeline(np.arange(501) / 80, 25.0)
    assert len(indices) - held == 157  # 6.25 seconds
    assert set(np.diff(indices[:-held])) == {3, 4}
    assert speed == 1.0


def test_a_sparse_recording_is_played_in_its_own_time() -> None:
    indices, held, _ = timeline(np.array([0.0, 1.0, 2.0]), 10.0)
    assert len(indices) - held == 21
    assert indices[:11] == [0] + [1] * 10


def test_the_last_state_is_held_for_a_moment() -> None:
    indices, held, _ = timeline(np.arange(9) / 80, 25.0)
    assert held == 30
    assert indices[-held:] == [8] * held


def test_a_recording_of_more_than_a_minute_is_played_faster() -> None:
    indices, held, speed = timeline(np.arange(2401) * 0.05, 25.0)
    assert speed == pytest.approx(2.0)
    assert (len(indices) - held) / 25 == pytest.approx(60, abs=0.1)


def test_a_single_state_is_shown() -> None:
    assert timeline(np.array([0.6]), 25.0) == ([0] * 31, 30, 1.0)


@given(some.lists(some.floats(0, 0.2), min_size=1, max_size=200), some.sampled_from([1.0, 24.0, 25.0, 60.0]))
def test_frames_never_go_back_and_lag_less_than_a_state(gaps: list[float], fps: float) -> None:
    seconds = 0.6 + np.cumsum(gaps)
    indices, held, speed = timeline(seconds, fps)
    assert indices == sorted(indices)
    assert 0 <= indices[0] <= indices[-1] == len(seconds) - 1
    for number, index in enumerate(indices[:-held]):
        now = seconds[0] + number * speed / fps
        assert index == len(seconds) - 1 or seconds[index] >= now - 1e-5
        assert index == 0 or seconds[index - 1] < now + 1e-5


def test_moments_are_spread_from_first_to_last_and_one_is_the_last() -> None:
    assert key_frames(11, 1) == [10]
    assert key_frames(11, 3) == [0, 5, 10]
    assert key_frames(11, (0.0, 0.25)) == [0, 2]
    assert key_frames(1, 3) == [0, 0, 0]


def test_the_outcome_of_an_episode_is_described(clip: Clip) -> None:
    episode = Episode(3, "success", 61, NONE, NONE, NONE, scene=clip.scene, states=clip.states)
    fault = Fault("timeout", "too slow")
    assert outcome_text("success", 61) == "success after 61 steps"
    assert outcome_text("time", 500) == "no success in 500 steps"
    assert outcome_text("terminated", 9) == "ended without success after 9 steps"
    assert (
        outcome_text("error", 9, "timeout") == clip_of(replace(episode, ended="error", fault=fault)).outcome
    )
    assert (outcome_text("error", 9, "timeout"), outcome_text("error", 9)) == ("error: timeout", "error")
    made = clip_of(episode, "reach-v3", "iteration 1")
    assert (made.caption, made.outcome, made.success) == (
        ("reach-v3", "iteration 1"),
        "success after 61 steps",
        True,
    )


def test_an_episode_without_states_has_no_clip(clip: Clip) -> None:
    with pytest.raises(
        RenderError,
        match=r"of seed 3 holds no states to draw; record them with keep_states=True, or with Job\(record=True\)$",
    ):
        clip_of(Episode(3, "time", 500, NONE, NONE, NONE, scene=clip.scene), "reach-v3")
