"""A world in one episode: what is seen, what is done, and MuJoCo's physics.

The physics is written into the environment's own model after its reset and taken back before the next one, so that a
model is never changed twice, and an environment that caches its resets stays exact.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from trace_robot.env.world import between, stream
from trace_robot.errors import EnvironmentFault, ValueMismatchError, unknown
from trace_robot.spec import Array, TaskSpec

if TYPE_CHECKING:
    from trace_robot.env.world import Range, World, WorldSet

SHOWN = 8  # gains of an action that feedback names
KINDS = {"actuator_gainprm": "actuator_gaintype", "actuator_biasprm": "actuator_biastype"}
MUSCLE, MUSCLE_CURVE = 2, (0, 1, 4, 5, 6, 7, 8, 9)  # mjGAIN_MUSCLE and mjBIAS_MUSCLE of MuJoCo
BLOCK = 64  # steps for which noise is drawn at once: a call of the generator costs as much as 60 numbers
DRAWN = "world_"  # of the entries of an episode's infos that hold what was drawn
ERROR_OF = "error_of_"  # then the name of the field
GAIN_OF = "action_gain_"  # then the place in the action
POSITIONS, ALL = "positions", "all"  # names of groups of fields
# What is scaled, by the setting that scales it.
SCALED = {
    "mass": ("body_mass", "body_inertia"),
    "friction": ("geom_friction", "pair_friction"),
    "damping": ("dof_damping", "tendon_damping"),
    "armature": ("dof_armature",),
    "actuator_gain": ("actuator_gainprm", "actuator_biasprm"),
}
# What MuJoCo's compiler derives from masses. ``mj_setConst`` computes more, for the model's reference pose, and a reset
# may have moved bodies on purpose: so it runs on a copy, and these arrays alone are taken from there.
DERIVED = (
    "body_subtreemass",
    "body_invweight0",
    "dof_invweight0",
    "dof_M0",
    "tendon_invweight0",
    "actuator_acc0",
)


def check_worlds(worlds: WorldSet, spec: TaskSpec, seconds: float | None) -> None:
    """Check that an environment can have these worlds.

    Args:
        worlds: to be checked.
        spec: of the environment.
        seconds: of a simulator step; None where it is not known.

    Raises:
        UnknownNameError: a field that the environment does not have.
        ValueMismatchError: seconds where the environment's rate is not known.
    """
    for world in worlds.worlds:
        for each in (world.observation_error, world.observation_noise):
            for name in each:
                numbers_of(spec, name)
        if seconds is None:
            for name in ("observation_delay", "observation_period", "action_delay", "push_period"):
                if getattr(world, name)[1] > 0:
                    raise ValueMismatchError(
                        f"{name} of world {world.name!r} is in seconds, and {spec.name} does not say how long a"
                        " step is; give it an attribute dt, or metadata['render_fps']"
                    )


def numbers_of(spec: TaskSpec, name: str) -> list[int]:
    """Return the indices of the numbers of a field or a group of fields.

    Args:
        spec: of the environment.
        name: of a field; "positions" for all named points, "all" for all fields.

    Raises:
        UnknownNameError: there is no such field.
        ValueMismatchError: "positions" of an environment that names none.
    """
    fields_by_name = {part.name: part for part in spec.observation}
    if name in fields_by_name:
        names: Sequence[str] = (name,)
    elif name == POSITIONS:
        if not spec.positions:
            raise ValueMismatchError(
                f"{spec.name} names no positions, so a world cannot change them; name a field, one of"
                f" {', '.join(fields_by_name)}, in a file of worlds or a battery (docs/robust.md)"
            )
        names = spec.positions
    elif name == ALL:
        names = tuple(fields_by_name)
    else:
        raise unknown(f"field of {spec.name}", name, [*fields_by_name, POSITIONS, ALL])
    return [index for each in names for index in range(fields_by_name[each].start, fields_by_name[each].stop)]


class EpisodeWorld:
    """What one episode sees and does in a world.

    Both methods are called once a simulator step. drawn: by name. new: whether the last observation was.
    """

    def __init__(
        self, world: World, spec: TaskSpec, seed: int, low: Array, high: Array, seconds: float | None
    ) -> None:
        """Draw what stays for the episode.

        Args:
            world: the ranges.
            spec: of the environment.
            seed: of the condition.
            low: (n,) lower bounds of the environment's own action.
            high: (n,) upper bounds.
            seconds: of a simulator step; None where no delay is asked for.
        """
        constants = stream(seed, "constants")
        draws = constants.random(16)  # more than there are ranges, so that a new one changes no other
        step = seconds or 1.0
        self.world = world
        self.drawn: dict[str, float] = {}
        size = spec.observation_size

        def draw(number: int, name: str, bounds: Range) -> float:
            value = bounds[0] + float(draws[number]) * (bounds[1] - bounds[0])
            if value > 0:
                self.drawn[name] = value
            return value

        self._late = round(draw(0, "observation_delay", world.observation_delay) / step)
        self._loss = draw(1, "observation_loss", world.observation_loss)
        self._period = max(1, round(draw(2, "observation_period", world.observation_period) / step))
        self._action_late = round(draw(3, "action_delay", world.action_delay) / step)
        self._action_loss = draw(4, "action_loss", world.action_loss)
        self._low, self._high = low, high
        share = draw(5, "action_noise", world.action_noise)
        half = np.where(np.isfinite(high - low), (high - low) / 2, 1.0)
        self._action_noise = share * half if share > 0 else None
        self._error = _sizes(world.observation_error, spec, draws[6]) * stream(seed, "error").standard_normal(
            size
        )
        noise = _sizes(world.observation_noise, spec, draws[7])
        self._noisy = np.flatnonzero(noise)
        self._noise = noise[self._noisy]
        self._gain: Array | None = None
        if world.action_gain != (1.0, 1.0):
            self._gain = between(world.action_gain, constants.random(max(64, low.size))[: low.size])
            self.drawn.update({f"{GAIN_OF}{k}": float(gain) for k, gain in enumerate(self._gain[:SHOWN])})
        self._has_error = bool(self._error.any())
        for part in spec.observation:
            off = float(np.linalg.norm(self._error[part.start : part.stop]))
            if off > 0:
                self.drawn[f"{ERROR_OF}{part.name}"] = off
        self._streams = {
            name: stream(seed, name) for name in ("noise", "loss", "action_noise", "action_loss")
        }
        self._blocks: dict[str, Any] = {}
        self._place = dict.fromkeys(self._streams, BLOCK)
        self._seen: deque[Array] = deque(maxlen=self._late + 1)
        zero = np.minimum(np.maximum(np.zeros(low.size), low), high)
        self._done: deque[Array] = deque([zero] * self._action_late)
        self._last_action = zero
        self._last: Array | None = None
        self._count, self.new = 0, True

    def see(self, observation: Array) -> Array:
        """Return what is seen of a flat observation, (observation_size,), as a new array.

        To be called once for the observation of the reset, and then once a simulator step.
        """
        self._seen.append(observation.copy())  # an environment may use its array again
        due = self._count % self._period == 0
        self._count += 1
        missing = self._loss > 0 and self._next("loss", 1)[0] < self._loss
        noise = self._next("noise", self._noisy.size) if self._noisy.size else None
        self.new = self._last is None or (due and not missing)
        if not self.new and self._last is not None:
            return self._last.copy()
        seen = self._seen[0].copy()
        if self._has_error:
            seen += self._error
        if noise is not None:
            seen[self._noisy] += noise * self._noise
        self._last = seen
        return seen.copy()

    def act(self, action: Array) -> Array:
        """Return what is done of the environment's own action, (n,), within its bounds."""
        wanted = action
        if self._action_loss > 0 and self._next("action_loss", 1)[0] < self._action_loss:
            wanted = self._last_action
        self._last_action = wanted
        done = np.array(wanted, dtype=np.float64)
        if self._gain is not None:
            done *= self._gain
        if self._action_noise is not None:
            done += self._next("action_noise", done.size) * self._action_noise
        done = np.minimum(np.maximum(done, self._low), self._high)
        if self._action_late:
            self._done.append(done)
            done = self._done.popleft()
        return done.astype(action.dtype)

    def _next(self, name: str, size: int) -> Array:
        """Return a stream's next numbers, normal for noise and uniform for losses."""
        place = self._place[name]
        if place == BLOCK:
            source = self._streams[name]
            draw = source.random if name.endswith("loss") else source.standard_normal
            self._blocks[name], place = draw((BLOCK, size)), 0
        self._place[name] = place + 1
        row: Array = self._blocks[name][place]
        return row


