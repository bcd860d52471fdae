"""Contact sheets of key frames with paths of hand and object, for models that see.

The moments that say most are chosen here, without MuJoCo; the rendering process draws them side by side in one picture,
and calls ``draw_paths``. One picture costs a model a fifth of what five cost.
"""

from __future__ import annotations

import base64
import io
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

# Pixels of a tile. A sheet of 3 by 2 is within the 800 tokens that are counted for a picture: OpenAI counts 425,
# Anthropic 498, Qwen 476.
SIZE = (288, 216)
COLUMNS = 3
COLORS = {"hand": (30, 90, 230), "object": (240, 120, 0)}
OWN_URL = "data:image/png;base64,"
MOVED = 0.01  # metres; an object that moved less has no moment at which it is fastest
LINE, LETTERS = 2, 13  # pixels
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
    """Return a contact sheet of an episode's key frames, a caption and a data URL.

    Args:
        episode: with states and observations.
        spec: of its environment.
        number: of the episode, from 1, for the caption.
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
    # A decision of pose control takes as many simulator steps as it needs, so that frames are found by their share.
    exact = {0, episode.decisions} if episode.steps != episode.decisions else {d for d, _ in moments}
    labels = [f"{'' if decision in exact else 'about '}decision {decision}" for decision, _ in moments]
    shares = [decision / max(1, episode.decisions) for decision, _ in moments]
    columns = min(COLUMNS, len(moments))
    with tempfile.TemporaryDirectory(prefix="trace_robot_key_frames_") as folder:
        path = Path(folder) / "sheet.png"
        process.submit(picture_job([clip], path, moments=shares, columns=columns, size=SIZE))
        failed = [result for result in process.finish() if isinstance(result, RenderFailure)]
        if failed:
            raise RenderError(failed[0].reason)
        sheet = _stamped(path, labels, columns)
    shown = [f"{label}: {what}" if what else label for label, (_, what) in zip(labels, moments, strict=True)]
    caption = f"Moments of episode {number} in one picture, row by row: {'; '.join(shown)}"
    caption += "; lines: the path of the hand blue, of the object orange" if clip.paths else ""
    return [(caption, OWN_URL + base64.b64encode(sheet).decode("ascii"))]


def _stamped(path: Path, labels: Sequence[str], columns: int) -> bytes:
    """Return a sheet as PNG with a label in the upper left corner of each tile.

    Args:
        path: of the sheet.
        labels: one a tile, row by row.
        columns: tiles in a row.
    """
    from PIL import Image, ImageDraw, ImageFont

    with Image.open(path) as opened:
        image = opened.convert("RGB")
    pencil, font = ImageDraw.Draw(image), ImageFont.load_default(LETTERS)
    width, height = image.width // columns, image.height // -(-len(labels) // columns)
    for place, label in enumerate(labels):
        at = (place % columns * width + LINE, place // columns * height + LINE)
        left, top, right, bottom = pencil.textbbox(at, label, font=font)
        pencil.rectangle([left - LINE, top - LINE, right + LINE, bottom + LINE], fill=(0, 0, 0))
        pencil.text(at, label, font=font, fill=(255, 255, 255))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


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
