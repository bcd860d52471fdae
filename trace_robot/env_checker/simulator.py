"""Quantities of a MuJoCo simulation by name, and a sample of them beside what was observed.

They are what an observation may be made of; ``Identified`` says what a run of it was found to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from trace_robot.env.simulation import simulation, step_seconds
from trace_robot.spec import Array

MOST_BODIES = 128  # of which velocities are computed: a Jacobian for each takes about 5 µs
SENSOR_UNITS = {
    "ACCELEROMETER": "m/s²",
    "VELOCIMETER": "m/s",
    "GYRO": "rad/s",
    "TOUCH": "N",
    "FORCE": "N",
    "TORQUE": "N m",
    "FRAMEPOS": "m",
    "FRAMELINVEL": "m/s",
    "FRAMEANGVEL": "rad/s",
    "RANGEFINDER": "m",
}


class SimulatedQuantity(NamedTuple):
    """One number that a simulator holds.

    Attributes:
        array: what it is a number of; a run of an observation stays within one array.
        role: such as "position", "angle", "velocity".
        owner: the name of a body, site, joint, actuator or sensor.
        kind: what the owner is.
        unit: such as "m".
        axis: the coordinate of a vector, "" otherwise.
        note: what was done to it, such as clipping.
        inner: of a joint: whether it is driven, or no joint between a model's root and the world.
    """

    array: str
    role: str
    owner: str
    kind: str
    unit: str
    axis: str = ""
    note: str = ""
    inner: bool = True

    @property
    def group(self) -> tuple[str, ...]:
        """What the numbers of one part have in common.

        It is the owner of a vector, and the kind and unit of scalars."""
        return (self.role, self.kind, self.unit, str(self.inner), self.owner if self.axis else "")


class Simulator:
    """MuJoCo's model and data, read as one row of named numbers.

    Derived quantities are read as they are, without ``mj_forward``: after a step positions of bodies are those of the
    last substep's beginning, and an environment that shows them shows the same.
    """

    def __init__(self, model: Any, data: Any, steps: float | None) -> None:
        """Name what the model has.

        Args:
            model: ``mujoco.MjModel``.
            data: ``mujoco.MjData``.
            steps: seconds of an environment's step, None where unknown.
        """
        self.model, self.data, self.seconds = model, data, steps
        self._few = model.nbody + model.nsite <= MOST_BODIES
        self._hinges = np.flatnonzero(model.jnt_type == 3)
        self.quantities: tuple[SimulatedQuantity, ...] = tuple(self._named())

    @classmethod
    def of(cls, env: Any) -> Simulator | None:
        """Return the simulator of an environment, None where it shows no MuJoCo model.

        Meta-World's have a ``simulation``, dm_control's a ``physics`` whose model and data wrap MuJoCo's in ``ptr``.
        """
        inner = getattr(env.unwrapped, "inner", env).unwrapped
        for layer in (env.unwrapped, inner, *(getattr(inner, name, None) for name in ("simulation", "_env"))):
            found = simulation(layer)
            physics = getattr(layer, "physics", None)
            if found is None and physics is not None:
                model, data = (
                    getattr(getattr(physics, name, None), "ptr", None) for name in ("model", "data")
                )
                found = (model, data) if type(model).__name__ == "MjModel" else None
            if found is not None:
                return cls(*found, step_seconds(inner))
        return None

    def body_of(self, kind: str, owner: str) -> int | None:
        """Return the number of the body that a named body, site or geom is fixed to.

        Args:
            kind: "body", "site" or "geom".
            owner: its name as in ``quantities``.
        """
        count = {"body": self.model.nbody, "site": self.model.nsite, "geom": self.model.ngeom}.get(kind, 0)
        number = next((i for i in range(count) if self.name(kind, i) == owner), None)
        if number is None or kind == "body":
            return number
        return int(getattr(self.model, f"{kind}_bodyid")[number])

    def name(self, kind: str, number: int) -> str:
        """Return the name of a part of the model.

        Args:
            kind: "body", "joint", "actuator", ...
            number: its index.

        Returns:
            The name in the model, or kind and number where it has none.
        """
        return getattr(self.model, kind)(number).name or f"{kind}_{number}"

    def _named(self) -> Iterator[SimulatedQuantity]:
        model = self.model
        frames = [("site", self.name("site", i)) for i in range(model.nsite)]
        frames += [("body", self.name("body", i)) for i in range(model.nbody)]
        for kind, owner in frames:
            yield from (
                SimulatedQuantity(f"{kind} positions", "position", owner, kind, "m", axis) for axis in "xyz"
            )
        driven = {int(model.actuator_trnid[k, 0]) for k in range(model.nu) if model.actuator_trntype[k] == 0}
        for array, position in (("qpos", True), ("qvel", False)):
            for joint in range(model.njnt):
                yield from self._joint(array, joint, position, joint in driven)
        if self.seconds:
            for joint in range(model.njnt):
                for each in self._joint("qvel", joint, False, joint in driven):
                    yield each._replace(
                        array="qvel a step",
                        role=f"{each.role} a step",
                        unit=each.unit.replace("/s", " a step"),
                    )
        for role in ("cosine", "sine"):
            for joint in self._hinges.tolist():
                yield SimulatedQuantity(role, role, self.name("joint", joint), "joint", "")
        for role, unit, axes in (("quaternion", "", "wxyz"), ("Euler angles", "rad", "xyz")):
            for kind, owner in frames[model.nsite :]:
                yield from (SimulatedQuantity(role, role, owner, kind, unit, axis) for axis in axes)
        units = (("velocity", "m/s"), ("angular velocity", "rad/s"))
        steps = (("velocity a step", "m a step"), ("angular velocity a step", "rad a step"))
        for role, unit in (*units, *(steps if self.seconds else ())) if self._few else ():
            for kind, owner in frames:
                yield from (SimulatedQuantity(role, role, owner, kind, unit, axis) for axis in "xyz")
        for geom in range(model.ngeom):
            owner = self.name("geom", geom)
            yield from (
                SimulatedQuantity("geom positions", "position", owner, "geom", "m", axis) for axis in "xyz"
            )
        yield from self._sensors()
        for role, plural in (("actuator force", "actuator_force"), ("control", "ctrl")):
            for k in range(model.nu):
                yield SimulatedQuantity(plural, role, self.name("actuator", k), "actuator", "")
        for role in ("constraint force", "actuation force"):
            for joint in range(model.njnt):
                for each in self._joint("qvel", joint, False, False):
                    yield SimulatedQuantity(
                        role, role, each.owner, "joint", "N" if "m" in each.unit else "N m"
                    )
        for role, size in (("contact force", 6), ("center-of-mass velocity", 6), ("inertia", 10)):
            note = "a body: 3 torques (N m), 3 forces (N)" if "force" in role else ""
            for kind, owner in frames[model.nsite :]:
                yield from (SimulatedQuantity(role, role, owner, kind, "", note=note) for _ in range(size))
        yield SimulatedQuantity("time", "time", "simulation", "clock", "s")

    def _joint(self, array: str, joint: int, position: bool, driven: bool) -> Iterator[SimulatedQuantity]:
        """Yield the numbers of a joint, of a free one those of its body."""
        kind, owner = int(self.model.jnt_type[joint]), self.name("joint", joint)
        body = self.name("body", int(self.model.jnt_bodyid[joint]))
        if kind == 0:
            role, unit = ("position", "m") if position else ("velocity", "m/s")
            yield from (SimulatedQuantity(array, role, body, "body", unit, axis) for axis in "xyz")
        if kind < 2:
            role, unit, axes = (
                ("quaternion", "", "wxyz") if position else ("angular velocity", "rad/s", "xyz")
            )
            note = "w first" if position else "in its own frame"
            yield from (SimulatedQuantity(array, role, body, "body", unit, axis, note) for axis in axes)
            return
        slides = kind == 2
        role = ("joint position" if slides else "angle") if position else "joint velocity"
        unit = ("m" if slides else "rad") if position else "m/s" if slides else "rad/s"
        inner = driven or int(self.model.body_parentid[self.model.jnt_bodyid[joint]]) != 0
        yield SimulatedQuantity(array, role, owner, "joint", unit, inner=inner)

    def _sensors(self) -> Iterator[SimulatedQuantity]:
        import mujoco

        for sensor in range(self.model.nsensor):
            label = mujoco.mjtSensor(int(self.model.sensor_type[sensor])).name.removeprefix("mjSENS_")
            for _ in range(int(self.model.sensor_dim[sensor])):
                owner = self.name("sensor", sensor)
                yield SimulatedQuantity("sensordata", "sensor", owner, "sensor", SENSOR_UNITS.get(label, ""))

    def read(self) -> Array:
        """Return the numbers of ``quantities`` as they are now, (k,)."""
        model, data = self.model, self.data
        rows = [data.site_xpos, data.xpos, data.qpos, data.qvel]
        if self.seconds:
            rows.append(data.qvel * self.seconds)
        angles = data.qpos[model.jnt_qposadr[self._hinges]]
        rows += [np.cos(angles), np.sin(angles), data.xquat, _euler(data.xmat.reshape(-1, 3, 3))]
        if self._few:
            rows += self._velocities()
        rows += [data.geom_xpos, data.sensordata, data.actuator_force, data.ctrl, data.qfrc_constraint]
        rows += [data.qfrc_actuator, data.cfrc_ext, data.cvel, data.cinert, np.array([data.time])]
        return np.concatenate([np.asarray(row, float).reshape(-1) for row in rows])

    def _velocities(self) -> list[Array]:
        """Return velocities of sites and bodies in the world frame, by Jacobians."""
        import mujoco

        model, data = self.model, self.data
        both = np.zeros((2, 3, model.nv))
        velocities = np.zeros((2, model.nsite + model.nbody, 3))
        for i in range(model.nsite + model.nbody):
            if i < model.nsite:
                mujoco.mj_jacSite(model, data, both[0], both[1], i)
            else:
                mujoco.mj_jacBody(model, data, both[0], both[1], i - model.nsite)
            velocities[:, i] = both @ data.qvel
        return [velocities, velocities * self.seconds] if self.seconds else [velocities]


@dataclass(frozen=True, slots=True)
class Sample:
    """T steps of an environment, with what the simulator held after each.

    Attributes:
        before: (T, n) observations before the steps.
        after: (T, n) observations after them.
        actions: (T, act_dim) as a controller gives them.
        simulated: (T, k) what MuJoCo holds after the steps; k is 0 without it.
        quantities: what these k numbers are.
        episode: (T,) the number of the reset.
        pushed: (act_dim, 2, n) the observations after PUSH steps from one condition, with one number at its lower
            and at its upper bound and the others in the middle.
        pushed_simulated: (act_dim, 2, k) what MuJoCo held then.
        seconds: of a step, None where the environment does not say.
        simulator: None without MuJoCo.
    """

    before: Array
    after: Array
    actions: Array
    simulated: Array
    quantities: tuple[SimulatedQuantity, ...]
    episode: Array
    pushed: Array
    pushed_simulated: Array
    seconds: float | None
    simulator: Simulator | None

    @property
    def moved(self) -> Array:
        """By how much each action number moves each observed one, (act_dim, n)."""
        moved: Array = self.pushed[:, 1] - self.pushed[:, 0]
        return moved


class Identified(NamedTuple):
    """A run of numbers ``[start:stop]`` of an observation and what it was found to be.

    Attributes:
        start: index of the first number.
        stop: index after the last one.
        role: "position", "angle", "constant", ...; "unknown" where nothing fits.
        owners: names of the bodies, sites, joints, ... in order; "@7" is the run that begins at number 7.
        unit: such as "m".
        meaning: how it was found, for a reader.
        guess: why it may be wrong; "" for what was measured to be equal.
        kind: what the owner is: "site", "body", "joint", ...
        axes: the coordinates that are there, such as "xyz" or "xy"; "" where it is no vector.
    """

    start: int
    stop: int
    role: str
    owners: tuple[str, ...] = ()
    unit: str = ""
    meaning: str = ""
    guess: str = ""
    kind: str = ""
    axes: str = ""

    @property
    def is_point(self) -> bool:
        """Whether it is a whole point in meters."""
        return self.role == "position" and self.stop - self.start == 3

    def refers_to(self, others: Iterable[Identified]) -> bool:
        """Return whether it is named after a number of one of these, itself apart."""
        numbers = {int(owner[1:]) for owner in self.owners if owner.startswith("@")}
        return any(numbers & {*range(other.start, other.stop)} for other in others if other != self)


def referents(run: Identified, names: Mapping[Identified, str], base: str) -> tuple[str, ...]:
    """Return the owners of a run, with names for numbers such as "@7".

    Args:
        run: with owners.
        names: of the runs that have one.
        base: of a number that is in none of these.
    """
    owners = (_referent(int(o[1:]), names, base) if o.startswith("@") else o for o in run.owners)
    several = run.role == "rate" and run.stop > run.start + 1  # rates of as many numbers, not of the first
    return tuple(owner.partition("[")[0] for owner in owners) if several else tuple(owners)


def _referent(number: int, names: Mapping[Identified, str], base: str) -> str:
    run = next((run for run in names if run.start <= number < run.stop), None)
    if run is None:
        return f"{base}[{number}]"
    vector = run.role.removeprefix("repeated ").removeprefix("difference of ") == "position"
    return names[run] + ("" if vector or run.stop == run.start + 1 else f"[{number - run.start}]")


class Effect(NamedTuple):
    """What one number of an action does.

    Attributes:
        kind: "torque", "target angle", ... of an actuator, "gripper", "motion", "nothing" or "unknown".
        unit: of an actuator; "guess" of a gripper that only a width of the observation shows; "hand" where a number
            moves the hand along no single axis.
        factor: unit for each 1 of the number; meters for motion; 1 for a gripper that opens upwards, else -1.
        owner: the actuator or joint, the axis of a motion, by what a gripper was measured; "@7" is the observed
            number that shows a gripper's width, or that an unknown effect moves most.
    """

    kind: str
    unit: str
    factor: float
    owner: str


def _euler(matrices: Array) -> Array:
    """Return Euler angles (x, y, z), in the convention of gymnasium-robotics."""
    across = np.hypot(matrices[:, 2, 2], matrices[:, 1, 2])
    flat = across < 4 * np.finfo(float).eps
    z = np.where(
        flat,
        np.arctan2(matrices[:, 1, 0], matrices[:, 1, 1]),
        -np.arctan2(matrices[:, 0, 1], matrices[:, 0, 0]),
    )
    x = np.where(flat, 0.0, -np.arctan2(matrices[:, 1, 2], matrices[:, 2, 2]))
    return np.stack([x, np.arctan2(matrices[:, 0, 2], across), z], axis=1)


def clipped(
    seen: Array, simulated: Array, quantities: tuple[SimulatedQuantity, ...]
) -> tuple[Array, tuple[SimulatedQuantity, ...]]:
    """Add clipped copies of velocities, forces and sensors.

    They have the bounds that observations were seen to stop at.

    Args:
        seen: (T, n) observations.
        simulated: (T, k) what the simulator holds.
        quantities: what these are.
    """
    if not quantities:
        return simulated, quantities
    top = np.abs(seen).max(0)
    often = (np.abs(np.abs(seen) - top) <= 1e-12).sum(0) >= 3
    levels = [
        level
        for level in sorted(set(np.round(top[often], 9).tolist()))
        if level > 0 and level in (1, 5, 10, 100)
    ]
    which = [
        k for k, q in enumerate(quantities) if "velocity" in q.role or "force" in q.role or q.role == "sensor"
    ]
    for level in levels:
        simulated = np.concatenate([simulated, np.clip(simulated[:, which], -level, level)], axis=1)
        note = f"clipped to {level:g} both ways"
        quantities += tuple(
            quantities[k]._replace(
                array=f"{quantities[k].array} {note}",
                note=", ".join(filter(None, (quantities[k].note, note))),
            )
            for k in which
        )
    return simulated, quantities
