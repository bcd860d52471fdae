"""Renderers: from a posed scene to a picture, with a GL library or without.

This module imports MuJoCo, which chooses its GL library then; it is for the rendering process alone.

Without a GL library a picture is made by ray casting on the CPU: one ray for each pixel, Lambert shading.
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
from trace_robot.render.camera import camera_pose, floor_sizes, is_mark
from trace_robot.render.job import QUALITIES, Clip, Quality, QualityName
from trace_robot.render.scene import ReplayRenderer, ReplayScene, SceneModel
from trace_robot.spec import Array

# Shading is by eye, for Meta-World's scenes: a sun from above so that faces differ, a light at the camera so that none
# is black.
SKY = np.array([0.50, 0.50, 0.48])
SUN = np.array([0.35, -0.25, 0.90]) / np.linalg.norm([0.35, -0.25, 0.90])
AMBIENT, HEADLIGHT, SUNLIGHT = 0.35, 0.30, 0.45


class RayCaster:
    """Draws a model's geoms of the groups that MuJoCo shows by default, and its sites.

    Sites named a goal, a target or a hole shine through what hides them, so that they can always be seen.

    Args:
        model: an ``mjModel``.
        width: of the pictures, in pixels.
        height: of the pictures, in pixels.
    """

    def __init__(self, model: Any, width: int, height: int) -> None:
        self._model = model
        self._shape = (height, width)
        # With room for MuJoCo's decorations: what does not fit is left out with a warning.
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + model.nsite + 100)
        self._option = mujoco.MjvOption()
        self._perturb = mujoco.MjvPerturb()
        self._textures = texture_means(model)
        self._groups = np.ascontiguousarray(self._option.geomgroup, dtype=np.uint8)

    def picture(self, data: Any, camera: Any) -> Array:
        """Return the picture of the posed data.

        Args:
            data: an ``mjData`` with its kinematics computed.
            camera: an ``mjvCamera``.

        Returns:
            (height, width, 3), 8 bits.
        """
        mujoco.mjv_updateScene(
            self._model, data, self._option, self._perturb, camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        position, forward, up, slope = camera_pose(self._scene)
        rays = self._rays(forward, up, slope)
        geoms, depths = self._cast(data, position, rays)
        points = position + rays * depths[..., None]
        own = self._colors()[geoms] * shade(points, rays)[..., None]
        colors = np.where((geoms >= 0)[..., None], own, SKY)
        self._mark(colors, depths, position, rays, 2 * slope / self._shape[0])
        return np.asarray((colors.clip(0, 1) * 255).astype(np.uint8))

    def _rays(self, forward: Array, up: Array, slope: float) -> Array:
        height, width = self._shape
        right = np.cross(forward, up)
        rows = (1 - 2 * (np.arange(height) + 0.5) / height) * slope
        columns = (2 * (np.arange(width) + 0.5) / width - 1) * slope * width / height
        rays = forward + rows[:, None, None] * up + columns[None, :, None] * right
        return np.asarray(rays / np.linalg.norm(rays, axis=-1, keepdims=True))

    def _cast(self, data: Any, position: Array, rays: Array) -> tuple[Array, Array]:
        count = rays.shape[0] * rays.shape[1]
        geoms, depths = np.full(count, -1, dtype=np.int32), np.zeros(count)
        mujoco.mj_multiRay(
            self._model, data, position, rays.reshape(-1), self._groups, 1, -1, geoms, depths, count, 1e3
        )
        depths[geoms < 0] = 1e3  # the sky: as far as a ray was cast
        return geoms.reshape(self._shape), depths.reshape(self._shape)

    def _colors(self) -> Array:
        """Return the geoms' colors in the updated scene, (ngeom, 3)."""
        colors = np.array(self._textures)
        for shape in self._scene.geoms[: self._scene.ngeom]:
            if shape.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                colors[shape.objid] = self._textures[shape.objid] * shape.rgba[:3]
        return colors

    def _mark(self, colors: Array, depths: Array, position: Array, rays: Array, pixel: float) -> None:
        """Draw the sites as balls over the picture, in place."""
        for shape in self._scene.geoms[: self._scene.ngeom]:
            if shape.objtype != mujoco.mjtObj.mjOBJ_SITE or shape.rgba[3] <= 0:
                continue
            marked = is_mark(self._model.site(shape.objid).name)
            offset = np.asarray(shape.pos, dtype=float) - position
            # Pixels: a goal that is small or far away can still be seen.
            least = 1.3 if marked else 0.0
            coverage, facing = ball(rays, offset, float(shape.size[0]), pixel, at_least=least)
            hidden = np.linalg.norm(offset) > depths + float(shape.size[0])
            opacity = coverage * np.where(hidden, 0.6 if marked else 0.0, 1.0) * float(shape.rgba[3])
            lit = np.asarray(shape.rgba[:3], dtype=float) * (0.5 + 0.5 * facing)[..., None]
            colors += opacity[..., None] * (lit - colors)


def shade(points: Array, rays: Array) -> Array:
    """Return Lambert shading, with normals estimated from neighboring pixels.

    MuJoCo's rays give no normals; two neighbors on the same surface do.

    Args:
        points: (height, width, 3), where each ray ends.
        rays: (height, width, 3), unit vectors from the eye.

    Returns:
        (height, width), 1 for a surface in full light.
    """
    across, down = _slope(points, 1), _slope(points, 0)
    normals = np.cross(across, down)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    facing = -(normals * rays).sum(axis=-1)
    normals = np.where((facing < 0)[..., None], -normals, normals)
    return np.asarray(AMBIENT + HEADLIGHT * np.abs(facing) + SUNLIGHT * (normals @ SUN).clip(0, 1))


