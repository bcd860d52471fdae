"""Episodes are drawn from their model's states, or by stepping the environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trace_robot.errors import RenderError
from trace_robot.render.video import clip_of, render, render_picture
from trace_robot.rollout import Job, RolloutEngine
from trace_robot.rollout.episode import Episode
from trace_robot.spec import Array
from trace_robot.store.codec import decode_episodes, encode_episodes

NEVER_THE_SAME = """
import random
from gymnasium.envs.classic_control import PendulumEnv
from trace_robot import Environment

class Drifting(PendulumEnv):
    def step(self, action):
        seen, reward, *rest = super().step(action)
        return seen, reward - random.random(), *rest

ENVIRONMENTS = [Environment("drifting", "Swing.", make=Drifting, horizon=20, return_threshold=0.0)]
"""


def recorded(name: str, action: list[float], **options: object) -> Episode:
    controller = f"def act(observation):\n    return {action}\n"
    with RolloutEngine(0) as engine:
        (episode,) = engine.run([Job(name, 3, options, controller=controller, record=True)])
    return episode


def test_an_environment_without_a_model_file_draws_itself_stepped_again(
    tmp_path: Path, frames_of: Callable[[Path], Array]
) -> None:
    episode = recorded("CartPole-v1", [1.0])
    assert episode.ended == "terminated"
    info = render([clip_of(episode)], tmp_path / "cart.mp4")
    frames = frames_of(tmp_path / "cart.mp4")
    assert len(frames) == info.frames
    assert np.abs(frames[0].astype(int) - frames[-15].astype(int)).max() > 100  # the cart has moved


def test_recording_changes_nothing_and_survives_the_store() -> None:
    for name, action in (("CartPole-v1", [1.0]), ("FetchPush-v4", [0.3, 0.2, -0.4, 1.0])):
        episode = recorded(name, action)
        with RolloutEngine(0) as engine:
            (plain,) = engine.run([Job(name, 3, controller=f"def act(observation):\n    return {action}\n")])
        assert plain.rewards.tobytes() == episode.rewards.tobytes()
        (back,) = decode_episodes(encode_episodes([episode]))
        assert back.scene is not None
        assert episode.scene is not None
        assert (back.scene.replay, back.scene.view) == (episode.scene.replay, episode.scene.view)
        assert back.return_threshold == episode.return_threshold


def test_a_goal_that_is_moved_only_for_drawing_is_drawn_where_it_is(tmp_path: Path) -> None:
    episode = recorded("FetchReach-v4", [0.0] * 4, horizon=2)
    assert episode.scene is not None
    assert "site_pos" in episode.scene.model_arrays
    render_picture([clip_of(episode)], tmp_path / "reach.png")
    assert (tmp_path / "reach.png").stat().st_size > 1000


def test_an_environment_that_does_not_repeat_is_not_drawn_as_if_it_did(own: Path) -> None:
    (own / "envs" / "drifting.py").write_text(NEVER_THE_SAME)
    episode = recorded("drifting", [1.0])
    with pytest.raises(
        RenderError, match="the environment did not do again what it did: the reward of step 1 was"
    ):
        render([clip_of(episode)], own / "drift.mp4")


@pytest.mark.parametrize(
    ("name", "options", "action"),
    [
        ("reach-v3", {"control": "raw"}, [0.3, 0.2, 0.0, 0.0]),
        ("reach-v3", {"control": "pose"}, [0.02, 0.02, 0.0, 0.0]),
        ("FetchReach-v4", {}, [0.3, 0.2, -0.4, 1.0]),
        ("CartPole-v1", {}, [1.0]),
    ],
)
def test_a_state_after_each_decision_is_recorded_where_it_is_asked_for(
    name: str, options: dict[str, object], action: list[float]
) -> None:
    options = {**options, "horizon": 12}
    controller = f"def act(observation):\n    return {action}\n"
    with RolloutEngine(0) as engine:
        jobs = [Job(name, 3, options, controller, record=record) for record in (False, True, "decisions")]
        plain, usual, each = engine.run(jobs)
    assert plain.rewards.tobytes() == usual.rewards.tobytes() == each.rewards.tobytes()
    assert each.states is not None
    assert len(each.states) == each.decisions + 1
    assert np.all(np.diff(each.states.seconds) > 0)
    if each.scene is not None and each.scene.model_path:  # else actions are recorded, which are all the same
        assert np.abs(np.diff(each.states.qpos, axis=0)).max(axis=1).min() > 0
