"""From clips to pictures: one after another, side by side, or key frames in a grid."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field

import numpy as np

from trace_robot.render import caption
from trace_robot.render.job import Clip, QualityName, moments_of, timeline
from trace_robot.render.painters import AnyStage, Renderer, RendererPool
from trace_robot.spec import Array


@dataclass(frozen=True, slots=True)
class Canvas:
    """The size of one clip's pictures, caption included, how they are drawn, and what a viewer should know."""

    size: tuple[int, int]
    band: int
    quality: QualityName
    fps: float
    backend: str
    workshop: RendererPool
    notes: list[str] = field(default_factory=list)

    @property
    def scene_size(self) -> tuple[int, int]:
        return self.size[0], self.size[1] - self.band

    @contextmanager
    def lend(self, clip: Clip) -> Iterator[tuple[AnyStage, Renderer]]:
        with self.workshop.lend(clip, self.scene_size, self.quality, self.backend) as (stage, brush):
            if len(stage.states) < len(clip.states):
                self.notes.append(f"a clip ends after {len(stage.states)} states: the next is not finite")
            yield stage, brush

    def caption(self, clip: Clip) -> Array:
        return caption.band(clip, self.size[0], self.band, caption.font_size(self.size[1]))


def in_turn(clips: Sequence[Clip], canvas: Canvas) -> Iterator[Array]:
    """Give the pictures of one clip after another."""
    for clip in clips:
        yield from moving(clip, canvas)


def beside(clips: Sequence[Clip], canvas: Canvas) -> Iterator[Array]:
    """Give pictures of all clips at once, left to right; those that have ended stand still."""
    with ExitStack() as stack:
        players = [stack.enter_context(closing(moving(clip, canvas))) for clip in clips]
        shown: list[Array | None] = [None] * len(clips)
        while True:
            fresh = [next(player, None) for player in players]
            if all(picture is None for picture in fresh):
                return
            shown = [old if new is None else new for old, new in zip(shown, fresh, strict=True)]
            yield np.concatenate([picture for picture in shown if picture is not None], axis=1)


def moving(clip: Clip, canvas: Canvas) -> Generator[Array, None, None]:
    """Give the pictures of a clip in the time of its recording, then its ending, framed, for a moment."""
    below = canvas.caption(clip)
    with canvas.lend(clip) as (stage, brush):
        indices, held, speed = timeline(stage.states.seconds, canvas.fps)
        if speed > 1:
            canvas.notes.append(f"a clip is played {speed:.1f} times as fast as recorded")
        picture, drawn = np.empty(0), None
        for number, index in enumerate(indices):
            if drawn is None or stage.moved(drawn, index):
                stage.pose(index)
                picture, drawn = brush.paint(), index
            ended = number >= len(indices) - held
            framed = caption.ending(picture, clip.success) if ended else picture
            yield caption.with_band(framed, below, (number + 1) / (len(indices) - held))


def grid(clips: Sequence[Clip], canvas: Canvas, *, moments: int | Sequence[float], columns: int) -> Array:
    """Return key frames of all clips as one picture, clip by clip, ``columns`` of them a row."""
    tiles = [tile for clip in clips for tile in _stills(clip, canvas, moments)]
    rows = math.ceil(len(tiles) / columns)
    tiles += [np.full_like(tiles[0], 255)] * (rows * columns - len(tiles))
    lines = [np.concatenate(tiles[row * columns : (row + 1) * columns], axis=1) for row in range(rows)]
    return np.concatenate(lines)


def _stills(clip: Clip, canvas: Canvas, moments: int | Sequence[float]) -> list[Array]:
    below = canvas.caption(clip)
    tiles = []
    with canvas.lend(clip) as (stage, brush):
        last = len(stage.states) - 1
        for index in moments_of(last + 1, moments):
            stage.pose(index)
            picture = brush.paint()
            framed = caption.ending(picture, clip.success) if index == last else picture
            tiles.append(caption.with_band(framed, below, index / max(last, 1)))
    return tiles
