"""System identification of what the numbers of an observation are to one another.

It is found from probe episodes, so that it holds for an environment that names nothing; only which parts have the same
unit, and so may be subtracted, is taken from the description. A worker measures one episode
(``controller.probe_features``), the search puts several together (``Features``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from trace_robot.search.feedback_law.law import (
    Memory,
    Product,
    Quantity,
    Sum,
    rounded,
)
from trace_robot.spec import TaskSpec

EVEN = 0.2  # deviation of the ratio of the two between episodes, as a share, up to which it is
MOST = 0.6  # share of episodes in which that must hold: in some, little happens
PAIRS = 6  # pairs of parts that are subtracted, at most: each makes a few structures
HEADING = 0.5  # size in rad from which an angle turns enough to be a heading
LINKS = 3  # of a chain, at most
SHORT = 0.05  # of the longest link, below which one counts as none
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


@dataclass(frozen=True, slots=True)
class Chain:
    """A planar chain of links: what it moves, its joints, and its links.

    vector: numbers of the vector that moves. joints: of each angle the number, or cosine and sine. links: how far each
    one reaches along the sum of the angles up to its own, and to the left of that. goal: what the vector is to become,
    () for 0.
    """

    vector: tuple[int, int]
    joints: tuple[tuple[int, ...], ...]
    links: tuple[tuple[float, float], ...]
    goal: Part = ()

    def pulls(self) -> tuple[tuple[Quantity, ...], tuple[Sum, ...]]:
        """Return minus the transposed Jacobian times the error, by joints.

        Of sums of angles the cosine and sine are sums of products of theirs.
        """
        quantities = [*error_quantities(self.vector, self.goal)]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What several probe episodes show, by indices of the flat observation.

    sizes: root mean square of each shown number. pairs: (cosine, sine). rates: numbers that say how fast
    another one, or an angle, changes. still: numbers that stay as they are during an episode, such as goals.
    rest: all others. unrated: those of pairs and rest whose rate is not seen. means, spreads: of each shown
    number. steps: size of its change between two decisions. apart: size of the difference of two numbers.
    errors: pairs of comparable parts that are places, of which one moves, and do not change alike; then parts of
    several numbers that may be errors themselves, each with (). parts: of the observation.
    angles: numbers in rad that may be a heading: they move, far, and are no rates. chains: vectors that joints move.
    rated: for each rate the numbers of which it is one. sines: of each pair the number that is 0 where its angle is,
    if a rate grows with the angle.
    """

    sizes: Mapping[int, float]
    pairs: tuple[tuple[int, int], ...] = ()
    rates: tuple[int, ...] = ()
    still: tuple[int, ...] = ()
    rest: tuple[int, ...] = ()
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
    sines: tuple[int, ...] = ()

    @property
    def numbers(self) -> tuple[int, ...]:
        """All numbers that a field shows."""
        return tuple(self.sizes)

    @property
    def seen(self) -> tuple[int, ...]:
        """The numbers that say where things are: all but the rates."""
        return tuple(i for i in self.sizes if i not in self.rates)

    def error_size(self, first: Part, second: Part) -> float:
        """Return the size of the largest axis of an error.

        Args:
            first: a part of the observation.
            second: what is subtracted from it, () where the first is an error itself.
        """
        if not second:
            return max(self.sizes[i] for i in first)
        return max(self.apart.get(pair, 1.0) for pair in zip(first, second, strict=True))

    def rates_of(self, axes: int) -> tuple[list[Part], Part]:
        """Return the parts that are rates of vectors, and the rates that are a part each.

        The latter are one of the former where there is no other, and as many as there are axes, in their order.
        """
        rates = [part for part in self.parts if len(part) == axes and {*part} <= {*self.rates}]
        single = tuple(part[0] for part in self.parts if len(part) == 1 and part[0] in self.rates)
        return ([single] if not rates and len(single) == axes else rates), single

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
        pairs = disjoint(pair for pair in near if moves.issuperset(pair) and _held(episodes, pair))
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
        chains = _with_goals(_chains(episodes), errors)
        sources = {j: tuple(sorted(known[j])) for j in rates}
        return cls(
            sizes=sizes,
            pairs=pairs,
            rates=rates,
            still=still,
            rest=rest,
            unrated=unrated,
            means=means,
            spreads=spreads,
            steps=steps,
            apart=apart,
            errors=errors,
            parts=parts,
            angles=angles,
            chains=chains,
            rated=sources,
            sines=tuple(_sine(episodes, pair) for pair in pairs),
        )


