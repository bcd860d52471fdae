"""Structures of laws.

A structure maps a vector of numbers near 1 to a law, so that CMA-ES can begin with one step size for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from trace_robot.search.feedback_law.law import Feedback, FeedbackLaw, Product, Quantity, Sum, rounded
from trace_robot.spec import Array

Products = tuple[Product, ...]
Term = tuple[str, int, tuple[Quantity, ...]]  # of which block, its place, and the product
WIDE = 2.0  # spread of vectors drawn at random, in sizes of a term
FILTER = -0.85  # log odds of the share of a low-pass filter at first: 0.3
LEAST_SHARE = 0.02  # of a low-pass filter
# Powers of 10 between which gains on an error are drawn: a slow ball wants a tenth of what saturates at first.
GAINS = (-1.2, 0.7)


class Began:
    """How the tuning of most structures begins."""

    __slots__ = ()

    @property
    def count(self) -> int:
        """How many numbers it has."""
        raise NotImplementedError

    @property
    def plain_start(self) -> Array | None:
        """Where tuning begins if it does not begin at random: doing nothing."""
        return np.zeros(self.count)

    def drawn(self, random: np.random.Generator, count: int) -> Array:
        """Return vectors to begin with, (count, self.count), of very different sizes.

        Args:
            random: gives the numbers.
            count: how many vectors.
        """
        wide: Array = WIDE * random.standard_normal((count, self.count))
        return wide * 10.0 ** random.uniform(-0.5, 0.5, (count, 1))


@dataclass(frozen=True, slots=True)
class Structure(Began):
    """A law without its numbers.

    controls, energy_gain: the products of the outer feedback. inner_controls: those of the one that takes its
    place where the sum of ``switch`` is positive. Without ``energy_gain`` or ``switch`` there is none. sizes: of
    each quantity, by which weights are scaled. plainer: the name of the structure of the outer feedback alone.
    own: further products of the outer feedback, other ones for each control. sparse: whether it is tried before the
    others. leading: how many products after the first, the constant, are errors, where what is drawn has gains of few
    of them and of the rates behind them; 0 where it has gains of all. Where a quantity is filtered, one more number is
    the log odds of the share of all filters.
    """

    name: str
    quantities: tuple[Quantity, ...]
    sizes: tuple[float, ...]
    actions: int
    controls: Products
    energy_gain: Products = ()
    inner_controls: Products = ()
    switch: Products = ()
    plainer: str = ""
    own: tuple[Products, ...] = ()
    sparse: bool = False
    leading: int = 0
    _blocks: tuple[tuple[str, Products], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        own = self.own or ((),) * self.actions
        blocks = [("outer", self.controls + each) for each in own] + [("gain", self.energy_gain)]
        blocks += [("inner", self.inner_controls)] * self.actions + [("switch", self.switch)]
        object.__setattr__(self, "_blocks", tuple((kind, block) for kind, block in blocks if block))

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return sum(len(block) for _, block in self._blocks) + bool(self.switch) + self.filtered

    @property
    def filtered(self) -> bool:
        """Whether it has a low-pass filter."""
        return any(quantity.memory for quantity in self.quantities)

    @property
    def plain_start(self) -> Array | None:
        """Where tuning begins: doing nothing, or None for the best of what is drawn."""
        return None if self.leading else np.zeros(self.count)

    def drawn(self, random: np.random.Generator, count: int) -> Array:
        """Return vectors to begin with, (count, self.count).

        They have few gains where some products are errors. Half of them are drawn for the sum and the difference of
        each two controls, as two wheels or rotors have it.

        Args:
            random: gives the numbers.
            count: how many vectors.
        """
        if not self.leading:
            return Began.drawn(self, random, count)
        vectors, terms = np.zeros((count, self.count)), len(self.controls)
        rates = np.arange(1 + self.leading, terms)
        for vector in vectors:
            gains = vector[: self.actions * terms].reshape(self.actions, terms)
            for row in gains:
                few = int(random.choice((1, 2, 3), p=(0.5, 0.3, 0.2)))
                errors = 1 + random.permutation(self.leading)[:few]
                damping = random.permutation(rates)[: len(errors)]
                for places in (errors, damping):
                    signs = random.choice((-1.0, 1.0), len(places))
                    row[places] = signs * 10.0 ** random.uniform(*GAINS, len(places))
            if random.random() < 0.5:
                for k in range(0, self.actions - 1, 2):
                    gains[k], gains[k + 1] = gains[k] + gains[k + 1], gains[k] - gains[k + 1]
        return vectors

    def build(self, vector: Sequence[float] | Array) -> FeedbackLaw:
        """Return the law of ``vector``, (count,), in units that make terms 1 in size."""
        sums: dict[str, list[Sum]] = {"outer": [], "gain": [], "inner": [], "switch": []}
        place = 0
        for kind, products in self._blocks:
            weights = tuple(
                rounded(float(vector[place + k]) / self.size_of(product))
                for k, product in enumerate(products)
            )
            sums[kind].append(Sum(products, weights))
            place += len(products)
        outer = Feedback(tuple(sums["outer"]), sums["gain"][0] if self.energy_gain else None)
        quantities = self.quantities
        if self.filtered:
            share = max(rounded(1.0 / (1.0 + math.exp(-max(vector[-1] + FILTER, -50.0)))), LEAST_SHARE)
            quantities = tuple(replace(one, factor=share) if one.memory else one for one in quantities)
        if not self.switch:
            return FeedbackLaw(quantities, outer)
        hysteresis = rounded(abs(float(vector[place])))
        inner = Feedback(tuple(sums["inner"]))
        return FeedbackLaw(quantities, outer, inner, sums["switch"][0], hysteresis)

    def vector_of(self, other: Any, vector: Array) -> Array:
        """Return the vector that builds the same law with this structure.

        Args:
            other: of which the vector is; terms that it lacks become 0, those that it has beyond are lost.
            vector: (other.count,).
        """
        weights = {term: number / size for (term, size), number in zip(other._terms(), vector, strict=True)}
        return np.array([weights.get(term, 0.0) * size for term, size in self._terms()])

    def _terms(self) -> list[tuple[Term, float]]:
        """Return for each number what it is a weight of, and how large that is."""
        terms: list[tuple[Term, float]] = [
            ((kind, place, tuple(self.quantities[i] for i in product)), self.size_of(product))
            for place, (kind, products) in enumerate(self._blocks)
            for product in products
        ]
        if self.switch:
            terms.append((("hysteresis", 0, ()), 1.0))
        return [*terms, (("filter", 0, ()), 1.0)] if self.filtered else terms

    def size_of(self, product: Product) -> float:
        """Return how large a product of quantities is."""
        size = 1.0
        for i in product:
            size *= self.sizes[i]
        return size


@dataclass(frozen=True, slots=True)
class SharedAxes:
    """Proportional-derivative feedback of vectors whose axes are treated alike.

    Gain of axis k of vector v in control j: ``mixing[j, k] * times[v]``, of which ``times[0]`` is 1. So an error of
    which it is unknown which control moves which axis, and which way, takes few numbers. The vector of numbers:
    the mixing row by row, the times, and what filters take.

    dense: the structure with a gain for each, whose products are the axes of the first vector, then of the next.
    axes: of each vector.
    """

    dense: Structure
    axes: int
    switch: ClassVar[Products] = ()
    plainer: ClassVar[str] = ""
    sparse: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Of the kind of law."""
        return self.dense.name

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return self._mixing + self._times + self.dense.filtered

    @property
    def plain_start(self) -> Array | None:
        """None: around doing nothing, times have no effect."""
        return None

    @property
    def _mixing(self) -> int:
        return self.dense.actions * self.axes

    @property
    def _times(self) -> int:
        return len(self.dense.controls) // self.axes - 1

    def build(self, vector: Sequence[float] | Array) -> FeedbackLaw:
        """Return the law of ``vector``, (count,), in units that make terms 1 in size."""
        numbers = np.asarray(vector, float)
        mixing = numbers[: self._mixing].reshape(self.dense.actions, 1, self.axes)
        times = np.concatenate(([1.0], numbers[self._mixing : self._mixing + self._times]))
        gains = (mixing * times[:, None]).ravel()
        return self.dense.build(np.concatenate((gains, numbers[self._mixing + self._times :])))

    def vector_of(self, other: Any, vector: Array) -> Array:
        """Return the vector that builds the same law with this structure.

        Args:
            other: one that differs in its sizes alone.
            vector: (other.count,).
        """
        firsts = self.dense.controls[:: self.axes]
        ratios = np.array([self.dense.size_of(one) / other.dense.size_of(one) for one in firsts])
        scale = np.concatenate((np.full(self._mixing, ratios[0]), ratios[1:] / ratios[0]))
        scale = np.pad(scale, (0, self.count - len(scale)), constant_values=1.0)
        return np.array([number * factor for number, factor in zip(vector, scale, strict=True)])

    def drawn(self, random: np.random.Generator, count: int) -> Array:
        """Return vectors to begin with, (count, self.count).

        Each control is moved by an axis, either way, and a change of the error counts as damping: of 2 axes a law in 8
        has the right signs, where one in hundreds has by numbers drawn one by one.

        Args:
            random: gives the numbers.
            count: how many vectors.
        """
        vectors = np.zeros((count, self.count))
        times = slice(self._mixing, self._mixing + self._times)
        damping = [self._is_damping(one) for one in self.dense.controls[self.axes :: self.axes]]
        for vector in vectors:
            actions = self.dense.actions
            order = np.resize(random.permutation(max(self.axes, actions)) % self.axes, actions)
            mixing = vector[: self._mixing].reshape(actions, self.axes)
            signs = random.choice((-1.0, 1.0), actions)
            mixing[np.arange(actions), order] = signs * 10.0 ** random.uniform(*GAINS)
            sizes = 10.0 ** random.uniform(-0.7, 0.7, self._times)
            vector[times] = np.where(damping, sizes, 0.3 * sizes * random.choice((-1.0, 1.0), self._times))
        return vectors

    def _is_damping(self, product: Product) -> bool:
        quantity = self.dense.quantities[product[0]]
        return (quantity.kind, quantity.memory) == ("difference", "change")


