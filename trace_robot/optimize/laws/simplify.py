"""Laws made plainer or disturbed: what is left when something is left out, and when numbers are a little off."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np

from trace_robot.law import Feedback, Law, Sum
from trace_robot.optimize.laws.structures import rounded

NOISE = 0.1  # disturbance of each number, as a share of it


def size(law: Law) -> int:
    """Return how many terms a law has."""
    return sum(len(total.weights) for total in law.sums)


def without(law: Law, terms: Collection[int]) -> Law:
    """Return the law without some of its terms, numbered in the order of its sums."""
    places = iter(range(size(law)))

    def cut(total: Sum) -> Sum:
        pairs = zip(total.products, total.weights, strict=True)
        kept = [pair for pair in pairs if next(places) not in terms]
        return Sum(tuple(product for product, _ in kept), tuple(weight for _, weight in kept))

    return trimmed(_multiplied(_changed(law, cut)))


def halves(law: Law) -> list[Law]:
    """Return the plainer laws without the switch, and without what the pushes are multiplied by."""
    plainer = []
    if law.near is not None:
        plainer += [Law(law.quantities, law.usual), Law(law.quantities, law.near)]
    if law.usual.lack is not None:
        plainer.append(replace(law, usual=Feedback(law.usual.pushes)))
    return [trimmed(each) for each in plainer]


def disturbed(law: Law, random: np.random.Generator) -> Law:
    """Return the law with each of its numbers a little larger or smaller."""

    def shaken(total: Sum) -> Sum:
        noise = 1.0 + NOISE * random.standard_normal(len(total.weights))
        return Sum(total.products, tuple(rounded(w * x) for w, x in zip(total.weights, noise, strict=True)))

    return _changed(law, shaken)


def _multiplied(law: Law) -> Law:
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


def trimmed(law: Law) -> Law:
    """Return the law without the quantities that it does not use."""
    used = sorted({i for total in law.sums for product in total.products for i in product})
    places = {i: k for k, i in enumerate(used)}

    def moved(total: Sum) -> Sum:
        return Sum(tuple(tuple(places[i] for i in product) for product in total.products), total.weights)

    return replace(_changed(law, moved), quantities=tuple(law.quantities[i] for i in used))


def _changed(law: Law, change: Callable[[Sum], Sum]) -> Law:
    """Return the law with ``change`` made to each of its sums, in their order."""

    def of(feedback: Feedback) -> Feedback:
        pushes = tuple(change(push) for push in feedback.pushes)
        return Feedback(pushes, None if feedback.lack is None else change(feedback.lack))

    usual = of(law.usual)
    if law.near is None or law.nearness is None:
        return replace(law, usual=usual)
    return replace(law, usual=usual, near=of(law.near), nearness=change(law.nearness))
