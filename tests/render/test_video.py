"""What is written can be read back: frames, size, time, upright, outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trace_robot.errors import RenderError
from trace_robot.render.process import RenderBackend, probe
from trace_robot.render.video import (
    Clip,
    RenderFailure,
    RenderProcess,
    VideoInfo,
    picture_job,
    render,
    render_picture,
    render_side_by_side,
    video_job,
)
from trace_robot.spec import Array, Scene, States

BAND = 50  # rows of the caption above a picture of 480 by 360: two lines
Reader = Callable[[Path], Array]


def drawn(process: RenderProcess, job: object) -> VideoInfo:
    process.submit(job)  # type: ignore[arg-type]
    (result,) = process.finish()
    assert isinstance(result, VideoInfo), result
    return result


def place_of(picture: Array, channel: int) -> Array:
    """Return the mean (row, column) of what is mostly red (0), green (1) or blue (2)."""
    pixels = picture.astype(int)
    others = np.delete(pixels, channel, axis=2).max(axis=2)
    places = np.argwhere(pixels[..., channel] > others + 50)
    assert len(places) > 20
    return np.asarray(places.mean(axis=0))


def red_height(picture: Array) -> float:
    return float(place_of(picture, 0)[0])


def test_a_video_has_the_frames_the_size_and_the_time_that_its_info_tells(
    clip: Clip, tmp_path: Path, frames_of: Reader
) -> None:
    info = render([clip], tmp_path / "ball.mp4", size=(200, 160), fps=25)
    pictures = frames_of(info.path)
    assert pictures.shape == (info.frames, 160, 200, 3)
    assert info.size == (200, 160)
    assert info.frames == 13 + 30  # half a second at 25 a second, both ends, and 1.2 seconds of the ending
    assert info.seconds == info.frames / 25
    assert info.file_bytes == info.path.stat().st_size
    assert list(tmp_path.iterdir()) == [info.path]


def test_the_ball_falls_down_in_the_pictures_of_every_backend(
    clip: Clip, tmp_path: Path, frames_of: Reader, backend: str
) -> None:
    info = render([clip], tmp_path / "ball.mp4", backend=backend)
    pictures = frames_of(info.path)
    heights = [red_height(pictures[index, BAND:]) for index in (0, 6, 12)]
    assert heights == sorted(heights)
    assert heights[-1] - heights[0] > 30
    assert info.backend == backend


@pytest.mark.parametrize("camera", ["headlong", ""])
def test_an_upside_down_camera_is_turned_and_a_free_one_is_not(
    clip: Clip, tmp_path: Path, frames_of: Reader, process: RenderProcess, camera: str
) -> None:
    turned = replace(clip, scene=replace(clip.scene, camera=camera, upside_down=True))
    info = drawn(process, picture_job([turned], tmp_path / "fall.png", moments=2))
    first, last = np.split(frames_of(info.path)[0, BAND:], 2, axis=1)
    assert red_height(first) < red_height(last)


def test_the_ball_rises_for_a_camera_that_is_not_declared_upside_down(
    clip: Clip, tmp_path: Path, frames_of: Reader, process: RenderProcess
) -> None:
    headlong = replace(clip, scene=replace(clip.scene, camera="headlong"))
    info = drawn(process, picture_job([headlong], tmp_path / "fall.png", moments=2))
    first, last = np.split(frames_of(info.path)[0, BAND:], 2, axis=1)
    assert red_height(first) > red_height(last)


def test_turning_a_headlong_camera_gives_the_upright_picture(
    clip: Clip, tmp_path: Path, frames_of: Reader, process: RenderProcess
) -> None:
    upright = drawn(process, picture_job([clip], tmp_path / "a.png", moments=[0.5]))
    scene = replace(clip.scene, camera="headlong", upside_down=True)
    turned = drawn(process, picture_job([replace(clip, scene=scene)], tmp_path / "b.png", moments=[0.5]))
    difference = np.abs(frames_of(upright.path).astype(int) - frames_of(turned.path).astype(int))
    assert difference.mean() < 1.0


def test_egl_and_osmesa_draw_the_same_picture(clip: Clip, tmp_path: Path, frames_of: Reader) -> None:
    both: tuple[RenderBackend, ...] = ("egl", "osmesa")
    for name in both:
        if probe(name):
            pytest.skip(f"{probe(name)}: needs both")
        render_picture([clip], tmp_path / f"{name}.png", backend=name)
    assert np.array_equal(frames_of(tmp_path / "egl.png"), frames_of(tmp_path / "osmesa.png"))


def test_the_ray_caster_shows_the_same_things_in_the_same_places(
    clip: Clip, tmp_path: Path, frames_of: Reader, process: RenderProcess
) -> None:
    if process.backend == "rays":
        pytest.skip("nothing to compare with: no GL library here")
    fine = frames_of(drawn(process, picture_job([clip], tmp_path / "gl.png", moments=[0.5])).path)[0]
    coarse = frames_of(render_picture([clip], tmp_path / "rays.png", moments=[0.5], backend="rays").path)[0]
    for channel, name in enumerate(("the ball", "the wall", "the goal")):
        assert place_of(coarse[BAND:], channel) == pytest.approx(place_of(fine[BAND:], channel), abs=2), name


def test_the_ending_stands_still_in_the_colour_of_the_outcome(
    clip: Clip, tmp_path: Path, frames_of: Reader, process: RenderProcess
) -> None:
    for success, channel in ((True, 1), (False, 0)):
        info = drawn(process, video_job([replace(clip, success=success)], tmp_path / f"{success}.mp4"))
        pictures = frames_of(info.path).astype(int)
        assert np.abs(pictures[-1] - pictures[-8]).mean() < 1
        edge, before = pictures[-1, 60, 1], pictures[5, 60, 1]
        assert edge[channel] > 150 > before[channel]
        assert edge[channel] > edge[1 - channel] + 60


def test_clips_follow_one_another_in_the_order_given(
    clip: Clip, tmp_path: Path, frames_of: Reader, process: RenderProcess
) -> None:
    info = drawn(process, video_job([clip, replace(clip, success=False)], tmp_path / "two.mp4"))
    pictures = frames_of(info.path).astype(int)
    assert len(pictures) == 2 * (13 + 30)
    assert pictures[42, 60, 1, 1] > pictures[42, 60, 1, 0]
    assert pictures[-1, 60, 1, 0] > pictures[-1, 60, 1, 1]


def test_side_by_side_is_as_wide_as_its_clips_and_the_shorter_one_waits(
    clip: Clip, tmp_path: Path, frames_of: Reader
) -> None:
    recorded = clip.states
    start = States(recorded.qpos[:5], recorded.mocap_pos[:5], recorded.mocap_quat[:5], recorded.seconds[:5])
    info = render_side_by_side([replace(clip, states=start), clip], tmp_path / "two.mp4", size=(160, 120))
    pictures = frames_of(info.path).astype(int)
    assert pictures.shape == (13 + 30, 120, 320, 3)
    left, right = pictures[:, 40:, 10:150], pictures[:, 40:, 170:310]
    assert np.abs(left[12] - left[-1]).mean() < 1 < np.abs(right[0] - right[-1]).mean()


def test_a_grid_holds_a_tile_for_every_clip_and_moment(
    clip: Clip, tmp_path: Path, frames_of: Reader, process: RenderProcess
) -> None:
    def shape(clips: int, **layout: object) -> tuple[int, ...]:
        job = picture_job([clip] * clips, tmp_path / "grid.png", size=(96, 80), **layout)  # type: ignore[arg-type]
        return frames_of(drawn(process, job).path).shape[1:3]

    assert shape(1) == (80, 96)
    assert shape(1, moments=4) == (80, 4 * 96)
    assert shape(2, moments=(0, 0.5, 1)) == (2 * 80, 3 * 96)
    assert shape(5) == (2 * 80, 3 * 96)
    assert shape(5, columns=5) == (80, 5 * 96)


def test_a_strip_goes_from_the_first_state_to_the_last(
    clip: Clip, tmp_path: Path, frames_of: Reader, process: RenderProcess
) -> None:
    info = drawn(process, picture_job([clip], tmp_path / "strip.png", moments=3))
    tiles = np.split(frames_of(info.path)[0, BAND:], 3, axis=1)
    heights = [red_height(tile) for tile in tiles]
    assert heights == sorted(heights)


def test_arrays_of_a_scene_change_its_picture_and_leave_the_next_one_alone(
    clip: Clip, tmp_path: Path, frames_of: Reader, process: RenderProcess
) -> None:
    goal = Scene(clip.scene.model_path, {"site_pos": np.array([[0.8, 0.0, 1.5]])}, "upright")
    clips = [clip, replace(clip, scene=goal), clip]
    info = drawn(process, picture_job(clips, tmp_path / "goals.png", moments=[0.0], columns=3))
    before, moved, after = np.split(frames_of(info.path)[0, BAND:].astype(int), 3, axis=1)
    assert np.array_equal(before, after)
    columns = [
        np.argwhere(tile[..., 2] > tile[..., :2].max(axis=2) + 60)[:, 1].mean() for tile in (before, moved)
    ]
    assert columns[0] < 240 < columns[1]


def test_high_quality_is_larger_and_has_shadows(clip: Clip, tmp_path: Path, frames_of: Reader) -> None:
    info = render_picture([clip], tmp_path / "high.png", quality="high")
    assert info.size == (640, 480)
    assert frames_of(info.path).shape == (1, 480, 640, 3)


def test_the_same_clip_gives_the_same_bytes(clip: Clip, tmp_path: Path, process: RenderProcess) -> None:
    for name in ("a.mp4", "b.mp4", "a.png", "b.png"):
        job = (
            video_job([clip], tmp_path / name)
            if name.endswith("mp4")
            else picture_job([clip], tmp_path / name)
        )
        drawn(process, job)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_states_that_stop_being_finite_end_the_video_with_a_note(
    clip: Clip, tmp_path: Path, frames_of: Reader, process: RenderProcess
) -> None:
    qpos = clip.states.qpos.copy()
    qpos[11:] = np.nan
    info = drawn(
        process, video_job([replace(clip, states=replace(clip.states, qpos=qpos))], tmp_path / "nan.mp4")
    )
    assert info.frames == len(frames_of(info.path)) == 3 + 30
    assert "a clip ends after 11 states: the next is not finite" in info.notes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (321, 240)}, "size must be two even numbers from 64 to 4096 and 4096, got (321, 240)"),
        ({"size": (32, 240)}, "size must be two even numbers from 64 to 4096 and 4096, got (32, 240)"),
        ({"quality": "best"}, "quality must be one of fast, high, got 'best'"),
        ({"fps": 0}, "fps must be between 1 and 120, got 0"),
        ({"backend": "vulkan"}, "no backend 'vulkan' for pictures; choose auto, egl, osmesa, cgl, wgl, rays"),
    ],
)
def test_a_wrong_option_is_named(clip: Clip, tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(RenderError) as caught:
        render([clip], tmp_path / "x.mp4", **change)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_no_clips_no_states_and_a_wrong_ending_of_the_name_are_errors(clip: Clip, tmp_path: Path) -> None:
    none = replace(
        clip, states=States(np.empty((0, 7)), np.empty((0, 0, 3)), np.empty((0, 0, 4)), np.empty(0))
    )
    with pytest.raises(RenderError, match="a picture needs at least one clip, got none"):
        render([], tmp_path / "x.mp4")
    with pytest.raises(
        RenderError, match="clip 2 holds no states to draw; record them with keep_states=True"
    ):
        render([clip, none], tmp_path / "x.mp4")
    with pytest.raises(RenderError, match=r"the file's name must end with \.mp4, got '.*x\.gif'"):
        render([clip], tmp_path / "x.gif")
    with pytest.raises(RenderError, match=r"moments must be a positive number or fractions .* got \(0, 2\)"):
        render_picture([clip], tmp_path / "x.png", moments=(0, 2))


def _broken(clip: Clip, what: str, folder: Path) -> Clip:
    scene, states = clip.scene, clip.states
    if what == "no file":
        return replace(clip, scene=replace(scene, model_path="nowhere.xml"))
    if what == "no model":
        (folder / "bad.xml").write_text("<mujoco><nonsense/></mujoco>")
        return replace(clip, scene=replace(scene, model_path=str(folder / "bad.xml")))
    if what == "no array":
        return replace(clip, scene=replace(scene, model_arrays={"nonsense": np.zeros(3)}))
    if what == "wrong array":
        return replace(clip, scene=replace(scene, model_arrays={"site_pos": np.zeros((4, 3))}))
    if what == "objects":
        return replace(clip, scene=replace(scene, model_arrays={"site_pos": np.array([{}])}))
    if what == "no camera":
        return replace(clip, scene=replace(scene, camera="nonsense"))
    if what == "other robot":
        return replace(clip, states=replace(states, qpos=np.zeros((len(states), 9))))
    return replace(clip, states=replace(states, qpos=np.full_like(states.qpos, np.inf)))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            "no file",
            "file not found: the model 'nowhere.xml' to draw; record the scene again on this machine",
        ),
        ("no model", "XML Error: Schema violation: unrecognized element"),
        ("no array", "the model wants none of that name for array 'nonsense', got (3,); record it again"),
        ("wrong array", "the model wants shape (1, 3) for array 'site_pos', got (4, 3); record it again"),
        ("objects", "array 'site_pos' must hold numbers, got object; record it again"),
        (
            "no camera",
            "the model has no camera 'nonsense'; known: upright, headlong; no name frames the workspace",
        ),
        ("other robot", "states.qpos must have shape (51, 7), got (51, 9); record them again"),
        ("infinite", "there are no recorded states with finite numbers to draw; record the episode again"),
    ],
)
def test_a_broken_scene_is_one_line_and_leaves_what_was_there(
    clip: Clip, tmp_path: Path, process: RenderProcess, what: str, message: str
) -> None:
    target = tmp_path / "videos" / "ball.mp4"
    target.parent.mkdir()
    target.write_bytes(b"an older video")
    job = video_job([_broken(clip, what, tmp_path)], target)
    if what == "objects":
        with pytest.raises(RenderError) as caught:
            process.submit(job)
        reason = str(caught.value)
    else:
        process.submit(job)
        (result,) = process.finish()
        assert isinstance(result, RenderFailure)
        reason = result.reason
    assert message in reason
    assert "\n" not in reason
    assert target.read_bytes() == b"an older video"
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_that_cannot_be_made_is_an_error(clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RenderError, match=r"cannot write '.*ball\.mp4': .*; choose another place"):
        render([clip], tmp_path / "file" / "ball.mp4")


def test_a_name_that_is_a_folder_is_an_error(clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "ball.mp4").mkdir()
    with pytest.raises(RenderError, match=r"no ball\.mp4: cannot write it: Is a directory"):
        render([clip], tmp_path / "ball.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["ball.mp4"]


def test_a_scene_that_stands_still_gives_the_frames_of_its_time_and_one_picture(
    clip: Clip, tmp_path: Path, frames_of: Reader, process: RenderProcess
) -> None:
    still = np.repeat(clip.states.qpos[:1], len(clip.states), axis=0)
    noise = 1e-4 * np.sin(np.arange(still.size)).reshape(still.shape)
    quiet = replace(clip, states=replace(clip.states, qpos=still + noise), success=None)
    pictures = frames_of(drawn(process, video_job([quiet], tmp_path / "still.mp4")).path).astype(int)
    assert len(pictures) == 43
    # Not every pixel: the encoder goes on refining what stands still.
    assert np.quantile(np.abs(pictures[:, BAND:] - pictures[0, BAND:]), 0.999) < 12


def test_the_outcome_is_in_the_caption_only_once_it_has_happened(
    clip: Clip, tmp_path: Path, frames_of: Reader, process: RenderProcess
) -> None:
    info = drawn(process, video_job([replace(clip, success=False)], tmp_path / "a.mp4"))
    captions = frames_of(info.path)[:, : BAND - 4].astype(int)
    red = [int((each[..., 0] > each[..., 1] + 60).sum()) for each in captions]
    assert max(red[:13]) == 0
    assert min(red[13:]) > 100


def test_the_lower_edge_belongs_to_the_scene_since_players_lay_their_controls_there(
    clip: Clip, tmp_path: Path, frames_of: Reader, process: RenderProcess
) -> None:
    info = drawn(process, picture_job([replace(clip, success=None)], tmp_path / "a.png", moments=[1.0]))
    captioned = frames_of(info.path)[0]
    assert (captioned[:BAND, 100:] == (24, 26, 30)).all(axis=2).mean() > 0.8  # the letters are on the left
    assert (captioned[-60:, 100:] == (24, 26, 30)).all(axis=2).mean() < 0.05
