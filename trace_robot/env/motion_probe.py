"""System identification of hands by what is observed, without a model.

Each action number is pushed for a step, and held, from one condition: what moves by it, when, and whether it stays
there says what kind of action it is. Episodes of random actions then give the Jacobian by ridge regression, as a
function of the numbers that show the posture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trace_robot.env.declaration import Environment, Hand
from trace_robot.env.motion_model import (
    INCREMENTS,
    SETTLE,
    TARGETS,
    TINY,
    MeasuredHand,
    MotionModel,
    PostureFeatures,
    PushResponse,
    passed_on,
)
from trace_robot.env.tracking import REACH
from trace_robot.errors import WorkspaceError
from trace_robot.spec import Array, Field, HandSpec

if TYPE_CHECKING:
    from trace_robot.env.description import Probe

WINDOW = 16  # steps within which the effect of a push must have arrived
LEAST_MOVED = 1e-5  # meters that a push must move a hand
SHARE = 0.03  # of the largest motion, below which a number moves another hand or none
RETURNED = 0.25  # part of the largest motion that is left where a number is a target
SETTLED = 0.1  # part of the motion by which a hand that has arrived may still differ
STAYED = 0.5  # part of its largest change that an observed number keeps where it shows the posture
EPISODES, WALK = 12, 40  # of random actions, and steps of each
HELD = 3  # steps of each random increment
WANDER = 0.2  # of half its range that a random target changes by in a step
NUMBERS = 24  # observed numbers that show the posture
RIDGES = (1e-8, 1e-5, 1e-3, 1e-1)
EXPLAINED = 0.5  # part of the motion in episodes that were left out that a Jacobian must explain
STIFF = 0.02  # of the largest spread of a hand's motion, below which it cannot move in a direction
WIDTH = 0.5  # meters, or what it is measured in, of the widest gripper


def measured_motion(
    declaration: Environment, probe: Probe, response: PushResponse | None = None
) -> MotionModel:
    """Measure what moves the declared hands, in an environment that shows no model.

    Args:
        declaration: its hands have no ``motion``.
        probe: of an environment object that nothing else uses.
        response: of the pushes, where they have been made.

    Raises:
        WorkspaceError: nothing moves a hand, or not in a way that can be followed; the message says what to declare.
        EnvironmentFault: the environment raises.
    """
    for hand in declaration.hands:
        if hand.turn or hand.yaw or hand.site or hand.body or hand.joints:
            raise WorkspaceError(
                f"hands: {hand.name!r}: turn, yaw, site, body and joints need a MuJoCo model, and"
                f" {type(probe.inner).__name__} shows none; leave them out"
            )
    response = response or PushResponse.of(probe)
    places = [_place(probe, hand) for hand in declaration.hands]
    columns = np.concatenate(places)
    movers = [_movers(hand, place, response) for hand, place in zip(declaration.hands, places, strict=True)]
    declared = _declared_grips(declaration, probe)
    numbers = np.array(sorted({i for each in movers for i in each if i not in declared}), int)
    if not numbers.size:
        raise WorkspaceError(
            "hands: only the gripper's numbers move the hand; name other numbers as gripper, or motion=..."
        )
    name = declaration.hands[0].name
    kind, arrival, late = _arrival(name, response, numbers, columns)
    features = _features(probe, response, kind, columns)
    data = _Walks.of(probe, numbers, kind, arrival, features, columns)
    weights, drift, fit = data.jacobian(name)
    hands, fields, low, high, passed, grips = _pose_action(declaration, probe, response, numbers, kind)
    described = tuple(
        MeasuredHand(
            hand,
            _names(probe, own),
            len(own),
            kind,
            late,
            float(np.abs(response.pulse[own][:, 0, place]).max(initial=0.0)),
            fit,
            _names(probe, grip),
        )
        for hand, own, place, grip in zip(
            hands, [[i for i in each if i in numbers] for each in movers], places, grips, strict=True
        )
    )
    return MotionModel(
        hands=described,
        fields=fields,
        low=low,
        high=high,
        raw_low=np.array(probe.spec.low),
        raw_high=np.array(probe.spec.high),
        numbers=numbers,
        kind=kind,
        arrival=arrival,
        features=features,
        weights=weights,
        drift=drift,
        holding=data.holding(),
        reachable=data.reachable(len(places)),
        passed=passed,
        grips=grips,
    )


def moves_along_axes(probe: Probe, position: str, response: PushResponse) -> bool:
    """Return whether an action's first three numbers move a hand along x, y, z.

    Args:
        probe: of the environment.
        position: the part that is the hand's.
        response: of the pushes.
    """
    place = _place(probe, Hand(position))
    if len(probe.middle) < 3:
        return False
    effect = response.pulse[:3][:, :, place]  # (3, T, 3)
    peak = np.take_along_axis(effect, np.abs(effect).argmax(1)[:, None], 1)[:, 0]
    along = np.diag(peak)
    return bool((along > 0).all() and (np.abs(peak - np.diag(along)).max(1) < 0.1 * along).all())


def _place(probe: Probe, hand: Hand) -> Array:
    part = next(part for part in probe.spec.observation if part.name == hand.position)
    return np.arange(part.start, part.stop)


def _names(probe: Probe, numbers: Sequence[int] | Array) -> str:
    parts = probe.spec.action
    return ", ".join(dict.fromkeys(p.name for i in numbers for p in parts if p.start <= i < p.stop))


def _movers(hand: Hand, place: Array, response: PushResponse) -> list[int]:
    """Return the action numbers that move a hand."""
    far = np.abs(response.hold[:, :, place]).max((1, 2))
    if far.max(initial=0.0) < LEAST_MOVED:
        raise WorkspaceError(
            f"hands: {hand.name!r}: no action number moves {hand.position!r} within {SETTLE} steps; name the part that"
            " is the hand's position, or pose=..."
        )
    movers: list[int] = np.flatnonzero(far > SHARE * far.max()).tolist()
    return movers


def _arrival(name: str, response: PushResponse, numbers: Array, columns: Array) -> tuple[str, Array, int]:
    """Return the kind of the numbers, and when their motion arrives."""
    pulse = response.pulse[numbers][:, :, columns]
    left, largest = np.abs(pulse[:, -1]).sum(), np.abs(pulse).max(1).sum()
    kind = TARGETS if left < RETURNED * largest else INCREMENTS
    shown = response.hold[numbers][:, :, columns] if kind == TARGETS else pulse
    end = shown[:, -1]
    arrived = np.einsum("ntc,nc->t", shown, end) / max(float((end * end).sum()), TINY)
    window = min(WINDOW, len(arrived) - 2)
    unsettled = np.abs(arrived[window:] - 1.0).max()
    if unsettled > SETTLED:
        raise WorkspaceError(
            f"hands: {name!r} is still moving {window} steps after a push of one step, so its action is a force without"
            " damping, or a slow or swinging servo; use pose=JointTracking(...), or hold each action for several steps"
        )
    arrival = np.diff(np.concatenate([[0.0], arrived[:window]]))
    arrival[np.abs(arrival) < 1e-3] = 0.0
    last = int(np.flatnonzero(arrival)[-1])
    arrival = arrival[: last + 1] / arrival.sum()
    return kind, arrival, int(np.argmax(np.cumsum(arrival) >= 0.9)) + 1


def _features(probe: Probe, response: PushResponse, kind: str, columns: Array) -> PostureFeatures:
    """Choose observed numbers that show the posture: what changes and stays."""
    shown = response.hold if kind == TARGETS else response.pulse
    end, largest = np.abs(shown[:, -1]).sum(0), np.abs(shown).max(1).sum(0)
    stays = (largest > LEAST_MOVED) & (end > STAYED * largest)
    stays[columns] = largest[columns] > LEAST_MOVED
    parts = [part for part in probe.spec.observation if stays[part.start : part.stop].any()]
    numbers = np.concatenate([np.arange(part.start, part.stop) for part in parts])
    chosen = np.flatnonzero(stays[numbers])
    # Where there are many, the hands' own first, then in order.
    order = sorted(chosen.tolist(), key=lambda i: (numbers[i] not in columns, i))[:NUMBERS]
    kept = np.array(sorted(order), int)
    units = {i: part.unit for part in parts for i in range(part.start, part.stop)}
    angles = np.array([k for k, i in enumerate(numbers[kept]) if units[int(i)] == "rad"], int)
    return PostureFeatures(
        tuple(p.name for p in parts), kept, np.zeros(len(kept)), np.ones(len(kept)), angles
    )


@dataclass(frozen=True, slots=True)
class _Walks:
    """Steps of random episodes, n of them, moved by k numbers.

    Attributes:
        features: (n, f) of the observations before the steps.
        moves: (n, k) of the actions whose motion arrived in each.
        moved: (n, 3 h) what the hands moved by, meters.
        held: (n, k) targets that had arrived before.
        episode: (n,) its number.
    """

    features: Array
    moves: Array
    moved: Array
    held: Array
    episode: Array

    @classmethod
    def of(
        cls,
        probe: Probe,
        numbers: Array,
        kind: str,
        arrival: Array,
        features: PostureFeatures,
        columns: Array,
    ) -> _Walks:
        """Walk at random, and fill mean and scale of the features in.

        Args:
            probe: of the environment.
            numbers: (k,) raw ones that move the hands.
            kind: INCREMENTS or TARGETS.
            arrival: (w,) when a motion arrives.
            features: whose mean and scale are filled in.
            columns: (3 h,) of an observation, the hands' positions.
        """
        shown = np.concatenate(
            [
                np.arange(part.start, part.stop)
                for part in probe.spec.observation
                if part.name in features.parts
            ]
        )[features.columns]
        generator, rows = np.random.default_rng(0), []
        for episode in range(EPISODES):
            acts = _acts(generator, kind, len(numbers))
            actions = np.tile(probe.middle, (WALK, 1))
            actions[:, numbers] += probe.half[numbers] * acts
            seen = probe.watch(list(actions), seed=episode)
            steps = len(seen) - 1
            moves = np.diff(acts, axis=0, prepend=np.zeros((1, len(numbers)))) if kind == TARGETS else acts
            late = np.array([np.convolve(column, arrival)[:steps] for column in moves.T]).T
            held = np.array([np.convolve(column, arrival)[:steps] for column in acts.T]).T
            # The first target is far from where a reset left the robot: that jump is no small motion.
            first = min(WINDOW, steps // 2) if kind == TARGETS else 0
            moved = np.diff(seen[:, columns], axis=0)
            rows.append(
                (seen[:-1, shown][first:], late[first:], moved[first:], np.roll(held, 1, 0)[first:])
                + (np.full(steps - first, episode),)
            )
        before, moves, moved, held, episodes = (np.concatenate(column) for column in zip(*rows, strict=True))
        features.mean[:] = before.mean(0)
        spread = before.std(0)
        features.scale[:] = np.where(spread > TINY, spread, 1.0)
        return cls(features.of_numbers(before), moves, moved, held, episodes)

    def jacobian(self, name: str) -> tuple[Array, Array, float]:
        """Return weights, (3 h, k, f), drift, (3 h,), and how much they explain.

        name: of the hand, for the message.
        """
        count, total = len(self.moved), float((self.moved**2).sum())
        k, f = self.moves.shape[1], self.features.shape[1]
        best: tuple[float, Array, float, int] = (-np.inf, np.zeros(0), 0.0, 1)
        for used in (1, f):  # the same everywhere, or of the posture
            products = (self.moves[:, :, None] * self.features[:, None, :used]).reshape(count, -1)
            inputs = np.concatenate([products, np.ones((count, 1))], axis=1)
            for ridge in RIDGES:
                wrong = 0.0
                for left_out in np.unique(self.episode):
                    inside = self.episode != left_out
                    solved = _ridge(inputs[inside], self.moved[inside], ridge)
                    wrong += float(((self.moved[~inside] - inputs[~inside] @ solved) ** 2).sum())
                fit = 1.0 - wrong / max(total, TINY)
                if fit > best[0] + 1e-9:
                    best = (fit, _ridge(inputs, self.moved, ridge), ridge, used)
        fit, solved, _, used = best
        if fit < EXPLAINED:
            raise WorkspaceError(
                f"hands: what the action does to {name!r} is not understood: no Jacobian that depends on what is"
                f" observed explains more than {max(fit, 0.0):.0%} of its motion; use pose=..., or name the action part"
                " that moves it, motion=..."
            )
        weights = np.zeros((self.moved.shape[1], k, f))
        weights[:, :, :used] = solved[:-1].T.reshape(-1, k, used)
        return weights, solved[-1], fit

    def holding(self) -> Array:
        """Return (k, f) of the targets that hold a posture."""
        return _ridge(self.features, self.held, 1e-6).T

    def reachable(self, hands: int) -> Array:
        """Return (h, 3, 3) projections onto the directions in which hands moved."""
        projections = []
        for hand in range(hands):
            moved = self.moved[:, 3 * hand : 3 * hand + 3]
            values, vectors = np.linalg.eigh(moved.T @ moved)
            able = vectors[:, values > STIFF**2 * values.max()]
            projections.append(able @ able.T)
        return np.array(projections)


def _acts(generator: np.random.Generator, kind: str, count: int) -> Array:
    """Return an episode's random actions, (WALK, count), in halves of their range."""
    if kind == INCREMENTS:
        acts = generator.uniform(-1.0, 1.0, (WALK // HELD + 1, count))
        return np.repeat(acts, HELD, axis=0)[:WALK]
    acts, rows = np.zeros(count), []
    for _ in range(WALK):
        acts = np.clip(acts + generator.normal(0.0, WANDER, count), -0.9, 0.9)
        rows.append(acts)
    return np.array(rows)


def _ridge(inputs: Array, outputs: Array, ridge: float) -> Array:
    """Return the ridge regression of outputs, (inputs, outputs)."""
    squared = inputs.T @ inputs
    damped = squared + ridge * max(float(np.trace(squared)) / len(squared), TINY) * np.eye(len(squared))
    solved: Array = np.linalg.solve(damped, inputs.T @ outputs)
    return solved


def _declared_grips(declaration: Environment, probe: Probe) -> set[int]:
    names = {hand.gripper for hand in declaration.hands if hand.gripper}
    return {i for part in probe.spec.action if part.name in names for i in range(part.start, part.stop)}


def _pose_action(
    declaration: Environment, probe: Probe, response: PushResponse, numbers: Array, kind: str
) -> tuple[
    tuple[HandSpec, ...], tuple[Field, ...], tuple[float, ...], tuple[float, ...], Array, tuple[Array, ...]
]:
    """Return hands, layout and bounds of an action in mode "pose", and the rest."""
    hands: list[HandSpec] = []
    fields: list[Field] = []
    low: list[float] = []
    high: list[float] = []
    grips: list[Array] = []
    used = set(numbers.tolist())
    found = {} if len(declaration.hands) > 1 else _found_grips(probe, response, used)
    for hand in declaration.hands:
        prefix = f"{hand.name}_" if len(declaration.hands) > 1 else ""
        meaning = (
            f"where the hand must go, seen from where it is; measured: {_names(probe, numbers)} are {kind}"
        )
        motion = len(low)
        fields.append(Field(f"{prefix}displacement", motion, motion + 3, "m", meaning))
        low, high = [*low, *[-REACH] * 3], [*high, *[REACH] * 3]
        part = next((part for part in probe.spec.action if part.name == hand.gripper), None)
        grip = list(range(part.start, part.stop)) if part else list(found)
        opens = float(hand.opens or (found.get(grip[0], -1.0) if grip else -1.0))
        gripper = len(low) if grip else -1
        if grip:
            meaning = "-1 opens, 1 closes" if opens < 0 else "1 opens, -1 closes"
            fields.append(Field(f"{prefix}gripper", gripper, gripper + 1, "", meaning))
            low, high = [*low, -1.0], [*high, 1.0]
        used |= set(grip)
        grips.append(np.array(grip, int))
        hands.append(HandSpec(hand.name, hand.position, motion, gripper=gripper, opens=opens))
    passed = passed_on(probe.spec, used, fields, low, high)
    return tuple(hands), tuple(fields), tuple(low), tuple(high), passed, tuple(grips)


def _found_grips(probe: Probe, response: PushResponse, used: set[int]) -> dict[int, float]:
    """Return the number that alone moves a small width, and its opening sign."""
    far = np.abs(response.hold).max(1)  # (n, observation_size)
    for part in probe.spec.observation:
        i = part.start
        if part.size > 1 or part.unit == "rad" or not -1e-3 <= probe.vector[i] < WIDTH:
            continue
        number = int(far[:, i].argmax())
        alone = (
            far[number, i] > 1e-3 and np.delete(far[:, i], number).max(initial=0.0) < 0.05 * far[number, i]
        )
        if alone and number not in used:
            course = response.hold[number, :, i]
            return {number: float(np.sign(course[np.abs(course).argmax()]))}
    return {}
