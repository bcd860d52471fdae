"""Pictures of an environment that no model file describes: it is stepped again, and draws itself.

A ``ReplayScene`` stands where a ``Stage`` does, and a ``ReplayRenderer`` where the other painters do.
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
    """An environment that is stepped with recorded actions: rows of ``states.qpos``, the reward last.

    Raises:
        RenderError: from ``pose``, the environment does not do again what it did.
    """

    turned = False

    def __init__(self) -> None:
        self._env: Any = None
        self._made = ""
        self._seed = 0
        self._at = -1

    def set(self, scene: Scene, states: States) -> None:
        from trace_robot.env.registry import make

        made = json.dumps([scene.replay["env"], scene.replay["options"]], sort_keys=True)
        if made != self._made:
            self.close()
            self._env = make(scene.replay["env"], render_mode="rgb_array", **scene.replay["options"])
            self._made = made
        self._seed, self._at = int(scene.replay["seed"]), -1
        self.states = states

    def pose(self, index: int) -> None:
        """Bring the environment to where it was after that many recorded decisions."""
        if self._at < 0 or index < self._at:
            self._env.reset(seed=self._seed)
            self._at = 0
        while self._at < index:
            self._at += 1
            *action, recorded = self.states.qpos[self._at]
            _, reward, *_ = self._env.step(np.array(action, np.float32))
            if not math.isclose(reward, recorded, rel_tol=1e-6, abs_tol=1e-9):
                raise RenderError(
                    f"the environment did not do again what it did: the reward of step {self._at} was {recorded:g} and"
                    f" is now {reward:g}; see: trace-robot check-env"
                )

    def moved(self, one: int, other: int) -> bool:
        return one != other

    def picture(self) -> Array:
        """Return what the environment draws, (height, width, 3), 8 bits."""
        drawn = self._env.picture()
        frame = np.asarray(drawn[-1] if isinstance(drawn, list) and drawn else drawn)
        if frame.ndim != 3 or frame.shape[2] != 3:
            raise RenderError(f"the environment's render() gave no picture but {type(drawn).__name__}")
        return frame.astype(np.uint8)

    def close(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env, self._made = None, ""


class ReplayRenderer:
    """Fits what the environment draws into pictures of that width and height."""

    def __init__(self, stage: ReplayScene, size: tuple[int, int]) -> None:
        self._stage, self._size = stage, size

    def paint(self) -> Array:
        frame = Image.fromarray(self._stage.picture())
        scale = min(self._size[0] / frame.width, self._size[1] / frame.height)
        width, height = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
        picture = Image.new("RGB", self._size, BACKGROUND)
        place = ((self._size[0] - width) // 2, (self._size[1] - height) // 2)
        picture.paste(frame.resize((width, height), Image.Resampling.LANCZOS), place)
        return np.asarray(picture)

    def close(self) -> None:
        self._stage.close()
