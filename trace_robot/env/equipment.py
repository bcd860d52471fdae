"""Options of every environment: a world, success that lasts, measures of quality.

``registry.make`` hands them to the environment, whose steps then pass through an ``EquippedEpisode``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import gymnasium
import numpy as np

from trace_robot.env.envelope import Envelope, EpisodeEnvelope
from trace_robot.env.guard import StateObserver
from trace_robot.env.initial_state import begin_elsewhere, check_reset_noise
from trace_robot.env.recording import EpisodeQuality, contact_force
from trace_robot.env.simulation import simulation, step_seconds
from trace_robot.env.world import World, WorldSet
from trace_robot.env.world_episode import DRAWN, EpisodeWorld, WorldPhysics, check_worlds
from trace_robot.errors import EnvironmentFault, ValueMismatchError
from trace_robot.spec import Array, TaskSpec

OPTIONS = ("world", "hold", "quality", "envelope")
# Attributes of an EquippedEpisode that change in an episode.
_CHANGING = (
    "_world",
    "_envelope",
    "_seen",
    "_quality",
    "drawn",
    "_flag",
    "_streak",
    "_longest",
    "_first",
    "_steps",
    "_seed",
)
Hold = float | Literal["end"] | None


@dataclass(frozen=True, slots=True)
class Equipment:
    """The options of an environment that are the same for all environments.

    Attributes:
        worlds: what differs from nominal, None for nothing.
        hold: seconds for which success must last; "end" for the last step of an episode; None for its first step.
        quality: whether to measure how well an episode was done.
        envelope: limits on what is sent in each simulator step, None for none.
        raw: the environment in control mode "raw", whose action the envelope limits; None where that is its spec.
    """

    worlds: WorldSet | None = None
    hold: Hold = None
    quality: bool = False
    envelope: Envelope | None = None
    raw: TaskSpec | None = field(default=None, compare=False)

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
        envelope = Envelope.from_data(own["envelope"]) if "envelope" in own else None
        equipment = cls(worlds, _hold(own.get("hold")), quality, envelope)
        return (None if equipment == cls() else equipment), rest

    def to_options(self) -> dict[str, Any]:
        """Return the options that ask for it, as plain data."""
        given = {
            "world": None if self.worlds is None else self.worlds.to_data(),
            "hold": self.hold,
            "quality": self.quality or None,
            "envelope": None if self.envelope is None else self.envelope.to_data(),
        }
        return {name: value for name, value in given.items() if value is not None}

    def episode(
        self,
        spec: TaskSpec,
        bounds: tuple[Array, Array],
        seconds: float | None,
        physics: tuple[Any, Any] | None,
        observer: StateObserver | None = None,
    ) -> EquippedEpisode:
        """Return what the steps of an environment pass through.

        Args:
            spec: of the environment.
            bounds: (n,) and (n,), the lowest and the highest values of its action.
            seconds: of a simulator step; None where it is not known.
            physics: MuJoCo's model and data, None without them.
            observer: of a changed state, None where there is none.

        Raises:
            ValueMismatchError: it cannot have this equipment; the message says why.
            UnknownNameError: a world names a field or a joint that the environment does not have.
        """
        return EquippedEpisode(self, spec, bounds, seconds, physics, observer)


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
        observer: StateObserver | None = None,
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
                        " its physics, nor where its episodes begin"
                    )
                check_reset_noise(worlds, spec.name, physics, observer)
                self._physics = WorldPhysics(*physics)
        self._hold = self._hold_steps(equipment.hold)
        self._quality = EpisodeQuality(spec, seconds, physics) if equipment.quality else None
        self._observer = observer
        self._simulation, self._seen = physics, np.zeros(spec.observation_size)
        self._envelope = None if equipment.envelope is None else self._limits(equipment.envelope)
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
        self._simulation = physics or self._simulation
        if self.equipment.worlds is not None:
            world = self.equipment.worlds.of(seed)
            if world.begins_elsewhere:  # before the physics changes, as the environment's own reset
                observation = self._elsewhere(world, seed, observation)
            if world.differs_seen or world.differs_done:
                self._world = EpisodeWorld(world, self._spec, seed, self._low, self._high, self._seconds)
                self.drawn.update(self._world.drawn)
            if self._physics is not None and world.physical:
                self.drawn.update(self._physics.start(world, seed, self._seconds or 1.0))
        if self._quality is not None:
            self._quality.start(observation)
        if self._envelope is not None:
            self._envelope.start(self._spec.named(observation))
        self._seen = observation if self._world is None else self._world.see(observation)
        return self._seen

    def act(self, action: Array) -> Array:
        """Return what is done of the environment's own action, before a simulator step."""
        if self._physics is not None:
            self._physics.step()
        if self._envelope is not None:
            action = self._enveloped(self._envelope, action)
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
        seen = self._seen = observation if self._world is None else self._world.see(observation)
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
        if self._envelope is not None:
            numbers.update(self._envelope.numbers())
        if self._quality is not None:
            numbers.update(self._quality.numbers())
            if self._first >= 0 and self._seconds:
                numbers["quality_success_seconds"] = self._first * self._seconds
        return numbers

    def _elsewhere(self, world: World, seed: int, observation: Array) -> Array:
        """Change the initial state and return its observation, (observation_size,)."""
        name, observer = self._spec.name, self._observer
        if observer is None or self._simulation is None:
            raise EnvironmentFault(f"{name} has lost its MuJoCo model in a reset; leave reset_noise out")
        observer.check(observation, name)
        self.drawn.update(begin_elsewhere(world, seed, name, self._simulation, observer))
        return observer.look(name)

    def _limits(self, envelope: Envelope) -> EpisodeEnvelope:
        """Return the envelope of this environment, or raise ValueMismatchError."""
        spec = self.equipment.raw or self._spec
        if envelope.force is not None and self._simulation is None:
            raise ValueMismatchError(
                f"{spec.name} shows no MuJoCo model, so no contact force; leave force out"
            )
        limits = envelope.limits(spec, self._low.tolist(), self._high.tolist(), self._seconds)
        return EpisodeEnvelope(envelope, limits, self._seconds, spec.name)

    def _enveloped(self, envelope: EpisodeEnvelope, action: Array) -> Array:
        """Return what the envelope leaves of an action, by what the controller saw."""
        if envelope.envelope.force is not None and self._simulation is not None:
            envelope.touched(contact_force(*self._simulation))
        seen = {name: np.ravel(numbers).tolist() for name, numbers in self._spec.named(self._seen).items()}
        new = self._world is None or self._world.new
        # In single precision, as simulators take actions, so that a deployed controller has the same numbers.
        asked = np.asarray(action, np.float32).astype(np.float64).tolist()
        return np.array(envelope.limit(asked, seen, new=new), action.dtype)

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
        observer = StateObserver.of(env, np.asarray)
        self._equipped = equipment.episode(spec, bounds, step_seconds(inner), simulation(inner), observer)

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
