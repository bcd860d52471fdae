"""Structures of laws, from simple to rich, and the simplification of a law.

A structure maps a vector of numbers near 1 to a law, so that CMA-ES can begin with one step size for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations_with_replacement

import numpy as np

from trace_robot.search.feedback_law.features import Features
from trace_robot.search.feedback_law.law import Feedback, FeedbackLaw, Product, Quantity, Sum
from trace_robot.spec import Array

Products = tuple[Product, ...]
Term = tuple[str, int, tuple[Quantity, ...]]  # of which block, its place, and the product
MOST = (
    160  # numbers to tune at most: CMA-ES keeps a matrix of their squares, and needs generations to fill it
)
SPARSE = 6  # choices of numbers, where an observation is too long for all of them
SWITCHED = ", another near"
NOISE = 0.1  # disturbance of each number of a law, as a share of it


@dataclass(frozen=True, slots=True)
class Structure:
    """A law without its numbers.

    controls, energy_gain: the products of the outer feedback. inner_controls: those of the one that takes its
    place where the sum of ``switch`` is positive. Without ``energy_gain`` or ``switch`` there is none. sizes: of
    each quantity, by which weights are scaled. plainer: the name of the structure of the outer feedback alone.
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
    _blocks: tuple[tuple[str, Products], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        blocks = [("outer", self.controls)] * self.actions + [("gain", self.energy_gain)]
        blocks += [("inner", self.inner_controls)] * self.actions + [("switch", self.switch)]
        object.__setattr__(self, "_blocks", tuple((kind, block) for kind, block in blocks if block))

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return sum(len(block) for _, block in self._blocks) + bool(self.switch)

    def build(self, vector: Sequence[float] | Array) -> FeedbackLaw:
        """Return the law of ``vector``, (count,), in units that make terms 1 in size."""
        sums: dict[str, list[Sum]] = {"outer": [], "gain": [], "inner": [], "switch": []}
        place = 0
        for kind, products in self._blocks:
            weights = tuple(
                rounded(float(vector[place + k]) / self._size(product)) for k, product in enumerate(products)
            )
            sums[kind].append(Sum(products, weights))
            place += len(products)
        outer = Feedback(tuple(sums["outer"]), sums["gain"][0] if self.energy_gain else None)
        if not self.switch:
            return FeedbackLaw(self.quantities, outer)
        hysteresis = rounded(abs(float(vector[place])))
        inner = Feedback(tuple(sums["inner"]))
        return FeedbackLaw(self.quantities, outer, inner, sums["switch"][0], hysteresis)

    def vector_of(self, other: Structure, vector: Array) -> Array:
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
            ((kind, place, tuple(self.quantities[i] for i in product)), self._size(product))
            for place, (kind, products) in enumerate(self._blocks)
            for product in products
        ]
        return [*terms, (("hysteresis", 0, ()), 1.0)] if self.switch else terms

    def _size(self, product: Product) -> float:
        size = 1.0
        for i in product:
            size *= self.sizes[i]
        return size


def rounded(number: float) -> float:
    """Return a number with four digits: enough, and can be read."""
    return float(f"{number:.4g}")


def structures(features: Features, actions: int) -> list[Structure]:
    """Return the structures worth trying, simple ones first.

    There is at least one: where each would have more numbers than CMA-ES can tune, sparse ones take their place.

    Args:
        features: what the numbers of the observation are.
        actions: how many numbers the action has.
    """
    table = _Table(features)
    raw = table.single(features.numbers)
    rates, seen = table.single(features.rates), table.single(features.seen)
    # A long observation has millions of products, and no structure with more than MOST is tried.
    few = len(rates) ** 2 <= 2 * MOST
    squares = tuple(a + b for a, b in combinations_with_replacement(rates, 2)) if few else ()
    every = [table.structure("linear feedback", actions, ((), *raw))]
    if features.pairs:
        angles = tuple((table.angle(pair),) for pair in features.pairs)
        others = table.single((*features.rest, *features.rates, *features.still))
        every.append(table.structure("linear feedback of angles", actions, ((), *angles, *others)))
    seen_again = (*features.still, *(i for pair in features.pairs for i in pair))
    if 0 < len(features.rest) * len(seen_again) <= MOST:
        turned = table.crossed(features.rest, seen_again)
        products = (*table.single((*features.rest, *features.rates)), *turned)
        every.append(table.structure("feedback that turns with what it sees", actions, products))
    inner, where = ((), *raw), ((), *seen, *squares)
    if rates and few:
        energy = ((), *squares, *seen)
        every.append(table.structure("energy shaping", actions, rates, energy))
        every.append(table.structure(f"energy shaping{SWITCHED}", actions, rates, energy, inner, where))
    if few:
        every.append(table.structure(f"linear feedback{SWITCHED}", actions, ((), *raw), (), inner, where))
    fitting = [structure for structure in every if structure.count <= MOST]
    return fitting or _sparse(table, actions)


