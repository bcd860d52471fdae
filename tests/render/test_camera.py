"""A camera that is fitted keeps the robot in sight, whatever it does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trace_robot.render.video import Clip, RenderProcess, VideoInfo, picture_job
from trace_robot.spec import Array, Scene, States

CAR = """
<mujoco>
  <asset>
    <texture name="checks" type="2d" builtin="checker" width="64" height="64" rgb1="0.2 0.4 0.2" rgb2="0.5 0.8 0.5"/>
    <material name="floor" texture="checks" texrepeat="12 12"/>
  </asset>
  <worldbody>
    <light mode="trackcom" dir="0 0.3 -1" pos="0 -1 4" directional="true"/>
    <geom type="plane" size="{floor} {floor} 0.1" material="floor"/>
    <body name="car" pos="0 0 0.3">
      <joint type="slide" axis="1 0 0"/>
      {camera}
      <geom type="box" size="0.3 0.2 0.1" rgba="0.9 0.05 0.05 1"/>
      <body pos="0.2 0 0.2">
        <joint axis="0 1 0"/><camera name="close" mode="track" pos="0 -0.3 0"/><geom size="0.05"/>
      </body>
    </body>
  </worldbody>
</mujoco>
"""
Reader = Callable[[Path], Array]


def drive(
    folder: Path,
    process: RenderProcess,
    frames_of: Reader,
    metres: float,
    *,
    camera: str = "",
    floor: float = 40,
) -> list[Array]:
    """Return the first and the last picture of a car that drives along x."""
    model = folder / f"car{len(camera)}.xml"  # a model is kept by its file's name
    model.write_text(CAR.format(camera=camera, floor=floor))
    count = 40
    qpos = np.stack([np.linspace(0.0, metres, count), np.zeros(count)], axis=1)
    none = np.zeros((count, 0, 3)), np.zeros((count, 0, 4))
    clip = Clip(Scene(str(model)), States(qpos, *none, np.arange(count) / 20))
    process.submit(picture_job([clip], folder / "car.png", moments=2, size=(240, 180)))
    (info,) = process.finish()
    assert isinstance(info, VideoInfo), info
    return np.split(frames_of(info.path)[0].astype(int), 2, axis=1)


def car(picture: Array) -> tuple[float, float]:
    """Return where the car is, as a part of the picture's width, and how much of the picture it takes."""
    red = picture[..., 0] > picture[..., 1:].max(axis=2) + 60
    assert red.any(), "the car is out of the picture"
    return float(np.argwhere(red)[:, 1].mean() / picture.shape[1]), float(red.mean())


def test_a_robot_that_drives_away_is_followed(
    tmp_path: Path, process: RenderProcess, frames_of: Reader
) -> None:
    for picture in drive(tmp_path, process, frames_of, 30.0):
        place, size = car(picture)
        assert place == pytest.approx(0.5, abs=0.1)
        assert size > 0.03


def test_a_robot_that_stays_is_framed_by_a_camera_at_rest(
    tmp_path: Path, process: RenderProcess, frames_of: Reader
) -> None:
    first, last = drive(tmp_path, process, frames_of, 0.5)
    assert abs(car(first)[0] - car(last)[0]) > 0.05
    assert min(car(first)[1], car(last)[1]) > 0.02


def test_a_camera_of_the_model_that_tracks_the_robot_is_the_default_and_one_on_its_hand_is_not(
    tmp_path: Path, process: RenderProcess, frames_of: Reader
) -> None:
    far = '<camera name="track" mode="trackcom" pos="0 -12 0" xyaxes="1 0 0 0 0 1"/>'
    tracked = [car(picture) for picture in drive(tmp_path, process, frames_of, 30.0, camera=far)]
    fitted = [car(picture) for picture in drive(tmp_path, process, frames_of, 30.0)]
    assert [place for place, _ in tracked] == pytest.approx([0.5, 0.5], abs=0.05)
    assert tracked[0][1] < 0.01 < fitted[0][1]


def test_the_floor_goes_on_under_a_robot_that_leaves_what_the_model_draws_of_it(
    tmp_path: Path, process: RenderProcess, frames_of: Reader
) -> None:
    for picture in drive(tmp_path, process, frames_of, 60.0, floor=5):
        low = picture[130:]
        assert (low[..., 1] > low[..., 0] + 15).mean() > 0.8
