"""A MuJoCo model posed as recorded, and the camera that looks at it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from trace_robot.errors import RenderError
from trace_robot.spec import Array, Scene, States

AZIMUTH, ELEVATION = 150.0, -25.0
# Of the free camera that frames the workspace: its least distance, what is added for each metre that things are apart,
# and how far from the hand a thing may be to count; metres.
NEAREST, SPREAD, REACH = 0.95, 0.6, 1.0
STILL = 1e-3  # metres or radians: less than a pixel at arm's length
MARKS = ("goal", "target", "hole")


class SceneModel:
    """A MuJoCo model and its data, set up for one recording after another.

    Loading is slow, so one object serves all clips of a model.

    Args:
        model_path: an MJCF file.

    Attributes:
        states: the recording, up to the first state that is not finite.
        camera: MuJoCo's, fixed or free.
        turned: whether the camera is mounted upside down, so that its pictures must be turned.

    Raises:
        RenderError: the model cannot be read.
    """

    def __init__(self, model_path: str) -> None:
        self.model = _load(model_path)
        self.data = mujoco.MjData(self.model)
        self.camera = mujoco.MjvCamera()
        self.turned = False
        # The originals of the arrays that a scene replaced: clips share the model, and ``set`` undoes the last one.
        self._changed: dict[str, Array] = {}

    def set(self, scene: Scene, states: States) -> None:
        """Set up a recording.

        Args:
            scene: of this model; its arrays replace the model's until the next call.
            states: F frames.

        Raises:
            RenderError: an array or the states do not fit the model, or it has no such camera.
        """
        for name, original in self._changed.items():
            getattr(self.model, name)[:] = original
        self._changed = {}
        for name, array in scene.model_arrays.items():
            target = getattr(self.model, name, None)
            if not isinstance(target, np.ndarray) or target.shape != array.shape:
                wanted = f"shape {target.shape}" if isinstance(target, np.ndarray) else "none of that name"
                raise RenderError(
                    f"the model wants {wanted} for array {name!r}, got {array.shape}; record it again"
                )
            self._changed[name] = target.copy()
            target[:] = array
        mujoco.mj_resetData(self.model, self.data)
        self.states = _checked(states, self.model)
        self.turned = scene.upside_down and bool(scene.camera)
        self.camera = self._camera(scene.camera)
        if not scene.camera:
            self._look(scene.view)

    def pose(self, index: int) -> None:
        """Move everything to where it was in that recorded frame."""
        # What mj_forward does for a picture, without the dynamics: they would cost more and could diverge.
        self.data.qpos[:] = self.states.qpos[index]
        if self.model.nmocap:
            self.data.mocap_pos[:] = self.states.mocap_pos[index]
            self.data.mocap_quat[:] = self.states.mocap_quat[index]
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        mujoco.mj_tendon(self.model, self.data)

    def moved(self, one: int, other: int) -> bool:
        """Return whether two recorded frames differ visibly, by more than ``STILL``.

        Args:
            one: an index of a frame.
            other: another one.
        """
        recorded = (self.states.qpos, self.states.mocap_pos, self.states.mocap_quat)
        return any(np.abs(part[one] - part[other]).max(initial=0.0) > STILL for part in recorded)

    def _camera(self, name: str) -> Any:
        camera = mujoco.MjvCamera()
        if not name:
            return self._overview(camera)
        number = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_CAMERA, name)
        if number < 0:
            known = ", ".join(self.model.camera(index).name for index in range(self.model.ncam)) or "none"
            raise RenderError(
                f"the model has no camera {name!r}; known: {known}; no name frames the workspace"
            )
        camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        camera.fixedcamid = number
        return camera

    def _look(self, view: Mapping[str, float]) -> None:
        """Apply a scene's view to the free camera where it says one."""
        for name in ("distance", "azimuth", "elevation"):
            if name in view:
                setattr(self.camera, name, float(view[name]))
        for axis, name in enumerate("xyz"):
            if name in view:
                self.camera.lookat[axis] = float(view[name])

    def _overview(self, camera: Any) -> Any:
        """Aim a free camera at the hand, objects and goals, else at the whole model."""
        camera.type = mujoco.mjtCamera.mjCAMERA_FREE
        camera.azimuth, camera.elevation = AZIMUTH, ELEVATION
        self.pose(0)
        points = _points_of_interest(self.model, self.data)
        if len(points):
            low, high = points.min(axis=0), points.max(axis=0)
            camera.lookat[:] = (low + high) / 2
            camera.distance = NEAREST + SPREAD * float((high - low).max())
        else:
            camera.lookat[:] = self.model.stat.center
            camera.distance = 1.5 * self.model.stat.extent
        return camera


