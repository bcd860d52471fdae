"""What the robots of the benchmarks share: a MuJoCo model that is stepped between decisions, and pictures of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Info = dict[str, Any]


class Robot(gymnasium.Env[Array, Any]):
    """A robot in MuJoCo; a subclass places things, moves the robot, and says what is seen and done.

    Args:
        text: the model as MJCF.
        low, high: bounds of the action, in its own units.
        seconds: between two decisions.
        render_mode: "rgb_array" for pictures, or nothing.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012

    def __init__(
        self, text: str, *, low: ArrayLike, high: ArrayLike, seconds: float, render_mode: str | None
    ) -> None:
        self.model = mujoco.MjModel.from_xml_string(text)
        self.data = mujoco.MjData(self.model)
        self.dt = seconds
        self.steps_a_decision = round(seconds / self.model.opt.timestep)
        self.render_mode = render_mode
        self.low, self.high = np.asarray(low, np.float32), np.asarray(high, np.float32)
        self.action_space = Box(self.low, self.high)
        self.observation_space = Box(-np.inf, np.inf, self.reset(seed=0)[0].shape, np.float64)
        self._renderer: Any = None

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Array, Info]:
        """Place everything by chance, all of it drawn from ``seed``."""
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.place(self.np_random)
        mujoco.mj_forward(self.model, self.data)
        return self.observe(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, Info]:
        """Apply the action until the next decision; ``failed`` of the info ends the episode."""
        self.move(np.clip(action, self.low, self.high))
        mujoco.mj_step(self.model, self.data, self.steps_a_decision)
        mujoco.mj_forward(self.model, self.data)  # what is seen belongs to the state after the step
        self.advance()
        reward, info = self.judge()
        return self.observe(), float(reward), bool(info.get("failed", False)), False, info

    def place(self, random: np.random.Generator) -> None:
        """Write an initial state into ``data``."""
        raise NotImplementedError

    def move(self, action: Array) -> None:
        """Write an action within its bounds into ``data.ctrl``."""
        self.data.ctrl[:] = action

    def advance(self) -> None:
        """Change what is not in the model, once a decision."""

    def observe(self) -> Array:
        """Return what is seen now."""
        raise NotImplementedError

    def judge(self) -> tuple[float, Info]:
        """Return the reward of this step, and the info with ``success``."""
        raise NotImplementedError

    def render(self) -> Any:
        """Return a picture, (480, 640, 3) bytes."""
        if self._renderer is None:
            self._renderer = mujoco.Renderer(self.model, 480, 640)
        self._renderer.update_scene(self.data)
        return self._renderer.render()

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def site(self, name: str) -> Array:
        """Return where a site is, (3,) meters in the world frame."""
        return np.array(self.data.site(name).xpos)

    def body(self, name: str) -> Array:
        """Return where a body is, (3,) meters in the world frame."""
        return np.array(self.data.body(name).xpos)

    def speed(self, joint: str) -> float:
        """Return the speed of a free body, m/s, by the name of its joint."""
        return float(np.linalg.norm(self.data.joint(joint).qvel[:3]))

    def set_free(self, joint: str, position: ArrayLike, yaw: float = 0.0) -> None:
        """Put a free body somewhere, turned about the vertical by ``yaw`` rad."""
        self.data.joint(joint).qpos[:] = [*np.asarray(position), np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]

    def set_mocap(self, body: str, position: ArrayLike, yaw: float = 0.0) -> None:
        """Put a body that nothing moves somewhere, turned about the vertical by ``yaw`` rad."""
        index = self.model.body(body).mocapid[0]
        self.data.mocap_pos[index] = position
        self.data.mocap_quat[index] = [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]

    def touching(self, thing: str, prefix: str) -> bool:
        """Return whether a geom touches one whose name begins with ``prefix``."""
        for contact in self.data.contact[: self.data.ncon]:
            first, second = (self.model.geom(int(index)).name for index in contact.geom)
            if (first == thing and second.startswith(prefix)) or (
                second == thing and first.startswith(prefix)
            ):
                return True
        return False


@dataclass(frozen=True)
class Link:
    """A link of a serial arm: a hinge at its beginning, and a capsule along z to the next one.

    Attributes:
        joint: name of the hinge.
        axis: "y" or "z", of the hinge.
        limits: of the hinge, rad.
        length: of the link, meters; 0 for no capsule.
        size: radius of the capsule, meters; 0 for the model's default.
    """

    joint: str
    axis: str
    limits: tuple[float, float]
    length: float = 0.0
    size: float = 0.0


def serial_arm(height: float, links: Sequence[Link], end: str) -> str:
    """Return the bodies of an arm without weight, as MJCF.

    Args:
        height: of the first hinge, meters.
        links: from the base on.
        end: what the last body holds besides, as MJCF.
    """
    text, at = "", height
    for link in links:
        axis = {"y": "0 1 0", "z": "0 0 1"}[link.axis]
        low, high = link.limits
        text += f'<body pos="0 0 {at}" gravcomp="1"><joint name="{link.joint}" axis="{axis}" range="{low} {high}"/>'
        if link.length:
            size = f' size="{link.size}"' if link.size else ""
            text += f'<geom fromto="0 0 0 0 0 {link.length}"{size}/>'
        at = link.length
    return text + end + "</body>" * len(links)


def yaw_of(matrix: ArrayLike) -> float:
    """Return the angle about the vertical of a rotation matrix, rad."""
    rows = np.asarray(matrix).reshape(3, 3)
    return float(np.arctan2(rows[1, 0], rows[0, 0]))


def fold(angle: float) -> float:
    """Return the angle of a thing that looks the same from behind, -pi/2 to pi/2 rad."""
    return float((angle + np.pi / 2) % np.pi - np.pi / 2)
