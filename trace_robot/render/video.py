"""Pictures and videos of episodes, drawn from recorded states in another process.

    render([clip_of(episode, "pick-place-v3", "iteration 3")], "iteration_3.mp4")

To go on working meanwhile, submit ``video_job(...)`` and ``picture_job(...)`` to a ``RenderProcess``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from trace_robot.errors import RenderError
from trace_robot.render.job import (
    QUALITIES,
    Clip,
    Layout,
    QualityName,
    RenderJob,
    VideoInfo,
    clip_of,
    outcome_text,
)
from trace_robot.render.process import RenderFailure, RenderProcess, choose_backend, probe

if TYPE_CHECKING:
    from typing_extensions import Unpack  # of typing from Python 3.11 on

__all__ = [
    "Clip",
    "PictureOptions",
    "RenderFailure",
    "RenderJob",
    "RenderProcess",
    "VideoInfo",
    "VideoOptions",
    "choose_backend",
    "clip_of",
    "outcome_text",
    "picture_job",
    "probe",
    "render",
    "render_picture",
    "render_side_by_side",
    "video_job",
]

# 200 tiles of 480 by 360 pixels are 104 MB, and three times that while they are joined.
MOST_TILES = 200
LEAST_SIDE, MOST_SIDE = 64, 4096  # pixels; many decoders of H.264 take no side that is longer


class VideoOptions(TypedDict, total=False):
    """Options of a video, with the defaults of ``video_job``.

    Attributes:
        size: width and height of a clip's pictures in pixels, caption included, even numbers; None takes the quality's.
        quality: "fast" or "high".
        fps: pictures a second, 1 to 120.
    """

    size: tuple[int, int] | None
    quality: QualityName
    fps: float


class PictureOptions(TypedDict, total=False):
    """Options of a picture, with the defaults of ``picture_job``.

    Attributes:
        moments: the fractions of each clip to show, 0 the first state and 1 the last; or how many, evenly spread, 1
            being the last state alone.
        columns: tiles in a row; None takes a row for each clip, or near a square where each clip has one tile.
        size: width and height of a tile in pixels, caption included, even numbers; None takes the quality's.
        quality: "fast" or "high".
    """

    moments: int | Sequence[float]
    columns: int | None
    size: tuple[int, int] | None
    quality: QualityName


def render(
    clips: Sequence[Clip], path: str | Path, *, backend: str = "auto", **options: Unpack[VideoOptions]
) -> VideoInfo:
    """Write an mp4 that shows clips one after another, and wait for it.

    Args:
        clips: in their order.
        path: of the file, which ends with .mp4.
        backend: "auto", or one of ``trace_robot.render.process.BACKENDS``.
        options: see ``VideoOptions``.

    Raises:
        RenderError: nothing was written, and why.
    """
    return _wait_for(video_job(clips, path, **options), backend)


def render_side_by_side(
    clips: Sequence[Clip], path: str | Path, *, backend: str = "auto", **options: Unpack[VideoOptions]
) -> VideoInfo:
    """Write an mp4 that shows all clips at once, and wait for it.

    Args:
        clips: from left to right.
        path: of the file, which ends with .mp4.
        backend: "auto", or one of ``trace_robot.render.process.BACKENDS``.
        options: see ``VideoOptions``.

    Raises:
        RenderError: nothing was written, and why.
    """
    return _wait_for(video_job(clips, path, beside=True, **options), backend)


def render_picture(
    clips: Sequence[Clip], path: str | Path, *, backend: str = "auto", **options: Unpack[PictureOptions]
) -> VideoInfo:
    """Write a png of key frames, and wait for it.

    That is a still of one clip, a strip of several moments, or a sheet of several clips.

    Args:
        clips: in their order.
        path: of the file, which ends with .png.
        backend: "auto", or one of ``trace_robot.render.process.BACKENDS``.
        options: see ``PictureOptions``.

    Raises:
        RenderError: nothing was written, and why.
    """
    return _wait_for(picture_job(clips, path, **options), backend)


def video_job(
    clips: Sequence[Clip],
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    quality: QualityName = "fast",
    fps: float = 25.0,
    beside: bool = False,
) -> RenderJob:
    """Return the job of a video, for ``RenderProcess.submit``.

    Args:
        clips: in their order.
        path: of the file, which ends with .mp4.
        size: see ``VideoOptions``.
        quality: see ``VideoOptions``.
        fps: see ``VideoOptions``.
        beside: whether to show all clips at once, rather than one after another.

    Raises:
        RenderError: an option is out of its range, or a clip has no states.
    """
    if not 1 <= fps <= 120:
        raise RenderError(f"fps must be between 1 and 120, got {fps!r}")
    layout: Layout = "beside" if beside else "in turn"
    pixels = _size(size, quality, len(clips) if beside else 1)
    return RenderJob(_checked_clips(clips), _checked_path(path, ".mp4"), layout, pixels, quality, fps)


def picture_job(
    clips: Sequence[Clip],
    path: str | Path,
    *,
    moments: int | Sequence[float] = 1,
    columns: int | None = None,
    size: tuple[int, int] | None = None,
    quality: QualityName = "fast",
) -> RenderJob:
    """Return the job of a picture, for ``RenderProcess.submit``.

    Args:
        clips: in their order.
        path: of the file, which ends with .png.
        moments: see ``PictureOptions``.
        columns: see ``PictureOptions``.
        size: see ``PictureOptions``.
        quality: see ``PictureOptions``.

    Raises:
        RenderError: an option is out of its range, or a clip has no states.
    """
    fractions = moments if isinstance(moments, int) else tuple(float(moment) for moment in moments)
    count = fractions if isinstance(fractions, int) else len(fractions)
    if count < 1 or (not isinstance(fractions, int) and not all(0 <= moment <= 1 for moment in fractions)):
        raise RenderError(f"moments must be a positive number or fractions between 0 and 1, got {moments!r}")
    wide = columns if columns is not None else count if count > 1 else math.ceil(math.sqrt(len(clips)))
    pixels, tiles = _size(size, quality, 1), count * len(clips)
    if not 1 <= wide <= MOST_TILES or tiles > MOST_TILES:
        raise RenderError(
            f"a picture holds 1 to {MOST_TILES} tiles, got {tiles} in {wide} columns; show fewer"
        )
    return RenderJob(
        clips=_checked_clips(clips),
        path=_checked_path(path, ".png"),
        layout="grid",
        size=pixels,
        quality=quality,
        moments=fractions,
        columns=wide,
    )


def _wait_for(job: RenderJob, backend: str) -> VideoInfo:
    with RenderProcess(backend=backend) as process:
        process.submit(job)
        result = process.finish()[0]
    if isinstance(result, RenderFailure):
        raise RenderError(f"no {result.path.name}: {result.reason}")
    return result


def _checked_clips(clips: Sequence[Clip]) -> tuple[Clip, ...]:
    if not clips:
        raise RenderError("a picture needs at least one clip, got none; record an episode first")
    for number, clip in enumerate(clips, 1):
        if not len(clip.states):
            raise RenderError(f"clip {number} holds no states to draw; record them with keep_states=True")
    return tuple(clips)


def _checked_path(path: str | Path, suffix: str) -> Path:
    if Path(path).suffix.lower() != suffix:
        raise RenderError(f"the file's name must end with {suffix}, got {str(path)!r}")
    return Path(path)


def _size(size: tuple[int, int] | None, quality: QualityName, across: int) -> tuple[int, int]:
    """Return the size of a clip's pictures, of which ``across`` are side by side."""
    if quality not in QUALITIES:
        raise RenderError(f"quality must be one of {', '.join(QUALITIES)}, got {quality!r}")
    width, height = size or QUALITIES[quality].size
    widest = MOST_SIDE // across
    # Even, since x264 halves the resolution of color (yuv420p).
    if width % 2 or height % 2 or not LEAST_SIDE <= width <= widest or not LEAST_SIDE <= height <= MOST_SIDE:
        raise RenderError(
            f"size must be two even numbers from {LEAST_SIDE} to {widest} and {MOST_SIDE}, got {(width, height)}"
        )
    return width, height
