"""System identification of what the numbers of an observation are to one another.

It is found from probe episodes, so that it holds for an environment that names nothing; only which parts have the same
unit, and so may be subtracted, is taken from the description. A worker measures one episode (``probe_features``), the
search puts several together (``Features``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from trace_robot.search.feedback_law.law import Product, Quantity, Sum, rounded
from trace_robot.spec import Array, TaskSpec

NOTES = ("size_", "moves_", "circle_", "rate_", "mean_", "step_", "apart_", "link_")
ON_CIRCLE = 1e-3  # squares of a cosine and a sine add up to 1 this well
LIKE = 0.95  # correlation of a number with the changes of another from which it may be its rate
EVEN = 0.2  # deviation of the ratio of the two between episodes, as a share, up to which it is
MOST = 0.6  # share of episodes in which that must hold: in some, little happens
PAIRS = 6  # pairs of parts that are subtracted, at most: each makes a few structures
HEADING = 0.5  # size in rad from which an angle turns enough to be a heading
LEAST = 8  # decisions of an episode that is long enough for a correlation to mean something
LINKS = 3  # of a chain, at most
RIGID = 0.05  # share of the motion of a vector that the links of a chain may leave unexplained


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
        between two decisions. apart_I_J: of the difference of numbers of comparable parts. circle_I_J: 1 if the
        squares sum to 1 all the time. rate_J_I and rate_J_I_K: where number J goes with the change of number I, or
        of the angle at I and K, the change for each unit of J. link_N_X_Y_K: see ``_links``.
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
        pairs = _disjoint(sorted(key for key in keys if len(key) == 2))
        numbers |= _links(spec, observations, _turning(spec, pairs, moving), moving)
    return numbers


def _turning(
    spec: TaskSpec, pairs: Iterable[tuple[int, int]], moving: Collection[int]
) -> list[tuple[int, ...]]:
    """Return the angles of joints: numbers in rad, else cosines and sines."""
    parts = [part for part in spec.observation if part.unit == "rad"]
    plain: list[tuple[int, ...]] = [
        (i,) for part in parts for i in range(part.start, part.stop) if i in moving
    ]
    return (plain or [*pairs])[:LINKS]


def _links(
    spec: TaskSpec, observations: Array, joints: Sequence[tuple[int, ...]], moving: Collection[int]
) -> dict[str, float]:
    """Return link_N_X_Y_K: the links of a planar chain of N joints at X, Y.

    Each joint turns all links behind it, so that link k points along the sum of the first k angles. Link k adds
    2 k and 2 k + 1: how far it reaches along that direction and to its left. They are a linear regression of the
    vector's changes on the joints' (the kinematic calibration of a chain), where it explains all of them.

    Args:
        spec: the environment.
        observations: (T + 1, observation_size), flat.
        joints: the numbers that are an angle each, or its cosine and sine.
        moving: the numbers that change.
    """
    found: dict[str, float] = {}
    vectors = [
        (part.start, part.start + 1) for part in spec.observation if (part.size, part.unit) == (2, "m")
    ]
    if not joints or not (vectors := [vector for vector in vectors if {*vector} <= {*moving}]):
        return found
    rows = [
        observations[:, joint[0]]
        if len(joint) == 1
        else np.unwrap(np.arctan2(observations[:, joint[1]], observations[:, joint[0]]))
        for joint in joints
    ]
    angles = np.cumsum(rows, axis=0)
    middle, change = (angles[:, 1:] + angles[:, :-1]) / 2, np.diff(angles)
    cosine, sine = np.cos(middle) * change, np.sin(middle) * change
    columns = np.concatenate([np.stack((-sine, -cosine), 1), np.stack((cosine, -sine), 1)], axis=2)
    columns = columns.reshape(2 * len(joints), -1).T
    for x, y in vectors:
        moved = np.diff(observations[:, [x, y]], axis=0).T.ravel()
        links, *_ = np.linalg.lstsq(columns, moved, rcond=None)
        if np.sum((moved - columns @ links) ** 2) < RIGID * np.sum(moved**2):
            found |= {f"link_{len(joints)}_{x}_{y}_{k}": float(link) for k, link in enumerate(links)}
    return found


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
class Chain:
    """A planar chain of links: what it moves, its joints, and its links.

    vector: numbers of the vector that moves. joints: of each angle the number, or cosine and sine. links: how far each
    one reaches along the sum of the angles up to its own, and to the left of that.
    """

    vector: tuple[int, int]
    joints: tuple[tuple[int, ...], ...]
    links: tuple[tuple[float, float], ...]

    def pulls(self) -> tuple[tuple[Quantity, ...], tuple[Sum, ...]]:
        """Return minus the transposed Jacobian times the vector, by joints.

        Of sums of angles the cosine and sine are sums of products of theirs.
        """
        quantities = [Quantity("number", i) for i in self.vector]
        cosines: list[list[tuple[float, Product]]] = []
        sines: list[list[tuple[float, Product]]] = []
        for joint in self.joints:
            place, plain = len(quantities), len(joint) == 1
            quantities.append(Quantity("cosine" if plain else "number", joint[0]))
            quantities.append(Quantity("sine" if plain else "number", joint[-1]))
            cosine, sine = (cosines[-1], sines[-1]) if cosines else ([(1.0, ())], [])
            cosines.append(_times(cosine, 1.0, place) + _times(sine, -1.0, place + 1))
            sines.append(_times(sine, 1.0, place) + _times(cosine, 1.0, place + 1))
        each = []
        for (along, left), cosine, sine in zip(self.links, cosines, sines, strict=True):
            x = _times(sine, along, 0) + _times(cosine, left, 0)
            y = _times(cosine, -along, 1) + _times(sine, left, 1)
            each.append([(rounded(weight), product) for weight, product in x + y if weight])
        totals = [[term for terms in each[k:] for term in terms] for k in range(len(each))]
        return tuple(quantities), tuple(
            Sum(tuple(product for _, product in total), tuple(weight for weight, _ in total))
            for total in totals
        )


def _times(total: Sequence[tuple[float, Product]], factor: float, place: int) -> list[tuple[float, Product]]:
    return [(factor * weight, (*product, place)) for weight, product in total]


@dataclass(frozen=True, slots=True)
class Features:
    """What several probe episodes show, by indices of the flat observation.

    sizes: root mean square of each shown number. pairs: (cosine, sine). rates: numbers that say how fast
    another one, or an angle, changes. still: numbers that stay as they are during an episode, such as goals.
    rest: all others. unrated: those of pairs and rest whose rate is not seen. means, spreads: of each shown
    number. steps: size of its change between two decisions. apart: size of the difference of two numbers.
    errors: pairs of comparable parts that are places, of which one moves. parts: the parts of the observation.
    angles: numbers in rad that may be a heading: they move, far, and are no rates. chains: vectors that joints move.
    rated: for each rate the numbers of which it is one.
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
    chains: tuple[Chain, ...] = ()
    rated: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

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
            j: _rated(episodes, j, pairs, [name for name in candidates[j] if _may_be_rate(name, units)])
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
        errors = tuple(
            pair for pair in both if places.issuperset({*pair[0], *pair[1]}) and moves & {*pair[0], *pair[1]}
        )
        parts = tuple(tuple(range(part.start, part.stop)) for part in spec.observation)
        angles = tuple(i for i in rest if units[i] == "rad" and sizes[i] > HEADING)
        chains = _chains(episodes, _turning(spec, pairs, moves))
        return cls(
            sizes, pairs, rates, still, rest, unrated, means, spreads, steps, apart, errors, parts, angles,
            chains, {j: tuple(sorted(known[j])) for j in rates},
        )  # fmt: skip


