"""Options of every environment: a world, success that lasts, measures of quality.

``registry.make`` hands them to the environment, whose steps then pass through an ``EquippedEpisode``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np

from trace_robot.env.simulation import simulation, step_seconds
from trace_robot.env.world import WorldSet
from trace_robot.env.world_episode import DRAWN, EpisodeWorld, WorldPhysics, check_worlds
from trace_robot.errors import ValueMismatchError
from trace_robot.spec import Array, TaskSpec

ELLIPTIC = 1  # mujoco.mjtCone.mjCONE_ELLIPTIC; only what simulates imports MuJoCo
MOVED = 0.01  # meters from which a thing counts as moved
OPTIONS = ("world", "hold", "quality")
# Attributes of an EquippedEpisode that change in an episode.
_CHANGING = ("_world", "_quality", "drawn", "_flag", "_streak", "_longest", "_first", "_steps", "_seed")
Hold = float | Literal["end"] | None


@dataclass(frozen=True, slots=True)
class Equipment:
    """The options of an environment that are the same for all environments.

    Attributes:
        worlds: what differs from nominal, None for nothing.
        hold: seconds for which success must last; "end" for the last step of an episode; None for its first step.
        quality: whether to measure how well an episode was done.
    """

    worlds: WorldSet | None = None
    hold: Hold = None
    quality: bool = False

    @classmethod
    def split(cls, options: Mapping[str, Any]) -> tuple[Equipment | None, dict[str, Any]]:
        """Return the equipment that options ask for, None for none, and the other options.

        Raises:
            ValueMismatchError: an option has a value that cannot be right.
            UnknownNameError: an attribute that worlds do not have.
        """
        own = {name: options[name] for name in OPTIONS if options.get(name) is not None}
        rest = {name: value for name, value in options.items() if name not in OPTIONS}
        if not own:
            return None, rest
        worlds = WorldSet.from_data(own["world"]) if "world" in own else None
        if worlds is not None and all(world.nominal for world in worlds.worlds):
            worlds = None  # bit for bit as without
        if not isinstance(quality := own.get("quality", False), bool):
            raise ValueMismatchError(f"quality must be True or False, got {quality!r}")
        equipment = cls(worlds, _hold(own.get("hold")), quality)
        return (None if equipment == cls() else equipment), rest

    def to_options(self) -> dict[str, Any]:
        """Return the options that ask for it, as plain data."""
        given = {
            "world": None if self.worlds is None else self.worlds.to_data(),
            "hold": self.hold,
            "quality": self.quality or None,
        }
        return {name: value for name, value in given.items() if value is not None}

    def episode(
        self,
        spec: TaskSpec,
        bounds: tuple[Array, Array],
        seconds: float | None,
        physics: tuple[Any, Any] | None,
    ) -> EquippedEpisode:
        """Return what the steps of an environment pass through.

        Args:
            spec: of the environment.
            bounds: (n,) and (n,), the lowest and the highest values of its action.
            seconds: of a simulator step; None where it is not known.
            physics: MuJoCo's model and data, None without them.

        Raises:
            ValueMismatchError: it cannot have this equipment; the message says why.
            UnknownNameError: a world names a field that the environment does not have.
        """
        return EquippedEpisode(self, spec, bounds, seconds, physics)


def _hold(value: Any) -> Hold:
    if value is None or value == "end":
        return value  # type: ignore[no-any-return]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueMismatchError(f"hold must be seconds, 0 or more, or 'end', got {value!r}")
    return float(value) or None


class EquippedEpisode:
    """One environment's equipment, through which its steps pass.

    seen: the observation that the controller has. drawn: what the world drew for this episode.
    """

    def __init__(
        self,
        equipment: Equipment,
        spec: TaskSpec,
        bounds: tuple[Array, Array],
        seconds: float | None,
        physics: tuple[Any, Any] | None,
    ) -> None:
        """Check that the environment can have this equipment, see ``Equipment.episode``."""
        self.equipment, self._spec = equipment, spec
        (self._low, self._high), self._seconds = bounds, seconds
        self._physics: WorldPhysics | None = None
        worlds = equipment.worlds
        if worlds is not None:
            check_worlds(worlds, spec, seconds)
            if worlds.physical:
                if physics is None:
                    raise ValueMismatchError(
                        f"{spec.name} shows no MuJoCo model, so a world can change what is seen and done in it, but not"
                        " its physics"
                    )
                self._physics = WorldPhysics(*physics)
        self._hold = self._hold_steps(equipment.hold)
        self._quality = EpisodeQuality(spec, seconds, physics) if equipment.quality else None
        self._world: EpisodeWorld | None = None
        self.drawn: dict[str, float] = {}
        self._flag, self._streak, self._longest, self._first, self._steps = False, 0, 0, -1, 0
        self._seed = -1

    def before_reset(self) -> None:
        """Take back what the last episode changed, before the environment's own reset."""
        if self._physics is not None:
            self._physics.restore()

    def start(self, seed: int, observation: Array, physics: tuple[Any, Any] | None = None) -> Array:
        """Begin an episode, after the environment's own reset.

        Args:
            seed: of the condition.
            observation: (observation_size,), the true one.
            physics: MuJoCo's model and data, where the reset may have made new ones.

        Returns:
            What is seen of it.
        """
        self._flag, self._streak, self._longest, self._first, self._steps = False, 0, 0, -1, 0
        self._world, self.drawn, self._seed = None, {}, seed
        if physics is not None:
            if self._physics is not None and not self._physics.is_of(physics):
                self._physics = WorldPhysics(*physics)
            if self._quality is not None:
                self._quality.simulation = physics
        if self.equipment.worlds is not None:
            world = self.equipment.worlds.of(seed)
            if world.differs_seen or world.differs_done:
                self._world = EpisodeWorld(world, self._spec, seed, self._low, self._high, self._seconds)
                self.drawn.update(self._world.drawn)
            if self._physics is not None and world.physical:
                self.drawn.update(self._physics.start(world, seed, self._seconds or 1.0))
        if self._quality is not None:
            self._quality.start(observation)
        return observation if self._world is None else self._world.see(observation)

    def act(self, action: Array) -> Array:
        """Return what is done of the environment's own action, before a simulator step."""
        if self._physics is not None:
            self._physics.step()
        return action if self._world is None else self._world.act(action)

    def after(self, observation: Array, success: bool) -> tuple[Array, bool]:
        """Return what is seen after a simulator step, and whether that is success.

        Args:
            observation: (observation_size,), the true one.
            success: whether the task is done in this step.
        """
        self._steps += 1
        if self._quality is not None:
            self._quality.step(observation)
        self._flag = success
        self._streak = self._streak + 1 if success else 0
        if success and self._first < 0:
            self._first = self._steps
        self._longest = max(self._longest, self._streak)
        seen = observation if self._world is None else self._world.see(observation)
        return seen, self._hold is not None and self._streak >= self._hold

    def at_end(self, terminated: bool) -> bool:
        """Return whether an episode that is over has succeeded.

        Args:
            terminated: the environment ended it by itself. One that does so at success cannot show that it lasts.
        """
        return self._flag and (terminated or self._hold is None)

    def saved(self) -> dict[str, Any]:
        """Return a copy of everything that the rest of the episode depends on."""
        state = {name: getattr(self, name) for name in _CHANGING}
        return copy.deepcopy({**state, "pushes": None if self._physics is None else self._physics.pushes})

    def return_to(self, saved: Mapping[str, Any]) -> None:
        """Continue from what ``saved`` returned.

        To be called after ``before_reset`` and after the environment's own state was restored.
        """
        state = copy.deepcopy(dict(saved))
        pushes = state.pop("pushes")
        for name, value in state.items():
            setattr(self, name, value)
        worlds = self.equipment.worlds
        if self._physics is not None and worlds is not None and (world := worlds.of(self._seed)).physical:
            self._physics.start(world, self._seed, self._seconds or 1.0)
            self._physics.pushes = pushes

    def success_numbers(self) -> dict[str, float]:
        """Return when success came and how long it lasted, empty without hold."""
        if self.equipment.hold is None:
            return {}
        return {"first_success_step": float(self._first), "longest_success_steps": float(self._longest)}

    def numbers(self) -> dict[str, float]:
        """Return what was found of an episode that is over, for the info of its last step."""
        numbers = {f"{DRAWN}{name}": value for name, value in self.drawn.items()}
        numbers.update(self.success_numbers())
        if self._quality is not None:
            numbers.update(self._quality.numbers())
            if self._first >= 0 and self._seconds:
                numbers["quality_success_seconds"] = self._first * self._seconds
        return numbers

    def _hold_steps(self, hold: Hold) -> int | None:
        """Return the steps for which success must last, None for the end of the episode."""
        if hold == "end":
            return None
        if hold is None:
            return 1
        if self._spec.return_threshold is not None:
            raise ValueMismatchError(f"{self._spec.name} sums rewards, which cannot be held; leave hold out")
        if self._seconds is None:
            raise ValueMismatchError(
                f"{self._spec.name} does not say how long a step is; give it dt, or metadata['render_fps']"
            )
        return max(1, int(np.rint(hold / self._seconds)))  # 0.25 s of 80 steps a second are 20


