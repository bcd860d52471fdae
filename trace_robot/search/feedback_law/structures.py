"""Shapes of laws from simple to rich, each a map from a vector of numbers near 1 to a law."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations_with_replacement

import numpy as np

from trace_robot.search.feedback_law import Feedback, FeedbackLaw, Quantity, Sum
from trace_robot.search.feedback_law.features import Features
from trace_robot.search.feedback_law.law import Product
from trace_robot.spec import Array

Products = tuple[Product, ...]
Term = tuple[str, int, tuple[Quantity, ...]]  # of which block, its place, and the product
MOST = 160  # numbers to tune at most
SWITCHED = ", another near"


@dataclass(frozen=True, slots=True)
class Shape:
    """A law without its numbers.

    plainer: the name of the shape of its usual feedback alone.
    pushes, lack: the products of the usual feedback; near_pushes: of the one that takes its place where the
    sum of ``nearness`` is positive. Without ``lack`` or ``nearness`` there is none.
    """

    name: str
    quantities: tuple[Quantity, ...]
    sizes: tuple[float, ...]
    actions: int
    pushes: Products
    lack: Products = ()
    near_pushes: Products = ()
    nearness: Products = ()
    plainer: str = ""
    _blocks: tuple[tuple[str, Products], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        blocks = [("push", self.pushes)] * self.actions + [("lack", self.lack)]
        blocks += [("near", self.near_pushes)] * self.actions + [("nearness", self.nearness)]
        object.__setattr__(self, "_blocks", tuple((kind, block) for kind, block in blocks if block))

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return sum(len(block) for _, block in self._blocks) + bool(self.nearness)

    def build(self, vector: Sequence[float] | Array) -> FeedbackLaw:
        """Return the law whose weights are the vector's numbers in units of what makes each term 1 in size."""
        sums: dict[str, list[Sum]] = {"push": [], "lack": [], "near": [], "nearness": []}
        place = 0
        for kind, products in self._blocks:
            weights = tuple(
                rounded(float(vector[place + k]) / self._size(product)) for k, product in enumerate(products)
            )
            sums[kind].append(Sum(products, weights))
            place += len(products)
        usual = Feedback(tuple(sums["push"]), sums["lack"][0] if self.lack else None)
        if not self.nearness:
            return FeedbackLaw(self.quantities, usual)
        slack = rounded(abs(float(vector[place])))
        return FeedbackLaw(self.quantities, usual, Feedback(tuple(sums["near"])), sums["nearness"][0], slack)

    def vector_of(self, other: Shape, vector: Array) -> Array:
        """Return the vector that builds the law that ``vector`` builds with ``other``; 0 for terms it lacks."""
        weights = {term: number / size for (term, size), number in zip(other._terms(), vector, strict=True)}
        return np.array([weights.get(term, 0.0) * size for term, size in self._terms()])

    def _terms(self) -> list[tuple[Term, float]]:
        """Return for each number what it is a weight of, and how large that is."""
        terms: list[tuple[Term, float]] = [
            ((kind, place, tuple(self.quantities[i] for i in product)), self._size(product))
            for place, (kind, products) in enumerate(self._blocks)
            for product in products
        ]
        return [*terms, (("slack", 0, ()), 1.0)] if self.nearness else terms

    def _size(self, product: Product) -> float:
        size = 1.0
        for i in product:
            size *= self.sizes[i]
        return size


def rounded(number: float) -> float:
    """Four digits are enough, and can be read."""
    return float(f"{number:.4g}")


def shapes(features: Features, actions: int) -> list[Shape]:
    """Return the shapes worth trying, simple ones first."""
    table = _Table(features)
    raw = table.single(features.numbers)
    rates, seen = table.single(features.rates), table.single(features.seen)
    squares = tuple(a + b for a, b in combinations_with_replacement(rates, 2))
    found = [table.shape("linear feedback", actions, ((), *raw))]
    if features.pairs:
        angles = tuple((table.angle(pair),) for pair in features.pairs)
        others = table.single((*features.rest, *features.rates, *features.still))
        found.append(table.shape("linear feedback of angles", actions, ((), *angles, *others)))
    turned = table.crossed(features.rest, (*features.still, *(i for pair in features.pairs for i in pair)))
    if turned:
        products = (*table.single((*features.rest, *features.rates)), *turned)
        found.append(table.shape("feedback that turns with what it sees", actions, products))
    near, where = ((), *raw), ((), *seen, *squares)
    if rates:
        energy = ((), *squares, *seen)
        found.append(table.shape("energy shaping", actions, rates, energy))
        found.append(table.shape(f"energy shaping{SWITCHED}", actions, rates, energy, near, where))
    found.append(table.shape(f"linear feedback{SWITCHED}", actions, ((), *raw), (), near, where))
    return [shape for shape in found if shape.count <= MOST]