def _sizes(by_field: Mapping[str, Range], spec: TaskSpec, share: float) -> Array:
    """Return the standard deviation of each number, (observation_size,)."""
    sizes = np.zeros(spec.observation_size)
    for name, (low, high) in by_field.items():
        sizes[numbers_of(spec, name)] = low + share * (high - low)
    return sizes


class WorldPhysics:
    """A MuJoCo model and its data, in a world for the length of an episode.

    pushes: of this episode, None for none.
    """

    def __init__(self, model: Any, data: Any) -> None:
        """Take over a simulation.

        Args:
            model: ``mujoco.MjModel``, in its nominal state.
            data: ``mujoco.MjData`` of it.
        """
        self.model, self.data = model, data
        self._nominal: dict[str, Array] = {}
        self._scratch: tuple[Any, Any] | None = None
        self.pushes: _Pushes | None = None

    def restore(self) -> None:
        """Make the model nominal again, bit for bit, and end every push."""
        for name, array in self._nominal.items():
            _array(self.model, name)[...] = array
        self._nominal.clear()
        if self.pushes is not None:
            self.data.xfrc_applied[:] = 0.0
            self.pushes = None

    def start(self, world: World, seed: int, seconds: float) -> dict[str, float]:
        """Change the model for an episode, after the environment's reset.

        Args:
            world: the ranges.
            seed: of the condition.
            seconds: of a simulator step.

        Returns:
            What was drawn, by the name of the setting.

        Raises:
            EnvironmentFault: the model is not valid in this world.
            UnknownNameError: a body to be pushed that the model does not have.
        """
        draws = stream(seed, "physics").random(len(SCALED) + 2)
        drawn: dict[str, float] = {}
        for share, (name, arrays) in zip(draws, SCALED.items(), strict=False):
            bounds = getattr(world, name)
            if bounds == (1.0, 1.0):
                continue
            factor = drawn[name] = float(between(bounds, float(share)))
            for array in arrays:
                with np.errstate(over="ignore"):  # looked at below
                    scaled = _array(self.model, array) * factor
                if (
                    name == "actuator_gain"
                ):  # of a muscle, numbers 2 and 3 are forces, the others shape its curve
                    curves = np.ix_(_array(self.model, KINDS[array]) == MUSCLE, MUSCLE_CURVE)
                    scaled[curves] = _array(self.model, array)[curves]
                self._change(array, scaled)
        if "mass" in drawn or "armature" in drawn:
            self._derive()
        low, high = world.gravity_tilt
        if high > 0:
            angle = drawn["gravity_tilt"] = low + float(draws[-2]) * (high - low)
            self._change(
                "opt.gravity", _tilted(self.model.opt.gravity, angle, 2 * math.pi * float(draws[-1]))
            )
        for array in self._nominal:
            if not np.isfinite(_array(self.model, array)).all():
                raise EnvironmentFault(f"world {world.name!r} makes the model invalid: {array} is not finite")
        if world.push_period[1] > 0 and world.push_force[1] > 0:
            self.pushes = _Pushes(self.model, world, seed, seconds)
            drawn["push_force"] = world.push_force[1]
        return drawn

    def is_of(self, simulation: tuple[Any, Any]) -> bool:
        """Return whether it is of this very model and data."""
        return simulation[0] is self.model and simulation[1] is self.data

    def step(self) -> None:
        """Push or cease to push, before a simulator step."""
        if self.pushes is not None:
            self.pushes.apply(self.data)

    def _change(self, name: str, values: Array) -> None:
        array = _array(self.model, name)
        self._nominal.setdefault(name, array.copy())
        array[...] = values

    def _derive(self) -> None:
        import mujoco

        if self._scratch is None:
            model = copy.copy(self.model)
            self._scratch = model, mujoco.MjData(model)
        model, data = self._scratch
        for name in ("body_mass", "body_inertia", "dof_armature"):
            getattr(model, name)[...] = getattr(self.model, name)
        mujoco.mj_setConst(model, data)
        for name in DERIVED:
            self._change(name, getattr(model, name))