def _slope(points: Array, axis: int) -> Array:
    """Return the smaller step to a neighbor, at an edge that on the same surface."""
    step = np.diff(points, axis=axis)
    first, last = step.take([0], axis=axis), step.take([-1], axis=axis)
    before, after = np.concatenate([first, step], axis=axis), np.concatenate([step, last], axis=axis)
    nearer = (before**2).sum(axis=-1) < (after**2).sum(axis=-1)
    return np.where(nearer[..., None], before, after)


def ball(rays: Array, offset: Array, radius: float, pixel: float, *, at_least: float) -> tuple[Array, Array]:
    """Return how much of each pixel a ball covers, and how it faces the eye.

    Args:
        rays: (height, width, 3), unit vectors from the eye.
        offset: (3,) from the eye to the ball's center, in metres.
        radius: in metres.
        pixel: side of a pixel at distance 1.
        at_least: the smallest radius to draw it with, in pixels.

    Returns:
        Coverage from 0 to 1, and the cosine between surface and ray, both (height, width).
    """
    along = rays @ offset
    side = pixel * np.maximum(along, 1e-6)
    seen_radius = np.maximum(radius, at_least * side)
    aside = np.sqrt((offset @ offset - along**2).clip(0))
    coverage = np.where(along > 0, ((seen_radius - aside) / side + 0.5).clip(0, 1), 0.0)
    return coverage, np.sqrt((1 - (aside / seen_radius) ** 2).clip(0))


def texture_means(model: Any) -> Array:
    """Return the mean color of each geom's texture, (ngeom, 3), 1 where it has none.

    A ray says which geom it meets, not where on its texture.
    """
    factors = np.ones((model.ngeom, 3))
    for geom, material in enumerate(model.geom_matid):
        texture = int(model.mat_texid[material, mujoco.mjtTextureRole.mjTEXROLE_RGB]) if material >= 0 else -1
        if texture >= 0 and model.tex_nchannel[texture] >= 3:
            channels, start = int(model.tex_nchannel[texture]), int(model.tex_adr[texture])
            count = int(model.tex_height[texture]) * int(model.tex_width[texture]) * channels
            pixels = model.tex_data[start : start + count].reshape(-1, channels)
            factors[geom] = pixels[:, :3].mean(axis=0) / 255
    return factors


BALL = '<mujoco><worldbody><light pos="0 0 3"/><geom size="1" rgba="1 0 0 1"/></worldbody></mujoco>'
MOST_IDLE = 3  # renderers kept for later; each holds a model and its GL buffers
AnyScene = SceneModel | ReplayScene


class Renderer(Protocol):
    """Draws one scene, as it is posed at that moment, in one size.

    drawn_by: the backend, or that the environment draws itself.
    """

    drawn_by: str

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
        backend: that library's name.
    """

    def __init__(
        self, scene: SceneModel, size: tuple[int, int], quality: Quality, backend: str = "gl"
    ) -> None:
        model = scene.model
        self.drawn_by = backend
        # mujoco.Renderer makes its buffers of these fields, so they are set before it exists.
        model.vis.quality.offsamples = quality.samples
        model.vis.global_.offwidth, model.vis.global_.offheight = size
        model.vis.quality.shadowsize = quality.shadows
        self._scene, self._shadows, self._size = scene, bool(quality.shadows), size
        self._planes = b""
        self._renderer: Any = None
        self._prepare()

    def _prepare(self) -> None:
        """Make the GL context, again where planes have another size.

        It holds them as they were when it was made.
        """
        planes = floor_sizes(self._scene.model)
        if self._renderer is None or planes != self._planes:
            self.close()
            self._renderer, self._planes = mujoco.Renderer(self._scene.model, *self._size[::-1]), planes

    def render(self) -> Array:
        """Return the picture, (height, width, 3), 8 bits."""
        self._prepare()
        renderer = self._renderer
        renderer.update_scene(self._scene.data, camera=self._scene.camera)
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = self._shadows
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = self._shadows
        return _upright(renderer.render(), self._scene)

    def close(self) -> None:
        """Release the GL context, which at the interpreter's end prints an error."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


class RayRenderer:
    """Draws by ray casting on the CPU, with fewer rays than pixels.

    Args:
        scene: the scene to draw.
        size: width and height in pixels.
        quality: the effort, of which ``rays`` counts.
    """

    drawn_by = "rays"

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
        # As JSON, since options may hold lists, which cannot be compared as keys.
        source = json.dumps([replay["env"], replay["options"]]) if replay else clip.scene.model_path
        key = _PoolKey(source, size, quality, backend)
        scene, renderer = self._take(key, replayed=bool(replay))
        try:
            scene.set(clip.scene, clip.states)
            yield scene, renderer
        finally:
            # Kept after an error as well: ``set`` undoes what the last clip changed in the model.
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
        quality = QUALITIES[key.quality]
        if key.backend == "rays":
            return model, RayRenderer(model, key.size, quality)
        return model, GlRenderer(model, key.size, quality, key.backend)

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
