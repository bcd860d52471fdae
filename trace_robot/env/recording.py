"""What of an environment can be saved, restored and drawn: MuJoCo's state where it has one, else its actions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trace_robot.spec import Array, Scene, States

MOVED = ("body_pos", "body_quat", "site_pos", "geom_pos", "geom_size", "geom_rgba", "site_rgba")
FRAMES_A_SECOND = 30.0
SIMULATOR = ("mujoco", "gymnasium.envs.mujoco")  # modules whose objects are handles, not values
DRAWING = frozenset({"screen", "clock", "surf", "window", "viewer", "isopen", "mujoco_renderer"})


@dataclass(frozen=True, slots=True)
class StateSnapshot:
    """attributes: of each wrapper and the environment, the outermost first; physics: MuJoCo's state, or None;
    computed: what MuJoCo computes from it and an environment may read before the next step, a step old or not.
    """

    attributes: tuple[Mapping[str, Any], ...]
    physics: Array | None
    computed: Mapping[str, Array]


def simulation(env: Any) -> tuple[Any, Any] | None:
    """Return the MuJoCo model and data of an unwrapped environment, if it keeps them where most do."""
    model, data = getattr(env, "model", None), getattr(env, "data", None)
    if type(model).__name__ == "MjModel" and type(data).__name__ == "MjData":
        return model, data
    return None


def snapshot(env: Any) -> StateSnapshot:
    """Return copies of everything that a later step may depend on; whether it is exact can only be tried."""
    attributes = tuple(_values(each) for each in _chain(env))
    found = simulation(env.unwrapped)
    if found is None:
        return StateSnapshot(attributes, None, {})
    import mujoco

    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.empty(mujoco.mj_stateSize(found[0], kind))
    mujoco.mj_getState(*found, state, kind)
    return StateSnapshot(attributes, state, {name: array.copy() for name, array in _arrays(found[1])})


def restore(env: Any, saved: StateSnapshot) -> None:
    """Continue from a snapshot of the same object."""
    for each, attributes in zip(_chain(env), saved.attributes, strict=True):
        vars(each).update(copy.deepcopy(dict(attributes)))
    found = simulation(env.unwrapped)
    if found is not None and saved.physics is not None:
        import mujoco

        mujoco.mj_setState(*found, saved.physics, mujoco.mjtState.mjSTATE_INTEGRATION)
        for name, array in _arrays(found[1]):
            kept = saved.computed.get(name)
            if kept is not None and kept.shape == array.shape:
                array[:] = kept


def _arrays(data: Any) -> Iterator[tuple[str, Array]]:
    """Yield what MuJoCo's data shows of itself as arrays of numbers that can be written."""
    for name in dir(data):
        value = None if name.startswith("_") else getattr(data, name, None)
        if isinstance(value, np.ndarray) and value.flags.writeable and value.dtype.kind in "fiu":
            yield name, value