@dataclass(frozen=True, slots=True)
class Synergic(Began):
    """Linear feedback of known products, such as the pull of a chain.

    The vector of numbers: gains of each control on each term.

    synergies: the sums. terms: products of quantities, and of synergies, which stand behind them. scales: how large
    each term is. sparse: whether it is tried before the others, and begins with gains of any signs. joints: how
    many of the first terms are pulls on joints; where each has a control and a rate, half of what is drawn damps them.
    """

    name: str
    quantities: tuple[Quantity, ...]
    synergies: tuple[Sum, ...]
    terms: Products
    scales: tuple[float, ...]
    actions: int
    sparse: bool = False
    joints: int = 0
    switch: ClassVar[Products] = ()
    plainer: ClassVar[str] = ""

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return self.actions * len(self.terms)

    @property
    def plain_start(self) -> Array | None:
        """Where tuning begins: doing nothing, or None for the best of what is drawn."""
        return None if self.sparse else np.zeros(self.count)

    def build(self, vector: Sequence[float] | Array) -> FeedbackLaw:
        """Return the law of ``vector``, (count,), in units that make terms 1 in size."""
        gains = np.asarray(vector, float).reshape(self.actions, len(self.terms)) / np.array(self.scales)
        controls = tuple(Sum(self.terms, tuple(map(rounded, row))) for row in gains.tolist())
        return FeedbackLaw(self.quantities, Feedback(controls), synergies=self.synergies)

    def vector_of(self, other: Any, vector: Array) -> Array:
        """Return the vector that builds the same law with this structure.

        Args:
            other: one that differs in its sizes alone.
            vector: (other.count,).
        """
        gains = np.asarray(vector, float).reshape(self.actions, -1)
        same: Array = (gains * (np.array(self.scales) / np.array(other.scales))).ravel()
        return same

    def drawn(self, random: np.random.Generator, count: int) -> Array:
        """Return vectors to begin with, (count, self.count).

        Args:
            random: gives the numbers.
            count: how many vectors.
        """
        if not self.sparse:
            return Began.drawn(self, random, count)
        shape = (count, self.actions, len(self.terms))
        signs = random.choice((-1.0, 0.0, 1.0), shape, p=(0.4, 0.2, 0.4))
        sizes = 10.0 ** random.uniform(*GAINS, shape)
        gains: Array = signs * sizes
        if self.joints == self.actions <= len(self.terms) - self.joints:
            own = np.eye(*shape[1:]) - np.eye(*shape[1:], k=self.actions)  # pulls, less their rates
            gains[::2] = own * sizes[::2]
        return gains.reshape(count, self.count)


