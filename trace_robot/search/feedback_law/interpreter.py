"""Runs a feedback law on flat observations: plain float arithmetic, a few microseconds a decision."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from trace_robot.search.feedback_law.law import Feedback, FeedbackLaw, Sum, check
from trace_robot.spec import Array, TaskSpec

Numbers = list[float]
Compiled = tuple[tuple[float, tuple[int, ...]], ...]


class LawRunner:
    """One episode of a law; call it with the flat observation of each decision."""

    __slots__ = ("_angles", "_bounds", "_columns", "_law", "_near", "_nearness", "_usual", "near")
    finished = False

    def __init__(self, law: FeedbackLaw, spec: TaskSpec) -> None:
        check(law, spec)
        self._law = law
        self._columns = [each.index for each in law.quantities]
        self._angles = [(i, each.other) for i, each in enumerate(law.quantities) if each.kind == "angle"]
        self._bounds = [
            ((low + high) / 2, (high - low) / 2) for low, high in zip(spec.low, spec.high, strict=True)
        ]
        self._usual = _compiled(law.usual)
        self._near = None if law.near is None else _compiled(law.near)
        self._nearness = () if law.nearness is None else _terms(law.nearness)
        self.near = False

    def __call__(self, observation: Array) -> npt.NDArray[np.float32]:
        seen: Numbers = observation.tolist()
        numbers = [seen[i] for i in self._columns]
        for i, sine in self._angles:
            numbers[i] = math.atan2(seen[sine], numbers[i])
        pushes, lack = self._usual
        if self._near is not None:
            self.near = _value(self._nearness, numbers) > (-self._law.slack if self.near else 0.0)
            if self.near:
                pushes, lack = self._near
        action = []
        missing = None if lack is None else _value(lack, numbers)
        for push, (middle, reach) in zip(pushes, self._bounds, strict=True):
            wanted = _value(push, numbers)
            if missing is not None:
                wanted *= missing
            action.append(middle + reach * min(max(wanted, -1.0), 1.0))
        return np.array(action, np.float32)


def start(law: FeedbackLaw, spec: TaskSpec) -> LawRunner:
    """Return what maps the flat observation of each decision of one episode to its action, float32.

    Raises PolicyError if the law does not fit the environment.
    """
    return LawRunner(law, spec)


def _compiled(feedback: Feedback) -> tuple[tuple[Compiled, ...], Compiled | None]:
    lack = None if feedback.lack is None else _terms(feedback.lack)
    return tuple(_terms(push) for push in feedback.pushes), lack


def _terms(total: Sum) -> Compiled:
    return tuple(zip(total.weights, total.products, strict=True))


def _value(terms: Compiled, numbers: Numbers) -> float:
    total = 0.0
    for weight, product in terms:
        for i in product:
            weight *= numbers[i]
        total += weight
    return total
