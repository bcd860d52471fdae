"""Pictures of an environment without a model file, by replaying its actions.

The environment is stepped with the recorded actions and draws itself. A ``ReplayScene`` takes the place of a
``SceneModel``, and a ``ReplayRenderer`` that of the other renderers.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from PIL import Image

from trace_robot.errors import RenderError
from trace_robot.render.caption import BACKGROUND
from trace_robot.spec import Array, Scene, States


class ReplayScene:
    """An environment that is stepped with recorded actions.

    Attributes:
        states: each row of ``qpos`` is an action and, last, the reward that followed.
        turned: never: an environment draws itself upright.
    """

    turned = False

    def __init__(self) -> None:
        self._env: Any = None
        self._key = ""
        self._seed = 0
        self._position = -1

    def set(self, scene: Scene, states: States) -> None:
        """Set up a recording.

        Args:
            scene: its ``replay`` names the environment, its options and the seed.
            states: actions and rewards.
        """
        from trace_robot.env.registry import make

        key = json.dumps([scene.replay["env"], scene.replay["options"]], sort_keys=True)
        # To make an environment is slow, so one serves all clips of its kind.
        if key != self._key:
            self.close()
            self._env = make(scene.replay["env"], render_mode="rgb_array", **scene.replay["options"])
            self._key = key
        self._seed, self._position = int(scene.replay["seed"]), -1
        self.states = states

    def pose(self, index: int) -> None:
        """Step the environment to its state after ``index`` decisions.

        It is reset first if it is past them.

        Raises:
            RenderError: a reward differs from the recorded one, so that the picture would show another episode.
        """
        # An environment cannot be stepped back.
        if self._position < 0 or index < self._position:
            self._env.reset(seed=self._seed)
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
        if self._env is not None:
            self._env.close()
            self._env, self._key = None, ""


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
