from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trace_robot.errors import ValueMismatchError
from trace_robot.optimizers import ParameterSpec, Problem
from trace_robot.optimizers.prompt.reply import describe, fit, fit_value


def spec(value: Any, kind: str = "number", constraint: Any = None) -> ParameterSpec:
    return ParameterSpec("x", kind, value, constraint=constraint)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parameter", "raw", "value"),
    [
        (spec(1.0), "2.5", 2.5),
        (spec(1.0), " x = 2 ", 2.0),
        (spec(1), "3.0", 3),
        (spec(1.0), 4, 4.0),
        (spec("a", "text"), "False", "False"),
        (spec("a", "text"), 5, "5"),
        (spec(True, "bool"), "False", False),
        (spec(True, "bool"), "true", True),
        (spec([1.0, 2.0], "array"), "[3, 4]", [3.0, 4.0]),
        (spec([1, "a"], "list"), "(2, 'b')", [2, "b"]),
        (spec({"a": 1}, "dict"), "{'a': 2}", {"a": 2}),
        (spec(1.0, constraint=(0, 2)), "2", 2.0),
        (spec("a", "text", ["a", "b"]), "b", "b"),
    ],
)
def test_a_raw_value_becomes_one_that_fits(parameter: ParameterSpec, raw: Any, value: Any) -> None:
    converted = fit_value(parameter, raw)
    assert converted == value
    assert type(converted) is type(value)


def test_an_array_stays_an_array() -> None:
    converted = fit_value(spec(np.zeros(2), "array"), "[1, 2]")
    assert isinstance(converted, np.ndarray)
    assert converted.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("parameter", "raw", "words"),
    [
        (spec(1.0), "fast", "x: must be a number, got 'fast'"),
        (spec(1.0), "nan", "x: must be a finite number, got 'nan'"),
        (spec(1.0), "True", "x: must be a number, got 'True'"),
        (spec(1), "2.5", "x: must be a whole number, got '2.5'"),
        (spec(True, "bool"), "2", "x: must be True or False, got '2'"),
        (
            spec([1.0, 2.0], "array"),
            "[1, 2, 3]",
            "x: must be an array of shape (2,), not (3,), got '[1, 2, 3]'",
        ),
        (
            spec([1.0, 2.0], "array"),
            "['a', 2]",
            "x: must be an array of numbers of shape (2,), got \"['a', 2]\"",
        ),
        (spec({}, "dict"), "[]", "x: must be a dict, got '[]'"),
        (spec("def x(): 0", "code"), 3, "x: must be Python source, got 3"),
        (spec(1.0, constraint=(0, 2)), "2.5", "x: must be between 0 and 2, got 2.5"),
        (spec(1.0, constraint=(0, None)), "-1.5", "x: must be at least 0, got -1.5"),
        (spec(1.0, constraint={"high": 5}), "9.5", "x: must be at most 5, got 9.5"),
        (spec("a", "text", ["a", "b"]), "c", "x: must be one of 'a', 'b', got c"),
        (spec([0.0], "array", (0, 1)), "[2.5]", "x: must be between 0 and 1, got [2.5]"),
    ],
)
def test_a_value_that_does_not_fit_says_what_was_wanted(
    parameter: ParameterSpec, raw: Any, words: str
) -> None:
    with pytest.raises(ValueMismatchError) as caught:
        fit_value(parameter, raw)
    assert str(caught.value) == words


def test_a_constraint_as_text_is_shown_and_not_enforced() -> None:
    assert describe("in metres") == "in metres"
    assert fit_value(spec(1.0, constraint="in metres"), "1e9") == 1e9


def test_code_may_be_given_by_the_name_of_its_function() -> None:
    problem = Problem((ParameterSpec("policy", "code", "def act(o):\n    return 0\n", entry="act"),))
    values, faults = fit(problem, {"act": "def act(o):\n    return 1"})
    assert values == {"policy": "def act(o):\n    return 1\n"}
    assert faults == []


def test_every_problem_of_a_suggestion_is_listed() -> None:
    problem = Problem((ParameterSpec("act", "code", "def act(o):\n    return 0\n"), spec(1.0)))
    _, faults = fit(
        problem,
        {"act": "def act(o):\n    open('x')", "x": "fast", "y": "1"},
        lambda source: ["open is blocked"],
    )
    assert faults == [
        "act: open is blocked",
        "x: must be a number, got 'fast'",
        "no variable 'y'; the variables are act, x",
    ]
