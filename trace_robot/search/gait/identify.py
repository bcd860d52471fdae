"""System identification for gaits: which joint a control moves, and how long a decision is.

It is found from probe episodes, so that it holds for an environment that names nothing. A control that is pushed either
way from the same condition shows in the first decision how much each rate answers to it; a number whose changes go with
a rate is the angle of that joint, and the change for each unit of rate is the time between two decisions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from trace_robot.search.feedback_law.controller import probe_features
from trace_robot.spec import Array, TaskSpec

PROBE = "look"  # the key of a probe in the data, as laws have it
ALL, SIZES = -1, -2  # probes in which all controls move, and for sizes alone; others push one control
ALIVE = re.compile(r"surviv|alive|healthy", re.IGNORECASE)  # names of the bonus for not having fallen
RATED = 0.5  # share of the probes in which a number must go with the changes of another to be its rate
EVEN = 0.35  # deviation of a rate's ratio to them between probes, as a share, up to which it is
BEFORE, AFTER = (
    re.compile(r"(^|_)(left|front|fore)(?=_|\d|$)"),
    re.compile(r"(^|_)(right|back|hind|rear)(?=_|\d|$)"),
)


def probe_notes(spec: TaskSpec, observations: Array, infos: Mapping[str, float]) -> dict[str, float]:
    """Return what an episode shows of an environment.

    Args:
        spec: the environment.
        observations: (T + 1, observation_size), flat.
        infos: of the last step.

    Returns:
        Numbers of ``probe_features``, and: first_I: number I after the first decision. alive: the reward term of a step
        for not having fallen.
    """
    notes = probe_features(spec, observations)
    if len(observations) > 1:
        notes |= {f"first_{i}": float(observations[1, i]) for i in _shown(spec)}
    notes["alive"] = sum(
        value for name, value in infos.items() if ALIVE.search(name) and not isinstance(value, bool)
    )
    return notes


def size_notes(spec: TaskSpec, observations: Array) -> dict[str, float]:
    """Return mean_I and size_I: mean and root mean square of each number.

    Args:
        spec: the environment.
        observations: (T + 1, observation_size), flat.
    """
    if not len(observations):
        return {}
    means, squares = observations.mean(axis=0).tolist(), (observations**2).mean(axis=0).tolist()
    shown = _shown(spec)
    return {f"mean_{i}": means[i] for i in shown} | {f"size_{i}": squares[i] ** 0.5 for i in shown}


def _shown(spec: TaskSpec) -> list[int]:
    return [index for part in spec.observation for index in range(part.start, part.stop)]


@dataclass(frozen=True, slots=True)
class Morphology:
    """What probes show of a robot.

    angles, rates: of the joint that each number of the action moves, by indices of the observation; -1 where it is not
    seen. step_seconds: of a decision; 1 where no rate is seen. means, spreads: of each shown number. alive: bonus of a
    decision for not having fallen. mirrors: pairs of numbers of the action that are left and right, or front and hind.
    """

    angles: tuple[int, ...]
    rates: tuple[int, ...]
    step_seconds: float
    means: Mapping[int, float]
    spreads: Mapping[int, float]
    alive: float
    mirrors: tuple[tuple[int, int], ...]

    @property
    def timed(self) -> bool:
        """Whether the length of a decision is known."""
        return any(rate >= 0 for rate in self.rates)

    @property
    def posture(self) -> tuple[int, ...]:
        """The numbers that are no joint's, such as height, lean and velocity."""
        return tuple(i for i in self.spreads if i not in {*self.angles, *self.rates})

    @classmethod
    def of(
        cls,
        spec: TaskSpec,
        pushed: Sequence[tuple[Mapping[str, float], Mapping[str, float]]],
        moving: Sequence[Mapping[str, float]],
    ) -> Morphology:
        """Return what holds in several probes.

        Args:
            spec: the environment.
            pushed: notes of each control pushed one way and the other, from the same condition.
            moving: notes of probes in which all controls move.
        """
        every = [*moving, *(notes for pair in pushed for notes in pair)]
        angle_of, seconds = _rated(moving)
        columns = sorted(angle_of)
        answers = np.array(
            [
                [abs(one.get(f"first_{j}", 0.0) - other.get(f"first_{j}", 0.0)) for j in columns]
                for one, other in pushed
            ]
        )
        chosen = _assigned(answers) if len(columns) >= len(pushed) else [-1] * len(pushed)
        rates = tuple(columns[place] if place >= 0 else -1 for place in chosen)
        means, spreads = normalization(spec, moving)
        return cls(
            tuple(angle_of.get(rate, -1) for rate in rates),
            rates,
            seconds or 1.0,
            means,
            spreads,
            max((notes.get("alive", 0.0) for notes in every), default=0.0),
            mirrored(spec),
        )


