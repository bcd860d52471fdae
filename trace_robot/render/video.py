"""Pictures and videos of episodes, drawn from recorded states in a process of their own.

    render([clip_of(episode, "pick-place-v3", "iteration 3")], "iteration_3.mp4")

To go on working meanwhile, hand ``video_job(...)`` and ``picture_job(...)`` to a ``RenderProcess``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from trace_robot.errors import RenderError
from trace_robot.render.job import (
    QUALITIES,
    Clip,
    Layout,
    QualityName,
    RenderJob,
    VideoInfo,
    clip_of,
    outcome_of,
)
from trace_robot.render.process import RenderFailure, RenderProcess, choose_backend, probe

__all__ = [
    "Clip", "RenderFailure", "RenderJob", "RenderProcess", "VideoInfo", "choose_backend", "clip_of", "outcome_of",
    "picture_job", "probe", "render", "render_picture", "render_side_by_side", "video_job",
]  # fmt: skip

MOST_TILES = 200


def render(
    clips: Sequence[Clip],
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    quality: QualityName = "fast",
    fps: float = 25.0,
    backend: str = "auto",
) -> VideoInfo:
    """Write an mp4 that shows the clips one after another.

    Args:
        size: width and height in pixels, caption included, even numbers; None takes the quality's.
        backend: "auto", or one of ``trace_robot.render.process.BACKENDS``.

    Raises:
        RenderError: nothing was written, and why.
    """
    return _wait_for(video_job(clips, path, size=size, quality=quality, fps=fps), backend)


def render_side_by_side(
    clips: Sequence[Clip],
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    quality: QualityName = "fast",
    fps: float = 25.0,
    backend: str = "auto",
) -> VideoInfo:
    """Write an mp4 that shows all clips at once, left to right, ``size`` pixels each; see ``render``."""
    return _wait_for(video_job(clips, path, size=size, quality=quality, fps=fps, beside=True), backend)


def render_picture(
    clips: Sequence[Clip],
    path: str | Path,
    *,
    moments: int | Sequence[float] = 1,
    columns: int | None = None,
    size: tuple[int, int] | None = None,
    quality: QualityName = "fast",
    backend: str = "auto",
) -> VideoInfo:
    """Write a png of key frames: a still of one clip, a strip of several moments, a sheet of several clips.

    Args:
        moments: the fractions of each clip to show, 0 the first state and 1 the last; or how many, evenly
            spread, 1 meaning the last state alone.
        columns: tiles a row; None takes a row a clip, or a near square where each clip gives one tile.
        size: pixels of a tile, caption included.

    Raises:
        RenderError: nothing was written, and why.
    """
    job = picture_job(clips, path, moments=moments, columns=columns, size=size, quality=quality)
    return _wait_for(job, backend)


def video_job(
    clips: Sequence[Clip],
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    quality: QualityName = "fast",
    fps: float = 25.0,
    beside: bool = False,
) -> RenderJob:
    """Return the job of ``render`` or, with ``beside``, of ``render_side_by_side``, for a ``RenderProcess``."""
    if not 1 <= fps <= 120:
        raise RenderError(f"fps must be between 1 and 120, got {fps!r}")
    layout: Layout = "beside" if beside else "in turn"
    pixels = _size(size, quality, len(clips) if beside else 1)
    return RenderJob(_some(clips), _named(path, ".mp4"), layout, pixels, quality, fps)


def picture_job(
    clips: Sequence[Clip],
    path: str | Path,
    *,
    moments: int | Sequence[float] = 1,
    columns: int | None = None,
    size: tuple[int, int] | None = None,
    quality: QualityName = "fast",
) -> RenderJob:
    """Return the job of ``render_picture``, for a ``RenderProcess``."""
    fractions = moments if isinstance(moments, int) else tuple(float(moment) for moment in moments)
    each = fractions if isinstance(fractions, int) else len(fractions)
    if each < 1 or (not isinstance(fractions, int) and not all(0 <= moment <= 1 for moment in fractions)):
        raise RenderError(f"moments must be a positive number or fractions between 0 and 1, got {moments!r}")
    wide = columns if columns is not None else each if each > 1 else math.ceil(math.sqrt(len(clips)))
    pixels, tiles = _size(size, quality, 1), each * len(clips)
    if not 1 <= wide <= MOST_TILES or tiles > MOST_TILES:
        raise RenderError(
            f"a picture holds 1 to {MOST_TILES} tiles, got {tiles} in {wide} columns; show fewer"
        )
    return RenderJob(_some(clips), _named(path, ".png"), "grid", pixels, quality, 25.0, fractions, wide)


def _wait_for(job: RenderJob, backend: str) -> VideoInfo:
    with RenderProcess(backend=backend) as studio:
        studio.submit(job)
        result = studio.finish()[0]
    if isinstance(result, RenderFailure):
        raise RenderError(f"no {result.path.name}: {result.reason}")
    return result


def _some(clips: Sequence[Clip]) -> tuple[Clip, ...]:
    if not clips:
        raise RenderError("a picture needs at least one clip, got none; record an episode first")
    for number, clip in enumerate(clips, 1):
        if not len(clip.states):
            raise RenderError(f"clip {number} holds no states to draw; roll the episode out with record=True")
    return tuple(clips)


def _named(path: str | Path, suffix: str) -> Path:
    if Path(path).suffix.lower() != suffix:
        raise RenderError(f"the file's name must end with {suffix}, got {str(path)!r}")
    return Path(path)


def _size(size: tuple[int, int] | None, quality: QualityName, across: int) -> tuple[int, int]:
    if quality not in QUALITIES:
        raise RenderError(f"quality must be one of {', '.join(QUALITIES)}, got {quality!r}")
    width, height = size or QUALITIES[quality].size
    if width % 2 or height % 2 or not 64 <= width <= 4096 // across or not 64 <= height <= 4096:
        raise RenderError(
            f"size must be two even numbers from 64 to {4096 // across} and 4096, got {(width, height)}"
        )
    return width, height
