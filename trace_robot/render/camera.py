"""Camera framing: a model's tracking camera, a camera that follows, or one that holds all that moves.

Of a scene that names no camera, a hand that a mocap body leads is framed with what it works on. Of other models the
first camera that tracks the robot is taken; without one, and where a view is named, the bounding box of what moves
decides: a robot that walks away is followed, one that stays is held in the picture as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from trace_robot.errors import RenderError
from trace_robot.spec import Array

AZIMUTH, ELEVATION = 150.0, -25.0
SIDE_ELEVATION = -12.0  # of a camera beside a robot that walks: its legs must not hide one another
# Of the free camera that frames the workspace: its least distance, what is added for each metre that things are apart,
# and how far from the hand a thing may be to count; metres.
NEAREST, SPREAD, REACH = 0.95, 0.6, 1.0
ROOM = 1.15  # of the distance at which a ball around all that moves touches the picture's edge
AWAY = 1.0  # lengths of itself from which a robot that travels is followed: as a whole it would be drawn too small
FALLS = 10.0  # likewise for one that falls or climbs: a drop is seen best by a camera at rest
NEAR = 3.0  # sizes of the robot within which another thing that moves is framed with it
MARKS = ("goal", "target", "hole")
TRACKING = (mujoco.mjtCamLight.mjCAMLIGHT_TRACK, mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM)
Samples = Callable[[], Iterator[Any]]  # yields an mjData posed at moments of a recording


def named_camera(model: Any, name: str) -> Any:
    """Return a model's camera as MuJoCo's renderer takes it.

    Args:
        model: an ``mjModel``.
        name: of one of its cameras.

    Raises:
        RenderError: there is none of that name.
    """
    number = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name)
    if number < 0:
        known = ", ".join(model.camera(index).name for index in range(model.ncam)) or "none"
        raise RenderError(f"the model has no camera {name!r}; known: {known}; no name frames the workspace")
    return _fixed(number)


def framing_camera(model: Any, samples: Samples, view: Mapping[str, float]) -> Any:
    """Return the camera that looks at a recording whose scene names none.

    Args:
        model: an ``mjModel``.
        samples: yields data posed at moments of the recording, the first one first.
        view: of a free camera, see ``Scene.view``; what it leaves out is fitted.

    Returns:
        MuJoCo's camera. Of a free one that must follow a body, ``trackbodyid`` names it, for ``follow``.
    """
    if not view and not model.nmocap:
        tracking = _tracking_camera(model)
        if tracking is not None:
            return _fixed(tracking)
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FREE
    camera.azimuth, camera.elevation = AZIMUTH, ELEVATION
    if model.nmocap:
        _frame_workspace(camera, model, next(samples()))
    else:
        _frame_motion(camera, model, samples, follow=not {"x", "y", "z"} & set(view))
    for name in ("distance", "azimuth", "elevation"):
        if name in view:
            setattr(camera, name, float(view[name]))
    for axis, name in enumerate("xyz"):
        if name in view:
            camera.lookat[axis] = float(view[name])
    return camera


def _tracking_camera(model: Any) -> int | None:
    """Return the number of the first camera that tracks a robot as a whole."""
    # On the first body of a tree: one that goes with a hand or a foot shows little but that.
    for number in range(model.ncam):
        body = model.cam_bodyid[number]
        if model.cam_mode[number] in TRACKING and body > 0 and model.body_parentid[body] == 0:
            return number
    return None


def follow(camera: Any, data: Any) -> None:
    """Aim a free camera at the center of mass of the body that it follows, if any.

    Not as ``mjCAMERA_TRACKING``, which MuJoCo smooths over the pictures drawn before: one state must give one picture.

    Args:
        camera: of ``framing_camera``.
        data: an ``mjData``, posed.
    """
    if camera.type == mujoco.mjtCamera.mjCAMERA_FREE and camera.trackbodyid >= 0:
        camera.lookat[:] = data.subtree_com[camera.trackbodyid]


def _fixed(number: int) -> Any:
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
    camera.fixedcamid = number
    return camera


def _frame_workspace(camera: Any, model: Any, data: Any) -> None:
    """Aim at where a mocap-driven hand is, and at the objects and goals near it.

    Objects are bodies with joints that are not part of the arm, whose root is welded to the mocap body.
    """
    hand = data.mocap_pos[0]
    driven = {
        int(body) for pair in (model.eq_obj1id, model.eq_obj2id) for body in pair if 0 <= body < model.nbody
    }
    arms = {int(model.body_rootid[body]) for body in driven}
    objects = [body for body in range(1, model.nbody) if model.body_jntnum[body]]
    points = [data.xpos[body] for body in objects if int(model.body_rootid[body]) not in arms]
    points += [data.site_xpos[site] for site in range(model.nsite) if is_mark(model.site(site).name)]
    near = np.array([hand, *(point for point in points if np.linalg.norm(point - hand) < REACH)])
    low, high = near.min(axis=0), near.max(axis=0)
    camera.lookat[:] = (low + high) / 2
    camera.distance = NEAREST + SPREAD * float((high - low).max())


@dataclass(frozen=True, slots=True)
class _Motion:
    """Bounding boxes of what moves, metres, world frame, at S moments.

    Attributes:
        root: body of the tree with the most joints, which is the robot.
        low, high: corners of the robot's box, (S, 3).
        around_low, around_high: of the box of all that moves near it, (3,).
    """

    root: int
    low: Array
    high: Array
    around_low: Array
    around_high: Array

    @classmethod
    def of(cls, model: Any, samples: Samples) -> _Motion | None:
        """Return the motion of a recording, None of a model in which nothing can move.

        Args:
            model: an ``mjModel``.
            samples: yields data posed at moments of the recording.
        """
        moving = np.flatnonzero((model.body_weldid[model.geom_bodyid] > 0) & (model.geom_rbound > 0))
        if not model.nv or not len(moving):
            return None
        roots = model.body_rootid[model.geom_bodyid[moving]]
        root = int(np.bincount(model.body_rootid[model.dof_bodyid]).argmax())
        own = roots == root if (roots == root).any() else np.full(len(moving), True)
        radius = model.geom_rbound[moving][:, None]
        centers = np.array([data.geom_xpos[moving] for data in samples()])
        lows, highs = centers - radius, centers + radius
        low, high = lows[:, own].min(axis=1), highs[:, own].max(axis=1)
        # A ball that rolls away, or falls without end, must not make the robot a dot.
        size = float(np.linalg.norm(high - low, axis=1).max())
        gaps = np.linalg.norm(centers - ((low + high) / 2)[:, None], axis=2)
        near = (gaps <= NEAR * size)[:, :, None] | own[None, :, None]
        return cls(
            root=root,
            low=low,
            high=high,
            around_low=np.where(near, lows, np.inf).min(axis=(0, 1)),
            around_high=np.where(near, highs, -np.inf).max(axis=(0, 1)),
        )

    @property
    def size(self) -> float:
        """The robot's diagonal where it is longest."""
        return float(np.linalg.norm(self.high - self.low, axis=1).max())

    @property
    def way(self) -> Array:
        """How far along each axis its middle travels at most, (3,)."""
        middles = (self.low + self.high) / 2
        offsets = middles - middles[0]
        return np.asarray(offsets[np.linalg.norm(offsets, axis=1).argmax()])


