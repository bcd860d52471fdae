"""Feedback laws as frozen data: what interpreter, writer and search share.

A law turns the flat observation into an action by sums of products: linear state feedback, energy shaping
(Astrom and Furuta, Automatica 36, 2000: feedback times the energy that is missing), and switching between two
feedbacks with hysteresis.

A law may have a state for the length of an episode: of a number it may read the change since the last decision or an
average, both low-pass filtered (an exponentially weighted mean), and the last action.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast, get_args

import numpy as np

from trace_robot.errors import PolicyError
from trace_robot.spec import Field, TaskSpec

Kind = Literal["number", "angle", "difference", "action", "cosine", "sine"]
Memory = Literal["", "change", "average"]
Product = tuple[int, ...]
KEY = "law"
NOISE = 0.1  # disturbance of each number of a law, as a share of it
# Further keys: where episodes of the law are probes, see ``controller.probe_features``, and where they end early.
PROBE, DECISIONS = "look", "decisions"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number read from the flat observation, or kept since the last decision.

    kind "number": the one at ``index``. kind "angle": the angle in radians, -pi to pi, whose cosine stands at
    ``index`` and whose sine at ``other``. kind "difference": the number at ``index`` less the one at ``other``.
    kind "action": number ``index`` of the last action, 0 at first. kinds "cosine", "sine": of the angle at ``index``.

    memory "change": of that, the change since the last decision, 0 at first; an angle changes the short way round.
    memory "average": its average. Both move by the share ``factor``, above 0 and at most 1, of the way from the old
    value to the new one at each decision: a low-pass filter, which 1 switches off.
    """

    kind: Kind
    index: int
    other: int = -1
    memory: Memory = ""
    factor: float = 1.0

    @property
    def indices(self) -> tuple[int, ...]:
        """Which numbers of the observation it reads."""
        if self.kind == "action":
            return ()
        return (self.index, self.other) if self.kind in ("angle", "difference") else (self.index,)

    def to_data(self) -> dict[str, Any]:
        """Return JSON-able data, without the filter where there is none."""
        data: dict[str, Any] = {"kind": self.kind, "index": self.index, "other": self.other}
        return {**data, "memory": self.memory, "factor": self.factor} if self.memory else data


