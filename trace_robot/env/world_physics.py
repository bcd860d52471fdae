"""The physics of a world: a MuJoCo model changed for one episode, and pushes on its bodies.

Everything is written into the environment's own model after its reset and taken back before the next one, so that a
model is never changed twice, and an environment that caches its resets stays exact.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from trace_robot.env.world import World, between, stream
from trace_robot.errors import EnvironmentFault, unknown
from trace_robot.spec import Array

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
                self._change(array, _array(self.model, array) * factor)
        if "mass" in drawn or "armature" in drawn:
            self._derive()
        low, high = world.gravity_tilt
        if high > 0:
            angle = drawn["gravity_tilt"] = low + float(draws[-2]) * (high - low)
            self._change(
                "opt.gravity", _tilted(self.model.opt.gravity, angle, 2 * math.pi * float(draws[-1]))
            )
        for name in (*drawn, *(f"{name} (derived)" for name in DERIVED)):
            array = name.removesuffix(" (derived)")
            if array in self._nominal and not np.isfinite(_array(self.model, array)).all():
                raise EnvironmentFault(f"world {world.name!r} makes the model invalid: {array} is not finite")
        if world.push_period[1] > 0 and world.push_force[1] > 0:
            self.pushes = _Pushes(self.model, world, seed, seconds)
        return drawn

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
    """Forces on bodies at regular times, each on a body and in a direction that are drawn."""

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
    value: Any = model
    for part in name.split("."):
        value = getattr(value, part)
    array: Array = value
    return array


def _body(model: Any, name: str) -> int:
    names = [model.body(index).name for index in range(1, model.nbody)]
    if name not in names:
        raise unknown("body of the model", name, [each for each in names if each])
    return 1 + names.index(name)


def _tilted(gravity: Array, degrees: float, heading: float) -> Array:
    """Return gravity turned by an angle about a horizontal axis (Rodrigues' rotation formula).

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
