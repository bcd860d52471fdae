"""System identification of what the numbers of an observation are to one another.

It is found from probe episodes, so that it holds for an environment that names nothing; only which parts have the same
unit, and so may be subtracted, is taken from the description. A worker measures one episode (``probe_features``), the
search puts several together (``Features``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from trace_robot.spec import Array, TaskSpec

NOTES = ("size_", "moves_", "circle_", "rate_", "mean_", "step_", "apart_", "along_")
ALIKE = 1e-4  # squared, as a share: two numbers change by the same, the same way or the opposite one
ON_CIRCLE = 1e-3  # squares of a cosine and a sine add up to 1 this well
LIKE = 0.95  # correlation of a number with the changes of another from which it may be its rate
EVEN = 0.2  # deviation of the ratio of the two between episodes, as a share, up to which it is
MOST = 0.6  # share of episodes in which that must hold: in some, little happens
PAIRS = 6  # pairs of parts that are subtracted, at most: each makes a few structures
HEADING = 0.5  # size in rad from which an angle turns enough to be a heading
LEAST = 8  # decisions of an episode that is long enough for a correlation to mean something


Part = tuple[int, ...]


def comparable_parts(spec: TaskSpec) -> tuple[tuple[Part, Part], ...]:
    """Return pairs of parts of the observation that may be subtracted, axis by axis.

    They have the same size and unit; single numbers without a unit are not compared.
    """
    parts = [(tuple(range(field.start, field.stop)), field.unit) for field in spec.observation]
    pairs = [
        (first, second)
        for (first, unit), (second, other) in combinations(parts, 2)
        if len(first) == len(second) and unit == other and (unit or len(first) > 1)
    ]
    return tuple(pairs[:PAIRS])


def probe_features(spec: TaskSpec, observations: Array) -> dict[str, float]:
    """Return named numbers on what the columns of an episode's observations did.

    Args:
        spec: the environment, whose fields say which numbers are shown.
        observations: (T + 1, observation_size), flat.

    Returns:
        size_I, mean_I: root mean square, and mean. moves_I: 1 if it changed. step_I: root mean square of its change
        between two decisions. apart_I_J: of the difference of numbers of comparable parts. along_I_J: 1 if these
        change alike, or by the opposite, as a place and an error of it. circle_I_J: 1 if the
        squares sum to 1 all the time. rate_J_I and rate_J_I_K: where number J goes with the change of number I, or
        of the angle at I and K, the change for each unit of J.
    """
    shown = [index for part in spec.observation for index in range(part.start, part.stop)]
    numbers: dict[str, float] = {}
    if not len(observations):
        return numbers
    for i in shown:
        column = observations[:, i]
        numbers[f"size_{i}"] = float(np.sqrt(np.mean(column * column)))
        numbers[f"moves_{i}"] = float(np.ptp(column) > 1e-9)
        numbers[f"mean_{i}"] = float(np.mean(column))
        steps = np.diff(column)
        numbers[f"step_{i}"] = float(np.sqrt(np.mean(steps * steps))) if len(steps) else 0.0
    for i, j in (
        pair for first, second in comparable_parts(spec) for pair in zip(first, second, strict=True)
    ):
        apart = observations[:, i] - observations[:, j]
        numbers[f"apart_{i}_{j}"] = float(np.sqrt(np.mean(apart * apart)))
        one, other = np.diff(observations[:, i]), np.diff(observations[:, j])
        step = float(np.sum(one * one + other * other))
        off = min(float(np.sum((one - other) ** 2)), float(np.sum((one + other) ** 2)))
        numbers[f"along_{i}_{j}"] = float(step > 0.0 and off < ALIKE * step)
    moving = [i for i in shown if numbers[f"moves_{i}"]]
    changes: dict[tuple[int, ...], Array] = {(i,): np.diff(observations[:, i]) for i in moving}
    squares = observations[:, moving] ** 2
    for place, i in enumerate(moving):
        off = np.abs(squares[:, place, None] + squares[:, place + 1 :] - 1.0).max(axis=0)
        for j in (moving[place + 1 + int(k)] for k in np.flatnonzero(off < ON_CIRCLE)):
            numbers[f"circle_{i}_{j}"] = 1.0
            changes[(i, j)] = np.diff(np.unwrap(np.arctan2(observations[:, j], observations[:, i])))
    if len(observations) > LEAST and moving:
        keys = list(changes)
        alike = _alike(np.stack(list(changes.values()), axis=1))
        for j in moving:
            middle = (observations[1:, j] + observations[:-1, j]) / 2
            for places in (keys[int(k)] for k in np.flatnonzero(alike(middle))):
                if j not in places and abs(slope := _slope(changes[places], middle)) > 0.0:
                    numbers["_".join(map(str, ("rate", j, *places)))] = slope
    return numbers


def _alike(changes: Array) -> Callable[[Array], Array]:
    """Return a function that says which changes may correlate with a rate.

    It finds a little more than ``_slope``, which decides.
    One product of matrices for all of them: pair by pair takes 6 s for 348 numbers (measured).

    Args:
        changes: (T, count), one a column.
    """
    centred = changes - changes.mean(axis=0)
    sizes = np.sqrt((centred * centred).sum(axis=0))

    def alike(rate: Array) -> Array:
        rate = rate - rate.mean()
        likely: Array = np.abs(rate @ centred) > (LIKE - 1e-6) * np.sqrt(rate @ rate) * sizes - 1e-9
        return likely

    return alike


def _slope(change: Array, rate: Array) -> float:
    """Return the change for each unit of rate, 0 where the two do not correlate."""
    change, rate = change - change.mean(), rate - rate.mean()
    size = float(np.sqrt((change @ change) * (rate @ rate)))
    both = float(change @ rate)
    return both / float(rate @ rate) if size > 1e-12 and abs(both) > LIKE * size else 0.0


@dataclass(frozen=True, slots=True)
class Features:
    """What several probe episodes show, by indices of the flat observation.

    sizes: root mean square of each shown number. pairs: (cosine, sine). rates: numbers that say how fast
    another one, or an angle, changes. still: numbers that stay as they are during an episode, such as goals.
    rest: all others. unrated: those of pairs and rest whose rate is not seen. means, spreads: of each shown
    number. steps: size of its change between two decisions. apart: size of the difference of two numbers.
    errors: pairs of comparable parts that are places, of which one moves, and do not change alike; then parts of
    several numbers that may be errors themselves, each with (). parts: of the observation.
    angles: numbers in rad that may be a heading: they move, far, and are no rates.
    """

    sizes: Mapping[int, float]
    pairs: tuple[tuple[int, int], ...]
    rates: tuple[int, ...]
    still: tuple[int, ...]
    rest: tuple[int, ...]
    unrated: tuple[int, ...] = ()
    means: Mapping[int, float] = field(default_factory=dict)
    spreads: Mapping[int, float] = field(default_factory=dict)
    steps: Mapping[int, float] = field(default_factory=dict)
    apart: Mapping[tuple[int, int], float] = field(default_factory=dict)
    errors: tuple[tuple[Part, Part], ...] = ()
    parts: tuple[Part, ...] = ()
    angles: tuple[int, ...] = ()

    @property
    def numbers(self) -> tuple[int, ...]:
        """All numbers that a field shows."""
        return tuple(self.sizes)

    @property
    def seen(self) -> tuple[int, ...]:
        """The numbers that say where things are: all but the rates."""
        return tuple(i for i in self.sizes if i not in self.rates)

    @classmethod
    def of(cls, spec: TaskSpec, episodes: Sequence[Mapping[str, float]]) -> Features:
        """Return what holds in several episodes.

        Args:
            spec: the environment.
            episodes: what ``probe_features`` gave, of different conditions and controllers: what holds under
                one controller may be its doing.
        """
        shown = [index for part in spec.observation for index in range(part.start, part.stop)]
        sizes = {i: _size(episode.get(f"size_{i}", 0.0) for episode in episodes) for i in shown}
        moves = {i for i in shown if any(episode.get(f"moves_{i}") for episode in episodes)}
        circles = {name for episode in episodes for name in episode if name.startswith("circle_")}
        near = sorted((int(i), int(j)) for _, i, j in (name.split("_") for name in circles))
        pairs = _disjoint(pair for pair in near if moves.issuperset(pair) and _held(episodes, pair))
        paired = {i for pair in pairs for i in pair}
        candidates: dict[int, set[str]] = {}
        for name in {name for episode in episodes for name in episode if name.startswith("rate_")}:
            candidates.setdefault(int(name.split("_")[1]), set()).add(name)
        units = {i: part.unit for part in spec.observation for i in range(part.start, part.stop)}
        known = {
            j: _rated(
                episodes, j, pairs, [name for name in candidates[j] if _may_be_rate(name, units)], units
            )
            for j in shown
            if j in candidates.keys() - paired
        }
        rates = tuple(j for j, of in known.items() if of and j in moves)
        rated = {i for j in rates for i in known[j]}
        still = tuple(i for i in shown if i not in moves)
        rest = tuple(i for i in shown if i not in {*paired, *rates, *still})
        unrated = tuple(i for i in shown if i in {*paired, *rest} - rated)

        def _mean(name: str) -> float:
            return float(np.mean([episode.get(name, 0.0) for episode in episodes])) if episodes else 0.0

        means = {i: _mean(f"mean_{i}") for i in shown}
        # Over all episodes: what differs between them counts, as the place of a goal does.
        squares = {
            i: float(np.mean([episode.get(f"size_{i}", 0.0) ** 2 for episode in episodes] or [0.0]))
            for i in shown
        }
        spreads = {i: max(squares[i] - means[i] ** 2, 0.0) ** 0.5 or sizes[i] for i in shown}
        steps = {i: _size(episode.get(f"step_{i}", 0.0) for episode in episodes) for i in shown}
        both = comparable_parts(spec)
        apart = {
            (i, j): _size(episode.get(f"apart_{i}_{j}", 0.0) for episode in episodes)
            for first, second in both
            for i, j in zip(first, second, strict=True)
        }
        places = {*rest, *still}
        parts = tuple(tuple(range(part.start, part.stop)) for part in spec.observation)
        bound = {
            pair for pair in both if all(_mean(f"along_{i}_{j}") > MOST for i, j in zip(*pair, strict=True))
        }
        errors = tuple(
            pair
            for pair in both
            if places.issuperset({*pair[0], *pair[1]}) and moves & {*pair[0], *pair[1]} and pair not in bound
        )
        # What changes as a place does, such as ``target_from_hook``, may be an error as it is seen; any part may, where
        # nothing can be subtracted.
        alike = {part for pair in bound for part in pair}
        alone = [part for part in parts if len(part) > 1 and {*part} <= {*rest}]
        alone = [part for part in alone if part in alike or not errors]
        errors += tuple((part, ()) for part in alone[:PAIRS])
        angles = tuple(i for i in rest if units[i] == "rad" and sizes[i] > HEADING)
        return cls(
            sizes, pairs, rates, still, rest, unrated, means, spreads, steps, apart, errors, parts, angles
        )


def _size(sizes: Iterable[float]) -> float:
    """Return the upper quartile of sizes, that of busy episodes, 1 for a constant 0."""
    return float(np.quantile(list(sizes), 0.75)) or 1.0


def _held(episodes: Sequence[Mapping[str, float]], pair: tuple[int, int]) -> bool:
    """Return whether a pair lay on the circle in every episode in which both moved."""
    i, j = pair
    moving = [episode for episode in episodes if episode.get(f"moves_{i}") and episode.get(f"moves_{j}")]
    return len(moving) > 0 and all(episode.get(f"circle_{i}_{j}") for episode in moving)


def _disjoint(pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    disjoint: list[tuple[int, int]] = []
    for pair in pairs:
        if not {i for earlier in disjoint for i in earlier} & set(pair):
            disjoint.append(pair)
    return tuple(disjoint)


def _may_be_rate(name: str, units: Mapping[int, str]) -> bool:
    """Return whether a number may be the rate of others: not of those of its unit.

    On a circle x goes with the changes of y, as a rate would; a target that circles is none.
    """
    j, *of = map(int, name.split("_")[1:])
    return not units[j] or all(units[i] != units[j] for i in of)


def _rated(
    episodes: Sequence[Mapping[str, float]],
    j: int,
    pairs: Sequence[tuple[int, int]],
    names: Iterable[str],
    units: Mapping[int, str],
) -> set[int]:
    """Return of which numbers number j, of these names, is mostly the rate."""
    representative = [episode for episode in episodes if any(name.startswith("rate_") for name in episode)]
    circles = {str(i) for pair in pairs for i in pair}
    angles = {"_".join(map(str, ("rate", j, *pair))) for pair in pairs}
    rated: set[int] = set()
    for name in sorted(names):
        slopes = np.array([episode[name] for episode in representative if name in episode])
        # A cosine or sine alone is no place: its change goes with the rate up to a factor that turns with the angle.
        plain = not circles & {*(of := name.split("_")[2:])}
        # What is seen from a goal falls by the rate of what moves; units tell that from chance.
        plain &= bool(slopes.mean() > 0) or all(
            units[int(i)] and units[j] == f"{units[int(i)]}/s" for i in of
        )
        even = slopes.std() < EVEN * abs(slopes.mean())
        if len(slopes) > MOST * len(representative) and even and (plain or name in angles):
            rated.update(map(int, name.split("_")[2:]))
    return rated