def equip(env: Any, spec: TaskSpec, equipment: Equipment) -> Any:
    """Return an environment with equipment.

    Args:
        env: of a plug-in. One with a method ``equip`` passes simulator steps through it; others are wrapped.
        spec: of the environment.
        equipment: what it is given. Raises what ``Equipment.episode`` does.
    """
    if callable(getattr(env.unwrapped, "equip", None)):
        env.unwrapped.equip(equipment)
        return env
    return EquippedEnv(env, spec, equipment)


class EquippedEnv(gymnasium.Wrapper[Array, Array, Array, Array]):
    """An environment of a plug-in's own class, with equipment around its steps."""

    def __init__(self, env: Any, spec: TaskSpec, equipment: Equipment) -> None:
        """Wrap an environment whose observations are flat vectors, as of ``equip``."""
        super().__init__(env)
        inner, bounds = env.unwrapped, (np.array(spec.low), np.array(spec.high))
        self._equipped = equipment.episode(spec, bounds, step_seconds(inner), simulation(inner))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode, and return what is seen and the info.

        Args:
            seed: of the condition.
            options: handed to the environment.
        """
        self._equipped.before_reset()
        observation, info = self.env.reset(seed=seed, options=options)
        inner = self.env.unwrapped
        seed = int(inner.np_random.integers(2**31)) if seed is None else seed
        return self._equipped.start(seed, np.asarray(observation, float), simulation(inner)), info

    def step(self, action: Array) -> tuple[Array, Any, bool, bool, dict[str, Any]]:
        """Apply an action, (act_dim,), and return gymnasium's five values."""
        result = self.env.step(self._equipped.act(np.asarray(action, np.float32)))
        observation, reward, terminated, truncated, info = result
        success = bool(info.get("success"))
        # What ends an episode at its first success is not to end it here, where success must last.
        ended = bool(terminated) and not (success and "success" in info)
        seen, held = self._equipped.after(np.asarray(observation, np.float64), success)
        if truncated or ended:
            held = held or self._equipped.at_end(terminated=ended)
        over, given = ended or held, self._equipped
        numbers = given.numbers() if over or truncated else given.success_numbers()
        return seen, reward, over, truncated, {**info, "success": held, **numbers}


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
            self._peak = max(self._peak, self._contact_force())

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
        nearest = thing if moved(thing) > MOVED else self._hand
        return float(np.linalg.norm(self._last[nearest] - self._last[self._goal]))

    def _contact_force(self) -> float:
        """Return the greatest normal force of all contacts now, newtons."""
        model, data = self.simulation  # type: ignore[misc]
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
