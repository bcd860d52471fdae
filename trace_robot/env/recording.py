"""Recordings from which an episode is drawn, and measures of how well it was done."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trace_robot.env.simulation import simulation
from trace_robot.spec import Array, Scene, States, TaskSpec

# Arrays of a MuJoCo model that resets change, to show goals and objects in other places or colors.
MOVED = ("body_pos", "body_quat", "site_pos", "geom_pos", "geom_size", "geom_rgba", "site_rgba")
FRAMES_PER_SECOND = 30.0
ELLIPTIC = 1  # mujoco.mjtCone.mjCONE_ELLIPTIC; only what simulates imports MuJoCo
THING_MOVED = 0.01  # meters from which a thing counts as moved


class StateRecorder:
    """Record what the pictures of an episode need.

    There are about ``FRAMES_PER_SECOND`` of them in simulated time. With a MuJoCo model that lies in a file its
    states are recorded, for any camera and without stepping again. Otherwise it records the actions, each with its
    reward, and the environment is stepped once more with them to draw itself; the rewards show whether the second
    episode is the first.
    """

    def __init__(
        self,
        env: Any,
        camera: str | Mapping[str, float],
        marks: Callable[[Any], Mapping[str, Any]] | None,
    ) -> None:
        """Look up the model's file and the time of a step.

        Args:
            env: the gymnasium environment.
            camera: as ``Environment.camera``.
            marks: as ``Environment.marks``.
        """
        self._env, self._camera, self._marks = env, camera, marks
        inner = env.unwrapped
        physics = simulation(inner)
        path = getattr(inner, "fullpath", None) or getattr(inner, "xml_file", None)
        self.model_path = str(Path(path).resolve()) if physics and path and Path(path).is_file() else ""
        self.draws_itself = "rgb_array" in (getattr(env, "metadata", None) or {}).get("render_modes", ())
        self.dt = _step_seconds(env)
        self._original = {name: getattr(physics[0], name).copy() for name in MOVED} if physics else {}
        self._every = max(1, round(1.0 / (FRAMES_PER_SECOND * self.dt))) if self.model_path else 1
        # Each: qpos or action and reward, mocap positions, mocap quaternions, seconds.
        self._frames: list[tuple[Array, Array, Array, float]] = []
        self._by_decision = False
        self.seed: int | None = None

    @property
    def can_draw(self) -> bool:
        """Whether pictures can be made of what is recorded."""
        return bool(self.model_path) or self.draws_itself

    def start(self, seed: int | None, recording: bool | Literal["decisions"], width: int) -> None:
        """Begin an episode.

        Args:
            seed: with which it can be started again; None if it cannot.
            recording: whether to record its first state; "decisions" for a state after each decision, whatever the
                simulated time between.
            width: length of the vectors of ``record_decision``.
        """
        self.seed, self._frames = seed, []
        self._by_decision = recording == "decisions"
        if recording:
            self._frames.append(self._frame(0, np.zeros(width)))

    def record_step(self, steps: int) -> None:
        """Record the model's state after ``steps`` simulator steps if a frame is due.

        Nothing is recorded without a model.
        """
        if self.model_path and not self._by_decision and steps % self._every == 0:
            self._frames.append(self._frame(steps, np.empty(0)))

    def record_decision(self, steps: int, decision: Array) -> None:
        """Record a decision, unless a model's states are recorded between decisions.

        Args:
            steps: simulator steps so far.
            decision: (act_dim + 1,), the action and its reward.
        """
        if self._by_decision or not self.model_path:
            self._frames.append(self._frame(steps, decision))

    def scene(self, replay: Mapping[str, Any]) -> Scene | None:
        """Return what draws the episode, None where nothing can.

        replay: name and options of the environment, for one that is stepped again.
        """
        if self.model_path:
            moved = self._moved_arrays()
            named = isinstance(self._camera, str)
            # Without a camera's name the environment's own view is the default, and a declared view changes it.
            view = {} if named and self._camera else _view(self._env.unwrapped)
            if not named:
                view |= dict(self._camera)  # type: ignore[arg-type]
            return Scene(self.model_path, moved, self._camera if named else "", view=view)  # type: ignore[arg-type]
        if self.draws_itself and self.seed is not None:
            return Scene("", replay={**replay, "seed": self.seed})
        return None

    def states(self, steps: int) -> States | None:
        """Return the recorded states, and the last one after ``steps`` simulator steps.

        None where nothing was recorded, or nothing can draw it.
        """
        if not self._frames or not self.can_draw:
            return None
        frames = list(self._frames)
        # An episode seldom ends on a frame; its last state is what people look for.
        if self.model_path and frames[-1][3] < steps * self.dt:
            frames.append(self._frame(steps, np.empty(0)))
        first = frames[0]
        columns = [np.array([frame[i] for frame in frames]) for i in range(4)]
        return States(*(column.reshape(len(frames), *np.shape(first[i])) for i, column in enumerate(columns)))

    def _moved_arrays(self) -> dict[str, Array]:
        """Return the model's arrays that differ from its file, sites moved to the marks."""
        inner = self._env.unwrapped
        physics = simulation(inner)
        if physics is None:
            return {}
        model, data = physics
        moved = {
            name: getattr(model, name).copy()
            for name, before in self._original.items()
            if not np.array_equal(before, getattr(model, name))
        }
        for name, position in (self._marks(inner) if self._marks is not None else {}).items():
            sites = moved.setdefault("site_pos", model.site_pos.copy())
            site = model.site(name).id
            body = model.site_bodyid[site]
            # A site's position is in its body's frame, a mark in the world's.
            rotation = data.xmat[body].reshape(3, 3)
            sites[site] = rotation.T @ (np.asarray(position, float) - data.xpos[body])
        return moved

    def _frame(self, steps: int, decision: Array) -> tuple[Array, Array, Array, float]:
        """Return the model's state, or the decision in the place of ``qpos``."""
        physics = simulation(self._env.unwrapped)
        if not self.model_path or physics is None:
            return np.array(decision, float), np.empty((0, 3)), np.empty((0, 4)), steps * self.dt
        data = physics[1]
        return data.qpos.copy(), data.mocap_pos.copy(), data.mocap_quat.copy(), steps * self.dt