class StateRecorder:
    """Collects what a picture of an episode needs, about ``FRAMES_A_SECOND`` of simulated time.

    With a MuJoCo model that lies in a file its states are recorded, for any camera and without stepping again;
    else the actions, each with its reward, with which the environment is stepped once more to draw itself.
    """

    def __init__(
        self,
        env: Any,
        camera: str | Mapping[str, float],
        marks: Callable[[Any], Mapping[str, Any]] | None,
    ) -> None:
        self._env, self._camera, self._marks = env, camera, marks
        inner = env.unwrapped
        found = simulation(inner)
        path = getattr(inner, "fullpath", None) or getattr(inner, "xml_file", None)
        self.model_path = str(Path(path).resolve()) if found and path and Path(path).is_file() else ""
        self.draws_itself = "rgb_array" in (getattr(env, "metadata", None) or {}).get("render_modes", ())
        self.dt = float(getattr(inner, "dt", 0.0) or 0.0) or _frame_seconds(env)
        self._original = {name: getattr(found[0], name).copy() for name in MOVED} if found else {}
        self._every = max(1, round(1.0 / (FRAMES_A_SECOND * self.dt))) if self.model_path else 1
        self._frames: list[tuple[Array, Array, Array, float]] = []
        self.seed: int | None = None

    @property
    def can_draw(self) -> bool:
        return bool(self.model_path) or self.draws_itself

    def start(self, seed: int | None, recording: bool, width: int) -> None:
        """Begin an episode. width: numbers of what ``decided`` is told."""
        self.seed, self._frames = seed, []
        if recording:
            self._frames.append(self._frame(0, np.zeros(width)))

    def stepped(self, steps: int) -> None:
        """Note a simulator step, of a model."""
        if self.model_path and steps % self._every == 0:
            self._frames.append(self._frame(steps, np.empty(0)))

    def decided(self, steps: int, told: Array) -> None:
        """Note a decision and its reward, of an environment that is stepped again."""
        if not self.model_path:
            self._frames.append(self._frame(steps, told))

    def scene(self, replay: Mapping[str, Any]) -> Scene | None:
        """Return what draws the episode; None where nothing can."""
        if self.model_path:
            moved = self._moved()
            named = isinstance(self._camera, str)
            view = {} if named and self._camera else _view(self._env.unwrapped)
            if not named:
                view |= dict(self._camera)  # type: ignore[arg-type]
            return Scene(self.model_path, moved, self._camera if named else "", view=view)  # type: ignore[arg-type]
        if self.draws_itself and self.seed is not None:
            return Scene("", replay={**replay, "seed": self.seed})
        return None

    def states(self, steps: int) -> States | None:
        if not self._frames or not self.can_draw:
            return None
        frames = list(self._frames)
        if self.model_path and frames[-1][3] < steps * self.dt:
            frames.append(self._frame(steps, np.empty(0)))
        first = frames[0]
        columns = [np.array([frame[i] for frame in frames]) for i in range(4)]
        return States(*(each.reshape(len(frames), *np.shape(first[i])) for i, each in enumerate(columns)))

    def _moved(self) -> dict[str, Array]:
        """Return the arrays of the model that are not as its file says, and the sites where they are to be drawn."""
        inner = self._env.unwrapped
        found = simulation(inner)
        if found is None:
            return {}
        model, data = found
        moved = {
            name: getattr(model, name).copy()
            for name, before in self._original.items()
            if not np.array_equal(before, getattr(model, name))
        }
        for name, position in (self._marks(inner) if self._marks is not None else {}).items():
            sites = moved.setdefault("site_pos", model.site_pos.copy())
            site = model.site(name).id
            body = model.site_bodyid[site]
            turned = data.xmat[body].reshape(3, 3)
            sites[site] = turned.T @ (np.asarray(position, float) - data.xpos[body])
        return moved

    def _frame(self, steps: int, told: Array) -> tuple[Array, Array, Array, float]:
        found = simulation(self._env.unwrapped)
        if not self.model_path or found is None:
            return np.array(told, float), np.empty((0, 3)), np.empty((0, 4)), steps * self.dt
        data = found[1]
        return data.qpos.copy(), data.mocap_pos.copy(), data.mocap_quat.copy(), steps * self.dt


def _frame_seconds(env: Any) -> float:
    return 1.0 / float((getattr(env, "metadata", None) or {}).get("render_fps") or 30.0)


def _view(env: Any) -> dict[str, float]:
    """Return the free camera that a gymnasium MuJoCo environment gives itself."""
    config = getattr(getattr(env, "mujoco_renderer", None), "default_cam_config", None) or {}
    view = {name: float(config[name]) for name in ("distance", "azimuth", "elevation") if name in config}
    if "lookat" in config:
        view |= dict(zip("xyz", map(float, config["lookat"]), strict=True))
    return view if config.get("type", 0) == 0 and "trackbodyid" not in config else {}


def _chain(env: Any) -> Iterator[Any]:
    """Yield the wrappers, the outermost first, then the environment."""
    while True:
        yield env
        if env is env.unwrapped:
            return
        env = env.env


def _values(each: Any) -> dict[str, Any]:
    """Return deep copies of an object's attributes, without what draws and what is a view into the simulator."""
    values = {}
    for name, value in vars(each).items():
        if (
            name in DRAWING
            or name == "env"
            or type(value).__module__.startswith(SIMULATOR)
            or _is_view(value)
        ):
            continue
        try:
            values[name] = copy.deepcopy(value)
        except (
            Exception
        ):  # handles of files, windows, generators: nothing that a step changes can be copied so
            continue
    return values


def _is_view(value: Any) -> bool:
    """Say whether an array's memory belongs to something that is not an array: to the simulator."""
    if not isinstance(value, np.ndarray):
        return False
    base: Any = value
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return not isinstance(base, np.ndarray | bytes | bytearray)
