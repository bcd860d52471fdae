"""Key frames for a model: the moments that say most, and paths where the things really were."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trace_robot.errors import RenderError
from trace_robot.render.key_frames import COLORS, COLUMNS, SIZE, draw, moments_of, project
from trace_robot.render.video import RenderProcess
from trace_robot.rollout.episode import Episode
from trace_robot.spec import Array, Field, Scene, States, TaskSpec

SPEC = TaskSpec(
    "t",
    "",
    (Field("hand_position", 0, 3), Field("puck_position", 3, 6), Field("goal_position", 6, 9)),
    (Field("move", 0, 1),),
    9,
    (-1.0,),
    (1.0,),
    100,
    positions=("hand_position", "puck_position", "goal_position"),
)


def episode(hand: Array, thing: Array, goal: Array, **parts: Any) -> Episode:
    seen = np.hstack([hand, thing, goal])
    count = len(seen) - 1
    return Episode(3, "time", count, np.zeros(count), np.zeros((count, 1)), seen, **parts)


def line(*points: Any, count: int = 11) -> Array:
    whole = np.array(points, dtype=float)
    where = np.linspace(0, len(whole) - 1, count)
    return np.stack([np.interp(where, range(len(whole)), whole[:, axis]) for axis in range(3)], axis=1)


def test_the_moments_are_start_contact_motion_nearest_to_the_goal_and_end() -> None:
    hand = line((0, 0, 0), (1, 0, 0), (2, 1, 0))
    thing = np.tile([1.1, 0.0, 0.0], (11, 1))
    thing[7:] = [1.5, 0.0, 0.0]  # hit between decisions 6 and 7
    thing[9:] = [1.45, 0.0, 0.0]
    goal = np.tile([1.44, 0.0, 0.0], (11, 1))
    assert moments_of(episode(hand, thing, goal), SPEC) == [
        (0, "the start"),
        (5, "the hand nearest to the object"),
        (7, "the object at its fastest"),
        (9, "the object nearest to its goal"),
        (10, "the end (time)"),
    ]


def test_an_object_that_never_moved_has_no_moment_of_motion() -> None:
    thing = np.tile([1.0, 0.0, 0.0], (11, 1))
    shown = [what for _, what in moments_of(episode(line((0, 0, 0), (1, 1, 0)), thing, thing), SPEC)]
    assert "the object at its fastest" not in shown


def test_without_positions_the_moments_are_evenly_spread() -> None:
    bare = Episode(0, "time", 9, np.zeros(9), np.zeros((9, 1)), np.zeros((0, 9)))
    assert [decision for decision, _ in moments_of(bare, SPEC)] == [0, 3, 6, 9]


def test_points_are_projected_as_by_a_pinhole_camera_and_one_behind_it_is_left_out() -> None:
    pose = (np.array([0.0, -2.0, 0.0]), np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0]), 0.5)
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1], [0, -3, 0]], dtype=float)
    assert project(points, pose, (400, 200)) == [(200.0, 100.0), (300.0, 100.0), (200.0, 0.0), None]
    assert project(points[1:2], pose, (400, 200), turned=True) == [(100.0, 100.0)]


def close_to(picture: Array, color: tuple[int, int, int]) -> Array:
    return np.argwhere(np.abs(picture.astype(int) - color).max(axis=-1) < 12)


@pytest.mark.parametrize("camera", ["upright", "headlong"])
def test_the_path_of_the_ball_leads_to_where_the_ball_is_drawn(
    model_path: Path, states: States, process: RenderProcess, camera: str
) -> None:
    ball = states.qpos[:, :3]
    scene = Scene(str(model_path), camera=camera, upside_down=camera == "headlong")
    still = np.tile([-0.8, 0.0, 0.3], (len(ball), 1))
    shown = draw(episode(ball, still, still, scene=scene, states=states), SPEC, 2, process)
    ((caption, url),) = shown
    moments = moments_of(episode(ball, still, still), SPEC)
    assert caption.startswith(
        "Moments of episode 2 in one picture, row by row: decision 0: the start; decision "
    )
    assert f"decision {len(ball) - 1}: the end (time); lines: the path of the hand blue" in caption
    data = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    assert len(data) < 1_100_000
    sheet = np.asarray(Image.open(io.BytesIO(data)))
    columns = min(COLUMNS, len(moments))
    assert sheet.shape == (SIZE[1] * -(-len(moments) // columns), SIZE[0] * columns, 3)
    for place, part in ((0, 0), (len(moments) - 1, len(ball) - 1)):
        row, column = divmod(place, columns)
        tile = sheet[row * SIZE[1] : (row + 1) * SIZE[1], column * SIZE[0] : (column + 1) * SIZE[0]]
        label = tile[:18, :60]  # black, with white letters
        assert (label.max(axis=-1) < 20).mean() > 0.3
        assert (label.min(axis=-1) > 200).any()
        picture = tile.copy()
        picture[:20, :110] = 255
        path = close_to(picture, COLORS["hand"])
        red = np.argwhere((picture[..., 0] > 120) & (picture[..., 1] < 60) & (picture[..., 2] < 60))
        rows = path[:, 0]
        end = rows.min() if part == 0 else rows.max()  # the ball falls: its start is the path's top
        assert abs(end - np.median(red[:, 0])) < 14
        assert abs(np.median(path[:, 1]) - np.median(red[:, 1])) < 4


def test_an_episode_without_states_is_an_error_with_a_remedy() -> None:
    hand = line((0, 0, 0), (1, 0, 0))
    with (
        RenderProcess(backend="rays") as process,
        pytest.raises(RenderError, match="holds no states to draw"),
    ):
        draw(episode(hand, hand, hand), SPEC, 1, process)
