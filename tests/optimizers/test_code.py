from __future__ import annotations

import pytest

from trace_robot.optimizers.code import problems, tidy

PRESENT = "def act(observation, memory, gain=1.0):\n    return 0\n"


@pytest.mark.parametrize(
    "source",
    [
        "def act(observation, memory, gain=2.0):\n    return 1\n",
        "import math\nLIMIT = 3\n\ndef helper(x):\n    return x\n\n"
        "def act(observation: dict, memory, gain=1.0) -> float:\n    return 1\n",
    ],
)
def test_code_that_keeps_name_and_parameters_is_fine(source: str) -> None:
    assert problems(source, "act", PRESENT, ["speed"]) == []


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            "def act(observation, memory, gain=1.0):\n    return (1\n",
            "syntax error on line 2: '(' was never closed, at 'return (1'",
        ),
        (
            "def move(observation, memory, gain=1.0):\n    return 1\n",
            "must define a function named 'act', got move; keep its name",
        ),
        ("x = 1\n", "must define a function named 'act', got no function; keep its name"),
        (
            "def act(observation, gain=1.0):\n    return 1\n",
            "must keep the signature act(observation, memory, gain=...), got act(observation, gain=...)",
        ),
        (
            "def act(observation, memory, gain):\n    return 1\n",
            "must keep the signature act(observation, memory, gain=...), got act(observation, memory, gain)",
        ),
        (
            "def act(observation, memory, gain=1.0, *more, k=1, **rest):\n    return 1\n",
            "must keep the signature act(observation, memory, gain=...), "
            "got act(observation, memory, gain=..., *more, k=..., **rest)",
        ),
        (
            "async def act(observation, memory, gain=1.0):\n    return 1\n",
            "'act' must be an ordinary function, got an async one",
        ),
        (
            "speed = 3\ndef act(observation, memory, gain=1.0):\n    return 1\n",
            "must not define 'speed', which is another variable; suggest it separately",
        ),
        ("\0", "cannot be parsed: source code string cannot contain null bytes"),
    ],
)
def test_code_that_cannot_take_the_place_says_why(source: str, problem: str) -> None:
    listed = problems(source, "act", PRESENT, ["speed"])
    if source == "\0":
        assert len(listed) == 1
        assert "null bytes" in listed[0]
    else:
        assert listed == [problem]


def test_code_nested_too_deeply_to_parse_is_a_problem_and_no_crash() -> None:
    assert len(problems("x = " + "(" * 5000 + ")" * 5000, "act", PRESENT)) == 1


def test_tidying_removes_bundle_decorators_and_common_indentation() -> None:
    source = "    @trace.bundle(\n        trainable=True\n    )\n    @other\n    def act(o):\r\n        return 1\n\n\n"
    assert tidy(source, "act") == "@other\ndef act(o):\n    return 1\n"
