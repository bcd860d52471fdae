"""Envelope of a robot's actions: workspace box, speed, acceleration, jerk, force.

Plain data of a JSON or TOML file. Rollouts apply it outside of the sandbox, to what is sent in each simulator step, so
that no candidate can pass it by; ``trace_robot.env.envelope_law`` has the arithmetic.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from trace_robot.env.envelope_law import begun, limited
from trace_robot.errors import ValueMismatchError, unknown
from trace_robot.spec import TaskSpec, hands_of

LOGGED = "envelope_"  # of the entries of an episode's infos: in how many steps each limit acted
LAW = ("bounds", "rate", "speed", "acceleration", "jerk", "box")
STOPS = ("stopped", "stopped_force", "stopped_watchdog")
METERS = {"m": 1.0, "cm": 0.01, "mm": 0.001}
Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Envelope:
    """Limits on what a controller sends. None and an empty dict leave a limit out.

    Attributes:
        box: {position: [low, high]}, (3,) and (3,), meters, world frame. The command of a hand is kept in its box; any
            other position that leaves its box stops the robot.
        speed: of a commanded hand along each axis, m/s.
        acceleration: likewise, m/s2.
        jerk: likewise, m/s3.
        bounds: {action part: [low, high]}, in its own unit.
        rate: {action part: change a second}, in that part's unit, not of a hand's motion, which has an acceleration.
        force: greatest contact force, N, beyond which the robot stops; needs MuJoCo.
        watchdog: seconds without a new observation after which the robot stops.
        lead: meters that a hand may be behind its command; an observed hand farther away moves the command.
    """

    box: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = field(default_factory=dict)
    speed: float | None = None
    acceleration: float | None = None
    jerk: float | None = None
    bounds: Mapping[str, Pair] = field(default_factory=dict)
    rate: Mapping[str, float] = field(default_factory=dict)
    force: float | None = None
    watchdog: float | None = None
    lead: float = 0.05

    @classmethod
    def from_data(cls, data: Any) -> Envelope:
        """Return the envelope of plain data.

        Raises:
            ValueMismatchError: a limit has a value that cannot be right.
            UnknownNameError: there is no such limit.
        """
        if not isinstance(data, Mapping):
            raise ValueMismatchError(f"an envelope must be an object of limits, got {data!r:.80}")
        names = [each.name for each in fields(cls)]
        for name in data:
            if name not in names:
                raise unknown("limit of an envelope", str(name), names)
        given: dict[str, Any] = {}
        for name in ("speed", "acceleration", "jerk", "force", "watchdog", "lead"):
            if data.get(name) is not None:
                given[name] = _positive(name, data[name])
        for name in ("box", "bounds", "rate"):
            if not isinstance(held := data.get(name) or {}, Mapping):
                raise ValueMismatchError(f"{name} must be an object by name, got {held!r:.80}")
            given[name] = {str(key): _CHECKS[name](str(key), value) for key, value in held.items()}
        envelope = cls(**given)
        if envelope == cls(lead=envelope.lead):
            raise ValueMismatchError(f"an envelope must have a limit, one of {', '.join(names[:-1])}")
        return envelope

    def to_data(self) -> dict[str, Any]:
        """Return plain data, without the limits that are left out."""
        data = {name: value for name, value in asdict(self).items() if value not in (None, {})}
        for name in ("box", "bounds"):
            if name in data:
                data[name] = {key: [_plain(low), _plain(high)] for key, (low, high) in data[name].items()}
        return data

    def limits(
        self, spec: TaskSpec, low: Sequence[float], high: Sequence[float], seconds: float | None
    ) -> Any:
        """Return the limits in units of action numbers and steps, for ``envelope_law``.

        Args:
            spec: of the environment in mode "raw".
            low: lower bounds of the environment action.
            high: upper bounds.
            seconds: of a simulator step; None where it is not known.

        Raises:
            ValueMismatchError: a limit needs what the environment does not show, or allows no motion.
            UnknownNameError: there is no such position or part of the action.
        """
        parts = {part.name: part for part in spec.action}
        for name in (*self.bounds, *self.rate):
            if name not in parts:
                raise unknown(f"part of the action of {spec.name}", name, parts)
        for name in self.box:
            if name not in spec.positions:
                raise unknown(f"position of {spec.name}", name, spec.positions)
        timed = [
            name for name in ("speed", "acceleration", "jerk", "rate", "watchdog") if getattr(self, name)
        ]
        if timed and seconds is None:
            raise ValueMismatchError(
                f"{timed[0]} of an envelope is by time, and {spec.name} does not say how long a step is; give it dt, or"
                " metadata['render_fps']"
            )
        dt = seconds or 1.0
        lows, highs = [float(n) for n in low], [float(n) for n in high]
        for name, (least, most) in self.bounds.items():
            for i in range(parts[name].start, parts[name].stop):
                lows[i], highs[i] = max(lows[i], least), min(highs[i], most)
                if lows[i] > highs[i]:
                    raise ValueMismatchError(
                        f"bounds of {name!r} must meet {float(low[i]):g} to {float(high[i]):g}, got {[least, most]!r}"
                    )
        moving = self._moving(spec)
        moved = {number for number, _, _, _ in moving}
        axes = [
            self._axis(number, position, axis, unit, dt, lows[number], highs[number])
            for number, position, axis, unit in moving
        ]
        return {
            "axes": axes,
            "numbers": self._numbers(spec, lows, highs, dt, moved),
            "watched": [
                {"position": name, "axis": k, "low": least[k], "high": most[k], "reason": f"{name} is outside its box"}
                for name, (least, most) in self.box.items()
                if name not in {position for _, position, _, _ in moving}
                for k in range(3)
            ],
            "stop": [min(max(0.0, float(a)), float(b)) for a, b in zip(low, high, strict=True)],
        }  # fmt: skip

    def _moving(self, spec: TaskSpec) -> list[tuple[int, str, int, float]]:
        """Return (action number, position, axis, meters of 1) of what moves a hand."""
        fast = [name for name in ("speed", "acceleration", "jerk") if getattr(self, name)]
        moving = []
        for hand in hands_of(spec):
            part = next((p for p in spec.action if p.start <= hand.motion < p.stop), None)
            unit = None if part is None else meters(part.unit)
            if unit is not None and (fast or hand.position in self.box):
                moving += [(hand.motion + k, hand.position, k, unit) for k in range(3)]
        if fast and not moving:
            parts = ", ".join(f"{part.name} ({part.unit or 'no unit'})" for part in spec.action)
            raise ValueMismatchError(
                f"{fast[0]} of an envelope needs an action that moves a hand in meters, {spec.name} has {parts}; give"
                " bounds and rate of its parts"
            )
        return moving

    def _axis(
        self, number: int, position: str, axis: int, unit: float, dt: float, low: float, high: float
    ) -> dict[str, Any]:
        if self.speed is not None:
            low, high = max(low, -self.speed * dt / unit), min(high, self.speed * dt / unit)
        if not low <= 0.0 <= high:
            raise ValueMismatchError(f"the bounds of action number {number} do not let a hand stand still")
        box = self.box.get(position)
        return {
            "number": number,
            "position": position,
            "axis": axis,
            "unit": unit,
            "low": low,
            "high": high,
            "acceleration": None if self.acceleration is None else self.acceleration * dt**2 / unit,
            "jerk": None if self.jerk is None else self.jerk * dt**3 / unit,
            "box": None if box is None else [box[0][axis], box[1][axis]],
            "lead": self.lead,
        }

    def _numbers(
        self, spec: TaskSpec, lows: Sequence[float], highs: Sequence[float], dt: float, moved: set[int]
    ) -> list[dict[str, Any]]:
        numbers = []
        for part in spec.action:
            if part.name not in self.bounds and part.name not in self.rate:
                continue
            for i in range(part.start, part.stop):
                if i in moved and part.name in self.rate:
                    raise ValueMismatchError(
                        f"rate of {part.name!r} is that of a hand's motion; give acceleration in its place"
                    )
                rate = self.rate.get(part.name)
                if i not in moved:
                    each = None if rate is None else rate * dt
                    numbers.append({"number": i, "low": lows[i], "high": highs[i], "rate": each})
        return numbers


def meters(unit: str) -> float | None:
    """Return the meters of a unit such as "cm" or "5 cm", None for what is no length."""
    match = re.fullmatch(r"(?:([0-9.]+) )?(m|cm|mm)", unit)
    return None if match is None else float(match[1] or 1.0) * METERS[match[2]]


class EpisodeEnvelope:
    """An envelope around the actions of one episode.

    counts: in how many steps each limit acted, and whether the robot was stopped. why: it was, "" while it is not.
    """

    def __init__(self, envelope: Envelope, limits: Any, seconds: float | None, name: str = "") -> None:
        """Take the limits that ``Envelope.limits`` gives for an environment.

        Args:
            envelope: that has them.
            limits: in units of action numbers and steps.
            seconds: of a simulator step, None where it is not known.
            name: of the environment.
        """
        self.envelope, self._limits, self._name = envelope, limits, name
        self._patience = math.inf if envelope.watchdog is None else envelope.watchdog / (seconds or 1.0)
        self._memory: dict[str, Any] = {}
        self._stops = dict.fromkeys(STOPS, 0)
        self._silent = 0
        self.why = ""

    def start(self, observation: Mapping[str, Any]) -> None:
        """Begin an episode.

        Args:
            observation: the true one, by field.

        Raises:
            ValueMismatchError: a position begins outside of its box.
        """
        for name, (low, high) in self.envelope.box.items():
            place = [float(n) for n in observation[name]]
            if not all(a <= n <= b for a, n, b in zip(low, place, high, strict=True)):
                shown = [round(n, 4) for n in place]
                raise ValueMismatchError(
                    f"{name} of {self._name} begins at {shown}, outside of its box {list(low)} to {list(high)};"
                    " make the box larger"
                )
        self._memory, self._stops, self._silent, self.why = {}, dict.fromkeys(STOPS, 0), 0, ""

    def limit(
        self, action: Sequence[float], observation: Mapping[str, Any], *, new: bool = True
    ) -> list[float]:
        """Return what is sent of an action, the action at rest once the robot was stopped.

        Args:
            action: the numbers that were asked for.
            observation: as the controller saw it.
            new: whether it has come since the last step, for the watchdog.
        """
        self._silent = 0 if new else self._silent + 1
        if self._silent > self._patience:
            self.stop("stopped_watchdog", "no observation came for too long")
        if not self.why:
            if not self._memory:
                self._memory = begun(observation, self._limits)
            try:
                return limited(action, observation, self._memory, self._limits)
            except AssertionError as error:
                self.stop("stopped", str(error))
        return list(self._limits["stop"])

    def touched(self, force: float) -> None:
        """Stop where a contact force, N, is beyond the limit."""
        if self.envelope.force is not None and force > self.envelope.force:
            self.stop(
                "stopped_force", f"a contact force of {force:.3g} N is beyond {self.envelope.force:g} N"
            )

    def stop(self, kind: str, why: str) -> None:
        """Send nothing but the action at rest until the next episode.

        Args:
            kind: one of STOPS, for the log.
            why: as text.
        """
        if not self.why:
            self.why = why
            self._stops[kind] = 1

    @property
    def counts(self) -> dict[str, int]:
        """The log: steps in which each limit acted, and stops."""
        return {**{name: int(self._memory.get(name, 0)) for name in LAW}, **self._stops}

    def numbers(self) -> dict[str, float]:
        """Return the log for the info of an episode's last step."""
        return {f"{LOGGED}{name}": float(count) for name, count in self.counts.items()}


