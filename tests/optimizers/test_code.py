from __future__ import annotations

import time

import pytest

from trace_robot.optimizers.code import problems, string_spans, tidy
from trace_robot.optimizers.literals import find_literals, replace_literals

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


def test_numbers_are_found_behind_any_line_end_and_any_script() -> None:
    source = "é = 'ééé'; a = 1.5\rb = 2.5  # \u2028 é\r\nc = [3.5, 'é', -4.5]\x0c\nd = 5.5"
    assert [source[x.start : x.end] for x in find_literals(source)] == ["1.5", "2.5", "3.5", "-4.5", "5.5"]
    changed = source.replace("1.5", "10.5").replace("3.5", "30.5").replace("-4.5", "-40.5")
    assert replace_literals(source, [10.5, 2.5, 30.5, -40.5, 5.5]) == changed


def test_numbers_are_found_however_deep_the_tree_is_and_in_time() -> None:
    start = time.process_time()
    assert len(find_literals("x = " + "+".join(["1.5"] * 900))) == 900
    line = "x = ['é', " + "1.5, " * 20_000 + "]"
    assert replace_literals(line, [2.5] * 20_000) == line.replace("1.5", "2.5")
    assert time.process_time() - start < 3


STRINGS = r'''
a = 'x' + "it's"  # don't 'y'
b = """z 'q' \""" z""" + 'it\'s' + r"\\" + f'{x!r}'
I don't know "this"
c = "open
d = 'e' + """never closed
'''


def test_strings_are_found_without_parsing() -> None:
    found = [STRINGS[start:stop] for start, stop in string_spans(STRINGS)]
    assert found == ["'x'", '"it\'s"', '"""z \'q\' \\""" z"""', r"'it\'s'", r'"\\"', "f'{x!r}'"[1:], "'e'"]


def test_tidying_removes_a_bundle_decorator_of_any_depth() -> None:
    deep = "@(" + "+".join(["a"] * 900) + ").bundle\n"
    assert tidy(deep + "def f(x):\r    return x", "f") == "def f(x):\n    return x\n"
