"""The numbers of a choice of values as one vector: numeric parameters and, if wanted, literals in code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trace_robot.optimize import literals
from trace_robot.optimize.problem import ParameterSpec, Problem
from trace_robot.optimize.text import number
from trace_robot.optimize.values import bounds

SPREAD = 0.2


@dataclass(frozen=True, slots=True)
class Dimension:
    """One number. place: how it is named to people; spread: by how much to vary it at first."""

    parameter: str
    place: str
    value: float
    spread: float
    low: float = -math.inf
    high: float = math.inf


class Dimensions:
    """The numbers of ``values``; ``apply`` gives the values with others in their place."""

    def __init__(self, problem: Problem, values: Mapping[str, Any], *, code: bool) -> None:
        self.problem = problem
        self.values = dict(values)
        self.code = code
        self.list = [d for spec in problem.parameters for d in self._of(spec, values[spec.name])]

    def __len__(self) -> int:
        return len(self.list)

    def _of(self, spec: ParameterSpec, value: Any) -> list[Dimension]:
        if spec.kind == "code" and self.code:
            return [
                Dimension(
                    spec.name, f"{spec.name} line {literal.line}", literal.value, _spread(literal.value)
                )
                for literal in literals.find(str(value))
            ]
        if spec.kind not in ("number", "array"):
            return []
        low, high = bounds(spec)
        edges = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
        numbers = np.asarray(value, dtype=float).ravel()
        single = spec.kind == "number"
        return [
            Dimension(spec.name, spec.name if single else f"{spec.name}[{i}]", x, _spread(x, *edges), *edges)
            for i, x in enumerate(map(float, numbers))
        ]

    def apply(self, vector: Sequence[float]) -> dict[str, Any]:
        """Return all values, with the numbers of ``vector``, clipped to their bounds."""
        given: dict[str, list[float]] = {}
        for dimension, x in zip(self.list, vector, strict=True):
            given.setdefault(dimension.parameter, []).append(
                min(max(float(x), dimension.low), dimension.high)
            )
        values = dict(self.values)
        for name, numbers in given.items():
            values[name] = _rebuilt(self.problem[name], values[name], numbers)
        return values

    def changes(self, vector: Sequence[float], most: int = 6) -> str:
        """Say which numbers ``vector`` changed most, by their spread."""
        moved = [(abs(x - d.value) / d.spread, d, x) for d, x in zip(self.list, vector, strict=True)]
        told = sorted((m for m in moved if m[0] > 0.05), key=lambda m: -m[0])[:most]
        return (
            ", ".join(f"{d.place}: {number(d.value)} to {number(x)}" for _, d, x in told) or "nothing moved"
        )


def _spread(value: float, low: float = -math.inf, high: float = math.inf) -> float:
    """A fifth of the range between bounds, else of the number itself; a tenth for a number that is 0."""
    if math.isfinite(low) and math.isfinite(high) and high > low:
        return SPREAD * (high - low)
    return SPREAD * abs(value) or SPREAD / 2


def _rebuilt(spec: ParameterSpec, value: Any, numbers: list[float]) -> Any:
    if spec.kind == "code":
        return literals.replace(str(value), numbers)
    if spec.kind == "number":
        return round(numbers[0]) if isinstance(value, int) else float(f"{numbers[0]:.6g}")
    array = np.asarray([float(f"{x:.6g}") for x in numbers]).reshape(np.shape(value))
    return array if isinstance(value, np.ndarray) else array.tolist()
