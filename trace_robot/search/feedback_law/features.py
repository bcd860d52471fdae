"""System identification of what the numbers of an observation are to one another.

It is found from probe episodes, so that it holds for an environment that names nothing; only which parts have the same
unit, and so may be subtracted, is taken from the description. A worker measures one episode (``probe_features``), the
search puts several together (``Features``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trace_robot.spec import Array, TaskSpec

NOTES = ("size_", "moves_", "circle_", "rate_")
ON_CIRCLE = 1e-3  # squares of a cosine and a sine add up to 1 this well
LIKE = 0.95  # correlation of a number with the changes of another from which it may be its rate
EVEN = 0.2  # deviation of the ratio of the two between episodes, as a share, up to which it is
MOST = 0.6  # share of episodes in which that must hold: in some, little happens
LEAST = 8  # decisions of an episode that is long enough for a correlation to mean something


def probe_features(spec: TaskSpec, observations: Array) -> dict[str, float]:
    """Return named numbers on what the columns of an episode's observations did.

    Args:
        spec: the environment, whose fields say which numbers are shown.
        observations: (T + 1, observation_size), flat.

    Returns:
        size_I: root mean square. moves_I: 1 if it changed. circle_I_J: 1 if the squares sum to 1 all the time.
        rate_J_I and rate_J_I_K: where number J goes with the change of number I, or of the angle at I and K, the
        change for each unit of J.
    """
    shown = [index for field in spec.observation for index in range(field.start, field.stop)]
    numbers: dict[str, float] = {}
    if not len(observations):
        return numbers
    for i in shown:
        column = observations[:, i]
        numbers[f"size_{i}"] = float(np.sqrt(np.mean(column * column)))
        numbers[f"moves_{i}"] = float(np.ptp(column) > 1e-9)
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
    rest: all others.
    """

    sizes: Mapping[int, float]
    pairs: tuple[tuple[int, int], ...]
    rates: tuple[int, ...]
    still: tuple[int, ...]
    rest: tuple[int, ...]

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
        shown = [index for field in spec.observation for index in range(field.start, field.stop)]
        sizes = {i: _size(episode.get(f"size_{i}", 0.0) for episode in episodes) for i in shown}
        moves = {i for i in shown if any(episode.get(f"moves_{i}") for episode in episodes)}
        circles = {name for episode in episodes for name in episode if name.startswith("circle_")}
        near = sorted((int(i), int(j)) for _, i, j in (name.split("_") for name in circles))
        pairs = _disjoint(pair for pair in near if moves.issuperset(pair) and _held(episodes, pair))
        paired = {i for pair in pairs for i in pair}
        candidates: dict[int, set[str]] = {}
        for name in {name for episode in episodes for name in episode if name.startswith("rate_")}:
            candidates.setdefault(int(name.split("_")[1]), set()).add(name)
        rates = tuple(
            j
            for j in shown
            if j in candidates and j in moves - paired and _is_rate(episodes, j, pairs, candidates[j])
        )
        still = tuple(i for i in shown if i not in moves)
        rest = tuple(i for i in shown if i not in {*paired, *rates, *still})
        return cls(sizes, pairs, rates, still, rest)


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


def _is_rate(
    episodes: Sequence[Mapping[str, float]], j: int, pairs: Sequence[tuple[int, int]], names: Iterable[str]
) -> bool:
    """Return whether number j, of these names, is mostly the rate of another one."""
    representative = [episode for episode in episodes if any(name.startswith("rate_") for name in episode)]
    circles = {str(i) for pair in pairs for i in pair}
    angles = {"_".join(map(str, ("rate", j, *pair))) for pair in pairs}
    for name in sorted(names):
        slopes = np.array([episode[name] for episode in representative if name in episode])
        # A cosine or sine alone is no place: its change goes with the rate up to a factor that turns with the angle.
        plain = not circles & set(name.split("_")[2:]) and slopes.mean() > 0
        even = slopes.std() < EVEN * abs(slopes.mean())
        if len(slopes) > MOST * len(representative) and even and (plain or name in angles):
            return True
    return False
