"""Renderers: from a posed scene to a picture, with a GL library or without.

This module imports MuJoCo, which chooses its GL library then; it is for the rendering process alone.
"""

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
MOST_IDLE = 3  # renderers kept for later; each holds a model and its GL buffers
AnyScene = SceneModel | ReplayScene


class Renderer(Protocol):
    """Draws one scene, as it is posed at that moment, in one size."""

    def render(self) -> Array:
        """Return the picture, (height, width, 3), 8 bits, the first row on top."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


class GlRenderer:
    """Draws with the GL library that MUJOCO_GL named when MuJoCo was imported.

    Args:
        scene: the scene to draw; its model gets the quality's settings.
        size: width and height in pixels.
        quality: the effort.
    """

    def __init__(self, scene: SceneModel, size: tuple[int, int], quality: Quality) -> None:
        model = scene.model
        model.vis.quality.offsamples = quality.samples
        model.vis.global_.offwidth, model.vis.global_.offheight = size
        model.vis.quality.shadowsize = quality.shadows
        self._scene, self._shadows = scene, bool(quality.shadows)
        self._renderer = mujoco.Renderer(model, size[1], size[0])

    def render(self) -> Array:
        """Return the picture, (height, width, 3), 8 bits."""
        renderer = self._renderer
        renderer.update_scene(self._scene.data, camera=self._scene.camera)
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = self._shadows
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = self._shadows
        return _upright(renderer.render(), self._scene)

    def close(self) -> None:
        """Release the GL context, which at the interpreter's end prints an error."""
        self._renderer.close()


class RayRenderer:
    """Draws by ray casting on the CPU, with fewer rays than pixels.

    Args:
        scene: the scene to draw.
        size: width and height in pixels.
        quality: the effort, of which ``rays`` counts.
    """

    def __init__(self, scene: SceneModel, size: tuple[int, int], quality: Quality) -> None:
        self._scene, self._size = scene, size
        rows, columns = max(8, round(size[1] * quality.rays)), max(8, round(size[0] * quality.rays))
        self._caster = RayCaster(scene.model, columns, rows)

    def render(self) -> Array:
        """Return the picture, (height, width, 3), 8 bits."""
        small = self._caster.picture(self._scene.data, self._scene.camera)
        large = Image.fromarray(small).resize(self._size, Image.Resampling.BILINEAR)
        return _upright(np.asarray(large), self._scene)

    def close(self) -> None:
        """Do nothing: there is no GL context."""


@dataclass(frozen=True, slots=True)
class _PoolKey:
    """What a renderer may be used for again: a model or an environment, and options."""

    source: str
    size: tuple[int, int]
    quality: QualityName
    backend: str


class RendererPool:
    """Scenes with their renderers, kept for the next clip of the same kind.

    A context manager that closes all renderers before the process ends.
    """

    def __init__(self) -> None:
        self._idle: list[tuple[_PoolKey, AnyScene, Renderer]] = []

    @contextmanager
    def acquire(
        self, clip: Clip, size: tuple[int, int], quality: QualityName, backend: str
    ) -> Iterator[tuple[AnyScene, Renderer]]:
        """Yield a scene that is set up for a clip, and its renderer.

        Args:
            clip: what to draw.
            size: of the pictures: width and height in pixels.
            quality: the effort.
            backend: what draws in this process.
        """
        replay = clip.scene.replay
        source = json.dumps([replay["env"], replay["options"]]) if replay else clip.scene.model_path
        key = _PoolKey(source, size, quality, backend)
        scene, renderer = self._take(key, replayed=bool(replay))
        try:
            scene.set(clip.scene, clip.states)
            yield scene, renderer
        finally:
            self._idle.append((key, scene, renderer))
            while len(self._idle) > MOST_IDLE:
                self._idle.pop(0)[2].close()

    def _take(self, key: _PoolKey, *, replayed: bool) -> tuple[AnyScene, Renderer]:
        for number, (known, scene, renderer) in enumerate(self._idle):
            if known == key:
                del self._idle[number]
                return scene, renderer
        if replayed:
            replay = ReplayScene()
            return replay, ReplayRenderer(replay, key.size)
        model = SceneModel(key.source)
        family = RayRenderer if key.backend == "rays" else GlRenderer
        return model, family(model, key.size, QUALITIES[key.quality])

    def __enter__(self) -> RendererPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            self._idle.pop()[2].close()


def describe_gl() -> str:
    """Draw a tiny scene, and return the name and version of what drew it.

    Raises:
        RenderError: the picture is blank, as that of a library without a display can be.
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


def _upright(picture: Array, scene: SceneModel) -> Array:
    """Turn the picture of a camera that is mounted upside down by 180 degrees."""
    return picture[::-1, ::-1] if scene.turned else picture