class _Table:
    """Makes shapes that hold no quantity that they do not use."""

    def __init__(self, features: Features) -> None:
        self.features = features
        self.quantities = [Quantity("number", i) for i in features.numbers]
        self.sizes = [features.sizes[i] for i in features.numbers]
        self.places = {i: place for place, i in enumerate(features.numbers)}

    def single(self, numbers: Sequence[int]) -> Products:
        return tuple((self.places[i],) for i in numbers)

    def crossed(self, first: Sequence[int], second: Sequence[int]) -> Products:
        return tuple((self.places[i], self.places[j]) for i in first for j in second)

    def angle(self, pair: tuple[int, int]) -> int:
        self.quantities.append(Quantity("angle", *pair))
        self.sizes.append(1.0)
        return len(self.quantities) - 1

    def shape(
        self,
        name: str,
        actions: int,
        pushes: Products,
        lack: Products = (),
        near_pushes: Products = (),
        nearness: Products = (),
    ) -> Shape:
        blocks = (pushes, lack, near_pushes, nearness)
        used = sorted({i for block in blocks for product in block for i in product})
        places = {i: place for place, i in enumerate(used)}
        pushes, lack, near_pushes, nearness = (
            tuple(tuple(places[i] for i in product) for product in block) for block in blocks
        )
        quantities, sizes = [self.quantities[i] for i in used], [self.sizes[i] for i in used]
        plainer = name.removesuffix(SWITCHED) if nearness else ""
        return Shape(
            name, tuple(quantities), tuple(sizes), actions, pushes, lack, near_pushes, nearness, plainer
        )


NOISE = 0.1  # disturbance of each number, as a share of it


def size(law: FeedbackLaw) -> int:
    """Return how many terms a law has."""
    return sum(len(total.weights) for total in law.sums)


def without(law: FeedbackLaw, terms: Collection[int]) -> FeedbackLaw:
    """Return the law without some of its terms, numbered in the order of its sums."""
    places = iter(range(size(law)))

    def cut(total: Sum) -> Sum:
        pairs = zip(total.products, total.weights, strict=True)
        kept = [pair for pair in pairs if next(places) not in terms]
        return Sum(tuple(product for product, _ in kept), tuple(weight for _, weight in kept))

    return trimmed(_multiplied(_changed(law, cut)))


def halves(law: FeedbackLaw) -> list[FeedbackLaw]:
    """Return the plainer laws without the switch, and without what the pushes are multiplied by."""
    plainer = []
    if law.near is not None:
        plainer += [FeedbackLaw(law.quantities, law.usual), FeedbackLaw(law.quantities, law.near)]
    if law.usual.lack is not None:
        plainer.append(replace(law, usual=Feedback(law.usual.pushes)))
    return [trimmed(each) for each in plainer]


def disturbed(law: FeedbackLaw, random: np.random.Generator) -> FeedbackLaw:
    """Return the law with each of its numbers a little larger or smaller."""

    def shaken(total: Sum) -> Sum:
        noise = 1.0 + NOISE * random.standard_normal(len(total.weights))
        return Sum(total.products, tuple(rounded(w * x) for w, x in zip(total.weights, noise, strict=True)))

    return _changed(law, shaken)


def _multiplied(law: FeedbackLaw) -> FeedbackLaw:
    """Return the law with a lack that is always the same multiplied into the pushes."""
    lack = law.usual.lack
    if lack is None or lack.products != ((),):
        return law
    factor = lack.weights[0]
    pushes = (
        Sum(push.products, tuple(rounded(weight * factor) for weight in push.weights))
        for push in law.usual.pushes
    )
    return replace(law, usual=Feedback(tuple(pushes)))


def trimmed(law: FeedbackLaw) -> FeedbackLaw:
    """Return the law without the quantities that it does not use."""
    used = sorted({i for total in law.sums for product in total.products for i in product})
    places = {i: k for k, i in enumerate(used)}

    def moved(total: Sum) -> Sum:
        return Sum(tuple(tuple(places[i] for i in product) for product in total.products), total.weights)

    return replace(_changed(law, moved), quantities=tuple(law.quantities[i] for i in used))


def _changed(law: FeedbackLaw, change: Callable[[Sum], Sum]) -> FeedbackLaw:
    """Return the law with ``change`` made to each of its sums, in their order."""

    def of(feedback: Feedback) -> Feedback:
        pushes = tuple(change(push) for push in feedback.pushes)
        return Feedback(pushes, None if feedback.lack is None else change(feedback.lack))

    usual = of(law.usual)
    if law.near is None or law.nearness is None:
        return replace(law, usual=usual)
    return replace(law, usual=usual, near=of(law.near), nearness=change(law.nearness))
