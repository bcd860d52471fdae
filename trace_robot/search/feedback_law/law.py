"""Feedback laws as frozen data: what interpreter, writer and search share.

A law turns the flat observation into an action by sums of products: linear state feedback, energy shaping
(Astrom and Furuta, Automatica 36, 2000: feedback times the energy that is missing), and switching between two
feedbacks with hysteresis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from trace_robot.errors import PolicyError
from trace_robot.spec import TaskSpec

Kind = Literal["number", "angle"]
Product = tuple[int, ...]
KEY = "law"
PROBE = "look"  # a second key beside it, where episodes of the law are probes: see ``features``


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number read from the flat observation.

    kind "number": the one at ``index``. kind "angle": the angle in radians, -pi to pi, whose cosine stands at
    ``index`` and whose sine at ``other``.
    """

    kind: Kind
    index: int
    other: int = -1


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
    the function falls below ``-hysteresis``, which avoids chattering.
    """

    quantities: tuple[Quantity, ...]
    outer: Feedback
    inner: Feedback | None = None
    switching_function: Sum | None = None
    hysteresis: float = 0.0

    def to_data(self) -> dict[str, Any]:
        """Return JSON-able data, under stored names: journals hold its hash."""
        return {
            KEY: {
                "quantities": tuple(asdict(quantity) for quantity in self.quantities),
                "usual": _feedback_to_data(self.outer),
                "near": None if self.inner is None else _feedback_to_data(self.inner),
                "nearness": None if self.switching_function is None else asdict(self.switching_function),
                "slack": self.hysteresis,
            }
        }

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
        """All sums in their order: outer feedback, inner feedback, switching function."""
        sums = [*self.outer.controls, self.outer.energy_gain]
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
        indices = (quantity.index,) if quantity.kind == "number" else (quantity.index, quantity.other)
        unknown = sorted(set(indices) - shown)
        if unknown:
            raise PolicyError(
                f"no field of {spec.name!r} shows observation {unknown[0]}, which the law reads"
            )


def _feedback_to_data(feedback: Feedback) -> dict[str, Any]:
    gain = feedback.energy_gain
    return {
        "pushes": tuple(asdict(control) for control in feedback.controls),
        "lack": None if gain is None else asdict(gain),
    }


def _law(data: Mapping[str, Any]) -> FeedbackLaw:
    quantities = tuple(_quantity(quantity) for quantity in data["quantities"])
    inner, switch = data["near"], data["nearness"]
    if (inner is None) != (switch is None):
        raise ValueError("near and nearness must both be there or neither")
    return FeedbackLaw(
        quantities,
        _feedback(data["usual"], len(quantities)),
        None if inner is None else _feedback(inner, len(quantities)),
        None if switch is None else _sum(switch, len(quantities)),
        _finite(data["slack"]),
    )


def _quantity(data: Mapping[str, Any]) -> Quantity:
    if data["kind"] not in get_args(Kind):
        raise ValueError(f"kind {data['kind']!r}")
    return Quantity(cast(Kind, data["kind"]), int(data["index"]), int(data["other"]))


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