class _Pushes:
    """Forces on bodies at regular times, body and direction drawn."""

    def __init__(self, model: Any, world: World, seed: int, seconds: float) -> None:
        random = self._random = stream(seed, "push")
        shares = random.random(2)
        period, lasts = (
            low + float(share) * (high - low)
            for share, (low, high) in zip(shares, (world.push_period, world.push_seconds), strict=True)
        )
        self._period = max(1, round(period / seconds))
        self._steps = min(self._period, max(1, round(lasts / seconds)))
        self._force = world.push_force
        self._bodies = [_body(model, name) for name in world.push_bodies] or [
            body for body in range(1, model.nbody) if model.body_weldid[body] != 0
        ]
        self._count = 0
        self._body = 0

    def apply(self, data: Any) -> None:
        # The first push comes after one period: an episode begins undisturbed.
        since = self._count % self._period
        if self._count >= self._period and self._bodies:
            if since == 0:
                self._begin(data)
            elif since == self._steps:
                data.xfrc_applied[self._body] = 0.0
        self._count += 1

    def _begin(self, data: Any) -> None:
        data.xfrc_applied[self._body] = 0.0
        low, high = self._force
        newtons = low + float(self._random.random()) * (high - low)
        direction = self._random.standard_normal(3)
        self._body = self._bodies[int(self._random.integers(len(self._bodies)))]
        data.xfrc_applied[self._body, :3] = newtons * direction / np.linalg.norm(direction)


def _array(model: Any, name: str) -> Array:
    """Return an array of a model, such as "body_mass" or "opt.gravity", as a view."""
    array: Array = attrgetter(name)(model)
    return array


def _body(model: Any, name: str) -> int:
    names = [model.body(index).name for index in range(1, model.nbody)]
    if name not in names:
        raise unknown("body of the model", name, [each for each in names if each])
    return 1 + names.index(name)


def _tilted(gravity: Array, degrees: float, heading: float) -> Array:
    """Return gravity turned about a horizontal axis (Rodrigues' rotation formula).

    Args:
        gravity: (3,) meters per second squared.
        degrees: by which it is turned.
        heading: direction of the axis in the plane, radians.
    """
    axis = np.array((math.cos(heading), math.sin(heading), 0.0))
    angle = math.radians(degrees)
    turned: Array = (
        gravity * math.cos(angle)
        + np.cross(axis, gravity) * math.sin(angle)
        + axis * float(axis @ gravity) * (1 - math.cos(angle))
    )
    return turned
