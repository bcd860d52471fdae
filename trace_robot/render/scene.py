"""A MuJoCo model posed as recorded, and the camera that looks at it.

An environment without a model file is stepped again with the recorded actions and draws itself: a ``ReplayScene`` takes
the place of a ``SceneModel``, and a ``ReplayRenderer`` that of the other renderers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from PIL import Image

from trace_robot.errors import RenderError
from trace_robot.render.camera import follow, framing_camera, named_camera, widen_floor
from trace_robot.render.caption import BACKGROUND
from trace_robot.render.job import ITSELF
from trace_robot.spec import Array, Scene, States


class ReplayScene:
    """An environment that is stepped with recorded actions.

    Attributes:
        states: each row of ``qpos`` is an action and, last, the reward that followed.
        turned: never: an environment draws itself upright.
    """

    def __init__(self) -> None:
        self.turned = False
        self._env: Any = None
        self._key = ""
        self._seed = 0
        self._position = -1
        self._resets = 0  # of this environment

    def set(self, scene: Scene, states: States) -> None:
        """Set up a recording.

        Args:
            scene: its ``replay`` names the environment, its options and the seed.
            states: actions and rewards.
        """
        key = json.dumps([scene.replay["env"], scene.replay["options"]], sort_keys=True)
        # To make an environment is slow, so one serves all clips of its kind.
        if key != self._key:
            self._end()
            self._key = key
        self._seed, self._position = int(scene.replay["seed"]), -1
        self.states = states

    def pose(self, index: int) -> None:
        """Step the environment to its state after ``index`` decisions.

        It is reset first if it is past them, and made again if it does something else after an episode before.

        Raises:
            RenderError: a reward differs from the recorded one, so that the picture would show another episode.
        """
        try:
            self._step_to(index)
        except RenderError:
            if self._resets == 1:
                raise
            # Not every environment forgets the episode before when it is reset.
            self._end()
            self._step_to(index)

    def _step_to(self, index: int) -> None:
        if self._env is None:
            from trace_robot.env.registry import make

            env, options = json.loads(self._key)
            self._env, self._resets = make(env, render_mode="rgb_array", **options), 0
            self._position = -1
        # An environment cannot be stepped back.
        if self._position < 0 or index < self._position:
            self._env.reset(seed=self._seed)
            self._resets += 1
            self._position = 0
        while self._position < index:
            self._position += 1
            *action, recorded = self.states.qpos[self._position]
            _, reward, *_ = self._env.step(np.array(action, np.float32))
            # Recordings are in single precision, 6e-8 of each number; an episode that went elsewhere is further off.
            if not math.isclose(reward, recorded, rel_tol=1e-6, abs_tol=1e-9):
                raise RenderError(
                    f"the environment did not do again what it did: the reward of step {self._position} was"
                    f" {recorded:g} and is now {reward:g}; see: trace-robot check-env"
                )

    def is_inverted(self) -> bool:
        """Return whether its camera hangs upside down: never."""
        return False

    def moved(self, one: int, other: int) -> bool:
        """Return whether two frames may differ, as any two may.

        Args:
            one: an index of a frame.
            other: another one.
        """
        return one != other

    def picture(self) -> Array:
        """Return what the environment draws, (height, width, 3), 8 bits.

        Raises:
            RenderError: its ``render()`` returned something else.
        """
        drawn = self._env.picture()
        return rgb(drawn[-1] if isinstance(drawn, list) and drawn else drawn)

    def close(self) -> None:
        """Close the environment."""
        self._end()
        self._key = ""

    def _end(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None


def rgb(drawn: Any) -> Array:
    """Return a picture in red, green and blue, (height, width, 3), 8 bits.

    Args:
        drawn: also with an alpha channel, grey, with the channels first, or of floats from 0 to 1.

    Raises:
        RenderError: it has no shape of a picture.
    """
    try:
        frame = np.asarray(drawn)
        numeric = frame.dtype.kind in "biuf" and frame.size > 0
    except (TypeError, ValueError):
        numeric = False
    if not numeric or frame.ndim not in (2, 3):
        raise RenderError(f"the environment's render() must give a picture, got {_text_of(drawn)}")
    if frame.ndim == 2:
        frame = frame[:, :, None]
    if frame.shape[2] not in (1, 3, 4) and frame.shape[0] in (1, 3, 4):
        frame = np.moveaxis(frame, 0, 2)
    if frame.shape[2] not in (1, 3, 4):
        raise RenderError(
            f"the environment's render() must give 1, 3 or 4 channels, got shape {np.shape(drawn)}"
        )
    if frame.dtype.kind == "b":
        frame = frame * 255
    elif frame.dtype.kind == "f":
        frame = np.nan_to_num(frame, posinf=255.0)
        frame = np.rint(frame * 255.0 if frame.max() <= 1.0 else frame)
    elif frame.dtype.itemsize == 2 and frame.max() > 255:
        frame = frame >> 8  # 16 bits a channel
    frame = np.clip(frame, 0, 255).astype(np.uint8)
    if frame.shape[2] == 4 and not frame[:, :, 3].any():
        frame = frame[:, :, :3]  # an alpha channel that was never written
    if frame.shape[2] == 4:
        alpha = frame[:, :, 3:].astype(np.float64) / 255.0
        frame = np.rint(frame[:, :, :3] * alpha + np.array(BACKGROUND) * (1.0 - alpha)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(frame, (*frame.shape[:2], 3)))


def _text_of(drawn: Any) -> str:
    shape = getattr(drawn, "shape", None)
    return type(drawn).__name__ if shape is None else f"{type(drawn).__name__} of shape {tuple(shape)}"


class ReplayRenderer:
    """Scales what the environment draws to a size, with bars where shapes differ."""

    def __init__(self, scene: ReplayScene, size: tuple[int, int]) -> None:
        self._scene, self._size = scene, size

    drawn_by = ITSELF

    def render(self) -> Array:
        """Return the picture, (height, width, 3), 8 bits."""
        frame = Image.fromarray(self._scene.picture())
        scale = min(self._size[0] / frame.width, self._size[1] / frame.height)
        width, height = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
        picture = Image.new("RGB", self._size, BACKGROUND)
        corner = ((self._size[0] - width) // 2, (self._size[1] - height) // 2)
        picture.paste(frame.resize((width, height), Image.Resampling.LANCZOS), corner)
        return np.asarray(picture)

    def close(self) -> None:
        """Close the environment."""
        self._scene.close()


SAMPLES = 25  # moments of a recording at which is looked for what moves and how far
INVERTED = -0.1  # of the height of a camera's up axis; one that looks straight down has 0
STILL = 1e-3  # metres or radians: less than a pixel at arm's length


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
            self._replace(name)[:] = array
        mujoco.mj_resetData(self.model, self.data)
        self.camera = mujoco.MjvCamera()  # none of the last recording's while this one is looked through
        self.states = _checked(states, self.model)
        self.turned = scene.upside_down and bool(scene.camera)
        if scene.camera:
            self.camera = named_camera(self.model, scene.camera)
        else:
            self.camera = framing_camera(self.model, self._samples, scene.view)
        widen_floor(self.model, self._samples(), self._replace)

    def _replace(self, name: str) -> Array:
        """Return an array of the model to write into, which ``set`` restores."""
        array: Array = getattr(self.model, name)
        self._changed.setdefault(name, array.copy())
        return array

    def _samples(self) -> Iterator[Any]:
        """Yield the data, posed at moments spread over the recording."""
        for index in sorted({round(at) for at in np.linspace(0, len(self.states) - 1, SAMPLES)}):
            self.pose(index)
            yield self.data

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
        follow(self.camera, self.data)

    def is_inverted(self) -> bool:
        """Return whether its camera is fixed in the world with its upper side down."""
        if self.camera.type != mujoco.mjtCamera.mjCAMERA_FIXED:
            return False
        number = self.camera.fixedcamid
        self.pose(0)
        # The second column is the camera's up axis in the world. A camera on a moving body has no upper side.
        up = float(self.data.cam_xmat[number].reshape(3, 3)[2, 1])
        return not self.model.cam_bodyid[number] and up < INVERTED

    def moved(self, one: int, other: int) -> bool:
        """Return whether two recorded frames differ visibly, by more than ``STILL``.

        Args:
            one: an index of a frame.
            other: another one.
        """
        recorded = (self.states.qpos, self.states.mocap_pos, self.states.mocap_quat)
        return any(np.abs(part[one] - part[other]).max(initial=0.0) > STILL for part in recorded)


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
