"""The structures of laws worth trying in an environment, from simple to rich."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np

from trace_robot.search.feedback_law.features import Features, Part, error_quantities
from trace_robot.search.feedback_law.law import Product, Quantity, Sum
from trace_robot.search.feedback_law.structures import (
    AnyStructure,
    LowRank,
    Products,
    SharedAxes,
    Structure,
    Synergic,
)

LINEAR = "linear feedback"
MIRRORED, SWINGING = "odd feedback", "odd feedback that swings"
SWITCHED = ", another near"
RANKS = (1, 2, 4)
HEADINGS = 2  # angles that an error is turned by, at most: each is a structure more
# Numbers to tune at most: CMA-ES keeps a matrix of their squares, and needs generations to fill it.
MOST = 160
MOST_RATES = 4  # rates that an error in the frame of the robot is damped by, at most
SPARSE = 6  # choices of numbers, where an observation is too long for all of them


def structures(features: Features, actions: int) -> list[AnyStructure]:
    """Return the structures worth trying, simple ones first.

    There is at least one: where linear feedback would have more numbers than CMA-ES can tune, that of low rank and that
    of a few numbers take its place.

    Args:
        features: what the numbers of the observation are.
        actions: how many numbers the action has.
    """
    every = _every(features, actions)
    fitting = [structure for structure in every if structure.count <= MOST]
    if not any(structure.name == LINEAR for structure in fitting):
        fitting += [*_low_rank(features, actions), *_sparse(_Table(features), actions)]
    return fitting


def left_out(features: Features, actions: int) -> str:
    """Return a sentence on the structures with too many numbers, "" without any.

    Args:
        features: what the numbers of the observation are.
        actions: how many numbers the action has.
    """
    names = [structure.name for structure in _every(features, actions) if structure.count > MOST]
    return f"left out, having more than {MOST} numbers: {'; '.join(names)}" if names else ""


def _every(features: Features, actions: int) -> list[AnyStructure]:
    """Return all structures that make sense, with however many numbers."""
    table = _Table(features)
    raw = table.single(features.numbers)
    rates, seen = table.single(features.rates), table.single(features.seen)
    # A long observation has millions of products, and no structure with more than MOST is tried.
    few = len(rates) ** 2 <= 2 * MOST
    squares = tuple(a + b for a, b in combinations_with_replacement(rates, 2)) if few else ()
    every: list[AnyStructure] = [
        *_of_errors(features, actions),
        *_in_body_frame(features, actions),
        *_of_chains(features, actions),
        *_of_places(features, actions),
        *_mirrored(features, actions),
    ]
    every.append(table.structure(LINEAR, actions, ((), *raw)))
    if features.pairs:
        angles = tuple((table.add(Quantity("angle", *pair), 1.0),) for pair in features.pairs)
        others = table.single((*features.rest, *features.rates, *features.still))
        every.append(table.structure(f"{LINEAR} of angles", actions, ((), *angles, *others)))
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
        every.append(table.structure(f"{LINEAR}{SWITCHED}", actions, ((), *raw), (), inner, where))
    if features.unrated:
        every.append(_of_changes(features, actions))
    return every


def _of_errors(features: Features, actions: int) -> list[AnyStructure]:
    """Return proportional-derivative feedback of the difference of two parts.

    The sparse ones, for each pair of parts, treat all axes alike, or move each by a single control.
    """
    table = _Table(features)
    every: list[AnyStructure] = []
    whole: dict[Product, None] = {}
    for number, pair in enumerate(features.errors, start=1):
        axes, which = len(pair[0]), f", pair {number}" if len(features.errors) > 1 else ""
        vectors = table.vectors(*pair)
        products = tuple((i,) for vector in vectors for i in vector)
        whole.update(dict.fromkeys(products))
        if axes > 1:
            dense = table.structure(f"linear feedback of an error, axes alike{which}", actions, products)
            every.append(SharedAxes(dense, axes))
        if axes == actions:
            own = tuple(tuple((vector[k],) for vector in vectors) for k in range(axes))
            name = f"linear feedback of an error, an axis each{which}"
            every.append(replace(table.structure(name, actions, (), own=own), sparse=True))
    if whole:
        # Whatever is seen beside errors may have to become something as well, such as upright.
        taken = {i for pair in features.errors for part in pair for i in part}
        whole.update(dict.fromkeys(table.single([i for i in features.rest if i not in taken])))
        whole.update(dict.fromkeys(table.single(features.rates)))
        rates = {i for i, one in enumerate(table.quantities) if one.memory or one.index in features.rates}
        errors = [product for product in whole if not rates & {*product}]
        damping = [product for product in whole if rates & {*product}]
        dense = table.structure("linear feedback of errors", actions, ((), *errors, *damping))
        every.append(replace(dense, sparse=True, leading=len(errors)))
    return every


def _in_body_frame(features: Features, actions: int) -> list[AnyStructure]:
    """Return feedback of planar errors in the frame of what has a heading.

    The heading is an angle, or its cosine and sine.

    What steers by wheels, rudders or legs moves along its own axes, whatever way it looks (Kanayama et al., IEEE
    International Conference on Robotics and Automation, 1990).
    """
    pairs = [(Quantity("number", i), Quantity("number", j)) for i, j in features.pairs]
    pairs += [(Quantity("cosine", i), Quantity("sine", i)) for i in features.angles]
    made: list[AnyStructure] = []
    rates = features.rates if len(features.rates) <= MOST_RATES else ()
    damping = tuple(Quantity("number", i) for i in rates)
    # Of differences east and north, and of cosine and sine of the heading: what is ahead, and what to the left.
    ahead, left = Sum(((0, 2), (1, 3)), (1.0, 1.0)), Sum(((1, 2), (0, 3)), (1.0, -1.0))
    for number, (first, second) in enumerate(features.errors, start=1):
        if not 2 <= len(first) <= 3:
            continue
        sizes = [features.sizes[i] for i in first]
        if second:
            sizes = [features.apart.get(place, 1.0) for place in zip(first, second, strict=True)]
        east, north, *up = error_quantities(first, second)
        scales = (max(sizes[:2]), max(sizes[:2]), *sizes[2:], *(features.sizes[i] for i in rates))
        for turn, turned in enumerate(pairs[:HEADINGS], start=1):
            which = f", pair {number}" * (len(features.errors) > 1) + f", angle {turn}" * (len(pairs) > 1)
            name, quantities = (
                f"feedback of an error as the robot sees it{which}",
                (east, north, *turned, *up, *damping),
            )
            terms = ((len(quantities),), (len(quantities) + 1,), *((k,) for k in range(4, len(quantities))))
            made.append(Synergic(name, quantities, (ahead, left), terms, scales, actions, sparse=True))
    return made


def _of_chains(features: Features, actions: int) -> list[AnyStructure]:
    """Return feedback of a vector that is to become 0, through a chain of joints.

    That is the transposed Jacobian times the vector (Takegaki and Arimoto, Journal of Dynamic Systems, Measurement, and
    Control, 1981). Probes have shown the links.
    """
    made: list[AnyStructure] = []
    for number, chain in enumerate(features.chains, start=1):
        quantities, pulls = chain.pulls()
        rates = [
            j for joint in chain.joints for j in features.rates if {*joint} & {*features.rated.get(j, ())}
        ]
        rates = [*dict.fromkeys((*rates, *features.rates))][:MOST_RATES]
        sizes = [features.sizes[i] for i in chain.vector]
        if chain.goal:
            apart = features.apart
            sizes = [
                apart.get(pair, apart.get(pair[::-1], 1.0))
                for pair in zip(chain.vector, chain.goal, strict=True)
            ]
        scales = [max(sizes) * sum(map(abs, sum(chain.links[k:], ()))) for k in range(len(pulls))]
        scales += [features.sizes[i] for i in rates]
        numbers = tuple(Quantity("number", i) for i in rates)
        products = [(len(quantities) + len(rates) + k,) for k in range(len(pulls))]
        products += [(len(quantities) + k,) for k in range(len(rates))]
        name = "feedback of an error through a chain" + f", vector {number}" * (len(features.chains) > 1)
        terms, sums = tuple(products), tuple(scales)
        made.append(Synergic(name, quantities + numbers, pulls, terms, sums, actions, True, len(pulls)))
    return made


def _of_places(features: Features, actions: int) -> list[AnyStructure]:
    """Return proportional-derivative feedback of a place that is to become 0."""
    table, made = _Table(features), list[AnyStructure]()
    compared = {i for first, second in features.errors for i in (*first, *second)}
    rate_of = {numbers[0]: rate for rate, numbers in features.rated.items() if len(numbers) == 1}
    for part in features.parts:
        rates = [rate_of[i] for i in part if i in rate_of]
        if 2 <= len(part) == len(rates) <= 3 and not {*part} & compared:
            size, speed = (max(features.sizes[i] for i in numbers) for numbers in (part, rates))
            products = [(table.add(Quantity("number", i), size),) for i in part]
            products += [(table.add(Quantity("number", i), speed),) for i in rates]
            name, axes = "linear feedback of a place", len(part)
            made.append(SharedAxes(table.structure(f"{name}, axes alike", actions, tuple(products)), axes))
            if axes == actions:
                own = tuple((products[k], products[axes + k]) for k in range(axes))
                plain = table.structure(f"{name}, an axis each", actions, (), own=own)
                made.append(replace(plain, sparse=True))
    return made


def _mirrored(features: Features, actions: int) -> list[AnyStructure]:
    """Return feedback that is odd: what is seen in a mirror gets the opposite control.

    So cosines and constants are no control by themselves, but factors of a rate: energy that is lacking, or a pivot
    that pushes one way above and the other below (Astrom and Furuta, Automatica 36, 2000).
    """
    if not features.pairs or features.still or features.errors:
        return []
    table, cosines = _Table(features), [i for pair in features.pairs for i in pair if i not in features.sines]
    odd = table.single([i for i in features.numbers if i not in cosines])
    swings = []
    for rate, numbers in features.rated.items():
        (fast,) = table.single([rate])
        for cosine in table.single([i for i in numbers if i in cosines]):
            swings += [fast + cosine, fast * 3, fast + cosine * 2, fast * 3 + cosine]
    even = ((), *table.single(cosines), *(fast * 2 for fast in table.single(features.rates)))
    made: list[AnyStructure] = [replace(table.structure(MIRRORED, actions, odd), sparse=True)]
    if swings:
        made.append(table.structure(SWINGING, actions, (*odd, *swings)))
        made.append(table.structure(f"{SWINGING}{SWITCHED}", actions, (*odd, *swings), (), odd, even))
    return made


def _of_changes(features: Features, actions: int) -> Structure:
    """Return linear feedback with changes, where rates are not seen, and last actions."""
    table = _Table(features)
    paired = {i for pair in features.pairs for i in pair}
    changes = [
        table.add(Quantity("number", i, -1, "change"), features.steps.get(i, 1.0))
        for i in features.unrated
        if i not in paired
    ]
    changes += [
        table.add(Quantity("angle", *pair, "change"), max(features.steps.get(i, 1.0) for i in pair))
        for pair in features.pairs
        if pair[0] in features.unrated
    ]
    last = tuple(((table.add(Quantity("action", j), 1.0),),) for j in range(actions))
    products = ((), *table.single(features.numbers), *((i,) for i in changes))
    return table.structure(f"{LINEAR} with changes and the last action", actions, products, own=last)


def _low_rank(features: Features, actions: int) -> list[AnyStructure]:
    """Return linear feedback of low rank, and of random groups of numbers."""
    moving = [i for i in features.numbers if i not in features.still] or list(features.numbers)
    quantities = tuple(Quantity("number", i) for i in moving)
    means = tuple(features.means.get(i, 0.0) for i in moving)
    spreads = tuple(features.spreads.get(i, features.sizes[i]) for i in moving)
    made = [LowRank(f"{LINEAR} of rank {rank}", quantities, means, spreads, actions, rank) for rank in RANKS]
    groups = min(MOST // actions - 1, len(moving) - 1)
    if groups > 0:
        random = np.random.default_rng(0)  # the same groups each time
        group = tuple(
            zip(
                random.permutation(len(moving)).tolist(),
                random.choice((-1.0, 1.0), len(moving)).tolist(),
                strict=True,
            )
        )
        group = tuple((place % groups, sign) for place, sign in group)
        made.append(
            LowRank(f"{LINEAR} of {groups} groups", quantities, means, spreads, actions, groups, group)
        )
    return [structure for structure in made if structure.count <= MOST]


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
        table.structure(f"{LINEAR} of {room} numbers, choice {k}", actions, ((), *table.single(choice)))
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

    def add(self, quantity: Quantity, size: float) -> int:
        """Add a quantity, where it is not there, and return its place.

        Args:
            quantity: what it is.
            size: root mean square.
        """
        # Not the plain numbers of the observation, which have sizes that differ between axes.
        if quantity not in self.quantities[len(self.places) :]:
            self.quantities.append(quantity)
            self.sizes.append(size or 1.0)
        return self.quantities.index(quantity, len(self.places))

    def vectors(self, first: Part, second: Part) -> list[tuple[int, ...]]:
        """Return the places of vectors: an error, its rate, and the rate of what moves.

        Where no part of that size is a rate, changes from one decision to the next take its place. All axes of a vector
        have the same size.

        Args:
            first: indices of a part.
            second: of the one that it is compared with, () where it is an error itself.
        """
        features = self.features
        error, (rates, single) = features.error_size(first, second), features.rates_of(len(first))
        found = [tuple(self.add(one, error) for one in error_quantities(first, second))]
        for part in rates:
            size = max(features.sizes[i] for i in part)
            found.append(tuple(self.add(Quantity("number", i), size) for i in part))
        steps = [max(features.steps.get(i, 0.0) for i in part) for part in (first, second) if part]
        # The rate of an error damps whatever way it is driven; that of a joint must have the right sign on each axis.
        if not rates or rates == [single] or not second:
            size = max(steps)
            found.append(tuple(self.add(one, size) for one in error_quantities(first, second, "change")))
        if not rates and second and min(steps) > 0.0 and not {*first, *second} & {*features.still}:
            found.append(tuple(self.add(Quantity("number", i, -1, "change"), steps[1]) for i in second))
        return found

    def structure(
        self,
        name: str,
        actions: int,
        controls: Products,
        energy_gain: Products = (),
        inner_controls: Products = (),
        switch: Products = (),
        own: tuple[Products, ...] = (),
    ) -> Structure:
        """Return a structure of products of this table.

        Args:
            name: of its kind.
            actions: how many numbers the action has.
            controls: of the outer feedback.
            energy_gain: what the controls are multiplied by.
            inner_controls: of the inner feedback.
            switch: of the function that switches between the two.
            own: of the outer feedback, other ones for each control.
        """
        blocks = (controls, energy_gain, inner_controls, switch, *own)
        used = sorted({i for block in blocks for product in block for i in product})
        places = {i: place for place, i in enumerate(used)}
        controls, energy_gain, inner_controls, switch, *own_again = (
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
            tuple(own_again),
        )
