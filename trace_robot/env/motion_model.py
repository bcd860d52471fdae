"""Uncalibrated visual servoing: hands that an environment without a model moves.

What an action does to a hand was measured (``trace_robot.env.motion_probe``). Within an episode that Jacobian is kept
up to date by Broyden's rank-one steps, as of Jägersand, Fuentes and Nelson (Experimental Evaluation of Uncalibrated
Visual Servoing for Precision Manipulation, IEEE International Conference on Robotics and Automation, 1997).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trace_robot.errors import WorkspaceError
from trace_robot.spec import Array, Field, HandSpec, TaskSpec

if TYPE_CHECKING:
    from trace_robot.env.description import Probe

# Of decisions that move hands, by inverse kinematics as well.
STEPS = 20  # simulator steps at most
LEAST = 4  # simulator steps at least where there is a gripper: it must start to move
NEAR = 0.005  # meters on each axis from the target at which one may end
ERROR = 0.1  # meters of error that one solve looks at: the Jacobian is of here
MOST = 32  # action numbers that are pushed one by one
PUSH = 0.5  # of half the range of an action number
SETTLE = 24  # steps that are watched after a push
REST = 2  # steps before it
INCREMENTS, TARGETS = "increments", "targets"  # what the numbers that move a hand are
GAIN = 0.6  # part of the error that is removed in a step; what an inexact Jacobian turns by 60 degrees still shrinks
DAMPING = 0.05  # of least squares, a part of the Jacobian's norm
LARGEST = 0.3  # part of half its range that a target changes by in a step: the Jacobian is of here
BROYDEN = 0.5  # part of what was mispredicted that one step corrects: observations may be noisy
KEPT = 0.95  # of the correction, a step: it is of a posture that the hand leaves
STUCK = 0.1  # part of the error below which a step that removes less has found a stretched or folded arm
BLOCKED = 0.2  # part of the predicted motion below which something is in the way, and nothing can be learned
TINY = 1e-12


@dataclass(frozen=True, slots=True)
class MeasuredHand:
    """A hand and how it was measured to move.

    Attributes:
        spec: the hand in the terms of an action in mode "pose".
        parts: names of the action parts that move it, for people.
        numbers: how many numbers move it.
        kind: INCREMENTS or TARGETS.
        late: steps until nine tenths of its motion have arrived.
        speed: meters a step at most, at the start of the measured episode, of one number.
        fit: part of its motion that the Jacobian explains in episodes that it was not fitted to.
        gripper: name of the action part, "" for none.
    """

    spec: HandSpec
    parts: str
    numbers: int
    kind: str
    late: int
    speed: float
    fit: float
    gripper: str = ""

    def __str__(self) -> str:
        late = f", {self.late} steps late" if self.late > 1 else ""
        text = (
            f"hand {self.spec.name!r}: a measured Jacobian over {self.numbers} numbers ({self.parts}), which are"
            f" {self.kind} of its motion{late}; {self.fit:.0%} of it is explained"
        )
        return f"{text}, gripper {self.gripper!r}, opens {self.spec.opens:+g}" if self.gripper else text


@dataclass(frozen=True, slots=True)
class MotionModel:
    """How raw action numbers move hands, as it was measured.

    There are h hands, k numbers, each in units of half its range, and f features of an observation.

    Attributes:
        hands: that it moves.
        fields: of an action in mode "pose".
        low: lower bounds of such an action.
        high: upper bounds, likewise.
        raw_low: (raw_dim,) bounds of the raw action.
        raw_high: (raw_dim,) likewise.
        numbers: (k,) indices of the raw action that move the hands.
        kind: INCREMENTS or TARGETS.
        arrival: (w,) part of a motion that arrives in the step of its action, the next one, ...
        features: of an observation.
        weights: (3 h, k, f) whose product with the features is the Jacobian, meters.
        drift: (3 h,) meters a step that the hands move by themselves.
        holding: (k, f) whose product with the features are the targets that hold a posture.
        reachable: (h, 3, 3) projections onto the directions in which each hand can move.
        passed: (2, p) indices of an action and of the raw action, of numbers that no hand uses.
        grips: of each hand, its raw numbers and their sign.
    """

    hands: tuple[MeasuredHand, ...]
    fields: tuple[Field, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    raw_low: Array
    raw_high: Array
    numbers: Array
    kind: str
    arrival: Array
    features: PostureFeatures
    weights: Array
    drift: Array
    holding: Array
    reachable: Array
    passed: Array
    grips: tuple[Array, ...]


@dataclass(frozen=True, slots=True)
class PostureFeatures:
    """Numbers that show a posture: 1, observed numbers, and sine and cosine of angles.

    Attributes:
        parts: names of observation parts.
        columns: (m,) indices of the numbers in these parts, one after another.
        mean: (m,) of these numbers.
        scale: (m,) their standard deviations.
        angles: indices of the m numbers that are angles, rad.
    """

    parts: tuple[str, ...]
    columns: Array
    mean: Array
    scale: Array
    angles: Array

    def of(self, observation: Mapping[str, Any]) -> Array:
        """Return the features, (f,)."""
        numbers = np.concatenate([np.ravel(observation[name]) for name in self.parts])[self.columns]
        return self.of_numbers(numbers)

    def of_numbers(self, numbers: Array) -> Array:
        """Return the features, (..., f), of (..., m) numbers."""
        angles = numbers[..., self.angles]
        one = np.ones((*numbers.shape[:-1], 1))
        shown = (numbers - self.mean) / self.scale
        return np.concatenate([one, shown, np.sin(angles), np.cos(angles)], axis=-1)


class MotionTracking:
    """Resolved-rate control of hands by a measured Jacobian, as a ``Tracking``.

    Its state within an episode follows from the observations, so that a repeated episode is exact.
    """

    steps = STEPS

    def __init__(self, arm: MotionModel) -> None:
        """Use what was measured of an environment."""
        self.arm = arm
        self.least = LEAST if any(grip.size for grip in arm.grips) else 1
        self._middle, self._half = (arm.raw_low + arm.raw_high) / 2, (arm.raw_high - arm.raw_low) / 2
        self._left = 1.0 - np.cumsum(arm.arrival)  # part of a motion that has yet to arrive
        self._shape = 3 * len(arm.hands), len(arm.numbers)
        self._damping = np.eye(self._shape[0])
        self._correction, self._jacobian = np.zeros(self._shape), np.zeros(self._shape)
        self._moves = np.zeros((len(arm.arrival), self._shape[1]))
        self._held: Array = np.zeros(self._shape[1])
        self._around: Array = np.zeros(self._shape[0])
        self._before: Array | None = None

    def action(self, raw: TaskSpec) -> tuple[tuple[Field, ...], tuple[float, ...], tuple[float, ...]]:
        """Return fields and bounds of an action in mode "pose", whatever ``raw`` is."""
        return self.arm.fields, self.arm.low, self.arm.high

    def begin(self, env: Any, observation: Mapping[str, Any]) -> None:
        """Begin an episode.

        Args:
            env: not used.
            observation: of the reset.
        """
        self._correction, self._jacobian = np.zeros(self._shape), np.zeros(self._shape)
        self._moves = np.zeros((len(self.arm.arrival), self._shape[1]))
        self._held = np.clip(self.arm.holding @ self.arm.features.of(observation), -1.0, 1.0)
        self._around, self._before = np.zeros(self._shape[0]), None

    def saved(self) -> tuple[Any, ...]:
        """Return what ``return_to`` needs to go on with the episode."""
        return self._correction, self._jacobian, self._moves, self._held, self._around, self._before

    def return_to(self, env: Any, saved: tuple[Any, ...]) -> None:
        """Continue an episode from a snapshot.

        Args:
            env: not used.
            saved: what ``saved()`` gave.
        """
        self._correction, self._jacobian, self._moves, self._held, self._around, self._before = saved

    def target(self, observation: Mapping[str, Any], action: Array) -> Array:
        """Return positions to reach, (hands, 3), meters.

        Args:
            observation: has the hands' positions; a displacement is seen from there.
            action: the decision.
        """
        specs = [hand.spec for hand in self.arm.hands]
        return np.array([observation[s.position] + action[s.motion : s.motion + 3] for s in specs])

    def raw(self, observation: Mapping[str, Any], target: Array, action: Array) -> Array:
        """Return the next raw action by damped least squares.

        Args:
            observation: of this simulator step.
            target: of the decision.
            action: the decision.
        """
        arm = self.arm
        position = self._positions(observation)
        self._learn(position)
        self._jacobian = arm.weights @ arm.features.of(observation)
        jacobian = self._jacobian + self._correction
        error = self._error(observation, target).reshape(-1) - jacobian @ (self._left @ self._moves)
        lengths = np.linalg.norm(error.reshape(-1, 3), axis=1)
        error = (error.reshape(-1, 3) * np.minimum(1.0, ERROR / (lengths + TINY))[:, None]).reshape(-1)
        squared = jacobian @ jacobian.T
        damped = squared + (DAMPING**2 * float(np.trace(squared)) + TINY) * self._damping
        move = np.linalg.solve(damped, GAIN * error - arm.drift) @ jacobian
        size = float(error @ error)
        if size > NEAR**2 and error @ (jacobian @ move + arm.drift) < STUCK * GAIN * size:
            # A stretched or folded arm: nothing moves the hand towards the target, so it goes around.
            self._around = self._way_around(squared)
            move = np.linalg.solve(damped, GAIN * size**0.5 * self._around) @ jacobian
        # What is too fast is made slower as a whole: a straight way stays straight.
        move = move / max(1.0, float(np.abs(move).max()) / (1.0 if arm.kind == INCREMENTS else LARGEST))
        if arm.kind == TARGETS:
            held = np.clip(self._held + move, -1.0, 1.0)
            move, self._held = held - self._held, held
        self._moves = np.concatenate([move[None], self._moves[:-1]])
        self._before = position
        raw = self._middle.copy()
        raw[arm.numbers] += self._half[arm.numbers] * (move if arm.kind == INCREMENTS else self._held)
        raw[arm.passed[1]] = action[arm.passed[0]]
        for hand, grip in zip(arm.hands, arm.grips, strict=True):
            if grip.size:
                raw[grip] += self._half[grip] * float(action[hand.spec.gripper])
        return raw

    def there(self, before: Mapping[str, Any], observation: Mapping[str, Any], target: Array) -> bool:
        """Return whether each hand is near its target where it can move.

        Args:
            before: not used.
            observation: of now.
            target: of the decision.
        """
        return bool(np.abs(self._error(observation, target)).max() < NEAR)

    def _positions(self, observation: Mapping[str, Any]) -> Array:
        return np.concatenate([observation[hand.spec.position] for hand in self.arm.hands])

    def _error(self, observation: Mapping[str, Any], target: Array) -> Array:
        left = target - self._positions(observation).reshape(-1, 3)
        reached: Array = np.einsum("hij,hj->hi", self.arm.reachable, left)
        return reached

    def _way_around(self, squared: Array) -> Array:
        """Return the direction, (3 h,), in which the hands move most easily.

        squared: (3 h, 3 h) the Jacobian times its transpose.
        """
        way: Array = np.linalg.eigh(squared)[1][:, -1]
        return -way if way @ self._around < 0 else way

    def _learn(self, position: Array) -> None:
        """Correct the Jacobian by what the last actions did (Broyden, 1965)."""
        if self._before is None:
            return
        move = self.arm.arrival @ self._moves
        predicted = (self._jacobian + self._correction) @ move
        seen = position - self._before - self.arm.drift
        size = float(move @ move)
        self._correction = KEPT * self._correction
        if size > TINY and float(seen @ seen) >= BLOCKED**2 * float(predicted @ predicted):
            # Moves of a thousandth of the range say more of rounding than of the Jacobian.
            step = BROYDEN * np.outer(seen - predicted, move) / (size + 1e-6)
            self._correction = self._correction + step


@dataclass(frozen=True, slots=True)
class PushResponse:
    """What pushes of single action numbers changed, against an episode without them.

    Attributes:
        pulse: (n, T, observation_size) changes after a push of one step, for half the range of each number.
        hold: likewise where the push goes on.
    """

    pulse: Array
    hold: Array

    @classmethod
    def of(cls, probe: Probe) -> PushResponse:
        """Push each number both ways.

        Raises:
            WorkspaceError: there are too many numbers, or whole ones, or episodes are short or differ.
        """
        count = len(probe.middle)
        if count > MOST or any(part.whole for part in probe.spec.action):
            what = f"{count} numbers" if count > MOST else "whole numbers"
            raise WorkspaceError(
                f"hands: an action of {what} is not measured, only up to {MOST} real ones; name the action part that"
                " moves the hand, motion=..."
            )
        still = [probe.middle] * (REST + SETTLE)
        rest = probe.watch(still)
        again = probe.watch(still)
        if len(rest) <= REST + 4:
            raise WorkspaceError(
                f"hands: an episode ends after {len(rest) - 1} steps of the middle action, too early to measure what"
                " moves a hand; name the action part that does, motion=..."
            )
        if rest.shape != again.shape or not np.array_equal(rest, again):
            raise WorkspaceError(
                "hands: one seed with the same actions gives two different episodes, so what moves a hand cannot be"
                " measured; seed the environment's random numbers in reset()"
            )
        runs = [[_pushed(probe, rest, number, steps) for number in range(count)] for steps in (1, SETTLE)]
        length = min(len(run) for kind in runs for run in kind)
        return cls(*(np.array([run[:length] for run in kind]) for kind in runs))


def _pushed(probe: Probe, rest: Array, number: int, steps: int) -> Array:
    """Return changes for half the range of a number, the mean of both directions."""
    ways = []
    for way in (PUSH, -PUSH):
        action = probe.middle.copy()
        action[number] += way * probe.half[number]
        pushes = [probe.middle] * REST + [action] * steps + [probe.middle] * (SETTLE - steps)
        seen = probe.watch(pushes)
        length = min(len(seen), len(rest))
        ways.append((seen[:length] - rest[:length])[REST + 1 :] / way)
    length = min(map(len, ways))
    up, down = (way[:length] for way in ways)
    # A joint at its limit answers on one side only.
    large = max(np.abs(up).max(initial=0.0), np.abs(down).max(initial=0.0))
    for one, other in ((up, down), (down, up)):
        if np.abs(one).max(initial=0.0) < 0.1 * large:
            return np.asarray(other)
    return np.asarray((up + down) / 2)


def passed_on(
    spec: TaskSpec, used: Collection[int], fields: list[Field], low: list[float], high: list[float]
) -> Array:
    """Append the action numbers that no hand uses to the layout of an action.

    Args:
        spec: in mode "raw".
        used: raw numbers that hands use.
        fields: of the action in mode "pose"; appended to.
        low: its lower bounds, likewise.
        high: its upper bounds, likewise.

    Returns:
        (2, p) indices of the action and of the raw action.
    """
    passed = []
    for part in spec.action:
        rest = [i for i in range(part.start, part.stop) if i not in used]
        names = [part.name] if len(rest) == part.size else [f"{part.name}_{i - part.start}" for i in rest]
        size = len(rest) // max(1, len(names))
        for i, name in enumerate(names if rest else []):
            start = len(low) + i * size
            fields.append(replace(part, name=name, start=start, stop=start + size))
        passed += [(len(low) + i, number) for i, number in enumerate(rest)]
        low.extend(spec.low[i] for i in rest)
        high.extend(spec.high[i] for i in rest)
    return np.array(passed, int).reshape(-1, 2).T
