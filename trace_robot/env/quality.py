"""How well an episode was done: path, speed, jerk and force, measured in the worker.

Measured is the true state, not what the controller sees.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from trace_robot.spec import Array, TaskSpec

ELLIPTIC = 1  # mujoco.mjtCone.mjCONE_ELLIPTIC; MuJoCo itself is imported only by who simulates


class Quality:
    """Measures of one episode, from what is observed at every simulator step."""

    def __init__(self, spec: TaskSpec, seconds: float | None, simulation: tuple[Any, Any] | None) -> None:
        """Find what can be measured.

        Args:
            spec: of the environment; the first of its ``positions`` is the hand.
            seconds: of a simulator step; None where it is not known, which leaves speed and jerk out.
            simulation: MuJoCo's model and data for contact forces, None without them.
        """
        places = {part.name: slice(part.start, part.stop) for part in spec.observation}
        self._hand = places[spec.positions[0]] if spec.positions else None
        goal = next((name for name in spec.positions[1:] if "goal" in name or "target" in name), None)
        things = [name for name in spec.positions[1:] if name != goal]
        # The thing that is to be brought to the goal; the hand itself where there is no thing, as in reaching.
        carried = things[0] if things else spec.positions[0] if spec.positions else None
        self._pair = (places[carried], places[goal]) if carried is not None and goal is not None else None
        self._seconds = seconds
        self._simulation = simulation
        self._path: list[Array] = []
        self._distance: float | None = None
        self._peak = 0.0

    def start(self, observation: Array) -> None:
        """Begin an episode with its first observation, (observation_size,)."""
        self._path, self._peak, self._distance = [], 0.0, None
        self._look(observation)

    def step(self, observation: Array) -> None:
        """Take the observation after a simulator step, (observation_size,)."""
        self._look(observation)
        if self._simulation is not None:
            self._peak = max(self._peak, self._contact_force())

    def numbers(self) -> dict[str, float]:
        """Return the measures: meters, meters per second, per second cubed (rms), newtons."""
        numbers: dict[str, float] = {}
        if self._simulation is not None:
            numbers["quality_peak_force"] = self._peak
        if self._distance is not None:
            numbers["quality_final_distance"] = self._distance
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

    def __deepcopy__(self, memo: Any) -> Quality:
        """Return a copy that measures the same simulation."""
        twin = copy.copy(self)
        twin._path = list(self._path)
        return twin

    def _look(self, observation: Array) -> None:
        if self._hand is not None:
            self._path.append(observation[self._hand].copy())
        if self._pair is not None:
            thing, goal = self._pair
            self._distance = float(np.linalg.norm(observation[thing] - observation[goal]))

    def _contact_force(self) -> float:
        """Return the greatest normal force of all contacts now, newtons."""
        model, data = self._simulation  # type: ignore[misc]
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