def _step_seconds(env: Any) -> float:
    """Return the seconds of a step: by ``render_fps``, else by the attribute ``dt``.

    ``dt`` is often the time step of the physics, of which a step may take several. 1/30 where neither is a number.
    """
    metadata = getattr(env, "metadata", None) or {}
    rate = _positive(metadata.get("render_fps", metadata.get("video.frames_per_second")))  # the latter of Gym
    if rate:
        return 1.0 / rate
    try:
        return _positive(getattr(env.unwrapped, "dt", None)) or 1.0 / FRAMES_PER_SECOND
    except Exception:  # a property of an environment may raise anything
        return 1.0 / FRAMES_PER_SECOND


def _positive(value: Any) -> float:
    """Return a positive finite number as a float, 0.0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return 0.0
    number = float(value)
    return number if 0.0 < number < np.inf else 0.0


def _view(env: Any) -> dict[str, float]:
    """Return the default free camera of gymnasium's MuJoCo environments.

    As ``Scene.view``; {} for a camera that follows a body.
    """
    config = getattr(getattr(env, "mujoco_renderer", None), "default_cam_config", None) or {}
    view = {name: float(config[name]) for name in ("distance", "azimuth", "elevation") if name in config}
    if "lookat" in config:
        view |= dict(zip("xyz", map(float, config["lookat"]), strict=True))
    return view if config.get("type", 0) == 0 and "trackbodyid" not in config else {}


class EpisodeQuality:
    """How well an episode was done: path, speed, jerk and force.

    Measured is the true state at every simulator step, not what the controller sees.
    """

    def __init__(self, spec: TaskSpec, seconds: float | None, simulation: tuple[Any, Any] | None) -> None:
        """Find what can be measured, no force without MuJoCo's model and data."""
        places = {part.name: slice(part.start, part.stop) for part in spec.observation}
        self._hand = places[spec.positions[0]] if spec.positions else None
        goal = next((name for name in spec.positions[1:] if "goal" in name or "target" in name), None)
        things = [name for name in spec.positions[1:] if name != goal]
        self._goal = None if goal is None else places[goal]
        self._things = [places[name] for name in things]
        self._first = self._last = np.zeros(spec.observation_size)
        self._seconds = seconds
        self.simulation = simulation
        self._path: list[Array] = []
        self._peak = 0.0

    def start(self, observation: Array) -> None:
        """Begin an episode with its first observation, (observation_size,)."""
        self._path, self._peak, self._first = [], 0.0, observation.copy()
        self._look(observation)

    def step(self, observation: Array) -> None:
        """Take the observation after a simulator step, (observation_size,)."""
        self._look(observation)
        if self.simulation is not None:
            self._peak = max(self._peak, contact_force(*self.simulation))

    def numbers(self) -> dict[str, float]:
        """Return the measures: meters, meters per second, per second cubed (rms), newtons."""
        numbers: dict[str, float] = {}
        if self.simulation is not None:
            numbers["quality_peak_force"] = self._peak
        distance = self._distance()
        if distance is not None:
            numbers["quality_final_distance"] = distance
        if self._hand is None or len(self._path) < 2:
            return numbers
        path = np.array(self._path)
        moved = np.diff(path, axis=0)
        lengths = np.linalg.norm(moved, axis=1)
        numbers["quality_path_length"] = float(lengths.sum())
        if self._seconds:
            numbers["quality_peak_speed"] = float(lengths.max()) / self._seconds
            if len(path) > 3:
                jerk = np.diff(path, n=3, axis=0) / self._seconds**3
                numbers["quality_jerk"] = float(np.sqrt((jerk**2).sum(axis=1).mean()))
        return numbers

    def __deepcopy__(self, memo: Any) -> EpisodeQuality:
        """Return a copy that measures the same simulation."""
        twin = copy.copy(self)
        twin._path = list(self._path)
        return twin

    def _look(self, observation: Array) -> None:
        if self._hand is not None:
            self._path.append(observation[self._hand].copy())
        self._last = observation.copy()  # an environment may use its array again

    def _distance(self) -> float | None:
        """Return the distance to the goal of the thing that moved farthest, meters.

        It is the hand's where no thing was moved, as in reaching; None where there is no goal.
        """
        if self._goal is None or self._hand is None:
            return None

        def moved(place: slice) -> float:
            return float(np.linalg.norm(self._last[place] - self._first[place]))

        thing = max(self._things, key=moved, default=self._hand)
        nearest = thing if moved(thing) > THING_MOVED else self._hand
        return float(np.linalg.norm(self._last[nearest] - self._last[self._goal]))


def contact_force(model: Any, data: Any) -> float:
    """Return the greatest normal force of all contacts now, newtons.

    Args:
        model: MuJoCo's.
        data: its state.
    """
    if not data.ncon:
        return 0.0
    contact = data.contact
    first, dimensions = contact.efc_address, contact.dim
    kept = first >= 0  # others are contacts that exert no force
    first, dimensions = first[kept], dimensions[kept]
    if not first.size:
        return 0.0
    if model.opt.cone == ELLIPTIC:
        return float(data.efc_force[first].max())
    # The normal force of a pyramid of friction is the sum along its edges, as in mju_decodePyramid.
    sums = np.concatenate(((0.0,), np.cumsum(data.efc_force)))
    edges = np.where(dimensions == 1, 1, 2 * (dimensions - 1))
    return float((sums[first + edges] - sums[first]).max())