def _sparse(table: _Table, actions: int) -> list[Structure]:
    """Return sparse linear feedback: of a few numbers, in several choices.

    Without knowledge of what matters, the race between them chooses: the first numbers, which are often positions, and
    others at random, the same ones for the same environment.
    """
    features = table.features
    moving = [i for i in features.numbers if i not in features.still] or list(features.numbers)
    room = max(0, min(len(moving), MOST // actions - 1))
    choices = [moving[:room]]
    if 0 < room < len(moving):
        generators = (np.random.default_rng(number) for number in range(1, SPARSE))
        choices += [sorted(one.choice(moving, room, replace=False).tolist()) for one in generators]
    return [
        table.structure(
            f"linear feedback of {room} numbers, choice {k}", actions, ((), *table.single(choice))
        )
        for k, choice in enumerate(choices, start=1)
    ]


class _Table:
    """Makes structures that hold no quantity that they do not use."""

    def __init__(self, features: Features) -> None:
        self.features = features
        self.quantities = [Quantity("number", i) for i in features.numbers]
        self.sizes = [features.sizes[i] for i in features.numbers]
        self.places = {i: place for place, i in enumerate(features.numbers)}

    def single(self, numbers: Sequence[int]) -> Products:
        """Return a product of one factor for each number."""
        return tuple((self.places[i],) for i in numbers)

    def crossed(self, first: Sequence[int], second: Sequence[int]) -> Products:
        """Return the products of each number with each.

        Args:
            first: numbers of the first factor.
            second: of the second.
        """
        return tuple((self.places[i], self.places[j]) for i in first for j in second)

    def angle(self, pair: tuple[int, int]) -> int:
        """Add the angle of a cosine and a sine, and return its place."""
        self.quantities.append(Quantity("angle", *pair))
        self.sizes.append(1.0)
        return len(self.quantities) - 1

    def structure(
        self,
        name: str,
        actions: int,
        controls: Products,
        energy_gain: Products = (),
        inner_controls: Products = (),
        switch: Products = (),
    ) -> Structure:
        """Return a structure of products of this table.

        Args:
            name: of its kind.
            actions: how many numbers the action has.
            controls: of the outer feedback.
            energy_gain: what the controls are multiplied by.
            inner_controls: of the inner feedback.
            switch: of the function that switches between the two.
        """
        blocks = (controls, energy_gain, inner_controls, switch)
        used = sorted({i for block in blocks for product in block for i in product})
        places = {i: place for place, i in enumerate(used)}
        controls, energy_gain, inner_controls, switch = (
            tuple(tuple(places[i] for i in product) for product in block) for block in blocks
        )
        return Structure(
            name,
            tuple(self.quantities[i] for i in used),
            tuple(self.sizes[i] for i in used),
            actions,
            controls,
            energy_gain,
            inner_controls,
            switch,
            name.removesuffix(SWITCHED) if switch else "",
        )


def size(law: FeedbackLaw) -> int:
    """Return how many terms a law has."""
    return sum(len(total.weights) for total in law.sums)


def without_terms(law: FeedbackLaw, terms: Collection[int]) -> FeedbackLaw:
    """Return a law with some of its terms left out.

    Args:
        law: to be simplified.
        terms: places of terms, counted over all sums in their order.
    """
    places = iter(range(size(law)))

    def _cut(total: Sum) -> Sum:
        pairs = zip(total.products, total.weights, strict=True)
        kept = [pair for pair in pairs if next(places) not in terms]
        return Sum(tuple(product for product, _ in kept), tuple(weight for _, weight in kept))

    return _without_unused(_multiplied(_changed(law, _cut)))


def parts(law: FeedbackLaw) -> list[FeedbackLaw]:
    """Return the laws of one feedback alone, and the one without an energy gain."""
    plainer = []
    if law.inner is not None:
        plainer += [FeedbackLaw(law.quantities, law.outer), FeedbackLaw(law.quantities, law.inner)]
    if law.outer.energy_gain is not None:
        plainer.append(replace(law, outer=Feedback(law.outer.controls)))
    return [_without_unused(part) for part in plainer]


def perturbed(law: FeedbackLaw, random: np.random.Generator) -> FeedbackLaw:
    """Return a law with each of its numbers a little larger or smaller.

    Args:
        law: to be tested.
        random: gives one number for each weight, in the order of the sums.
    """

    def _shaken(total: Sum) -> Sum:
        noise = 1.0 + NOISE * random.standard_normal(len(total.weights))
        return Sum(total.products, tuple(rounded(w * x) for w, x in zip(total.weights, noise, strict=True)))

    return _changed(law, _shaken)


def _multiplied(law: FeedbackLaw) -> FeedbackLaw:
    """Return the law with a constant energy gain multiplied into the controls."""
    gain = law.outer.energy_gain
    if gain is None or gain.products != ((),):
        return law
    factor = gain.weights[0]
    controls = (
        Sum(control.products, tuple(rounded(weight * factor) for weight in control.weights))
        for control in law.outer.controls
    )
    return replace(law, outer=Feedback(tuple(controls)))


def _without_unused(law: FeedbackLaw) -> FeedbackLaw:
    """Return the law without the quantities that it does not use."""
    used = sorted({i for total in law.sums for product in total.products for i in product})
    places = {i: k for k, i in enumerate(used)}

    def _moved(total: Sum) -> Sum:
        return Sum(tuple(tuple(places[i] for i in product) for product in total.products), total.weights)

    return replace(_changed(law, _moved), quantities=tuple(law.quantities[i] for i in used))


def _changed(law: FeedbackLaw, change: Callable[[Sum], Sum]) -> FeedbackLaw:
    """Return the law with ``change`` made to each of its sums, in their order."""

    def _feedback_of(feedback: Feedback) -> Feedback:
        controls = tuple(change(control) for control in feedback.controls)
        gain = feedback.energy_gain
        return Feedback(controls, None if gain is None else change(gain))

    outer = _feedback_of(law.outer)
    if law.inner is None or law.switching_function is None:
        return replace(law, outer=outer)
    return replace(
        law,
        outer=outer,
        inner=_feedback_of(law.inner),
        switching_function=change(law.switching_function),
    )
