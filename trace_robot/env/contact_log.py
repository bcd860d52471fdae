"""Contacts inside decisions, by simulator step (MuJoCo's control callback).

A decision of control mode "pose" takes up to twenty simulator steps, and a controller sees the last one alone: a touch
that lasts for three of them is in no observation. The callback is set for the calls of ``step`` of one episode only,
the one that is traced, and changes nothing of the simulation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trace_robot.env.joint_facts import passive_bodies
from trace_robot.env.simulation import physics_of, step_seconds
from trace_robot.spec import Array

MOST_TOUCHES = 8  # of an episode; those of what can be moved
MOST_OTHERS = 3  # where nothing that can be moved was touched
GAP_SECONDS = 0.05  # a contact that flickers for less than this is one
MOVED = 0.001  # meters
LAYERS = ("inner", "simulation", "_env", "task")


@dataclass(slots=True)
class _Touch:
    """Two bodies from their first to their last step in contact."""

    bodies: tuple[int, int]
    first: tuple[int, int]  # decision, simulator step
    last: tuple[int, int]
    place: Array
    began: Array  # (2, 3): where the bodies were
    ended: Array


@dataclass(slots=True)
class ContactLog:
    """What touched in the steps that are watched.

    Attributes:
        model, data: MuJoCo's.
        seconds: of a simulator step.
    """

    model: Any
    data: Any
    seconds: float
    touches: list[_Touch] = field(default_factory=list)
    _open: dict[tuple[int, int], _Touch] = field(default_factory=dict)
    _decision: int = -1
    _base: int = 0
    _time: float = 0.0

    @classmethod
    def of(cls, env: Any) -> ContactLog | None:
        """Return the log of an environment just reset, None without a MuJoCo model."""
        layer = env.unwrapped
        layers = [layer]
        while (layer := next((getattr(layer, n) for n in LAYERS if hasattr(layer, n)), None)) is not None:
            layer = getattr(layer, "unwrapped", layer)
            if len(layers) > len(LAYERS) or layer in layers:
                break
            layers.append(layer)
        found = next((found for each in layers if (found := physics_of(each)) is not None), None)
        seconds = next((seconds for each in layers if (seconds := step_seconds(each))), None)
        return None if found is None or seconds is None else cls(*found, seconds)

    @contextmanager
    def watching(self, steps: int) -> Iterator[None]:
        """Look at every step of the physics while one decision is carried out.

        Args:
            steps: of the simulator before it.
        """
        import mujoco

        if mujoco.get_mjcb_control() is not None:  # the environment's own
            yield
            return
        self._decision, self._base, self._time = self._decision + 1, steps, float(self.data.time)
        mujoco.set_mjcb_control(self._look)
        try:
            yield
        finally:
            mujoco.set_mjcb_control(None)

    def lines(self) -> tuple[str, ...]:
        """Return a line for each touch in their order, without those of the first step."""
        passive = {int(self.model.body_weldid[body]) for body in passive_bodies(self.model)}
        every = [touch for touch in self.touches if touch.first[1] > 1]

        def rank(touch: _Touch) -> tuple[int, int]:
            fixed = sum(int(self.model.body_weldid[body]) == 0 for body in touch.bodies)
            movable = any(int(self.model.body_weldid[body]) in passive for body in touch.bodies)
            return (0 if movable and not fixed else 1 if movable else 2 + fixed), touch.first[1]

        ranked = sorted(every, key=rank)
        telling = [touch for touch in ranked if rank(touch)[0] < 2][:MOST_TOUCHES]
        kept = telling or ranked[:MOST_OTHERS]
        return tuple(self._line(touch) for touch in sorted(kept, key=lambda touch: touch.first[1]))

    def _look(self, model: Any, data: Any) -> None:
        """Note what touches now.

        MuJoCo calls it in each step of any simulation of this process.
        """
        if data is not self.data or not data.ncon:
            return
        step = self._base + 1 + int((float(data.time) - self._time) / self.seconds + 1e-6)
        contact = data.contact
        for geoms, address, place in zip(contact.geom, contact.efc_address, contact.pos, strict=True):
            if address < 0:  # without a force
                continue
            one, other = sorted(int(model.geom_bodyid[geom]) for geom in geoms)
            now, where = (self._decision, step), data.xpos[[one, other]].copy()
            touch = self._open.get((one, other))
            if touch is None or (step - touch.last[1]) * self.seconds > GAP_SECONDS:
                touch = _Touch((one, other), now, now, place.copy(), where, where)
                self._open[one, other] = touch
                self.touches.append(touch)
            touch.last, touch.ended = now, where

    def _line(self, touch: _Touch) -> str:
        names = [self._name(body) for body in touch.bodies]
        text = f"decision {_span(touch.first[0], touch.last[0])}"
        if self._base != self._decision:  # where a decision is one step, it says the same
            text += f", simulator step {_span(touch.first[1], touch.last[1])}"
        text += f": {names[1]} touches {names[0]}, first at {_text(touch.place)}"
        for name, began, ended in zip(names, touch.began, touch.ended, strict=True):
            if float(np.linalg.norm(ended - began)) > MOVED:
                text += f"; {name} moves from {_text(began)} to {_text(ended)} meanwhile"
        return text

    def _name(self, body: int) -> str:
        while body and not self.model.body(body).name:
            body = int(self.model.body_parentid[body])
        return self.model.body(body).name or "world"


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _text(point: Array) -> str:
    return " ".join(f"{round(float(value), 3) + 0.0:g}" for value in point)