@dataclass(frozen=True, slots=True)
class LowRank(Began):
    """Linear feedback of low rank: gains on a few sums of all numbers.

    A number counts less its mean and in units of its spread (as in augmented random search, Mania et al.,
    arXiv:1803.07055, version V2). The vector of numbers: gains of each control on the synergies, an offset of each
    control, and, where ``groups`` does not fix them, the shares of each number in the synergies.

    groups: for each quantity the synergy that it belongs to and its sign; empty where the shares are tuned.
    """

    name: str
    quantities: tuple[Quantity, ...]
    means: tuple[float, ...]
    spreads: tuple[float, ...]
    actions: int
    rank: int
    groups: tuple[tuple[int, float], ...] = ()
    switch: ClassVar[Products] = ()
    plainer: ClassVar[str] = ""
    sparse: ClassVar[bool] = False

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return self.actions * (self.rank + 1) + (0 if self.groups else self.rank * len(self.quantities))

    def build(self, vector: Sequence[float] | Array) -> FeedbackLaw:
        """Return the law of ``vector``, (count,), in units that make synergies 1 in size."""
        numbers, seen = np.asarray(vector, float), len(self.quantities)
        gains = numbers[: self.actions * (self.rank + 1)].reshape(self.actions, self.rank + 1)
        if self.groups:
            shares = np.zeros((self.rank, seen))
            for i, (group, sign) in enumerate(self.groups):
                shares[group, i] = sign / math.sqrt(sum(group == other for other, _ in self.groups))
        else:
            shares = numbers[gains.size :].reshape(self.rank, seen) / math.sqrt(seen)
        weights = shares / np.asarray(self.spreads)
        used = tuple(seen + k for k in range(self.rank))
        return FeedbackLaw(
            self.quantities,
            Feedback(tuple(Sum(((), *((k,) for k in used)), tuple(map(rounded, row))) for row in gains)),
            synergies=tuple(self._synergy(row) for row in weights),
        )

    def vector_of(self, other: Any, vector: Array) -> Array:
        """Return the vector, whose units are those of the first probes and stay.

        Args:
            other: the same structure.
            vector: (count,).
        """
        return np.array(vector)

    def _synergy(self, weights: Array) -> Sum:
        places = [i for i, weight in enumerate(weights) if weight != 0.0]
        offset = -sum(float(weights[i]) * self.means[i] for i in places)
        numbers = (offset, *(float(weights[i]) for i in places))
        return Sum(((), *((i,) for i in places)), tuple(map(rounded, numbers)))


AnyStructure = Structure | SharedAxes | Synergic | LowRank