@dataclass(frozen=True, slots=True)
class Sum:
    """A weighted sum of products of quantities.

    ``weights[k]`` times the product of the law's quantities ``products[k]``, summed; the empty product is 1.
    """

    products: tuple[Product, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Feedback:
    """One control for each number of the action.

    controls: -1 is the lower bound of the action, 1 the upper one, and more saturates. energy_gain: what all
    controls are multiplied by, such as the energy that is missing; None for nothing.
    """

    controls: tuple[Sum, ...]
    energy_gain: Sum | None = None


@dataclass(frozen=True, slots=True)
class FeedbackLaw:
    """One feedback, or two with a switch between them.

    outer: the feedback far from the goal, or everywhere. inner: the one in its place while the sum
    ``switching_function`` is positive, None for none. hysteresis: once switched to inner, it stays so until
    the function falls below ``-hysteresis``, which avoids chattering. synergies: sums of products of quantities,
    whose values stand behind the quantities: product ``len(quantities) + k`` has the value of ``synergies[k]``. They
    make gains of low rank, where every number counts for every control.
    """

    quantities: tuple[Quantity, ...]
    outer: Feedback
    inner: Feedback | None = None
    switching_function: Sum | None = None
    hysteresis: float = 0.0
    synergies: tuple[Sum, ...] = ()

    def to_data(self) -> dict[str, Any]:
        """Return JSON-able data, under stored names: journals hold its hash."""
        data: dict[str, Any] = {
            "quantities": tuple(quantity.to_data() for quantity in self.quantities),
            "usual": _feedback_to_data(self.outer),
            "near": None if self.inner is None else _feedback_to_data(self.inner),
            "nearness": None if self.switching_function is None else asdict(self.switching_function),
            "slack": self.hysteresis,
        }
        if self.synergies:  # no key without them: journals hold the hash of laws that had none
            data["synergies"] = tuple(asdict(synergy) for synergy in self.synergies)
        return {KEY: data}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> FeedbackLaw:
        """Return the law that ``to_data`` gave.

        Raises:
            PolicyError: on anything that ``to_data`` could not have given.
        """
        try:
            return _law(data[KEY])
        except (KeyError, TypeError, ValueError) as error:
            raise PolicyError(
                f"a feedback law must be what FeedbackLaw.to_data gives, got {error!r}"
            ) from error

    @property
    def sums(self) -> tuple[Sum, ...]:
        """All sums in order: synergies, outer and inner feedback, switching function."""
        sums = [*self.synergies, *self.outer.controls, self.outer.energy_gain]
        if self.inner is not None:
            sums += [*self.inner.controls, self.inner.energy_gain, self.switching_function]
        return tuple(total for total in sums if total is not None)


def check(law: FeedbackLaw, spec: TaskSpec) -> None:
    """Refuse a law that an environment cannot run.

    Args:
        law: what is to run.
        spec: the environment.

    Raises:
        PolicyError: if the law reads numbers that no field of ``spec`` shows, or gives another number of
            controls than the action has numbers.
    """
    for feedback in (law.outer, law.inner):
        if feedback is not None and len(feedback.controls) != spec.action_size:
            raise PolicyError(
                f"the action of {spec.name!r} has {spec.action_size} numbers, the law gives {len(feedback.controls)}"
            )
    shown = {index for field in spec.observation for index in range(field.start, field.stop)}
    for quantity in law.quantities:
        unknown = sorted(set(quantity.indices) - shown)
        if unknown:
            raise PolicyError(
                f"no field of {spec.name!r} shows observation {unknown[0]}, which the law reads"
            )
        if quantity.kind == "action" and not 0 <= quantity.index < spec.action_size:
            raise PolicyError(
                f"the action of {spec.name!r} has {spec.action_size} numbers, the law reads number {quantity.index}"
            )


def rounded(number: float) -> float:
    """Return a number with four digits: enough, and can be read."""
    return float(f"{number:.4g}")


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
        alone = replace(law, inner=None, switching_function=None, hysteresis=0.0)
        plainer += [alone, replace(alone, outer=law.inner)]
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
    """Return the law without the quantities and synergies that it does not use."""
    count, feedbacks = len(law.quantities), law.sums[len(law.synergies) :]
    used = _used(feedbacks)
    synergies = [law.synergies[i - count] for i in used if i >= count]
    quantities = sorted({i for i in used if i < count} | {*_used(synergies)})
    places = {i: k for k, i in enumerate([*quantities, *(i for i in used if i >= count)])}

    def _moved(total: Sum) -> Sum:
        return Sum(tuple(tuple(places[i] for i in product) for product in total.products), total.weights)

    law = replace(law, synergies=tuple(synergies))
    return replace(_changed(law, _moved), quantities=tuple(law.quantities[i] for i in quantities))


def _used(sums: Sequence[Sum]) -> list[int]:
    return sorted({i for total in sums for product in total.products for i in product})


def _changed(law: FeedbackLaw, change: Callable[[Sum], Sum]) -> FeedbackLaw:
    """Return the law with ``change`` made to each of its sums, in their order."""

    def _feedback_of(feedback: Feedback) -> Feedback:
        controls = tuple(change(control) for control in feedback.controls)
        gain = feedback.energy_gain
        return Feedback(controls, None if gain is None else change(gain))

    law = replace(law, synergies=tuple(change(synergy) for synergy in law.synergies))
    outer = _feedback_of(law.outer)
    if law.inner is None or law.switching_function is None:
        return replace(law, outer=outer)
    return replace(
        law,
        outer=outer,
        inner=_feedback_of(law.inner),
        switching_function=change(law.switching_function),
    )


def field_of(index: int, fields: Sequence[Field]) -> tuple[Field, int]:
    """Return the field that shows a number of a flat vector, and where in it.

    Args:
        index: of the number.
        fields: of the observation or the action.

    Raises:
        IndexError: no field shows it.
    """
    for shown in fields:
        if shown.start <= index < shown.stop:
            return shown, index - shown.start
    raise IndexError(f"no field shows number {index}")


def name_of(index: int, fields: Sequence[Field]) -> str:
    """Return a name for a number: the field's, and which of its numbers.

    Args:
        index: of the number in the flat vector.
        fields: of the observation or the action.
    """
    field, k = field_of(index, fields)
    if field.size == 1:
        return field.name
    return f"{field.name}_{'xyz'[k] if field.unit == 'm' and field.size <= 3 else k + 1}"


def seen_text(index: int, spec: TaskSpec) -> str:
    """Return what reads number ``index`` of the observation in a text.

    Args:
        index: of the number.
        spec: the environment.
    """
    field, k = field_of(index, spec.observation)
    return f'observation["{field.name}"]' + ("" if field.size == 1 else f"[{k}]")


def _feedback_to_data(feedback: Feedback) -> dict[str, Any]:
    gain = feedback.energy_gain
    return {
        "pushes": tuple(asdict(control) for control in feedback.controls),
        "lack": None if gain is None else asdict(gain),
    }


def _law(data: Mapping[str, Any]) -> FeedbackLaw:
    quantities = tuple(_quantity(quantity) for quantity in data["quantities"])
    synergies = tuple(_sum(synergy, len(quantities)) for synergy in data.get("synergies", ()))
    count = len(quantities) + len(synergies)
    inner, switch = data["near"], data["nearness"]
    if (inner is None) != (switch is None):
        raise ValueError("near and nearness must both be there or neither")
    return FeedbackLaw(
        quantities,
        _feedback(data["usual"], count),
        None if inner is None else _feedback(inner, count),
        None if switch is None else _sum(switch, count),
        _finite(data["slack"]),
        synergies,
    )


def _quantity(data: Mapping[str, Any]) -> Quantity:
    memory, factor = data.get("memory", ""), _finite(data.get("factor", 1.0))
    if data["kind"] not in get_args(Kind) or memory not in get_args(Memory):
        raise ValueError(f"kind {data['kind']!r}, memory {memory!r}")
    if not 0.0 < factor <= 1.0:
        raise ValueError(f"factor {factor!r}")
    kind = cast(Kind, data["kind"])
    return Quantity(kind, int(data["index"]), int(data["other"]), cast(Memory, memory), factor)


def _feedback(data: Mapping[str, Any], quantities: int) -> Feedback:
    controls = tuple(_sum(control, quantities) for control in data["pushes"])
    if not controls:
        raise ValueError("feedback without pushes")
    return Feedback(controls, None if data["lack"] is None else _sum(data["lack"], quantities))


def _sum(data: Mapping[str, Any], quantities: int) -> Sum:
    products = tuple(_product(product, quantities) for product in data["products"])
    weights = tuple(_finite(weight) for weight in data["weights"])
    if len(products) != len(weights):
        raise ValueError(f"{len(products)} products and {len(weights)} weights")
    return Sum(products, weights)


def _product(data: Sequence[int], quantities: int) -> Product:
    product = tuple(int(index) for index in data)
    if any(not 0 <= index < quantities for index in product):
        raise ValueError(f"product {product} of {quantities} quantities")
    return product


def _finite(number: Any) -> float:
    if not math.isfinite(number):
        raise ValueError(f"number {number!r}")
    return float(number)