def normalization(
    spec: TaskSpec, episodes: Sequence[Mapping[str, float]]
) -> tuple[dict[int, float], dict[int, float]]:
    """Return mean and spread of each number that moves.

    Args:
        spec: the environment.
        episodes: notes of probes.
    """
    means, spreads = {}, {}
    for i in _shown(spec):
        mean = float(np.mean([notes.get(f"mean_{i}", 0.0) for notes in episodes]))
        square = float(np.mean([notes.get(f"size_{i}", 0.0) ** 2 for notes in episodes]))
        spread = max(square - mean * mean, 0.0) ** 0.5
        if spread > 1e-6:
            means[i], spreads[i] = float(f"{mean:.4g}"), float(f"{spread:.4g}")
    return means, spreads


def mirrored(spec: TaskSpec) -> tuple[tuple[int, int], ...]:
    """Return pairs of numbers of the action that are each other's mirror image.

    By names with left and right, or front and hind; without such names the second half of the action is taken for the
    mirror image of the first, and the race decides whether that helps.
    """
    names = [
        f"{part.name}_{k}" if part.size > 1 else part.name for part in spec.action for k in range(part.size)
    ]
    places = {name: place for place, name in enumerate(names)}
    pairs = []
    for name, place in places.items():
        for other, second in places.items():
            named = place != second and BEFORE.search(name) and AFTER.search(other)
            if named and BEFORE.sub(r"\1", name) == AFTER.sub(r"\1", other):
                pairs.append((place, second))
    used = [place for pair in pairs for place in pair]
    if len(set(used)) == len(used) == len(names) > 2:  # two joints are a chain, not two sides
        return tuple(pairs)
    half = len(names) // 2
    return tuple((k, k + half) for k in range(half)) if len(names) % 2 == 0 and half > 1 else ()


def _rated(episodes: Sequence[Mapping[str, float]]) -> tuple[dict[int, int], float]:
    """Return the angle that each rate is the rate of, and the seconds of a decision."""
    slopes: dict[tuple[int, int], list[float]] = {}
    for notes in episodes:
        for name, slope in notes.items():
            parts = name.split("_")
            if parts[0] == "rate" and len(parts) == 3 and slope > 0.0:
                slopes.setdefault((int(parts[1]), int(parts[2])), []).append(slope)
    least = RATED * len(episodes)
    held = {
        pair: float(np.median(found))
        for pair, found in slopes.items()
        if len(found) >= least and np.std(found) < EVEN * np.mean(found)
    }
    angle_of: dict[int, int] = {}
    # What goes with a rate by chance has another ratio than most: that of the true ones is the length of a decision.
    usual = float(np.median(list(held.values()))) if held else 1.0
    for rate, angle in sorted(held, key=lambda pair: abs(math.log(held[pair] / usual))):
        if rate not in angle_of and angle not in angle_of.values() and angle not in angle_of:
            angle_of[rate] = angle
    found = [slope for rate, angle in angle_of.items() for slope in slopes[rate, angle]]
    # A mean of two rates is too small where they swing fast, so that a low quantile is nearer.
    return angle_of, float(f"{np.quantile(found, 0.25):.3g}") if found else 0.0


def _assigned(answers: Array) -> list[int]:
    """Return for each control the column of the joint that it moves, all different.

    The product of the answers is as large as can be: inertia is a positive definite matrix, for which a joint's own
    answer, over all of them, is never beaten by those of others.

    Args:
        answers: (controls, rates) how much each rate answers to each control, 0 or more.
    """
    logs = np.log(answers + 1e-12)
    free, chosen = list(range(logs.shape[1])), []
    for row in logs:
        best = max(free, key=lambda place: float(row[place]))
        chosen.append(best)
        free.remove(best)
    better = True
    while better:
        better = False
        for first, second in combinations(range(len(chosen)), 2):
            a, b = chosen[first], chosen[second]
            if logs[first, b] + logs[second, a] > logs[first, a] + logs[second, b] + 1e-9:
                chosen[first], chosen[second], better = b, a, True
        for row, own in enumerate(chosen):
            place = max(free, key=lambda place: float(logs[row, place]), default=own)
            if logs[row, place] > logs[row, own] + 1e-9:
                free[free.index(place)], chosen[row], better = own, place, True
    return chosen
