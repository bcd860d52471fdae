"""Painters: from a posed stage to an upright picture, with a GL library or without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import mujoco
import numpy as np
from PIL import Image

from trace_robot.errors import RenderError
from trace_robot.render.job import QUALITIES, Clip, Quality, QualityName
from trace_robot.render.raycast import RayCaster
from trace_robot.render.replay import ReplayRenderer, ReplayScene
from trace_robot.render.scene import SceneModel
from trace_robot.spec import Array

BALL = '<mujoco><worldbody><light pos="0 0 3"/><geom size="1" rgba="1 0 0 1"/></worldbody></mujoco>'


class Renderer(Protocol):
    """Draws one stage; ``paint`` returns shape (height, width, 3), 8 bits, the first row on top."""

    def paint(self) -> Array: ...

    def close(self) -> None: ...


def painter(stage: SceneModel, size: tuple[int, int], quality: Quality, backend: str) -> Renderer:
    """Return a painter of pictures of that width and height."""
    return RayRenderer(stage, size, quality) if backend == "rays" else GlRenderer(stage, size, quality)


class GlRenderer:
    """Draws with the GL library that MUJOCO_GL named when mujoco was imported; must be closed."""

    def __init__(self, stage: SceneModel, size: tuple[int, int], quality: Quality) -> None:
        model = stage.model
        model.vis.quality.offsamples = quality.samples
        model.vis.global_.offwidth, model.vis.global_.offheight = size
        model.vis.quality.shadowsize = quality.shadows
        self._stage, self._shadows = stage, bool(quality.shadows)
        self._renderer = mujoco.Renderer(model, size[1], size[0])

    def paint(self) -> Array:
        renderer = self._renderer
        renderer.update_scene(self._stage.data, camera=self._stage.camera)
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = self._shadows
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = self._shadows
        return upright(renderer.render(), self._stage)

    def close(self) -> None:
        self._renderer.close()


class RayRenderer:
    """Draws with rays alone, fewer than there are pixels, and enlarges."""

    def __init__(self, stage: SceneModel, size: tuple[int, int], quality: Quality) -> None:
        self._stage, self._size = stage, size
        rows, columns = max(8, round(size[1] * quality.rays)), max(8, round(size[0] * quality.rays))
        self._caster = RayCaster(stage.model, columns, rows)

    def paint(self) -> Array:
        small = self._caster.picture(self._stage.data, self._stage.camera)
        large = Image.fromarray(small).resize(self._size, Image.Resampling.BILINEAR)
        return upright(np.asarray(large), self._stage)

    def close(self) -> None:
        return None


def upright(picture: Array, stage: SceneModel) -> Array:
    """Turn the picture of a camera that was mounted upside down."""
    return picture[::-1, ::-1] if stage.turned else picture


def describe_gl() -> str:
    """Draw a tiny scene, and return the name of what drew it.

    Raises:
        RenderError: the picture is blank.
    """
    model: Any = mujoco.MjModel.from_xml_string(BALL)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    renderer = mujoco.Renderer(model, 16, 16)
    try:
        renderer.update_scene(data)
        if not renderer.render().any():
            raise RenderError("the GL library draws blank pictures")
    finally:
        renderer.close()
    return f"mujoco {mujoco.__version__}"


MOST_IDLE = 3
AnyStage = SceneModel | ReplayScene


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kept painter can be used for again; source: a model's path, or what names an environment."""

    source: str
    size: tuple[int, int]
    quality: QualityName
    backend: str


class RendererPool:
    """Lends a stage and its painter; a context manager that closes all painters, before the process ends."""

    def __init__(self) -> None:
        self._idle: list[tuple[Kind, AnyStage, Renderer]] = []

    @contextmanager
    def lend(
        self, clip: Clip, size: tuple[int, int], quality: QualityName, backend: str
    ) -> Iterator[tuple[AnyStage, Renderer]]:
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

    def _take(self, kind: Kind, *, replayed: bool) -> tuple[AnyStage, Renderer]:
        for number, (known, stage, brush) in enumerate(self._idle):
            if known == kind:
                del self._idle[number]
                return stage, brush
        if replayed:
            again = ReplayScene()
            return again, ReplayRenderer(again, kind.size)
        stage = SceneModel(kind.source)
        return stage, painter(stage, kind.size, QUALITIES[kind.quality], kind.backend)

    def __enter__(self) -> RendererPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            self._idle.pop()[2].close()