def joint_sets(
    spec: TaskSpec, pairs: Iterable[tuple[int, int]], moving: Collection[int], rated: Collection[int]
) -> list[list[tuple[int, ...]]]:
    """Return what may be the angles of joints.

    Numbers in rad, else cosines and sines, else parts with rates.

    Args:
        spec: the environment.
        pairs: a cosine and a sine each.
        moving: numbers that changed.
        rated: numbers whose rate is seen.
    """
    parts = [[i for i in range(part.start, part.stop) if i in moving] for part in spec.observation]
    units = [part.unit for part in spec.observation]
    plain: list[tuple[int, ...]] = [
        (i,) for part, unit in zip(parts, units, strict=True) if unit == "rad" for i in part
    ]
    if found := plain or list[tuple[int, ...]](pairs):
        return [found[:LINKS]]
    return [
        [(i,) for i in part]
        for part, unit in zip(parts, units, strict=True)
        if not unit and 0 < len(part) <= LINKS and {*part} <= {*rated}
    ]


def planar_vectors(spec: TaskSpec, moving: Collection[int], joints: Collection[int]) -> list[tuple[int, int]]:
    """Return the two numbers that move of each part of two or three.

    Args:
        spec: the environment.
        moving: numbers that changed.
        joints: numbers that are joints.
    """
    found = []
    for part in spec.observation:
        axes = [i for i in range(part.start, part.stop) if i in moving]
        if 2 == len(axes) <= part.size <= 3 and part.unit in ("", "m") and not {*axes} & {*joints}:
            found.append((axes[0], axes[1]))
    return found


def _chains(episodes: Sequence[Mapping[str, float]]) -> list[Chain]:
    """Return the chains that show in most episodes with the same links."""
    found = []
    names = {name.rsplit("_", 1)[0] for episode in episodes for name in episode if name.startswith("link_")}
    for name in sorted(names):
        rows = [episode for episode in episodes if f"{name}_0" in episode]
        if len(rows) <= len(episodes) / 2:
            continue
        _, x, y, text = name.split("_")
        joints = tuple(tuple(map(int, joint.split("+"))) for joint in text.split("-"))
        links = np.median([[row[f"{name}_{k}"] for k in range(2 * len(joints))] for row in rows], axis=0)
        links[np.abs(links) < SHORT * np.abs(links).max()] = 0.0
        found.append(Chain((int(x), int(y)), joints, tuple(map(tuple, links.reshape(-1, 2).tolist()))))
    return found


def _with_goals(chains: Sequence[Chain], errors: Sequence[tuple[Part, Part]]) -> tuple[Chain, ...]:
    """Return chains to each place that their end is compared with, then those to 0.

    Args:
        chains: that probes have shown.
        errors: pairs of parts that may be subtracted.
    """
    found, ends = list[Chain](), {i for chain in chains for i in chain.vector}
    for chain in chains:
        for pair in errors:
            for own, other in (pair, pair[::-1]):
                if {*chain.vector} <= {*own} and other and not {*other} & ends:
                    goal = tuple(other[own.index(i)] for i in chain.vector)
                    found.append(replace(chain, goal=goal))
    return (*found, *chains)


def _size(sizes: Iterable[float]) -> float:
    """Return the upper quartile of sizes, that of busy episodes, 1 for a constant 0."""
    return float(np.quantile(list(sizes), 0.75)) or 1.0


def _held(episodes: Sequence[Mapping[str, float]], pair: tuple[int, int]) -> bool:
    """Return whether a pair lay on the circle in every episode in which both moved."""
    i, j = pair
    moving = [episode for episode in episodes if episode.get(f"moves_{i}") and episode.get(f"moves_{j}")]
    return len(moving) > 0 and all(episode.get(f"circle_{i}_{j}") for episode in moving)


def _sine(episodes: Sequence[Mapping[str, float]], pair: tuple[int, int]) -> int:
    """Return the number of a pair that grows with the angle whose rate is seen."""
    ending = "_{}_{}".format(*pair)
    slopes = [
        slope
        for episode in episodes
        for name, slope in episode.items()
        if name.startswith("rate_") and name.endswith(ending)
    ]
    return pair[0] if slopes and np.median(slopes) < 0.0 else pair[1]


def disjoint(pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return the first pairs that share no number."""
    found: list[tuple[int, int]] = []
    for pair in pairs:
        if not {i for earlier in found for i in earlier} & set(pair):
            found.append(pair)
    return tuple(found)


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


def error_quantities(first: Part, second: Part, memory: Memory = "") -> tuple[Quantity, ...]:
    """Return the error of each axis, a difference or as it is seen, or its change.

    Args:
        first: a part of the observation.
        second: what is subtracted from it, () where the first is an error itself.
        memory: what is kept of each, such as its change.
    """
    if not second:
        return tuple(Quantity("number", i, -1, memory) for i in first)
    return tuple(Quantity("difference", i, j, memory) for i, j in zip(first, second, strict=True))
