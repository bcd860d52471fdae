"""Pictures without any GL library: one ray a pixel, the geoms' own colours, Lambert shading."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from trace_robot.render.scene import camera_pose, is_mark
from trace_robot.spec import Array

SKY = np.array([0.50, 0.50, 0.48])
SUN = np.array([0.35, -0.25, 0.90]) / np.linalg.norm([0.35, -0.25, 0.90])
AMBIENT, HEADLIGHT, SUNLIGHT = 0.35, 0.30, 0.45


class RayCaster:
    """Draws a model's geoms of the groups that MuJoCo shows by default, and its sites.

    Sites called a goal, a target or a hole shine through what hides them, so that they can always be seen.
    """

    def __init__(self, model: Any, width: int, height: int) -> None:
        self._model = model
        self._shape = (height, width)
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + model.nsite + 100)
        self._option = mujoco.MjvOption()
        self._perturb = mujoco.MjvPerturb()
        self._textures = texture_means(model)
        self._groups = np.ascontiguousarray(self._option.geomgroup, dtype=np.uint8)

    def picture(self, data: Any, camera: Any) -> Array:
        """Return the view of the posed data, shape (height, width, 3), 8 bits."""
        mujoco.mjv_updateScene(
            self._model, data, self._option, self._perturb, camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        position, forward, up, slope = camera_pose(self._scene)
        rays = self._rays(forward, up, slope)
        geoms, depths = self._cast(data, position, rays)
        points = position + rays * depths[..., None]
        own = self._colours()[geoms] * shade(points, rays)[..., None]
        colours = np.where((geoms >= 0)[..., None], own, SKY)
        self._mark(colours, depths, position, rays, 2 * slope / self._shape[0])
        return np.asarray((colours.clip(0, 1) * 255).astype(np.uint8))

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
        depths[geoms < 0] = 1e3
        return geoms.reshape(self._shape), depths.reshape(self._shape)

    def _colours(self) -> Array:
        """Return the geoms' colours in the updated scene, shape (ngeom, 3)."""
        colours = np.array(self._textures)
        for shape in self._scene.geoms[: self._scene.ngeom]:
            if shape.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                colours[shape.objid] = self._textures[shape.objid] * shape.rgba[:3]
        return colours

    def _mark(self, colours: Array, depths: Array, position: Array, rays: Array, pixel: float) -> None:
        """Draw the sites as balls over the picture, in place; ``pixel`` is a pixel's side at distance 1."""
        for shape in self._scene.geoms[: self._scene.ngeom]:
            if shape.objtype != mujoco.mjtObj.mjOBJ_SITE or shape.rgba[3] <= 0:
                continue
            marked = is_mark(self._model.site(shape.objid).name)
            offset = np.asarray(shape.pos, dtype=float) - position
            least = 1.3 if marked else 0.0
            coverage, facing = ball(rays, offset, float(shape.size[0]), pixel, at_least=least)
            hidden = np.linalg.norm(offset) > depths + float(shape.size[0])
            opacity = coverage * np.where(hidden, 0.6 if marked else 0.0, 1.0) * float(shape.rgba[3])
            lit = np.asarray(shape.rgba[:3], dtype=float) * (0.5 + 0.5 * facing)[..., None]
            colours += opacity[..., None] * (lit - colours)


def shade(points: Array, rays: Array) -> Array:
    """Return the brightness of each pixel from the surface through its neighbours; shape (height, width)."""
    across, down = _slope(points, 1), _slope(points, 0)
    normals = np.cross(across, down)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    facing = -(normals * rays).sum(axis=-1)
    normals = np.where((facing < 0)[..., None], -normals, normals)
    return np.asarray(AMBIENT + HEADLIGHT * np.abs(facing) + SUNLIGHT * (normals @ SUN).clip(0, 1))


def _slope(points: Array, axis: int) -> Array:
    """Return the smaller of the steps to the two neighbours, so that an edge takes the side it belongs to."""
    step = np.diff(points, axis=axis)
    first, last = step.take([0], axis=axis), step.take([-1], axis=axis)
    before, after = np.concatenate([first, step], axis=axis), np.concatenate([step, last], axis=axis)
    nearer = (before**2).sum(axis=-1) < (after**2).sum(axis=-1)
    return np.where(nearer[..., None], before, after)


def ball(rays: Array, offset: Array, radius: float, pixel: float, *, at_least: float) -> tuple[Array, Array]:
    """Return how much of each pixel a ball covers, and the cosine between its surface and the ray.

    offset: (3,) from the eye to the centre; at_least: the smallest radius to draw it with, in pixels.
    """
    along = rays @ offset
    side = pixel * np.maximum(along, 1e-6)
    seen_radius = np.maximum(radius, at_least * side)
    aside = np.sqrt((offset @ offset - along**2).clip(0))
    coverage = np.where(along > 0, ((seen_radius - aside) / side + 0.5).clip(0, 1), 0.0)
    return coverage, np.sqrt((1 - (aside / seen_radius) ** 2).clip(0))


def texture_means(model: Any) -> Array:
    """Return the factor that a geom's texture has on its colour on the whole, shape (ngeom, 3)."""
    factors = np.ones((model.ngeom, 3))
    for geom, material in enumerate(model.geom_matid):
        texture = int(model.mat_texid[material, mujoco.mjtTextureRole.mjTEXROLE_RGB]) if material >= 0 else -1
        if texture >= 0 and model.tex_nchannel[texture] >= 3:
            channels, start = int(model.tex_nchannel[texture]), int(model.tex_adr[texture])
            count = int(model.tex_height[texture]) * int(model.tex_width[texture]) * channels
            pixels = model.tex_data[start : start + count].reshape(-1, channels)
            factors[geom] = pixels[:, :3].mean(axis=0) / 255
    return factors
