"""A feedback law as frozen data: what the interpreter runs, the writer writes and the search tunes.

A law turns the flat observation into an action by sums of products: linear feedback, energy shaping (feedback
times what the energy lacks), and a switch between two of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from trace_robot.errors import PolicyError
from trace_robot.spec import Field, TaskSpec

Kind = Literal["number", "angle"]
Product = tuple[int, ...]
KEY = "law"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number seen in the flat observation.

    kind "number": the one at ``index``. kind "angle": the angle in radians, -pi to pi, whose cosine stands at
    ``index`` and whose sine at ``other``.
    """

    kind: Kind
    index: int
    other: int = -1


@dataclass(frozen=True, slots=True)
class Sum:
    """``weights[k] *`` the product of the law's quantities ``products[k]``, summed; the empty product is 1."""

    products: tuple[Product, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Feedback:
    """One push for each number of the action; -1 is the lower bound, 1 the upper one, and more is cut off.

    lack: what all pushes are multiplied by, such as the energy that is missing; None for nothing.
    """

    pushes: tuple[Sum, ...]
    lack: Sum | None = None


@dataclass(frozen=True, slots=True)
class FeedbackLaw:
    """``usual`` feedback, and where there is one, ``near`` in its place while the sum ``nearness`` is positive.

    slack: once near, it stays so until ``nearness`` falls below ``-slack``, so that it does not flutter.
    """

    quantities: tuple[Quantity, ...]
    usual: Feedback
    near: Feedback | None = None
    nearness: Sum | None = None
    slack: float = 0.0

    def to_data(self) -> dict[str, Any]:
        return {KEY: asdict(self)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> FeedbackLaw:
        """Raises PolicyError on anything that ``to_data`` could not have given."""
        try:
            return _law(data[KEY])
        except (KeyError, TypeError, ValueError) as error:
            raise PolicyError(f"a feedback law must be what Law.to_data gives, got {error!r}") from error

    @property
    def sums(self) -> tuple[Sum, ...]:
        """All its sums in the order of reading: usual pushes and lack, near pushes and lack, nearness."""
        found = [*self.usual.pushes, self.usual.lack]
        if self.near is not None:
            found += [*self.near.pushes, self.near.lack, self.nearness]
        return tuple(each for each in found if each is not None)


def check(law: FeedbackLaw, spec: TaskSpec) -> None:
    """Raise PolicyError if ``law`` reads numbers that ``spec`` does not show, or its action does not fit."""
    for feedback in (law.usual, law.near):
        if feedback is not None and len(feedback.pushes) != spec.action_size:
            raise PolicyError(
                f"the action of {spec.name!r} has {spec.action_size} numbers, the law gives {len(feedback.pushes)}"
            )
    shown = {index for field in spec.observation for index in range(field.start, field.stop)}
    for quantity in law.quantities:
        read = (quantity.index,) if quantity.kind == "number" else (quantity.index, quantity.other)
        unknown = sorted(set(read) - shown)
        if unknown:
            raise PolicyError(
                f"no field of {spec.name!r} shows observation {unknown[0]}, which the law reads"
            )


def _law(data: Mapping[str, Any]) -> FeedbackLaw:
    quantities = tuple(_quantity(each) for each in data["quantities"])
    near, nearness = data["near"], data["nearness"]
    if (near is None) != (nearness is None):
        raise ValueError("near and nearness must both be there or neither")
    return FeedbackLaw(
        quantities,
        _feedback(data["usual"], len(quantities)),
        None if near is None else _feedback(near, len(quantities)),
        None if nearness is None else _sum(nearness, len(quantities)),
        _finite(data["slack"]),
    )


def _quantity(data: Mapping[str, Any]) -> Quantity:
    if data["kind"] not in get_args(Kind):
        raise ValueError(f"kind {data['kind']!r}")
    return Quantity(cast(Kind, data["kind"]), int(data["index"]), int(data["other"]))


def _feedback(data: Mapping[str, Any], quantities: int) -> Feedback:
    pushes = tuple(_sum(each, quantities) for each in data["pushes"])
    if not pushes:
        raise ValueError("feedback without pushes")
    return Feedback(pushes, None if data["lack"] is None else _sum(data["lack"], quantities))


def _sum(data: Mapping[str, Any], quantities: int) -> Sum:
    products = tuple(_product(each, quantities) for each in data["products"])
    weights = tuple(_finite(weight) for weight in data["weights"])
    if len(products) != len(weights):
        raise ValueError(f"{len(products)} products and {len(weights)} weights")
    return Sum(products, weights)


def _product(data: Sequence[int], quantities: int) -> Product:
    product = tuple(int(each) for each in data)
    if any(not 0 <= each < quantities for each in product):
        raise ValueError(f"product {product} of {quantities} quantities")
    return product


def _finite(number: Any) -> float:
    if not math.isfinite(number):
        raise ValueError(f"number {number!r}")
    return float(number)


TRIGONOMETRY = re.compile(r"(^|_)(cosines?|sines?|cos|sin)(_of)?(?=_|\d|$)")


def names(law: FeedbackLaw, spec: TaskSpec) -> list[str]:
    """Return a different Python name for each quantity of the law."""
    plain = [_name(quantity, spec) for quantity in law.quantities]
    return [
        f"{name}_{plain[:i].count(name) + 1}" if plain.count(name) > 1 else name
        for i, name in enumerate(plain)
    ]


def expression(quantity: Quantity, spec: TaskSpec) -> str:
    """Return what reads the quantity from the observation by name."""
    if quantity.kind == "angle":
        return f"math.atan2({_seen(quantity.other, spec)}, {_seen(quantity.index, spec)})"
    return _seen(quantity.index, spec)


def product(factors: Product, names: Sequence[str]) -> str:
    """Return a name for a product: ``rate_squared``, ``away_times_cosine``; "" for the empty one."""
    parts = []
    for i in dict.fromkeys(factors):
        power = {1: "", 2: "_squared", 3: "_cubed"}.get(factors.count(i), f"_to_the_{factors.count(i)}")
        parts.append(f"{names[i]}{power}")
    return "_times_".join(parts)


def said(factors: Product, law: FeedbackLaw, spec: TaskSpec) -> str:
    """Say what a product is made of, by what the environment says of its parts."""
    return " times ".join(_meaning(law.quantities[i], spec) for i in factors)


def sentence(law: FeedbackLaw) -> str:
    """Say in a few words what kind of law it is."""
    usual = "energy shaping" if law.usual.lack is not None else "linear feedback"
    if law.usual.lack is None and any(len(p) > 1 for push in law.usual.pushes for p in push.products):
        usual = "feedback on products"
    return usual if law.near is None else f"{usual}, and linear feedback when near"


def place(index: int, fields: Sequence[Field]) -> tuple[Field, int]:
    """Return the field that shows number ``index`` of a flat vector, and where in it."""
    for field in fields:
        if field.start <= index < field.stop:
            return field, index - field.start
    raise IndexError(f"no field shows number {index}")


def numbered(index: int, fields: Sequence[Field]) -> str:
    field, k = place(index, fields)
    if field.size == 1:
        return field.name
    return f"{field.name}_{'xyz'[k] if field.unit == 'm' and field.size <= 3 else k + 1}"


def _name(quantity: Quantity, spec: TaskSpec) -> str:
    name = numbered(quantity.index, spec.observation)
    if quantity.kind == "number":
        return name
    rest = TRIGONOMETRY.sub("", name).strip("_")
    return rest if "angle" in rest else f"angle_of_{rest}" if rest and not rest.isdigit() else f"angle{rest}"


def _seen(index: int, spec: TaskSpec) -> str:
    field, k = place(index, spec.observation)
    return f'observation["{field.name}"]' + ("" if field.size == 1 else f"[{k}]")


def _meaning(quantity: Quantity, spec: TaskSpec) -> str:
    field, _ = place(quantity.index, spec.observation)
    name = numbered(quantity.index, spec.observation)
    unit = f", {field.unit}" if field.unit else ""
    told = f"{name} ({field.meaning}{unit})" if field.meaning else f"{name}{unit}"
    return told if quantity.kind == "number" else f"the angle of {told}"
