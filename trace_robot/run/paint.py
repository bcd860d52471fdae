"""Painters: from a posed stage to an upright picture, with a GL library or without."""

from __future__ import annotations

from typing import Any, Protocol

import mujoco
import numpy as np
from PIL import Image

from trace_robot.errors import RunError
from trace_robot.run.clip import Quality
from trace_robot.run.raycast import RayCaster
from trace_robot.run.stage import Stage
from trace_robot.spec import Array

BALL = '<mujoco><worldbody><light pos="0 0 3"/><geom size="1" rgba="1 0 0 1"/></worldbody></mujoco>'


class Painter(Protocol):
    """Draws one stage; ``paint`` returns shape (height, width, 3), 8 bits, the first row on top."""

    def paint(self) -> Array: ...

    def close(self) -> None: ...


def painter(stage: Stage, size: tuple[int, int], quality: Quality, backend: str) -> Painter:
    """Return a painter of pictures of that width and height."""
    return RayPainter(stage, size, quality) if backend == "rays" else GlPainter(stage, size, quality)


class GlPainter:
    """Draws with the GL library that MUJOCO_GL named when mujoco was imported; must be closed."""

    def __init__(self, stage: Stage, size: tuple[int, int], quality: Quality) -> None:
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


class RayPainter:
    """Draws with rays alone, fewer than there are pixels, and enlarges."""

    def __init__(self, stage: Stage, size: tuple[int, int], quality: Quality) -> None:
        self._stage, self._size = stage, size
        rows, columns = max(8, round(size[1] * quality.rays)), max(8, round(size[0] * quality.rays))
        self._caster = RayCaster(stage.model, columns, rows)

    def paint(self) -> Array:
        small = self._caster.picture(self._stage.data, self._stage.camera)
        large = Image.fromarray(small).resize(self._size, Image.Resampling.BILINEAR)
        return upright(np.asarray(large), self._stage)

    def close(self) -> None:
        return None


def upright(picture: Array, stage: Stage) -> Array:
    """Turn the picture of a camera that was mounted upside down."""
    return picture[::-1, ::-1] if stage.turned else picture


def describe_gl() -> str:
    """Draw a tiny scene, and return the name of what drew it.

    Raises:
        RunError: the picture is blank.
    """
    model: Any = mujoco.MjModel.from_xml_string(BALL)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    renderer = mujoco.Renderer(model, 16, 16)
    try:
        renderer.update_scene(data)
        if not renderer.render().any():
            raise RunError("the GL library draws blank pictures")
    finally:
        renderer.close()
    return f"mujoco {mujoco.__version__}"