def _chains(episodes: Sequence[Mapping[str, float]], joints: Sequence[tuple[int, ...]]) -> tuple[Chain, ...]:
    """Return the chains that show in most episodes with the same links."""
    found = []
    names = {name.rsplit("_", 1)[0] for episode in episodes for name in episode if name.startswith("link_")}
    for name in sorted(names):
        count, x, y = map(int, name.split("_")[1:])
        rows = [episode for episode in episodes if f"{name}_0" in episode]
        if count != len(joints) or len(rows) <= len(episodes) / 2:
            continue
        links = np.median([[row[f"{name}_{k}"] for k in range(2 * count)] for row in rows], axis=0)
        links[np.abs(links) < RIGID * np.abs(links).max()] = 0.0
        found.append(Chain((x, y), tuple(joints), tuple(map(tuple, links.reshape(count, 2).tolist()))))
    return tuple(found)


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
    episodes: Sequence[Mapping[str, float]], j: int, pairs: Sequence[tuple[int, int]], names: Iterable[str]
) -> set[int]:
    """Return of which numbers number j, of these names, is mostly the rate."""
    representative = [episode for episode in episodes if any(name.startswith("rate_") for name in episode)]
    circles = {str(i) for pair in pairs for i in pair}
    angles = {"_".join(map(str, ("rate", j, *pair))) for pair in pairs}
    rated: set[int] = set()
    for name in sorted(names):
        slopes = np.array([episode[name] for episode in representative if name in episode])
        # A cosine or sine alone is no place: its change goes with the rate up to a factor that turns with the angle.
        plain = not circles & set(name.split("_")[2:]) and slopes.mean() > 0
        even = slopes.std() < EVEN * abs(slopes.mean())
        if len(slopes) > MOST * len(representative) and even and (plain or name in angles):
            rated.update(map(int, name.split("_")[2:]))
    return rated
