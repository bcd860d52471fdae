"""Pictures of Meta-World: upright, with the goal and the table in sight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trace_robot.env.registry import make
from trace_robot.render.job import RenderJob
from trace_robot.render.video import (
    Clip,
    RenderFailure,
    RenderProcess,
    VideoInfo,
    picture_job,
    render_picture,
    video_job,
)
from trace_robot.spec import Array

Reader = Callable[[Path], Array]


def recorded(task: str, *, steps: int = 3) -> Clip:
    """Return the clip of an arm that moves up and forward for a few decisions."""
    env = make(task, control="pose")
    env.record_states = True
    env.reset(seed=1)
    for _ in range(steps):
        env.step(np.array([0.0, 0.05, 0.05, -1.0], np.float32))
    clip = Clip(env.scene(), env.recorded(), (task, "iteration 1"), "no success in 60 steps", False)
    env.close()
    return clip


@pytest.fixture(scope="module")
def pick_place() -> Clip:
    return recorded("pick-place-v3")


def colored(picture: Array, channel: int) -> Array:
    """Where a picture is strongly red (0), green (1) or blue (2)."""
    pixels = picture.astype(int)
    return np.asarray(pixels[..., channel] > np.delete(pixels, channel, axis=2).max(axis=2) + 60)


def wood(picture: Array) -> Array:
    """Where a picture shows the table: brown, neither grey nor the robot's red."""
    red, green, blue = (picture[..., channel].astype(int) for channel in range(3))
    return np.asarray((red > green + 10) & (green > blue + 5) & (red < green + 60))


def view(clip: Clip, process: RenderProcess, path: Path, frames_of: Reader) -> Array:
    process.submit(picture_job([replace(clip, caption=(), outcome="", success=None)], path, moments=[0.0]))
    (info,) = process.finish()
    assert isinstance(info, VideoInfo), info
    return np.asarray(frames_of(path)[0])


def test_the_goal_is_in_sight_and_the_table_is_below_for_every_backend(
    pick_place: Clip, tmp_path: Path, frames_of: Reader, backend: str
) -> None:
    free = replace(
        pick_place, scene=replace(pick_place.scene, camera=""), caption=(), outcome="", success=None
    )
    info = render_picture([free], tmp_path / "a.png", moments=[0.0], backend=backend)
    picture = frames_of(info.path)[0]
    assert colored(picture, 2).sum() >= 15
    assert np.argwhere(wood(picture))[:, 0].mean() > 180
    assert wood(picture)[180:].mean() > 0.4 > 0.1 > wood(picture)[:90].mean()


def test_the_goal_of_another_condition_is_drawn_elsewhere(
    pick_place: Clip, tmp_path: Path, frames_of: Reader, process: RenderProcess
) -> None:
    env = make("pick-place-v3")
    env.reset(seed=2)
    other = replace(pick_place, scene=env.scene())
    env.close()
    scenes = [replace(clip, scene=replace(clip.scene, camera="topview")) for clip in (pick_place, other)]
    places = [
        np.argwhere(colored(view(clip, process, tmp_path / "a.png", frames_of), 2)).mean(axis=0)
        for clip in scenes
    ]
    assert np.linalg.norm(places[0] - places[1]) > 2


@pytest.mark.parametrize("camera", ["corner", "corner2", "corner3", "corner4"])
def test_upstream_s_cameras_are_turned_upright(
    pick_place: Clip, tmp_path: Path, frames_of: Reader, process: RenderProcess, camera: str
) -> None:
    heights = []
    for upside_down in (True, False):
        scene = replace(pick_place.scene, camera=camera, upside_down=upside_down)
        picture = view(replace(pick_place, scene=scene), process, tmp_path / "a.png", frames_of)
        heights.append(np.argwhere(wood(picture))[:, 0].mean())
    assert heights[0] > heights[1]
    assert heights[0] + heights[1] == pytest.approx(359, abs=1)


@pytest.mark.parametrize("task", ["door-open-v3", "reach-v3"])
def test_a_task_s_video_shows_the_arm_move(
    task: str, tmp_path: Path, frames_of: Reader, process: RenderProcess
) -> None:
    clip = recorded(task)
    process.submit(video_job([replace(clip, scene=replace(clip.scene, camera=""))], tmp_path / "a.mp4"))
    (info,) = process.finish()
    assert isinstance(info, VideoInfo), info
    pictures = frames_of(info.path)[:, 50:].astype(int)
    assert len(pictures) == info.frames > 10
    moved = np.abs(pictures[-32] - pictures[0]).max(axis=2) > 60
    assert 0.005 < moved.mean() < 0.5
    assert colored(pictures[0], 0).mean() > 0.02


def test_frames_as_data_are_one_a_state_without_caption_and_upright(
    pick_place: Clip, tmp_path: Path, frames_of: Reader, process: RenderProcess
) -> None:
    size = (96, 96)
    corner = replace(pick_place, scene=replace(pick_place.scene, camera="corner"))
    top = replace(pick_place, scene=replace(pick_place.scene, camera="topview"))
    for path in (tmp_path / "a.mp4", tmp_path / "a.npy"):
        process.submit(RenderJob((corner, top), path, "frames", size, "fast", 80.0))
    video, array = process.finish()
    assert isinstance(video, VideoInfo), video
    assert isinstance(array, VideoInfo), array
    pictures = np.load(array.path)
    count = len(pick_place.states)
    assert pictures.shape == (2 * count, 96, 96, 3)
    frames = frames_of(video.path)
    assert frames.shape == pictures.shape
    assert np.abs(frames.astype(int) - pictures).mean() < 6
    # The corner's camera hangs upside down and is turned; the one above looks straight down and is not.
    assert np.argwhere(wood(pictures[0]))[:, 0].mean() > 48
    plain = view(replace(top, states=top.states), process, tmp_path / "b.png", frames_of)
    below = np.argwhere(colored(plain, 0))[:, 0].mean() / len(plain)
    assert np.argwhere(colored(pictures[count], 0))[:, 0].mean() / 96 == pytest.approx(below, abs=0.05)


def test_frames_of_a_recording_that_diverged_are_refused(
    pick_place: Clip, tmp_path: Path, process: RenderProcess
) -> None:
    qpos = pick_place.states.qpos.copy()
    qpos[2] = np.nan
    clip = replace(pick_place, states=replace(pick_place.states, qpos=qpos))
    process.submit(RenderJob((clip,), tmp_path / "a.mp4", "frames", (96, 96), "fast", 80.0))
    (failure,) = process.finish()
    assert isinstance(failure, RenderFailure)
    assert failure.reason == "state 2 of a recording is not finite; record it again"
    assert not (tmp_path / "a.mp4").exists()
