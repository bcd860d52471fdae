"""Key frames with the paths of hand and object, for models that see.

The moments that say most are chosen here, without MuJoCo; the rendering process draws them, and calls ``draw_paths``.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trace_robot.errors import RenderError
from trace_robot.render.job import clip_of
from trace_robot.render.process import RenderFailure, RenderProcess
from trace_robot.render.video import picture_job
from trace_robot.spec import Array, TaskSpec

if TYPE_CHECKING:
    from trace_robot.rollout.episode import Episode

SIZE = (
    384,
    288,
)  # pixels: as PNG below half a megabyte whatever it shows, in sight of the common models' tiles
COLORS = {"hand": (30, 90, 230), "object": (240, 120, 0)}
OWN_URL = "data:image/png;base64,"
MOVED = 0.01  # metres; an object that moved less has no moment at which it is fastest
LINE = 2  # pixels
Point = tuple[float, float]


def moments_of(episode: Episode, spec: TaskSpec) -> list[tuple[int, str]]:
    """Return the decisions that say most of an episode, each with what it shows.

    Args:
        episode: with its observations.
        spec: names the positions in them: the hand's, the object's, others.
    """
    last = episode.decisions
    hand, thing, goal = (_path(episode, spec, index) for index in (0, 1, 2))
    if hand is None:
        even = sorted({round(last * part / 3) for part in range(4)})
        return [(decision, "") for decision in even]
    found = {0: "the start", last: f"the end ({episode.ended})"}
    if thing is not None:
        found.setdefault(int(np.linalg.norm(hand - thing, axis=1).argmin()), "the hand nearest to the object")
        speeds = np.linalg.norm(np.diff(thing, axis=0), axis=1)
        if np.linalg.norm(thing - thing[0], axis=1).max() > MOVED:
            found.setdefault(int(speeds.argmax()) + 1, "the object at its fastest")
        if goal is not None:
            distances = np.linalg.norm(thing - goal, axis=1)
            found.setdefault(int(distances.argmin()), "the object nearest to its goal")
    return sorted(found.items())


def _path(episode: Episode, spec: TaskSpec, index: int) -> Array | None:
    """Return a named position over an episode, None where it is not known.

    (T + 1, 3) metres.
    """
    if index >= len(spec.positions) or len(episode.observations) != episode.decisions + 1:
        return None
    part = next(part for part in spec.observation if part.name == spec.positions[index])
    points = np.asarray(episode.observations[:, part.start : part.stop], dtype=float)
    return points if points.shape[1] == 3 and np.isfinite(points).all() and len(points) > 1 else None


def draw(episode: Episode, spec: TaskSpec, number: int, process: RenderProcess) -> list[tuple[str, str]]:
    """Return key frames of an episode, each a caption and a PNG as a data URL.

    Args:
        episode: with states and observations.
        spec: of its environment.
        number: of the episode, from 1, for the captions.
        process: where it is drawn.

    Raises:
        RenderError: there is nothing to draw, or it cannot be drawn.
    """
    paths = {name: _path(episode, spec, index) for index, name in enumerate(COLORS)}
    drawn = [(COLORS[name], points) for name, points in paths.items() if points is not None]
    clip = replace(
        clip_of(episode), paths=tuple(drawn) if not (episode.scene and episode.scene.replay) else ()
    )
    moments = moments_of(episode, spec)
    legend = "; lines: the path of the hand blue, of the object orange" if clip.paths else ""
    # A decision of pose control takes as many simulator steps as it needs, so that frames are found by their share.
    exact = {0, episode.decisions} if episode.steps != episode.decisions else {d for d, _ in moments}
    with tempfile.TemporaryDirectory(prefix="trace_robot_key_frames_") as folder:
        files = [Path(folder) / f"{index}.png" for index in range(len(moments))]
        for path, (decision, _) in zip(files, moments, strict=True):
            share = decision / max(1, episode.decisions)
            process.submit(picture_job([clip], path, moments=[share], size=SIZE))
        failed = [result for result in process.finish() if isinstance(result, RenderFailure)]
        if failed:
            raise RenderError(failed[0].reason)
        return [
            (
                f"Picture of episode {number}, {'' if decision in exact else 'about '}decision {decision}"
                + (f": {what}{legend}" if what else legend),
                OWN_URL + base64.b64encode(path.read_bytes()).decode("ascii"),
            )
            for path, (decision, what) in zip(files, moments, strict=True)
        ]


def draw_paths(picture: Array, scene: Any, paths: Sequence[tuple[tuple[int, int, int], Array]]) -> Array:
    """Return a picture with paths drawn over it, in the rendering process.

    Args:
        picture: (height, width, 3), 8 bits, of the posed scene.
        scene: a ``SceneModel``, whose camera looks at it.
        paths: of each its color and its points, (P, 3) metres.
    """
    import mujoco
    from PIL import Image, ImageDraw

    from trace_robot.render.camera import camera_pose

    view = mujoco.MjvScene(scene.model, maxgeom=1)  # only for the camera; geoms that do not fit are left out
    option, perturb = mujoco.MjvOption(), mujoco.MjvPerturb()
    mujoco.mjv_updateScene(
        scene.model, scene.data, option, perturb, scene.camera, mujoco.mjtCatBit.mjCAT_DECOR, view
    )
    image = Image.fromarray(picture)
    pencil = ImageDraw.Draw(image)
    for color, points in paths:
        seen = project(points, camera_pose(view), (image.width, image.height), turned=scene.turned)
        for one, other in pairwise(seen):
            if one is not None and other is not None:
                pencil.line([one, other], fill=color, width=LINE)
        if seen and seen[-1] is not None:
            x, y = seen[-1]
            pencil.ellipse(
                [x - 2 * LINE, y - 2 * LINE, x + 2 * LINE, y + 2 * LINE], outline=color, width=LINE
            )
    return np.asarray(image)


def project(
    points: Array, pose: tuple[Array, Array, Array, float], size: tuple[int, int], *, turned: bool = False
) -> list[Point | None]:
    """Return where points are in a picture, None for one that is behind the camera.

    Args:
        points: (P, 3) metres, world frame.
        pose: position, forward and up of the camera, and half the height of its picture at distance 1.
        size: width and height in pixels.
        turned: whether the picture is turned by 180 degrees.

    Returns:
        Pixels from the left and from the top.
    """
    position, forward, up, slope = pose
    width, height = size
    offsets = np.asarray(points, dtype=float) - position
    depths = offsets @ forward
    seen: list[Point | None] = []
    for offset, depth in zip(offsets, depths, strict=True):
        if depth <= 1e-3:
            seen.append(None)
            continue
        across = float(offset @ np.cross(forward, up)) / (depth * slope) * height / width
        upward = float(offset @ up) / (depth * slope)
        x, y = (across + 1) / 2 * width, (1 - upward) / 2 * height
        seen.append((width - x, height - y) if turned else (x, y))
    return seen
