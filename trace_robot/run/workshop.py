"""Stages and the painters that go with them, kept for the next clip of the same model.

Reading a model and handing its textures and meshes to a GL library takes as long as drawing 50 small pictures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from trace_robot.run.clip import QUALITIES, Clip, QualityName
from trace_robot.run.paint import Painter, painter
from trace_robot.run.replay import ReplayPainter, ReplayStage
from trace_robot.run.stage import Stage

MOST_IDLE = 3
AnyStage = Stage | ReplayStage


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kept painter can be used for again; source: a model's path, or what names an environment."""

    source: str
    size: tuple[int, int]
    quality: QualityName
    backend: str


class Workshop:
    """Lends a stage and its painter; a context manager that closes all painters, before the process ends."""

    def __init__(self) -> None:
        self._idle: list[tuple[Kind, AnyStage, Painter]] = []

    @contextmanager
    def lend(
        self, clip: Clip, size: tuple[int, int], quality: QualityName, backend: str
    ) -> Iterator[tuple[AnyStage, Painter]]:
        """Give a stage set up for the clip, and its painter of pictures of that size, to one user at a time."""
        replay = clip.scene.replay
        source = json.dumps([replay["env"], replay["options"]]) if replay else clip.scene.model_path
        kind = Kind(source, size, quality, backend)
        stage, brush = self._take(kind, replayed=bool(replay))
        try:
            stage.set(clip.scene, clip.states)
            yield stage, brush
        finally:
            self._idle.append((kind, stage, brush))
            while len(self._idle) > MOST_IDLE:
                self._idle.pop(0)[2].close()

    def _take(self, kind: Kind, *, replayed: bool) -> tuple[AnyStage, Painter]:
        for number, (known, stage, brush) in enumerate(self._idle):
            if known == kind:
                del self._idle[number]
                return stage, brush
        if replayed:
            again = ReplayStage()
            return again, ReplayPainter(again, kind.size)
        stage = Stage(kind.source)
        return stage, painter(stage, kind.size, QUALITIES[kind.quality], kind.backend)

    def __enter__(self) -> Workshop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            self._idle.pop()[2].close()