def wrapped_text(limits: Any, arguments: str, size: int, single: Sequence[Pair]) -> str:
    """Return the module, in the subset of ``deploy``, with the envelope around act.

    Args:
        limits: as ``Envelope.limits`` gives them.
        arguments: that the controller takes.
        size: numbers of its action.
        single: bounds of each number, within which it is rounded to single precision as the simulator takes it.
    """
    from pathlib import Path

    from trace_robot.env import envelope_law

    law = Path(envelope_law.__file__).read_text(encoding="utf-8")
    return f"""{law}

import numpy as np

LIMITS = {limits!r}
ROUNDED = {list(map(list, single))!r}


def act(observation, memory):
    \"\"\"The envelope around the controller.\"\"\"
    first = not memory
    if first:
        memory.update(own={{}}, envelope=begun(observation, LIMITS))
    wanted = expected(decide({arguments}), {size})
    for number in wanted:
        assert math.isfinite(number), "the action has a number that is not finite"
    asked = [float(np.float32(within(number, low, high))) for number, (low, high) in zip(wanted, ROUNDED)]
    return limited(asked, observation, memory["envelope"], LIMITS)
"""


def _positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueMismatchError(f"{name} of an envelope must be above 0, got {value!r:.80}")
    return float(value)


def _vector(name: str, value: Any, size: int) -> tuple[float, ...]:
    numbers = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
    good = all(isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in numbers)
    if len(numbers) != size or not good:
        raise ValueMismatchError(f"{name} must be {size} numbers, got {value!r:.80}")
    return tuple(map(float, numbers))


def _box(name: str, value: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise ValueMismatchError(f"box of {name!r} must be [[x, y, z], [x, y, z]], got {value!r:.80}")
    low, high = (_vector(f"a corner of the box of {name!r}", corner, 3) for corner in value)
    if not all(a < b for a, b in zip(low, high, strict=True)):
        raise ValueMismatchError(f"box of {name!r} has no volume, got {list(low)} to {list(high)}")
    return low, high


def _pair(name: str, value: Any) -> Pair:
    low, high = _vector(f"bounds of {name!r}", value, 2)
    if low > high:
        raise ValueMismatchError(f"bounds of {name!r} must be [low, high], got {[low, high]!r}")
    return low, high


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


_CHECKS: Mapping[str, Any] = {
    "box": _box,
    "bounds": _pair,
    "rate": lambda name, value: _positive(f"rate of {name!r}", value),
}