def _frame_motion(camera: Any, model: Any, samples: Samples, *, follow: bool) -> None:
    """Follow a robot that travels, if ``follow``, else frame all that moves."""
    motion = _Motion.of(model, samples)
    if motion is None:
        camera.lookat[:] = model.stat.center
        camera.distance = 1.5 * model.stat.extent
        return
    slope = math.sin(math.radians(float(model.vis.global_.fovy)) / 2)
    way = motion.way
    travels = np.linalg.norm(way[:2]) > AWAY * motion.size or abs(way[2]) > FALLS * motion.size
    if follow and travels:
        camera.trackbodyid = motion.root
        camera.distance = ROOM * motion.size / 2 / slope
        # From the side, so that it walks across the picture.
        camera.azimuth = math.degrees(math.atan2(way[1], way[0])) + 90.0
        camera.elevation = SIDE_ELEVATION
        return
    low, high = motion.around_low, motion.around_high
    camera.lookat[:] = (low + high) / 2
    camera.distance = ROOM * float(np.linalg.norm(high - low)) / 2 / slope


def widen_floor(model: Any, samples: Iterator[Any], replace: Callable[[str], Array]) -> None:
    """Enlarge the floor that a model draws where a robot leaves it.

    Its plane is without end in the simulation, so that the robot would walk on nothing.

    Args:
        model: an ``mjModel``.
        samples: data posed at moments of the recording.
        replace: returns an array of the model, by its name, to write into.
    """
    flat = (model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE) & (model.body_weldid[model.geom_bodyid] == 0)
    floors = [geom for geom in np.flatnonzero(flat) if (model.geom_size[geom, :2] > 0).all()]
    if not floors or not model.nv:
        return
    moving = np.flatnonzero(model.body_weldid > 0)
    places = [(data.xpos[moving], data.geom_xpos[floors].copy()) for data in samples]
    for number, geom in enumerate(floors):
        half = float(model.geom_size[geom, :2].min())
        far = max(float(np.abs(bodies - middles[number])[:, :2].max()) for bodies, middles in places)
        # Of a floor that fills its model's view; a table's plate has no business to grow.
        if far <= half - model.stat.extent or far > 1e4 * half or half < model.stat.extent:
            continue
        # An odd factor keeps the pattern where it is, since it is laid out from the middle.
        factor = 2 * math.ceil((far + 2 * model.stat.extent) / half / 2) + 1
        replace("geom_size")[geom, :2] *= factor
        material = int(model.geom_matid[geom])
        if material >= 0 and not model.mat_texuniform[material]:
            replace("mat_texrepeat")[material] *= factor


def floor_sizes(model: Any) -> bytes:
    """Return the sizes of a model's planes, as bytes to compare."""
    return bytes(model.geom_size[model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE].tobytes())


def is_mark(site: str) -> bool:
    """Return whether a site of that name marks where something must go."""
    return any(mark in site.lower() for mark in MARKS)


def camera_pose(view: Any) -> tuple[Array, Array, Array, float]:
    """Return the pose of the camera of an updated ``mjvScene``.

    Returns:
        Its position, forward and up, each (3,) in the world frame, and half the height of its picture at distance 1.
    """
    left, right = view.camera[0], view.camera[1]
    position = (np.asarray(left.pos, dtype=float) + np.asarray(right.pos, dtype=float)) / 2
    slope = float(left.frustum_top) / float(left.frustum_near)
    return position, np.asarray(left.forward, dtype=float), np.asarray(left.up, dtype=float), slope