def _points_of_interest(model: Any, data: Any) -> Array:
    """Return where a mocap-driven hand is, and the objects and goals near it.

    Objects are bodies with joints that are not part of the arm, whose root is welded to the mocap body.

    Returns:
        (points, 3) metres; no points where the model has no mocap body.
    """
    if not model.nmocap:
        return np.empty((0, 3))
    hand = data.mocap_pos[0]
    driven = {
        int(body) for pair in (model.eq_obj1id, model.eq_obj2id) for body in pair if 0 <= body < model.nbody
    }
    arms = {int(model.body_rootid[body]) for body in driven}
    objects = [body for body in range(1, model.nbody) if model.body_jntnum[body]]
    points = [data.xpos[body] for body in objects if int(model.body_rootid[body]) not in arms]
    points += [data.site_xpos[site] for site in range(model.nsite) if is_mark(model.site(site).name)]
    near = [point for point in points if np.linalg.norm(point - hand) < REACH]
    return np.array([hand, *near])


def is_mark(site: str) -> bool:
    """Return whether a site of that name marks where something must go."""
    return any(mark in site.lower() for mark in MARKS)


def _load(path: str) -> Any:
    if not Path(path).is_file():
        raise RenderError(
            f"file not found: the model {path!r} to draw; record the scene again on this machine"
        )
    try:
        return mujoco.MjModel.from_xml_path(path)
    except ValueError as error:
        raise RenderError(f"mujoco cannot read the model {path!r}: {_first_line(error)}") from error


def _checked(states: States, model: Any) -> States:
    """Return the states up to the first one with a number that is not finite."""
    count = len(states)
    shapes = {
        "qpos": (states.qpos, (count, model.nq)),
        "mocap_pos": (states.mocap_pos, (count, model.nmocap, 3)),
        "mocap_quat": (states.mocap_quat, (count, model.nmocap, 4)),
        "seconds": (states.seconds, (count,)),
    }
    for name, (array, shape) in shapes.items():
        if math.prod(shape) and array.shape != shape:
            raise RenderError(f"states.{name} must have shape {shape}, got {array.shape}; record them again")
    rows = [np.asarray(array).reshape(count, -1) for array, shape in shapes.values() if math.prod(shape)]
    finite = np.isfinite(np.concatenate(rows, axis=1)).all(axis=1)
    # argmin of booleans is the place of the first False.
    good = count if finite.all() else int(np.argmin(finite))
    if not good:
        raise RenderError(
            "there are no recorded states with finite numbers to draw; record the episode again"
        )
    return States(
        states.qpos[:good], states.mocap_pos[:good], states.mocap_quat[:good], states.seconds[:good]
    )


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def camera_pose(view: Any) -> tuple[Array, Array, Array, float]:
    """Return the pose of the camera of an updated ``mjvScene``.

    Returns:
        Its position, forward and up, each (3,) in the world frame, and half the height of its picture at distance 1.
    """
    left, right = view.camera[0], view.camera[1]
    position = (np.asarray(left.pos, dtype=float) + np.asarray(right.pos, dtype=float)) / 2
    slope = float(left.frustum_top) / float(left.frustum_near)
    return position, np.asarray(left.forward, dtype=float), np.asarray(left.up, dtype=float), slope
