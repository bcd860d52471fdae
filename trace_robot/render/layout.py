"""Composition: which frames of clips are shown when, and beside what.

Clips play one after another, or side by side; or their key frames form a grid.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from trace_robot.errors import RenderError
from trace_robot.render import caption
from trace_robot.render.job import Clip, QualityName
from trace_robot.render.key_frames import draw_paths
from trace_robot.render.renderers import AnyScene, Renderer, RendererPool
from trace_robot.render.scene import SceneModel
from trace_robot.spec import Array

HOLD_SECONDS = 1.2  # for which the framed ending stands still: long enough to read its caption
LONGEST_SECONDS = 60.0  # of a clip's video; a longer recording is played faster
SLACK = 1e-6  # seconds, far below a simulator's step: times are sums of steps and have rounding errors


@dataclass(frozen=True, slots=True)
class Canvas:
    """How each clip of a job is drawn.

    Attributes:
        size: of one clip's pictures, caption included: width and height in pixels.
        band: height of the caption in pixels.
        pool: where renderers come from.
        notes: what a viewer should know; added to while clips are drawn.
        drawn_by: what has drawn clips so far.
    """

    size: tuple[int, int]
    band: int
    quality: QualityName
    fps: float
    backend: str
    pool: RendererPool
    notes: list[str] = field(default_factory=list)
    drawn_by: set[str] = field(default_factory=set)

    @property
    def scene_size(self) -> tuple[int, int]:
        """The size of a picture without its caption."""
        return self.size[0], self.size[1] - self.band

    @contextmanager
    def renderer(self, clip: Clip) -> Iterator[tuple[AnyScene, Renderer]]:
        """Yield a scene that is set up for a clip, and its renderer."""
        with self.pool.acquire(clip, self.scene_size, self.quality, self.backend) as (scene, renderer):
            if len(scene.states) < len(clip.states):
                self.notes.append(f"a clip ends after {len(scene.states)} states: the next is not finite")
            self.drawn_by.add(renderer.drawn_by)
            yield scene, renderer

    def captions(self, clip: Clip) -> tuple[Array, Array]:
        """Return the captions of a clip as it goes on and at its end, (band, width, 3)."""
        # The outcome is shown when it has happened: before, the caption would spoil what a viewer is to see.
        going_on = replace(clip, outcome="", success=None)
        width, height = self.size
        size = caption.font_size(height)
        return caption.band(going_on, width, self.band, size), caption.band(clip, width, self.band, size)


def timeline(seconds: Array, fps: float, *, hold: float = HOLD_SECONDS) -> tuple[list[int], int, float]:
    """Choose the recorded frames of a video that plays at the speed of the recording.

    A recording of more than ``LONGEST_SECONDS`` is played faster.

    Args:
        seconds: (F,) simulated time of each recorded frame.
        fps: pictures a second.
        hold: seconds for which the last frame stands still.

    Returns:
        The index of the frame for each picture; how many of them, at the end, hold the last frame; the speed, 1 for
        that of the recording.
    """
    elapsed = np.maximum.accumulate(seconds - seconds[0])
    span = float(elapsed[-1])
    speed = max(1.0, span / LONGEST_SECONDS)
    ticks = np.arange(int(np.floor(span / speed * fps + SLACK)) + 1) * speed / fps
    shown = np.searchsorted(elapsed, ticks - SLACK).clip(0, len(elapsed) - 1).tolist()
    last = len(elapsed) - 1
    held = max(1, round(hold * fps))
    return [*shown, *[last] * held], held, speed


def key_frames(frames: int, moments: int | Sequence[float]) -> list[int]:
    """Return the indices of key frames.

    Args:
        frames: the number of recorded frames.
        moments: how many, evenly spread, 1 being the last; or fractions from 0 (first) to 1 (last).
    """
    if isinstance(moments, int):
        moments = [1.0] if moments == 1 else np.linspace(0.0, 1.0, moments).tolist()
    return [round(float(moment) * (frames - 1)) for moment in moments]


def in_turn(clips: Sequence[Clip], canvas: Canvas) -> Iterator[Array]:
    """Yield the pictures of one clip after another.

    Args:
        clips: in their order.
        canvas: how to draw them.
    """
    for clip in clips:
        yield from _play(clip, canvas)


def beside(clips: Sequence[Clip], canvas: Canvas) -> Iterator[Array]:
    """Yield pictures of all clips at once, where ended ones stand still.

    Args:
        clips: from left to right.
        canvas: how to draw each.
    """
    with ExitStack() as stack:
        players = [stack.enter_context(closing(_play(clip, canvas))) for clip in clips]
        shown: list[Array | None] = [None] * len(clips)
        while True:
            fresh = [next(player, None) for player in players]
            if all(picture is None for picture in fresh):
                return
            shown = [old if new is None else new for old, new in zip(shown, fresh, strict=True)]
            yield np.concatenate([picture for picture in shown if picture is not None], axis=1)


def grid(clips: Sequence[Clip], canvas: Canvas, *, moments: int | Sequence[float], columns: int) -> Array:
    """Return key frames of all clips as one picture, clip by clip.

    Args:
        clips: in their order.
        canvas: how to draw each.
        moments: see ``key_frames``.
        columns: tiles in a row; places that are left over are white.

    Returns:
        (rows * height, columns * width, 3), 8 bits.
    """
    tiles = [tile for clip in clips for tile in _stills(clip, canvas, moments)]
    rows = math.ceil(len(tiles) / columns)
    tiles += [np.full_like(tiles[0], 255)] * (rows * columns - len(tiles))
    lines = [np.concatenate(tiles[row * columns : (row + 1) * columns], axis=1) for row in range(rows)]
    return np.concatenate(lines)


def frames(clips: Sequence[Clip], canvas: Canvas) -> Iterator[Array]:
    """Yield one picture for each recorded state, upright and without a caption.

    Args:
        clips: in their order.
        canvas: how to draw them; its band must be 0.

    Raises:
        RenderError: a state is not finite, so that its picture would be missing.
    """
    for clip in clips:
        with canvas.renderer(clip) as (scene, renderer):
            if len(scene.states) < len(clip.states):
                raise RenderError(f"state {len(scene.states)} of a recording is not finite; record it again")
            # Meta-World's corner cameras hang upside down, which is of no use to a learner.
            scene.turned = scene.turned or scene.is_inverted()
            picture, drawn = np.empty(0), None
            for index in range(len(scene.states)):
                if drawn is None or scene.moved(drawn, index):
                    scene.pose(index)
                    picture, drawn = renderer.render(), index
                yield picture


def _play(clip: Clip, canvas: Canvas) -> Generator[Array, None, None]:
    """Yield a clip's pictures at the speed of its recording, the framed ending last."""
    going_on, at_end = canvas.captions(clip)
    with canvas.renderer(clip) as (scene, renderer):
        indices, held, speed = timeline(scene.states.seconds, canvas.fps)
        if speed > 1:
            canvas.notes.append(f"a clip is played {speed:.1f} times as fast as recorded")
        picture, drawn = np.empty(0), None
        for number, index in enumerate(indices):
            # To render is by far the dearest step, and many scenes stand still for a while.
            if drawn is None or scene.moved(drawn, index):
                scene.pose(index)
                picture, drawn = renderer.render(), index
            ended = number >= len(indices) - held
            framed = caption.ending(picture, clip.success) if ended else picture
            above = at_end if ended else going_on
            yield caption.with_band(framed, above, (number + 1) / (len(indices) - held))


def _stills(clip: Clip, canvas: Canvas, moments: int | Sequence[float]) -> list[Array]:
    going_on, at_end = canvas.captions(clip)
    tiles = []
    with canvas.renderer(clip) as (scene, renderer):
        last = len(scene.states) - 1
        for index in key_frames(last + 1, moments):
            scene.pose(index)
            picture = renderer.render()
            if clip.paths and isinstance(scene, SceneModel):
                picture = draw_paths(picture, scene, clip.paths)
            framed = caption.ending(picture, clip.success) if index == last else picture
            tiles.append(
                caption.with_band(framed, at_end if index == last else going_on, index / max(last, 1))
            )
    return tiles
