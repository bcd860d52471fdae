"""From suggested raw values to values that fit their parameters, and back to text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from trace_robot.errors import ValueMismatchError
from trace_robot.optimize import code
from trace_robot.optimize.problem import ParameterSpec, Problem
from trace_robot.trace import values as trace_values
from trace_robot.trace.values import Bounds, Choices

CheckCode = Callable[[str], list[str]]


def fit(
    problem: Problem, raw: Mapping[str, Any], check_code: CheckCode | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Return the values that fit, and in words what is wrong with the others."""
    values: dict[str, Any] = {}
    faults: list[str] = []
    specs = {spec.name: spec for spec in problem.parameters}
    aliases = {spec.function: spec.name for spec in problem.parameters if spec.kind == "code"}
    for given, value in raw.items():
        name = given if given in specs else aliases.get(given, given)
        if name not in specs:
            faults.append(f"no variable {given!r}; the variables are {', '.join(specs)}")
            continue
        try:
            values[name] = convert(specs[name], value)
        except ValueMismatchError as error:
            faults.append(str(error))
            continue
        if specs[name].kind == "code":
            faults.extend(
                f"{name}: {fault}" for fault in code_faults(problem, name, values[name], check_code)
            )
    return values, faults


def code_faults(problem: Problem, name: str, source: str, check_code: CheckCode | None) -> list[str]:
    spec = problem[name]
    reserved = [other.name for other in problem.parameters if other.name != name]
    faults = code.problems(source, spec.function, str(spec.value), reserved)
    return faults or (check_code(source) if check_code else [])


def convert(spec: ParameterSpec, raw: Any) -> Any:
    """Return ``raw``, a text or a JSON value, as a value for ``spec``. Raises ValueMismatchError."""
    if spec.kind == "code":
        if not isinstance(raw, str):
            raise ValueMismatchError(f"{spec.name}: must be Python source, got {raw!r}")
        return code.tidy(raw, spec.function)
    if spec.kind != "text" and isinstance(raw, str):
        raw = _right_side(spec.name, raw)
    like = np.asarray(spec.value, dtype=float) if spec.kind == "array" else spec.value
    try:
        value = trace_values.convert(raw, like, checkable(spec.constraint))
    except ValueMismatchError as error:
        raise ValueMismatchError(f"{spec.name}: {str(error).removeprefix('the value ')}") from error
    return value.tolist() if spec.kind == "array" and not isinstance(spec.value, np.ndarray) else value


def _right_side(name: str, text: str) -> str:
    """Return what stands behind ``name =``, or the text itself."""
    head, equals, tail = text.strip().partition("=")
    return tail.strip() if equals and head.strip() == name else text.strip()


def checkable(constraint: Any) -> Any:
    """Return bounds and choices written as plain data as Bounds and Choices, anything else as it is."""
    if isinstance(constraint, Mapping) and "choices" in constraint:
        return Choices(*constraint["choices"])
    if isinstance(constraint, Mapping):
        return Bounds(constraint.get("low"), constraint.get("high"))
    if isinstance(constraint, list):
        return Choices(*constraint)
    if isinstance(constraint, tuple) and len(constraint) == 2:
        return Bounds(*constraint)
    return constraint


def bounds(spec: ParameterSpec) -> tuple[float | None, float | None]:
    """Return the lower and upper bound in ``spec.constraint``; None where there is none."""
    constraint = checkable(spec.constraint)
    return (constraint.low, constraint.high) if isinstance(constraint, Bounds) else (None, None)


def describe(constraint: Any) -> str:
    """Return a constraint in words, "" for None."""
    return "" if constraint is None else str(checkable(constraint))
